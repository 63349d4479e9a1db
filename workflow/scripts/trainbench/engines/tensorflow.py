"""Trains with TensorFlow: data on the device, one compiled call an epoch."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from trainbench.engines import Ceilings, DeviceProof, Images, OutOfMemory, State, Threads, WrongDevice
from trainbench.models import (
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
from trainbench.parameters import Parameters

_STEPS_DONE: Final = "steps_done"

SMALLEST_PART: Final = 64
"""Images of a batch that are worth a thread of their own; with 32 each, batches of 128 trained more slowly."""

EVALUATION_BATCH: Final = 1000
"""Test images a step of the evaluation loop: bounds its memory, 0.1 GiB for conv's first layer."""


def parts_of_a_batch(kind: str, threads: int, batch_size: int) -> int:
    """How many parts of a batch are computed side by side, each by one thread.

    These networks are chains of small operations. Where each operation is shared among the threads, these wait for one
    another thousands of times a step; where each thread has a part of the batch, once (docs/performance.md). With fewer
    images for each thread, and on a GPU, there is one part.
    """
    return threads if kind == "cpu" and batch_size // threads >= SMALLEST_PART else 1


def start(kind: str, threads: int, batch_size: int) -> "TensorFlowEngine":
    """Bring TensorFlow up on one device.

    Either each thread has a part of the batch, so that operations get one thread each and as many go side by side; or
    each operation gets all threads, one operation after the other.

    Raises:
        WrongDevice: a GPU is asked for and TensorFlow sees none.
    """
    parts = parts_of_a_batch(kind, threads, batch_size)
    tf.config.threading.set_intra_op_parallelism_threads(1 if parts > 1 else threads)
    tf.config.threading.set_inter_op_parallelism_threads(parts)
    tf.config.experimental.enable_tensor_float_32_execution(False)
    gpus = tf.config.list_physical_devices("GPU")
    if kind == "cpu":
        tf.config.set_visible_devices([], "GPU")
        return TensorFlowEngine(kind, "/device:CPU:0", parts)
    if not gpus:
        built = tf.sysconfig.get_build_info()
        reason = (
            "this TensorFlow is built without CUDA (remedy: make setup TENSORFLOW=cuda)"
            if not tf.test.is_built_with_cuda()
            else "it could not load its CUDA libraries or reach the card (remedy: read the warnings in this log, "
            f"compare `nvidia-smi` with CUDA {built.get('cuda_version')} and cuDNN {built.get('cudnn_version')})"
        )
        raise WrongDevice(f"a GPU was asked for, but TensorFlow {tf.__version__} sees none: {reason}")
    tf.config.set_visible_devices(gpus[:1], "GPU")
    tf.config.experimental.set_memory_growth(gpus[0], True)
    return TensorFlowEngine(kind, "/device:GPU:0", parts)


