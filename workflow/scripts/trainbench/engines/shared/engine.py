"""Is an engine as far as no framework matters: what a run asks of one, and what all do alike."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from trainbench.engines.shared.framework import Framework
from trainbench.engines.shared.interface import Ceilings, Execution, Images, Refused, State, Threads
from trainbench.engines.shared.loss_scale import LossScale
from trainbench.networks.models import ModelSpec
from trainbench.networks.parameters import Parameters
from trainbench.networks.precision import PRECISIONS

if TYPE_CHECKING:
    from trainbench.engines.shared.ceilings import Probes

PARAMETER: Final = "parameter/"
"""What the name of a parameter in a state begins with."""

SLOT: Final = "slot/"
"""The same of what the optimiser keeps for a parameter."""

LOSS_SCALE: Final = "loss_scaling/"
"""The same of the fields of `loss_scale.LossScale`."""

STEPS_DONE: Final = "steps_done"
"""The name in a state of how many steps are done, from which dropout's random numbers follow."""


def named(parameters: Mapping[str, Any], slots: Mapping[str, Any], scale: LossScale | None) -> dict[str, Any]:
    """The same things by their names in a state."""
    groups = {PARAMETER: parameters, SLOT: slots, LOSS_SCALE: {} if scale is None else scale._asdict()}
    return {prefix + name: value for prefix, group in groups.items() for name, value in group.items()}


class Engine(ABC):
    """One model on the devices of a run. The public calls come in this order.

    A call returns only when the device has finished: clocks are read around calls, never inside. What is abstract here
    is a framework's own; calls with an underscore do what the public ones of the same names say.
    """

    def __init__(self, framework: Framework, execution: Execution) -> None:
        self._framework = framework
        self._execution = execution
        self._precision = PRECISIONS[execution.precision]
        self._train_samples = self._test_samples = 0
        self._batches = 0
        self._steps_done = 0

    @abstractmethod
    def threads(self) -> Threads:
        """Threads in force."""

    @abstractmethod
    def versions(self) -> Mapping[str, str | None]:
        """Versions of the framework and of what it computes with."""

    @abstractmethod
    def flags(self) -> Mapping[str, bool | None]:
        """What changes speed: `tf32`, `deterministic`."""

    def place(self, images: Images) -> None:
        """Put the data on each device: pixels / 255 in the type that the network computes in, labels as integers."""
        self._train_samples, self._test_samples = len(images.train_images), len(images.test_images)
        with self._framework.naming_out_of_memory():
            self._place(images)

    def build(self, spec: ModelSpec, parameters: Parameters, seed: int) -> None:
        """Create parameters and optimiser state, compile, run one step and undo it.

        Raises:
            Refused: the framework has no operations for it on such a device.
        """
        self._batches, self._steps_done = self._train_samples // self._execution.batch_size, 0
        with self._framework.naming_out_of_memory():
            self._build(spec, parameters, seed)

    def prove_device(self) -> dict[str, Any]:
        """Where parameters and a computed result lie, in the framework's own names of devices; ready for JSON.

        Raises:
            Refused: not on the devices that were asked for.
        """
        asked, parameters_on, computation_on = (tuple(sorted(set(names))) for names in self._lies_on())
        if not asked == parameters_on == computation_on:
            raise Refused(
                f"{', '.join(asked)} was asked for, but parameters lie on {', '.join(parameters_on)} and computed "
                f"results on {', '.join(computation_on)}; report this with the run's log"
            )
        return {"kind": self._execution.kind, "parameters_on": parameters_on, "computation_on": computation_on}

    @abstractmethod
    def product_types(self) -> frozenset[str]:
        """The types, in numpy's names, of what products and convolutions of the compiled training step multiply."""

    @abstractmethod
    def multiply(self, left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[Any]:
        """The product of two matrices on the device as the network's layers compute theirs."""

    def train_epoch(self) -> float:
        """Train on every full batch in file order; the mean of the batches' losses."""
        with self._framework.naming_out_of_memory():
            loss = self._train_epoch()
        self._steps_done += self._batches
        return loss

    def evaluate(self) -> int:
        """How many of all test images are classified rightly."""
        with self._framework.naming_out_of_memory():
            return self._evaluate()

    def state(self) -> State:
        """All that training goes on from: the specification's parameters, the optimiser's state, steps done."""
        return {**self._kept(), STEPS_DONE: np.array([self._steps_done])}

    def restore(self, state: State) -> None:
        """Go on from the `state` of an engine that was built alike."""
        with self._framework.naming_out_of_memory():
            self._restore(state)
        self._steps_done = int(state[STEPS_DONE][0])

    def loss_scaling(self) -> dict[str, float] | None:
        """The scale in force and how many steps were left out for being too large; None where nothing is scaled."""
        if not self._precision.is_scaled:
            return None
        kept = self._kept()
        scale, skipped_steps = kept[LOSS_SCALE + "scale"], kept[LOSS_SCALE + "skipped_steps"]
        return {"scale": float(scale), "skipped_steps": int(skipped_steps)}

    def ceilings(self) -> Ceilings:
        """Measure what the device can do at most, in about a second; `engines.shared.ceilings` says how.

        Raises:
            OutOfMemory: too little memory is free for arrays that no cache holds.
        """
        # Imported late: what is wanted after the last epoch shall take no part in starting up.
        from trainbench.engines.shared import ceilings

        with self._framework.naming_out_of_memory():
            return ceilings.measure(self._probes(), ceilings.room(self._execution.kind))

    @abstractmethod
    def _place(self, images: Images) -> None: ...

    @abstractmethod
    def _build(self, spec: ModelSpec, parameters: Parameters, seed: int) -> None: ...

    @abstractmethod
    def _lies_on(self) -> tuple[Iterable[str], Iterable[str], Iterable[str]]:
        """The framework's names of the devices asked for, of those with parameters and of those with a result."""

    @abstractmethod
    def _train_epoch(self) -> float: ...

    @abstractmethod
    def _evaluate(self) -> int: ...

    @abstractmethod
    def _kept(self) -> dict[str, NDArray[Any]]:
        """The state, but for the steps done."""

    @abstractmethod
    def _restore(self, state: State) -> None: ...

    @abstractmethod
    def _probes(self) -> "Probes": ...
