"""Trains with JAX: data on the device, and an epoch as one compiled call where that is not slower."""

import functools
import importlib.metadata
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import jax
import jax.numpy as jnp
import jaxlib
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from numpy.typing import NDArray

from trainbench import engines
from trainbench.engines.jax.descent import descended, initial_state, parameters_of
from trainbench.engines.jax.layers import Arrays, forward
from trainbench.engines.jax.loop import compiled_loop
from trainbench.engines.jax.probes import Probes
from trainbench.engines.shared import engine
from trainbench.engines.shared.batches import EVALUATION_BATCH
from trainbench.engines.shared.framework import Framework
from trainbench.engines.shared.interface import Execution, Images, State, Threads
from trainbench.networks.models import Conv2D, Layer, ModelSpec
from trainbench.networks.parameters import Parameters

_MATMUL_PRECISION: Final = {"float32": "highest", "tf32": "tensorfloat32"}
"""JAX's own words for how products of float32 are computed; left alone, it takes TF32 on a GPU that has it."""

_PRODUCTS: Final = ("dot_general", "conv_general_dilated")

_POOL: Final = "tf_XLAEigen"
"""What the threads are called among which XLA shares an operation on a CPU."""

_REPLICAS: Final = "replica"


def _out_of_memory(error: Exception) -> str | None:
    is_it = isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" in str(error)
    return str(error).splitlines()[0] if is_it else None


def _missing_operation(error: Exception) -> str | None:
    is_it = isinstance(error, NotImplementedError) or (
        isinstance(error, jax.errors.JaxRuntimeError) and str(error).startswith(("UNIMPLEMENTED", "INVALID_ARGUMENT"))
    )
    return str(error).splitlines()[0] if is_it else None


FRAMEWORK: Final = Framework("JAX", jax.__version__, _out_of_memory, _missing_operation)


def start(execution: Execution) -> "JaxEngine":
    """Bring JAX up on its devices.

    XLA makes as many threads for the operations on a CPU as PJRT_NPROC says, or else as the process has cores; it has
    no option for that.

    Raises:
        Refused: GPUs are asked for and JAX sees fewer.
    """
    kind, replicas = execution.kind, execution.replicas
    # All of this is read when JAX starts its devices. The memory of a GPU that is in use shall be what the run needs.
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    os.environ["PJRT_NPROC"] = str(execution.threads)
    jax.config.update("jax_platforms", "cpu" if kind == "cpu" else "cuda")
    jax.config.update("jax_default_matmul_precision", _MATMUL_PRECISION.get(execution.precision, "default"))
    return JaxEngine(execution, jax.devices("cpu")[:replicas] if kind == "cpu" else _gpus(replicas))


def _gpus(replicas: int) -> list[Any]:
    gpus, said = [], ""
    try:
        gpus = list(jax.devices("cuda"))
    # The latter is how JAX 0.10 fails where there is no card at all.
    except (RuntimeError, AssertionError) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
    FRAMEWORK.demand_gpus(
        replicas,
        len(gpus),
        is_built_with_cuda=bool(engines.uses_gpus("jax")),
        otherwise="it could not load its CUDA libraries or reach the card (remedy: read the warnings in this log, see "
        f"whether `nvidia-smi` shows a driver new enough for this JAX's CUDA): {said}",
    )
    return gpus[:replicas]


class _Training(NamedTuple):
    """What goes from step to step: the state, each replica's sum of losses, the number of the batch and of the step."""

    state: Arrays
    losses: jax.Array
    batch: jax.Array
    step: jax.Array


class _Evaluation(NamedTuple):
    """What goes from test batch to test batch: how many each replica has classified rightly, the batch's number."""

    right: jax.Array
    batch: jax.Array


def is_one_call(kind: str, layers: Sequence[Layer]) -> bool:
    """Whether an epoch is one compiled call.

    XLA computes the gradients of convolutions on a CPU twenty times more slowly inside a compiled loop: there Python
    calls the compiled step for each batch and waits once, after the last (docs/performance.md).
    """
    return kind == "gpu" or not any(isinstance(layer, Conv2D) for layer in layers)