class TensorFlowEngine:
    """One model on one device. The calls come in the order of `trainbench.engines.Engine`."""

    def __init__(self, kind: str, device: str, parts: int = 1) -> None:
        """Take each batch in so many parts, that go side by side."""
        self._kind = kind
        self._device = device
        self._parts = parts
        self._train_images: tf.Tensor
        self._train_labels: tf.Tensor
        self._test_images: tf.Tensor
        self._test_labels: tf.Tensor
        self._variables: dict[str, tf.Variable] = {}
        self._slots: list[tf.Variable] = []
        self._epoch: Callable[..., tf.Tensor]
        self._evaluate: Callable[..., tf.Tensor]
        self._batches = 0
        self._steps_done = 0
        self._first_loss: tf.Tensor

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
        """Put the data on the device: pixels / 255 as float32 [samples, pixels], labels as int64 [samples].

        TensorFlow keeps int32 tensors in host memory even on a GPU; int64 ones lie on the device.
        """
        with tf.device(self._device), _naming_out_of_memory():
            self._train_images = _pixels(images.train_images)
            self._train_labels = tf.constant(images.train_labels.astype(np.int64))
            self._test_images = _pixels(images.test_images)
            self._test_labels = tf.constant(images.test_labels.astype(np.int64))
            _wait()

    def build(self, spec: ModelSpec, parameters: Parameters, batch_size: int, seed: int) -> None:
        """Create the variables, compile both loops, run a step of each and undo the training step."""
        with _naming_out_of_memory():
            with tf.device(self._device):
                self._variables = {name: tf.Variable(value) for name, value in parameters.items()}
                self._slots = _slots(spec.optimiser, self._variables)
                changed = [*self._variables.values(), *self._slots]
                before = [tf.identity(variable) for variable in changed]
            self._epoch = self._on_device(
                _training_loop(
                    spec,
                    self._variables,
                    self._slots,
                    self._train_images,
                    self._train_labels,
                    batch_size=batch_size,
                    seed=seed,
                    parts=self._parts,
                )
            )
            self._evaluate = self._on_device(
                _evaluation_loop(spec.layers, self._variables, self._test_images, self._test_labels, parts=self._parts)
            )
            self._batches = self._train_images.shape[0] // batch_size
            self._first_loss = self._epoch(_integer(0), _integer(1), _integer(0))
            for variable, value in zip(changed, before, strict=True):
                variable.assign(value)
            self._evaluate(_integer(min(1, self._whole_test_batches())))
            _wait()

    def _on_device(self, loop: Callable[..., tf.Tensor]) -> Callable[..., tf.Tensor]:
        """Compile `loop` into one graph call on the device."""

        def on_device(*arguments: tf.Tensor) -> tf.Tensor:
            with tf.device(self._device):
                return loop(*arguments)

        compiled: Callable[..., tf.Tensor] = tf.function(on_device, autograph=False)
        return compiled

    def prove_device(self) -> DeviceProof:
        """Find out where the variables and the loss that the compiled step has computed lie.

        Raises:
            WrongDevice: not on the device that was asked for.
        """
        variables = self._variables.values()
        proof = DeviceProof(
            kind=self._kind,
            parameters_on=tuple(sorted({_short(variable.device) for variable in variables})),
            computation_on=_short(self._first_loss.device),
        )
        if {*proof.parameters_on, proof.computation_on} != {self._device}:
            raise WrongDevice(
                f"{self._device} was asked for, but parameters lie on {', '.join(proof.parameters_on)} and a computed "
                f"result on {proof.computation_on}; report this with the run's log"
            )
        return proof

    def train_epoch(self) -> float:
        """Train on every full batch in file order; the mean of the batches' losses."""
        with _naming_out_of_memory():
            loss = self._epoch(_integer(0), _integer(self._batches), _integer(self._steps_done))
            _wait()
        self._steps_done += self._batches
        return float(loss)

    def evaluate(self) -> int:
        """How many of all test images are classified rightly."""
        with _naming_out_of_memory():
            return int(self._evaluate(_integer(self._whole_test_batches())))

    def _whole_test_batches(self) -> int:
        return int(self._test_images.shape[0]) // EVALUATION_BATCH

    def parameters(self) -> Parameters:
        """The parameters as they are now."""
        return {name: variable.numpy() for name, variable in self._variables.items()}

    def state(self) -> State:
        """Parameters, the optimiser's slots and the steps done, from which dropout's random numbers follow."""
        return {name: variable.numpy() for name, variable in self._changing().items()} | {
            _STEPS_DONE: np.array([self._steps_done])
        }

    def restore(self, state: State) -> None:
        """Go on from the `state` of an engine that was built alike."""
        with _naming_out_of_memory():
            for name, variable in self._changing().items():
                variable.assign(state[name])
            _wait()
        self._steps_done = int(state[_STEPS_DONE][0])

    def _changing(self) -> dict[str, tf.Variable]:
        """What a step changes, by names of its own."""
        parameters = {f"parameter/{name}": variable for name, variable in self._variables.items()}
        return parameters | {f"slot/{number}": slot for number, slot in enumerate(self._slots)}

    def ceilings(self) -> Ceilings:
        """Measure what the device can do at most, in float32.

        Raises:
            OutOfMemory: too little memory is free for arrays that no cache holds.
        """
        # Imported late: what is wanted after the last epoch shall take no part in starting up.
        from trainbench.engines import ceilings

        with _naming_out_of_memory():
            return ceilings.measure(_Probes(self._device, self._parts), ceilings.room(self._kind))


class _Probes:
    """`trainbench.engines.ceilings.Probes` on one device, compiled and shared among threads like the epochs are."""

    def __init__(self, device: str, parts: int) -> None:
        self._device = device
        self._parts = parts
        matrix = tf.TensorSpec((None, None), tf.float32)
        rows = [matrix] * parts
        self._multiply = tf.function(self._multiplied, input_signature=(rows, matrix), autograph=False)

    def _multiplied(self, lefts: list[tf.Tensor], right: tf.Tensor) -> list[tf.Tensor]:
        with tf.device(self._device):
            return [tf.matmul(left, right) for left in lefts]

    def product(self, size: int) -> Callable[[], None]:
        """Random matrices: a GPU draws less power, and clocks higher, for constant ones."""
        with tf.device(self._device):
            left, right = (tf.random.stateless_uniform((size, size), seed=(size, side), minval=-1.0) for side in (1, 2))
            lefts = tf.split(left, _sizes(size, self._parts))

        def multiply() -> None:
            self._multiply(lefts, right)
            _wait()

        return multiply

    def addition(self, values: int) -> Callable[[int], None]:
        """The loop over additions is part of the graph, so that starting a call is no part of an addition."""
        with tf.device(self._device):
            sources = [tf.ones(size) for size in _sizes(values, self._parts)]
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


