"""Finds from which batch size on one device trains faster than another."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from trainbench.statistics import Ratio


class Verdict(StrEnum):
    """How a speedup over batch sizes lies to 1; all of it within the measured range alone."""

    FASTER_THROUGHOUT = "faster throughout"
    SLOWER_THROUGHOUT = "slower throughout"
    EQUAL_THROUGHOUT = "equal throughout"
    FASTER_FROM = "faster from"
    FASTER_UP_TO = "faster up to"
    CHANGES = "changes several times"


@dataclass(frozen=True)
class Crossover:
    """Where a speedup passes 1.

    `batch_sizes` are the crossings, ascending: none where the verdict is one of "throughout", one for "faster from" and
    "faster up to". `low` and `high` bound a single crossing: the batch sizes around it at which the interval of the
    speedup contains 1. A bound is None where there is no single crossing, where intervals are unknown, and where it is
    open (`low_open`, `high_open`): there the interval still contains 1 at the end of the measured range.
    `certain` says whether the intervals of all measured speedups leave 1 out; None where some are unknown.
    """

    verdict: Verdict
    batch_sizes: tuple[float, ...] = ()
    low: float | None = None
    high: float | None = None
    low_open: bool = False
    high_open: bool = False
    certain: bool | None = None


@dataclass(frozen=True)
class _Point:
    """The logarithms of a batch size and of its speedup, so that 0 is a speedup of 1; unknown bounds are infinite."""

    batch_size: float
    speedup: float
    low: float
    high: float


def crossover(speedups: Mapping[int, Ratio]) -> Crossover | None:
    """Where the speedup passes 1, by batch size; None where there is no speedup at all.

    Between measured batch sizes the speedup, and each bound of its interval, is taken as linear in the logarithms of
    both. A speedup that touches 1 without passing it does not change the verdict. A crossing on neighbouring speedups
    of exactly 1 lies in their middle.

    Raises:
        ValueError: a batch size or a speedup is not positive.
    """
    if not speedups:
        return None
    points = [_point(batch_size, speedups[batch_size]) for batch_size in sorted(speedups)]
    crossings = _crossings(points)
    verdict = _verdict(points, crossings)
    known = all(math.isfinite(point.low) and math.isfinite(point.high) for point in points)
    # A bound of 1 is no proof: an interval without width at 1 says "equal".
    certain = all(point.low > 0 or point.high < 0 for point in points) if known else None
    batch_sizes = tuple(math.exp(crossing) for crossing in crossings)
    if len(crossings) != 1 or not known:
        return Crossover(verdict, batch_sizes, certain=certain)
    low, high = _interval(points, crossings[0])
    return Crossover(
        verdict,
        batch_sizes,
        low=None if low is None else math.exp(low),
        high=None if high is None else math.exp(high),
        low_open=low is None,
        high_open=high is None,
        certain=certain,
    )


def _point(batch_size: int, speedup: Ratio) -> _Point:
    return _Point(
        math.log(batch_size),
        math.log(speedup.value),
        -math.inf if speedup.low is None else math.log(speedup.low),
        math.inf if speedup.high is None else math.log(speedup.high),
    )


def _crossings(points: Sequence[_Point]) -> list[float]:
    """The logarithms of the batch sizes at which the speedup passes 1, ascending."""
    crossings = []
    apart = [index for index, point in enumerate(points) if point.speedup != 0]
    for before, after in pairwise(apart):
        if points[before].speedup * points[after].speedup > 0:
            continue
        if after - before > 1:
            crossings.append((points[before + 1].batch_size + points[after - 1].batch_size) / 2)
        else:
            left, right = points[before], points[after]
            crossings.append(_zero(left.batch_size, left.speedup, right.batch_size, right.speedup))
    return crossings


def _verdict(points: Sequence[_Point], crossings: Sequence[float]) -> Verdict:
    side = next((point.speedup for point in points if point.speedup != 0), 0.0)
    if side == 0:
        return Verdict.EQUAL_THROUGHOUT
    if not crossings:
        return Verdict.FASTER_THROUGHOUT if side > 0 else Verdict.SLOWER_THROUGHOUT
    if len(crossings) > 1:
        return Verdict.CHANGES
    return Verdict.FASTER_UP_TO if side > 0 else Verdict.FASTER_FROM


def _interval(points: Sequence[_Point], crossing: float) -> tuple[float | None, float | None]:
    """The logarithms of the batch sizes between which the interval of the speedup contains 1; None is open."""
    below = [point for point in points if point.batch_size < crossing]
    above = [point for point in points if point.batch_size > crossing]
    at = [point for point in points if point.batch_size == crossing] or [_between(below[-1], above[0], crossing)]
    return _leaves([*at, *reversed(below)]), _leaves([*at, *above])


def _between(left: _Point, right: _Point, batch_size: float) -> _Point:
    """The point on the lines from `left` to `right` where the speedup is 1."""
    share = (batch_size - left.batch_size) / (right.batch_size - left.batch_size)
    low = left.low + share * (right.low - left.low)
    high = left.high + share * (right.high - left.high)
    # The interval contains its speedup, whatever rounding makes of the bounds.
    return _Point(batch_size, 0.0, min(low, 0.0), max(high, 0.0))


def _leaves(points: Iterable[_Point]) -> float | None:
    """Where, along `points`, the interval of the speedup begins to leave 1 out; None if nowhere."""
    for here, there in pairwise(points):
        if there.low > 0:
            return _zero(here.batch_size, here.low, there.batch_size, there.low)
        if there.high < 0:
            return _zero(here.batch_size, here.high, there.batch_size, there.high)
    return None


def _zero(x: float, y: float, other_x: float, other_y: float) -> float:
    """Where the line through two points is 0."""
    return x + (other_x - x) * y / (y - other_y)
