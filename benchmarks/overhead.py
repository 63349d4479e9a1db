"""Shows what a run costs beyond its epochs: starting, ending, being watched, and being planned by Snakemake.

    .venv/bin/python benchmarks/overhead.py start        # start-up beside a bare `import tensorflow`; three minutes
    .venv/bin/python benchmarks/overhead.py run          # where the wall time of whole runs goes; four minutes
    .venv/bin/python benchmarks/overhead.py monitor      # what watching costs, as `validity.py overhead`
    .venv/bin/python benchmarks/overhead.py scheduling   # what Snakemake takes, as `scheduling.py`

Each prints a Markdown table; exit code 1 when a goal is missed. Keep the machine idle meanwhile.
"""

import argparse
import os
import random
import statistics as plain_statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import one_run
import scheduling
import validity
from trainbench.networks.models import MODELS
from trainbench.results import statistics

START_UP_GOAL: Final = 1.2
SHARE_GOAL: Final = 0.7
BATCH_SIZE: Final = 512
EPOCHS: Final = {"logistic": 10, "conv": 2, "lstm": 4}
"""Those of the default study."""
EPOCHS_2017: Final = 100

BARE_IMPORT: Final = "import time, tensorflow; print(time.monotonic())"
IMPORTS_OF_THE_RULE: Final = (
    "from trainbench.datasets import dataset; from trainbench.run import launch; "
    "from trainbench.rules import unrecorded, rule_script"
)


def start(repeats: int, folder: Path) -> bool:
    """Seconds from a process' start to its first step's end, over those of `import tensorflow` alone, in turns."""
    seconds: dict[str, list[float]] = {name: [] for name in ("import tensorflow", *MODELS)}
    one_run.prepared_dataset(folder)
    for repeat in range(1, repeats + 1):
        for name in random.sample(list(seconds), len(seconds)):
            if name in MODELS:
                clock = one_run.measured(one_run.task(folder, name, BATCH_SIZE, 1, repeat))["clock"]
                seconds[name].append(clock["startup_seconds"] + clock["data_seconds"] + clock["compile_seconds"])
            else:
                seconds[name].append(_bare_import_seconds())
    bare = statistics.estimate(seconds["import tensorflow"])
    reached = True
    print("| process | seconds until ready | over the bare import | 95 % interval |\n|---|---|---|---|")
    for name, values in seconds.items():
        ratio = statistics.ratio(statistics.estimate(values), bare)
        if ratio is None:
            continue
        reached &= ratio.value <= START_UP_GOAL
        interval = "" if ratio.low is None or name not in MODELS else f"{ratio.low:.2f} to {ratio.high:.2f}"
        print(f"| {name} | {plain_statistics.median(values):.2f} | {ratio.value:.2f} | {interval} |")
    empty, rule = (
        plain_statistics.median(_seconds([sys.executable, "-c", code]) for _ in range(repeats))
        for code in ("pass", IMPORTS_OF_THE_RULE)
    )
    print(
        f"\nThe rule's script imports for {rule - empty:.2f} s before it starts a run (Python itself: {empty:.2f} s)."
    )
    print(f"Goal: each start-up at most {START_UP_GOAL} of the bare import.")
    return reached


def _bare_import_seconds() -> float:
    begin = time.monotonic()
    done = subprocess.run([sys.executable, "-c", BARE_IMPORT], check=True, capture_output=True, encoding="utf-8")
    return float(done.stdout.split()[-1]) - begin


def _seconds(command: Sequence[str]) -> float:
    begin = time.monotonic()
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": str(one_run.PACKAGE_FOLDER)})
    return time.monotonic() - begin


def run(repeats: int, folder: Path) -> bool:
    """Where the wall time of a run goes, from the launcher's first to its last line, with the study's epochs."""
    columns = ["wall", "startup", "data", "compile", "training", "evaluation", "ceilings", "canary", "other"]
    print(f"| model | {' | '.join(columns)} | epochs' share | with {EPOCHS_2017} epochs |")
    print(f"|{'---|' * (len(columns) + 3)}", flush=True)
    timed_2017 = wall_2017 = 0.0
    for model, epochs in EPOCHS.items():
        runs = [_parts(folder, model, epochs, repeat) for repeat in range(1, repeats + 1)]
        parts = {name: plain_statistics.median(found[name] for found in runs) for name in (*columns, "an epoch")}
        timed = parts["training"] + parts["evaluation"]
        timed_of_2017 = EPOCHS_2017 * parts["an epoch"]
        wall_of_2017 = parts["wall"] - timed + timed_of_2017
        timed_2017, wall_2017 = timed_2017 + timed_of_2017, wall_2017 + wall_of_2017
        values = " | ".join(f"{parts[name]:.2f}" for name in columns)
        print(f"| {model} | {values} | {timed / parts['wall']:.0%} | {timed_of_2017 / wall_of_2017:.0%} |", flush=True)
    share = timed_2017 / wall_2017
    print(f"\nOf a run of each model with {EPOCHS_2017} epochs, timed epochs are {share:.1%} (goal: {SHARE_GOAL:.0%}).")
    return share >= SHARE_GOAL


def _parts(folder: Path, model: str, epochs: int, repeat: int) -> Mapping[str, float]:
    """Seconds of each part of a run; `other` is what no clock of the run has."""
    task = one_run.task(folder, model, BATCH_SIZE, epochs, repeat)
    begin = time.monotonic()
    metrics: Mapping[str, Any] = one_run.measured(task)
    wall = time.monotonic() - begin
    clock, ceilings = metrics["clock"], metrics["ceilings"]
    parts = {
        "startup": clock["startup_seconds"],
        "data": clock["data_seconds"],
        "compile": clock["compile_seconds"],
        "training": clock["train_seconds"],
        "evaluation": clock["eval_seconds"],
        "ceilings": 0.0 if ceilings is None else ceilings["seconds"],
        "canary": sum(
            metrics["canary"][when][f"{how}_seconds"] for when in ("before", "after") for how in ("alone", "together")
        ),
    }
    last = metrics["epochs"][1:]
    an_epoch = plain_statistics.median(epoch["train_seconds"] + epoch["eval_seconds"] for epoch in last)
    return {**parts, "wall": wall, "other": wall - sum(parts.values()), "an epoch": an_epoch}


def scheduled(_: int, folder: Path) -> bool:
    """As `scheduling.py`."""
    print("| what | wall seconds | goal |\n|---|---|---|", flush=True)
    return not any(figure.missed for figure in scheduling.measure(folder))


def main() -> int:
    """Run the benchmark that is asked for."""
    benchmarks: Mapping[str, tuple[Callable[[int, Path], bool], int]] = {
        "start": (start, 6),
        "run": (run, 3),
        "monitor": (validity.overhead, 10),
        "scheduling": (scheduled, 1),
    }
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benchmark", choices=benchmarks)
    parser.add_argument("--repeats", type=int, help="runs or pairs (default: as the goals ask)")
    asked = parser.parse_args()
    benchmark, repeats = benchmarks[asked.benchmark]
    with tempfile.TemporaryDirectory(prefix="trainbench-overhead-") as folder:
        os.environ["TRAINBENCH_LEASE_FOLDER"] = folder
        reached = benchmark(asked.repeats or repeats, Path(folder))
    print(f"\ngoals {'reached' if reached else 'missed'}")
    return int(not reached)


if __name__ == "__main__":
    sys.exit(main())
