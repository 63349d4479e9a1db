"""Trains with TensorFlow: data on the device, one compiled call an epoch."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from trainbench.engines.shared import engine, loss_scale
from trainbench.engines.shared.batches import EVALUATION_BATCH, parts_of_a_batch, sizes
from trainbench.engines.shared.framework import Framework
from trainbench.engines.shared.interface import Execution, Images, State, Threads
from trainbench.engines.tensorflow.descent import descend, descend_scaled, slots_of
from trainbench.engines.tensorflow.devices import Devices, wait
from trainbench.engines.tensorflow.layers import forward
from trainbench.engines.tensorflow.probes import Probes
from trainbench.networks.models import Dense, Layer, ModelSpec
from trainbench.networks.parameters import Parameters

NARROW: Final = 16
"""A layer with fewer outputs keeps its weights turned on a CPU, so that its gradient's product has its long side last.

With 784 inputs and 10 outputs an epoch takes a tenth less at batch size 512, and as long at 128 (docs/performance.md).
"""

_PRODUCTS: Final = ("MatMul", "Conv2D", "Conv2DBackpropInput", "Conv2DBackpropFilter", "BlockLSTM", "BlockLSTMGrad")
"""Operations whose attribute T says what they multiply."""

_MISSING_OPERATION: Final = re.compile(
    r".*(No OpKernel was registered|No registered|Could not find device|not in list of allowed values|"
    r"not implemented|[Uu]nimplemented|not supported|[Uu]nsupported).*"
)
"""The line in which an error of TensorFlow's says that an operation is not there for a type."""


def _out_of_memory(error: Exception) -> str | None:
    match error:
        case tf.errors.ResourceExhaustedError():
            return str(error.message).splitlines()[0]
        # What a copy to a full GPU says.
        case tf.errors.InternalError() if "Dst tensor is not initialized" in str(error.message):
            return "a copy to the GPU failed for lack of memory"
    return None


def _missing_operation(error: Exception) -> str | None:
    found = _MISSING_OPERATION.search(str(error)) if isinstance(error, (tf.errors.OpError, TypeError)) else None
    return found and found[0].strip()


FRAMEWORK: Final = Framework("TensorFlow", tf.__version__, _out_of_memory, _missing_operation)


