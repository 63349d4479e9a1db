"""Trains with JAX: data on the device, and an epoch as one compiled call where that is not slower."""

import functools
import importlib.metadata
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import jaxlib
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from numpy.typing import NDArray

from trainbench import engines
from trainbench.engines.shared.common import EVALUATION_BATCH, STEPS_DONE, Relu, with_pooling_before_relu
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

_MATMUL_PRECISION: Final = {"float32": "highest", "tf32": "tensorfloat32"}
"""JAX's own words for how products of float32 are computed; left alone, it takes TF32 on a GPU that has it."""

_PRODUCTS: Final = ("dot_general", "conv_general_dilated")

_POOL: Final = "tf_XLAEigen"
"""What the threads are called among which XLA shares an operation on a CPU."""

_THREADS_A_PRETENDED_DEVICE: Final = 4
"""Devices wait for one another in threads of the pool; with one thread each, XLA's CPU client can stop for good."""

_REPLICAS: Final = "replica"

_SLOT: Final = "slot/"
_PARAMETER: Final = "parameter/"
_SCALING: Final = "loss_scaling/"

Arrays = dict[str, jax.Array]
Carry = TypeVar("Carry")


def start(execution: Execution) -> "JaxEngine":
    """Bring JAX up on its devices.

    XLA makes as many threads for the operations on a CPU as PJRT_NPROC says, or else as the process has cores; it has
    no option for that.

    Raises:
        WrongDevice: GPUs are asked for and JAX sees fewer.
    """
    kind, replicas = execution.kind, execution.replicas
    # All of this is read when JAX starts its devices. The memory of a GPU that is in use shall be what the run needs.
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    pretends = kind == "cpu" and replicas > 1
    os.environ["PJRT_NPROC"] = str(_THREADS_A_PRETENDED_DEVICE * replicas if pretends else execution.threads)
    jax.config.update("jax_platforms", "cpu" if kind == "cpu" else "cuda")
    jax.config.update("jax_default_matmul_precision", _MATMUL_PRECISION.get(execution.precision, "default"))
    if pretends:
        jax.config.update("jax_num_cpu_devices", replicas)
    return JaxEngine(kind, jax.devices("cpu")[:replicas] if kind == "cpu" else _gpus(replicas), execution.precision)


def _gpus(replicas: int) -> list[Any]:
    asked = "a GPU was asked for" if replicas == 1 else f"{replicas} GPUs were asked for"
    try:
        gpus = list(jax.devices("cuda"))
    # The latter is how JAX 0.10 fails where there is no card at all.
    except (RuntimeError, AssertionError) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
        reason = (
            "this JAX is built without CUDA (remedy: make setup BUILD=cuda)"
            if not engines.uses_gpus("jax")
            else "it could not load its CUDA libraries or reach the card (remedy: read the warnings in this log, "
            f"see whether `nvidia-smi` shows a driver new enough for this JAX's CUDA): {said}"
        )
        raise WrongDevice(f"{asked}, but JAX {jax.__version__} sees none: {reason}") from error
    if len(gpus) < replicas:
        raise WrongDevice(f"{asked}, but JAX {jax.__version__} sees {len(gpus)}: read the warnings in this log")
    return gpus[:replicas]


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


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


@dataclass(frozen=True)
class _Loop(Generic[Carry]):
    """A compiled step: for the first batch alone, and for all batches; both take what goes along and the data."""

    once: Callable[..., Carry]
    whole: Callable[..., Carry]
    jaxpr: Any


