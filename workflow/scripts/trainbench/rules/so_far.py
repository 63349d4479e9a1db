"""Says which runs of a study have results by now, why the others have none, and which ran out of memory.

Standard library only: rules import this module whenever Snakemake reads them.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Literal

from trainbench.files import fingerprint
from trainbench.plan.study import METRICS_NAME, Run, Study

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


def contents(found: Mapping[Run, State], results: Path) -> dict[str, str]:
    """The metrics files that are there, with fingerprints of their contents."""
    paths = [results / run.folder / METRICS_NAME for run, state in found.items() if state == "there"]
    return {str(path): fingerprint.of_files([path]) for path in paths}


def absent(found: Mapping[Run, State], study: Study) -> list[dict[str, Any]]:
    """The runs that have no results, or none with the settings of the study."""
    return [
        {**asdict(run), "device_kind": study.device(run.device).kind, "status": state}
        for run, state in found.items()
        if state != "there"
    ]


def changes(study: Study, runs: Iterable[Run], results: Path, dataset_files_sha256: str) -> dict[Run, tuple[str, ...]]:
    """Of each of these runs that has a metrics file measured with other settings: which, as `epochs: 10 -> 3`."""
    found = {}
    for run in runs:
        try:
            before = json.loads((results / run.folder / METRICS_NAME).read_bytes())["settings"]
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            continue
        now = study.settings(run, dataset_files_sha256)
        if isinstance(before, dict) and before != now:
            found[run] = tuple(_changes(before, now))
    return found


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for key in {**now, **before}:
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _changes(old, new)
        elif key == "dataset_files_sha256" and old != new:
            yield "other data"
        elif old != new and key != "seed":  # each run's follows from the study's
            yield f"{key.removeprefix('study_')}: {_shown(old)} -> {_shown(new)}"


def _shown(value: object) -> str:
    return "none" if value is None else str(value)


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
