"""Names what a run and its engine tell each other."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
    """The run cannot compute as it was asked to, on this device or in this precision; the text says what to do."""
