"""Says which runs of a study have results by now, why the others have none, and which ran out of memory.

Standard library only: the script of a run imports it.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from trainbench.files import fingerprint
from trainbench.plan.study import Run
from trainbench.rules import RESULTS, metrics_file

if TYPE_CHECKING:
    from trainbench.rules.call import Call

FAILURE_MARK: Final = "trainbench: "
"""How the last line of a failed run's log begins."""

State = Literal["there", "missing", "failed", "outdated"]


@cache
def states(call: "Call") -> dict[Run, State]:
    """The state of every run of the study.

    "there" has a metrics file, whatever it says; "outdated" has one that was measured with other settings than the
    study's; "failed" has none, and a log that ends with why; "missing" is anything else: not begun, under way or broken
    off.
    """
    return {run: _state(run, call.settings(run)) for run in call.study.runs()}


def _state(run: Run, settings: dict[str, Any]) -> State:
    metrics = read(metrics_file(run))
    if metrics is None:
        return "failed" if last_words(RESULTS / run.folder / "train.log") is not None else "missing"
    # Of a broken one whoever reads it says what is wrong with it.
    return "there" if metrics.get("settings", settings) == settings else "outdated"


def contents(call: "Call") -> dict[str, str]:
    """The metrics files that are there, with fingerprints of their contents."""
    paths = [metrics_file(run) for run, state in states(call).items() if state == "there"]
    return {str(path): fingerprint.of_files([path]) for path in paths}


def absent(call: "Call") -> list[dict[str, Any]]:
    """The runs that have no results, or none with the settings of the study."""
    return [
        {**asdict(run), "device_kind": call.study.device(run.device).kind, "status": state}
        for run, state in states(call).items()
        if state != "there"
    ]


def changes(call: "Call", runs: Iterable[Run], results: Path) -> dict[Run, tuple[str, ...]]:
    """Of each of these runs that has a metrics file measured with other settings: which, as `epochs: 10 -> 3`."""
    found = {}
    for run in runs:
        before, now = (read(metrics_file(run, results)) or {}).get("settings"), call.settings(run)
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


def out_of_memory(call: "Call") -> list[str]:
    """The metrics files of the study's runs that ended because memory ran out.

    Other failures leave no metrics file, so any call carries them out again.
    """
    return [str(path) for path in map(metrics_file, call.study.runs()) if status(path) == "out_of_memory"]


def status(path: Path) -> object:
    """The status in a metrics file, or None where it tells none."""
    return (read(path) or {}).get("status")


def read(path: Path) -> dict[str, Any] | None:
    """What a metrics file says: None where there is none, nothing where it is broken."""
    try:
        metrics = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError):
        return {}
    return metrics if isinstance(metrics, dict) else {}


def last_words(log: Path) -> str | None:
    """What a log ends with, where that says why what it tells of has failed."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    return lines[-1] if lines and lines[-1].startswith(FAILURE_MARK) else None
