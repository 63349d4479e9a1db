"""Says from which batch size on each device trains faster than the reference device."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Final

import pandas as pd

from trainbench.conclusions.tables.speedups import is_reference
from trainbench.results.columns import chosen, grouped, interval, ratio_in, text, yes_or_no
from trainbench.results.statistics import Outcome, Ratio, outcome
from trainbench.results.tables import TableOrder, frame, rows_of

_SERIES: Final = ("model", "device", "host")

COLUMNS: Final = (
    text(*_SERIES, "reference_device", "reference_host", "batch_sizes", "verdict")
    | interval("crossover_batch_size")
    | yes_or_no("low_open", "high_open", "certain")
)


class Verdict(StrEnum):
    """How a speedup over batch sizes is shown to lie to 1, by intervals alone and within the measured range.

    "throughout": every interval lies on that side of 1. "from" and "up to": some lie on one side and, beyond them, some
    on the other. "in part": some lie on one side, and none on the other. Single runs have no interval and show nothing.
    """

    FASTER_THROUGHOUT = "faster throughout"
    SLOWER_THROUGHOUT = "slower throughout"
    FASTER_FROM = "faster from"
    FASTER_UP_TO = "faster up to"
    CHANGES = "changes several times"
    FASTER_IN_PART = "faster in part"
    SLOWER_IN_PART = "slower in part"
    NO_DIFFERENCE = "no difference shown"
    SINGLE_RUNS = "single runs"


@dataclass(frozen=True)
class Crossover:
    """Where a speedup passes 1.

    The verdict says what is shown. `batch_sizes` are the crossings of the values, ascending, whatever is shown; of
    "faster from" and "faster up to" those between the batch sizes that show the two sides, mostly one. `low` and `high`
    bound the crossing: the batch sizes around it at which the interval of the speedup contains 1. A bound is None where
    several crossings belong to no one verdict, where intervals are unknown, and where it is open (`low_open`,
    `high_open`): there the interval still contains 1 at the end of the measured range.
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


def crossovers_table(speedups: pd.DataFrame, order: TableOrder) -> pd.DataFrame:
    """A row for each model and device but the reference: where its speedup passes 1, with `COLUMNS`.

    A bound that is empty is unknown, or open (`low_open`, `high_open`): beyond the measured batch sizes.
    """
    rows = []
    for members in grouped((row for row in rows_of(speedups) if not is_reference(row)), _SERIES).values():
        ratios = {row["batch_size"]: ratio_in(row) for row in members}
        found = crossover(ratios)
        rows.append(
            vars(found)
            | chosen(members[0], (*_SERIES, "reference_device", "reference_host"))
            | {"batch_sizes": " ".join(str(size) for size in sorted(ratios))}
            | {"crossover_batch_size": found.batch_sizes[0] if len(found.batch_sizes) == 1 else None}
            | chosen(vars(found), ("low", "high"), "crossover_batch_size_")
        )
    return frame(rows, COLUMNS, order)


def crossover(speedups: Mapping[int, Ratio]) -> Crossover:
    """Where the speedup passes 1, by batch size, of which there is at least one.

    Between measured batch sizes the speedup, and each bound of its interval, is taken as linear in the logarithms of
    both. A crossing on neighbouring speedups of exactly 1 lies in their middle. Where some speedups have an interval,
    those without one count for nothing but that the verdict is not certain.

    Raises:
        ValueError: a batch size or a speedup is not positive.
    """
    outcomes = {batch_size: outcome(speedups[batch_size]) for batch_size in sorted(speedups)}
    verdict = _verdict(list(outcomes.values()))
    once = verdict is Verdict.SINGLE_RUNS
    points = {size: _point(size, speedups[size]) for size, said in outcomes.items() if said.seen_once is once}
    passes = verdict in {Verdict.FASTER_FROM, Verdict.FASTER_UP_TO}
    shown = [size for size, said in outcomes.items() if said.shown]
    # The last batch size shown on one side of 1 and the first one shown on the other, where that changes once.
    changes = (pair for pair in pairwise(shown) if outcomes[pair[0]] is not outcomes[pair[1]])
    first, last = next(changes) if passes else (min(points), max(points))
    crossings = _crossings([point for size, point in points.items() if first <= size <= last])
    # Of single runs no interval is known, of several crossings there is one only where a verdict says so.
    bounded = passes or (len(crossings) == 1 and not once)
    low, high = _interval(list(points.values()), crossings) if bounded else (None, None)
    return Crossover(
        verdict,
        tuple(map(math.exp, crossings)),
        low=None if low is None else math.exp(low),
        high=None if high is None else math.exp(high),
        low_open=bounded and low is None,
        high_open=bounded and high is None,
        certain=None
        if any(said.seen_once for said in outcomes.values())
        else all(said.shown for said in outcomes.values()),
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


def _verdict(outcomes: Collection[Outcome]) -> Verdict:
    """What outcomes by ascending batch size show together."""
    shown = [said for said in outcomes if said.shown]
    if not shown:
        return Verdict.SINGLE_RUNS if all(said.seen_once for said in outcomes) else Verdict.NO_DIFFERENCE
    faster = shown[0] is Outcome.ABOVE
    changes = sum(before is not after for before, after in pairwise(shown))
    if changes > 1:
        return Verdict.CHANGES
    if changes:
        return Verdict.FASTER_UP_TO if faster else Verdict.FASTER_FROM
    if len(shown) == len(outcomes):
        return Verdict.FASTER_THROUGHOUT if faster else Verdict.SLOWER_THROUGHOUT
    return Verdict.FASTER_IN_PART if faster else Verdict.SLOWER_IN_PART


def _interval(points: Sequence[_Point], crossings: Sequence[float]) -> tuple[float | None, float | None]:
    """The logarithms of the batch sizes between which the interval of the speedup contains 1; None is open."""
    first, last = crossings[0], crossings[-1]
    below = [point for point in points if point.batch_size < first]
    above = [point for point in points if point.batch_size > last]
    return _leaves([_at(points, first), *reversed(below)]), _leaves([_at(points, last), *above])


def _at(points: Sequence[_Point], crossing: float) -> _Point:
    """The point at a crossing, measured or on the lines between two that are."""
    left = max((point for point in points if point.batch_size <= crossing), key=lambda point: point.batch_size)
    right = min((point for point in points if point.batch_size >= crossing), key=lambda point: point.batch_size)
    if left is right:
        return left
    share = (crossing - left.batch_size) / (right.batch_size - left.batch_size)
    low = left.low + share * (right.low - left.low)
    high = left.high + share * (right.high - left.high)
    # The interval contains its speedup, whatever rounding makes of the bounds.
    return _Point(crossing, 0.0, min(low, 0.0), max(high, 0.0))


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
