"""Compares a study's cells with those of an earlier set of results, the baseline, and says what became slower.

A set is any number of runs. Cells match by model, batch size and device, on the same host where both sets know it. The
verdict rests on the ratio of the cells' seconds an epoch with Welch's interval over runs (`statistics.ratio`).
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd

from trainbench.results import statistics
from trainbench.results.comparability import canary_before, decisive_settings, other_variables, threads_in_use
from trainbench.results.cross_checks import across_runs
from trainbench.results.runs_table import COMPLETED, FLAG_LEVELS
from trainbench.results.statistics import Estimate, Outcome, Ratio, estimate, outcome, ratio, steady_median
from trainbench.results.tables import TableOrder, ranked
from trainbench.words.markdown import literal
from trainbench.words.wording import format_number, status_words

SLOWER: Final = "slower"
FASTER: Final = "faster"
NO_DIFFERENCE: Final = "no difference shown"
NO_LONGER_COMPLETES: Final = "no longer completes"
COMPLETES_LESS_OFTEN: Final = "completes less often"
NOT_COMPARABLE: Final = "not comparable"
TOO_FEW_RUNS: Final = "too few runs"
ONLY_IN_BASELINE: Final = "only in baseline"
ONLY_IN_CURRENT: Final = "only in current"

# In the order of the summary; the first three are always told.
VERDICTS: Final = (
    *(SLOWER, FASTER, NO_DIFFERENCE),
    *(NO_LONGER_COMPLETES, COMPLETES_LESS_OFTEN, NOT_COMPARABLE, TOO_FEW_RUNS, ONLY_IN_BASELINE, ONLY_IN_CURRENT),
)
COMPARED: Final = frozenset({SLOWER, FASTER, NO_DIFFERENCE})
FAILING: Final = frozenset({SLOWER, NO_LONGER_COMPLETES, COMPLETES_LESS_OFTEN})

# One run has no spread, so no interval.
LEAST_RUNS: Final = 2

# The fixed computation before a run scatters by a few percent from run to run; its mean over runs by less.
CANARY_DIFFERENCE_PERCENT: Final = 5.0

UNKNOWN: Final = "unknown"
NOT_SET: Final = "not set"

COLUMNS: Final[Mapping[str, str]] = {
    "model": "str",
    "batch_size": "int64",
    "device": "str",
    "host": "str",
    "baseline_host": "str",
    "verdict": "str",
    "ratio": "float64",
    "ratio_low": "float64",
    "ratio_high": "float64",
    "train_seconds_per_epoch": "float64",
    "train_seconds_per_epoch_low": "float64",
    "train_seconds_per_epoch_high": "float64",
    "n": "Int64",
    "baseline_train_seconds_per_epoch": "float64",
    "baseline_train_seconds_per_epoch_low": "float64",
    "baseline_train_seconds_per_epoch_high": "float64",
    "baseline_n": "Int64",
    "reasons": "str",
    "flags": "str",
    "baseline_flags": "str",
}

# What the comparison keeps of a record: without epochs and samples, so that thousands of runs fit into memory.
_KEPT: Final = (
    *("run_id", "status", "model", "batch_size", "device", "host", "software", "device_used", "settings", "dataset"),
    *("canary", "checks"),
)

Cell = tuple[str, int, str]


@dataclass(frozen=True)
class MeasuredRun:
    """A run, reduced to what the comparison needs; `seconds_per_epoch` is the median over its steady epochs."""

    run_id: str
    cell: Cell
    host: str
    status: str
    seconds_per_epoch: float | None
    settings: Mapping[str, str]
    threads: str | None
    surroundings: Mapping[str, str]
    environment: Mapping[str, str]
    canary: tuple[str, float] | None
    flags: tuple[str, ...]


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
    verdict: str
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

    def count(self, verdicts: Iterable[str]) -> int:
        """How many cells have one of these verdicts."""
        return sum(cell.verdict in set(verdicts) for cell in self.cells)


def measured_runs(records: Iterable[Mapping[str, Any]]) -> list[MeasuredRun]:
    """Reduce records, of which each is let go before the next is taken."""
    kept, seconds = [], []
    for record in records:
        kept.append({key: record[key] for key in _KEPT})
        completed = record["status"] == COMPLETED
        of_epochs = [epoch["train_seconds"] for epoch in record["epochs"]]
        seconds.append(steady_median(of_epochs, record["resumed_after_epochs"]) if completed else None)
    across = across_runs(kept)
    return [
        _measured_run(record, seconds_per_epoch, [finding.name for finding in _flagging(across[record["run_id"]])])
        for record, seconds_per_epoch in zip(kept, seconds, strict=True)
    ]


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
    cells, compared_runs = [], []
    for cell, current_runs, baseline_runs in _pairs(current, baseline, order or TableOrder()):
        cells.append(_compare_cell(cell, current_runs, baseline_runs, smallest_difference_percent))
        if current_runs and baseline_runs:
            compared_runs.append((current_runs, baseline_runs))
    return Comparison(
        cells=tuple(cells),
        differences=tuple(
            _differences(
                [run for runs, _ in compared_runs for run in runs], [run for _, runs in compared_runs for run in runs]
            )
        ),
        canaries=_canaries(compared_runs),
        shared_runs=len({run.run_id for run in current} & {run.run_id for run in baseline}),
        smallest_difference_percent=smallest_difference_percent,
    )


def failed(verdicts: Sequence[str]) -> bool:
    """Whether who asked should stop: a cell became slower or completes no more, or nothing could be compared."""
    return any(verdict in FAILING for verdict in verdicts) or not any(verdict in COMPARED for verdict in verdicts)


def summary(comparison: Comparison) -> str:
    """One line, as in "2 of 9 cells slower, 0 faster, 7 no difference shown"."""
    first, *others = VERDICTS
    total = len(comparison.cells)
    parts = [f"{comparison.count([first])} of {total} {'cell' if total == 1 else 'cells'} {first}"]
    for verdict in others:
        count = comparison.count([verdict])
        if count or verdict in COMPARED:
            parts.append(f"{count} {verdict}")
    return ", ".join(parts)


def table(comparison: Comparison) -> pd.DataFrame:
    """A row a cell, with the columns `COLUMNS`; unknown is empty."""
    rows = [_table_row(cell) for cell in comparison.cells]
    return pd.DataFrame(
        {name: pd.Series([row.get(name) for row in rows], dtype=dtype) for name, dtype in COLUMNS.items()}
    )


def verdicts_of(path: Path) -> list[str]:
    """The verdicts in a written table."""
    return pd.read_csv(path, usecols=["verdict"], dtype="str", keep_default_na=False)["verdict"].tolist()


def markdown(comparison: Comparison, baseline_name: str) -> str:
    """The comparison to be read; its first line is the `summary`."""
    parts = [
        summary(comparison),
        "# This study and the baseline",
        f"Baseline: {literal(baseline_name)}. {_hosts_text(comparison)}",
        _cells_table(comparison),
        *_reason_lines(comparison),
        _how_to_read(comparison),
    ]
    if comparison.shared_runs:
        parts.append(
            f"{comparison.shared_runs} {'run is' if comparison.shared_runs == 1 else 'runs are'} the same in both "
            "sets: a run compared with itself shows nothing."
        )
    parts += ["## What else differs", _differences_text(comparison)]
    return "\n\n".join(parts) + "\n"


# --- from records to runs ---


def _measured_run(
    record: Mapping[str, Any], seconds_per_epoch: float | None, across_flags: Sequence[str]
) -> MeasuredRun:
    used = record["device_used"]
    own_flags = [check["name"] for check in record["checks"] if check["level"] in FLAG_LEVELS]
    return MeasuredRun(
        run_id=record["run_id"],
        cell=(record["model"], record["batch_size"], record["device"]),
        host=record["host"]["id"],
        status=record["status"],
        seconds_per_epoch=seconds_per_epoch,
        settings=decisive_settings(record),
        threads=None if used is None else _text(threads_in_use(used["threads"])),
        surroundings=_surroundings(record),
        environment=other_variables(record),
        canary=canary_before(record),
        flags=tuple(dict.fromkeys([*own_flags, *across_flags])),
    )


def _flagging(findings: Iterable[Any]) -> list[Any]:
    return [finding for finding in findings if finding.level in FLAG_LEVELS]


def _surroundings(record: Mapping[str, Any]) -> dict[str, str]:
    """The software and the machine under a run, each fact by its name."""
    software, host, device = record["software"], record["host"], record["device"]
    facts = {
        "trainbench": software["trainbench"],
        "framework": software["framework"],
        **software["versions"],
        "Python": software["python"],
        "TF32": software["flags"]["tf32"],
        "deterministic operations": software["flags"]["deterministic"],
        "host name": host["hostname"],
        "kernel": host["kernel"],
        "usable threads": host["usable_threads"],
        "CPU time limit (cores)": "none" if host["cgroup_cpu_quota_cores"] is None else host["cgroup_cpu_quota_cores"],
    }
    if record["settings"]["device"]["kind"] == "gpu":
        facts["GPU driver"] = host["gpu_driver_version"]
    if record["device_used"] is not None:
        facts[f"hardware of {device}"] = record["device_used"]["name"]
    return {name: _text(value) for name, value in facts.items()}


def _text(value: object) -> str:
    if value is None:
        return UNKNOWN
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)


# --- from runs to cells ---


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
    for cell in _in_order(by_cell, order):
        of_current, of_baseline = by_cell[cell]
        common = [host for host in of_current if host in of_baseline]
        pairs += [(cell, of_current.pop(host), of_baseline.pop(host)) for host in common]
        if len(of_current) == len(of_baseline) == 1:
            pairs.append((cell, of_current.popitem()[1], of_baseline.popitem()[1]))
        else:
            pairs += [(cell, runs, []) for runs in of_current.values()]
            pairs += [(cell, [], runs) for runs in of_baseline.values()]
    return pairs


def _in_order(cells: Iterable[Cell], order: TableOrder) -> list[Cell]:
    found = list(cells)
    models = ranked([model for model, _, _ in found], order.models)
    batch_sizes = ranked([batch_size for _, batch_size, _ in found], order.batch_sizes)
    devices = ranked([device for _, _, device in found], order.devices)
    return sorted(found, key=lambda cell: (models.index(cell[0]), batch_sizes.index(cell[1]), devices.index(cell[2])))


def _compare_cell(
    cell: Cell, current: Sequence[MeasuredRun], baseline: Sequence[MeasuredRun], smallest_difference_percent: float
) -> CellComparison:
    sides = (_side(current), _side(baseline))
    ratio_of_cells, reasons = None, []
    if not baseline or not current:
        verdict = ONLY_IN_CURRENT if current else ONLY_IN_BASELINE
    elif reasons := _differing_settings(current, baseline):
        verdict = NOT_COMPARABLE
    else:
        completed, completed_before = (side.seconds_per_epoch.n if side else 0 for side in sides)
        reasons = [*_failures(current, "now"), *_failures(baseline, "in the baseline")]
        if completed_before and not completed:
            verdict = NO_LONGER_COMPLETES
        elif completed * len(baseline) < completed_before * len(current):
            verdict = COMPLETES_LESS_OFTEN
        elif min(completed, completed_before) < LEAST_RUNS:
            verdict = TOO_FEW_RUNS
            reasons.append(
                f"{completed} completed now, {completed_before} in the baseline; an interval takes {LEAST_RUNS} on "
                "each side"
            )
        if sides[0] is not None and sides[1] is not None:
            ratio_of_cells = ratio(sides[0].seconds_per_epoch, sides[1].seconds_per_epoch)
        if min(completed, completed_before) >= LEAST_RUNS and ratio_of_cells is not None:
            verdict = _verdict(ratio_of_cells, smallest_difference_percent)
    return CellComparison(cell, verdict, tuple(reasons), *sides, ratio_of_cells)


def _verdict(ratio_of_cells: Ratio, smallest_difference_percent: float) -> str:
    said, least = outcome(ratio_of_cells), 1 + smallest_difference_percent / 100
    if said.seen_once:
        return TOO_FEW_RUNS
    if said is Outcome.ABOVE and ratio_of_cells.value > least:
        return SLOWER
    if said is Outcome.BELOW and ratio_of_cells.value < 1 / least:
        return FASTER
    return NO_DIFFERENCE


def _side(runs: Sequence[MeasuredRun]) -> Side | None:
    if not runs:
        return None
    flags = Counter(flag for run in runs for flag in run.flags)
    return Side(
        host=runs[0].host,
        runs=len(runs),
        seconds_per_epoch=estimate(run.seconds_per_epoch for run in runs),
        flags=" ".join(f"{name}:{count}" for name, count in flags.most_common()),
    )


def _failures(runs: Sequence[MeasuredRun], when: str) -> list[str]:
    ended = Counter(run.status for run in runs if run.status != COMPLETED)
    return [f"{count} of {len(runs)} runs {status_words(status)} {when}" for status, count in ended.items()]


def _differing_settings(current: Sequence[MeasuredRun], baseline: Sequence[MeasuredRun]) -> list[str]:
    """Each setting that not all runs of a cell share, with both values."""
    names = list(dict.fromkeys(name for run in (*baseline, *current) for name in run.settings))
    found = []
    for name in names:
        # A data set is known of runs that loaded it, so a run out of memory may not know it.
        before, now = (
            _values(run.settings.get(name, None if name == "dataset.sha256" else NOT_SET) for run in runs)
            for runs in (baseline, current)
        )
        if len({*before, *now}) > 1:
            found.append(f"{name} was {' or '.join(before)}, is {' or '.join(now)}")
    if baseline[0].host == current[0].host:
        # On one machine other threads mean another --cores; across machines "all" is what each of them has.
        before, now = (_values(run.threads for run in runs) for runs in (baseline, current))
        if len({*before, *now}) > 1:
            found.append(f"threads used were {' or '.join(before)}, are {' or '.join(now)}")
    return found


def _values(values: Iterable[str | None]) -> list[str]:
    return sorted({value for value in values if value is not None})


# --- what else differs ---


def _differences(current: Sequence[MeasuredRun], baseline: Sequence[MeasuredRun]) -> list[Difference]:
    runs = (*baseline, *current)
    found = []
    for name in dict.fromkeys(name for run in runs for name in run.surroundings):
        before, now = (_values(run.surroundings.get(name) for run in side) or [UNKNOWN] for side in (baseline, current))
        if before != now:
            found.append(Difference(name, " or ".join(before), " or ".join(now)))
    for name in sorted({name for run in runs for name in run.environment}):
        before, now = (_values(run.environment.get(name, NOT_SET) for run in side) for side in (baseline, current))
        if before != now:
            found.append(Difference(f"environment variable {name}", " or ".join(before), " or ".join(now)))
    return found


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


# --- as table and text ---


def _table_row(compared: CellComparison) -> dict[str, Any]:
    row: dict[str, Any] = dict(zip(("model", "batch_size", "device"), compared.cell, strict=True))
    row |= {"verdict": compared.verdict, "reasons": "; ".join(compared.reasons)}
    if compared.ratio is not None:
        row |= {"ratio": compared.ratio.value, "ratio_low": compared.ratio.low, "ratio_high": compared.ratio.high}
    for prefix, side in (("", compared.current), ("baseline_", compared.baseline)):
        if side is not None:
            seconds = side.seconds_per_epoch
            row |= {
                f"{prefix}host": side.host,
                f"{prefix}train_seconds_per_epoch": seconds.value,
                f"{prefix}train_seconds_per_epoch_low": seconds.low,
                f"{prefix}train_seconds_per_epoch_high": seconds.high,
                f"{prefix}n": seconds.n,
                f"{prefix}flags": side.flags,
            }
    return row


def _hosts_text(comparison: Comparison) -> str:
    pairs = list(comparison.canaries)
    if not pairs:
        return "No cell is in both sets."
    same = [literal(current) for current, baseline in pairs if current == baseline]
    across = [
        f"{literal(current)} now, {literal(baseline)} in the baseline"
        for current, baseline in pairs
        if current != baseline
    ]
    texts = []
    if same:
        texts.append(f"Both measured on {', '.join(same)}.")
    if across:
        texts.append(f"Compared across machines: {'; '.join(across)}. A ratio then is that of the machines as well.")
    return " ".join(texts)


def _cells_table(comparison: Comparison) -> str:
    several_hosts = len(comparison.canaries) > 1 or bool(comparison.count([ONLY_IN_BASELINE, ONLY_IN_CURRENT]))
    rows = []
    for compared in comparison.cells:
        model, batch_size, device = compared.cell
        host = [_host_cell(compared)] if several_hosts else []
        rows.append(
            [
                literal(model),
                str(batch_size),
                literal(device),
                *host,
                compared.verdict,
                _ratio_text(compared.ratio),
                _seconds_text(compared.current),
                _seconds_text(compared.baseline),
                f"{_runs_text(compared.current)} / {_runs_text(compared.baseline)}",
                literal(_flags_text(compared)),
            ]
        )
    header = [
        *("Model", "Batch size", "Device"),
        *(["Host"] if several_hosts else []),
        *("Verdict", "Now / before", "Seconds an epoch now", "before", "Runs now / before", "Flags"),
    ]
    frame = pd.DataFrame(rows, columns=header, dtype="str")
    return frame.to_markdown(index=False, disable_numparse=True)


def _host_cell(compared: CellComparison) -> str:
    hosts = dict.fromkeys(side.host for side in (compared.current, compared.baseline) if side is not None)
    return " / ".join(literal(host) for host in hosts)


def _ratio_text(found: Ratio | None) -> str:
    if found is None:
        return ""
    shown = f"{found.value:.3f}"
    return shown if found.low is None or found.high is None else f"{shown} ({found.low:.3f} to {found.high:.3f})"


def _seconds_text(side: Side | None) -> str:
    return "" if side is None or side.seconds_per_epoch.value is None else format_number(side.seconds_per_epoch.value)


def _runs_text(side: Side | None) -> str:
    if side is None:
        return "0"
    n = side.seconds_per_epoch.n
    return str(n) if n == side.runs else f"{n} of {side.runs}"


def _flags_text(compared: CellComparison) -> str:
    texts = []
    for when, side in (("now", compared.current), ("before", compared.baseline)):
        if side is not None and side.flags:
            texts.append(f"{when}: {side.flags}")
    return "; ".join(texts)


def _reason_lines(comparison: Comparison) -> list[str]:
    lines = [
        f"- {literal(' '.join(map(str, compared.cell)))}: {compared.verdict}: {literal('; '.join(compared.reasons))}"
        for compared in comparison.cells
        if compared.reasons
    ]
    return ["\n".join(lines)] if lines else []


def _how_to_read(comparison: Comparison) -> str:
    smallest = comparison.smallest_difference_percent
    compared = comparison.count(COMPARED)
    text = (
        "Seconds an epoch are the geometric mean over runs of the median over a run's steady epochs; the ratio's 95 % "
        f"interval is Welch's over runs. A cell is called slower or faster where the interval leaves out 1 and the "
        f"ratio differs from it by more than {smallest:g} %."
    )
    if compared:
        expected = compared * (1 - statistics.CONFIDENCE)
        text += (
            f" An interval misses the truth in 1 of 20 cases. So of {compared} compared "
            f"{'cell' if compared == 1 else 'cells'} up to {expected:.2g} would be called on average although nothing "
            f"changed (at most, because differences below {smallest:g} % are never called). Runs of one sitting share "
            "the machine's state, which no interval shows: measure both sides again before acting on a single cell."
        )
    return text


def _differences_text(comparison: Comparison) -> str:
    lines = []
    for (current, baseline), found in comparison.canaries.items():
        percent, said = 100 * (found.value - 1), outcome(found)
        if abs(percent) > CANARY_DIFFERENCE_PERCENT and (said.shown or said.seen_once):
            where = current if current == baseline else f"{current} than on {baseline}"
            lines.append(
                f"The machine itself computed {'slower' if percent > 0 else 'faster'}: a fixed computation before each "
                f"run took {abs(percent):.0f} % {'longer' if percent > 0 else 'less'} on {literal(where)}"
                f"{' than in the baseline' if current == baseline else ''}"
                f"{' (single runs)' if said.seen_once else ''}."
            )
    if comparison.differences:
        frame = pd.DataFrame(
            [[literal(each.name), literal(each.baseline), literal(each.current)] for each in comparison.differences],
            columns=["", "Before", "Now"],
            dtype="str",
        )
        lines.append(frame.to_markdown(index=False, disable_numparse=True))
    return "\n\n".join(lines) or (
        "Software and drivers are the same, and a fixed computation before each run is not shown to have taken longer "
        f"or shorter by more than {CANARY_DIFFERENCE_PERCENT:g} %."
    )
