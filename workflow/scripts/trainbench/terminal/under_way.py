"""Keeps track of a study while it runs: which runs are under way, how far they are, and how long all will take.

It reads the notes that each training process makes for its launcher (`run/journal.py`), and costs the runs nothing.
"""

import json
import os
import threading
from collections import Counter
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field
from functools import reduce
from operator import add
from pathlib import Path
from statistics import median
from typing import Final, Literal

from trainbench.plan.study import Run
from trainbench.rules import metrics_file, so_far
from trainbench.rules.forecast import Estimate, Forecast, Work, cell_of, left_of, work

NOTES_NAME: Final = "unfinished/journal.jsonl"
"""Where a run's notes lie while it trains, seen from the folder of its results."""


Phase = Literal["starting", "training", "ending"]


@dataclass(frozen=True)
class RunUnderWay:
    """How far one run is; `epoch_seconds` (of training) and `left_seconds` are None as long as nothing tells them."""

    run: Run
    phase: Phase
    epochs_done: int
    epochs: int
    epoch_seconds: float | None
    left_seconds: float | None


@dataclass(frozen=True)
class StudyUnderWay:
    """How far a study is: the runs under way, the first that began first, how many have ended how, what is left."""

    running: tuple[RunUnderWay, ...]
    finished: int
    out_of_memory: int
    failed: int
    waiting: int
    left: Work


@dataclass
class _Begun:
    """A run under way since a moment, and what has been read so far of its notes.

    `stale` tells a file, by its number and its time, that an interrupted run has left and that this one will replace.
    """

    run: Run
    since: float
    notes: Path
    stale: tuple[int, int] | None
    read_bytes: int = 0
    compiled: bool = False
    ended: bool = False
    train_seconds: list[float] = field(default_factory=list)
    both_seconds: list[float] = field(default_factory=list)

    def read(self) -> None:
        """Read what has been noted since the last time."""
        state = _state(self.notes)
        if state is None or state == self.stale:
            return
        # As it is, it need not be looked at again.
        self.stale = state
        try:
            with self.notes.open("rb") as file:
                file.seek(self.read_bytes)
                lines = file.read()
        except OSError:
            return  # the run has ended meanwhile
        whole = lines[: lines.rfind(b"\n") + 1]
        self.read_bytes += len(whole)
        for line in whole.splitlines():
            with suppress(ValueError, LookupError, TypeError):
                note = json.loads(line)
                self.compiled |= "proof" in note
                self.ended |= "peak_memory_mib" in note or "status" in note
                for epoch in note.get("epochs", ()):
                    self.train_seconds.append(epoch["train_seconds"])
                    self.both_seconds.append(epoch["train_seconds"] + epoch["eval_seconds"])


def _state(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - once a second for each run: half the time of Path.stat
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


class Watch:
    """A study under way; told of jobs as Snakemake begins and ends them, from whatever thread, and asked how it is."""

    def __init__(self, to_come: Collection[Run], forecast: Forecast) -> None:
        self._forecast = forecast
        self._lock = threading.Lock()
        self._waiting = Counter(cell_of(run) for run in to_come)
        self._running: dict[int, _Begun] = {}
        self._finished = self._out_of_memory = self._failed = 0
        self._estimates = {cell: forecast.estimate(cell) for cell in self._waiting}
        self._waiting_work = self._of_waiting()

    def began(self, job: int, run: Run, now: float) -> None:
        """Take note that a run is carried out as job number `job`; `now` is `time.monotonic()`, here as below."""
        path, cell = self._forecast.results / run.folder / NOTES_NAME, cell_of(run)
        with self._lock:
            self._running[job] = _Begun(run, now, path, stale=_state(path))
            if self._waiting[cell] > 0:
                self._waiting[cell] -= 1
                self._waiting_work = self._of_waiting()

    def ended(self, job: int) -> None:
        """Take note that a job is finished; jobs that are no runs are passed over."""
        with self._lock:
            begun = self._running.pop(job, None)
            if begun is None:
                return
            self._finished += 1
            self._out_of_memory += so_far.status(metrics_file(begun.run, self._forecast.results)) == "out_of_memory"
            self._forecast.learn(begun.run)
            for cell in self._estimates:
                if (cell.model, cell.device) == (begun.run.model, begun.run.device):
                    self._estimates[cell] = self._forecast.estimate(cell)
            self._waiting_work = self._of_waiting()

    def failed(self, job: int) -> None:
        """Take note that a job has failed."""
        with self._lock:
            self._failed += self._running.pop(job, None) is not None

    def state(self, now: float) -> StudyUnderWay:
        """How far the study is."""
        with self._lock:
            running, left = [], self._waiting_work
            for begun in self._running.values():
                begun.read()
                estimate = self._estimates.get(cell_of(begun.run))
                state = self._run_under_way(begun, estimate, now)
                running.append(state)
                rest = left_of(estimate, state.left_seconds, now - begun.since)
                left += work(self._forecast.share(begun.run.device), rest)
            return StudyUnderWay(
                running=tuple(running),
                finished=self._finished,
                out_of_memory=self._out_of_memory,
                failed=self._failed,
                waiting=self._waiting.total(),
                # Where runs are submitted, how many are carried out side by side is the scheduler's business.
                left=left
                if self._forecast.cores is not None
                else Work(unknown_runs=left.known_runs + left.unknown_runs),
            )

    def _of_waiting(self) -> Work:
        share, waiting = self._forecast.share, [(cell, count) for cell, count in self._waiting.items() if count]
        works = (work(share(cell.device), self._estimates[cell], count) for cell, count in waiting)
        return reduce(add, works, Work())

    def _run_under_way(self, begun: _Begun, estimate: Estimate | None, now: float) -> RunUnderWay:
        epochs, done = self._forecast.study.model_settings[begun.run.model].epochs, len(begun.train_seconds)
        left = None
        if done:
            left = (epochs - done) * sum(begun.both_seconds) / done
        elif estimate is not None:
            left = max(0.0, estimate.seconds - (now - begun.since))
        over, begins = begun.ended or done >= epochs, not (begun.compiled or done)
        phase: Phase = "ending" if over else "starting" if begins else "training"
        # The first epoch is left out as soon as there is another.
        steady = begun.train_seconds[1:] or begun.train_seconds
        return RunUnderWay(begun.run, phase, done, epochs, median(steady) if steady else None, left)
