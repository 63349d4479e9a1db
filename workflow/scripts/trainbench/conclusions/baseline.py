"""Compares a study's cells with those of an earlier set of results, the baseline, and gives each a verdict.

A set is any number of runs. Cells match by model, batch size and device, on the same host where both sets know it. The
verdict rests on the ratio of the cells' seconds an epoch with Welch's interval over runs (`statistics.ratio`).
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import pandas as pd

from trainbench.conclusions.baseline_runs import UNKNOWN, Cell, MeasuredRun
from trainbench.results.cells_table import counted
from trainbench.results.columns import interval, spread_out, text, whole
from trainbench.results.runs_table import COMPLETED
from trainbench.results.statistics import Estimate, Outcome, Ratio, estimate, outcome, ratio
from trainbench.results.tables import TableOrder, frame, sorted_keys
from trainbench.words.wording import status_words


class Verdict(StrEnum):
    """What is said of a cell, in the order of the summary."""

    SLOWER = "slower"
    FASTER = "faster"
    NO_DIFFERENCE = "no difference shown"
    NO_LONGER_COMPLETES = "no longer completes"
    COMPLETES_LESS_OFTEN = "completes less often"
    NOT_COMPARABLE = "not comparable"
    TOO_FEW_RUNS = "too few runs"
    ONLY_IN_BASELINE = "only in baseline"
    ONLY_IN_CURRENT = "only in current"


COMPARED: Final = frozenset({Verdict.SLOWER, Verdict.FASTER, Verdict.NO_DIFFERENCE})
FAILING: Final = frozenset({Verdict.SLOWER, Verdict.NO_LONGER_COMPLETES, Verdict.COMPLETES_LESS_OFTEN})

# One run has no spread, so no interval.
LEAST_RUNS: Final = 2

NOT_SET: Final = "not set"

_CELL: Final = ("model", "batch_size", "device")

COLUMNS: Final = (
    text("model")
    | whole("batch_size")
    | text("device", "host", "baseline_host", "verdict")
    | interval("ratio", "train_seconds_per_epoch")
    | whole("n")
    | interval("baseline_train_seconds_per_epoch")
    | whole("baseline_n")
    | text("reasons", "flags", "baseline_flags")
)


@dataclass(frozen=True)
class Side:
    """One set's share of a cell; `flags` counts the runs in which a check found something, as in "other_load:2"."""

    host: str
    runs: int
    seconds_per_epoch: Estimate
    flags: str


@dataclass(frozen=True)
class CellComparison:
    """One cell in both sets. `ratio` is current over baseline, None where not both are known; `reasons` say why not."""

    cell: Cell
    verdict: Verdict
    reasons: tuple[str, ...]
    current: Side | None
    baseline: Side | None
    ratio: Ratio | None


@dataclass(frozen=True)
class Difference:
    """A fact of software or machine that is not the same in both sets."""

    name: str
    baseline: str
    current: str


@dataclass(frozen=True)
class Comparison:
    """Two sets of results, cell by cell, and what else differs between them.

    `canaries` are, by pair of hosts (current, baseline), the ratios of the seconds that the fixed computation took.
    """

    cells: tuple[CellComparison, ...]
    differences: tuple[Difference, ...]
    canaries: Mapping[tuple[str, str], Ratio]
    shared_runs: int
    smallest_difference_percent: float

    def count(self, verdicts: Collection[str]) -> int:
        """How many cells have one of these verdicts."""
        return sum(cell.verdict in verdicts for cell in self.cells)


def compare(
    current: Sequence[MeasuredRun],
    baseline: Sequence[MeasuredRun],
    smallest_difference_percent: float,
    order: TableOrder | None = None,
) -> Comparison:
    """Compare two sets, cell by cell.

    A cell is slower where the whole interval of the ratio lies above 1 and the ratio itself is more than
    `smallest_difference_percent` above it; faster likewise. Below that no difference is called.
    """
    pairs = _pairs(current, baseline, order or TableOrder())
    in_both = [(now, before) for _, now, before in pairs if now and before]
    return Comparison(
        cells=tuple(_compare_cell(*pair, smallest_difference_percent) for pair in pairs),
        differences=tuple(
            _differences([run for now, _ in in_both for run in now], [run for _, b in in_both for run in b])
        ),
        canaries=_canaries(in_both),
        shared_runs=len({run.run_id for run in current} & {run.run_id for run in baseline}),
        smallest_difference_percent=smallest_difference_percent,
    )


