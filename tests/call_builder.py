"""Calls of Snakemake, whole but for what a test is about."""

from pathlib import Path
from typing import Any

from study_builder import make_study
from trainbench.datasets.idx import IdxFiles
from trainbench.plan.limits import Machine
from trainbench.plan.question import Conclusions
from trainbench.plan.study import ModelSettings, Study
from trainbench.rules.call import Call, Options

STUDY = make_study({"conv": ModelSettings(3, {})}, (16,))
CONCLUSIONS = Conclusions(
    "cpu", None, {}, {}, "EUR", (), skip_bad_sources=False, baseline=None, smallest_difference_percent=5.0
)
FILES = IdxFiles(*(Path("data", name) for name in ("images", "labels", "test-images", "test-labels")))


def make_call(study: Study = STUDY, machine: Machine = Machine(), **options: Any) -> Call:  # noqa: B008 - it is frozen
    """A call with these options."""
    return Call(Path("/repository"), Options(**options), {}, study, CONCLUSIONS, FILES, machine)
