"""Trains with PyTorch: data on the device, and on a GPU a step that is recorded once and replayed for every batch."""

import multiprocessing.connection
import os
import subprocess
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import prod
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from trainbench.engines.shared.common import EVALUATION_BATCH, STEPS_DONE, Relu, sizes, with_pooling_before_relu
from trainbench.engines.shared.interface import (
    Ceilings,
    DeviceProof,
    Execution,
    Images,
    LossScaling,
    OutOfMemory,
    Refused,
    State,
    Threads,
    WrongDevice,
    WrongPrecision,
)
from trainbench.machine import lifetime
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
"""Images of a batch that are worth a thread of their own."""

_WARM_UPS: Final = 3
"""Steps before one is recorded, as PyTorch's notes on CUDA graphs have it: libraries set themselves up in them."""

_FAILURE_SECONDS: Final = 10.0
"""How long to wait for another replica to say why it failed, when a replica's own step has failed."""

_PRODUCTS: Final = frozenset(
    f"aten::{name}{form}"
    for name in ("mm", "addmm", "bmm", "baddbmm", "convolution", "mkldnn_rnn_layer", "_cudnn_rnn")
    for form in ("", "_backward")
)
"""Operations that multiply: those which PyTorch's layers and their gradients come down to on CPUs and on GPUs."""