def failed(verdicts: Sequence[str]) -> bool:
    """Whether who asked should stop: a cell became slower or completes no more, or nothing could be compared."""
    return any(verdict in FAILING for verdict in verdicts) or not any(verdict in COMPARED for verdict in verdicts)


def table(comparison: Comparison) -> pd.DataFrame:
    """A row a cell, with the columns `COLUMNS`; unknown is empty."""
    return frame(map(_table_row, comparison.cells), COLUMNS)


def verdicts_of(path: Path) -> list[str]:
    """The verdicts in a written table."""
    return pd.read_csv(path, usecols=["verdict"], dtype="str", keep_default_na=False)["verdict"].tolist()


def _table_row(compared: CellComparison) -> dict[str, Any]:
    row: dict[str, Any] = dict(zip(_CELL, compared.cell, strict=True))
    row |= {"verdict": compared.verdict, "reasons": "; ".join(compared.reasons)} | spread_out("ratio", compared.ratio)
    for prefix, side in (("", compared.current), ("baseline_", compared.baseline)):
        if side is not None:
            row |= {f"{prefix}host": side.host, f"{prefix}n": side.seconds_per_epoch.n, f"{prefix}flags": side.flags}
            row |= spread_out(f"{prefix}train_seconds_per_epoch", side.seconds_per_epoch)
    return row


def _pairs(
    current: Sequence[MeasuredRun], baseline: Sequence[MeasuredRun], order: TableOrder
) -> list[tuple[Cell, list[MeasuredRun], list[MeasuredRun]]]:
    """The runs of each cell of each host in both sets; a side without runs is empty.

    A host is compared with itself. What then remains is compared across machines where one host remains on each side;
    with several it would be anybody's guess which belong together.
    """
    by_cell: dict[Cell, tuple[dict[str, list[MeasuredRun]], dict[str, list[MeasuredRun]]]] = {}
    for side, runs in enumerate((current, baseline)):
        for run in runs:
            by_cell.setdefault(run.cell, ({}, {}))[side].setdefault(run.host, []).append(run)
    pairs = []
    for cell in sorted_keys(by_cell, _CELL, order):
        of_current, of_baseline = by_cell[cell]
        common = [host for host in of_current if host in of_baseline]
        pairs += [(cell, of_current.pop(host), of_baseline.pop(host)) for host in common]
        if len(of_current) == len(of_baseline) == 1:
            pairs.append((cell, of_current.popitem()[1], of_baseline.popitem()[1]))
        else:
            pairs += [(cell, runs, []) for runs in of_current.values()]
            pairs += [(cell, [], runs) for runs in of_baseline.values()]
    return pairs


def _compare_cell(
    cell: Cell, current: Sequence[MeasuredRun], baseline: Sequence[MeasuredRun], smallest_difference_percent: float
) -> CellComparison:
    now, before = _side(current), _side(baseline)
    if now is None or before is None:
        verdict = Verdict.ONLY_IN_CURRENT if now else Verdict.ONLY_IN_BASELINE
        return CellComparison(cell, verdict, (), now, before, None)
    if differing := _differing_settings(current, baseline):
        return CellComparison(cell, Verdict.NOT_COMPARABLE, tuple(differing), now, before, None)
    completed, completed_before = now.seconds_per_epoch.n, before.seconds_per_epoch.n
    found = ratio(now.seconds_per_epoch, before.seconds_per_epoch)
    reasons = [*_failures(current, "now"), *_failures(baseline, "in the baseline")]
    too_few = min(completed, completed_before) < LEAST_RUNS
    if found is not None and not too_few:
        verdict = _verdict(found, smallest_difference_percent)
    elif completed_before and not completed:
        verdict = Verdict.NO_LONGER_COMPLETES
    elif completed * len(baseline) < completed_before * len(current):
        verdict = Verdict.COMPLETES_LESS_OFTEN
    else:
        verdict = Verdict.TOO_FEW_RUNS
        reasons.append(
            f"{completed} completed now, {completed_before} in the baseline; an interval takes {LEAST_RUNS} on "
            "each side"
        )
    return CellComparison(cell, verdict, tuple(reasons), now, before, found)


