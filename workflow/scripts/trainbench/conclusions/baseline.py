"""Compares a study's cells with those of an earlier set of results, the baseline, and gives each a verdict.

A set is any number of runs. Cells match by model, batch size and device, on the same host where both sets know it. The
verdict rests on the ratio of the cells' seconds an epoch with Welch's interval over runs (`statistics.ratio`).
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

import pandas as pd

from trainbench.conclusions.baseline_runs import UNKNOWN
from trainbench.results.cells_table import counted
from trainbench.results.columns import Row, chosen, grouped, interval, spread_out, text, whole
from trainbench.results.runs_table import COMPLETED
from trainbench.results.statistics import Outcome, Ratio, estimate, outcome, ratio
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
_SECONDS: Final = "train_seconds_per_epoch"

COLUMNS: Final = (
    text("model")
    | whole("batch_size")
    | text("device", "host", "baseline_host", "verdict")
    | interval("ratio", _SECONDS)
    | whole("n")
    | interval(f"baseline_{_SECONDS}")
    | whole("baseline_n")
    | text("reasons", "flags", "baseline_flags")
)


@dataclass(frozen=True)
class Comparison:
    """Two sets of results, cell by cell, and what else differs between them.

    `cells` are rows with the columns `COLUMNS`, unknown ones left out, and on each side the number of `runs`; `ratio`
    is current over baseline, and `reasons` say why there is none. `differences` are facts of software or machine that
    are not the same: the name of each, and what it was before and is now. `canaries` are, by pair of hosts (current,
    baseline), the ratios of the seconds that the fixed computation took, None where it was not the same computation.
    """

    cells: tuple[Row, ...]
    differences: tuple[tuple[str, str, str], ...]
    canaries: Mapping[tuple[str, str], Ratio | None]
    shared_runs: int
    smallest_difference_percent: float

    def count(self, verdicts: Collection[str]) -> int:
        """How many cells have one of these verdicts."""
        return sum(cell["verdict"] in verdicts for cell in self.cells)


def compare(
    current: Sequence[Row], baseline: Sequence[Row], smallest_difference_percent: float, order: TableOrder | None = None
) -> Comparison:
    """Compare two sets of `baseline_runs.measured_runs`, cell by cell.

    A cell is slower where the whole interval of the ratio lies above 1 and the ratio itself is more than
    `smallest_difference_percent` above it; faster likewise. Below that no difference is called.
    """
    pairs = _pairs(current, baseline, order or TableOrder())
    in_both = [(now, before) for now, before in pairs if now and before]
    return Comparison(
        cells=tuple(_compare_cell(*pair, smallest_difference_percent) for pair in pairs),
        differences=tuple(
            _differences([run for now, _ in in_both for run in now], [run for _, b in in_both for run in b])
        ),
        canaries=_canaries(in_both),
        shared_runs=len({run["run_id"] for run in current} & {run["run_id"] for run in baseline}),
        smallest_difference_percent=smallest_difference_percent,
    )


def failed(verdicts: Sequence[str]) -> bool:
    """Whether who asked should stop: a cell became slower or completes no more, or nothing could be compared."""
    return any(verdict in FAILING for verdict in verdicts) or not any(verdict in COMPARED for verdict in verdicts)


def table(comparison: Comparison) -> pd.DataFrame:
    """A row a cell, with the columns `COLUMNS`; unknown is empty."""
    return frame(comparison.cells, COLUMNS)


def verdicts_of(path: Path) -> list[str]:
    """The verdicts in a written table."""
    return pd.read_csv(path, usecols=["verdict"], dtype="str", keep_default_na=False)["verdict"].tolist()


def _pairs(current: Sequence[Row], baseline: Sequence[Row], order: TableOrder) -> list[tuple[list[Row], list[Row]]]:
    """The runs of each cell of each host in both sets; a side without runs is empty.

    A host is compared with itself. What then remains is compared across machines where one host remains on each side;
    with several it would be anybody's guess which belong together.
    """
    by_cell = [grouped(runs, _CELL) for runs in (current, baseline)]
    pairs: list[tuple[list[Row], list[Row]]] = []
    for cell in sorted_keys([key for side in by_cell for key in side], _CELL, order):
        now, before = (grouped(side.get(cell, ()), ["host"]) for side in by_cell)
        pairs += [(now.pop(host), before.pop(host)) for host in [host for host in now if host in before]]
        if len(now) == len(before) == 1:
            pairs.append((now.popitem()[1], before.popitem()[1]))
        else:
            pairs += [(runs, []) for runs in now.values()] + [([], runs) for runs in before.values()]
    return pairs


def _compare_cell(current: Sequence[Row], baseline: Sequence[Row], smallest_difference_percent: float) -> Row:
    now, before = (estimate(run[_SECONDS] for run in runs) for runs in (current, baseline))
    found, reasons = None, list[str]()
    if not current or not baseline:
        verdict = Verdict.ONLY_IN_CURRENT if current else Verdict.ONLY_IN_BASELINE
    elif reasons := _differing_settings(current, baseline):
        verdict = Verdict.NOT_COMPARABLE
    else:
        found = ratio(now, before)
        reasons = [*_failures(current, "now"), *_failures(baseline, "in the baseline")]
        if found is not None and min(now.n, before.n) >= LEAST_RUNS:
            verdict = _verdict(found, smallest_difference_percent)
        elif before.n and not now.n:
            verdict = Verdict.NO_LONGER_COMPLETES
        elif now.n * len(baseline) < before.n * len(current):
            verdict = Verdict.COMPLETES_LESS_OFTEN
        else:
            verdict = Verdict.TOO_FEW_RUNS
            reasons.append(
                f"{now.n} completed now, {before.n} in the baseline; an interval takes {LEAST_RUNS} on each side"
            )
    row = chosen((current or baseline)[0], _CELL) | {"verdict": verdict, "reasons": "; ".join(reasons)}
    row |= spread_out("ratio", found)
    for prefix, runs, seconds in (("", current, now), ("baseline_", baseline, before)):
        if runs:
            flags = counted([flag for run in runs for flag in run["flags"].split()])
            side = {"host": runs[0]["host"], "runs": len(runs), "n": seconds.n, "flags": flags}
            row |= chosen(side | spread_out(_SECONDS, seconds), (*side, *interval(_SECONDS)), prefix)
    return row


def _verdict(found: Ratio, smallest_difference_percent: float) -> Verdict:
    said, least = outcome(found), 1 + smallest_difference_percent / 100
    if said is Outcome.ABOVE and found.value > least:
        return Verdict.SLOWER
    if said is Outcome.BELOW and found.value < 1 / least:
        return Verdict.FASTER
    return Verdict.NO_DIFFERENCE


def _failures(runs: Sequence[Row], when: str) -> list[str]:
    ended = Counter(run["status"] for run in runs if run["status"] != COMPLETED)
    return [f"{count} of {len(runs)} runs {status_words(status)} {when}" for status, count in ended.items()]


def _differing_settings(current: Sequence[Row], baseline: Sequence[Row]) -> list[str]:
    """Each setting that not all runs of a cell share, with both values."""
    told = [(f"{name} was", "is", *both) for name, *both in _both(baseline, current, "settings", NOT_SET)]
    if baseline[0]["host"] == current[0]["host"]:
        # On one machine other threads mean another --cores; across machines "all" is what each of them has.
        threads = (_known(run["threads"] for run in runs) for runs in (baseline, current))
        told.append(("threads used were", "are", *threads))
    return [
        f"{was} {' or '.join(before)}, {now_is} {' or '.join(now)}"
        for was, now_is, before, now in told
        if len({*before, *now}) > 1
    ]


def _differences(current: Sequence[Row], baseline: Sequence[Row]) -> Iterator[tuple[str, str, str]]:
    variables = sorted(_both(baseline, current, "environment", NOT_SET))
    for name, *values in (
        *_both(baseline, current, "surroundings", None),
        *((f"environment variable {name}", before, now) for name, before, now in variables),
    ):
        before, now = (" or ".join(known or [UNKNOWN]) for known in values)
        if before != now:
            yield name, before, now


def _both(
    baseline: Sequence[Row], current: Sequence[Row], facts: str, missing: str | None
) -> Iterator[tuple[str, list[str], list[str]]]:
    """The name of each of the `facts` and its values before and now; runs that lack it have what is `missing`."""
    for name in dict.fromkeys(name for run in (*baseline, *current) for name in run[facts]):
        # A data set is known of runs that loaded it, so a run out of memory may not know it.
        default = None if name == "dataset.sha256" else missing
        before, now = (_known(run[facts].get(name, default) for run in runs) for runs in (baseline, current))
        yield name, before, now


def _known(values: Iterable[str | None]) -> list[str]:
    return sorted({value for value in values if value is not None})


def _canaries(pairs: Iterable[tuple[Sequence[Row], Sequence[Row]]]) -> dict[tuple[str, str], Ratio | None]:
    """By pair of hosts the ratio of the seconds that a computation took which both sides of a cell carried out."""
    seconds: dict[tuple[str, str], tuple[list[float], list[float]]] = {}
    for pair in pairs:
        timed = [[run["canary"] for run in runs if run["canary"]] for runs in pair]
        like = {where for where, _ in timed[0]} & {where for where, _ in timed[1]}
        current, baseline = pair
        of_hosts = seconds.setdefault((current[0]["host"], baseline[0]["host"]), ([], []))
        for known, of_side in zip(of_hosts, timed, strict=True):
            known += [took for where, took in of_side if where in like]
    return {hosts: ratio(estimate(now), estimate(before)) for hosts, (now, before) in seconds.items()}
