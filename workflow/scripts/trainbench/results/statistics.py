"""Reduces epochs to a run's figure, runs to a cell's figure and two cells to a ratio; the run is the unit.

Times, rates and energies vary by factors, so their figures are geometric means with intervals on the logarithm;
shares and percentages, which may be 0, are summarised by their arithmetic mean.
"""

import math
import statistics
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from scipy.special import stdtrit

from trainbench.records.steady import positions

CONFIDENCE: Final = 0.95


@dataclass(frozen=True)
class Summary:
    """What is known of one figure over the runs of a cell.

    `n` counts the runs that have the figure. `mean`, `minimum` and `maximum` are None where `n` is 0; `sd`,
    the sample's standard deviation (divisor n - 1), is None where `n` is below 2.
    """

    n: int
    mean: float | None = None
    sd: float | None = None
    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True)
class Estimate:
    """A figure over the runs of a cell, in the figure's own unit.

    `n` counts the runs that have it, `value` is their geometric mean, None where `n` is 0. `low` and `high` bound the
    95 % interval, and `spread_percent` is by how much a run typically lies above the mean (the standard deviation of
    the logarithms, as a percentage): None where `n` is below 2, because one run says nothing of its spread.
    """

    n: int
    value: float | None
    low: float | None = None
    high: float | None = None
    spread_percent: float | None = None


@dataclass(frozen=True)
class Ratio:
    """A ratio of two figures with its 95 % interval; the bounds are None where one side has a single run."""

    value: float
    low: float | None = None
    high: float | None = None

    def times(self, factor: float) -> "Ratio":
        """The ratio and its interval in another unit."""
        low, high = (None if bound is None else factor * bound for bound in (self.low, self.high))
        return Ratio(factor * self.value, low, high)


class Outcome(StrEnum):
    """How a ratio lies to 1: by its interval, or seen once, where a single run leaves it without one."""

    ABOVE = "above 1"
    BELOW = "below 1"
    NO_DIFFERENCE = "no difference shown"
    ABOVE_ONCE = "above 1, no interval"
    BELOW_ONCE = "below 1, no interval"
    EQUAL_ONCE = "equal, no interval"

    @property
    def shown(self) -> bool:
        """Whether an interval carries it that the ratio is not 1."""
        return self in {Outcome.ABOVE, Outcome.BELOW}

    @property
    def seen_once(self) -> bool:
        """Whether there is no interval: the value says what was seen and carries no claim."""
        return self in {Outcome.ABOVE_ONCE, Outcome.BELOW_ONCE, Outcome.EQUAL_ONCE}


def outcome(ratio: Ratio) -> Outcome:
    """What a ratio says: whatever calls one thing faster, cheaper or better than another asks here.

    A ratio lies on one side of 1 where its whole interval does. A bound of 1 is no proof: an interval without width at
    1 says "equal".
    """
    if ratio.low is None or ratio.high is None:
        if ratio.value == 1:
            return Outcome.EQUAL_ONCE
        return Outcome.ABOVE_ONCE if ratio.value > 1 else Outcome.BELOW_ONCE
    return Outcome.ABOVE if ratio.low > 1 else Outcome.BELOW if ratio.high < 1 else Outcome.NO_DIFFERENCE


def estimate(values: Iterable[float | None]) -> Estimate:
    """The geometric mean over runs with Student's interval on the logarithm; None (unknown) is not counted.

    Raises:
        ValueError: a value is not a positive finite number.
    """
    known = [value for value in values if value is not None]
    for value in known:
        if not 0 < value < math.inf:
            raise ValueError(f"a geometric mean takes positive finite numbers, found {value}")
    logs = [math.log(value) for value in known]
    if len(logs) < 2:  # noqa: PLR2004 - one run has no spread
        return Estimate(len(known), next(iter(known), None))
    mean, sd = statistics.fmean(logs), statistics.stdev(logs)
    half_width = t_quantile(len(logs) - 1) * sd / math.sqrt(len(logs))
    return Estimate(
        n=len(logs),
        value=math.exp(mean),
        low=math.exp(mean - half_width),
        high=math.exp(mean + half_width),
        spread_percent=100 * math.expm1(sd),
    )


def ratio(numerator: Estimate, denominator: Estimate) -> Ratio | None:
    """How many times the numerator is the denominator, with Welch's interval on the logarithm; None if one is unknown.

    Source: B. L. Welch, "The generalization of 'Student's' problem when several different population variances are
    involved" (Biometrika 34, 1947), degrees of freedom after Satterthwaite.
    """
    if numerator.value is None or denominator.value is None:
        return None
    value = numerator.value / denominator.value
    parts = [
        (math.log1p(side.spread_percent / 100) ** 2 / side.n, side.n - 1)
        for side in (numerator, denominator)
        if side.spread_percent is not None
    ]
    if len(parts) < 2:  # noqa: PLR2004 - one run on a side has no spread
        return Ratio(value)
    variance = sum(part for part, _ in parts)
    if variance == 0:
        return Ratio(value, value, value)
    freedom = variance**2 / sum(part**2 / own for part, own in parts)
    factor = math.exp(t_quantile(freedom) * math.sqrt(variance))
    return Ratio(value, value / factor, value * factor)


def t_quantile(freedom: float) -> float:
    """By how many standard errors the two-sided interval reaches to each side."""
    return float(stdtrit(freedom, (1 + CONFIDENCE) / 2))


def steady_median(values: Sequence[float], resumed_after: Collection[int] = ()) -> float | None:
    """A run's figure, the median over its steady epochs (`records.steady`), or None for a run without epochs.

    Of a run without a steady epoch it is that of the first epoch.
    """
    steady = [values[position] for position in positions(len(values), resumed_after)] or values[:1]
    return statistics.median(steady) if values else None


def summarize(values: Iterable[float | None]) -> Summary:
    """Summarise one figure over the runs of a cell; runs that do not know it (None) are not counted."""
    known = [value for value in values if value is not None]
    if not known:
        return Summary(n=0)
    return Summary(
        n=len(known),
        # The exact mean: a rounded floating-point sum can put the mean of equal values outside their range.
        mean=statistics.mean(known),
        sd=statistics.stdev(known) if len(known) > 1 else None,
        minimum=min(known),
        maximum=max(known),
    )
