"""Says a study's answers in sentences, the most important first, each with its interval and what limits it."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pandas as pd

from trainbench.conclusions.comparison import (
    FLAGGED_HEADING,
    MEASURES,
    efficiency_text,
    figure_text,
    hardware_of,
    ratio_text,
)
from trainbench.conclusions.tables.frameworks import USUAL_PRECISION
from trainbench.conclusions.tables.speedups import outcome_of, rivals, speedup
from trainbench.results.cells_table import NEVER_AVERAGED
from trainbench.results.columns import CellKey, Row
from trainbench.results.executors import Executor, executors_of
from trainbench.results.runs_table import COMPLETED
from trainbench.results.statistics import Outcome
from trainbench.results.tables import TableOrder, cells_by_key, models_of, rows_of
from trainbench.words.wording import FLAGGED, format_fixed, format_ratio, framework_words, listed, status_words

MOST_PAIRS: Final = 3
MOST_MODELS: Final = 4
MOST_NAMED: Final = 3
OUT_OF_MEMORY: Final = "out_of_memory"
DIFFERENT_HARDWARE: Final = NEVER_AVERAGED["device_name"]
_COMPUTED_WITH: Final = ("framework", "precision")
FRAMEWORKS_HEADING: Final = "Frameworks and precisions side by side"
_ENDED: Final = frozenset({COMPLETED, OUT_OF_MEMORY})
_ONCE: Final = "how sure that is takes at least two runs of each"

SECONDS: Final = next(measure for measure in MEASURES if measure.metric == "train_seconds_per_epoch")


@dataclass(frozen=True)
class _Sides:
    """What the two sides of comparisons are called in a sentence.

    `other` is what the second one is called where it is first named, `other_alone` later on; `where` says on what both
    run, as in " on this CPU", where that is the same.
    """

    one: str
    other: str
    other_alone: str
    where: str = ""


@dataclass(frozen=True)
class Answers:
    """The first lines of a page: what was found, and what limits it."""

    headlines: tuple[str, ...]
    caveats: tuple[str, ...]


def answers(
    runs: pd.DataFrame,
    cells: pd.DataFrame,
    speedups: pd.DataFrame,
    order: TableOrder,
    *,
    frameworks: pd.DataFrame,
    gpu_scaling: pd.DataFrame,
    reference: str = "",
) -> Answers:
    """The headlines and caveats of a study.

    `runs`, `cells`, `speedups`, `frameworks` and `gpu_scaling` are the tables of these names. With one device there are
    its speeds, with two the greatest difference between them and where the other one wins, with more the fastest of
    each model as well. Devices that differ in framework or precision alone are called by these, and what several GPUs
    gain over the fewest is told. `reference` is the name of the reference device, where it is known.
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
        found += _side_by_side(frameworks, cells)
        found += _several_gpus(gpu_scaling)
        found += _pairs(speedups, frameworks, executors)
        if speedups.empty:
            named = f" {reference}" if reference else ""
            found += [f"No completed run of the reference device{named}: there are no speedups."]
            found += [] if len(executors) > 2 else _fastest(cells, executors, order)  # noqa: PLR2004 - as above
    return Answers((*_all_flagged(runs), *found), tuple(_caveats(runs, cells)))


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
        others = [cell for cell in by_model[model] if cell is not best]
        hardware = hardware_of(best)
        on = f"{executor.label} ({hardware})" if hardware and hardware != executor.label else executor.label
        place = f"at batch size {best['batch_size']} on {on}"
        undecided, once = rivals(best, others)
        if undecided:
            beside = rivals_text(_sizes(undecided), _sizes(once))
            sentences.append(f"{model}: {_seconds_text(best)} {place}; {beside}.")
        elif once:
            least = f"the least of {len(others) + 1} batch sizes"
            sentences.append(f"{model}: {_seconds_text(best)} {place}, {least}; {_ONCE}.")
        else:
            sentences.append(f"{model} trains {'fastest ' if others else ''}{place}: {_seconds_text(best)}.")
    return [*sentences, *_more(len(models) - MOST_MODELS, "model", "Every cell")]


