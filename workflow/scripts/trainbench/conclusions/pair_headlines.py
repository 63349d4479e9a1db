"""Says of two sides, devices or what they compute with, which is ahead where, and whether the other ever is."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import pandas as pd

from trainbench.conclusions.cell_texts import efficiency_text, ratio_text
from trainbench.conclusions.fastest import ONCE
from trainbench.conclusions.tables.frameworks import USUAL_PRECISION
from trainbench.conclusions.tables.speedups import outcome_of
from trainbench.results.columns import INTERVAL, CellKey, Row, grouped
from trainbench.results.executors import Executor, labels_of
from trainbench.results.statistics import Outcome
from trainbench.results.tables import cells_by_key, rows_of
from trainbench.words.wording import (
    FLAGGED,
    MOST_NAMED,
    format_fixed,
    format_ratio,
    framework_words,
    listed,
    more,
    numbered,
)

MOST_PAIRS: Final = 3
FRAMEWORKS_HEADING: Final = "Frameworks and precisions side by side"


def side_by_side(frameworks: pd.DataFrame, cells: pd.DataFrame) -> list[str]:
    """A sentence on each two devices that differ in framework alone, then on those that do in precision alone."""
    rows = rows_of(frameworks)
    key = ("device", "host", "reference_device")
    by_framework = grouped(filter(_differs_in_framework, rows), key)
    by_precision = grouped(map(_over_float32, filter(_differs_in_precision, rows)), key)
    accuracies = {key: cell["final_accuracy_mean"] for key, cell in cells_by_key(cells).items()}
    sentences = []
    for found in _greatest_first(by_framework):
        sides = (framework_words(found[0][column]) for column in ("framework", "reference_framework"))
        sentences.append(_pair(found, *sides, where=_where(found[0], rows)))
    for found in _greatest_first(by_precision):
        where = f" with {framework_words(found[0]['framework'])}{_where(found[0], rows)}"
        sentences.append(_pair(found, found[0]["precision"], USUAL_PRECISION, where=where, accuracies=accuracies))
    count = max(0, len(by_framework) - MOST_PAIRS) + max(0, len(by_precision) - MOST_PAIRS)
    return [*sentences, *more(count, "comparison", FRAMEWORKS_HEADING)]


def _differs_in_framework(row: Row) -> bool:
    """Whether a row of the table of frameworks and its reference differ in framework alone."""
    return (
        row["speedup"] is not None
        and row["framework"] != row["reference_framework"]
        and row["precision"] == row["reference_precision"]
    )


def _differs_in_precision(row: Row) -> bool:
    return row["speedup_over_float32"] is not None and row["precision"] != USUAL_PRECISION


def _over_float32(row: Row) -> Row:
    """The row with the cell in float32 as its reference."""
    return {
        **row,
        **{f"reference_{fact}": row[f"float32_{fact}"] for fact in ("device", "flagged_runs")},
        **{f"speedup{end}": row[f"speedup_over_float32{end}"] for end in INTERVAL},
    }


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
        place += f" with {numbered(row['threads'], 'thread')}"
    return f" on {place}"


def several_gpus(gpu_scaling: pd.DataFrame) -> list[str]:
    """A sentence on the most GPUs of each series: where they gain most over the fewest."""
    series = grouped(rows_of(gpu_scaling), ("host", "device_name", "framework", "precision"))
    hosts, kinds = {key[0] for key in series}, {key[2:] for key in series}
    sentences = []
    for (host, name, framework, precision), rows in list(series.items())[:MOST_PAIRS]:
        most = max(row["gpus"] for row in rows)
        best = max((row for row in rows if row["gpus"] == most), key=_speedup)
        with_what = f" with {framework_words(framework)} in {precision}" if len(kinds) > 1 else ""
        of_host = f" of {host}" if len(hosts) > 1 else ""
        sentences.append(
            f"For {_place(best)}, {most} GPUs ({name}){of_host} train {ratio_text(best)} as fast as "
            f"{best['reference_gpus']}{with_what}: an efficiency of {efficiency_text(best, ' %')}"
            f"{f' {FLAGGED}' if best['flagged_runs'] else ''}{_how_sure(outcome_of(best))}."
        )
    return [*sentences, *more(len(series) - MOST_PAIRS, "comparison", "Several GPUs in one run")]


def _how_sure(said: Outcome) -> str:
    """What takes the claim out of a ratio that no interval carries."""
    if said.seen_once:
        return f"; {ONCE}"
    return "" if said.shown else "; no difference is shown"


def pairs(speedups: pd.DataFrame, frameworks: pd.DataFrame, executors: Sequence[Executor]) -> list[str]:
    """A sentence on each device but the reference, those with the greatest speedups first.

    Those that are side by side with the reference and differ in framework or precision alone have one already.
    """
    labels = labels_of(executors)
    told = {
        frozenset({(row["device"], row["host"]), (row[f"{other}_device"], row["host"])})
        for row in rows_of(frameworks)
        for other, differs in (("reference", _differs_in_framework), ("float32", _differs_in_precision))
        if differs(row)
    }
    both = ((frozenset({(row["device"], row["host"]), _reference_key(row)}), row) for row in rows_of(speedups))
    series = grouped((row for sides, row in both if len(sides) > 1 and sides not in told), ("device", "host"))
    sentences = []
    for rows in _greatest_first(series):
        name = labels[rows[0]["device"], rows[0]["host"]]
        sentences.append(_pair(rows, name, _reference(rows[0], labels), rows[0]["reference_device"]))
    return [*sentences, *more(len(series) - MOST_PAIRS, "device", "Speedups")]


def _greatest_first(series: Mapping[tuple[str, ...], list[Row]]) -> list[list[Row]]:
    """Those with the greatest speedups, a few."""
    return sorted(series.values(), key=lambda rows: -max(map(_speedup, rows)))[:MOST_PAIRS]


def _reference_key(row: Row) -> tuple[str, str]:
    return row["reference_device"], row["reference_host"]


def _reference(row: Row, labels: Mapping[tuple[str, str], str]) -> str:
    """What the reference is called beside the other device: its host goes without saying where it is the same."""
    key = _reference_key(row)
    several_hosts = labels.get(key, key[0]) != key[0]
    return f"{key[0]} of the same host" if several_hosts and row["host"] == key[1] else labels.get(key, key[0])


def _pair(
    rows: Sequence[Row],
    one: str,
    other: str,
    other_alone: str = "",
    *,
    where: str = "",
    accuracies: Mapping[CellKey, float | None] | None = None,
) -> str:
    """Where one of two sides is ahead most, and whether the other one ever is.

    Where some speedups have an interval those without one are not called. `other_alone` is what the other side is
    called from its second time on, if not the same; `where` says on what both run, as in " on this CPU", where that is
    the same. With `accuracies`, by cell, those of both stand beside the speed.
    """
    once = all(outcome_of(row).seen_once for row in rows)
    sides_of_1 = (
        (Outcome.ABOVE_ONCE, Outcome.BELOW_ONCE, Outcome.EQUAL_ONCE)
        if once
        else (Outcome.ABOVE, Outcome.BELOW, Outcome.NO_DIFFERENCE)
    )
    faster, slower, undecided = ([row for row in rows if outcome_of(row) is side] for side in sides_of_1)
    doubt = " Single runs: how sure that is takes at least two runs of each cell." if once else ""
    without = _without_interval(len(rows) - len(faster) - len(slower) - len(undecided), len(rows))
    if faster or slower:
        inverse = not faster
        first, second, later = (other, one, one) if inverse else (one, other, other_alone or other)
        best = (min if inverse else max)(slower if inverse else faster, key=_speedup)
        text = f"For {_place(best)} {first} trains {_ratio(best, inverse=inverse)} faster than {second}{where}"
        text += _mark([best]) + _accuracies_text(best, accuracies or {}, inverse=inverse)
        if len(rows) > 1:
            if faster and slower:
                text += _wins(later, slower, len(rows))
            elif len(faster or slower) == len(rows) and not once:
                text += f"; {later} wins nowhere"
            if undecided:
                text += f"; in {len(undecided)} of {len(rows)} comparisons no difference is shown"
            text += without
    else:
        text = f"Between {one} and {other}{where} no difference is shown"
        if len(rows) > 1:
            text += f" in {len(undecided) if without else 'any'} of {len(rows)} comparisons"
            text += f"{without or ('' if once else ': every interval contains 1')}{_mark(rows)}"
        else:
            text += f" for {_place(rows[0])}: {ratio_text(rows[0])}{_mark(rows)}"
            text += _accuracies_text(rows[0], accuracies or {}, inverse=False)
    return f"{text}.{doubt}"


def _wins(other: str, won: Sequence[Row], comparisons: int) -> str:
    """Where the side that is behind in most wins, out of several comparisons."""
    named = [f"{row['model']} at {row['batch_size']} by {_ratio(row, inverse=True)}{_mark([row])}" for row in won]
    if len(won) <= MOST_NAMED:
        return f"; {other} wins for {listed(named)}"
    greatest = min(won, key=_speedup)
    return f"; {other} wins in {len(won)} of {comparisons} comparisons, for one {named[won.index(greatest)]}"


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


def _speedup(row: Row) -> float:
    return float(row["speedup"])


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
