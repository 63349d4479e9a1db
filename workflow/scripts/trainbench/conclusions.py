"""Says what is read beside a study's own runs and what is concluded from all: nothing here alters a run.

Standard library only: rules import this module whenever Snakemake reads them.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Conclusions:
    """What the config asks for beyond the runs.

    `sources` are other results folders, with wildcards; `baseline` is the one that `snakemake compare` compares with.
    """

    sources: tuple[str, ...]
    skip_bad_sources: bool
    baseline: str | None
    smallest_difference_percent: float