def _fastest(cells: pd.DataFrame, executors: Sequence[Executor], order: TableOrder) -> list[str]:
    """Which device trains each model fastest, and how far ahead of the next at the same batch size it is.

    A device is called the fastest where its best cell is shown to be faster than every cell of the others. Models that
    one device trains fastest share a sentence, which shows the one that takes longest.
    """
    labels = {(executor.device, executor.host): executor.label for executor in executors}
    details = {(executor.device, executor.host): executor.detail for executor in executors}
    known = [cell for cell in rows_of(cells) if cell["train_seconds_per_epoch"] is not None]
    fastest: dict[tuple[str, str], list[Row]] = {}
    doubtful: list[str] = []
    for model in models_of(cells, order):
        of_model = [cell for cell in known if cell["model"] == model]
        if not of_model:
            continue
        best = min(of_model, key=_seconds)
        device = best["device"], best["host"]
        others = [cell for cell in of_model if (cell["device"], cell["host"]) != device]
        undecided, once = rivals(best, others)
        on = _on(best, labels, details)
        if undecided:
            beside = rivals_text(*(places(best, sorted(cells, key=_seconds), labels) for cells in (undecided, once)))
            words = f"{_seconds_text(best)} at batch size {best['batch_size']} on {on}"
            doubtful.append(f"{model}: {words}; {beside}.")
        elif once:
            doubtful.append(f"{model}: {_lead(best, known, labels, f' on {on}')}; {_ONCE}.")
        else:
            fastest.setdefault(device, []).append(best)
    sentences = []
    for members in fastest.values():
        best = max(members, key=_seconds)
        models, on = _counted([cell["model"] for cell in members]), _on(best, labels, details)
        lead = _lead(best, known, labels)
        if len(members) > 1:
            sentences.append(f"{models} train fastest on {on}; {best['model']} takes {lead}.")
        else:
            sentences.append(f"{models} trains fastest on {on}: {lead}.")
    sentences += doubtful
    return [
        *sentences[:MOST_MODELS],
        *_more(len(sentences) - MOST_MODELS, "answer", "Which device for which model"),
    ]


def _on(cell: Row, labels: Mapping[tuple[str, str], str], details: Mapping[tuple[str, str], str]) -> str:
    """A device and in brackets on what it computes."""
    device = cell["device"], cell["host"]
    in_brackets = ", ".join(filter(None, (hardware_of(cell), details[device])))
    return labels[device] + (f" ({in_brackets})" if in_brackets else "")


def places(best: Row, cells: Iterable[Row], labels: Mapping[tuple[str, str], str]) -> list[str]:
    """The devices of these cells, each with the batch size of its first one where that is not that of the best."""
    by_device: dict[tuple[str, str], Row] = {}
    for cell in cells:
        by_device.setdefault((cell["device"], cell["host"]), cell)
    return [
        labels[device] + ("" if cell["batch_size"] == best["batch_size"] else f" at {cell['batch_size']}")
        for device, cell in by_device.items()
    ]


def rivals_text(undecided: Sequence[str], once: Sequence[str]) -> str:
    """What takes the word "fastest" from the one with the least mean: as in "no difference shown from cpu at 128"."""
    parts = [
        f"{words} {few(names, f'{len(names)} others')}"
        for words, names in (("no difference shown from", undecided), ("no interval beside", once))
        if names
    ]
    return "; ".join(parts)


def _sizes(cells: Iterable[Row]) -> list[str]:
    return [str(cell["batch_size"]) for cell in cells]


def _lead(best: Row, known: Sequence[Row], labels: Mapping[tuple[str, str], str], on: str = "") -> str:
    """How fast the cell with the least mean is, and how far ahead of the nearest device at its batch size."""
    words = f"{_seconds_text(best)} at batch size {best['batch_size']}{on}"
    alike = (best["model"], best["batch_size"])
    others = [cell for cell in known if (cell["model"], cell["batch_size"]) == alike and cell is not best]
    if not others:
        return words
    second = min(others, key=_seconds)
    ahead = speedup(second, best)
    if ahead is None:
        return words
    ratio = format_ratio(ahead.value, ahead.low, ahead.high)
    return f"{words}, {ratio} faster than {labels[second['device'], second['host']]}"


