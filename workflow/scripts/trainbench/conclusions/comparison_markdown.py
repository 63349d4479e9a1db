"""Writes comparison.md: the answers, devices side by side, what was flagged, and how to read it."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import pandas as pd

from trainbench.conclusions.cell_texts import best_threads_text, hardware_of, ratio_text
from trainbench.conclusions.comparison import COMPUTED_WITH, MEASURES, group_rows, shown_of
from trainbench.conclusions.crossover_answers import answers_of
from trainbench.results.columns import grouped
from trainbench.results.executors import Executor, executors_of
from trainbench.results.runs_table import FLAG_LEVELS
from trainbench.results.tables import TableOrder, groups_of, rows_of
from trainbench.words.markdown import bullets, literal, table
from trainbench.words.wording import FLAGGED, UNKNOWN

FLAGGED_HEADING: Final = "Flagged runs"


def comparison_markdown(
    tables: Mapping[str, pd.DataFrame], order: TableOrder, headlines: Sequence[str] = (), caveats: Sequence[str] = ()
) -> str:
    """The comparison to be read: the answers, a table for each model and batch size as in 2017, how to read them.

    `headlines` are the sentences to begin with, `caveats` what limits them, as on the page.
    Figures that vary by factors (times, rates, energies) are geometric means over runs with their 95 % interval in
    brackets; percentages are means followed by ± and the standard deviation. Speeds of cells with flagged runs are
    marked; the lines after the tables say what was found and what to do.
    """
    cells = tables["cells"]
    executors = executors_of(cells, order)
    parts = ["# Comparison of devices" if len(executors) > 1 else "# Results"]
    if headlines:
        parts.append(bullets(headlines))
    if caveats:
        parts += ["What limits these answers:", bullets(caveats)]
    answers = [f"- **{literal(model)}**: {literal(answer)}" for model, answer in answers_of(tables, executors)]
    if answers:
        parts += ["## From which batch size on", "\n".join(answers)]
    shown = shown_of(tables)
    labels = [literal(executor.label) for executor in executors]
    for model, batch_size in groups_of(cells, order):
        keys = [(model, batch_size, *executor.key) for executor in executors]
        rows = [[literal(name), *texts] for name, *texts in group_rows(shown, keys)]
        text = table(["", *labels], rows, ["left", *("right" for _ in executors)])
        parts += [f"## {literal(model)}, batch size {batch_size}", text]
    several_hosts = len({executor.host for executor in executors}) > 1
    for title, section in (
        ("CPU by its number of threads", _best_threads(tables["scaling_fits"], several_hosts)),
        ("How many cores match a GPU", _equivalents(tables["core_equivalents"], several_hosts)),
    ):
        if section is not None:
            parts += [f"## {title}", section]
    found = _flag_lines(cells, len(executors) > 1, tables["checks"])
    if found:
        parts += [f"## {FLAGGED_HEADING}", bullets(found)]
    parts += ["## How to read this", *_legend(cells, executors)]
    return "\n\n".join(parts) + "\n"


def _equivalents(core_equivalents: pd.DataFrame, several_hosts: bool) -> str | None:
    """How many cores match each GPU, or None where no GPU was measured beside a CPU of several numbers of threads."""
    rows = []
    for row in rows_of(core_equivalents):
        place = f"{row['device']} @ {row['host']}" if several_hosts else row["device"]
        rows.append([literal(str(text)) for text in (row["model"], row["batch_size"], place, row["verdict"])])
    return table(["model", "batch size", "GPU", "its equal"], rows) if rows else None


def _best_threads(fits: pd.DataFrame, several_hosts: bool) -> str | None:
    """The number of threads with the best mean beside all threads, or None where only one number was measured."""
    told: dict[str, Callable[[str], str]] = {"host": str} if several_hosts else {}
    told |= {column: words for column, words in COMPUTED_WITH.items() if fits[column].nunique() > 1}
    rows = [
        [
            literal(row["model"]),
            str(row["batch_size"]),
            *(literal(words(row[column] or UNKNOWN)) for column, words in told.items()),
            best_threads_text(row),
            UNKNOWN if row["all_threads"] is None else str(row["all_threads"]),
            ratio_text(row, "best_over_all_threads"),
        ]
        for row in rows_of(fits)
    ]
    header = ["model", "batch size", *told, "best threads", "all threads", "best over all"]
    return table(header, rows) if rows else None


def _flag_lines(cells: pd.DataFrame, several_executors: bool, checks: pd.DataFrame) -> list[str]:
    """A line a flag: in how many runs, of which cells, and what to do."""
    # A check gives one advice, whatever it found.
    advice = {row["name"]: row["advice"] for row in rows_of(checks) if row["level"] in FLAG_LEVELS}
    rows = [cell for cell in rows_of(cells) if cell["n"]]
    several_hosts = len({cell["host"] for cell in rows}) > 1
    places: dict[str, Counter[str]] = {}
    for cell in rows:
        place = f"{cell['model']} {cell['batch_size']}" + (f" {cell['device']}" if several_executors else "")
        place += f" @ {cell['host']}" if several_hosts else ""
        for flag in cell["flags"].split():
            name, _, count = flag.rpartition(":")
            places.setdefault(name, Counter())[place] += int(count)
    runs = sum(cell["n"] for cell in rows)
    lines = []
    for name, counts in places.items():
        where = "all cells" if len(counts) == len(rows) else ", ".join(counts)
        line = f"{FLAGGED} {name}: {counts.total()} of {runs} runs ({where})"
        lines.append(f"{line}: {advice[name]}" if name in advice else line)
    return lines


def _legend(cells: pd.DataFrame, executors: Sequence[Executor]) -> list[str]:
    """What a reader must know: what the numbers are and which hardware they come from."""
    paragraphs = [
        f"{'Each column is a device. ' if len(executors) > 1 else ''}Times, rates, energies and ratios are geometric "
        "means over the runs of a cell with their 95 % interval in brackets, which takes two runs; percentages and "
        "sizes are means ± their standard deviation. The speed of a run is that of training alone, evaluation left "
        "out: the median over its steady epochs, which are all but the first. CPU and GPU use are means over the "
        f"training time of these epochs; 100 % is one core busy. {UNKNOWN} is unknown or not measured."
    ]
    if any(cells[measure.column].notna().any() for measure in MEASURES if measure.only_if_known):
        paragraphs.append(
            "GPU memory is the most that all processes together used of the card. GPU power and energy are the card's "
            "alone, not the machine's; a run on several cards has their sum."
        )
    if cells["first_epoch_only"].any():
        paragraphs.append(
            "\\* Runs of a single epoch have no steady one: their speed is that of the first epoch, "
            "which can be slower."
        )
    if cells["flagged_runs"].any():
        paragraphs.append(
            f'{FLAGGED} Something may have disturbed runs of this cell: "{FLAGGED_HEADING}" says what, and what '
            "to do. checks.csv has every finding."
        )
    return [*paragraphs, *_host_lines(cells, executors)]


def _host_lines(cells: pd.DataFrame, executors: Sequence[Executor]) -> list[str]:
    rows = rows_of(cells)
    by_executor = grouped(rows, ("device", "host"))
    lines = []
    for host in dict.fromkeys(executor.host for executor in executors):
        devices = []
        for executor in (one for one in executors if one.host == host):
            hardware = " / ".join(_distinct(map(hardware_of, by_executor[executor.key]))) or "unknown"
            devices.append(", ".join(filter(None, (f"{executor.device} = {hardware}", executor.detail))))
        hostnames = _distinct(row["hostname"] for row in rows if row["host"] == host)
        lines.append(f"{host} ({', '.join(hostnames)}): {'; '.join(devices)}")
    return [f"Host {literal(lines[0])}"] if len(lines) == 1 else ["Hosts:", bullets(lines)]


def _distinct(texts: Iterable[str | None]) -> list[str]:
    """The different texts in order of appearance, unknown ones left out."""
    return list(dict.fromkeys(text for text in texts if text is not None))
