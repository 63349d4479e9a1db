"""Looks after results that Snakemake has no record of, because it was killed or its records are lost.

Snakemake throws away the outputs of a job that it did not see end, and carries it out again. So the next call sets such
results aside while it plans, and the rule gives them back instead of training anew. Of outputs without a record it does
not know with which params they were made and takes them for up to date, so what they say is looked at here.

Standard library only: rules import this module whenever Snakemake reads them.
"""

import base64
import binascii
import json
import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from trainbench.plan.study import METRICS_NAME, Run, Study

FOLDER_NAME: Final = ".unrecorded"  # whoever reads the results as a source of theirs passes it over
NAMES: Final = ("train.log", "samples.csv", METRICS_NAME)
"""A run's files, in the order in which they are set aside and given back: the one that counts comes last."""


def set_aside(
    study: Study, results: Path, snakemake: Path, dataset_files_sha256: str, code_sha256: Mapping[str, str]
) -> None:
    """Set aside what runs of the study left that are still good but marked as under way in the folder `snakemake`.

    `snakemake` is Snakemake's own folder (.snakemake), `code_sha256` the fingerprint of the code by framework. To be
    called while no other Snakemake is at work there.
    """
    # Snakemake takes the marks of a run's outputs away one by one, and carries it out again for any that is left.
    marked = set(_runs(results, _outputs(snakemake / "incomplete"), NAMES)).intersection(study.runs())
    kept = results / FOLDER_NAME
    for run in marked:
        source = results / run.folder
        if _is_current(source / METRICS_NAME, study, run, dataset_files_sha256, code_sha256):
            _copy(source, kept / run.folder)
    # What is no longer marked was recorded since, or measured anew.
    for folder in set(kept.glob("runs/*/*/*/*")).difference(kept / run.folder for run in marked):
        shutil.rmtree(folder)


def give_back(run_folder: Path, results: Path, settings: dict[str, Any], code_sha256: str) -> bool:
    """Put the files of a run back in their place, if they were set aside and say what this run would."""
    kept = results / FOLDER_NAME / run_folder.relative_to(results)
    metrics = _read(kept / METRICS_NAME)
    whole = all((kept / name).exists() for name in NAMES)
    if metrics is None or not whole or not _same(metrics, settings, code_sha256):
        return False
    _copy(kept, run_folder)
    shutil.rmtree(kept, ignore_errors=True)
    return True


def recorded(snakemake: Path) -> frozenset[str] | None:
    """The outputs that Snakemake has records of in `snakemake`, its folder, None where it keeps them elsewhere."""
    metadata = snakemake / "metadata"
    return frozenset(_outputs(metadata)) if metadata.is_dir() else None


def outdated_runs(
    study: Study, results: Path, known: Collection[str], dataset_files_sha256: str, code_sha256: Mapping[str, str]
) -> list[str]:
    """The metrics files of the study's runs that are not among the `known` and say other settings or code.

    `code_sha256` is by framework.
    """
    paths = {run: results / run.folder / METRICS_NAME for run in study.runs()}
    return [
        str(path)
        for run, path in paths.items()
        if str(path) not in known
        and path.exists()
        and not _is_current(path, study, run, dataset_files_sha256, code_sha256)
    ]


def without_record(made: Iterable[str], known: Collection[str]) -> list[str]:
    """Those of the files `made` that are there, but not among the `known`: they do not say what they were made with."""
    return [path for path in made if path not in known and Path(path).exists()]


def _is_current(path: Path, study: Study, run: Run, dataset_files_sha256: str, code_sha256: Mapping[str, str]) -> bool:
    metrics = _read(path)
    code = code_sha256[study.device(run.device).framework]
    return metrics is not None and _same(metrics, study.settings(run, dataset_files_sha256), code)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        metrics = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return metrics if isinstance(metrics, dict) else None


def _same(metrics: dict[str, Any], settings: dict[str, Any], code_sha256: str) -> bool:
    try:
        return bool(metrics["settings"] == settings and metrics["software"]["code_sha256"] == code_sha256)
    except (LookupError, TypeError):
        return False


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


def _runs(results: Path, outputs: Iterable[str], names: Collection[str]) -> Iterator[Run]:
    """The runs of which a file of one of these names is among `outputs`."""
    for output in outputs:
        try:
            model, batch_size, device, repeat, name = Path(output).relative_to(results / "runs").parts
            if name in names:
                yield Run(model, int(batch_size), device, int(repeat))
        except ValueError:
            continue