def _side_by_side(frameworks: pd.DataFrame, cells: pd.DataFrame) -> list[str]:
    """A sentence on each two devices that differ in framework alone, then on those that do in precision alone."""
    rows = rows_of(frameworks)
    by_framework: dict[tuple[str, ...], list[Row]] = {}
    by_precision: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        if _differs_in_framework(row):
            by_framework.setdefault((row["device"], row["host"], row["reference_device"]), []).append(row)
        if _differs_in_precision(row):
            over_float32 = {
                **row,
                "reference_device": row["float32_device"],
                "reference_flagged_runs": row["float32_flagged_runs"],
                **{f"speedup{end}": row[f"speedup_over_float32{end}"] for end in ("", "_low", "_high")},
            }
            by_precision.setdefault((row["device"], row["host"], row["float32_device"]), []).append(over_float32)
    accuracies = {key: cell["final_accuracy_mean"] for key, cell in cells_by_key(cells).items()}
    sentences = []
    for found in _greatest_first(by_framework):
        name, reference = (framework_words(found[0][column]) for column in ("framework", "reference_framework"))
        sentences.append(_pair(found, _Sides(name, reference, reference, _where(found[0], rows))))
    for found in _greatest_first(by_precision):
        where = f" with {framework_words(found[0]['framework'])}{_where(found[0], rows)}"
        sides = _Sides(found[0]["precision"], USUAL_PRECISION, USUAL_PRECISION, where)
        sentences.append(_pair(found, sides, accuracies))
    count = max(0, len(by_framework) - MOST_PAIRS) + max(0, len(by_precision) - MOST_PAIRS)
    return [*sentences, *_more(count, "comparison", FRAMEWORKS_HEADING)]


def _differs_in_framework(row: Row) -> bool:
    """Whether a row of the table of frameworks and its reference differ in framework alone."""
    return (
        row["speedup"] is not None
        and row["framework"] != row["reference_framework"]
        and row["precision"] == row["reference_precision"]
    )


def _differs_in_precision(row: Row) -> bool:
    return row["speedup_over_float32"] is not None and row["precision"] != USUAL_PRECISION


def _where(row: Row, rows: Sequence[Row]) -> str:
    """On what devices side by side run, as in " on this CPU": as much of it as tells it from others side by side."""
    noun, several_hosts = row["device_kind"].upper(), len({other["host"] for other in rows}) > 1
    alike = [other for other in rows if (other["host"], other["device_kind"]) == (row["host"], row["device_kind"])]
    count = row["gpus"] or 1
    number = f"{count} {noun}s" if count > 1 else noun
    place = f"the {number} of {row['host']}" if several_hosts else f"{'these' if count > 1 else 'this'} {number}"
    if len({other["device_name"] for other in alike}) > 1:
        place += f" ({row['device_name']})"
    if row["device_kind"] == "cpu" and len({other["threads"] for other in alike}) > 1:
        place += f" with {row['threads']} {'thread' if row['threads'] == 1 else 'threads'}"
    return f" on {place}"


def _several_gpus(gpu_scaling: pd.DataFrame) -> list[str]:
    """A sentence on the most GPUs of each series: where they gain most over the fewest."""
    series: dict[tuple[str, ...], list[Row]] = {}
    for row in rows_of(gpu_scaling):
        series.setdefault(tuple(row[column] for column in ("host", "device_name", *_COMPUTED_WITH)), []).append(row)
    hosts, kinds = {key[0] for key in series}, {key[2:] for key in series}
    sentences = []
    for (host, name, framework, precision), rows in list(series.items())[:MOST_PAIRS]:
        most = max(row["gpus"] for row in rows)
        best = max((row for row in rows if row["gpus"] == most), key=lambda row: float(row["speedup"]))
        with_what = f" with {framework_words(framework)} in {precision}" if len(kinds) > 1 else ""
        of_host = f" of {host}" if len(hosts) > 1 else ""
        sentences.append(
            f"For {_place(best)}, {most} GPUs ({name}){of_host} train {ratio_text(best)} as fast as "
            f"{best['reference_gpus']}{with_what}: an efficiency of {efficiency_text(best, ' %')}"
            f"{f' {FLAGGED}' if best['flagged_runs'] else ''}{_how_sure(outcome_of(best))}."
        )
    return [*sentences, *_more(len(series) - MOST_PAIRS, "comparison", "Several GPUs in one run")]


def _how_sure(said: Outcome) -> str:
    """What takes the claim out of a ratio that no interval carries."""
    if said.seen_once:
        return f"; {_ONCE}"
    return "" if said.shown else "; no difference is shown"


def _pairs(speedups: pd.DataFrame, frameworks: pd.DataFrame, executors: Sequence[Executor]) -> list[str]:
    """A sentence on each device but the reference, those with the greatest speedups first.

    Those that are side by side with the reference and differ in framework or precision alone have one already.
    """
    labels = {(executor.device, executor.host): executor.label for executor in executors}
    told: set[frozenset[tuple[str, str]]] = set()
    for row in rows_of(frameworks):
        for other, differs in (("reference", _differs_in_framework(row)), ("float32", _differs_in_precision(row))):
            if differs:
                told.add(frozenset({(row["device"], row["host"]), (row[f"{other}_device"], row["host"])}))
    series: dict[tuple[str, ...], list[Row]] = {}
    for row in rows_of(speedups):
        device, reference = (row["device"], row["host"]), (row["reference_device"], row["reference_host"])
        if device != reference and frozenset({device, reference}) not in told:
            series.setdefault(device, []).append(row)
    sentences = []
    for rows in _greatest_first(series):
        name = labels[rows[0]["device"], rows[0]["host"]]
        sentences.append(_pair(rows, _Sides(name, _reference(rows[0], labels), rows[0]["reference_device"])))
    return [*sentences, *_more(len(series) - MOST_PAIRS, "device", "Speedups")]


