"""Looks after results that Snakemake has no record of, because it was killed or its records are lost.

Snakemake throws away the outputs of a job that it did not see end, and carries it out again. So the next call sets such
results aside while it plans, and the rule gives them back instead of training anew. Of outputs without a record it does
not know with which params they were made and takes them for up to date, so what they say is looked at here.

Standard library only: the script of a run imports it.
"""

import base64
import binascii
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from trainbench.plan.study import METRICS_NAME, Run
from trainbench.rules import RESULTS, SNAKEMAKE, metrics_file
from trainbench.rules.so_far import read

if TYPE_CHECKING:
    from trainbench.rules.call import Call

FOLDER_NAME: Final = ".unrecorded"  # whoever reads the results as a source of theirs passes it over
NAMES: Final = ("train.log", "samples.csv", METRICS_NAME)
"""A run's files, in the order in which they are set aside and given back: the one that counts comes last."""


def set_aside(call: "Call") -> None:
    """Set aside what runs of the study left that are still good but that Snakemake has marked as under way.

    To be called while no other Snakemake is at work there.
    """
    # Snakemake takes the marks of a run's outputs away one by one, and carries it out again for any that is left.
    marked = set(_runs(_outputs(SNAKEMAKE / "incomplete"))).intersection(call.study.runs())
    kept = RESULTS / FOLDER_NAME
    for run in marked:
        if _is_current(call, run):
            _copy(RESULTS / run.folder, kept / run.folder)
    # What is no longer marked was recorded since, or measured anew.
    for folder in set(kept.glob("runs/*/*/*/*")).difference(kept / run.folder for run in marked):
        shutil.rmtree(folder)


def give_back(run_folder: Path, settings: dict[str, Any], code_sha256: str) -> bool:
    """Put the files of a run back in their place, if they were set aside and say what this run would."""
    kept = RESULTS / FOLDER_NAME / run_folder.relative_to(RESULTS)
    whole = all((kept / name).exists() for name in NAMES)
    if not whole or not _says(kept / METRICS_NAME, settings, code_sha256):
        return False
    _copy(kept, run_folder)
    shutil.rmtree(kept, ignore_errors=True)
    return True


def outdated(call: "Call", made: Sequence[str]) -> list[str]:
    """What Snakemake has no record of and is outdated among the metrics files of the study, and all such files `made`.

    A run says what it was measured with, so it may be up to date all the same; the files `made` do not. Where Snakemake
    keeps its records is another place than usual, nothing is known of them.
    """
    known = _recorded(call)
    if known is None:
        return []
    return [*_outdated_runs(call), *(path for path in made if path not in known and Path(path).exists())]


@cache  # a study may have thousands of runs
def _recorded(_: "Call") -> frozenset[str] | None:
    metadata = SNAKEMAKE / "metadata"
    return frozenset(_outputs(metadata)) if metadata.is_dir() else None


@cache
def _outdated_runs(call: "Call") -> list[str]:
    known = _recorded(call) or frozenset()
    unknown = {path: run for run in call.study.runs() if (path := str(metrics_file(run))) not in known}
    return [path for path, run in unknown.items() if Path(path).exists() and not _is_current(call, run)]


def _is_current(call: "Call", run: Run) -> bool:
    return _says(metrics_file(run), call.settings(run), call.code(run))


def _says(path: Path, settings: dict[str, Any], code_sha256: str) -> bool:
    """Whether a metrics file is of a run with these settings and this code."""
    metrics = read(path) or {}
    software = metrics.get("software")
    known = software.get("code_sha256") if isinstance(software, dict) else None
    return (metrics.get("settings"), known) == (settings, code_sha256)


def _copy(source: Path, target: Path) -> None:
    """Copy a run's files so that the metrics file stands there only when all others do; times are kept."""
    target.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        temporary = target / f".{name}.tmp"
        with suppress(FileNotFoundError):
            shutil.copy2(source / name, temporary)
            temporary.replace(target / name)


def _outputs(folder: Path) -> Iterator[str]:
    """The outputs that have a file in a folder of Snakemake's: its path there is the output's in base64."""
    for path, _, names in os.walk(folder):
        # Names too long for one are split over folders whose names begin with @.
        begin = "".join(part.removeprefix("@") for part in Path(path).relative_to(folder).parts)
        for name in names:
            with suppress(binascii.Error, ValueError):
                yield base64.urlsafe_b64decode(begin + name).decode()


def _runs(outputs: Iterable[str]) -> Iterator[Run]:
    """The runs of which a file is among `outputs`."""
    for output in outputs:
        with suppress(ValueError):
            model, batch_size, device, repeat, name = Path(output).relative_to(RESULTS / "runs").parts
            if name in NAMES:
                yield Run(model, int(batch_size), device, int(repeat))