def _verdict(found: Ratio, smallest_difference_percent: float) -> Verdict:
    said, least = outcome(found), 1 + smallest_difference_percent / 100
    if said is Outcome.ABOVE and found.value > least:
        return Verdict.SLOWER
    if said is Outcome.BELOW and found.value < 1 / least:
        return Verdict.FASTER
    return Verdict.NO_DIFFERENCE


def _side(runs: Sequence[MeasuredRun]) -> Side | None:
    if not runs:
        return None
    seconds = estimate(run.seconds_per_epoch for run in runs)
    return Side(runs[0].host, len(runs), seconds, counted([flag for run in runs for flag in run.flags]))


def _failures(runs: Sequence[MeasuredRun], when: str) -> list[str]:
    ended = Counter(run.status for run in runs if run.status != COMPLETED)
    return [f"{count} of {len(runs)} runs {status_words(status)} {when}" for status, count in ended.items()]


def _differing_settings(current: Sequence[MeasuredRun], baseline: Sequence[MeasuredRun]) -> list[str]:
    """Each setting that not all runs of a cell share, with both values."""
    found = []
    for name, before, now in _both(baseline, current, lambda run: run.settings, NOT_SET):
        if len({*before, *now}) > 1:
            found.append(f"{name} was {' or '.join(before)}, is {' or '.join(now)}")
    if baseline[0].host == current[0].host:
        # On one machine other threads mean another --cores; across machines "all" is what each of them has.
        before, now = (_known(run.threads for run in runs) for runs in (baseline, current))
        if len({*before, *now}) > 1:
            found.append(f"threads used were {' or '.join(before)}, are {' or '.join(now)}")
    return found


def _differences(current: Sequence[MeasuredRun], baseline: Sequence[MeasuredRun]) -> list[Difference]:
    surroundings = _both(baseline, current, lambda run: run.surroundings, None)
    environment = _both(baseline, current, lambda run: run.environment, NOT_SET)
    found = []
    variables = ((f"environment variable {name}", before, now) for name, before, now in sorted(environment))
    for name, *values in (*surroundings, *variables):
        before, now = (" or ".join(known or [UNKNOWN]) for known in values)
        if before != now:
            found.append(Difference(name, before, now))
    return found


def _both(
    baseline: Sequence[MeasuredRun],
    current: Sequence[MeasuredRun],
    facts: Callable[[MeasuredRun], Mapping[str, str]],
    missing: str | None,
) -> Iterator[tuple[str, list[str], list[str]]]:
    """The name of each fact and its values before and now; runs that lack it have what is `missing`, or nothing."""
    for name in dict.fromkeys(name for run in (*baseline, *current) for name in facts(run)):
        # A data set is known of runs that loaded it, so a run out of memory may not know it.
        default = None if name == "dataset.sha256" else missing
        before, now = (_known(facts(run).get(name, default) for run in runs) for runs in (baseline, current))
        yield name, before, now


def _known(values: Iterable[str | None]) -> list[str]:
    return sorted({value for value in values if value is not None})


def _canaries(
    pairs: Iterable[tuple[Sequence[MeasuredRun], Sequence[MeasuredRun]]],
) -> dict[tuple[str, str], Ratio]:
    seconds: dict[tuple[str, str], tuple[list[float], list[float]]] = {}
    for current, baseline in pairs:
        now, before = seconds.setdefault((current[0].host, baseline[0].host), ([], []))
        like = {run.canary[0] for run in current if run.canary} & {run.canary[0] for run in baseline if run.canary}
        now += [run.canary[1] for run in current if run.canary and run.canary[0] in like]
        before += [run.canary[1] for run in baseline if run.canary and run.canary[0] in like]
    ratios = {hosts: ratio(estimate(now), estimate(before)) for hosts, (now, before) in seconds.items() if now}
    return {hosts: found for hosts, found in ratios.items() if found is not None}
