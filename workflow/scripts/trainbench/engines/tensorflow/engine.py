"""Trains with TensorFlow: data on the device, one compiled call an epoch."""

import functools
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any, Final, Protocol

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from trainbench.engines.shared.common import EVALUATION_BATCH, STEPS_DONE, Relu, sizes, with_pooling_before_relu
from trainbench.engines.shared.interface import (
    Ceilings,
    DeviceProof,
    Execution,
    Images,
    LossScaling,
    OutOfMemory,
    State,
    Threads,
    WrongDevice,
    WrongPrecision,
)
from trainbench.networks import precision
from trainbench.networks.models import (
    Conv2D,
    Dense,
    Dropout,
    Layer,
    Lstm,
    MaxPool2D,
    ModelSpec,
    Optimiser,
    Reshape,
    RmsProp,
    Sgd,
)
from trainbench.networks.parameters import Parameters

SMALLEST_PART: Final = 64
"""Images of a batch that are worth a thread of their own; with 32 each, batches of 128 trained more slowly."""

_PRODUCTS: Final = ("MatMul", "Conv2D", "Conv2DBackpropInput", "Conv2DBackpropFilter", "BlockLSTM", "BlockLSTMGrad")
"""Operations whose attribute T says what they multiply."""

_MISSING_OPERATION: Final = re.compile(
    r".*(No OpKernel was registered|No registered|Could not find device|not in list of allowed values|"
    r"not implemented|[Uu]nimplemented|not supported|[Uu]nsupported).*"
)
"""The line in which an error of TensorFlow's says that an operation is not there for a type."""


NARROW: Final = 16
"""A layer with fewer outputs keeps its weights turned on a CPU, so that its gradient's product has its long side last.

With 784 inputs and 10 outputs an epoch takes a tenth less at batch size 512, and as long at 128 (docs/performance.md).
"""


def parts_of_a_batch(kind: str, threads: int, batch_size: int) -> int:
    """How many parts of a batch are computed side by side, each by one thread.

    These networks are chains of small operations. Where each operation is shared among the threads, these wait for one
    another thousands of times a step; where each thread has a part of the batch, once (docs/performance.md). With fewer
    images for each thread, and on a GPU, there is one part.
    """
    return threads if kind == "cpu" and batch_size // threads >= SMALLEST_PART else 1


