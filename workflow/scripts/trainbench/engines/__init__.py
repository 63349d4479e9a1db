"""Names the engines: each turns a model's specification into one framework's code."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from trainbench.models import ModelSpec
from trainbench.parameters import Parameters

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

    At least one of them is 1; the other says with how many threads a run computes.
    """

    intra_op: int
    inter_op: int


@dataclass(frozen=True)
class DeviceProof:
    """Where the framework says that the parameters and a computed result lie, in its own names of devices."""

    kind: str
    parameters_on: tuple[str, ...]
    computation_on: str


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


class WrongDevice(Exception):  # noqa: N818 - the name says what is the case
    """The run does not compute on the device that was asked for; the text says what was found and what to do."""


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
        """Put the data on the device: pixels / 255 as float32, labels as integers."""

    def build(self, spec: ModelSpec, parameters: Parameters, batch_size: int, seed: int) -> None:
        """Create parameters and optimiser state, compile, run one step and undo it."""

    def prove_device(self) -> DeviceProof:
        """Find out where parameters and a computed result lie.

        Raises:
            WrongDevice: not on the device that was asked for.
        """

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
        """Measure what the device can do at most, in about a second; `trainbench.engines.ceilings` says how.

        Raises:
            OutOfMemory: too little memory is free for arrays that no cache holds.
        """


ENGINES: Final[Mapping[str, str]] = {
    "tensorflow": "trainbench.engines.tensorflow",
}


def start(framework: str, kind: str, threads: int, batch_size: int) -> Engine:
    """Import `framework` and bring it up on one device of `kind` ("cpu" or "gpu") with `threads` threads.

    `batch_size` is that of the training to come: how threads share the work depends on it.

    Raises:
        WrongDevice: the framework does not see such a device.
    """
    module: Any = importlib.import_module(ENGINES[framework])
    engine: Engine = module.start(kind, threads, batch_size)
    return engine
