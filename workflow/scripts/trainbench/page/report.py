"""Makes the page that people open: results/report.html, one file, from the tables and figures alone."""

import base64
import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import jinja2
import pandas as pd
from markupsafe import Markup

from trainbench import __version__
from trainbench.conclusions.cell_texts import hardware_of
from trainbench.conclusions.crossover_answers import answers_of
from trainbench.conclusions.headlines import answers
from trainbench.conclusions.pair_headlines import FRAMEWORKS_HEADING
from trainbench.figures.drawn_study import DrawnStudy
from trainbench.figures.looks import COLORS
from trainbench.files import whole_file
from trainbench.page import cell_tables, device_tables, drawn, run_tables
from trainbench.page.repetition import Repetition, code_sentence, example
from trainbench.page.table import Table
from trainbench.results.columns import grouped
from trainbench.results.settings_table import LEFT_OUT, PUBLISHED, STUDY
from trainbench.results.tables import TableOrder, groups_of, models_of, ranked
from trainbench.words.wording import few, framework_words, numbered

TEMPLATES: Final = Path(__file__).parent

# The same hues as on paper, bright enough on a dark ground.
DARK_COLORS: Final = ("#4aa3e8", "#ff8f4a", "#2fc79c", "#e6a3c9", "#f5bd4f", "#9bd8ff", "#e7eaed", "#a9a9a9")

_TURNING_MARKS: Final = dict.fromkeys((*range(0x202A, 0x202F), *range(0x2066, 0x206A)), "\N{REPLACEMENT CHARACTER}")


def write_page(
    tables_folder: Path,
    figures: Sequence[Path],
    order: TableOrder,
    repetition: Repetition,
    page: Path,
    *,
    timelines: Sequence[Path] = (),
) -> None:
    """Write the page of a study, with the timelines of single runs folded up.

    Figures and timelines are SVG, beside each of which lies a PNG of the same name.

    Raises:
        InputError: a figure is not SVG.
    """
    study = DrawnStudy.read(tables_folder, order)
    cells, executors = study.tables["cells"], study.executors
    of_study, of_runs = drawn.figures(figures, study), drawn.timelines(timelines, study)
    style, script = _style(), (TEMPLATES / "report.js").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_in_order,
        trim_blocks=True,
        extensions=["jinja2.ext.do"],
    )
    text = environment.get_template("report.html.j2").render(
        policy=_policy(style, script),
        style=Markup(style),  # noqa: S704 - our own files
        script=Markup(script),  # noqa: S704 - our own file
        version=__version__,
        title=_title(study),
        kicker=_kicker(study),
        answers=answers(study.tables, study.order),
        frameworks_heading=FRAMEWORKS_HEADING,
        unsaid=_unsaid(cells),
        several_devices=len(executors) > 1,
        tables=tables_of(study),
        drawn={**of_runs, **of_study},
        timelines=list(of_runs),
        other_figures=_unplaced(of_study),
        devices=_hardware(study),
        more_devices=max(0, len(executors) - cell_tables.MOST_EXECUTORS),
        colors={executor.label: COLORS.index(study.looks[executor.key].color) for executor in executors},
        verdicts=answers_of(study.tables, executors),
        comparisons=cell_tables.comparisons(study),
        all_groups=len(groups_of(cells, study.order)),
        most_groups=cell_tables.MOST_GROUPS,
        first_epoch_only=bool(cells["first_epoch_only"].fillna(value=False).any()),
        published=_told(study, PUBLISHED),
        left_out=_told(study, LEFT_OUT),
        monitor_intervals=set(_told(study, STUDY, "monitor_interval_seconds")),
        example=example(study),
        code_sentence=code_sentence(study, repetition),
        repetition=repetition,
    )
    whole_file.write(text, page)


def tables_of(study: DrawnStudy) -> dict[str, Table]:
    """All tables of the page, by their names with underscores, as the template calls them."""
    rooms = (device_tables, cell_tables, run_tables)
    tables = [make(study) for room in rooms for make in room.TABLES]
    return {table.name.replace("-", "_"): table for table in tables}


def _unplaced(figures: Iterable[str]) -> list[str]:
    """The figures that the template does not put anywhere."""
    template = (TEMPLATES / "report.html.j2").read_text(encoding="utf-8")
    placed = " ".join(re.findall(r"figures\(\[(.*?)\]\)", template))
    return [name for name in figures if f'"{name}"' not in placed]


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


def _title(study: DrawnStudy) -> str:
    """What was compared, as in "conv and lstm on cpu and gpu"."""
    models = models_of(study.tables["cells"], study.order)
    devices = list(dict.fromkeys(executor.device for executor in study.executors))
    return f"{few(models, f'{len(models)} models')} on {few(devices, f'{len(devices)} devices')}"


def _kicker(study: DrawnStudy) -> str:
    runs, hosts = study.tables["runs"], study.tables["hosts"]
    days = sorted(text[:10] for text in runs["started_at"].dropna())
    when = [] if not days else [days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}"]
    counts = [numbered(len(hosts), "host"), numbered(len(runs), "run")]
    return " \N{MIDDLE DOT} ".join(["trainbench", *when, *counts])


def _unsaid(cells: pd.DataFrame) -> str:
    """What the numbers say nothing about: what was not measured."""
    names = ranked((framework_words(name) for name in cells["framework"].dropna()), ())
    others = f"other frameworks than {few(names, f'{len(names)} these')}" if names else "frameworks"
    if (cells["gpus"] > 1).any():
        return f"anything about large networks or {others}"
    return f"anything about large networks, {others} or several GPUs a run"


def _hardware(study: DrawnStudy) -> list[tuple[str, str]]:
    """Each device with what it computes on, and where that differs with what framework and precision."""
    of_devices = grouped(study.rows("cells"), ("device", "host"))
    hardware = {key: dict.fromkeys(filter(None, map(hardware_of, cells))) for key, cells in of_devices.items()}
    return [
        (one.label, ", ".join(filter(None, (" / ".join(hardware[one.key]), one.detail))))
        for one in study.executors[: cell_tables.MOST_EXECUTORS]
    ]


def _told(study: DrawnStudy, part: str, name: str | None = None) -> list[str]:
    """The values of a part of the settings, or of one of its names."""
    return [row["value"] for row in study.rows("settings") if row["part"] == part and name in {None, row["name"]}]
