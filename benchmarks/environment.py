"""Shows that what the caller has exported changes no run, beside what it would do if it were passed on.

    .venv/bin/python benchmarks/environment.py             # every variable below
    .venv/bin/python benchmarks/environment.py --pairs 3   # fewer pairs of runs
    .venv/bin/python benchmarks/environment.py TF_XLA_FLAGS DNNL_VERBOSE

Prints a Markdown table; exit code 1 when a goal is missed. Keep the machine idle meanwhile.
"""

import argparse
import os
import random
import statistics as plain_statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import one_run
from trainbench import engines
from trainbench.results import statistics

LEAST_CHANGE: Final = 0.03
"""A smaller change than this is none, whatever its interval: runs of one machine differ by as much."""

BATCH_SIZE: Final = 512


@dataclass(frozen=True)
class Case:
    """A variable, the cell whose training it slows down where it is passed on, and for how many epochs that is seen.

    Of the run in which the device sets the variable two epochs are enough: each may take a hundred times as long.
    """

    value: str
    framework: str
    model: str
    epochs: int


CASES: Final[Mapping[str, Case]] = {
    "TF_XLA_FLAGS": Case("--tf_xla_auto_jit=2 --tf_xla_cpu_global_jit", "tensorflow", "logistic", 30),
    "TF_CPP_MAX_VLOG_LEVEL": Case("1", "tensorflow", "logistic", 30),
    "DNNL_VERBOSE": Case("2", "tensorflow", "logistic", 30),
    "MALLOC_MMAP_THRESHOLD_": Case("4096", "torch", "logistic", 30),
    "PYTHONTRACEMALLOC": Case("1", "torch", "logistic", 30),
}


@contextmanager
def exported(name: str, value: str | None) -> Iterator[None]:
    """Have a variable in this process' environment, which launches runs as a rule's script does; or not, for None."""
    before = os.environ.pop(name, None)
    if value is not None:
        os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name, None)
        if before is not None:
            os.environ[name] = before


def seconds_per_epoch(folder: Path, case: Case, repeat: int, epochs: int, own: Mapping[str, str]) -> float:
    """Median over the steady epochs of a run on a device with variables of its `own`."""
    device = {"framework": case.framework, "environment": own}
    metrics = one_run.measured(one_run.task(folder, case.model, BATCH_SIZE, epochs, repeat, device=device))
    return plain_statistics.median(epoch["train_seconds"] for epoch in metrics["epochs"][1:])


def compare(folder: Path, name: str, pairs: int) -> bool:
    """Print a row: the variable exported, in pairs of runs of one seed and in random order, and set by the device."""
    case = CASES[name]
    seconds: dict[str | None, list[float]] = {case.value: [], None: []}
    for repeat in range(1, pairs + 1):
        for value in random.sample(list(seconds), 2):
            with exported(name, value):
                seconds[value].append(seconds_per_epoch(folder, case, repeat, case.epochs, {}))
    ratios = statistics.estimate(
        with_it / without for with_it, without in zip(seconds[case.value], seconds[None], strict=True)
    )
    passed_on = seconds_per_epoch(folder, case, 1, 2, {name: case.value}) / plain_statistics.median(seconds[None])
    known = ratios.value is not None and ratios.low is not None and ratios.high is not None
    interval = f"{ratios.low:.3f} to {ratios.high:.3f}" if known else "unknown"
    cell = f"{case.model} {BATCH_SIZE}, {case.framework}"
    print(f"| `{name}={case.value}` | {cell} | {ratios.value:.3f} | {interval} | {passed_on:.1f} |", flush=True)
    return ratios.value is not None and (
        abs(ratios.value - 1) <= LEAST_CHANGE or (known and float(ratios.low or 0) <= 1 <= float(ratios.high or 0))
    )


def main() -> int:
    """Compare what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variables", nargs="*", choices=[*CASES, "all"], default="all", help="which (default: all)")
    parser.add_argument("--pairs", type=int, default=5, help="pairs of runs for each variable")
    asked = parser.parse_args()
    print("| variable | cell | seconds an epoch, exported over not | 95 % interval | set by the device |")
    print("|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory(prefix="trainbench-environment-") as folder:
        os.environ["TRAINBENCH_LEASE_FOLDER"] = folder
        chosen = [name for name in CASES if name in asked.variables or "all" in asked.variables]
        names = [name for name in chosen if engines.is_installed(CASES[name].framework)]
        reached = [compare(Path(folder), name, asked.pairs) for name in names]
    print(f"\nGoal: exported, none changes a run by more than noise: {'reached' if all(reached) else 'missed'}.")
    return int(not all(reached))


if __name__ == "__main__":
    sys.exit(main())
