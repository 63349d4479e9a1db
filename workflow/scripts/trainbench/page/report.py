"""Makes the page that people open: results/report.html, one file, from the tables and figures alone."""

import base64
import hashlib
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import jinja2
import pandas as pd
from markupsafe import Markup

from trainbench import __version__
from trainbench.conclusions.accuracy_times import ACCURACY_TIME_COLUMNS
from trainbench.conclusions.comparison import Compared, answers_of, figure_text, hardware_of
from trainbench.conclusions.costs import COST_COLUMNS
from trainbench.conclusions.frameworks import FRAMEWORK_COLUMNS
from trainbench.conclusions.headlines import FRAMEWORKS_HEADING, SECONDS, answers
from trainbench.conclusions.hosts import HOST_COLUMNS
from trainbench.conclusions.roofline import ROOFLINE_COLUMNS
from trainbench.conclusions.scaling_tables import (
    CORE_EQUIVALENT_COLUMNS,
    GPU_SCALING_COLUMNS,
    SCALING_COLUMNS,
    SCALING_FIT_COLUMNS,
)
from trainbench.conclusions.speedups import CROSSOVER_COLUMNS, SPEEDUP_COLUMNS
from trainbench.figures.drawing import COLORS
from trainbench.files import whole_file
from trainbench.page import inline_svg, page_tables
from trainbench.page.page_tables import Device, Table
from trainbench.page.repository import Commit
from trainbench.results.settings_table import LEFT_OUT, PUBLISHED, SETTING_COLUMNS, SOFTWARE, STUDY
from trainbench.results.tables import (
    CELL_COLUMNS,
    CHECK_COLUMNS,
    EPOCH_COLUMNS,
    RUN_COLUMNS,
    TableOrder,
    batch_sizes_of,
    executors_of,
    models_of,
    ranked,
    read_csv,
    rows_of,
)
from trainbench.words.wording import TIMES, format_number, framework_words

TEMPLATES: Final = Path(__file__).parent

COLUMNS: Final[Mapping[str, Mapping[str, str]]] = {
    "runs": RUN_COLUMNS,
    "epochs": EPOCH_COLUMNS,
    "checks": CHECK_COLUMNS,
    "cells": CELL_COLUMNS,
    "hosts": HOST_COLUMNS,
    "speedups": SPEEDUP_COLUMNS,
    "crossovers": CROSSOVER_COLUMNS,
    "accuracy_times": ACCURACY_TIME_COLUMNS,
    "costs": COST_COLUMNS,
    "scaling": SCALING_COLUMNS,
    "scaling_fits": SCALING_FIT_COLUMNS,
    "core_equivalents": CORE_EQUIVALENT_COLUMNS,
    "gpu_scaling": GPU_SCALING_COLUMNS,
    "roofline": ROOFLINE_COLUMNS,
    "frameworks": FRAMEWORK_COLUMNS,
    "settings": SETTING_COLUMNS,
}
"""The tables that the page is made of, and the types of their columns."""

# The same hues as on paper, bright enough on a dark ground.
DARK_COLORS: Final = ("#4aa3e8", "#ff8f4a", "#2fc79c", "#e6a3c9", "#f5bd4f", "#9bd8ff", "#e7eaed", "#a9a9a9")

# A figure of more elements makes a page heavy; as PNG it is none, and beyond that only its name is on the page.
MOST_FIGURE_BYTES: Final = 2_000_000
MOST_INLINE_CHARACTERS: Final = 900_000
MOST_PNG_BYTES: Final = 900_000
MOST_VERDICTS: Final = 24
FEW_VERDICTS: Final = 6
FEW_GROUPS: Final = 12
WIDE_FROM: Final = 3
# A table of more rows scrolls in a box of its own.
LIMITED_FROM: Final = 20
MOST_NAMED: Final = 3
MOST_LISTED: Final = 6

SIGNS: Final[Mapping[str, tuple[str, str]]] = {
    "faster": ("\N{BLACK UP-POINTING TRIANGLE}", "faster"),
    "slower": ("\N{BLACK DOWN-POINTING TRIANGLE}", "slower"),
    "undecided": ("\N{ALMOST EQUAL TO}", "no difference shown"),
}


_TURNING_MARKS: Final = dict.fromkeys((*range(0x202A, 0x202F), *range(0x2066, 0x206A)), "\N{REPLACEMENT CHARACTER}")


@dataclass(frozen=True)
class Repetition:
    """What it takes to repeat a study.

    `configuration` is the whole config as YAML, `code_sha256` the fingerprints of the training code as it is now, one
    for each framework, `commit` that of the repository, None where it is not known.
    """

    configuration: str
    code_sha256: Sequence[str]
    commit: Commit | None


