"""A check of a run: one function with a level and advice, which says what it found in the facts of a run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainbench.machine.canary import Timing
from trainbench.records.finding import Finding, Level
from trainbench.run import usage


@dataclass(frozen=True)
class Facts:
    """What is known of one run when it has ended.

    `threads` are those it trained with, `cores` those it was bound to, of which `shared_cores` are other runs' too;
    `windows` are those of training, then of evaluation, of all epochs, `span` the time from the first epoch's start to
    the last one's end; `over_...` are made by `usage.over_windows`. `stopped_in` are the epochs, counted from 0, in
    which the process was stopped and continued, 0 for all since its start. `monitor_end` is how the monitor ended
    ("ended with signal 9"), None where it ended with the run; the canaries are None where they could not be timed.
    """

    threads: int
    cores: Sequence[int]
    shared_cores: Sequence[int]
    quota_cores: float | None
    epoch_seconds: Sequence[float]
    epoch_cpu_seconds: Sequence[float]
    stopped_in: Sequence[int]
    samples: usage.Samples
    monitor_interval_seconds: float
    monitor_end: str | None
    windows: Sequence[usage.Window]
    span: usage.Window
    over_span: Mapping[str, Any]
    over_steady: Mapping[str, Any] | None
    canary_before: Timing | None
    canary_after: Timing | None
    gpu_listed: bool | None
    root: Path = Path("/")


@dataclass(frozen=True)
class Check:
    """A check by its name, which is its function's: `look` gives a sentence of fact, None where all is well."""

    name: str
    level: Level
    advice: str
    look: Callable[[Facts], str | None]

    def __call__(self, facts: Facts) -> Finding | None:
        """What it finds, None where all is well."""
        said = self.look(facts)
        return None if said is None else Finding(self.name, self.level, said, self.advice)


def check(level: Level, advice: str) -> Callable[[Callable[[Facts], str | None]], Check]:
    """Make the function below a check, whose findings have this level and this sentence on what to do."""
    return lambda look: Check(look.__name__, level, advice, look)
