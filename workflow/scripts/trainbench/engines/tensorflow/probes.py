"""The products and additions in TensorFlow by which a device's ceilings are found."""

from collections.abc import Callable

import tensorflow as tf

from trainbench.engines.shared.batches import sizes
from trainbench.engines.tensorflow.devices import wait


class Probes:
    """`engines.shared.ceilings.Probes` on one device, compiled and shared among threads like the epochs are."""

    def __init__(self, device: str, compute_type: tf.DType, parts: int) -> None:
        self._device = device
        self._type = compute_type
        self._parts = parts
        matrix = tf.TensorSpec((None, None), compute_type)
        rows = [matrix] * parts
        self._multiply = tf.function(self._multiplied, input_signature=(rows, matrix), autograph=False)

    def _multiplied(self, lefts: list[tf.Tensor], right: tf.Tensor) -> list[tf.Tensor]:
        with tf.device(self._device):
            return [tf.matmul(left, right) for left in lefts]

    def product(self, size: int) -> Callable[[], None]:
        """Random matrices: a GPU draws less power, and clocks higher, for constant ones."""
        with tf.device(self._device):
            left, right = (
                tf.cast(tf.random.stateless_uniform((size, size), seed=(size, side), minval=-1.0), self._type)
                for side in (1, 2)
            )
            lefts = tf.split(left, sizes(size, self._parts))

        def multiply() -> None:
            self._multiply(lefts, right)
            wait()

        return multiply

    def addition(self, values: int) -> Callable[[int], None]:
        """The loop over additions is part of the graph, so that starting a call is no part of an addition."""
        with tf.device(self._device):
            sources = [tf.ones(size) for size in sizes(values, self._parts)]
            targets = [tf.Variable(source) for source in sources]

        def additions(times: tf.Tensor) -> tf.Tensor:
            def step(done: tf.Tensor) -> tf.Tensor:
                with tf.device(self._device):
                    for target, source in zip(targets, sources, strict=True):
                        target.assign_add(source, read_value=False)
                return done + 1

            return tf.while_loop(lambda done: done < times, step, (tf.constant(0),))

        compiled = tf.function(additions, autograph=False)

        def add(times: int) -> None:
            compiled(tf.constant(times))
            wait()

        return add