class JaxEngine:
    """One model on the devices of a run. The calls come in the order of `engines.shared.interface.Engine`."""

    def __init__(self, kind: str, devices: Sequence[Any], precision_name: str = "float32") -> None:
        """Share each batch out among the devices, each with a copy of the parameters and of the data."""
        self._kind = kind
        self._devices = tuple(devices)
        mesh = Mesh(np.array(devices), (_REPLICAS,))
        self._everywhere = NamedSharding(mesh, PartitionSpec())
        self._shared = NamedSharding(mesh, PartitionSpec(_REPLICAS))
        self._precision = precision.PRECISIONS[precision_name]
        self._type = jnp.dtype(self._precision.compute_type)
        self._train: tuple[jax.Array, jax.Array]
        self._test: tuple[jax.Array, jax.Array]
        self._test_batch_size = 0
        self._state: Arrays = {}
        self._training: _Loop[_Training]
        self._evaluation: _Loop[_Evaluation]
        self._batches = 0
        self._steps_done = 0
        self._first_losses: jax.Array

    def threads(self) -> Threads:
        """Threads in force: on a CPU those that XLA has made, beside a GPU the cores that the process may use."""
        if self._kind == "gpu":
            return Threads(len(os.sched_getaffinity(0)), 1)
        names = (path.read_text(encoding="ascii", errors="replace") for path in Path("/proc/self/task").glob("*/comm"))
        return Threads(sum(name.startswith(_POOL) for name in names), 1)

    def versions(self) -> Mapping[str, str | None]:
        """Versions of JAX and jaxlib, of the CUDA and cuDNN that it computes with, and of numpy."""
        cudnn = _version("nvidia-cudnn-cu13") or _version("nvidia-cudnn-cu12")
        return {
            "jax": jax.__version__,
            "jaxlib": jaxlib.__version__,
            "numpy": np.__version__,
            "cuda": _cuda_version(self._devices[0].client.platform_version),
            "cudnn": cudnn if self._kind == "gpu" else None,
        }

    def flags(self) -> Mapping[str, bool | None]:
        """TF32 and determinism, as in force."""
        xla = os.environ.get("XLA_FLAGS", "").lower()
        return {
            "tf32": self._kind == "gpu" and jax.config.jax_default_matmul_precision not in ("highest", "float32"),
            "deterministic": re.search(r"xla_gpu_(deterministic_ops|exclude_nondeterministic_ops)(=true|=1|\s|$)", xla)
            is not None,
        }

    def place(self, images: Images) -> None:
        """Put the data on each device: pixels / 255 [samples, pixels], labels as int32 [samples].

        Test images are filled up to whole batches by black ones of no class, which nothing classifies rightly.
        """
        test_samples = len(images.test_images)
        batches = max(1, math.ceil(test_samples / EVALUATION_BATCH))
        replicas = len(self._devices)
        self._test_batch_size = math.ceil(test_samples / batches / replicas) * replicas
        added = batches * self._test_batch_size - test_samples
        test_images = np.pad(images.test_images, ((0, added), (0, 0), (0, 0)))
        test_labels = np.pad(images.test_labels.astype(np.int32), (0, added), constant_values=-1)
        with _naming_out_of_memory():
            self._train = self._placed(images.train_images, images.train_labels)
            self._test = self._placed(test_images, test_labels)
            jax.block_until_ready((self._train, self._test))

    def _placed(self, images: NDArray[np.uint8], labels: NDArray[Any]) -> tuple[jax.Array, jax.Array]:
        # Divided here: XLA would multiply by 1/255, which gives other bits.
        pixels = images.reshape(len(images), -1).astype(np.float32) / np.float32(255)
        typed = pixels.astype(self._type, copy=False)
        return jax.device_put(typed, self._everywhere), jax.device_put(labels.astype(np.int32), self._everywhere)

    def build(self, spec: ModelSpec, parameters: Parameters, batch_size: int, seed: int) -> None:
        """Place the parameters, compile both loops, run a step of each and undo the training step.

        Raises:
            WrongPrecision: XLA has no operations for it on such a device.
        """
        with _naming_out_of_memory(), _naming_missing_operations(self._kind, self._type.name):
            initial = _initial_state(spec.optimiser, parameters, is_scaled=self._precision.is_scaled)
            self._state = self._on_devices(initial)
            self._steps_done = 0
            self._batches = len(self._train[0]) // batch_size
            one_call = is_one_call(self._kind, spec.layers)
            whole = self._everywhere
            self._training = self._compiled(
                self._training_step(spec, batch_size, seed),
                _Training(whole, self._shared, whole, whole),
                self._batches,
                self._first_training(),
                self._train,
                one_call=one_call,
            )
            self._evaluation = self._compiled(
                self._evaluation_step(spec.layers),
                _Evaluation(self._shared, whole),
                len(self._test[0]) // self._test_batch_size,
                self._first_evaluation(),
                (self._parameters(), *self._test),
                one_call=one_call,
            )
            self._first_losses = self._training.once(self._first_training(), *self._train).losses
            self._state = self._on_devices(initial)
            self._evaluation.once(self._first_evaluation(), self._parameters(), *self._test)
            jax.block_until_ready((self._first_losses, self._state))

    def prove_device(self) -> DeviceProof:
        """Find out where the parameters and the losses that the compiled step has computed lie.

        Raises:
            WrongDevice: not on the devices that were asked for.
        """
        names = {_name(device) for device in self._devices}
        parameters = [_name(device) for value in self._parameters().values() for device in value.devices()]
        losses = [_name(shard.device) for shard in self._first_losses.addressable_shards]
        proof = DeviceProof(self._kind, tuple(sorted(set(parameters))), tuple(sorted(set(losses))))
        if not set(proof.parameters_on) == set(proof.computation_on) == names:
            raise WrongDevice(
                f"{', '.join(sorted(names))} was asked for, but parameters lie on {', '.join(proof.parameters_on)} and "
                f"computed results on {', '.join(proof.computation_on)}; report this with the run's log"
            )
        return proof

    def product_types(self) -> frozenset[str]:
        """The types of what the compiled step multiplies, from what XLA was given to compile."""
        return frozenset(_types_multiplied(self._training.jaxpr))

    def multiply(self, left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[Any]:
        """The product of two matrices as the layers compute theirs."""
        operands = [jax.device_put(side.astype(self._type), self._devices[0]) for side in (left, right)]
        return np.array(jax.jit(jnp.matmul)(*operands), np.float32)

    def loss_scaling(self) -> LossScaling | None:
        """How the loss is scaled, where it is."""
        if not self._precision.is_scaled:
            return None
        scale, skipped = self._state[_SCALING + "scale"], self._state[_SCALING + "skipped_steps"]
        return LossScaling(float(scale), int(skipped))

    def train_epoch(self) -> float:
        """Train on every full batch in file order; the mean of the batches' losses."""
        with _naming_out_of_memory():
            done = jax.block_until_ready(self._training.whole(self._first_training(), *self._train))
        self._state = done.state
        self._steps_done += self._batches
        return float(np.asarray(done.losses, np.float64).sum()) / self._batches

    def evaluate(self) -> int:
        """How many of all test images are classified rightly."""
        with _naming_out_of_memory():
            done = self._evaluation.whole(self._first_evaluation(), self._parameters(), *self._test)
            return int(np.asarray(done.right).sum())

    def parameters(self) -> Parameters:
        """The parameters as they are now."""
        return {name: np.array(value) for name, value in self._parameters().items()}

    def state(self) -> State:
        """Parameters, the optimiser's slots and the steps done, from which dropout's random numbers follow."""
        kept = {name: np.array(value) for name, value in self._state.items()}
        return {**kept, STEPS_DONE: np.array([self._steps_done])}

    def restore(self, state: State) -> None:
        """Go on from the `state` of an engine that was built alike."""
        with _naming_out_of_memory():
            self._state = jax.block_until_ready(self._on_devices({name: state[name] for name in self._state}))
        self._steps_done = int(state[STEPS_DONE][0])

    def ceilings(self) -> Ceilings:
        """Measure what a device can do at most, products in the run's precision.

        Raises:
            OutOfMemory: too little memory is free for arrays that no cache holds.
        """
        # Imported late: what is wanted after the last epoch shall take no part in starting up.
        from trainbench.engines.shared import ceilings

        with _naming_out_of_memory():
            return ceilings.measure(_Probes(self._devices[0], self._type), ceilings.room(self._kind))

    def _parameters(self) -> Arrays:
        return _parameters(self._state)

    def _on_devices(self, values: Mapping[str, NDArray[Any]]) -> Arrays:
        """Copies of these values on every device: steps write into what they are given."""
        return {name: jax.device_put(np.array(value), self._everywhere) for name, value in values.items()}

    def _first_training(self) -> _Training:
        return _Training(
            self._state,
            jax.device_put(np.zeros(len(self._devices), np.float32), self._shared),
            jax.device_put(np.int32(0), self._everywhere),
            jax.device_put(np.int32(self._steps_done), self._everywhere),
        )

    def _first_evaluation(self) -> _Evaluation:
        return _Evaluation(
            jax.device_put(np.zeros(len(self._devices), np.int32), self._shared),
            jax.device_put(np.int32(0), self._everywhere),
        )

    def _compiled(
        self,
        step: Callable[..., Carry],
        lies: Carry,
        batches: int,
        carry: Carry,
        data: tuple[Any, ...],
        *,
        one_call: bool,
    ) -> _Loop[Carry]:
        """Compile `step(carry, *data)`, which gives the next `carry`; `lies` says on which devices that lies.

        One call for all batches: on a CPU the number of batches is an argument, so that a single program serves the
        first step and the epoch. On a GPU it is part of a second program: where XLA does not know the number, every
        turn of the loop waits until the host has seen whether there is another.
        """

        def compiled(function: Callable[..., Carry], *arguments: Any) -> tuple[Any, Any]:
            traced = jax.jit(function, donate_argnums=0, out_shardings=lies).trace(*arguments)
            return traced.lower().compile(), traced.jaxpr

        def turns(carry: Carry, times: Any, *data: Any) -> Carry:
            after: Carry = lax.fori_loop(0, times, lambda _, carry: step(carry, *data), carry)
            return after

        if one_call and self._kind == "cpu":
            program, jaxpr = compiled(turns, carry, np.int32(1), *data)
            return _Loop(
                lambda carry, *data: program(carry, np.int32(1), *data),
                lambda carry, *data: program(carry, np.int32(batches), *data),
                jaxpr,
            )
        once, jaxpr = compiled(step, carry, *data)
        if one_call:
            whole, _ = compiled(lambda carry, *data: turns(carry, batches, *data), carry, *data)
            return _Loop(once, whole, jaxpr)
        # Pretended devices that are steps apart can wait for one another for ever.
        waits = len(self._devices) > 1

        def one_after_another(carry: Carry, *data: Any) -> Carry:
            for _ in range(batches):
                carry = once(carry, *data)
                if waits:
                    jax.block_until_ready(carry)
            return carry

        return _Loop(once, one_after_another, jaxpr)

    def _rows(self, values: jax.Array, batch: jax.Array, size: int) -> jax.Array:
        """A batch, a share of it on each device."""
        return lax.with_sharding_constraint(lax.dynamic_slice_in_dim(values, batch * size, size), self._shared)

    def _sums(self, values: jax.Array) -> jax.Array:
        """The sum [replicas] of each device's share of `values` [batch]."""
        return values.reshape(len(self._devices), -1).sum(1)

    def _training_step(self, spec: ModelSpec, batch_size: int, seed: int) -> Callable[..., _Training]:
        """`step(carry, images, labels)`: train on one batch; JAX itself adds up the gradients of the devices."""

        def step(carry: _Training, images: jax.Array, labels: jax.Array) -> _Training:
            x, y = (self._rows(values, carry.batch, batch_size) for values in (images, labels))

            def forward(parameters: Arrays) -> jax.Array:
                return _forward(spec.layers, parameters, x, (seed, carry.step)).astype(jnp.float32)

            logits, backward = jax.vjp(forward, _parameters(carry.state))
            losses, slopes = _losses(logits, y)
            scale = carry.state.get(_SCALING + "scale", np.float32(1))
            (gradients,) = backward(slopes * (scale / batch_size))
            state = _descended(spec, carry.state, gradients)
            means = self._sums(losses) / batch_size
            return _Training(state, carry.losses + means, carry.batch + 1, carry.step + 1)

        return step

    def _evaluation_step(self, layers: tuple[Layer, ...]) -> Callable[..., _Evaluation]:
        """`step(carry, parameters, images, labels)`: count what is classified rightly in one batch."""

        def step(carry: _Evaluation, parameters: Arrays, images: jax.Array, labels: jax.Array) -> _Evaluation:
            x, y = (self._rows(values, carry.batch, self._test_batch_size) for values in (images, labels))
            right = jnp.argmax(_forward(layers, parameters, x, dropout=None), axis=1) == y
            return _Evaluation(carry.right + self._sums(right.astype(jnp.int32)), carry.batch + 1)

        return step


class _Probes:
    """`engines.shared.ceilings.Probes` on one device."""

    def __init__(self, device: Any, compute_type: Any) -> None:
        self._device = device
        self._type = compute_type
        self._multiply = jax.jit(jnp.matmul)
        # One call for all additions, so that starting it is no part of an addition. XLA does not know how many there
        # will be, and so cannot make one of several.
        self._add = jax.jit(
            lambda target, source, times: lax.fori_loop(0, times, lambda _, target: target + source, target),
            donate_argnums=0,
        )

    def product(self, size: int) -> Callable[[], None]:
        """Random matrices: a GPU draws less power, and clocks higher, for constant ones."""
        generator = np.random.default_rng(size)
        left, right = (
            jax.device_put(generator.uniform(-1, 1, (size, size)).astype(self._type), self._device) for _ in range(2)
        )

        def multiply() -> None:
            jax.block_until_ready(self._multiply(left, right))

        return multiply

    def addition(self, values: int) -> Callable[[int], None]:
        """The target is given away with each call, so that the sum takes its place."""
        target, source = (jax.device_put(jnp.ones(values, jnp.float32), self._device) for _ in range(2))

        def add(times: int) -> None:
            nonlocal target
            target = jax.block_until_ready(self._add(target, source, np.int32(times)))

        return add


@contextmanager
def _naming_out_of_memory() -> Iterator[None]:
    """Turn JAX's error for too little memory into `OutOfMemory`."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise OutOfMemory(str(error).splitlines()[0]) from error


@contextmanager
def _naming_missing_operations(kind: str, compute_type: str) -> Iterator[None]:
    """Turn JAX's errors for operations that it does not have in a type into `WrongPrecision`."""
    try:
        yield
    except (jax.errors.JaxRuntimeError, NotImplementedError) as error:
        missing = isinstance(error, NotImplementedError) or str(error).startswith(("UNIMPLEMENTED", "INVALID_ARGUMENT"))
        if compute_type == "float32" or not missing:
            raise
        raise WrongPrecision(
            f"JAX {jax.__version__} cannot train this model in {compute_type} on a {kind.upper()}: "
            f"{str(error).splitlines()[0]}; choose another precision or framework"
        ) from error


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


def _initial_state(optimiser: Optimiser, parameters: Parameters, *, is_scaled: bool) -> dict[str, NDArray[Any]]:
    """All that a step changes, by names of its own: parameters, RMSProp's mean squares, the loss scale's numbers."""
    state: dict[str, NDArray[Any]] = {_PARAMETER + name: np.asarray(value) for name, value in parameters.items()}
    match optimiser:
        case Sgd():
            pass
        case RmsProp(initial_mean_square=initial):
            for number, value in enumerate(parameters.values()):
                state[f"{_SLOT}{number}"] = np.full(value.shape, initial, np.float32)
    if is_scaled:
        state[_SCALING + "scale"] = np.array(precision.FIRST_LOSS_SCALE, np.float32)
        state[_SCALING + "good_steps"] = np.array(0, np.int32)
        state[_SCALING + "skipped_steps"] = np.array(0, np.int32)
    return state


def _parameters(state: Arrays) -> Arrays:
    """The parameters in a state, by their own names."""
    return {name.removeprefix(_PARAMETER): value for name, value in state.items() if name.startswith(_PARAMETER)}


def _losses(logits: jax.Array, labels: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Softmax cross-entropy [batch], and its slopes [batch, classes] at the logits."""
    shifted = logits - logits.max(1, keepdims=True)
    exponentials = jnp.exp(shifted)
    total = exponentials.sum(1, keepdims=True)
    is_label = labels[:, None] == jnp.arange(logits.shape[1])
    losses = jnp.log(total[:, 0]) - jnp.where(is_label, shifted, 0).sum(1)
    return losses, exponentials / total - is_label


def _descended(spec: ModelSpec, state: Arrays, gradients: Arrays) -> Arrays:
    """The state after a step of the optimiser.

    Where the loss is scaled, gradients are scaled back; if one is not finite, nothing but the scale changes. Both
    outcomes are computed and one is chosen: a branch would have a GPU wait for the host.
    """
    if _SCALING + "scale" not in state:
        return state | _moved(spec, state, gradients)
    scale, good_steps = state[_SCALING + "scale"], state[_SCALING + "good_steps"]
    gradients = {name: gradient / scale for name, gradient in gradients.items()}
    are_finite = jnp.stack([jnp.isfinite(gradient).all() for gradient in gradients.values()]).all()
    moved = _moved(spec, state, gradients)
    kept = {name: jnp.where(are_finite, value, state[name]) for name, value in moved.items()}
    good_steps = jnp.where(are_finite, good_steps + 1, 0)
    grows = good_steps >= precision.LOSS_SCALE_GROWS_AFTER
    factor = jnp.where(grows, precision.LOSS_SCALE_GROWTH, 1.0)
    return (
        state
        | kept
        | {
            _SCALING + "scale": scale * jnp.where(are_finite, factor, 1 / precision.LOSS_SCALE_GROWTH),
            _SCALING + "good_steps": jnp.where(grows, 0, good_steps),
            _SCALING + "skipped_steps": state[_SCALING + "skipped_steps"] + jnp.where(are_finite, 0, 1),
        }
    )


def _moved(spec: ModelSpec, state: Arrays, gradients: Arrays) -> Arrays:
    """Parameters and slots after a step of the optimiser."""
    moved: Arrays = {}
    # Slots are numbered in the model's order; JAX sorts a mapping's keys wherever one goes through compiled code.
    for number, name in enumerate(parameter.name for parameter in spec.parameters):
        parameter, gradient = state[_PARAMETER + name], gradients[name]
        match spec.optimiser:
            case Sgd(learning_rate):
                moved[_PARAMETER + name] = parameter - learning_rate * gradient
            case RmsProp(learning_rate, decay, epsilon):
                mean_square = decay * state[f"{_SLOT}{number}"] + (1 - decay) * gradient * gradient
                moved[f"{_SLOT}{number}"] = mean_square
                moved[_PARAMETER + name] = parameter - learning_rate * gradient * lax.rsqrt(mean_square + epsilon)
    return moved


def _forward(
    layers: tuple[Layer, ...], parameters: Arrays, x: jax.Array, dropout: tuple[int, jax.Array] | None
) -> jax.Array:
    """Logits [batch, classes] of pixels [batch, pixels], all computed in the type of the pixels.

    `dropout` is (seed, step), None when not training.
    """
    batch = x.shape[0]
    typed = {name: value.astype(x.dtype) for name, value in parameters.items()}
    for position, layer in enumerate(with_pooling_before_relu(layers)):
        match layer:
            case Reshape(shape):
                x = x.reshape(batch, *shape)
            case Dense(weights, bias, relu):
                x = jnp.matmul(x, typed[weights])
                if bias is not None:
                    x = x + typed[bias]
                x = jax.nn.relu(x) if relu else x
            case Conv2D(kernel, relu):
                orders = ("NHWC", "HWIO", "NHWC")
                x = lax.conv_general_dilated(x, typed[kernel], (1, 1), "SAME", dimension_numbers=orders)
                x = jax.nn.relu(x) if relu else x
            case MaxPool2D(size):
                x = max_pool(_padded(x, size), size)
            case Relu():
                x = jax.nn.relu(x)
            case Dropout(keep) if dropout is not None and keep < 1.0:
                seed, step = dropout
                x = x * dropout_factors(x, keep, seed + position, step)
            case Dropout():
                pass
            case Lstm():
                x = _lstm(layer, typed, x)
    return x


def dropout_factors(x: jax.Array, keep: float, seed: int, step: jax.Array) -> jax.Array:
    """What dropout multiplies each value of `x` by: 0, or 1 / keep with the probability `keep`.

    `seed` is that of the layer. It takes 16 random bits a value, two values from each number: JAX draws 32 bits in the
    time of 16. They are drawn as [batch, values / 2], which XLA compiles in a third of the time of x's own shape.
    `keep` is rounded to a multiple of 2**-16; dividing by what it is rounded to leaves the expected value as it is.
    """
    steps = min(max(round(keep * 2**16), 1), 2**16 - 1)
    batch, values = x.shape[0], math.prod(x.shape[1:])
    # Threefry's key is two numbers: `fold_in` would compute another from these, step by step.
    numbers = jnp.stack([jnp.uint32(seed % 2**32), jnp.asarray(step).astype(jnp.uint32)])
    key = jax.random.wrap_key_data(numbers, impl="threefry2x32")
    pairs = jax.random.bits(key, (batch, -(-values // 2)), jnp.uint32)
    bits = lax.bitcast_convert_type(pairs, jnp.uint16).reshape(batch, -1)[:, :values]
    return jnp.where(bits.reshape(x.shape) < steps, 2**16 / steps, 0).astype(x.dtype)


def _padded(x: jax.Array, size: int) -> jax.Array:
    """Images [batch, height, width, channels] with sides that windows of `size` divide, as padding SAME does it."""
    pads = [-length % size for length in x.shape[1:3]]
    if not any(pads):
        return x
    (top, left), (bottom, right) = ([pad // 2 for pad in pads], [pad - pad // 2 for pad in pads])
    return lax.pad(x, jnp.array(-jnp.inf, x.dtype), ((0, 0, 0), (top, bottom, 0), (left, right, 0), (0, 0, 0)))


def _largest(x: jax.Array, size: int) -> jax.Array:
    """Each window's maximum [batch, rows, columns, channels] of x [batch, height, width, channels]."""
    return _largest_and_where(x, size)[0]


def _largest_and_where(x: jax.Array, size: int) -> tuple[jax.Array, jax.Array]:
    """Each window's maximum, and the place of the first such value in the window, row by row."""
    batch, height, width, channels = x.shape
    windows = x.reshape(batch, height // size, size, width // size, size, channels)
    values = [windows[:, :, row, :, column] for row in range(size) for column in range(size)]
    largest = functools.reduce(jnp.maximum, values)
    where = jnp.full(largest.shape, len(values) - 1, jnp.int32)
    for place in reversed(range(len(values) - 1)):
        where = jnp.where(values[place] == largest, place, where)
    return largest, where.astype(jnp.uint8 if len(values) <= 2**8 else jnp.int32)


def _spread(size: int, where: jax.Array, gradient: jax.Array) -> tuple[jax.Array]:
    """The gradient of each window's maximum, at its place."""
    batch, rows, columns, channels = gradient.shape
    places = jnp.arange(size * size, dtype=where.dtype).reshape(1, 1, size, 1, size, 1)
    chosen = where[:, :, None, :, None] == places
    spread = jnp.where(chosen, gradient[:, :, None, :, None], 0)
    return (spread.reshape(batch, rows * size, columns * size, channels),)


max_pool = jax.custom_vjp(_largest, nondiff_argnums=(1,))
max_pool.defvjp(_largest_and_where, _spread)
"""Maximum over windows that divide the images, whose gradient goes to the first of a window's largest values.

JAX's own ways are `reduce_window`, whose gradient takes as long as all else of a step on a CPU, and `max`, whose
gradient is shared out among equal values.
"""


def _lstm(layer: Lstm, parameters: Arrays, x: jax.Array) -> jax.Array:
    """Last output [batch, units] of the layer over x [batch, steps, inputs], as a compiled loop over the steps."""
    kernel, bias = parameters[layer.kernel], parameters[layer.bias]

    def step(carry: tuple[jax.Array, jax.Array], row: jax.Array) -> tuple[tuple[jax.Array, jax.Array], None]:
        state, output = carry
        gates = jnp.matmul(jnp.concatenate([row, output], axis=1), kernel) + bias
        input_gate, new_input, forget_gate, output_gate = jnp.split(gates, 4, axis=1)
        kept = state * jax.nn.sigmoid(forget_gate + layer.forget_bias)
        state = kept + jax.nn.sigmoid(input_gate) * jnp.tanh(new_input)
        return (state, jnp.tanh(state) * jax.nn.sigmoid(output_gate)), None

    begin = jnp.zeros((x.shape[0], layer.units), x.dtype)
    (_, output), _ = lax.scan(step, (begin, begin), x.swapaxes(0, 1))
    return output
