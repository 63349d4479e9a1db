"""Says which runs of a study have results by now, and why the others have none.

Standard library only: rules import this module whenever Snakemake reads them.
"""

import json
from pathlib import Path
from typing import Final, Literal

from trainbench.study import Run, Study

METRICS_NAME: Final = "metrics.json"
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


def _state(study: Study, run: Run, folder: Path, dataset_files_sha256: str) -> State:
    try:
        metrics = json.loads((folder / METRICS_NAME).read_bytes())
        same = metrics["settings"] == study.settings(run, dataset_files_sha256)
    except FileNotFoundError:
        return "failed" if _ends_with_failure(folder / LOG_NAME) else "missing"
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return "there"  # whoever reads it says what is wrong with it
    return "there" if same else "outdated"


def _ends_with_failure(log: Path) -> bool:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    return bool(lines) and lines[-1].startswith(FAILURE_MARK)
