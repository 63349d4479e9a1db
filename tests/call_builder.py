"""Calls of Snakemake, whole but for what a test is about."""

from pathlib import Path
from typing import Any

from study_builder import make_study
from trainbench.datasets.idx import IdxFiles
from trainbench.plan.limits import Machine
from trainbench.plan.study import ModelSettings, Study
from trainbench.rules.call import Call, Options

STUDY = make_study({"conv": ModelSettings(3, {})}, (16,))
CONFIG = {"sources": [], "skip_bad_sources": False, "baseline": None}
FILES = IdxFiles(*(Path("data", name) for name in ("images", "labels", "test-images", "test-labels")))


def make_call(
    study: Study = STUDY,
    machine: Machine = Machine(),  # noqa: B008 - it is frozen
    *,
    data_sha256: str = "ab" * 32,
    code_sha256: str = "cd" * 32,
    **options: Any,
) -> Call:
    """A call with these options."""
    return Call(
        repository=Path("/repository"),
        options=Options(**options),
        config=CONFIG,
        study=study,
        dataset_files=FILES,
        dataset_files_sha256=data_sha256,
        code_sha256={"tensorflow": code_sha256},
        machine=machine,
    )
