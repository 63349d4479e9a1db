"""Writes samples files as the monitor writes them, for tests of what reads them."""

import csv
from collections.abc import Sequence
from pathlib import Path

from trainbench.run import sample, usage


def write_samples(path: Path, times: Sequence[float], gpus: int = 0, **columns: Sequence[object]) -> Path:
    """Write samples taken at `times`; columns that are not given are empty, as is None."""
    known = {"monotonic_seconds": times, **columns}
    header = sample.columns(gpus)
    assert set(known) <= set(header), "the monitor has no such column"
    filled = [known.get(name, [None] * len(times)) for name in header]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        for values in zip(*filled, strict=True):
            writer.writerow(["" if value is None else value for value in values])
    return path


def make_samples(folder: Path, times: Sequence[float], gpus: int = 0, **columns: Sequence[object]) -> usage.Samples:
    """Give such samples as their reader sees them."""
    return usage.read_samples(write_samples(folder / "samples.csv", times, gpus, **columns))
