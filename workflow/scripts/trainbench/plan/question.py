"""Says what is read beside a study's own runs and what is concluded from all: nothing here alters a run.

Standard library only: rules import this module whenever Snakemake reads them.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Conclusions:
    """What the config asks for beyond the runs.

    Speedups are over `reference_device`, on `reference_host` or, with None, on each host's own. `target_accuracy` is a
    share of the test images by model, `prices` are per hour, in `currency`, by HOST/DEVICE, device, host id or host
    name. `sources` are other results folders, with wildcards; `baseline` is the one that `snakemake compare` compares
    with.
    """

    reference_device: str
    reference_host: str | None
    target_accuracy: Mapping[str, float]
    prices: Mapping[str, float]
    currency: str
    sources: tuple[str, ...]
    skip_bad_sources: bool
    baseline: str | None
    smallest_difference_percent: float
