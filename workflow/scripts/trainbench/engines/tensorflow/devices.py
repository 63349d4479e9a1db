"""The devices of a run in TensorFlow's terms: what lies on each, and what each computes."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf


class Devices:
    """Each with a copy of the variables and of the data, by TensorFlow's own strategies for devices of one machine.

    NCCL adds up what lies on several GPUs.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self.strategy = _strategy(self.names)
        """In its scope variables are made on every device."""

    def place(self, make: Callable[[], tf.Tensor]) -> Any:
        """What `make` makes, on every device."""

        def copy(context: Any) -> tf.Tensor:
            # A strategy itself would make them all on the first device.
            with tf.device(self.names[context.replica_id_in_sync_group]):
                return make()

        return self.strategy.experimental_distribute_values_from_function(copy)

    def run(self, function: Callable[..., tf.Tensor], *arguments: Any) -> Any:
        """`function(number, *arguments)` on every device, with the device's number and its copies; all results."""

        def numbered(*copies: Any) -> tf.Tensor:
            number = tf.get_static_value(tf.distribute.get_replica_context().replica_id_in_sync_group)
            return function(int(number), *copies)

        return self.copies(self.strategy.run(numbered, args=arguments))

    def added(self, values: list[tf.Tensor]) -> Any:
        """Inside `function`: the sums of these values over all devices."""
        if len(self.names) == 1:
            return values
        return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, values)

    def copies(self, value: Any) -> Any:
        """The copy of each device."""
        return self.strategy.experimental_local_results(value)


@functools.cache
def _strategy(names: tuple[str, ...]) -> tf.distribute.Strategy:
    """One for all engines of a process: what several add up would otherwise bear the same numbers and be mixed up."""
    return tf.distribute.OneDeviceStrategy(*names) if len(names) == 1 else tf.distribute.MirroredStrategy(names)


wait = tf.test.experimental.sync_devices
"""Return when every device has finished what it was given."""