def _greatest_first(series: Mapping[tuple[str, ...], list[Row]]) -> list[list[Row]]:
    """Those with the greatest speedups, a few."""
    return sorted(series.values(), key=lambda rows: -max(row["speedup"] for row in rows))[:MOST_PAIRS]


def _reference(row: Row, labels: Mapping[tuple[str, str], str]) -> str:
    """What the reference is called beside the other device: its host goes without saying where it is the same."""
    key = (row["reference_device"], row["reference_host"])
    several_hosts = labels.get(key, key[0]) != key[0]
    return f"{key[0]} of the same host" if several_hosts and row["host"] == key[1] else labels.get(key, key[0])


def _pair(rows: Sequence[Row], sides: _Sides, accuracies: Mapping[CellKey, float | None] | None = None) -> str:
    """Where one of two sides is ahead most, and whether the other one ever is.

    Where some speedups have an interval those without one are not called. With `accuracies`, by cell, those of both
    stand beside the speed.
    """
    once = all(outcome_of(row).seen_once for row in rows)
    sides_of_1 = (
        (Outcome.ABOVE_ONCE, Outcome.BELOW_ONCE, Outcome.EQUAL_ONCE)
        if once
        else (Outcome.ABOVE, Outcome.BELOW, Outcome.NO_DIFFERENCE)
    )
    faster, slower, undecided = ([row for row in rows if outcome_of(row) is side] for side in sides_of_1)
    doubt = " Single runs: how sure that is takes at least two runs of each cell." if once else ""
    if faster:
        best = max(faster, key=lambda row: float(row["speedup"]))
        lead = f"For {_place(best)} {_faster(sides.one, sides.other + sides.where, best)}"
        lead += _accuracies_text(best, accuracies or {}, inverse=False)
        tail = _tail(sides.other_alone, faster, slower, undecided, len(rows), inverse=True)
    elif slower:
        worst = min(slower, key=lambda row: float(row["speedup"]))
        lead = f"For {_place(worst)} {_faster(sides.other, sides.one + sides.where, worst, inverse=True)}"
        lead += _accuracies_text(worst, accuracies or {}, inverse=True)
        tail = _tail(sides.one, slower, faster, undecided, len(rows), inverse=False)
    else:
        lead = f"Between {sides.one} and {sides.other}{sides.where} no difference is shown"
        if len(rows) > 1:
            without = _without_interval(len(rows) - len(undecided), len(rows))
            tail = f" in {len(undecided) if without else 'any'} of {len(rows)} comparisons"
            tail += f"{without or ('' if once else ': every interval contains 1')}{_mark(rows)}"
        else:
            tail = f" for {_place(rows[0])}: {ratio_text(rows[0])}{_mark(rows)}"
            tail += _accuracies_text(rows[0], accuracies or {}, inverse=False)
    return f"{lead}{tail}.{doubt}"


def _accuracies_text(row: Row, accuracies: Mapping[CellKey, float | None], *, inverse: bool) -> str:
    """How well both sides learnt, the winner first; nothing where one is unknown."""
    model, size, host = row["model"], row["batch_size"], row["host"]
    both = [accuracies.get((model, size, row[column], host)) for column in ("device", "reference_device")]
    first, second = reversed(both) if inverse else both
    if first is None or second is None:
        return ""
    return f", with a final accuracy of {format_fixed(100 * first, 2)} % against {format_fixed(100 * second, 2)} %"


def _place(row: Row) -> str:
    return f"{row['model']} at batch size {row['batch_size']}"


def _faster(device: str, other: str, row: Row, *, inverse: bool = False) -> str:
    return f"{device} trains {_ratio(row, inverse=inverse)} faster than {other}{_mark([row])}"


