"""Says how long runs will take, from runs that have ended; what no run tells is unknown.

It works beside runs that are measured.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, astuple, dataclass, field
from datetime import datetime
from itertools import islice
from operator import add
from pathlib import Path
from statistics import median
from typing import Any, Final, Literal

from trainbench.machine import host
from trainbench.plan.study import METRICS_NAME, Run, Study, cores_of_run
from trainbench.records import same_host
from trainbench.rules.call import Call
from trainbench.words.wording import numbered

MOST_RUNS_OF_CELL: Final = 5
"""So many runs of a cell are read: more would say little more, and a study may have thousands."""

LONGEST_END_SECONDS: Final = 60.0
"""A metrics file written later than this after its run's last epoch got its time otherwise: it was copied, say."""

SECONDS_PER_MINUTE: Final = 60
SECONDS_PER_HOUR: Final = 3600
SECONDS_PER_DAY: Final = 86400


@dataclass(frozen=True, order=True)
class Cell:
    """Model, batch size and device: runs of a cell are expected to take equally long."""

    model: str
    batch_size: int
    device: str


def cell_of(run: Run) -> Cell:
    """The cell of a run."""
    return Cell(run.model, run.batch_size, run.device)


@dataclass(frozen=True)
class Past:
    """What an ended run took: seconds an epoch, evaluation counted, and seconds for all the rest."""

    epoch_seconds: float
    other_seconds: float

    def seconds(self, epochs: int) -> float:
        """Seconds that a run of so many epochs would have taken."""
        return self.other_seconds + epochs * self.epoch_seconds


@dataclass(frozen=True)
class Estimate:
    """How many seconds a run will take, and between which limits; these are None where a single run is all there is.

    `basis` is "cell" with runs of the same cell, "throughput" with such of the same model and device alone.
    """

    seconds: float
    low: float | None
    high: float | None
    basis: Literal["cell", "throughput"]

    @property
    def limits(self) -> tuple[float, ...]:
        """Lowest, likely and highest; what is likely thrice where that is all there is."""
        return (self.seconds,) * 3 if self.low is None or self.high is None else (self.low, self.seconds, self.high)


@dataclass(frozen=True)
class Work:
    """What several runs ask of the machine, in seconds: lowest, likely and highest.

    `busy` are the seconds for which they keep the whole machine busy, `longest` those of the longest of them. Runs of
    which nothing is known are only counted, as are those without limits.
    """

    busy: tuple[float, ...] = (0.0, 0.0, 0.0)
    longest: tuple[float, ...] = (0.0, 0.0, 0.0)
    known_runs: int = 0
    unlimited_runs: int = 0
    unknown_runs: int = 0

    def __add__(self, other: "Work") -> "Work":
        return Work(
            busy=tuple(map(add, self.busy, other.busy)),
            longest=tuple(map(max, self.longest, other.longest)),
            known_runs=self.known_runs + other.known_runs,
            unlimited_runs=self.unlimited_runs + other.unlimited_runs,
            unknown_runs=self.unknown_runs + other.unknown_runs,
        )


def work(share: float, estimate: Estimate | None, runs: int = 1) -> Work:
    """The work of so many alike runs that each keep a share of the machine busy."""
    if estimate is None:
        return Work(unknown_runs=runs)
    return Work(
        busy=tuple(runs * share * seconds for seconds in estimate.limits),
        longest=estimate.limits,
        known_runs=runs,
        unlimited_runs=runs if estimate.low is None else 0,
    )