def _integer(value: int) -> tf.Tensor:
    return tf.constant(value, tf.int32)


def _wait() -> None:
    """Return when every device has finished what it was given."""
    tf.test.experimental.sync_devices()


def _short(device: str) -> str:
    """`/job:localhost/replica:0/task:0/device:CPU:0` -> `/device:CPU:0`."""
    return "/device:" + device.rpartition("/device:")[2]


def _sizes(whole: int, parts: int) -> list[int]:
    """`whole` in so many parts that differ by one at most."""
    least, larger = divmod(whole, parts)
    return [least + 1] * larger + [least] * (parts - larger)


def _pixels(images: NDArray[np.uint8]) -> tf.Tensor:
    """uint8 [samples, height, width] -> float32 [samples, height * width] in 0..1."""
    flat = tf.constant(images.reshape(len(images), -1))
    return tf.cast(flat, tf.float32) / 255.0


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


def _training_loop(
    spec: ModelSpec,
    variables: Mapping[str, tf.Variable],
    slots: list[tf.Variable],
    images: tf.Tensor,
    labels: tf.Tensor,
    *,
    batch_size: int,
    seed: int,
    parts: int,
) -> Callable[..., tf.Tensor]:
    """`loop(first_batch, batches, steps_done)`: train on these batches, return the mean loss.

    The parts of a batch are computed apart from one another, and their losses and gradients added up.
    """
    pixels = images.shape[1]
    trained = list(variables.values())

    def part(begin: tf.Tensor, size: int, dropout: tuple[int, tf.Tensor]) -> tuple[tf.Tensor, list[tf.Tensor]]:
        x = tf.slice(images, [begin, 0], [size, pixels])
        y = tf.slice(labels, [begin], [size])
        with tf.GradientTape() as tape:
            logits = _forward(spec.layers, variables, x, dropout, in_parts=parts > 1)
        # This operation gives each loss and its gradient at once; the mean's is a division.
        losses, slopes = tf.raw_ops.SparseSoftmaxCrossEntropyWithLogits(features=logits, labels=y)
        return tf.reduce_sum(losses), tape.gradient(logits, trained, output_gradients=slopes / batch_size)

    def loop(first_batch: tf.Tensor, batches: tf.Tensor, steps_done: tf.Tensor) -> tf.Tensor:
        def step(batch: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            begin = batch * batch_size
            losses, gradients = [], []
            for number, size in enumerate(_sizes(batch_size, parts)):
                # A number of its own for each part and layer: layers are counted from the seed on.
                part_seed = seed + number * len(spec.layers)
                part_loss, part_gradients = part(begin, size, (part_seed, steps_done + batch))
                losses.append(part_loss)
                gradients.append(part_gradients)
                begin += size
            _descend(spec.optimiser, trained, slots, [tf.add_n(of_parts) for of_parts in zip(*gradients, strict=True)])
            return batch + 1, total + tf.add_n(losses) / batch_size

        end = first_batch + batches
        _, total = tf.while_loop(lambda batch, _: batch < end, step, (first_batch, tf.zeros(())))
        return total / tf.cast(batches, tf.float32)

    return loop


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


def _evaluation_loop(
    layers: tuple[Layer, ...],
    variables: Mapping[str, tf.Variable],
    images: tf.Tensor,
    labels: tf.Tensor,
    *,
    parts: int,
) -> Callable[..., tf.Tensor]:
    """`loop(batches)`: count what is classified rightly in so many batches, and in what whole batches leave over."""
    samples, pixels = images.shape
    whole_batches, rest = divmod(samples, EVALUATION_BATCH)

    def count(begin: tf.Tensor, size: int) -> tf.Tensor:
        x = tf.slice(images, [begin, 0], [size, pixels])
        logits = _forward(layers, variables, x, dropout=None, in_parts=parts > 1)
        predicted = tf.argmax(logits, axis=1)
        right = tf.equal(predicted, tf.slice(labels, [begin], [size]))
        return tf.reduce_sum(tf.cast(right, tf.int32))

    def loop(batches: tf.Tensor) -> tf.Tensor:
        def step(batch: tf.Tensor, right: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            begin = batch * EVALUATION_BATCH
            counts = []
            for size in _sizes(EVALUATION_BATCH, parts):
                counts.append(count(begin, size))
                begin += size
            return batch + 1, right + tf.add_n(counts)

        _, right = tf.while_loop(lambda batch, _: batch < batches, step, (_integer(0), _integer(0)))
        return right + count(_integer(whole_batches * EVALUATION_BATCH), rest) if rest else right

    return loop


def _forward(
    layers: tuple[Layer, ...],
    variables: Mapping[str, tf.Variable],
    x: tf.Tensor,
    dropout: tuple[int, tf.Tensor] | None,
    *,
    in_parts: bool,
) -> tf.Tensor:
    """Logits [batch, classes] of pixels [batch, pixels]; `dropout` is (seed, step), None when not training."""
    batch = x.shape[0]
    for position, layer in enumerate(_with_pooling_before_relu(layers)):
        match layer:
            case Reshape(shape):
                x = tf.reshape(x, (batch, *shape))
            case Dense(weights, bias, relu):
                x = tf.matmul(x, variables[weights])
                if bias is not None:
                    x = x + variables[bias]
                x = tf.nn.relu(x) if relu else x
            case Conv2D(kernel, relu):
                x = tf.nn.conv2d(x, variables[kernel], strides=1, padding="SAME")
                x = tf.nn.relu(x) if relu else x
            case MaxPool2D(size):
                x = tf.nn.max_pool2d(x, size, size, padding="SAME")
            case _Relu():
                x = tf.nn.relu(x)
            case Dropout(keep) if dropout is not None and keep < 1.0:
                seed, step = dropout
                state = tf.stack([_integer((seed + position) % 2**31), step])
                x = dropped_out(x, keep, state)
            case Dropout():
                pass
            case Lstm():
                x = _lstm_in_one(layer, variables, x) if in_parts else _lstm(layer, variables, x)
    return x


@dataclass(frozen=True)
class _Relu:
    """ReLU on its own, after the layer that it was a part of."""


def _with_pooling_before_relu(layers: tuple[Layer, ...]) -> Iterator[Layer | _Relu]:
    """The layers, with each convolution's ReLU moved behind the pooling that follows it.

    The maximum of a window is the same before and after ReLU, and so is the value that the gradient goes to, unless the
    maximum is not positive: then ReLU passes none on. After pooling there is a quarter of the work.
    """
    waiting = False
    for layer, following in zip(layers, (*layers[1:], None), strict=True):
        match layer:
            case Conv2D(kernel, relu=True) if isinstance(following, MaxPool2D):
                yield Conv2D(kernel)
                waiting = True
            case MaxPool2D() if waiting:
                yield layer
                yield _Relu()
                waiting = False
            case _:
                yield layer


def dropped_out(x: tf.Tensor, keep: float, seed: tf.Tensor) -> tf.Tensor:
    """Dropout with 16 random bits a value, which takes half the time of a random float32 for each.

    `keep` is rounded to a multiple of 2**-16; dividing by what it is rounded to leaves the expected value as it is.
    """
    steps = min(max(round(keep * 2**16), 1), 2**16 - 1)
    pairs = tf.random.stateless_uniform((-(-x.shape.num_elements() // 2),), seed, None, None, tf.uint32)
    bits = tf.reshape(tf.bitcast(pairs, tf.uint16), [-1])[: x.shape.num_elements()]
    kept = tf.reshape(bits, x.shape) < tf.constant(steps, tf.uint16)
    return x * (tf.cast(kept, tf.float32) * (2**16 / steps))


def _lstm_in_one(layer: Lstm, variables: Mapping[str, tf.Variable], x: tf.Tensor) -> tf.Tensor:
    """What `_lstm` gives, by TensorFlow's one operation for the whole layer.

    It is as fast for a thread of its own and traced in a tenth of the time, but does not take well to several threads.
    Gates are in its order, and nothing is clipped or looked at besides.
    """
    steps, batch, units = x.shape[1], x.shape[0], layer.units
    begin, no_peephole = tf.zeros((batch, units)), tf.zeros((units,))
    outputs = tf.raw_ops.BlockLSTM(
        seq_len_max=tf.constant(steps, tf.int64),
        x=tf.transpose(x, (1, 0, 2)),
        cs_prev=begin,
        h_prev=begin,
        w=variables[layer.kernel],
        wci=no_peephole,
        wcf=no_peephole,
        wco=no_peephole,
        b=variables[layer.bias],
        forget_bias=layer.forget_bias,
        cell_clip=-1.0,
        use_peephole=False,
    )
    return outputs.h[-1]


def _lstm(layer: Lstm, variables: Mapping[str, tf.Variable], x: tf.Tensor) -> tf.Tensor:
    """Last output [batch, units] of the layer over x [batch, steps, inputs], unrolled as TensorFlow 1's static_rnn."""
    kernel, bias = variables[layer.kernel], variables[layer.bias]
    state = output = tf.zeros((x.shape[0], layer.units))
    for row in tf.unstack(x, axis=1):
        gates = tf.matmul(tf.concat([row, output], axis=1), kernel) + bias
        input_gate, new_input, forget_gate, output_gate = tf.split(gates, 4, axis=1)
        state = state * tf.sigmoid(forget_gate + layer.forget_bias) + tf.sigmoid(input_gate) * tf.tanh(new_input)
        output = tf.tanh(state) * tf.sigmoid(output_gate)
    return output