@dataclass(frozen=True)
class Drawn:
    """A figure as the page has it: inline, or as PNG in base64, or too large for either.

    `heading` and `note` stand above an inline one, which has them no more itself: as text they wrap on a narrow screen.
    """

    title: str
    caption: str
    description: str
    heading: str = ""
    note: str = ""
    svg: Markup | None = None
    png: str | None = None


# What each figure shows, and what a reader makes of it.
FIGURE_WORDS: Final[Mapping[str, tuple[str, str]]] = {
    "seconds_per_epoch": (
        "Seconds to train one epoch",
        "How long one pass over the training images takes. The numbers with their intervals are in the tables below.",
    ),
    "speedup": (
        "Speedup over batch sizes",
        "A line that rises with the batch size, by more than its intervals, belongs to a device that larger batches "
        "keep busier than its reference.",
    ),
    "accuracy_over_time": (
        "Accuracy over training time",
        "Whichever line is the highest above a point in time had learnt most by then; how far the runs of one device "
        "lie apart, where there are several, says how much of that is chance.",
    ),
    "accuracy_over_epochs": (
        "Accuracy after each epoch",
        "The lines of a panel should lie together: every device trains the same network on the same images.",
    ),
    "scaling": (
        "Throughput over threads",
        "Where the curve bends down, threads wait for each other; where it falls, more of them make training slower.",
    ),
    "gpu_scaling": (
        "Throughput over GPUs",
        "On the dashed line twice the GPUs train twice as fast. What lies below it is the price of sharing each batch "
        "out and adding the gradients up again.",
    ),
    "roofline": (
        "Roofline",
        "A marker near its line uses the device fully. Far below it the time goes into starting many small operations, "
        "where larger batches help more than a faster device, or to other programs (hollow, \N{DAGGER} in the table).",
    ),
    "cpu_percent": (
        "CPU use while training",
        "Near the line of all threads every core is busy; far below it most of them wait, or other programs have them "
        "(hollow).",
    ),
}
_PLACED: Final = frozenset(FIGURE_WORDS)


def read_tables(folder: Path) -> dict[str, pd.DataFrame]:
    """The tables that the page is made of, by name."""
    return {name: read_csv(folder / f"{name}.csv", columns) for name, columns in COLUMNS.items()}


def write_page(
    tables_folder: Path,
    figures: Sequence[Path],
    order: TableOrder,
    repetition: Repetition,
    page: Path,
    *,
    timelines: Sequence[Path] = (),
) -> None:
    """Write the page of a study.

    Args:
        tables_folder: Where the tables are.
        figures: The figures to show, SVG; beside each lies a PNG of the same name.
        order: In which order models, batch sizes and devices are shown.
        repetition: What it takes to repeat the study.
        page: The file to write.
        timelines: The timelines of single runs, SVG, to show folded up.

    Raises:
        InputError: a figure is not SVG.
    """
    tables = read_tables(tables_folder)
    # Hosts stand in the order of their table: those of the study before those of sources.
    shown_order = replace(order, hosts=tuple(tables["hosts"]["host"].tolist()))
    drawn = {path.stem: _drawn(path, tables["cells"], shown_order) for path in figures}
    over_time = {
        path.stem: _fitting(path, *inline_svg.words(inline_svg.read(path)))
        for path in _in_order_of_runs(timelines, tables["runs"])
    }
    whole_file.write(_rendered(tables, drawn, over_time, shown_order, repetition), page)


