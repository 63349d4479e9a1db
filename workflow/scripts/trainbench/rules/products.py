"""Names all that is made of a study's runs: tables, figures, timelines and the page, and which of them a study has."""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from trainbench.conclusions import table_files
from trainbench.figures import of_study
from trainbench.plan.study import Run, Study
from trainbench.rules import RESULTS, metrics_file

SO_FAR: Final = RESULTS / "so_far"
"""Where lies what is made of the runs that are there by now."""

RUN: Final = "results/runs/{model}/{batch_size}/{device}/{repeat}"
TIMELINE: Final = "results/figures/timelines/{model}_{batch_size}_{device}_{repeat}"
MOST_TIMELINES: Final = 24
"""Of so many runs at most a timeline is drawn unasked: half a minute, whatever the size of the study."""

COMPARED_TABLES: Final = {"csv": "results/tables/baseline.csv", "markdown": "results/tables/baseline.md"}


def metrics(runs: Iterable[Run]) -> list[str]:
    """The metrics files of these runs."""
    return [str(metrics_file(run)) for run in runs]


def tables(folder: Path = RESULTS) -> dict[str, str]:
    """The tables of a study, by name: `cells_csv`."""
    return {name.replace(".", "_"): f"{folder}/tables/{name}" for name in table_files.FILES}


def marks_of_table(repository: Path, name: str) -> dict[str, Any]:
    """How the report of Snakemake shows a table; empty where that has no caption: such are as large as the study."""
    table, _, extension = name.rpartition("_")
    if extension != "csv" or not (repository / "workflow" / "report" / f"{table}.rst").exists():
        return {}
    labels = {"table": table.replace("_", " ")}
    return {"caption": f"../report/{table}.rst", "category": "Tables", "labels": labels}


def page(folder: Path = RESULTS) -> str:
    """The page."""
    return f"{folder}/report.html"


def figures(study: Study, config: Mapping[str, Any], folder: Path = RESULTS) -> list[str]:
    """The figures of a study; a speedup takes two devices, a curve over threads or GPUs several numbers of them."""
    devices = study.selected_devices()
    several = {
        "speedup": len(devices) > 1,
        "scaling": len({device.threads for device in devices if device.kind == "cpu"}) > 1,
        "gpu_scaling": len({device.gpus for device in devices if device.kind == "gpu"}) > 1,
    }
    return pictures(
        f"{folder}/figures/{name}" for name in of_study.NAMES if several.get(name, True) or config["sources"]
    )


def pictures(stems: Iterable[str]) -> list[str]:
    """Both files of each picture."""
    return [f"{stem}.{extension}" for stem in stems for extension in ("svg", "png")]


def timeline(run: Run) -> str:
    """Where the timeline of a run is drawn, without the ending."""
    return TIMELINE.format(**asdict(run))


def timeline_runs(study: Study) -> list[Run]:
    """The runs whose timelines are drawn unasked: the first of each cell, and where cells are many, of each batch size
    in turn for all models and devices."""
    cells = itertools.product(study.batch_sizes, study.models, study.devices)
    return [Run(model, size, device, 1) for size, model, device in itertools.islice(cells, MOST_TIMELINES)]


def timelines(study: Study) -> list[str]:
    """The timelines that are drawn unasked."""
    return pictures(map(timeline, timeline_runs(study)))


def everything(study: Study, config: Mapping[str, Any], folder: Path = RESULTS) -> list[str]:
    """All that is made of a study's metrics files, or of those that are there so far."""
    of_runs = timelines(study) if folder == RESULTS else []
    return [*tables(folder).values(), *figures(study, config, folder), *of_runs, page(folder)]


def leftovers(study: Study, config: Mapping[str, Any], folder: Path) -> list[str]:
    """What an earlier study left and this one does not ask for: it would show what the tables no longer have."""
    made = set(everything(study, config, folder))
    compared = [f"{folder}/tables/{Path(path).name}" for path in COMPARED_TABLES.values()]
    drawn = sorted(pictures(f"{folder}/figures/{name}" for name in of_study.NAMES))
    return [path for path in drawn if path not in made] + (compared if config["baseline"] is None else [])


def leftover_timelines(study: Study) -> list[str]:
    """The timelines of other runs: nothing keeps them up to date."""
    found = {str(path) for path in Path(TIMELINE).parent.glob("*_*_*_*.*") if path.suffix in {".svg", ".png"}}
    return sorted(found.difference(timelines(study)))