def _tail(
    other: str, lost: Sequence[Row], won: Sequence[Row], undecided: Sequence[Row], comparisons: int, *, inverse: bool
) -> str:
    """Whether the other device wins anywhere, out of several comparisons; nowhere, where it is shown to lose in all."""
    if comparisons == 1:
        return ""
    tail = ""
    if won:
        named = [
            f"{row['model']} at {row['batch_size']} by {_ratio(row, inverse=inverse)}{_mark([row])}" for row in won
        ]
        if len(won) > MOST_NAMED:
            greatest = max(won, key=lambda row: abs(float(row["speedup"]) - 1))
            named = [f"{len(won)} of {comparisons} comparisons, for one {named[won.index(greatest)]}"]
        tail = f"; {other} wins {'in' if len(won) > MOST_NAMED else 'for'} {listed(named)}"
    elif len(lost) == comparisons and outcome_of(lost[0]).shown:
        tail = f"; {other} wins nowhere"
    if undecided:
        tail += f"; in {len(undecided)} of {comparisons} comparisons no difference is shown"
    return tail + _without_interval(comparisons - len(lost) - len(won) - len(undecided), comparisons)


def _without_interval(count: int, comparisons: int) -> str:
    return f"; {count} of {comparisons} {'has' if count == 1 else 'have'} no interval" if count else ""


def _ratio(row: Row, *, inverse: bool) -> str:
    """How many times faster one of the two is: the speedup, or one over it."""
    value, low, high = row["speedup"], row["speedup_low"], row["speedup_high"]
    if inverse:
        value, low, high = 1 / value, None if high is None else 1 / high, None if low is None else 1 / low
    return format_ratio(value, low, high)


def _mark(rows: Iterable[Row]) -> str:
    return f" {FLAGGED}" if any(row["flagged_runs"] or row["reference_flagged_runs"] for row in rows) else ""


def _seconds(cell: Row) -> float:
    return float(cell["train_seconds_per_epoch"])


def _seconds_text(cell: Row) -> str:
    """As in "12.15 s an epoch (11.90-12.40)"."""
    return figure_text(cell, SECONDS, " s an epoch") + (f" {FLAGGED}" if cell["flagged_runs"] else "")


def few(names: Sequence[str], count: str) -> str:
    """All names, or in words how many there are."""
    return listed(names) if len(names) <= MOST_NAMED else count


def _counted(names: Sequence[str]) -> str:
    """All names, or how many there are."""
    return listed(names) if len(names) <= MOST_MODELS else f"{len(names)} models"


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
        named = listed([f"{count} {status_words(status)}" for status, count in sorted(absent.items())])
        caveats.append(f"{total - sum(absent.values())} of {total} runs have results; {named}.")
    if statuses[OUT_OF_MEMORY]:
        count = statuses[OUT_OF_MEMORY]
        out = _places(cells_by_key(cells), OUT_OF_MEMORY)
        caveats.append(f"Memory ran out in {count} {'run' if count == 1 else 'runs'}: {out}.")
    for status in NEVER_AVERAGED.values():
        different = _places(cells_by_key(cells), status)
        if different:
            with_what = "on different hardware" if status == DIFFERENT_HARDWARE else f"with {status_words(status)}"
            caveats.append(f"No figures where the runs of a cell trained {with_what}: {different}.")
    completed, flagged = _completed_and_flagged(runs)
    if 0 < flagged < completed:
        caveats.append(
            f"{FLAGGED} Checks flagged {flagged} of {completed} completed runs: something may have disturbed "
            f"them. {_quoted(FLAGGED_HEADING)} says what, and what to do."
        )
    single = int((cells["n"] == 1).sum())
    if single:
        of = f"{single} of {len(cells)} cells rest" if single < len(cells) else "All cells rest"
        caveats.append(f"{of} on one run and have no interval.")
    return caveats


def _completed_and_flagged(runs: pd.DataFrame) -> tuple[int, int]:
    """How many runs were completed, and how many of these were flagged."""
    completed = runs[runs["status"] == COMPLETED]
    return len(completed), int((completed["flags"] != "").sum())


def _all_flagged(runs: pd.DataFrame) -> list[str]:
    """That no number is free of disturbance, where that is so: the first thing to know about all that follows."""
    completed, flagged = _completed_and_flagged(runs)
    if not completed or flagged < completed:
        return []
    which = "The only completed run is" if completed == 1 else f"All {completed} completed runs are"
    return [
        f"{FLAGGED} {which} flagged: something may have disturbed {'it' if completed == 1 else 'them'}, and with "
        f"{'it' if completed == 1 else 'them'} every number here. {_quoted(FLAGGED_HEADING)} says what, and what to do."
    ]


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
        listed([*shown, f"{len(named) - MOST_NAMED} more cells"] if len(named) > MOST_NAMED else shown) if named else ""
    )
