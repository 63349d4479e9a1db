"""What only the workflow needs: scripts that end with one sentence, what is there by now, what a killed call left.

In: a study and what lies in its folder. Out: what Snakemake is told. Must never know: what takes time to import, for
rules import this room at every parse.
"""

from pathlib import Path
from typing import Final

from trainbench.plan.study import METRICS_NAME, Run

RESULTS: Final = Path("results")
SNAKEMAKE: Final = Path(".snakemake")
"""Snakemake's own folder; both are seen from the working folder."""


def metrics_file(run: Run, results: Path = RESULTS) -> Path:
    """Where a run says what it measured."""
    return results / run.folder / METRICS_NAME