@dataclass(frozen=True)
class Forecast:
    """The runs of a results folder that have ended, read when they are asked for, and where those to come are run.

    Those count that were carried out on the same host and with the same device and data as runs of the study. `host` is
    what a metrics file has of a host, id, CPU and memory, or None where any counts. Of `cores` and `gpus` runs are
    carried out side by side; `cores` is None where that is not known here.
    """

    study: Study
    results: Path
    dataset_files_sha256: str
    host: Mapping[str, Any] | None
    cores: int | None = None
    gpus: int = 0
    _pasts: dict[Cell, list[Past]] = field(default_factory=dict)
    _sizes: dict[tuple[str, str], list[int]] = field(default_factory=dict)

    def share(self, device_name: str) -> float:
        """The share of the machine that a run on a device takes: 1 where nothing else runs beside it, or it is unknown.

        Raises:
            InputError: the study does not describe the device.
        """
        device = self.study.device(device_name)
        if self.cores is None:
            return 1.0
        cores = cores_of_run(device, self.study.isolation, self.cores, self.gpus) / self.cores
        return min(1.0, max(cores, device.gpus / max(1, self.gpus)))

    def learn(self, run: Run) -> None:
        """Take note that a run has ended just now: what was read beside it is read anew."""
        self._pasts.pop(cell_of(run), None)
        self._sizes.pop((run.model, run.device), None)

    def estimate(self, cell: Cell) -> Estimate | None:
        """How long a run of `cell` will take, or None where no run tells.

        Raises:
            InputError, KeyError: the study does not describe the cell's device or model.
        """
        epochs = self.study.model_settings[cell.model].epochs
        known = [past.seconds(epochs) for past in self._of_cell(cell)]
        if not known:
            return self._by_throughput(cell, epochs)
        low, high = (min(known), max(known)) if len(known) > 1 else (None, None)
        return Estimate(median(known), low, high, "cell")

    def _by_throughput(self, cell: Cell, epochs: int) -> Estimate | None:
        """From the batch size that is nearest of those known.

        An epoch takes as long as there where every image takes its time, and less or more by the ratio of the batch
        sizes where every step does. The truth lies between: these are the limits, and the estimate is their geometric
        mean.
        """
        pair = (cell.model, cell.device)
        if pair not in self._sizes:
            self._sizes[pair] = _numbers(
                path.parent for path in self.results.glob(f"runs/{cell.model}/*/{cell.device}")
            )
        others = [size for size in self._sizes[pair] if size != cell.batch_size]
        for size in sorted(others, key=lambda size: abs(math.log(size / cell.batch_size))):
            known = self._of_cell(Cell(cell.model, size, cell.device))
            if known:
                epoch, other = (median(seconds) for seconds in zip(*map(astuple, known), strict=True))
                fast, slow = sorted((epoch, epoch * size / cell.batch_size))
                likely, low, high = (other + epochs * seconds for seconds in (math.sqrt(fast * slow), fast, slow))
                return Estimate(likely, low, high, "throughput")
        return None

    def _of_cell(self, cell: Cell) -> list[Past]:
        if cell not in self._pasts:
            found = self.results.glob(f"runs/{cell.model}/{cell.batch_size}/{cell.device}/*/{METRICS_NAME}")
            repeats = _numbers(path.parent for path in found)
            pasts = (self._read(Run(cell.model, cell.batch_size, cell.device, repeat)) for repeat in repeats)
            self._pasts[cell] = [*islice(filter(None, pasts), MOST_RUNS_OF_CELL)]
        return self._pasts[cell]

    def _read(self, run: Run) -> Past | None:
        path = self.results / run.folder / METRICS_NAME
        try:
            metrics = json.loads(path.read_bytes())
            return past_of(metrics, path.stat().st_mtime) if self._counts(metrics, run) else None
        except (OSError, ValueError, LookupError, TypeError, ZeroDivisionError, RecursionError):
            return None  # whoever reads it for the tables says what is wrong with it

    def _counts(self, metrics: Mapping[str, Any], run: Run) -> bool:
        wanted = self.study.settings(run, self.dataset_files_sha256)
        return (
            metrics["status"] == "completed"
            and (self.host is None or same_host.are_one(self.host, metrics["host"]))
            and all(metrics["settings"][name] == wanted[name] for name in ("device", "dataset_files_sha256"))
        )


