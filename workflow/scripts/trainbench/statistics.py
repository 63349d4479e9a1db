"""Reduces epochs to a run's figure and runs to a cell's summary; the run is the unit of replication."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Summary:
    """What is known of one figure over the runs of a cell.

    `n` counts the runs that have the figure. `mean`, `minimum` and `maximum` are None where `n` is 0; `sd`,
    the sample's standard deviation (divisor n - 1), is None where `n` is below 2.
    """

    n: int
    mean: float | None
    sd: float | None
    minimum: float | None
    maximum: float | None


def first_epoch_only(values: Sequence[float]) -> bool:
    """Whether a run has no other epoch than its first, so that its steady figure is the first epoch's."""
    return len(values) == 1


def steady(values: Sequence[float]) -> Sequence[float]:
    """The values of a run's steady epochs: all but the first, which also warms the machine up.

    A run of one epoch has only that one, so that one is returned; `first_epoch_only` tells.
    """
    return values if len(values) <= 1 else values[1:]


def steady_count(values: Sequence[float]) -> int:
    """How many steady epochs a run has: 0 for a run of one epoch."""
    return max(len(values) - 1, 0)


def steady_median(values: Sequence[float]) -> float | None:
    """A run's figure, the median over its steady epochs, or None for a run without epochs."""
    return statistics.median(steady(values)) if values else None


def summarize(values: Iterable[float | None]) -> Summary:
    """Summarise one figure over the runs of a cell; runs that do not know it (None) are not counted."""
    known = [value for value in values if value is not None]
    if not known:
        return Summary(n=0, mean=None, sd=None, minimum=None, maximum=None)
    return Summary(
        n=len(known),
        # The exact mean: a rounded floating-point sum can put the mean of equal values outside their range.
        mean=statistics.mean(known),
        sd=statistics.stdev(known) if len(known) > 1 else None,
        minimum=min(known),
        maximum=max(known),
    )