def _rendered(
    tables: Mapping[str, pd.DataFrame],
    drawn: Mapping[str, Drawn],
    over_time: Mapping[str, Drawn],
    order: TableOrder,
    repetition: Repetition,
) -> str:
    runs, cells, settings = tables["runs"], tables["cells"], tables["settings"]
    compared = Compared(
        cells=tables["cells"],
        checks=tables["checks"],
        speedups=tables["speedups"],
        crossovers=tables["crossovers"],
        accuracy_times=tables["accuracy_times"],
        costs=tables["costs"],
        scaling_fits=tables["scaling_fits"],
        core_equivalents=tables["core_equivalents"],
    )
    executors = executors_of(cells, order)
    several = len(executors) > 1
    # As in figures: a device has one colour on all hosts.
    devices = list(dict.fromkeys(executor.device for executor in executors))
    colors = {executor.label: devices.index(executor.device) % len(COLORS) for executor in executors}
    groups, more_groups = page_tables.comparison_groups(compared, order)
    verdicts = answers_of(compared, executors)
    shown: dict[str, Table | None] = {
        "glance": page_tables.glance(compared, order),
        "speedups": page_tables.speedup_matrix(compared.speedups, cells, order),
        "cells": page_tables.cells_list(cells),
        "accuracy_times": page_tables.accuracy_times_list(compared.accuracy_times),
        "costs": page_tables.costs_list(compared.costs),
        "scaling": page_tables.scaling_list(tables["scaling"], tables["scaling_fits"]),
        "best_threads": page_tables.best_threads_list(tables["scaling_fits"]),
        "core_equivalents": page_tables.core_equivalents_list(compared.core_equivalents),
        "gpu_scaling": page_tables.gpu_scaling_list(tables["gpu_scaling"]),
        "roofline": page_tables.roofline_list(tables["roofline"]),
        "frameworks": page_tables.frameworks_list(tables["frameworks"]),
        "hosts": page_tables.hosts_side_by_side(tables["hosts"]),
        "flags": page_tables.flags_summary(runs, compared.checks),
        "flagged_runs": page_tables.flagged_runs_list(compared.checks),
        "unfinished": page_tables.unfinished_list(runs),
        "settings": page_tables.settings_list(settings),
    }
    style = Markup(_style())  # noqa: S704 - our own files
    script = Markup((TEMPLATES / "report.js").read_text(encoding="utf-8"))  # noqa: S704 - our own file
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_in_order,
        trim_blocks=True,
    )
    return environment.get_template("report.html.j2").render(
        policy=_policy(style, script),
        style=style,
        script=script,
        version=__version__,
        title=_title(cells, order),
        kicker=_kicker(runs, tables["hosts"]),
        answers=answers(
            runs,
            cells,
            compared.speedups,
            order,
            frameworks=tables["frameworks"],
            gpu_scaling=tables["gpu_scaling"],
        ),
        frameworks_heading=FRAMEWORKS_HEADING,
        unsaid=_unsaid(cells),
        contents=_contents(shown, several),
        several_devices=several,
        tables=shown,
        drawn={**over_time, **drawn},
        timelines=list(over_time),
        other_figures=[name for name in drawn if name not in _PLACED],
        devices=_devices(cells, order, colors),
        more_devices=max(0, len(executors) - page_tables.MOST_EXECUTORS),
        colors=colors,
        signs=SIGNS,
        limited_from=LIMITED_FROM,
        times=TIMES,
        verdicts=verdicts[:MOST_VERDICTS],
        more_verdicts=max(0, len(verdicts) - MOST_VERDICTS),
        groups_of_models=_by_model(groups),
        wide=len(executors) > WIDE_FROM,
        few_verdicts=len(verdicts) <= FEW_VERDICTS,
        few_groups=len(groups) + more_groups <= FEW_GROUPS,
        more_groups=more_groups,
        first_epoch_only=bool(cells["first_epoch_only"].fillna(value=False).any()),
        published=_told(settings, PUBLISHED),
        left_out=[text for _, text in _told(settings, LEFT_OUT)],
        monitor_interval=_only(settings, STUDY, "monitor_interval_seconds"),
        example=_example(runs, tables["epochs"], cells),
        code_sentence=_code_sentence(settings, repetition),
        command=_command(repetition),
        configuration=repetition.configuration,
        commit=repetition.commit,
    )


def _in_order(value: object) -> object:
    """A text without the marks that turn what follows them round: a name could make a sentence say its reverse."""
    return value if isinstance(value, Markup) or not isinstance(value, str) else value.translate(_TURNING_MARKS)


