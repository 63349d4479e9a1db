"""Writes baseline.md: what became slower or faster, how sure that is, and what else differs."""

from typing import Final

from trainbench.conclusions.baseline import COMPARED, Comparison, Verdict
from trainbench.results.columns import Row, ratio_in
from trainbench.results.statistics import CONFIDENCE, Ratio, outcome
from trainbench.words.markdown import bullets, literal, table
from trainbench.words.wording import format_number, numbered

# The fixed computation before a run scatters by a few percent from run to run; its mean over runs by less.
CANARY_DIFFERENCE_PERCENT: Final = 5.0

_SIDES: Final = {"": "now", "baseline_": "before"}
"""How the columns of each side of a cell begin, and what it is called."""


def summary(comparison: Comparison) -> str:
    """One line, as in "2 of 9 cells slower, 0 faster, 7 no difference shown"."""
    first, *others = Verdict
    parts = [f"{comparison.count([first])} of {numbered(len(comparison.cells), 'cell')} {first}"]
    for verdict in others:
        count = comparison.count([verdict])
        if count or verdict in COMPARED:
            parts.append(f"{count} {verdict}")
    return ", ".join(parts)


def markdown(comparison: Comparison, baseline_name: str) -> str:
    """The comparison to be read; its first line is the `summary`."""
    reasons = [
        f"{cell['model']} {cell['batch_size']} {cell['device']}: {cell['verdict']}: {cell['reasons']}"
        for cell in comparison.cells
        if cell["reasons"]
    ]
    parts = [
        summary(comparison),
        "# This study and the baseline",
        f"Baseline: {literal(baseline_name)}. {_hosts_text(comparison)}",
        _cells_table(comparison),
        *([bullets(reasons)] if reasons else []),
        _how_to_read(comparison),
    ]
    if comparison.shared_runs:
        parts.append(
            f"{comparison.shared_runs} {'run is' if comparison.shared_runs == 1 else 'runs are'} the same in both "
            "sets: a run compared with itself shows nothing."
        )
    parts += ["## What else differs", _differences_text(comparison)]
    return "\n\n".join(parts) + "\n"


def _hosts_text(comparison: Comparison) -> str:
    same = ", ".join(literal(now) for now, before in comparison.canaries if now == before)
    across = "; ".join(
        f"{literal(now)} now, {literal(before)} in the baseline" for now, before in comparison.canaries if now != before
    )
    texts = [f"Both measured on {same}."] if same else []
    if across:
        texts.append(f"Compared across machines: {across}. A ratio then is that of the machines as well.")
    return " ".join(texts) or "No cell is in both sets."


def _cells_table(comparison: Comparison) -> str:
    on_one_side = comparison.count([Verdict.ONLY_IN_BASELINE, Verdict.ONLY_IN_CURRENT])
    several_hosts = on_one_side > 0 or len(comparison.canaries) > 1
    header = [
        *("Model", "Batch size", "Device"),
        *(["Host"] if several_hosts else []),
        *("Verdict", "Now / before", "Seconds an epoch now", "before", "Runs now / before", "Flags"),
    ]
    rows = [
        [
            *(literal(str(cell[column])) for column in ("model", "batch_size", "device")),
            *([" / ".join(dict.fromkeys(literal(host) for _, host in _told(cell, "host")))] if several_hosts else []),
            cell["verdict"],
            _ratio_text(ratio_in(cell, "ratio")),
            *(_seconds_text(cell.get(f"{side}train_seconds_per_epoch")) for side in _SIDES),
            " / ".join(_runs_text(cell.get(f"{side}n", 0), cell.get(f"{side}runs", 0)) for side in _SIDES),
            literal("; ".join(f"{when}: {flags}" for when, flags in _told(cell, "flags"))),
        ]
        for cell in comparison.cells
    ]
    return table(header, rows)


def _told(cell: Row, fact: str) -> list[tuple[str, str]]:
    """What is known of each side, and when that was."""
    return [(when, cell[f"{side}{fact}"]) for side, when in _SIDES.items() if cell.get(f"{side}{fact}")]


def _ratio_text(found: Ratio) -> str:
    if found.value is None:
        return ""
    shown = f"{found.value:.3f}"
    return shown if found.low is None or found.high is None else f"{shown} ({found.low:.3f} to {found.high:.3f})"


def _seconds_text(seconds: float | None) -> str:
    return "" if seconds is None else format_number(seconds)


def _runs_text(n: int, runs: int) -> str:
    return str(n) if n == runs else f"{n} of {runs}"


def _how_to_read(comparison: Comparison) -> str:
    smallest = comparison.smallest_difference_percent
    compared = comparison.count(COMPARED)
    text = (
        "Seconds an epoch are the geometric mean over runs of the median over a run's steady epochs; the ratio's 95 % "
        f"interval is Welch's over runs. A cell is called slower or faster where the interval leaves out 1 and the "
        f"ratio differs from it by more than {smallest:g} %."
    )
    if compared:
        expected = compared * (1 - CONFIDENCE)
        text += (
            f" An interval misses the truth in 1 of 20 cases. So of {numbered(compared, 'compared cell')} up to "
            f"{expected:.2g} would be called on average although nothing changed (at most, because differences below "
            f"{smallest:g} % are never called). Runs of one sitting share the machine's state, which no interval "
            "shows: measure both sides again before acting on a single cell."
        )
    return text


def _differences_text(comparison: Comparison) -> str:
    lines = []
    timed = {hosts: found for hosts, found in comparison.canaries.items() if found is not None}
    for (current, baseline), found in timed.items():
        percent, said = 100 * (found.value - 1), outcome(found)
        if abs(percent) > CANARY_DIFFERENCE_PERCENT and (said.shown or said.seen_once):
            how, took = ("slower", "longer") if percent > 0 else ("faster", "less")
            than = "in the baseline" if current == baseline else f"on {literal(baseline)}"
            lines.append(
                f"The machine itself computed {how}: a fixed computation before each run took {abs(percent):.0f} % "
                f"{took} on {literal(current)} than {than}{' (single runs)' if said.seen_once else ''}."
            )
    if comparison.differences:
        rows = [[*map(literal, difference)] for difference in comparison.differences]
        lines.append(table(["", "Before", "Now"], rows))
    if lines:
        return "\n\n".join(lines)
    if not timed:
        return "Software and drivers are the same; no fixed computation was timed alike before the runs of both sets."
    return (
        "Software and drivers are the same, and a fixed computation before each run is not shown to have taken longer "
        f"or shorter by more than {CANARY_DIFFERENCE_PERCENT:g} %."
    )
