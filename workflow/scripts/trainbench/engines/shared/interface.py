"""Says what a run asks of a framework: the interface that each engine has, and the words they share."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from trainbench.networks.models import ModelSpec
from trainbench.networks.parameters import Parameters

State = Mapping[str, NDArray[Any]]
"""All that training goes on from, as named arrays."""


@dataclass(frozen=True)
class Images:
    """Images and labels that an engine places on its device.

    `train_images` is uint8 [samples, height, width], `train_labels` uint8 [samples], the same for testing.
    """

    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.uint8]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.uint8]


@dataclass(frozen=True)
class Threads:
    """Threads of the framework's two pools: inside one operation, and between operations.

    The larger one says with how many threads a run computes. The other is 1, but for runs on several GPUs.
    """

    intra_op: int
    inter_op: int


@dataclass(frozen=True)
class Execution:
    """How a run is to compute.

    `kind` is "cpu" or "gpu". A batch of `batch_size` images is shared out among `replicas` devices of that kind, each
    with a copy of the parameters: the GPUs of a run, of which the environment shows it just these; on a CPU one, or in
    tests several that the framework pretends. `precision` is one of `trainbench.networks.precision.PRECISIONS`.
    """

    kind: str
    threads: int
    batch_size: int
    precision: str = "float32"
    replicas: int = 1


@dataclass(frozen=True)
class DeviceProof:
    """Where the framework says that the parameters and a computed result lie, in its own names of devices."""

    kind: str
    parameters_on: tuple[str, ...]
    computation_on: tuple[str, ...]


@dataclass(frozen=True)
class LossScaling:
    """What scaling the loss has come to: the scale in force, and how many steps were left out for being too large."""

    scale: float
    skipped_steps: int


@dataclass(frozen=True)
class Ceilings:
    """The most that a run's device was seen to do, with the run's own framework, precision and threads.

    `flop_per_second` comes from the product of two square matrices of `product_size` rows, in which a multiplication
    and an addition count 2; `bytes_per_second` from adding arrays of `array_bytes` in place, in which every value read
    and every value written counts. `seconds` is what finding out took.
    """

    flop_per_second: float
    bytes_per_second: float
    product_size: int
    array_bytes: int
    seconds: float


class OutOfMemory(Exception):  # noqa: N818 - the name says what is the case
    """The device or the host has too little memory for this cell: an expected result, not a bug."""


class Refused(Exception):  # noqa: N818 - the name says what is the case
    """The run cannot compute as it was asked to; the text says what was found and what to do."""


class WrongDevice(Refused):
    """The run does not compute on the device that was asked for."""


class WrongPrecision(Refused):
    """The run does not compute in the precision that was asked for."""


class NotInstalled(Refused):
    """The framework is not there."""


class Engine(Protocol):
    """What a run asks of a framework, in the order of the calls.

    A call returns only when the device has finished: clocks are read around calls, never inside.
    """

    def threads(self) -> Threads:
        """Threads in force."""

    def versions(self) -> Mapping[str, str | None]:
        """Versions of the framework and of what it computes with."""

    def flags(self) -> Mapping[str, bool | None]:
        """What changes speed: `tf32`, `deterministic`."""

    def place(self, images: Images) -> None:
        """Put the data on each device: pixels / 255 in the type that the network computes in, labels as integers."""

    def build(self, spec: ModelSpec, parameters: Parameters, batch_size: int, seed: int) -> None:
        """Create parameters and optimiser state, compile, run one step and undo it."""

    def prove_device(self) -> DeviceProof:
        """Find out where parameters and a computed result lie.

        Raises:
            WrongDevice: not on the device that was asked for.
        """

    def product_types(self) -> frozenset[str]:
        """The types, in numpy's names, of what products and convolutions of the compiled training step multiply."""

    def multiply(self, left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[Any]:
        """The product of two matrices on the device as the network's layers compute theirs."""

    def loss_scaling(self) -> LossScaling | None:
        """How the loss is scaled; None where the precision needs no scaling."""

    def train_epoch(self) -> float:
        """Train on every full batch in file order; the mean of the batches' losses."""

    def evaluate(self) -> int:
        """How many of all test images are classified rightly."""

    def parameters(self) -> Parameters:
        """The parameters as they are now."""

    def state(self) -> State:
        """All that training goes on from: parameters, the optimiser's state, steps done."""

    def restore(self, state: State) -> None:
        """Go on from the `state` of an engine that was built alike."""

    def ceilings(self) -> Ceilings:
        """Measure what the device can do at most, in about a second; `engines.shared.ceilings` says how.

        Raises:
            OutOfMemory: too little memory is free for arrays that no cache holds.
        """