_OUT_OF_MEMORY_TEXTS: Final = (
    "can't allocate memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)
"""What PyTorch's allocator for CPUs, and CUDA's libraries, say in a RuntimeError for too little memory."""

Number: TypeAlias = "int | torch.Tensor"
"""The number of a batch or of a step: on a GPU an int64 tensor [1], which a recorded step reads and advances."""


def parts_of_a_batch(execution: Execution) -> int:
    """How many parts of a batch are computed side by side on a CPU, each by one thread.

    As in the TensorFlow engine: where each operation is shared among the threads, they wait for one another thousands
    of times a step; where each thread has a part of the batch, twice (docs/performance.md). There is one part on a GPU,
    where there are several replicas, where the loss is scaled (all gradients are looked at together), and where a
    thread would have fewer than `SMALLEST_PART` images.
    """
    undivided = execution.kind != "cpu" or execution.replicas > 1 or precision.PRECISIONS[execution.precision].is_scaled
    return 1 if undivided or execution.batch_size // execution.threads < SMALLEST_PART else execution.threads


def start(execution: Execution) -> "TorchEngine":
    """Bring PyTorch up on its devices, each of several replicas in a process of its own.

    Raises:
        WrongDevice: GPUs are asked for and PyTorch sees fewer.
    """
    parts = parts_of_a_batch(execution)
    _set_up(execution, rank=0, parts=parts)
    return TorchEngine(execution, parts, _Followers(execution) if execution.replicas > 1 else None)


def _set_up(execution: Execution, rank: int, parts: int) -> None:
    if execution.kind == "gpu":
        _demand_gpus(execution.replicas)
        torch.cuda.set_device(rank)
    # Shapes never change: cuDNN tries its algorithms once, in the warm-up, and keeps the fastest.
    torch.backends.cudnn.benchmark = True
    # Each by name: cuDNN's default is TF32.
    float32_is = "tf32" if execution.precision == "tf32" else "ieee"
    for operations in (torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn):
        operations.fp32_precision = float32_is
    torch.set_num_threads(1 if parts > 1 else max(1, execution.threads // execution.replicas))
    if torch.get_num_interop_threads() != 1:
        # PyTorch allows it once, before its first work. Nothing here uses that pool.
        torch.set_num_interop_threads(1)
    # The LSTM's weights lie as the optimiser wants them; cuDNN copies them, 26 kB, in each step.
    warnings.filterwarnings("ignore", message="RNN module weights are not part of single contiguous chunk")


def _demand_gpus(count: int) -> None:
    seen = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not seen:
        reason = (
            "this PyTorch is built without CUDA (remedy: make setup BUILD=cuda)"
            if torch.version.cuda is None
            else "it could not reach the card (remedy: read the warnings in this log, compare the driver that "
            f"`nvidia-smi` shows with CUDA {torch.version.cuda})"
        )
        raise WrongDevice(f"a GPU was asked for, but PyTorch {torch.__version__} sees none: {reason}")
    if seen < count:
        raise WrongDevice(
            f"{count} GPUs were asked for, but PyTorch {torch.__version__} sees {seen}: read the warnings in this log"
        )


class TorchEngine:
    """One model on the devices of a run. The calls come in the order of `engines.shared.interface.Engine`.

    It has the first replica; others, if any, lie in processes that do what this one does.
    """

    def __init__(self, execution: Execution, parts: int = 1, others: "_Followers | None" = None) -> None:
        """Take a batch in so many parts, that go side by side."""
        self._execution = execution
        self._own = _Replica(execution, 0, parts)
        self._others = others
        self._parts = parts
        self._batches = 0
        self._steps_done = 0

    def threads(self) -> Threads:
        """Threads in force; those between operations are our own, each with a part of the batch."""
        return Threads(torch.get_num_threads(), self._parts)

    def versions(self) -> Mapping[str, str | None]:
        """Versions of PyTorch, of the CUDA and cuDNN that it was built with, and of numpy."""
        cudnn = torch.backends.cudnn.version()
        return {
            "torch": torch.__version__,
            "numpy": np.__version__,
            "cuda": torch.version.cuda,
            "cudnn": None if cudnn is None else str(cudnn),
        }

    def flags(self) -> Mapping[str, bool | None]:
        """TF32 and determinism, as in force."""
        return {
            "tf32": torch.backends.cuda.matmul.fp32_precision == "tf32",
            "deterministic": torch.are_deterministic_algorithms_enabled(),
        }

    def place(self, images: Images) -> None:
        """Put the data on each device: pixels / 255 [samples, pixels], labels as int64 [samples]."""
        self._everywhere("place", images)

    def build(self, spec: ModelSpec, parameters: Parameters, batch_size: int, seed: int) -> None:
        """Create the parameters, run a step and an evaluation, record them on a GPU, and undo the step.

        Raises:
            WrongPrecision: PyTorch has no operations for it on such a device.
        """
        self._batches, *_ = self._everywhere("build", spec, parameters, batch_size, seed)

    def prove_device(self) -> DeviceProof:
        """Find out where the parameters and the losses that steps have computed lie.

        Names are PyTorch's; replicas on a CPU, which has one device only, are numbered as if each had its own.

        Raises:
            WrongDevice: not on the devices that were asked for.
        """
        parameters_on, computation_on = zip(*self._everywhere("lies_on"), strict=True)
        proof = DeviceProof(self._execution.kind, tuple(sorted(parameters_on)), tuple(sorted(computation_on)))
        type_ = "cpu" if self._execution.kind == "cpu" else "cuda"
        asked = {f"{type_}:{number}" for number in range(self._execution.replicas)}
        if not set(proof.parameters_on) == set(proof.computation_on) == asked:
            raise WrongDevice(
                f"{', '.join(sorted(asked))} was asked for, but parameters lie on {', '.join(proof.parameters_on)} and "
                f"computed results on {', '.join(proof.computation_on)}; report this with the run's log"
            )
        return proof

    def product_types(self) -> frozenset[str]:
        """The types of what the operations of a training step multiply, from those that PyTorch carried out."""
        return self._own.product_types

    def multiply(self, left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[Any]:
        """The product of two matrices as the layers compute theirs."""
        return self._own.multiply(left, right)

    def loss_scaling(self) -> LossScaling | None:
        """How the loss is scaled, where it is."""
        return self._own.loss_scaling()

    def train_epoch(self) -> float:
        """Train on every full batch in file order; the mean of the batches' losses."""
        losses = self._everywhere("train_epoch", self._steps_done)
        self._steps_done += self._batches
        return float(sum(losses)) / self._batches

    def evaluate(self) -> int:
        """How many of all test images are classified rightly."""
        return int(sum(self._everywhere("evaluate")))

    def parameters(self) -> Parameters:
        """The parameters as they are now."""
        return self._own.parameters()

    def state(self) -> State:
        """Parameters, the optimiser's slots, dropout's generators and the steps done."""
        generators = {
            f"generator/{rank}/{part}": state
            for rank, states in enumerate(self._everywhere("generator_states"))
            for part, state in enumerate(states)
        }
        return self._own.kept() | generators | {STEPS_DONE: np.array([self._steps_done])}

    def restore(self, state: State) -> None:
        """Go on from the `state` of an engine that was built alike."""
        self._everywhere("restore", dict(state))
        self._steps_done = int(state[STEPS_DONE][0])

    def ceilings(self) -> Ceilings:
        """Measure what a device can do at most, products in the run's precision.

        Raises:
            OutOfMemory: too little memory is free for arrays that no cache holds.
        """
        # Imported late: what is wanted after the last epoch shall take no part in starting up.
        from trainbench.engines.shared import ceilings

        with _naming_out_of_memory():
            return ceilings.measure(self._own.probes(), ceilings.room(self._execution.kind))

    def _everywhere(self, name: str, *arguments: Any) -> list[Any]:
        """What each replica's method gives, in their order, when all devices have finished."""
        if self._others is None:
            return [self._own.carry_out(name, arguments)]
        self._others.order(name, arguments)
        try:
            begun = self._own.begin(name, arguments)
        except RuntimeError:
            # A replica that fails takes the others' sums of gradients with it: its reason comes first.
            self._others.raise_failure()
            raise
        # Theirs first: a GPU waits without end for another one that has failed.
        answers = self._others.answers()
        return [self._own.finish(begun), *answers]


class _Followers:
    """The other replicas' processes, which do what the first replica does."""

    def __init__(self, execution: Execution) -> None:
        store = torch.distributed.TCPStore(
            "127.0.0.1", 0, world_size=execution.replicas, is_master=True, wait_for_workers=False
        )
        self._processes = []
        self._pipes: list[Any] = []
        for rank in range(1, execution.replicas):
            ours, theirs = multiprocessing.connection.Pipe()
            self._processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", __name__, *map(str, (os.getpid(), theirs.fileno(), rank, store.port))],
                    env={**os.environ, "PYTHONPATH": os.pathsep.join(_search_path())},
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                )
            )
            theirs.close()
            ours.send(execution)
            self._pipes.append(ours)
        self.answers()
        _join(execution, 0, store)

    def order(self, name: str, arguments: tuple[Any, ...]) -> None:
        """Have each of them carry out a method of its replica."""
        for pipe in self._pipes:
            # One that has ended is noticed when answers are asked for.
            with suppress(BrokenPipeError):
                pipe.send((name, arguments))

    def answers(self) -> list[Any]:
        """What each of them answers, in their order; whatever stops one of them is raised as soon as it says so."""
        found: dict[int, Any] = {}
        while len(found) < len(self._pipes):
            waiting = [pipe for number, pipe in enumerate(self._pipes) if number not in found]
            found |= {number: self._answer(number) for number in self._heard_of(waiting, None)}
        return [found[number] for number in range(len(self._pipes))]

    def raise_failure(self) -> None:
        """Raise what stopped one of them, if one says so soon."""
        for number in self._heard_of(self._pipes, _FAILURE_SECONDS):
            self._answer(number)

    def _heard_of(self, pipes: Sequence[Any], seconds: float | None) -> list[int]:
        """The numbers of those that have something to say, or have ended, as soon as there are any."""
        return [self._pipes.index(pipe) for pipe in multiprocessing.connection.wait(pipes, seconds)]

    def _answer(self, number: int) -> Any:
        try:
            answer = self._pipes[number].recv()
        except (EOFError, ConnectionResetError):
            code = self._processes[number].wait()
            raise RuntimeError(f"the process of replica {number + 1} ended with exit code {code}") from None
        if isinstance(answer, Exception):
            raise answer
        return answer


def _search_path() -> list[str]:
    return [str(Path(__file__).resolve().parents[3]), *filter(None, [os.environ.get("PYTHONPATH")])]


def _join(execution: Execution, rank: int, store: Any) -> None:
    """Become one of the processes that add up their gradients."""
    # All are on this machine: names of hosts, and other networks, take no part.
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    if torch.distributed.is_initialized():
        # PyTorch has one such group a process; an earlier engine's is not wanted any more.
        torch.distributed.destroy_process_group()
    torch.distributed.init_process_group(
        "gloo" if execution.kind == "cpu" else "nccl",
        store=store,
        rank=rank,
        world_size=execution.replicas,
        device_id=None if execution.kind == "cpu" else _device(execution, rank),
    )


def follow(arguments: Sequence[str]) -> None:
    """Be another replica: carry out what comes through the pipe until it is closed."""
    parent_pid, descriptor, rank, port = (int(argument) for argument in arguments)
    lifetime.end_with(parent_pid)
    pipe = multiprocessing.connection.Connection(descriptor)
    try:
        execution = pipe.recv()
        _set_up(execution, rank, parts=1)
        pipe.send(None)
        store = torch.distributed.TCPStore("127.0.0.1", port, world_size=execution.replicas, is_master=False)
        _join(execution, rank, store)
        replica = _Replica(execution, rank, parts=1)
        while True:
            name, call_arguments = pipe.recv()
            pipe.send(replica.carry_out(name, call_arguments))
    except EOFError:
        return
    except (OutOfMemory, Refused) as error:
        pipe.send(error)
    except Exception:
        # Where nobody listens any more, the first replica has failed and said why.
        with suppress(BrokenPipeError):
            pipe.send(RuntimeError(f"replica {rank} failed: {traceback.format_exc()}"))


def _device(execution: Execution, rank: int) -> Any:
    return torch.device("cpu") if execution.kind == "cpu" else torch.device("cuda", rank)


class _Replica:
    """One copy of the model on one device, with its share of each batch and of the test images."""

    def __init__(self, execution: Execution, rank: int, parts: int) -> None:
        self._execution = execution
        self._rank = rank
        self._device = _device(execution, rank)
        self._precision = precision.PRECISIONS[execution.precision]
        self._type = getattr(torch, self._precision.compute_type)
        self._team = _Team(parts)
        self._images: tuple[tuple[Any, Any], tuple[Any, Any]]
        self._arrangement: _Arrangement
        self._values: Any
        self._mean_squares: Any
        self._scaling: _LossScaling | None = None
        self._looked_after: list[slice] = []
        self._descents: list[_Descent] = []
        self._parts: list[_Part] = []
        self._gradients: Any
        self._batches = 0
        self._batch: Any
        self._step_number: Any
        self._right: Any
        self._training_graph: Any = None
        self._evaluation_graph: Any = None
        self.product_types: frozenset[str] = frozenset()

    def carry_out(self, name: str, arguments: tuple[Any, ...]) -> Any:
        """What the method `name` gives, as a number where it is a tensor, when the device has finished."""
        return self.finish(self.begin(name, arguments))

    def begin(self, name: str, arguments: tuple[Any, ...]) -> Any:
        """What the method `name` gives, whether the device has finished or not."""
        with _naming_out_of_memory():
            return getattr(self, name)(*arguments)

    def finish(self, begun: Any) -> Any:
        """Wait for the device, and for the number in a tensor."""
        with _naming_out_of_memory():
            self._wait()
            return begun.item() if isinstance(begun, torch.Tensor) else begun

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    def place(self, images: Images) -> None:
        """Put the data on the device."""
        self._images = (
            self._placed(images.train_images, images.train_labels),
            self._placed(images.test_images, images.test_labels),
        )

    def _placed(self, images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> tuple[Any, Any]:
        pixels = torch.tensor(images.reshape(len(images), -1)).to(self._device)
        return (
            pixels.to(torch.float32).div_(255).to(self._type),
            torch.tensor(labels.astype(np.int64)).to(self._device),
        )

    def build(self, spec: ModelSpec, parameters: Parameters, batch_size: int, seed: int) -> int:
        """Make everything, try it and undo what trying has changed; the number of batches in an epoch."""
        self._arrangement = _Arrangement(spec)
        self._values = torch.tensor(self._arrangement.vector(parameters)).to(self._device)
        self._mean_squares = _mean_squares(spec.optimiser, self._values)
        self._scaling = _LossScaling(self._device) if self._precision.is_scaled else None
        self._batch, self._step_number = (
            torch.zeros(1, dtype=torch.int64, device=self._device) for _ in ("batch", "step")
        )
        self._right = torch.zeros((), dtype=torch.int64, device=self._device)
        self._batches = len(self._images[0][0]) // batch_size
        self._parts = list(self._make_parts(spec, batch_size, seed))
        self._gradients = torch.empty(len(self._parts), len(self._values), device=self._device)
        self._looked_after = _shares(len(self._values), len(self._parts))
        self._descents = [
            _Descent(spec.optimiser, self._values[chosen], self._mean_squares[chosen]) for chosen in self._looked_after
        ]
        changed = self._changing()
        before = [tensor.clone() for tensor in changed]
        generators_before = self.generator_states()
        with _naming_missing_operations(self._execution):
            if self._device.type == "cuda":
                self._record()
            else:
                self.product_types = _product_types(self._parts[0])
                self._train(batches=1, steps_done=0)
                self._parts[0].right(batches=1)
        for tensor, value in zip(changed, before, strict=True):
            tensor.copy_(value)
        self._set_generators(generators_before)
        return self._batches

    def _make_parts(self, spec: ModelSpec, batch_size: int, seed: int) -> Iterator["_Part"]:
        replicas, parts = self._execution.replicas, self._team.members
        network = _Network(tuple(with_pooling_before_relu(spec.layers)), self._arrangement.leaves(self._values))
        # [batches, images of a batch, ...]: a batch of a part is a slice.
        batches = [
            values[: self._batches * batch_size].unflatten(0, (self._batches, batch_size)) for values in self._images[0]
        ]
        train_shares = _shares_of_parts(batch_size, replicas, parts)[self._rank]
        test_shares = _shares_of_parts(len(self._images[1][0]), replicas, parts)[self._rank]
        for number, (train, test) in enumerate(zip(train_shares, test_shares, strict=True)):
            generator = torch.Generator(self._device)
            # numpy's sequences make the seeds of neighbours unlike those of neighbouring runs.
            generator.manual_seed(int(np.random.SeedSequence((seed, self._rank, number)).generate_state(1)[0]))
            yield _Part(
                network,
                train=[values[:, train] for values in batches],
                test=[values[test] for values in self._images[1]],
                generator=generator,
                slope=torch.tensor(1 / batch_size, device=self._device),
                evaluation_batch=-(-EVALUATION_BATCH // (replicas * parts)),
                scaling=self._scaling,
            )

    def _record(self) -> None:
        """Try a step and an evaluation on the GPU, then record each as a CUDA graph.

        As https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs has it: first on a stream at the side.
        """
        part = self._parts[0]

        def evaluate() -> None:
            self._right.copy_(part.right())

        side = torch.cuda.Stream(self._device)
        side.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(side):
            self.product_types = _product_types(part)
            for _ in range(_WARM_UPS):
                self.begin_epoch(0)
                self.next_step()
                evaluate()
        torch.cuda.current_stream(self._device).wait_stream(side)
        self._training_graph, self._evaluation_graph = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
        self._training_graph.register_generator_state(part.generator)
        for graph, recorded in ((self._training_graph, self.next_step), (self._evaluation_graph, evaluate)):
            # Not "global", the default: NCCL's own thread, which looks after the gradients' sums, would be an error.
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                recorded()

    def begin_epoch(self, steps_done: int) -> None:
        """Let the device count batches from the first on, and steps from those done."""
        self._parts[0].loss.zero_()
        self._batch.zero_()
        self._step_number.fill_(steps_done)

    def next_step(self) -> None:
        """The step of the batch that the device has come to: what is recorded on a GPU."""
        self._step(0, self._batch, self._step_number, _nothing)
        self._batch.add_(1)
        self._step_number.add_(1)

    def lies_on(self) -> tuple[str, str]:
        """The names of the devices on which the parameters and computed losses lie."""
        return self._named(self._values.device), self._named(self._parts[0].loss.device)

    def _named(self, device: Any) -> str:
        return f"{device.type}:{self._rank if device.index is None else device.index}"

    def multiply(self, left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[Any]:
        """The product of two matrices as the layers compute theirs."""
        operands = (torch.tensor(side).to(self._device, self._type) for side in (left, right))
        values: NDArray[Any] = torch.mm(*operands).to(torch.float32).cpu().numpy()
        return values

    def loss_scaling(self) -> LossScaling | None:
        """How the loss is scaled, where it is."""
        if self._scaling is None:
            return None
        return LossScaling(self._scaling.scale.item(), self._scaling.skipped_steps.item())

    def train_epoch(self, steps_done: int) -> Any:
        """Train on every full batch; this replica's share of the sum of the batches' mean losses."""
        if self._training_graph is None:
            self._train(self._batches, steps_done)
        else:
            self.begin_epoch(steps_done)
            for _ in range(self._batches):
                self._training_graph.replay()
        return sum(part.loss * part.slope for part in self._parts)

    def _train(self, batches: int, steps_done: int) -> None:
        def member(number: int, meet: Callable[[], object]) -> None:
            self._parts[number].loss.zero_()
            for batch in range(batches):
                self._step(number, batch, steps_done + batch, meet)

        self._team.run(member)

    def _step(self, number: int, batch: Number, step: Number, meet: Callable[[], object]) -> None:
        """A thread's part of a training step; `meet` waits for all threads."""
        part, descent = self._parts[number], self._descents[number]
        if len(self._parts) == 1:
            gradient = part.gradient(batch, step)
            if self._execution.replicas > 1:
                torch.distributed.all_reduce(gradient)
            if self._scaling is None:
                descent.step(gradient)
            else:
                self._scaling.descend(descent, gradient)
            return
        part.gradient(batch, step, out=self._gradients[number])
        meet()
        descent.step(self._gradients[:, self._looked_after[number]].sum(0))
        meet()

    def evaluate(self) -> Any:
        """How many of this replica's share of the test images are classified rightly."""
        if self._evaluation_graph is not None:
            self._evaluation_graph.replay()
            return self._right
        return sum(self._team.run(lambda number, _: self._parts[number].right()))

    def parameters(self) -> Parameters:
        """The parameters as they are now."""
        return self._arrangement.arrays(self._values)

    def kept(self) -> dict[str, NDArray[Any]]:
        """What training goes on from but for random numbers and the steps done, by names of its own."""
        kept: dict[str, NDArray[Any]] = {f"parameter/{name}": value for name, value in self.parameters().items()}
        if len(self._mean_squares):
            slots = self._arrangement.arrays(self._mean_squares).values()
            kept |= {f"slot/{number}": slot for number, slot in enumerate(slots)}
        if self._scaling is not None:
            kept |= {name: tensor.cpu().numpy() for name, tensor in self._scaling.tensors().items()}
        return kept

    def generator_states(self) -> list[NDArray[np.uint8]]:
        """The states of dropout's generators, one for each part."""
        return [part.generator.get_state().numpy() for part in self._parts]

    def _set_generators(self, states: Sequence[NDArray[np.uint8]]) -> None:
        for part, state in zip(self._parts, states, strict=True):
            part.generator.set_state(torch.tensor(state))

    def restore(self, state: State) -> None:
        """Go on from what `TorchEngine.state` gave."""
        names = list(self._arrangement.names)
        self._values.copy_(torch.tensor(self._arrangement.vector({name: state[f"parameter/{name}"] for name in names})))
        if len(self._mean_squares):
            slots = {name: state[f"slot/{number}"] for number, name in enumerate(names)}
            self._mean_squares.copy_(torch.tensor(self._arrangement.vector(slots)))
        if self._scaling is not None:
            for name, tensor in self._scaling.tensors().items():
                tensor.copy_(torch.tensor(state[name]))
        self._set_generators([state[f"generator/{self._rank}/{part}"] for part in range(len(self._parts))])

    def probes(self) -> "_Probes":
        """The probes for the ceilings of this replica's device."""
        return _Probes(self._device, self._type, self._team, self._wait)

    def _changing(self) -> list[Any]:
        """The tensors that a step changes and that the next one reads."""
        scaling = [] if self._scaling is None else list(self._scaling.tensors().values())
        return [self._values, self._mean_squares, *scaling]


def _shares(whole: int, count: int, begin: int = 0) -> list[slice]:
    """Where each of so many shares of `whole` values lies, the first at `begin`."""
    ends = list(accumulate(sizes(whole, count), initial=begin))
    return [slice(*edges) for edges in pairwise(ends)]


def _shares_of_parts(whole: int, replicas: int, parts: int) -> list[list[slice]]:
    """For each replica the share of each of its parts."""
    return [_shares(share.stop - share.start, parts, share.start) for share in _shares(whole, replicas)]


def _nothing() -> None:
    """Wait for nobody."""


class _Team:
    """Threads that each do a part of the work, every operation by one thread alone; one member needs no thread."""

    def __init__(self, members: int) -> None:
        self.members = members
        self._pool = ThreadPoolExecutor(members, initializer=torch.set_num_threads, initargs=(1,))

    def run(self, work: Callable[[int, Callable[[], object]], Any]) -> list[Any]:
        """What `work(number, meet)` gives for each member; in it, `meet()` waits for all members."""
        if self.members == 1:
            return [work(0, _nothing)]
        barrier = threading.Barrier(self.members)

        def member(number: int) -> Any:
            try:
                return work(number, barrier.wait)
            except BaseException:
                barrier.abort()
                raise

        futures = [self._pool.submit(member, number) for number in range(self.members)]
        wait(futures)
        failures = [failure for failure in (future.exception() for future in futures) if failure is not None]
        for failure in failures:
            # The others of the failed one's team only say that it did not come.
            if not isinstance(failure, threading.BrokenBarrierError):
                raise failure
        return [future.result() for future in futures]


@dataclass(frozen=True)
class _Form:
    """How a parameter lies inside: `inside` gives the arrays that PyTorch computes with, `outside` the parameter."""

    inside: Callable[[NDArray[Any]], list[NDArray[Any]]]
    outside: Callable[[list[NDArray[Any]]], NDArray[Any]]


_AS_IT_IS: Final = _Form(lambda value: [value], lambda arrays: arrays[0])
_MATRIX: Final = _Form(lambda value: [value.T], lambda arrays: arrays[0].T)
"""[inputs, outputs] as [outputs, inputs], as PyTorch's own layers have it: with 10 outputs 2.5 times as fast."""

_KERNEL: Final = _Form(lambda value: [value.transpose(3, 0, 1, 2)], lambda arrays: arrays[0].transpose(1, 2, 3, 0))
"""[h, w, in, out] of a convolution as [out, h, w, in], which PyTorch calls channels_last."""


def _swapped(gates: NDArray[Any]) -> NDArray[Any]:
    """The gates i, j, f, o of [..., 4 * units] as i, f, j, o, which is PyTorch's order, or back."""
    by_gate = gates.reshape(*gates.shape[:-1], 4, -1)
    return by_gate[..., [0, 2, 1, 3], :].reshape(gates.shape)


def _lstm_kernel(units: int) -> _Form:
    """[inputs + units, gates] as one matrix [gates, inputs] and one [gates, units]."""
    return _Form(
        lambda value: [_swapped(value)[:-units].T, _swapped(value)[-units:].T],
        lambda arrays: _swapped(np.concatenate([array.T for array in arrays])),
    )


_LSTM_BIAS: Final = _Form(lambda value: [_swapped(value)], lambda arrays: _swapped(arrays[0]))


class _Arrangement:
    """How all parameters lie in one vector, so that gradients are added up, and the optimiser works, in one go."""

    def __init__(self, spec: ModelSpec) -> None:
        self._forms = dict.fromkeys((parameter.name for parameter in spec.parameters), _AS_IT_IS)
        for layer in spec.layers:
            match layer:
                case Dense(weights):
                    self._forms[weights] = _MATRIX
                case Conv2D(kernel):
                    self._forms[kernel] = _KERNEL
                case Lstm(kernel, bias, units):
                    self._forms |= {kernel: _lstm_kernel(units), bias: _LSTM_BIAS}
        self._shapes = {
            parameter.name: [array.shape for array in self._forms[parameter.name].inside(np.empty(parameter.shape))]
            for parameter in spec.parameters
        }

    @property
    def names(self) -> Sequence[str]:
        """The parameters' names."""
        return list(self._forms)

    def vector(self, arrays: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """Arrays in the parameters' shapes, as one vector."""
        return np.concatenate(
            [array.ravel() for name, form in self._forms.items() for array in form.inside(arrays[name])]
        )

    def arrays(self, vector: Any) -> dict[str, NDArray[np.float32]]:
        """A vector, on whatever device, as copies in the parameters' shapes."""
        pieces = self._views(vector.cpu())
        return {
            name: np.array(form.outside([piece.numpy() for piece in pieces[name]]), order="C")
            for name, form in self._forms.items()
        }

    def leaves(self, vector: Any) -> dict[str, list[Any]]:
        """What lies in the vector, as that for which gradients are asked."""
        return {name: [view.detach().requires_grad_() for view in views] for name, views in self._views(vector).items()}

    def _views(self, vector: Any) -> dict[str, list[Any]]:
        counts = [prod(shape) for shapes in self._shapes.values() for shape in shapes]
        pieces = iter(vector.split(counts))
        return {name: [next(pieces).view(shape) for shape in shapes] for name, shapes in self._shapes.items()}


class _Network:
    """The layers and their parameters; arrays of images are [batch, height, width, channels] between all layers."""

    def __init__(self, layers: Sequence[Layer | Relu], parameters: Mapping[str, list[Any]]) -> None:
        self._layers = layers
        self._parameters = parameters
        self.leaves = [leaf for leaves in parameters.values() for leaf in leaves]

    def logits(self, x: Any, dropout: "tuple[Any, Number] | None") -> Any:
        """[batch, classes] of pixels [batch, pixels], in their type; `dropout` is (generator, step) in training."""
        for position, layer in enumerate(self._layers):
            match layer:
                case Reshape(shape):
                    x = x.reshape(len(x), *shape)
                case Dense(weights, bias, relu):
                    biases = [] if bias is None else self._typed(bias, x)
                    x = functional.linear(x, *self._typed(weights, x), *biases)
                    x = x.relu_() if relu else x
                case Conv2D(kernel, relu):
                    (filters,) = self._typed(kernel, x)
                    x = functional.conv2d(_channels_first(x), _channels_first(filters), padding="same")
                    x = _channels_last(x.relu_() if relu else x)
                case MaxPool2D(size):
                    x = _pooled(x, size)
                case Relu():
                    x = x.relu_()
                case Dropout(keep) if dropout is not None and keep < 1.0:
                    generator, step = dropout
                    x = x * dropout_factors(x, keep, Draw(position, step, generator))
                case Dropout():
                    pass
                case Lstm():
                    x = self._lstm(layer, x)
        return x

    def _typed(self, name: str, x: Any) -> list[Any]:
        """A parameter in the type of `x`; its gradient is float32 again."""
        return [leaf.to(x.dtype) for leaf in self._parameters[name]]

    def _lstm(self, layer: Lstm, x: Any) -> Any:
        """Last output [batch, units] of the layer over x [batch, steps, inputs], by PyTorch's one operation for it.

        That adds two biases: the second is a constant, the forget gates' own.
        """
        kernels, (bias,) = self._typed(layer.kernel, x), self._typed(layer.bias, x)
        constant = torch.zeros_like(bias)
        constant[layer.units : 2 * layer.units] = layer.forget_bias
        begin = x.new_zeros(1, len(x), layer.units)
        _, output, _ = torch.lstm(
            x,
            (begin, begin),
            [*kernels, bias, constant],
            has_biases=True,
            num_layers=1,
            dropout=0.0,
            train=True,
            bidirectional=False,
            batch_first=True,
        )
        return output[0]


def _channels_first(x: Any) -> Any:
    """[batch, height, width, channels] as PyTorch names axes; nothing moves."""
    return x.permute(0, 3, 1, 2)


def _channels_last(x: Any) -> Any:
    return x.permute(0, 2, 3, 1)


def _pooled(x: Any, size: int) -> Any:
    """Maxima of windows; padding is SAME as TensorFlow has it, the larger half at the end, with minus infinity."""
    height, width = (-length % size for length in x.shape[1:3])
    if max(height, width) > 1:
        edges = (width // 2, width - width // 2, height // 2, height - height // 2)
        x = _channels_last(functional.pad(_channels_first(x), edges, value=float("-inf")))
    # With one row or column to pad, or none, `ceil_mode` does it: it lets the last window stand over.
    return _channels_last(functional.max_pool2d(_channels_first(x), size, size, ceil_mode=True))


class Draw(NamedTuple):
    """Which random numbers are wanted: the layer's position, the step since the run began, and where to take them."""

    position: int
    step: Number
    generator: Any


def dropout_factors(x: Any, keep: float, draw: Draw) -> Any:
    """What dropout multiplies each value of `x` by: 0, or 1 / keep with the probability `keep`.

    It takes 16 random bits a value. `keep` is rounded to a multiple of 2**-16; dividing by what it is rounded to leaves
    the expected value as it is.
    """
    steps = min(max(round(keep * 2**16), 1), 2**16 - 1)
    values = x.numel()
    fours = torch.empty(-(-values // 4), dtype=torch.int64, device=x.device)
    # Without an end, all 64 bits are random.
    fours.random_(-(2**63), None, generator=draw.generator)
    kept = fours.view(torch.int16)[:values].view(x.shape) < steps - 2**15
    return kept.to(x.dtype).mul_(2**16 / steps)


class _Part:
    """A part of each batch, computed by itself from its images to its gradients."""

    def __init__(
        self,
        network: _Network,
        *,
        train: Sequence[Any],
        test: Sequence[Any],
        generator: Any,
        slope: Any,
        evaluation_batch: int,
        scaling: "_LossScaling | None",
    ) -> None:
        """`train` are images and labels by batch, `test` all of them; `slope` is 1 / (images in the whole batch)."""
        self._network = network
        self._train = train
        self._test = [values.split(evaluation_batch) for values in test]
        self._scaling = scaling
        self.generator = generator
        self.slope = slope
        self.loss = torch.zeros((), device=slope.device)

    def gradient(self, batch: Number, step: Number, out: Any = None) -> Any:
        """The gradient of the batch's mean loss as far as this part goes, as one vector; adds to the sum of losses."""
        images, labels = (_taken(values, batch) for values in self._train)
        logits = self._network.logits(images, (self.generator, step)).to(torch.float32)
        loss = functional.cross_entropy(logits, labels, reduction="sum")
        slope = self.slope if self._scaling is None else self._scaling.scale * self.slope
        gradients = torch.autograd.grad(loss, self._network.leaves, slope)
        self.loss.add_(loss.detach())
        if len(gradients) == 1 and out is None:
            return gradients[0].reshape(-1)
        return torch.cat([gradient.reshape(-1) for gradient in gradients], out=out)

    def right(self, batches: int | None = None) -> Any:
        """How many test images are classified rightly, in all batches or in the first ones."""
        right = torch.zeros((), dtype=torch.int64, device=self.loss.device)
        with torch.no_grad():
            for images, labels in list(zip(*self._test, strict=True))[:batches]:
                right += (self._network.logits(images, None).argmax(1) == labels).sum()
        return right


def _taken(values: Any, batch: Number) -> Any:
    """One batch of [batches, ...]: a slice where its number is known, else a copy."""
    return values[batch] if isinstance(batch, int) else values.index_select(0, batch)[0]


def _mean_squares(optimiser: Optimiser, values: Any) -> Any:
    """The optimiser's state, one number for each value, or none."""
    match optimiser:
        case Sgd():
            return values.new_empty(0)
        case RmsProp(initial_mean_square=initial):
            return torch.full_like(values, initial)


class _Descent:
    """The optimiser's step for some of the trained numbers, all at once."""

    def __init__(self, optimiser: Optimiser, values: Any, mean_squares: Any) -> None:
        self._optimiser = optimiser
        self._values = values
        self._mean_squares = mean_squares
        self._roots = torch.empty_like(mean_squares)

    def step(self, gradient: Any, is_taken: Any = None) -> None:
        """Take a step, unless the tensor `is_taken` is false; then the gradient must be all zeros."""
        match self._optimiser:
            case Sgd(learning_rate):
                self._values.add_(gradient, alpha=-learning_rate)
            case RmsProp(learning_rate, decay, epsilon):
                self._mean_squares.mul_(decay if is_taken is None else 1 - (1 - decay) * is_taken)
                self._mean_squares.addcmul_(gradient, gradient, value=1 - decay)
                torch.add(self._mean_squares, epsilon, out=self._roots).sqrt_()
                self._values.addcdiv_(gradient, self._roots, value=-learning_rate)


class _LossScaling:
    """The loss scale (`networks.precision` says how it changes), kept on the device so that no step waits for it."""

    def __init__(self, device: Any) -> None:
        self.scale = torch.tensor(precision.FIRST_LOSS_SCALE, device=device)
        self.good_steps = torch.tensor(0, device=device)
        self.skipped_steps = torch.tensor(0, device=device)
        self._factors = [
            torch.tensor(factor, device=device)
            for factor in (precision.LOSS_SCALE_GROWTH, 1.0, 1 / precision.LOSS_SCALE_GROWTH)
        ]

    def tensors(self) -> dict[str, Any]:
        """What changes, by names of its own."""
        return {f"loss_scaling/{name}": getattr(self, name) for name in ("scale", "good_steps", "skipped_steps")}

    def descend(self, descent: _Descent, scaled: Any) -> None:
        """One step of the optimiser if the whole gradient is finite; then the scale's change."""
        gradient = scaled / self.scale
        is_finite = torch.isfinite(gradient).all()
        descent.step(gradient.masked_fill_(is_finite.logical_not(), 0.0), is_finite)
        good_steps = (self.good_steps + 1) * is_finite
        grows = good_steps >= precision.LOSS_SCALE_GROWS_AFTER
        larger, same, smaller = self._factors
        self.scale.mul_(torch.where(is_finite, torch.where(grows, larger, same), smaller))
        self.good_steps.copy_(good_steps * grows.logical_not())
        self.skipped_steps.add_(is_finite.logical_not())


class _Products(TorchDispatchMode):  # type: ignore[misc]
    """Notes the types of what operations multiply while it is on."""

    def __init__(self) -> None:
        super().__init__()
        self.types: set[str] = set()

    def __torch_dispatch__(self, operation: Any, types: Any, arguments: Any = (), keywords: Any = None) -> Any:
        if operation._schema.name in _PRODUCTS:
            self.types |= set(_types_of(arguments))
        return operation(*arguments, **(keywords or {}))


def _types_of(argument: Any) -> Iterator[str]:
    """Types of the arrays of fractions among an operation's arguments, in numpy's names."""
    if isinstance(argument, torch.Tensor) and argument.is_floating_point():
        yield str(argument.dtype).removeprefix("torch.")
    elif isinstance(argument, list | tuple):
        for item in argument:
            yield from _types_of(item)


def _product_types(part: _Part) -> frozenset[str]:
    """What a training step multiplies, found out by computing its gradient."""
    first = torch.zeros(1, dtype=torch.int64, device=part.loss.device)
    with _Products() as products:
        part.gradient(first, first)
    return frozenset(products.types)


class _Probes:
    """`engines.shared.ceilings.Probes` on one device, shared among threads like the steps are."""

    def __init__(self, device: Any, compute_type: Any, team: _Team, wait_for_device: Callable[[], None]) -> None:
        self._device = device
        self._type = compute_type
        self._team = team
        self._wait = wait_for_device

    def product(self, size: int) -> Callable[[], None]:
        """Random matrices: a GPU draws less power, and clocks higher, for constant ones."""
        generator = torch.Generator(self._device).manual_seed(size)
        left, right = (
            torch.rand((size, size), generator=generator, device=self._device).mul_(2).sub_(1).to(self._type)
            for _ in ("left", "right")
        )
        lefts = left.split(sizes(size, self._team.members))
        products = [torch.empty_like(rows) for rows in lefts]

        def multiply() -> None:
            self._team.run(lambda number, _: torch.mm(lefts[number], right, out=products[number]))
            self._wait()

        return multiply

    def addition(self, values: int) -> Callable[[int], None]:
        """Starting an addition takes microseconds, the smallest one that a device is measured by many times that."""
        sources = [torch.ones(size, device=self._device) for size in sizes(values, self._team.members)]
        targets = [torch.ones_like(source) for source in sources]

        def add(times: int) -> None:
            def member(number: int, _: Callable[[], object]) -> None:
                for _time in range(times):
                    targets[number].add_(sources[number])

            self._team.run(member)
            self._wait()

        return add


@contextmanager
def _naming_out_of_memory() -> Iterator[None]:
    """Turn PyTorch's errors for too little memory into `OutOfMemory`."""
    try:
        yield
    except RuntimeError as error:
        if not _is_out_of_memory(error):
            raise
        raise OutOfMemory(str(error).splitlines()[0]) from error


def _is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or any(text in str(error) for text in _OUT_OF_MEMORY_TEXTS)


@contextmanager
def _naming_missing_operations(execution: Execution) -> Iterator[None]:
    """Turn PyTorch's errors for operations that it does not have in a type into `WrongPrecision`."""
    try:
        yield
    except RuntimeError as error:
        compute_type = precision.PRECISIONS[execution.precision].compute_type
        if compute_type == "float32" or _is_out_of_memory(error):
            raise
        raise WrongPrecision(
            f"PyTorch {torch.__version__} cannot train this model in {compute_type} on a {execution.kind.upper()}: "
            f"{str(error).splitlines()[0]}; choose another precision or framework"
        ) from error


if __name__ == "__main__":
    follow(sys.argv[1:])
    # All is said: taking the framework apart would only wait for the others.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
