"""Says which runs of a study have results by now, why the others have none, and which ran out of memory.

Standard library only: rules import this module whenever Snakemake reads them.
"""

import json
from pathlib import Path
from typing import Any, Final, Literal

from trainbench.study import METRICS_NAME, Run, Study

LOG_NAME: Final = "train.log"
FAILURE_MARK: Final = "trainbench: "
"""How the last line of a failed run's log begins."""

State = Literal["there", "missing", "failed", "outdated"]


def states(study: Study, results: Path, dataset_files_sha256: str) -> dict[Run, State]:
    """The state of every run of the study.

    "there" has a metrics file, whatever it says; "outdated" has one that was measured with other settings than the
    study's; "failed" has none, and a log that ends with why; "missing" is anything else: not begun, under way or broken
    off.
    """
    return {run: _state(study, run, results / run.folder, dataset_files_sha256) for run in study.runs()}


def out_of_memory(study: Study, results: Path) -> list[Path]:
    """The metrics files of the study's runs that ended because memory ran out."""
    paths = [results / run.folder / METRICS_NAME for run in study.runs()]
    return [path for path in paths if status(path) == "out_of_memory"]


def status(path: Path) -> Any:  # noqa: ANN401 - whatever the file says
    """The status in a metrics file, or None where it tells none."""
    try:
        return json.loads(path.read_bytes())["status"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None


def last_words(log: Path) -> str | None:
    """What a log ends with, where that says why what it tells of has failed."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    return lines[-1] if lines and lines[-1].startswith(FAILURE_MARK) else None


def _state(study: Study, run: Run, folder: Path, dataset_files_sha256: str) -> State:
    try:
        metrics = json.loads((folder / METRICS_NAME).read_bytes())
        same = metrics["settings"] == study.settings(run, dataset_files_sha256)
    except FileNotFoundError:
        return "failed" if last_words(folder / LOG_NAME) is not None else "missing"
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return "there"  # whoever reads it says what is wrong with it
    return "there" if same else "outdated"