def start(execution: Execution) -> "TensorFlowEngine":
    """Bring TensorFlow up on its devices.

    Either each thread has a part of the batch, so that operations get one thread each and as many go side by side; or
    each operation gets all threads, one operation after the other. Each of several GPUs has a thread that gives it its
    operations.

    Raises:
        WrongDevice: GPUs are asked for and TensorFlow sees fewer.
    """
    kind, replicas = execution.kind, execution.replicas
    parts = parts_of_a_batch(kind, execution.threads, execution.batch_size // replicas)
    tf.config.threading.set_intra_op_parallelism_threads(1 if parts > 1 else execution.threads)
    tf.config.threading.set_inter_op_parallelism_threads(replicas if kind == "gpu" else parts)
    tf.config.experimental.enable_tensor_float_32_execution(execution.precision == "tf32")
    gpus = tf.config.list_physical_devices("GPU")
    if kind == "cpu":
        tf.config.set_visible_devices([], "GPU")
        if replicas > 1:
            cpu, *_ = tf.config.list_physical_devices("CPU")
            pretended = [tf.config.LogicalDeviceConfiguration() for _ in range(replicas)]
            tf.config.set_logical_device_configuration(cpu, pretended)
    elif not gpus:
        built = tf.sysconfig.get_build_info()
        reason = (
            "this TensorFlow is built without CUDA (remedy: make setup BUILD=cuda)"
            if not tf.test.is_built_with_cuda()
            else "it could not load its CUDA libraries or reach the card (remedy: read the warnings in this log, "
            f"compare `nvidia-smi` with CUDA {built.get('cuda_version')} and cuDNN {built.get('cudnn_version')})"
        )
        raise WrongDevice(f"a GPU was asked for, but TensorFlow {tf.__version__} sees none: {reason}")
    elif len(gpus) < replicas:
        raise WrongDevice(
            f"{replicas} GPUs were asked for, but TensorFlow {tf.__version__} sees {len(gpus)}: read the warnings in "
            "this log"
        )
    else:
        tf.config.set_visible_devices(gpus[:replicas], "GPU")
        for gpu in gpus[:replicas]:
            tf.config.experimental.set_memory_growth(gpu, True)
    devices = [f"/device:{kind.upper()}:{number}" for number in range(replicas)]
    return TensorFlowEngine(kind, devices, execution.precision, parts)


class _Devices(Protocol):
    """The devices of a run, each with a copy of the variables and of the data."""

    names: tuple[str, ...]

    def scope(self) -> AbstractContextManager[object]:
        """In it, variables are made on every device."""

    def place(self, make: Callable[[], tf.Tensor]) -> Any:
        """What `make` makes, on every device."""

    def run(self, function: Callable[..., tf.Tensor], *arguments: Any) -> tuple[tf.Tensor, ...]:
        """`function(number, *arguments)` on every device, with the device's number and its copies; all results."""

    def added(self, values: list[tf.Tensor]) -> list[tf.Tensor]:
        """Inside `function`: the sums of these values over all devices."""

    def copies(self, value: Any) -> tuple[Any, ...]:
        """The copy of each device."""


class _OneDevice:
    def __init__(self, name: str) -> None:
        self.names: tuple[str, ...] = (name,)

    def scope(self) -> AbstractContextManager[object]:
        scope: AbstractContextManager[object] = tf.device(self.names[0])
        return scope

    def place(self, make: Callable[[], tf.Tensor]) -> tf.Tensor:
        with self.scope():
            return make()

    def run(self, function: Callable[..., tf.Tensor], *arguments: Any) -> tuple[tf.Tensor, ...]:
        with self.scope():
            return (function(0, *arguments),)

    def added(self, values: list[tf.Tensor]) -> list[tf.Tensor]:
        return values

    def copies(self, value: Any) -> tuple[Any, ...]:
        return (value,)


class _MirroredDevices:
    """By TensorFlow's own strategy for several devices of one machine; NCCL adds up what lies on GPUs."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._strategy = _mirrored_strategy(self.names)

    def scope(self) -> AbstractContextManager[object]:
        scope: AbstractContextManager[object] = self._strategy.scope()
        return scope

    def place(self, make: Callable[[], tf.Tensor]) -> Any:
        copies = []
        for name in self.names:
            # The strategy itself would make them all on the first device.
            with tf.device(name):
                copies.append(make())
        return self._strategy.experimental_distribute_values_from_function(
            lambda context: copies[context.replica_id_in_sync_group]
        )

    def run(self, function: Callable[..., tf.Tensor], *arguments: Any) -> tuple[tf.Tensor, ...]:
        def numbered(*copies: Any) -> tf.Tensor:
            number = tf.get_static_value(tf.distribute.get_replica_context().replica_id_in_sync_group)
            return function(int(number), *copies)

        return self.copies(self._strategy.run(numbered, args=arguments))

    def added(self, values: list[tf.Tensor]) -> list[tf.Tensor]:
        added: list[tf.Tensor] = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, values)
        return added

    def copies(self, value: Any) -> tuple[Any, ...]:
        copies: tuple[Any, ...] = self._strategy.experimental_local_results(value)
        return copies


@functools.cache
def _mirrored_strategy(names: tuple[str, ...]) -> tf.distribute.MirroredStrategy:
    """One for all engines of a process: what several add up would otherwise bear the same numbers and be mixed up."""
    return tf.distribute.MirroredStrategy(names)


class TensorFlowEngine:
    """One model on the devices of a run. The calls come in the order of `engines.shared.interface.Engine`."""

    def __init__(self, kind: str, devices: Sequence[str], precision_name: str = "float32", parts: int = 1) -> None:
        """Take each device's share of a batch in so many parts, that go side by side."""
        self._kind = kind
        self._devices: _Devices = _OneDevice(devices[0]) if len(devices) == 1 else _MirroredDevices(devices)
        self._precision = precision.PRECISIONS[precision_name]
        self._type = tf.as_dtype(self._precision.compute_type)
        self._parts = parts
        self._train: tuple[Any, Any]
        self._test: tuple[Any, Any]
        self._train_samples = self._test_samples = 0
        self._variables: dict[str, tf.Variable] = {}
        self._turned: frozenset[str] = frozenset()
        self._slots: list[tf.Variable] = []
        self._scaling: _LossScaling | None = None
        self._epoch: Any
        self._evaluate: Any
        self._batches = 0
        self._steps_done = 0
        self._first_loss: list[tf.Tensor]

    def threads(self) -> Threads:
        """Threads in force."""
        threading = tf.config.threading
        return Threads(threading.get_intra_op_parallelism_threads(), threading.get_inter_op_parallelism_threads())

    def versions(self) -> Mapping[str, str | None]:
        """Versions of TensorFlow, of the CUDA and cuDNN that it was built for, and of numpy."""
        built = tf.sysconfig.get_build_info()
        return {
            "tensorflow": tf.__version__,
            "numpy": np.__version__,
            "cuda": built.get("cuda_version"),
            "cudnn": built.get("cudnn_version"),
        }

    def flags(self) -> Mapping[str, bool | None]:
        """TF32 and determinism, as in force."""
        return {
            "tf32": tf.config.experimental.tensor_float_32_execution_enabled(),
            "deterministic": os.environ.get("TF_DETERMINISTIC_OPS", "").lower() in ("1", "true"),
        }

    def place(self, images: Images) -> None:
        """Put the data on each device: pixels / 255 [samples, pixels], labels as int64 [samples].

        TensorFlow keeps int32 tensors in host memory even on a GPU; int64 ones lie on the device.
        """
        with _naming_out_of_memory():
            self._train = self._placed(images.train_images, images.train_labels)
            self._test = self._placed(images.test_images, images.test_labels)
            _wait()
        self._train_samples, self._test_samples = len(images.train_images), len(images.test_images)

    def _placed(self, images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> tuple[Any, Any]:
        return (
            self._devices.place(lambda: tf.cast(_pixels(images), self._type)),
            self._devices.place(lambda: tf.constant(labels.astype(np.int64))),
        )

    def build(self, spec: ModelSpec, parameters: Parameters, batch_size: int, seed: int) -> None:
        """Create the variables, compile both loops, run a step of each and undo the training step.

        Raises:
            WrongPrecision: TensorFlow has no operations for it on such a device.
        """
        with _naming_out_of_memory(), _naming_missing_operations(self._kind, self._type.name):
            with self._devices.scope():
                self._turned = _turned(spec.layers, parameters) if self._kind == "cpu" else frozenset()
                self._variables = {
                    name: tf.Variable(value.T if name in self._turned else value) for name, value in parameters.items()
                }
                self._slots = _slots(spec.optimiser, self._variables)
                self._scaling = _LossScaling() if self._precision.is_scaled else None
            changed = list(self._changing().values())
            before = [self._value(variable) for variable in changed]
            count = tf.TensorSpec((), tf.int32)
            training, evaluation = self._training_loop(spec, batch_size, seed), self._evaluation_loop(spec.layers)
            self._epoch = tf.function(training, input_signature=(count,) * 3, autograph=False)
            self._evaluate = tf.function(evaluation, input_signature=(count,), autograph=False)
            self._batches = self._train_samples // batch_size
            self._first_loss = self._epoch(_integer(0), _integer(1), _integer(0))
            for variable, value in zip(changed, before, strict=True):
                variable.assign(value)
            self._evaluate(_integer(min(1, self._whole_test_batches())))
            _wait()

    def prove_device(self) -> DeviceProof:
        """Find out where the variables and the losses that the compiled step has computed lie.

        Raises:
            WrongDevice: not on the devices that were asked for.
        """
        variables = [copy for variable in self._variables.values() for copy in self._devices.copies(variable)]
        proof = DeviceProof(
            kind=self._kind,
            parameters_on=tuple(sorted({_short(variable.device) for variable in variables})),
            # `device` of what a function returns is the function's, not that of its operations.
            computation_on=tuple(sorted({_short(loss.backing_device) for loss in self._first_loss})),
        )
        if not set(proof.parameters_on) == set(proof.computation_on) == set(self._devices.names):
            raise WrongDevice(
                f"{', '.join(self._devices.names)} was asked for, but parameters lie on "
                f"{', '.join(proof.parameters_on)} and computed results on {', '.join(proof.computation_on)}; report "
                "this with the run's log"
            )
        return proof

    def product_types(self) -> frozenset[str]:
        """The types of what the compiled step multiplies, from the graph that is carried out."""
        graph = self._epoch.get_concrete_function().graph.as_graph_def()
        nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
        return frozenset(tf.as_dtype(node.attr["T"].type).name for node in nodes if node.op in _PRODUCTS)

    def multiply(self, left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[Any]:
        """The product of two matrices as the layers compute theirs."""
        with tf.device(self._devices.names[0]):
            product = tf.matmul(tf.cast(tf.constant(left), self._type), tf.cast(tf.constant(right), self._type))
            values: NDArray[Any] = tf.cast(product, tf.float32).numpy()
        return values

    def loss_scaling(self) -> LossScaling | None:
        """How the loss is scaled, where it is."""
        if self._scaling is None:
            return None
        return LossScaling(float(self._value(self._scaling.scale)), int(self._value(self._scaling.skipped_steps)))

    def train_epoch(self) -> float:
        """Train on every full batch in file order; the mean of the batches' losses."""
        with _naming_out_of_memory():
            losses = self._epoch(_integer(0), _integer(self._batches), _integer(self._steps_done))
            _wait()
        self._steps_done += self._batches
        return sum(float(loss) for loss in losses)

    def evaluate(self) -> int:
        """How many of all test images are classified rightly."""
        with _naming_out_of_memory():
            return int(self._evaluate(_integer(self._whole_test_batches())))

    def _whole_test_batches(self) -> int:
        return self._test_samples // EVALUATION_BATCH

    def parameters(self) -> Parameters:
        """The parameters as they are now."""
        values = {name: self._value(variable) for name, variable in self._variables.items()}
        return {name: value.T if name in self._turned else value for name, value in values.items()}

    def state(self) -> State:
        """Parameters, the optimiser's slots and the steps done, from which dropout's random numbers follow."""
        return {name: self._value(variable) for name, variable in self._changing().items()} | {
            STEPS_DONE: np.array([self._steps_done])
        }

    def restore(self, state: State) -> None:
        """Go on from the `state` of an engine that was built alike."""
        with _naming_out_of_memory():
            for name, variable in self._changing().items():
                variable.assign(state[name])
            _wait()
        self._steps_done = int(state[STEPS_DONE][0])

    def _changing(self) -> dict[str, tf.Variable]:
        """What a step changes, by names of its own."""
        parameters = {f"parameter/{name}": variable for name, variable in self._variables.items()}
        slots = {f"slot/{number}": slot for number, slot in enumerate(self._slots)}
        return parameters | slots | ({} if self._scaling is None else self._scaling.variables())

    def _value(self, variable: tf.Variable) -> NDArray[Any]:
        values: NDArray[Any] = np.asarray(self._devices.copies(variable)[0].numpy())
        return values

    def ceilings(self) -> Ceilings:
        """Measure what a device can do at most, products in the run's precision.

        Raises:
            OutOfMemory: too little memory is free for arrays that no cache holds.
        """
        # Imported late: what is wanted after the last epoch shall take no part in starting up.
        from trainbench.engines.shared import ceilings

        with _naming_out_of_memory():
            return ceilings.measure(_Probes(self._devices.names[0], self._type, self._parts), ceilings.room(self._kind))

    def _training_loop(self, spec: ModelSpec, batch_size: int, seed: int) -> Callable[..., list[tf.Tensor]]:
        """`loop(first_batch, batches, steps_done)`: train on these batches, give each device's share of the mean loss.

        The parts of a batch are computed apart from one another, and their losses and gradients added up.
        """
        variables, devices, parts = self._variables, self._devices, self._parts
        trained = list(variables.values())
        shares = sizes(batch_size, len(devices.names))

        def part(
            data: tuple[tf.Tensor, tf.Tensor], begin: tf.Tensor, size: int, dropout: tuple[int, tf.Tensor]
        ) -> tuple[tf.Tensor, list[tf.Tensor]]:
            images, labels = data
            x = tf.slice(images, [begin, 0], [size, images.shape[1]])
            y = tf.slice(labels, [begin], [size])
            with tf.GradientTape() as tape:
                logits = tf.cast(
                    _forward(spec.layers, variables, x, dropout, turned=self._turned, in_parts=parts > 1), tf.float32
                )
            # This operation gives each loss and its gradient at once; the mean's is a division.
            losses, slopes = tf.raw_ops.SparseSoftmaxCrossEntropyWithLogits(features=logits, labels=y)
            slopes = slopes / batch_size if self._scaling is None else slopes * (self._scaling.scale / batch_size)
            return tf.reduce_sum(losses), tape.gradient(logits, trained, output_gradients=slopes)

        def share(
            number: int, images: tf.Tensor, labels: tf.Tensor, batch: tf.Tensor, steps_done: tf.Tensor
        ) -> tf.Tensor:
            losses, gradients = [], []
            pieces = _pieces(batch * batch_size, sum(shares[:number]), sizes(shares[number], parts))
            for part_number, (begin, size) in enumerate(pieces):
                # A number of its own for each part and layer: layers are counted from the seed on.
                part_seed = seed + (number * parts + part_number) * len(spec.layers)
                part_loss, part_gradients = part((images, labels), begin, size, (part_seed, steps_done + batch))
                losses.append(part_loss)
                gradients.append(part_gradients)
            added = devices.added([tf.add_n(of_parts) for of_parts in zip(*gradients, strict=True)])
            if self._scaling is None:
                _descend(spec.optimiser, trained, self._slots, added)
            else:
                self._scaling.descend(spec.optimiser, trained, self._slots, added)
            return tf.add_n(losses) / batch_size

        def loop(first_batch: tf.Tensor, batches: tf.Tensor, steps_done: tf.Tensor) -> list[tf.Tensor]:
            def step(batch: tf.Tensor, *totals: tf.Tensor) -> tuple[tf.Tensor, ...]:
                losses = devices.run(share, *self._train, batch, steps_done)
                return batch + 1, *each(lambda total, loss: total + loss, totals, losses)

            def each(function: Callable[..., tf.Tensor], *values: Sequence[tf.Tensor]) -> Iterator[tf.Tensor]:
                for name, *of_device in zip(devices.names, *values, strict=True):
                    with tf.device(name):
                        yield function(*of_device)

            end = first_batch + batches
            zeros = each(lambda _: tf.zeros(()), devices.names)
            _, *totals = tf.while_loop(lambda batch, *_: batch < end, step, (first_batch, *zeros))
            return list(each(lambda total: total / tf.cast(batches, tf.float32), totals))

        return loop

    def _evaluation_loop(self, layers: tuple[Layer, ...]) -> Callable[..., tf.Tensor]:
        """`loop(batches)`: count what is classified rightly in so many batches, and in what whole batches leave."""
        devices, parts = self._devices, self._parts
        whole_batches, rest = divmod(self._test_samples, EVALUATION_BATCH)

        def part(images: tf.Tensor, labels: tf.Tensor, begin: tf.Tensor, size: int) -> tf.Tensor:
            x = tf.slice(images, [begin, 0], [size, images.shape[1]])
            logits = _forward(layers, self._variables, x, dropout=None, turned=self._turned, in_parts=parts > 1)
            right = tf.equal(tf.argmax(logits, axis=1), tf.slice(labels, [begin], [size]))
            return tf.reduce_sum(tf.cast(right, tf.int32))

        def count(begin: tf.Tensor, size: int) -> tf.Tensor:
            shares = sizes(size, len(devices.names))

            def share(number: int, images: tf.Tensor, labels: tf.Tensor, begin: tf.Tensor) -> tf.Tensor:
                pieces = _pieces(begin, sum(shares[:number]), filter(None, sizes(shares[number], parts)))
                counts = [part(images, labels, part_begin, part_size) for part_begin, part_size in pieces]
                return tf.add_n(counts) if counts else _integer(0)

            return tf.add_n(devices.run(share, *self._test, begin))

        def loop(batches: tf.Tensor) -> tf.Tensor:
            def step(batch: tf.Tensor, right: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
                return batch + 1, right + count(batch * EVALUATION_BATCH, EVALUATION_BATCH)

            with tf.device(devices.names[0]):
                _, right = tf.while_loop(lambda batch, _: batch < batches, step, (_integer(0), _integer(0)))
                return right + count(_integer(whole_batches * EVALUATION_BATCH), rest) if rest else right

        return loop


class _LossScaling:
    """The loss scale (`networks.precision` says how it changes), in variables that a compiled step changes."""

    def __init__(self) -> None:
        self.scale = tf.Variable(precision.FIRST_LOSS_SCALE, dtype=tf.float32)
        self.good_steps = tf.Variable(0, dtype=tf.int64)
        self.skipped_steps = tf.Variable(0, dtype=tf.int64)

    def variables(self) -> dict[str, tf.Variable]:
        """Its variables by names of their own."""
        return {f"loss_scaling/{name}": variable for name, variable in vars(self).items()}

    def descend(
        self, optimiser: Optimiser, variables: list[tf.Variable], slots: list[tf.Variable], scaled: list[tf.Tensor]
    ) -> None:
        """One step of the optimiser if all gradients are finite; then the scale's change.

        A condition would make the host wait for the GPU in every step. So the step is always taken: where a gradient is
        not finite, with gradients of zero and a mean square that is kept whole, which changes nothing.
        """
        scale = self.scale.read_value()
        are_finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(gradient)) for gradient in scaled])
        gradients = [tf.where(are_finite, gradient / scale, 0.0) for gradient in scaled]
        if isinstance(optimiser, RmsProp):
            optimiser = replace(optimiser, decay=tf.where(are_finite, optimiser.decay, 1.0))
        _descend(optimiser, variables, slots, gradients)
        good_steps = tf.where(are_finite, self.good_steps.read_value() + 1, 0)
        grows = good_steps >= precision.LOSS_SCALE_GROWS_AFTER
        factor = tf.where(grows, precision.LOSS_SCALE_GROWTH, 1.0)
        skipped_steps = self.skipped_steps.read_value() + tf.cast(tf.logical_not(are_finite), tf.int64)
        for variable, value in (
            (self.scale, scale * tf.where(are_finite, factor, 1 / precision.LOSS_SCALE_GROWTH)),
            (self.good_steps, tf.where(grows, tf.zeros_like(good_steps), good_steps)),
            (self.skipped_steps, skipped_steps),
        ):
            # Each device its own copy: `assign` would want to be told how to make one value of these, which are equal.
            tf.raw_ops.AssignVariableOp(resource=variable.handle, value=value)


class _Probes:
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
            _wait()

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

            return tf.while_loop(lambda done: done < times, step, (_integer(0),))

        compiled = tf.function(additions, autograph=False)

        def add(times: int) -> None:
            compiled(_integer(times))
            _wait()

        return add


@contextmanager
def _naming_out_of_memory() -> Iterator[None]:
    """Turn TensorFlow's error for too little memory into `OutOfMemory`."""
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        raise OutOfMemory(str(error.message).splitlines()[0]) from error
    except tf.errors.InternalError as error:
        # What a copy to a full GPU says.
        if "Dst tensor is not initialized" not in str(error.message):
            raise
        raise OutOfMemory("a copy to the GPU failed for lack of memory") from error


@contextmanager
def _naming_missing_operations(kind: str, compute_type: str) -> Iterator[None]:
    """Turn TensorFlow's errors for operations that it does not have in a type into `WrongPrecision`."""
    try:
        yield
    except (tf.errors.OpError, TypeError) as error:
        missing = _MISSING_OPERATION.search(str(error))
        if compute_type == "float32" or missing is None:
            raise
        raise WrongPrecision(
            f"TensorFlow {tf.__version__} cannot train this model in {compute_type} on a {kind.upper()}: "
            f"{missing[0].strip()}; choose another precision or framework"
        ) from error


def _pieces(begin: tf.Tensor, offset: int, lengths: Iterable[int]) -> Iterator[tuple[tf.Tensor, int]]:
    """Where each piece begins and its length, one after the other from `begin + offset` on; nothing is added to 0."""
    for length in lengths:
        yield (begin + offset if offset else begin), length
        offset += length


def _integer(value: int) -> tf.Tensor:
    return tf.constant(value, tf.int32)


def _wait() -> None:
    """Return when every device has finished what it was given."""
    tf.test.experimental.sync_devices()


def _short(device: str) -> str:
    """`/job:localhost/replica:0/task:0/device:CPU:0` -> `/device:CPU:0`."""
    return "/device:" + device.rpartition("/device:")[2]


def _pixels(images: NDArray[np.uint8]) -> tf.Tensor:
    """uint8 [samples, height, width] -> float32 [samples, height * width] in 0..1."""
    flat = tf.constant(images.reshape(len(images), -1))
    return tf.cast(flat, tf.float32) / 255.0


def _turned(layers: tuple[Layer, ...], parameters: Parameters) -> frozenset[str]:
    """The weights of layers with few outputs."""
    weights = (layer.weights for layer in layers if isinstance(layer, Dense))
    return frozenset(name for name in weights if parameters[name].shape[1] < NARROW)


def _slots(optimiser: Optimiser, variables: Mapping[str, tf.Variable]) -> list[tf.Variable]:
    """The optimiser's state: for RMSProp a mean square and a (here unused) momentum for each variable."""
    match optimiser:
        case Sgd():
            return []
        case RmsProp(initial_mean_square=initial):
            slots = []
            for variable in variables.values():
                slots.append(tf.Variable(tf.fill(variable.shape, initial)))
                slots.append(tf.Variable(tf.zeros(variable.shape)))
            return slots


def _descend(
    optimiser: Optimiser, variables: list[tf.Variable], slots: list[tf.Variable], gradients: list[tf.Tensor]
) -> None:
    """One step of the optimiser, by the very operations that TensorFlow 1's optimisers called."""
    match optimiser:
        case Sgd(learning_rate):
            for variable, gradient in zip(variables, gradients, strict=True):
                tf.raw_ops.ResourceApplyGradientDescent(var=variable.handle, alpha=learning_rate, delta=gradient)
        case RmsProp(learning_rate, decay, epsilon):
            slot_pairs = zip(slots[0::2], slots[1::2], strict=True)
            for variable, gradient, (mean_square, momentum) in zip(variables, gradients, slot_pairs, strict=True):
                tf.raw_ops.ResourceApplyRMSProp(
                    var=variable.handle,
                    ms=mean_square.handle,
                    mom=momentum.handle,
                    lr=learning_rate,
                    rho=decay,
                    momentum=0.0,
                    epsilon=epsilon,
                    grad=gradient,
                )


def _forward(
    layers: tuple[Layer, ...],
    variables: Mapping[str, tf.Variable],
    x: tf.Tensor,
    dropout: tuple[int, tf.Tensor] | None,
    *,
    turned: frozenset[str],
    in_parts: bool,
) -> tf.Tensor:
    """Logits [batch, classes] of pixels [batch, pixels], all computed in the type of the pixels.

    `dropout` is (seed, step), None when not training; `turned` names the weights that are [outputs, inputs].
    """
    batch = x.shape[0]
    typed = {name: tf.cast(variable, x.dtype) for name, variable in variables.items()}
    for position, layer in enumerate(with_pooling_before_relu(layers)):
        match layer:
            case Reshape(shape):
                x = tf.reshape(x, (batch, *shape))
            case Dense(weights, bias, relu):
                x = tf.matmul(x, typed[weights], transpose_b=weights in turned)
                if bias is not None:
                    x = x + typed[bias]
                x = tf.nn.relu(x) if relu else x
            case Conv2D(kernel, relu):
                x = tf.nn.conv2d(x, typed[kernel], strides=1, padding="SAME")
                x = tf.nn.relu(x) if relu else x
            case MaxPool2D(size):
                x = tf.nn.max_pool2d(x, size, size, padding="SAME")
            case Relu():
                x = tf.nn.relu(x)
            case Dropout(keep) if dropout is not None and keep < 1.0:
                seed, step = dropout
                x = x * dropout_factors(x, keep, seed + position, step)
            case Dropout():
                pass
            case Lstm():
                # The operation for the whole layer has no form for bfloat16.
                in_one = in_parts and x.dtype != tf.bfloat16
                x = _lstm_in_one(layer, typed, x) if in_one else _lstm(layer, typed, x)
    return x


def dropout_factors(x: tf.Tensor, keep: float, seed: int, step: tf.Tensor) -> tf.Tensor:
    """What dropout multiplies each value of `x` by: 0, or 1 / keep with the probability `keep`.

    `seed` is that of the layer. It takes 16 random bits a value, half the time of a random float32 for each. `keep` is
    rounded to a multiple of 2**-16; dividing by what it is rounded to leaves the expected value as it is.
    """
    steps = min(max(round(keep * 2**16), 1), 2**16 - 1)
    values = x.shape.num_elements()
    state = tf.stack([_integer(seed % 2**31), step])
    pairs = tf.random.stateless_uniform((-(-values // 2),), state, None, None, tf.uint32)
    bits = tf.reshape(tf.bitcast(pairs, tf.uint16), [-1])[:values]
    kept = tf.reshape(bits, x.shape) < tf.constant(steps, tf.uint16)
    return tf.cast(kept, x.dtype) * (2**16 / steps)


def _lstm_in_one(layer: Lstm, parameters: Mapping[str, tf.Tensor], x: tf.Tensor) -> tf.Tensor:
    """What `_lstm` gives, by TensorFlow's one operation for the whole layer.

    It is as fast for a thread of its own and traced in a tenth of the time, but does not take well to several threads.
    Gates are in its order, and nothing is clipped or looked at besides.
    """
    steps, batch, units = x.shape[1], x.shape[0], layer.units
    begin, no_peephole = tf.zeros((batch, units), x.dtype), tf.zeros((units,), x.dtype)
    outputs = tf.raw_ops.BlockLSTM(
        seq_len_max=tf.constant(steps, tf.int64),
        x=tf.transpose(x, (1, 0, 2)),
        cs_prev=begin,
        h_prev=begin,
        w=parameters[layer.kernel],
        wci=no_peephole,
        wcf=no_peephole,
        wco=no_peephole,
        b=parameters[layer.bias],
        forget_bias=layer.forget_bias,
        cell_clip=-1.0,
        use_peephole=False,
    )
    return outputs.h[-1]


def _lstm(layer: Lstm, parameters: Mapping[str, tf.Tensor], x: tf.Tensor) -> tf.Tensor:
    """Last output [batch, units] of the layer over x [batch, steps, inputs], unrolled as TensorFlow 1's static_rnn."""
    kernel, bias = parameters[layer.kernel], parameters[layer.bias]
    state = output = tf.zeros((x.shape[0], layer.units), x.dtype)
    for row in tf.unstack(x, axis=1):
        gates = tf.matmul(tf.concat([row, output], axis=1), kernel) + bias
        input_gate, new_input, forget_gate, output_gate = tf.split(gates, 4, axis=1)
        state = state * tf.sigmoid(forget_gate + layer.forget_bias) + tf.sigmoid(input_gate) * tf.tanh(new_input)
        output = tf.tanh(state) * tf.sigmoid(output_gate)
    return output