def _policy(style: str, script: str) -> str:
    """The Content-Security-Policy: nothing is loaded, and no style or script runs but the page's own two."""
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script)]
    return (
        f"default-src 'none'; style-src 'sha256-{hashes[0]}'; script-src 'sha256-{hashes[1]}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _style() -> str:
    """The style sheet, with the colours of devices: in chips and, whatever the scheme, in figures."""
    variables, dark = (
        "".join(f"--device-{index}:{color};" for index, color in enumerate(colors)) for colors in (COLORS, DARK_COLORS)
    )
    rules = [f":root{{{variables}}}", f"@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}"]
    for index, color in enumerate(COLORS):
        value = f"var(--device-{index})"
        rules.append(f".chip.d{index}{{background:{value}}}")
        rules += [f'[{paint}="{color.lower()}"]{{{paint}:{value}}}' for paint in ("fill", "stroke")]
    return (TEMPLATES / "report.css").read_text(encoding="utf-8") + "\n".join(rules) + "\n"


def _title(cells: pd.DataFrame, order: TableOrder) -> str:
    """What was compared, as in "conv and lstm on cpu and gpu"."""
    models = models_of(cells, order)
    devices = list(dict.fromkeys(executor.device for executor in executors_of(cells, order)))
    return f"{_some(models, 'models')} on {_some(devices, 'devices')}"


def _some(names: Sequence[str], what: str) -> str:
    if len(names) > MOST_NAMED:
        return f"{len(names)} {what}"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _kicker(runs: pd.DataFrame, hosts: pd.DataFrame) -> str:
    days = sorted(text[:10] for text in runs["started_at"].dropna())
    when = [] if not days else [days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}"]
    parts = [
        "trainbench",
        *when,
        f"{len(hosts)} {'host' if len(hosts) == 1 else 'hosts'}",
        f"{len(runs)} {'run' if len(runs) == 1 else 'runs'}",
    ]
    return " \N{MIDDLE DOT} ".join(parts)


def _unsaid(cells: pd.DataFrame) -> str:
    """What the numbers say nothing about: what was not measured."""
    frameworks = ranked((framework_words(name) for name in cells["framework"].dropna()), ())
    others = f"other frameworks than {_some(frameworks, 'these')}" if frameworks else "frameworks"
    if (cells["gpus"] > 1).any():
        return f"anything about large networks or {others}"
    return f"anything about large networks, {others} or several GPUs a run"


def _contents(shown: Mapping[str, Table | None], several_devices: bool) -> list[tuple[str, str]]:
    sections = (
        ("devices", "Which device" if several_devices else "The device", True),
        ("speedups", "Speedups", shown["speedups"] is not None),
        ("frameworks", "Frameworks, precisions", shown["frameworks"] is not None),
        ("comparison", "Every model and batch size", True),
        ("accuracy", "Accuracy", True),
        ("cost", "Energy and cost", shown["costs"] is not None),
        ("scaling", "CPU scaling", shown["scaling"] is not None),
        ("gpus", "Several GPUs", shown["gpu_scaling"] is not None),
        ("use", "How well used", True),
        ("machines", "The machines", True),
        ("flagged", "Flagged runs", True),
        ("method", "How it was measured", True),
        ("again", "Settings and repeating", True),
    )
    return [(name, text) for name, text, there in sections if there]


def _devices(cells: pd.DataFrame, order: TableOrder, colors: Mapping[str, int]) -> list[Device]:
    hardware: dict[tuple[str, str], dict[str, None]] = {}
    for cell in rows_of(cells):
        found = hardware_of(cell)
        if found is not None:
            hardware.setdefault((cell["device"], cell["host"]), {})[found] = None
    return [
        Device(
            executor.label,
            colors[executor.label],
            ", ".join(filter(None, (" / ".join(hardware.get((executor.device, executor.host), ())), executor.detail))),
        )
        for executor in executors_of(cells, order)[: page_tables.MOST_EXECUTORS]
    ]


def _by_model(groups: Iterable[page_tables.Group]) -> list[tuple[str, list[page_tables.Group]]]:
    of_models: dict[str, list[page_tables.Group]] = {}
    for group in groups:
        of_models.setdefault(group.model, []).append(group)
    return list(of_models.items())


def _drawn(path: Path, cells: pd.DataFrame, order: TableOrder) -> Drawn:
    """A figure of the whole study for the page."""
    title, caption = FIGURE_WORDS.get(path.stem, (path.stem.replace("_", " ").capitalize(),) * 2)
    return _fitting(path, title, _description(title, cells, order), caption)


def _in_order_of_runs(timelines: Iterable[Path], runs: pd.DataFrame) -> list[Path]:
    """Timelines in the order of the table of runs, in which everything else on the page stands: model by model."""
    names = runs[["model", "batch_size", "device", "repeat"]].astype(str).agg("_".join, axis="columns")
    places = {name: place for place, name in reversed(list(enumerate(names.tolist())))}
    return sorted(timelines, key=lambda path: places.get(path.stem, len(places)))


def _fitting(path: Path, title: str, description: str, caption: str = "") -> Drawn:
    """A figure with its words, in the best shape that it is not too large for."""
    found = Drawn(title, caption, description)
    if path.stat().st_size <= MOST_FIGURE_BYTES:
        root = inline_svg.read(path)
        heading, note = inline_svg.lift_header(root)
        svg = inline_svg.inline(root, path.stem, found.title, found.description)
        if len(svg) <= MOST_INLINE_CHARACTERS:
            return replace(found, svg=svg, heading=heading, note=note)
    png = path.with_suffix(".png")
    if png.exists() and png.stat().st_size <= MOST_PNG_BYTES:
        return replace(found, png=base64.b64encode(png.read_bytes()).decode())
    return found


def _description(title: str, cells: pd.DataFrame, order: TableOrder) -> str:
    """What a figure shows, for those who do not see it."""
    devices = [executor.label for executor in executors_of(cells, order)]
    sizes = [str(size) for size in batch_sizes_of(cells, order)]
    return (
        f"{title}, for {_some(models_of(cells, order), 'models')}, "
        f"{'batch size' if len(sizes) == 1 else 'batch sizes'} {_some(sizes, 'of them')}, {_some(devices, 'devices')}. "
        "The numbers are in the tables of this page."
    )


def _told(settings: pd.DataFrame, part: str) -> list[tuple[str, str]]:
    return [(row["of"] or "", row["value"]) for row in rows_of(settings) if row["part"] == part]


def _only(settings: pd.DataFrame, part: str, name: str) -> str | None:
    """The value of a setting that all runs share."""
    values = {row["value"] for row in rows_of(settings) if (row["part"], row["name"]) == (part, name)}
    return values.pop() if len(values) == 1 else None


def _example(runs: pd.DataFrame, epochs: pd.DataFrame, cells: pd.DataFrame) -> str | None:
    """How one cell's seconds an epoch follow from the epochs, with its own numbers; None where no cell shows it."""
    whole = runs[(runs["steady_epochs"] == runs["epochs"] - 1) & (runs["steady_epochs"] > 0)]
    counts = whole.groupby("run_id", sort=False).size()
    complete = [
        cell
        for cell in rows_of(cells)
        if cell["n"] > 1 and not cell["first_epoch_only"] and cell["train_seconds_per_epoch"] is not None
    ]
    for cell in complete:
        of_cell = runs
        for column in ("model", "batch_size", "device", "host"):
            of_cell = of_cell[of_cell[column] == cell[column]]
        of_cell = of_cell[of_cell["train_seconds_per_epoch"].notna()]
        first = of_cell.iloc[0]
        traced = epochs.loc[epochs["run_id"] == first["run_id"], "train_seconds"].tolist()
        if first["run_id"] not in counts.index or len(traced) != first["epochs"]:
            continue
        figures = [format_number(seconds) for seconds in of_cell["train_seconds_per_epoch"].tolist()]
        seconds = _few([format_number(value) for value in traced])
        return (
            f"{cell['model']} at batch size {cell['batch_size']} on {cell['device']}, host {cell['host']}. "
            f"In epochs.csv the {len(traced)} epochs of run {first['repeat']} took {seconds} s; without the "
            f"first the median is {figures[0]} s, its train_seconds_per_epoch in runs.csv. The {len(figures)} runs of "
            f"the cell have {_few(figures)} s, whose geometric mean is "
            f"{figure_text(cell, SECONDS).partition(' ')[0]} s: the number in cells.csv and on this page."
        )
    return None


def _few(texts: Sequence[str]) -> str:
    """Texts in a row, those beyond the first few as an ellipsis."""
    shown = texts if len(texts) <= MOST_LISTED else [*texts[: MOST_LISTED - 1], "\N{HORIZONTAL ELLIPSIS}"]
    return ", ".join(shown)


def _code_sentence(settings: pd.DataFrame, repetition: Repetition) -> str:
    """Which code measured, and how that is known."""
    found = {row["value"] for row in rows_of(settings) if (row["part"], row["name"]) == (SOFTWARE, "code_sha256")}
    commit = repetition.commit
    here = (
        "The commit of the code that made this page is not known (no git repository)."
        if commit is None
        else f"This page was made at commit {commit.sha}{' with uncommitted changes' if commit.changed else ''}."
    )
    shown, now = (", ".join(sorted(sha[:12] for sha in hashes)) for hashes in (found, repetition.code_sha256))
    if not found:
        measured = "Which training code measured is not known."
    elif found <= set(repetition.code_sha256):
        measured = (
            f"All runs were measured by exactly this training code: each metrics file has its fingerprint ({shown})."
        )
    else:
        measured = (
            f"Runs were measured by other training code than this one: the fingerprints are {shown}, here it is {now}."
        )
    return f"{here} {measured}"


def _command(repetition: Repetition) -> str:
    commit = repetition.commit
    clone = [] if commit is None or commit.origin is None else [f"git clone {shlex.quote(commit.origin)} trainbench"]
    lines = [
        *([*clone, "cd trainbench"] if clone else []),
        *([f"git checkout {commit.sha}"] if commit is not None else []),
        "make setup",
        ".venv/bin/snakemake --cores all --configfile study.yaml",
    ]
    return "\n".join(lines)
