"""Trains with PyTorch: data on the device, and on a GPU a step that is recorded once and replayed for every batch."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from trainbench.engines.shared import batches, engine
from trainbench.engines.shared.interface import Execution, Images, State, Threads
from trainbench.engines.torch.devices import FRAMEWORK, set_up
from trainbench.engines.torch.followers import Followers
from trainbench.engines.torch.probes import Probes
from trainbench.engines.torch.replica import Replica
from trainbench.networks.models import ModelSpec
from trainbench.networks.parameters import Parameters
from trainbench.networks.precision import PRECISIONS


def parts_of_a_batch(execution: Execution) -> int:
    """How many parts of a batch are computed side by side.

    One besides where there are several replicas, and where the loss is scaled: all gradients are looked at together.
    """
    if execution.replicas > 1 or PRECISIONS[execution.precision].is_scaled:
        return 1
    return batches.parts_of_a_batch(execution.kind, execution.threads, execution.batch_size)


def start(execution: Execution) -> "TorchEngine":
    """Bring PyTorch up on its devices, each of several replicas in a process of its own.

    Raises:
        Refused: GPUs are asked for and PyTorch sees fewer.
    """
    parts = parts_of_a_batch(execution)
    set_up(execution, rank=0, parts=parts)
    return TorchEngine(execution, parts, Followers(execution) if execution.replicas > 1 else None)


class TorchEngine(engine.Engine):
    """One model on the devices of a run.

    It has the first replica; others, if any, lie in processes that do what this one does.
    """

    def __init__(self, execution: Execution, parts: int = 1, others: Followers | None = None) -> None:
        """Take a batch in so many parts, that go side by side."""
        super().__init__(FRAMEWORK, execution)
        self._own = Replica(execution, 0, parts)
        self._others = others
        self._parts = parts

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

    def _place(self, images: Images) -> None:
        self._everywhere("place", images)

    def _build(self, spec: ModelSpec, parameters: Parameters, seed: int) -> None:
        self._everywhere("build", spec, parameters, seed)

    def _lies_on(self) -> tuple[Iterable[str], Iterable[str], Iterable[str]]:
        """By PyTorch's names; replicas on a CPU, which has one device only, are numbered as if each had its own."""
        parameters_on, computation_on = zip(*self._everywhere("lies_on"), strict=True)
        type_ = "cpu" if self._execution.kind == "cpu" else "cuda"
        return (f"{type_}:{number}" for number in range(self._execution.replicas)), parameters_on, computation_on

    def product_types(self) -> frozenset[str]:
        """The types of what the operations of a training step multiply, from those that PyTorch carried out."""
        return self._own.product_types

    def multiply(self, left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[Any]:
        """The product of two matrices as the layers compute theirs."""
        return self._own.multiply(left, right)

    def _train_epoch(self) -> float:
        return float(sum(self._everywhere("train_epoch", self._steps_done))) / self._batches

    def _evaluate(self) -> int:
        return int(sum(self._everywhere("evaluate")))

    def _kept(self) -> dict[str, NDArray[Any]]:
        """With the states of dropout's generators."""
        generators = {
            f"generator/{rank}/{part}": state
            for rank, states in enumerate(self._everywhere("generator_states"))
            for part, state in enumerate(states)
        }
        return self._own.kept() | generators

    def _restore(self, state: State) -> None:
        self._everywhere("restore", dict(state))

    def _probes(self) -> Probes:
        return self._own.probes()

    def _everywhere(self, name: str, *arguments: Any) -> list[Any]:
        """What each replica's method gives, in their order, when all devices have finished."""
        if self._others is None:
            return [self._own.carry_out(name, arguments)]
        self._others.order(name, arguments)
        try:
            begun = getattr(self._own, name)(*arguments)
        except RuntimeError as error:
            # A replica that fails takes the others' sums of gradients with it: its reason comes first.
            if FRAMEWORK.out_of_memory(error) is None:
                self._others.raise_failure()
            raise
        # Theirs first: a GPU waits without end for another one that has failed.
        answers = self._others.answers()
        return [self._own.finish(begun), *answers]