def _numbers(folders: Iterable[Path]) -> list[int]:
    return sorted(int(folder.name) for folder in folders if folder.name.isdecimal() and int(folder.name))


def of_call(call: Call, results: Path) -> Forecast:
    """The runs that have ended, from which times are known, and the machine, of which nothing is known elsewhere."""
    if call.options.submits:
        return Forecast(call.study, results, call.dataset_files_sha256, host=None)
    machine = host.inventory()
    cores, gpus = call.machine.cores or machine.usable_threads, call.gpus_side_by_side
    return Forecast(call.study, results, call.dataset_files_sha256, asdict(machine), cores, gpus)


def past_of(metrics: Mapping[str, Any], written_at: float) -> Past:
    """What a completed run took, by its metrics file, which was written at `written_at` (seconds of the epoch).

    A run ends some seconds after its last epoch: these are counted where the file's time can be believed.
    """
    clock = metrics["clock"]
    canary_before, canary_after = (_canary_seconds(metrics["canary"], when) for when in ("before", "after"))
    probes = metrics["ceilings"]["seconds"] if metrics["ceilings"] else 0.0
    at_least = clock["total_seconds"] + probes + canary_after
    to_file = written_at - datetime.fromisoformat(metrics["started_at"]).timestamp()
    seconds = to_file if at_least <= to_file <= at_least + LONGEST_END_SECONDS else at_least
    of_epochs = clock["train_seconds"] + clock["eval_seconds"]
    return Past(
        epoch_seconds=of_epochs / len(metrics["epochs"]),
        other_seconds=max(0.0, canary_before + seconds - of_epochs),
    )


def _canary_seconds(canary: Mapping[str, Any], when: str) -> float:
    """How long the fixed computation took; older versions timed it on one core alone."""
    if f"{when}_seconds" in canary:
        return float(canary[f"{when}_seconds"])
    timed = canary[when]
    return 0.0 if timed is None else float(timed["alone_seconds"] + timed["together_seconds"])


def left_of(estimate: Estimate | None, likely: float | None, elapsed: float) -> Estimate | None:
    """What is left of a run that began `elapsed` seconds ago and is likely to take `likely` more, None if unknown."""
    if likely is None:
        return None
    if estimate is None or estimate.low is None or estimate.high is None:
        return Estimate(likely, None, None, "cell")
    return Estimate(likely, min(likely, max(0.0, estimate.low - elapsed)), max(likely, estimate.high - elapsed), "cell")


def time_text(whole: Work) -> str:
    """How long work takes if the machine is kept busy to the end: `about 12 min (10 min to 15 min)`, or `unknown`.

    Runs of which nothing is known are named: `about 12 min, and 3 runs of unknown length`.
    """
    if not whole.known_runs:
        return "unknown"
    # Side by side or not, no run is over before the longest of them is.
    low, likely, high = (duration_text(max(pair)) for pair in zip(whole.busy, whole.longest, strict=True))
    text = f"about {likely}"
    if not whole.unlimited_runs and low != high:
        text += f" ({low} to {high})"
    if whole.unknown_runs:
        text += f", and {numbered(whole.unknown_runs, 'run')} of unknown length"
    return text


def duration_text(seconds: float) -> str:
    """A duration to two digits or so, as `45 s`, `12 min`, `1 h 20 min` or `2 d 3 h`."""
    if seconds < 2 * SECONDS_PER_MINUTE:
        step = 5 if seconds > SECONDS_PER_MINUTE / 3 else 1
        return f"{round(seconds / step) * step} s"
    minutes = round(seconds / SECONDS_PER_MINUTE)
    if minutes < SECONDS_PER_HOUR / SECONDS_PER_MINUTE:
        return f"{minutes} min"
    if seconds < SECONDS_PER_DAY:
        hours, minutes = divmod(round(minutes / 5) * 5, 60)
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(round(seconds / SECONDS_PER_HOUR), 24)
    return f"{days} d {hours} h" if hours else f"{days} d"
