"""Writes baseline.md: what became slower or faster, how sure that is, and what else differs."""

from typing import Final

from trainbench.conclusions.baseline import COMPARED, CellComparison, Comparison, Side, Verdict
from trainbench.results.statistics import CONFIDENCE, Ratio, outcome
from trainbench.words.markdown import bullets, literal, table
from trainbench.words.wording import format_number, numbered

# The fixed computation before a run scatters by a few percent from run to run; its mean over runs by less.
CANARY_DIFFERENCE_PERCENT: Final = 5.0


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
        f"{' '.join(map(str, cell.cell))}: {cell.verdict}: {'; '.join(cell.reasons)}"
        for cell in comparison.cells
        if cell.reasons
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
    on_one_side = comparison.count([Verdict.ONLY_IN_BASELINE, Verdict.ONLY_IN_CURRENT])
    several_hosts = on_one_side > 0 or len(comparison.canaries) > 1
    header = [
        *("Model", "Batch size", "Device"),
        *(["Host"] if several_hosts else []),
        *("Verdict", "Now / before", "Seconds an epoch now", "before", "Runs now / before", "Flags"),
    ]
    rows = [
        [
            *(literal(str(part)) for part in cell.cell),
            *([_hosts(cell)] if several_hosts else []),
            cell.verdict,
            _ratio_text(cell.ratio),
            _seconds_text(cell.current),
            _seconds_text(cell.baseline),
            f"{_runs_text(cell.current)} / {_runs_text(cell.baseline)}",
            literal(_flags_text(cell)),
        ]
        for cell in comparison.cells
    ]
    return table(header, rows)


def _hosts(compared: CellComparison) -> str:
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
    sides = (("now", compared.current), ("before", compared.baseline))
    return "; ".join(f"{when}: {side.flags}" for when, side in sides if side is not None and side.flags)


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
        rows = [[literal(text) for text in (one.name, one.baseline, one.current)] for one in comparison.differences]
        lines.append(table(["", "Before", "Now"], rows))
    return "\n\n".join(lines) or (
        "Software and drivers are the same, and a fixed computation before each run is not shown to have taken longer "
        f"or shorter by more than {CANARY_DIFFERENCE_PERCENT:g} %."
    )
