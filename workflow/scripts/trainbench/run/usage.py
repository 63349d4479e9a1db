"""Sums up what the monitor sampled over windows of a run: start-up, the first epoch, the steady ones, the whole span.

Samples become numbers in `read_samples` alone: what a reading cannot be (`sample.Bounds`) is unknown from there on.

What a sample says of the time since the sample before (CPU percentages) is weighted by how much of that time lies
inside the windows; what it says of one moment (memory, clocks, a GPU's utilisation) counts when that moment does.
"""

import csv
import io
import math
import os
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trainbench.run.sample import Bounds, bounds

Window = tuple[float, float]
Numbers = NDArray[np.float64]

_LATE_SECONDS: Final = 2.0
"""CPU time can be counted so long after it was used: new descendants are looked for once a second."""


@dataclass(frozen=True)
class Refused:
    """Readings of a column that cannot be: how many, and what the first of them said."""

    column: str
    count: int
    said: str


@dataclass(frozen=True)
class Samples:
    """A samples file by columns: numbers with NaN where nothing is known, texts with "" there."""

    numbers: dict[str, Numbers]
    texts: dict[str, list[str]]
    refused: Sequence[Refused] = ()

    @property
    def times(self) -> Numbers:
        """Monotonic seconds of each sample."""
        return self.numbers["monotonic_seconds"]


def read_samples(path: Path, gpu_count: int = 0, cpus: int = os.cpu_count() or 1) -> Samples:
    """Read a samples file of a machine with `cpus` logical CPUs.

    A last line cut short is left out, and a file that is not there holds no sample. Lines that do not fit the header,
    or whose time does not go on from that of the others, are refused, and so is each value beyond its column's bounds.
    """
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    # A cut inside the last value leaves a line with all its columns: only its missing end gives it away.
    header, *lines = [*csv.reader(io.StringIO(text[: text.rfind("\n") + 1]))] or [[]]
    known = bounds(max(gpu_count, sum(name.endswith("_uuid") for name in header)))
    refused = _refused("lines", [",".join(line) for line in lines if len(line) != len(header)])
    rows = [line for line in lines if len(line) == len(header)]
    moments = _column("monotonic_seconds", header, rows)
    times = _numbers(moments)
    goes_on = _possible(times, times, known["monotonic_seconds"] or Bounds(), cpus)
    refused += _refused("monotonic_seconds", [*compress(moments, ~goes_on)])
    rows, times = [*compress(rows, goes_on)], times[goes_on]
    numbers: dict[str, Numbers] = {}
    texts: dict[str, list[str]] = {}
    for name, limits in known.items():
        said = _column(name, header, rows)
        if limits is None:
            texts[name] = said
            refused += _refused(name, [text for text in said if text and name.endswith("unreadable")])
            continue
        values = _numbers(said)
        possible = _possible(times, values, limits, cpus)
        numbers[name] = np.where(possible, values, np.nan)
        refused += _refused(name, [*filter(None, compress(said, ~possible))])
    return Samples(numbers, texts, refused)