def start(execution: Execution) -> "TensorFlowEngine":
    """Bring TensorFlow up on its devices.

    Either each thread has a part of the batch, so that operations get one thread each and as many go side by side; or
    each operation gets all threads, one operation after the other. Each of several GPUs has a thread that gives it its
    operations.

    Raises:
        Refused: GPUs are asked for and TensorFlow sees fewer.
    """
    kind, replicas = execution.kind, execution.replicas
    parts = parts_of_a_batch(kind, execution.threads, execution.batch_size // replicas)
    tf.config.threading.set_intra_op_parallelism_threads(1 if parts > 1 else execution.threads)
    tf.config.threading.set_inter_op_parallelism_threads(replicas if kind == "gpu" else parts)
    tf.config.experimental.enable_tensor_float_32_execution(execution.precision == "tf32")
    gpus = tf.config.list_physical_devices("GPU")
    if kind == "cpu":
        tf.config.set_visible_devices([], "GPU")
    else:
        built = tf.sysconfig.get_build_info()
        FRAMEWORK.demand_gpus(
            replicas,
            len(gpus),
            is_built_with_cuda=tf.test.is_built_with_cuda(),
            otherwise="it could not load its CUDA libraries or reach the card (remedy: read the warnings in this log, "
            f"compare `nvidia-smi` with CUDA {built.get('cuda_version')} and cuDNN {built.get('cudnn_version')})",
        )
        tf.config.set_visible_devices(gpus[:replicas], "GPU")
        for gpu in gpus[:replicas]:
            tf.config.experimental.set_memory_growth(gpu, True)
    return TensorFlowEngine(execution, [f"/device:{kind.upper()}:{number}" for number in range(replicas)], parts)


class TensorFlowEngine(engine.Engine):
    """One model on the devices of a run."""

    def __init__(self, execution: Execution, devices: Sequence[str], parts: int = 1) -> None:
        """Take each device's share of a batch in so many parts, that go side by side."""
        super().__init__(FRAMEWORK, execution)
        self._devices = Devices(devices)
        self._type = tf.as_dtype(self._precision.compute_type)
        self._parts = parts

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

    def _place(self, images: Images) -> None:
        self._train = self._placed(images.train_images, images.train_labels)
        self._test = self._placed(images.test_images, images.test_labels)
        wait()

    def _placed(self, images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> tuple[Any, Any]:
        """Images [samples, pixels], labels as int64: TensorFlow keeps int32 in host memory even on a GPU."""
        flat = images.reshape(len(images), -1)
        return (
            self._devices.place(lambda: tf.cast(tf.cast(tf.constant(flat), tf.float32) / 255.0, self._type)),
            self._devices.place(lambda: tf.constant(labels.astype(np.int64))),
        )

    def _build(self, spec: ModelSpec, parameters: Parameters, seed: int) -> None:
        with self._framework.naming_missing_operations(self._execution):
            self._make_variables(spec, parameters)
            before = {name: self._value(variable) for name, variable in self._changing.items()}
            count = tf.TensorSpec((), tf.int32)
            training, evaluation = self._training_loop(spec, seed), self._evaluation_loop(spec.layers)
            self._epoch = tf.function(training, input_signature=(count,) * 3, autograph=False)
            self._evaluation = tf.function(evaluation, input_signature=(count,), autograph=False)
            self._first_loss = self._epoch(tf.constant(0), tf.constant(1), tf.constant(0))
            for name, value in before.items():
                self._changing[name].assign(value)
            self._evaluation(tf.constant(min(1, self._whole_test_batches())))
            wait()

    def _make_variables(self, spec: ModelSpec, parameters: Parameters) -> None:
        self._turned = _turned(spec.layers, parameters) if self._execution.kind == "cpu" else frozenset()
        with self._devices.strategy.scope():
            self._variables = {
                name: tf.Variable(value.T if name in self._turned else value) for name, value in parameters.items()
            }
            self._slots = slots_of(spec.optimiser, self._variables)
            first = loss_scale.first(np.int64)
            self._scale = loss_scale.LossScale(*map(tf.Variable, first)) if self._precision.is_scaled else None
        self._changing = engine.named(self._variables, self._slots, self._scale)

    def _lies_on(self) -> tuple[Iterable[str], Iterable[str], Iterable[str]]:
        variables = [copy for variable in self._variables.values() for copy in self._devices.copies(variable)]
        return (
            self._devices.names,
            (_short(variable.device) for variable in variables),
            # `device` of what a function returns is the function's, not that of its operations.
            (_short(loss.backing_device) for loss in self._first_loss),
        )

    def product_types(self) -> frozenset[str]:
        """The types of what the compiled step multiplies, from the graph that is carried out."""
        graph = self._epoch.get_concrete_function().graph.as_graph_def()
        nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
        return frozenset(tf.as_dtype(node.attr["T"].type).name for node in nodes if node.op in _PRODUCTS)

    def multiply(self, left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[Any]:
        """The product of two matrices as the layers compute theirs."""
        with tf.device(self._devices.names[0]):
            product = tf.matmul(tf.cast(tf.constant(left), self._type), tf.cast(tf.constant(right), self._type))
            return np.asarray(tf.cast(product, tf.float32))

    def _train_epoch(self) -> float:
        losses = self._epoch(tf.constant(0), tf.constant(self._batches), tf.constant(self._steps_done))
        wait()
        return sum(float(loss) for loss in losses)

    def _evaluate(self) -> int:
        return int(self._evaluation(tf.constant(self._whole_test_batches())))

    def _whole_test_batches(self) -> int:
        return self._test_samples // EVALUATION_BATCH

    def _kept(self) -> dict[str, NDArray[Any]]:
        return {name: self._turned_back(name, self._value(variable)) for name, variable in self._changing.items()}

    def _restore(self, state: State) -> None:
        for name, variable in self._changing.items():
            variable.assign(self._turned_back(name, state[name]))
        wait()

    def _turned_back(self, name: str, value: NDArray[Any]) -> NDArray[Any]:
        return value.T if name.removeprefix(engine.PARAMETER) in self._turned else value

    def _value(self, variable: tf.Variable) -> NDArray[Any]:
        return np.asarray(self._devices.copies(variable)[0].numpy())

    def _probes(self) -> Probes:
        return Probes(self._devices.names[0], self._type, self._parts)

    def _training_loop(self, spec: ModelSpec, seed: int) -> Callable[..., list[tf.Tensor]]:
        """`loop(first_batch, batches, steps_done)`: train on these batches, give each device's share of the mean loss.

        The parts of a batch are computed apart from one another, and their losses and gradients added up.
        """
        variables, devices, parts = self._variables, self._devices, self._parts
        trained = list(variables.values())
        batch_size = self._execution.batch_size
        shares = sizes(batch_size, len(devices.names))

        def part(
            data: tuple[tf.Tensor, tf.Tensor], begin: tf.Tensor, size: int, dropout: tuple[int, tf.Tensor]
        ) -> tuple[tf.Tensor, list[tf.Tensor]]:
            images, labels = data
            x = tf.slice(images, [begin, 0], [size, images.shape[1]])
            y = tf.slice(labels, [begin], [size])
            with tf.GradientTape() as tape:
                logits = tf.cast(
                    forward(spec.layers, variables, x, dropout, turned=self._turned, in_parts=parts > 1), tf.float32
                )
            # This operation gives each loss and its gradient at once; the mean's is a division.
            losses, slopes = tf.raw_ops.SparseSoftmaxCrossEntropyWithLogits(features=logits, labels=y)
            slopes = slopes / batch_size if self._scale is None else slopes * (self._scale.scale / batch_size)
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
            if self._scale is None:
                descend(spec.optimiser, variables, self._slots, added)
            else:
                descend_scaled(spec.optimiser, variables, self._slots, self._scale, added)
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
            logits = forward(layers, self._variables, x, dropout=None, turned=self._turned, in_parts=parts > 1)
            right = tf.equal(tf.argmax(logits, axis=1), tf.slice(labels, [begin], [size]))
            return tf.reduce_sum(tf.cast(right, tf.int32))

        def count(begin: tf.Tensor, size: int) -> tf.Tensor:
            shares = sizes(size, len(devices.names))

            def share(number: int, images: tf.Tensor, labels: tf.Tensor, begin: tf.Tensor) -> tf.Tensor:
                pieces = _pieces(begin, sum(shares[:number]), filter(None, sizes(shares[number], parts)))
                counts = [part(images, labels, part_begin, part_size) for part_begin, part_size in pieces]
                return tf.add_n(counts) if counts else tf.constant(0)

            return tf.add_n(devices.run(share, *self._test, begin))

        def loop(batches: tf.Tensor) -> tf.Tensor:
            def step(batch: tf.Tensor, right: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
                return batch + 1, right + count(batch * EVALUATION_BATCH, EVALUATION_BATCH)

            with tf.device(devices.names[0]):
                _, right = tf.while_loop(lambda batch, _: batch < batches, step, (tf.constant(0), tf.constant(0)))
                return right + count(tf.constant(whole_batches * EVALUATION_BATCH), rest) if rest else right

        return loop


def _pieces(begin: tf.Tensor, offset: int, lengths: Iterable[int]) -> Iterator[tuple[tf.Tensor, int]]:
    """Where each piece begins and its length, one after the other from `begin + offset` on; nothing is added to 0."""
    for length in lengths:
        yield (begin + offset if offset else begin), length
        offset += length


def _turned(layers: tuple[Layer, ...], parameters: Parameters) -> frozenset[str]:
    """The weights of layers with few outputs."""
    weights = (layer.weights for layer in layers if isinstance(layer, Dense))
    return frozenset(name for name in weights if parameters[name].shape[1] < NARROW)


def _short(device: str) -> str:
    """`/job:localhost/replica:0/task:0/device:CPU:0` -> `/device:CPU:0`."""
    return "/device:" + device.rpartition("/device:")[2]