class JaxEngine(engine.Engine):
    """One model on the devices of a run."""

    def __init__(self, execution: Execution, devices: Sequence[Any]) -> None:
        """Share each batch out among the devices, each with a copy of the parameters and of the data."""
        super().__init__(FRAMEWORK, execution)
        self._devices = tuple(devices)
        mesh = Mesh(np.array(devices), (_REPLICAS,))
        self._everywhere = NamedSharding(mesh, PartitionSpec())
        self._shared = NamedSharding(mesh, PartitionSpec(_REPLICAS))
        self._training_lies = _Training(self._everywhere, self._shared, self._everywhere, self._everywhere)
        self._evaluation_lies = _Evaluation(self._shared, self._everywhere)
        self._type = jnp.dtype(self._precision.compute_type)

    def threads(self) -> Threads:
        """Threads in force: on a CPU those that XLA has made, beside a GPU the cores that the process may use."""
        if self._execution.kind == "gpu":
            return Threads(len(os.sched_getaffinity(0)), 1)
        names = (path.read_text(encoding="ascii", errors="replace") for path in Path("/proc/self/task").glob("*/comm"))
        return Threads(sum(name.startswith(_POOL) for name in names), 1)

    def versions(self) -> Mapping[str, str | None]:
        """Versions of JAX and jaxlib, of the CUDA and cuDNN that it computes with, and of numpy."""
        cudnn = (
            found.version
            for name in ("nvidia-cudnn-cu13", "nvidia-cudnn-cu12")
            for found in importlib.metadata.distributions(name=name)
        )
        return {
            "jax": jax.__version__,
            "jaxlib": jaxlib.__version__,
            "numpy": np.__version__,
            "cuda": _cuda_version(self._devices[0].client.platform_version),
            "cudnn": next(cudnn, None) if self._execution.kind == "gpu" else None,
        }

    def flags(self) -> Mapping[str, bool | None]:
        """TF32 and determinism, as in force."""
        xla = os.environ.get("XLA_FLAGS", "").lower()
        return {
            "tf32": self._execution.kind == "gpu"
            and jax.config.jax_default_matmul_precision not in ("highest", "float32"),
            "deterministic": re.search(r"xla_gpu_(deterministic_ops|exclude_nondeterministic_ops)(=true|=1|\s|$)", xla)
            is not None,
        }

    def _place(self, images: Images) -> None:
        """Fill test images up to whole batches by black ones of no class, which nothing classifies rightly."""
        batches = max(1, math.ceil(self._test_samples / EVALUATION_BATCH))
        replicas = len(self._devices)
        self._test_batch_size = math.ceil(self._test_samples / batches / replicas) * replicas
        added = batches * self._test_batch_size - self._test_samples
        test_images = np.pad(images.test_images, ((0, added), (0, 0), (0, 0)))
        test_labels = np.pad(images.test_labels.astype(np.int32), (0, added), constant_values=-1)
        self._train = self._placed(images.train_images, images.train_labels)
        self._test = self._placed(test_images, test_labels)
        jax.block_until_ready((self._train, self._test))

    def _placed(self, images: NDArray[np.uint8], labels: NDArray[Any]) -> tuple[jax.Array, jax.Array]:
        # Divided here: XLA would multiply by 1/255, which gives other bits.
        pixels = images.reshape(len(images), -1).astype(np.float32) / np.float32(255)
        typed = pixels.astype(self._type, copy=False)
        return jax.device_put(typed, self._everywhere), jax.device_put(labels.astype(np.int32), self._everywhere)

    def _build(self, spec: ModelSpec, parameters: Parameters, seed: int) -> None:
        with self._framework.naming_missing_operations(self._execution):
            initial = initial_state(spec.optimiser, parameters, is_scaled=self._precision.is_scaled)
            self._state = self._on_devices(initial)
            one_call = is_one_call(self._execution.kind, spec.layers)
            compiled = functools.partial(compiled_loop, execution=self._execution, one_call=one_call)
            self._training = compiled(
                self._training_step(spec, seed),
                (self._first_training(), *self._train),
                lies=self._training_lies,
                batches=self._batches,
            )
            self._evaluation = compiled(
                self._evaluation_step(spec.layers),
                (self._first_evaluation(), parameters_of(self._state), *self._test),
                lies=self._evaluation_lies,
                batches=len(self._test[0]) // self._test_batch_size,
            )
            self._first_losses = self._training.once(self._first_training(), *self._train).losses
            self._state = self._on_devices(initial)
            self._evaluation.once(self._first_evaluation(), parameters_of(self._state), *self._test)
            jax.block_until_ready((self._first_losses, self._state))

    def _lies_on(self) -> tuple[Iterable[str], Iterable[str], Iterable[str]]:
        return (
            map(_name, self._devices),
            (_name(device) for value in parameters_of(self._state).values() for device in value.devices()),
            (_name(shard.device) for shard in self._first_losses.addressable_shards),
        )

    def product_types(self) -> frozenset[str]:
        """The types of what the compiled step multiplies, from what XLA was given to compile."""
        return frozenset(_types_multiplied(self._training.jaxpr))

    def multiply(self, left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[Any]:
        """The product of two matrices as the layers compute theirs."""
        operands = [jax.device_put(side.astype(self._type), self._devices[0]) for side in (left, right)]
        return np.array(jax.jit(jnp.matmul)(*operands), np.float32)

    def _train_epoch(self) -> float:
        done = jax.block_until_ready(self._training.whole(self._first_training(), *self._train))
        self._state = done.state
        return float(np.asarray(done.losses, np.float64).sum()) / self._batches

    def _evaluate(self) -> int:
        done = self._evaluation.whole(self._first_evaluation(), parameters_of(self._state), *self._test)
        return int(np.asarray(done.right).sum())

    def _kept(self) -> dict[str, NDArray[Any]]:
        return {name: np.array(value) for name, value in self._state.items()}

    def _restore(self, state: State) -> None:
        self._state = jax.block_until_ready(self._on_devices({name: state[name] for name in self._state}))

    def _probes(self) -> Probes:
        return Probes(self._devices[0], self._type)

    def _on_devices(self, values: Mapping[str, NDArray[Any]]) -> Arrays:
        """Copies of these values on every device: steps write into what they are given."""
        return {name: jax.device_put(np.array(value), self._everywhere) for name, value in values.items()}

    def _first_training(self) -> _Training:
        first = (np.zeros(len(self._devices), np.float32), np.int32(0), np.int32(self._steps_done))
        return _Training(self._state, *jax.device_put(first, tuple(self._training_lies[1:])))

    def _first_evaluation(self) -> _Evaluation:
        first = (np.zeros(len(self._devices), np.int32), np.int32(0))
        return _Evaluation(*jax.device_put(first, tuple(self._evaluation_lies)))

    def _rows(self, values: jax.Array, batch: jax.Array, size: int) -> jax.Array:
        """A batch, a share of it on each device."""
        return lax.with_sharding_constraint(lax.dynamic_slice_in_dim(values, batch * size, size), self._shared)

    def _sums(self, values: jax.Array) -> jax.Array:
        """The sum [replicas] of each device's share of `values` [batch]."""
        return values.reshape(len(self._devices), -1).sum(1)

    def _training_step(self, spec: ModelSpec, seed: int) -> Callable[..., _Training]:
        """`step(carry, images, labels)`: train on one batch; JAX itself adds up the gradients of the devices."""

        batch_size = self._execution.batch_size

        def step(carry: _Training, images: jax.Array, labels: jax.Array) -> _Training:
            x, y = (self._rows(values, carry.batch, batch_size) for values in (images, labels))

            def logits_of(parameters: Arrays) -> jax.Array:
                return forward(spec.layers, parameters, x, (seed, carry.step)).astype(jnp.float32)

            logits, backward = jax.vjp(logits_of, parameters_of(carry.state))
            losses, slopes = _losses(logits, y)
            scale = carry.state.get(engine.LOSS_SCALE + "scale", np.float32(1))
            (gradients,) = backward(slopes * (scale / batch_size))
            state = descended(spec, carry.state, gradients)
            means = self._sums(losses) / batch_size
            return _Training(state, carry.losses + means, carry.batch + 1, carry.step + 1)

        return step

    def _evaluation_step(self, layers: tuple[Layer, ...]) -> Callable[..., _Evaluation]:
        """`step(carry, parameters, images, labels)`: count what is classified rightly in one batch."""

        def step(carry: _Evaluation, parameters: Arrays, images: jax.Array, labels: jax.Array) -> _Evaluation:
            x, y = (self._rows(values, carry.batch, self._test_batch_size) for values in (images, labels))
            right = jnp.argmax(forward(layers, parameters, x, dropout=None), axis=1) == y
            return _Evaluation(carry.right + self._sums(right.astype(jnp.int32)), carry.batch + 1)

        return step


def _name(device: Any) -> str:
    """`cpu:0`, `cuda:1`: JAX's name, but for CPUs, which it calls `TFRT_CPU_0` when it prints one."""
    return f"cpu:{device.id}" if device.platform == "cpu" else str(device)


def _cuda_version(platform_version: str) -> str | None:
    """`... cuda 13010 ...` -> `13.1`."""
    found = re.search(r"cuda (\d+)", platform_version)
    return f"{int(found[1]) // 1000}.{int(found[1]) % 1000 // 10}" if found else None


def _types_multiplied(jaxpr: Any) -> Iterator[str]:
    """The types of all operands of products and convolutions, those of inner functions and loops among them."""
    for equation in getattr(jaxpr, "jaxpr", jaxpr).eqns:
        if equation.primitive.name in _PRODUCTS:
            yield from (operand.aval.dtype.name for operand in equation.invars)
        for value in equation.params.values():
            for inner in value if isinstance(value, (tuple, list)) else (value,):
                if hasattr(getattr(inner, "jaxpr", inner), "eqns"):
                    yield from _types_multiplied(inner)


def _losses(logits: jax.Array, labels: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Softmax cross-entropy [batch], and its slopes [batch, classes] at the logits."""
    shifted = logits - logits.max(1, keepdims=True)
    exponentials = jnp.exp(shifted)
    total = exponentials.sum(1, keepdims=True)
    is_label = labels[:, None] == jnp.arange(logits.shape[1])
    losses = jnp.log(total[:, 0]) - jnp.where(is_label, shifted, 0).sum(1)
    return losses, exponentials / total - is_label