def _column(name: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    place = header.index(name) if name in header else None
    return ["" if place is None else row[place] for row in rows]


def _numbers(texts: Sequence[str]) -> Numbers:
    return np.array([*map(_number, texts)], np.float64)


def _refused(column: str, said: Sequence[str]) -> list[Refused]:
    return [Refused(column, len(said), said[0])] if said else []


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _possible(times: Numbers, values: Numbers, limits: Bounds, cpus: int) -> NDArray[np.bool_]:
    """Which of a column's values can be; those that are unknown cannot."""
    if limits.high is None:
        since_before = np.diff(times, prepend=-np.inf)
        high = 100 * cpus * (1 + _LATE_SECONDS / since_before)
    else:
        high = np.full_like(times, limits.high)
    possible = (values >= (-high if limits.below_zero else limits.low)) & (values <= high) & np.isfinite(values)
    if limits.rises_by is not None:
        most = None if math.isinf(limits.rises_by) else limits.rises_by * times[possible]
        possible[possible] = _rising(values[possible], most)
    return possible


def _rising(values: Numbers, most: Numbers | None = None) -> NDArray[np.bool_]:
    """The most values of which each is above the one before, or with `most` not below it and at most as far above it.

    Whichever readings do not fit the others, wherever they stand: one that stepped back, one that jumped ahead, all
    before a counter began anew. That is a longest increasing subsequence (Fredman, Discrete Mathematics 11, 1975).
    """
    order = np.arange(len(values))
    keys, find = values[order], bisect_left
    if most is not None:
        # Both the counter and what is left to its most must not fall: sorted by the one, the other is looked at.
        left = (most - values)[order]
        order = order[np.lexsort((left, keys))]
        keys, find = (most - values)[order], bisect_right
    ends: list[float] = []
    last: list[int] = []
    before = np.full(len(keys), -1)
    for position, key in enumerate(keys.tolist()):
        length = find(ends, key)
        before[position] = last[length - 1] if length else -1
        ends[length : length + 1], last[length : length + 1] = [key], [position]
    fits = np.zeros(values.shape, np.bool_)
    position = last[-1] if last else -1
    while position >= 0:
        fits[order[position]] = True
        position = before[position]
    return fits


def over_windows(samples: Samples, windows: Sequence[Window], gpu_count: int) -> dict[str, Any] | None:
    """Everything about `windows`, as the metrics file has it, or None where there is no window."""
    if not windows:
        return None
    within = _Within(samples, windows)
    joules = within.counted("cpu_energy_joules")
    return {
        "seconds": sum(end - begin for begin, end in windows),
        "samples": int(np.count_nonzero(within.overlaps)),
        "cpu_percent": within.weighted("cpu_percent"),
        "resident_memory_mib": within.most("resident_memory_mib"),
        "process_threads": _whole(within.most("process_threads")),
        # Counters that are brought up to date late show more than there was, and less before.
        "other_cpu_percent": within.weighted("other_cpu_percent", least=0.0),
        "other_on_cores_percent": within.weighted("other_on_cores_percent", least=0.0),
        "cpu_pressure_percent": within.weighted("cpu_pressure_percent", most=100.0),
        "steal_percent": within.weighted("steal_percent"),
        "cpu_mhz": within.mean("cpu_mhz"),
        "cpu_energy_joules": joules,
        "cpu_energy_source": None if joules is None else "rapl",
        "gpus": [_gpu(within, f"gpu{number}_") for number in range(gpu_count)],
    }


def _gpu(within: "_Within", prefix: str) -> dict[str, Any]:
    samples = within.samples
    lists = np.array(samples.texts[f"{prefix}throttle_reasons"], object)[within.inside]
    reasons = {reason for reasons in lists for reason in reasons.split() if reason != "none"}
    problems = np.array(samples.texts[f"{prefix}problem"], object)[within.inside | (within.overlaps > 0)]
    joules, source = within.counted(f"{prefix}energy_joules"), "counter"
    if joules is None:
        joules, source = within.integrated(f"{prefix}power_watts"), "power"
    return {
        "uuid": next(iter(samples.texts[f"{prefix}uuid"]), None),
        "samples": len(within.known(f"{prefix}utilization_percent")),
        "utilization_percent": within.mean(f"{prefix}utilization_percent"),
        "memory_used_mib": within.most(f"{prefix}memory_used_mib"),
        "process_memory_mib": within.most(f"{prefix}process_memory_mib"),
        "power_watts": within.mean(f"{prefix}power_watts"),
        "energy_joules": joules,
        "energy_source": None if joules is None else source,
        "temperature_celsius": within.most(f"{prefix}temperature_celsius"),
        "sm_clock_mhz": within.mean(f"{prefix}sm_clock_mhz"),
        "sm_clock_min_mhz": min(within.known(f"{prefix}sm_clock_mhz").tolist(), default=None),
        "throttle_reasons": sorted(reasons) if any(lists) else None,
        "other_processes": _whole(within.most(f"{prefix}other_processes")),
        "problem": next(filter(None, problems), None),
    }


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


class _Within:
    """The samples of some windows: which of them count there, and how much of a percentage's time."""

    def __init__(self, samples: Samples, windows: Sequence[Window]) -> None:
        self.samples, self.windows = samples, windows
        self.overlaps = _overlaps(samples.times, windows)
        self.inside = np.zeros(samples.times.shape, np.bool_)
        for begin, end in windows:
            self.inside |= (begin <= samples.times) & (samples.times <= end)

    def weighted(self, column: str, least: float = -math.inf, most: float = math.inf) -> float | None:
        """Mean of a percentage, weighted by the time it is about, and no less or more than it can be."""
        values = self.samples.numbers[column]
        known = ~np.isnan(values) & (self.overlaps > 0)
        if not known.any():
            return None
        return min(most, max(least, float(np.average(values[known], weights=self.overlaps[known]))))

    def known(self, column: str) -> Numbers:
        """What is known of moments inside."""
        values = self.samples.numbers[column][self.inside]
        return values[~np.isnan(values)]

    def mean(self, column: str) -> float | None:
        """Mean of moments inside."""
        known = self.known(column)
        return float(known.mean()) if len(known) else None

    def most(self, column: str) -> float | None:
        """The highest of moments inside."""
        return max(self.known(column).tolist(), default=None)

    def counted(self, column: str) -> float | None:
        """Rise of a counter, straight lines between samples, or None where it does not cover the windows."""
        times, values = self._covering(column)
        if not len(times):
            return None
        return float(sum(np.diff(np.interp(window, times, values))[0] for window in self.windows))

    def integrated(self, column: str) -> float | None:
        """Integral of a rate by the trapezoidal rule, or None where it does not cover the windows."""
        times, rates = self._covering(column)
        if not len(times):
            return None
        integral = 0.0
        for begin, end in self.windows:
            moments = np.concatenate([[begin], times[(begin < times) & (times < end)], [end]])
            integral += float(np.trapezoid(np.interp(moments, times, rates), moments))
        return integral

    def _covering(self, column: str) -> tuple[Numbers, Numbers]:
        """Times and values that are known, none where they do not reach from before the windows to their end.

        They may fall short of it by an interval where sampling ended, but not where they became unknown.
        """
        times, values = self.samples.times, self.samples.numbers[column]
        known = ~np.isnan(values)
        if np.count_nonzero(known) < 2:  # noqa: PLR2004 - a difference takes two
            return np.empty(0), np.empty(0)
        short = float(np.max(np.diff(times))) if known[-1] else 0.0
        times, values = times[known], values[known]
        begins, ends = min(begin for begin, _ in self.windows), max(end for _, end in self.windows)
        covers = times[0] <= begins and times[-1] + short >= ends
        return (times, values) if covers else (np.empty(0), np.empty(0))


def highest_stretch(samples: Samples, column: str, window: Window, stretch_seconds: float) -> float | None:
    """Highest mean of a percentage over any `stretch_seconds` inside `window`, None where there is none."""
    times, values = samples.times, samples.numbers[column]
    known = ~np.isnan(values)
    if np.count_nonzero(known) < 2:  # noqa: PLR2004 - a stretch takes two
        return None
    durations = np.diff(times, prepend=times[0])
    total = np.cumsum(np.where(known, values, 0.0) * durations)
    first, last = max(window[0], times[0]), min(window[1], times[-1]) - stretch_seconds
    if first > last:
        return None
    # Between samples the mean changes at an even rate: it is highest where a stretch begins or ends at a sample.
    begins = np.clip(np.concatenate([times, times - stretch_seconds]), first, last)
    sums = np.interp(begins + stretch_seconds, times, total) - np.interp(begins, times, total)
    return float(np.max(sums) / stretch_seconds)


def still_seconds(samples: Samples, windows: Sequence[Window], gpu_count: int, percent: float, least: float) -> float:
    """How long inside `windows` neither the run's processes nor its GPUs did anything.

    Counts what lies in stretches of at least `least` seconds with less than `percent` of a core's and the GPUs' time in
    use; what is unknown counts as use.
    """
    used = [
        samples.numbers[name] for name in ("cpu_percent", *(f"gpu{n}_utilization_percent" for n in range(gpu_count)))
    ]
    at_rest = np.sum(used, axis=0) < percent
    overlaps = np.where(at_rest, _overlaps(samples.times, windows), 0.0)
    stretches = np.split(overlaps, np.flatnonzero(~at_rest))
    return float(sum(seconds for stretch in stretches if (seconds := stretch.sum()) >= least))


def longest_hole(samples: Samples, window: Window) -> tuple[float, float]:
    """Begin and end of the longest time inside `window` without a sample."""
    begin, end = window
    inside = samples.times[(begin < samples.times) & (samples.times < end)]
    moments = np.concatenate([[begin], inside, [end]])
    longest = int(np.argmax(np.diff(moments)))
    return float(moments[longest]), float(moments[longest + 1])


def _overlaps(times: Numbers, windows: Sequence[Window]) -> Numbers:
    """For each sample, the seconds since the one before that lie inside `windows`; the first has none before it."""
    before = np.concatenate([times[:1], times[:-1]])
    overlaps = np.zeros_like(times)
    for begin, end in windows:
        overlaps += np.clip(np.minimum(times, end) - np.maximum(before, begin), 0.0, None)
    return overlaps
