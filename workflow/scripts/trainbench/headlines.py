"""Says a study's answers in sentences, the most important first, each with its interval and what limits it."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

import pandas as pd

from trainbench.comparison import MEASURES, Measure, figure_text, hardware_of, ratio_text
from trainbench.speedups import speedup
from trainbench.tables import (
    COMPLETED,
    DIFFERENT_HARDWARE,
    CellKey,
    Executor,
    Row,
    TableOrder,
    cells_by_key,
    executors_of,
    models_of,
    rows_of,
)
from trainbench.wording import FLAGGED, decimals_of, format_interval, format_ratio, status_words

MOST_PAIRS: Final = 3
MOST_MODELS: Final = 4
MOST_NAMED: Final = 3
OUT_OF_MEMORY: Final = "out_of_memory"
_ENDED: Final = frozenset({COMPLETED, OUT_OF_MEMORY})

SECONDS: Final = next(measure for measure in MEASURES if measure.metric == "train_seconds_per_epoch")


class Outcome(Enum):
    """How a speedup lies to 1: its interval tells, or the value alone where there is no interval."""

    FASTER = "faster"
    SLOWER = "slower"
    NO_DIFFERENCE = "no difference shown"
    FASTER_ONCE = "faster, no interval"
    SLOWER_ONCE = "slower, no interval"
    EQUAL_ONCE = "equal, no interval"


@dataclass(frozen=True)
class Answers:
    """The first lines of a page: what was found, and what limits it."""

    headlines: tuple[str, ...]
    caveats: tuple[str, ...]


def outcome(value: float, low: float | None, high: float | None) -> Outcome:
    """What a speedup says."""
    if low is None or high is None:
        return Outcome.FASTER_ONCE if value > 1 else Outcome.SLOWER_ONCE if value < 1 else Outcome.EQUAL_ONCE
    # A bound of 1 is no proof: an interval without width at 1 says "equal".
    return Outcome.FASTER if low > 1 else Outcome.SLOWER if high < 1 else Outcome.NO_DIFFERENCE


def outcome_of(row: Row) -> Outcome:
    """What a row of the table of speedups says."""
    return outcome(row["speedup"], row["speedup_low"], row["speedup_high"])


def answers(runs: pd.DataFrame, cells: pd.DataFrame, speedups: pd.DataFrame, order: TableOrder) -> Answers:
    """The headlines and caveats of a study.

    `runs`, `cells` and `speedups` are the tables of these names. With one device there are its speeds, with two the
    greatest difference between them and where the other one wins, with more the fastest of each model as well.
    """
    with_results = {(cell["device"], cell["host"]) for cell in rows_of(cells) if cell["n"]}
    executors = [one for one in executors_of(cells, order) if (one.device, one.host) in with_results]
    found: list[str] = []
    if not executors:
        found.append("No run has completed, so there is nothing to compare.")
    elif len(executors) == 1:
        found += _speeds(cells, executors[0], order)
    else:
        if len(executors) > 2:  # noqa: PLR2004 - of two the pair says it
            found += _fastest(cells, executors, order)
        found += _pairs(speedups, executors)
        if speedups.empty:
            found += ["No completed run of the reference device: there are no speedups."]
            found += [] if len(executors) > 2 else _fastest(cells, executors, order)  # noqa: PLR2004 - as above
    return Answers(tuple(found), tuple(_caveats(runs, cells)))


def is_reference(row: Row) -> bool:
    """Whether a row of the table of speedups compares a device with itself."""
    return (row["device"], row["host"]) == (row["reference_device"], row["reference_host"])


def _speeds(cells: pd.DataFrame, executor: Executor, order: TableOrder) -> list[str]:
    """How fast the only device is, a sentence a model."""
    sentences = []
    by_model: dict[str, list[Row]] = {}
    for cell in rows_of(cells):
        if cell["train_seconds_per_epoch"] is not None:
            by_model.setdefault(cell["model"], []).append(cell)
    models = [model for model in models_of(cells, order) if model in by_model]
    for model in models[:MOST_MODELS]:
        best = min(by_model[model], key=_seconds)
        several = len(by_model[model]) > 1
        hardware = hardware_of(best)
        on = f"{executor.label} ({hardware})" if hardware and hardware != executor.label else executor.label
        sentences.append(
            f"{model} trains {'fastest ' if several else ''}at batch size {best['batch_size']} on {on}: "
            f"{_seconds_text(best)}."
        )
    return [*sentences, *_more(len(models) - MOST_MODELS, "model", "Every cell")]


def _fastest(cells: pd.DataFrame, executors: Sequence[Executor], order: TableOrder) -> list[str]:
    """Which device trains each model fastest, and how far ahead of the next at the same batch size it is.

    Models that one device trains fastest share a sentence, which shows the one that takes longest.
    """
    labels = {(executor.device, executor.host): executor.label for executor in executors}
    known = [cell for cell in rows_of(cells) if cell["train_seconds_per_epoch"] is not None]
    leads: dict[tuple[str, str, bool], list[tuple[Row, str]]] = {}
    for model in models_of(cells, order):
        of_model = [cell for cell in known if cell["model"] == model]
        if of_model:
            best = min(of_model, key=_seconds)
            lead, decided = _lead(best, of_model, labels)
            leads.setdefault((best["device"], best["host"], decided), []).append((best, lead))
    sentences = []
    for (device, host, _), members in list(leads.items())[:MOST_MODELS]:
        best, lead = max(members, key=lambda member: _seconds(member[0]))
        hardware = hardware_of(best)
        on = labels[device, host] + (f" ({hardware})" if hardware else "")
        models = _counted([cell["model"] for cell, _ in members])
        if len(members) > 1:
            sentences.append(f"{models} train fastest on {on}; {best['model']} takes {lead}.")
        else:
            sentences.append(f"{models} trains fastest on {on}: {lead}.")
    return [*sentences, *_more(len(leads) - MOST_MODELS, "device", "Which device for which model")]


def _lead(best: Row, of_model: Sequence[Row], labels: Mapping[tuple[str, str], str]) -> tuple[str, bool]:
    """How fast the fastest cell of a model is and how far ahead, and whether that is more than noise."""
    words = f"{_seconds_text(best)} at batch size {best['batch_size']}"
    others = [cell for cell in of_model if cell["batch_size"] == best["batch_size"] and cell is not best]
    if not others:
        return words, True
    second = min(others, key=_seconds)
    ahead = speedup(second, best)
    name = labels[second["device"], second["host"]]
    if ahead is None or outcome(ahead.value, ahead.low, ahead.high) is Outcome.NO_DIFFERENCE:
        return f"{words}, though no difference to the next, {name}, is shown", False
    interval = format_interval(ahead.low, ahead.high, decimals_of(ahead.value, significant=3))
    once = "" if interval else " (no interval)"
    return f"{words}, {format_ratio(ahead.value)}{interval}{once} faster than the next, {name}", True


def _pairs(speedups: pd.DataFrame, executors: Sequence[Executor]) -> list[str]:
    """A sentence on each device but the reference, those with the greatest speedups first."""
    labels = {(executor.device, executor.host): executor.label for executor in executors}
    series: dict[tuple[str, str], list[Row]] = {}
    for row in rows_of(speedups):
        if not is_reference(row):
            series.setdefault((row["device"], row["host"]), []).append(row)
    ranked = sorted(series.values(), key=lambda rows: -max(row["speedup"] for row in rows))
    sentences = [
        _pair(rows, labels[rows[0]["device"], rows[0]["host"]], _reference(rows[0], labels))
        for rows in ranked[:MOST_PAIRS]
    ]
    return [*sentences, *_more(len(ranked) - MOST_PAIRS, "device", "Speedups")]


def _reference(row: Row, labels: Mapping[tuple[str, str], str]) -> str:
    """What the reference is called beside the other device: its host goes without saying where it is the same."""
    key = (row["reference_device"], row["reference_host"])
    several_hosts = labels.get(key, key[0]) != key[0]
    return f"{key[0]} of the same host" if several_hosts and row["host"] == key[1] else labels.get(key, key[0])


def _pair(rows: Sequence[Row], device: str, reference: str) -> str:
    """Where one of two devices is ahead most, and whether the other one ever is.

    Where some speedups have an interval those without one are not called.
    """
    faster = [row for row in rows if outcome_of(row) is Outcome.FASTER]
    slower = [row for row in rows if outcome_of(row) is Outcome.SLOWER]
    undecided = [row for row in rows if outcome_of(row) is Outcome.NO_DIFFERENCE]
    once = not (faster or slower or undecided)
    if once:
        faster = [row for row in rows if outcome_of(row) is Outcome.FASTER_ONCE]
        slower = [row for row in rows if outcome_of(row) is Outcome.SLOWER_ONCE]
        undecided = [row for row in rows if outcome_of(row) is Outcome.EQUAL_ONCE]
    doubt = " Single runs: how sure that is takes at least two runs of each cell." if once else ""
    if faster:
        best = max(faster, key=lambda row: float(row["speedup"]))
        lead = f"For {_place(best)} {_faster(device, reference, best)}"
        tail = _tail(rows[0]["reference_device"], rows, slower, undecided, inverse=True)
    elif slower:
        worst = min(slower, key=lambda row: float(row["speedup"]))
        lead = f"For {_place(worst)} {_faster(reference, device, worst, inverse=True)}"
        tail = _tail(device, rows, faster, undecided, inverse=False)
    else:
        lead = f"Between {device} and {reference} no difference is shown"
        if len(rows) > 1:
            tail = f" in any of {len(rows)} comparisons: every interval contains 1{_mark(rows)}"
        else:
            tail = f" for {_place(rows[0])}: {ratio_text(rows[0])}{_mark(rows)}"
    return f"{lead}{tail}.{doubt}"


def _place(row: Row) -> str:
    return f"{row['model']} at batch size {row['batch_size']}"


def _faster(device: str, other: str, row: Row, *, inverse: bool = False) -> str:
    return f"{device} trains {_ratio(row, inverse=inverse)} faster than {other}{_mark([row])}"


def _tail(other: str, rows: Sequence[Row], won: Sequence[Row], undecided: Sequence[Row], *, inverse: bool) -> str:
    """Whether the other device wins anywhere, out of several comparisons."""
    if len(rows) == 1:
        return ""
    if won:
        named = [
            f"{row['model']} at {row['batch_size']} by {_ratio(row, inverse=inverse)}{_mark([row])}" for row in won
        ]
        if len(won) > MOST_NAMED:
            greatest = max(won, key=lambda row: abs(float(row["speedup"]) - 1))
            named = [f"{len(won)} of {len(rows)} comparisons, most for {named[won.index(greatest)]}"]
        tail = f"; {other} wins {'in' if len(won) > MOST_NAMED else 'for'} {_listed(named)}"
    else:
        tail = f"; {other} wins nowhere"
    if undecided:
        tail += f"; in {len(undecided)} of {len(rows)} comparisons no difference is shown"
    return tail


def _ratio(row: Row, *, inverse: bool) -> str:
    """How many times faster one of the two is: the speedup, or one over it."""
    value, low, high = row["speedup"], row["speedup_low"], row["speedup_high"]
    if inverse:
        value, low, high = 1 / value, None if high is None else 1 / high, None if low is None else 1 / low
    return format_ratio(value) + format_interval(low, high, decimals_of(value, significant=3))


def _mark(rows: Iterable[Row]) -> str:
    return f" {FLAGGED}" if any(row["flagged_runs"] or row["reference_flagged_runs"] for row in rows) else ""


def _seconds(cell: Row) -> float:
    return float(cell["train_seconds_per_epoch"])


def _seconds_text(cell: Row, measure: Measure = SECONDS) -> str:
    """As in "12.15 s an epoch (11.90-12.40)"."""
    number, space, rest = figure_text(cell, measure).partition(" ")
    return f"{number} s an epoch{space}{rest}" + (f" {FLAGGED}" if cell["flagged_runs"] else "")


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _counted(names: Sequence[str]) -> str:
    """All names, or how many there are."""
    return _listed(names) if len(names) <= MOST_MODELS else f"{len(names)} models"


def _more(count: int, what: str, where: str) -> list[str]:
    if count <= 0:
        return []
    return [f"{count} more {what if count == 1 else f'{what}s'}: see {_quoted(where)}."]


def _quoted(text: str) -> str:
    return f"\N{LEFT DOUBLE QUOTATION MARK}{text}\N{RIGHT DOUBLE QUOTATION MARK}"


def _caveats(runs: pd.DataFrame, cells: pd.DataFrame) -> list[str]:
    """What limits the answers: runs that are missing or failed, disturbances, single runs."""
    caveats = []
    statuses = Counter(runs["status"].tolist())
    absent = {status: count for status, count in statuses.items() if status not in _ENDED}
    if absent:
        total = sum(statuses.values())
        named = _listed([f"{count} {status_words(status)}" for status, count in sorted(absent.items())])
        caveats.append(f"{total - sum(absent.values())} of {total} runs have results; {named}.")
    if statuses[OUT_OF_MEMORY]:
        count = statuses[OUT_OF_MEMORY]
        out = _places(cells_by_key(cells), OUT_OF_MEMORY)
        caveats.append(f"Memory ran out in {count} {'run' if count == 1 else 'runs'}: {out}.")
    different = _places(cells_by_key(cells), DIFFERENT_HARDWARE)
    if different:
        caveats.append(f"No figures where the runs of a cell trained on different hardware: {different}.")
    completed = runs[runs["status"] == COMPLETED]
    flagged = int((completed["flags"] != "").sum())
    if flagged:
        caveats.append(
            f"{FLAGGED} Checks flagged {flagged} of {len(completed)} completed runs: something may have disturbed "
            f"them. {_quoted('Flagged runs')} says what, and what to do."
        )
    single = int((cells["n"] == 1).sum())
    if single:
        of = f"{single} of {len(cells)} cells rest" if single < len(cells) else "All cells rest"
        caveats.append(f"{of} on one run and have no interval.")
    return caveats


def _places(by_key: dict[CellKey, Row], status: str) -> str:
    """The cells with runs of a status, a few by name; "" where there are none."""
    several_hosts = len({key[3] for key in by_key}) > 1
    named = [
        f"{model} at {size} on {device}" + (f" @ {host}" if several_hosts else "")
        for (model, size, device, host), cell in by_key.items()
        if status in cell["status"].split(", ")
    ]
    shown = named[:MOST_NAMED]
    return (
        _listed([*shown, f"{len(named) - MOST_NAMED} more cells"] if len(named) > MOST_NAMED else shown)
        if named
        else ""
    )
