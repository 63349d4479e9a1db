"""Shows what the live view of a study takes from the cores that runs are measured on.

    .venv/bin/python benchmarks/live_view.py [--seconds 60] [--waiting-cells 1000]

Runs a view at a pseudoterminal, in a process that does nothing else, over so many runs that note an epoch four times a
second (as short epochs do) and so many cells that wait. Prints the share of a core that the process took, drawing and
reading notes together; exit code 1 where that is 0.5 % or more. Takes a minute and a half.
"""

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parents[1]
PATHS: Final = [str(REPOSITORY / "workflow" / "scripts"), str(REPOSITORY / "tests")]
sys.path[:0] = PATHS

PERCENT_GOAL: Final = 0.5
NOTES_A_SECOND: Final = 4
RUNS_SIDE_BY_SIDE: Final = (1, 2, 8)


def show(folder: Path, runs: int, waiting_cells: int, seconds: float) -> None:
    """Be the process with the view; write the share of a core that it took to a file."""
    from dataclasses import replace

    from forecast_study import DATA, HOST, STUDY
    from trainbench.plan.study import ModelSettings, Run
    from trainbench.rules.forecast import Forecast
    from trainbench.terminal import live_view, under_way

    study = replace(STUDY, model_settings={"conv": ModelSettings(10_000, {})})
    under = [Run("conv", 512, "cpu", repeat) for repeat in range(1, runs + 1)]
    waiting = [Run("conv", 1000 + cell, "cpu", 1) for cell in range(waiting_cells)]
    watch = under_way.Watch([*under, *waiting], Forecast(study, folder, DATA, HOST, cores=2, gpus=0))
    for job, run in enumerate(under):
        watch.began(job, run, time.monotonic())
    view = live_view.View(watch.state)
    time.sleep(2.0)
    begin, begin_cpu = time.monotonic(), time.process_time()
    time.sleep(seconds)
    share = (time.process_time() - begin_cpu) / (time.monotonic() - begin)
    view.stop()
    (folder / "share.txt").write_text(str(share), encoding="utf-8")


def note(folder: Path, runs: int, done: threading.Event) -> None:
    """Note epochs of all runs, as their training processes would."""
    from trainbench.terminal.under_way import NOTES_NAME

    files = []
    for repeat in range(1, runs + 1):
        path = folder / f"runs/conv/512/cpu/{repeat}" / NOTES_NAME
        path.parent.mkdir(parents=True, exist_ok=True)
        files.append(path.open("ab", buffering=0))
    epoch = 0
    while not done.wait(1 / NOTES_A_SECOND):
        epoch += 1
        line = {
            "proof": {},
            "epochs": [{"epoch": epoch, "train_seconds": 0.2 + epoch % 7 / 1000, "eval_seconds": 0.01}],
        }
        for file in files:
            file.write(json.dumps(line).encode() + b"\n")


def measure(runs: int, waiting_cells: int, seconds: float) -> float:
    """The share of a core that a view over so many runs takes."""
    from terminal import Terminal

    with tempfile.TemporaryDirectory(prefix="trainbench-view-") as name:
        folder = Path(name)
        done = threading.Event()
        writer = threading.Thread(target=note, args=(folder, runs, done))
        time.sleep(0.1)
        arguments = ["--show", name, "--runs", str(runs), "--waiting-cells", str(waiting_cells)]
        terminal = Terminal([sys.executable, __file__, *arguments, "--seconds", str(seconds)], dict(os.environ), folder)
        time.sleep(1.0)
        writer.start()
        try:
            terminal.wait(seconds + 60)
        finally:
            done.set()
            writer.join()
        return float((folder / "share.txt").read_text(encoding="utf-8"))


def main() -> int:
    """Measure, print, compare with the goal."""
    parser = argparse.ArgumentParser(description="What the live view takes.")
    parser.add_argument("--seconds", type=float, default=25.0, help="of each measurement")
    parser.add_argument("--waiting-cells", type=int, default=1000)
    parser.add_argument("--show", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--runs", type=int, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.show is not None:
        show(chosen.show, chosen.runs, chosen.waiting_cells, chosen.seconds)
        return 0
    print("| runs side by side | share of a core (%) |\n|---|---|", flush=True)
    percents = []
    for runs in RUNS_SIDE_BY_SIDE:
        percents.append(100 * measure(runs, chosen.waiting_cells, chosen.seconds))
        print(f"| {runs} | {percents[-1]:.2f} |", flush=True)
    return int(max(percents) >= PERCENT_GOAL)


if __name__ == "__main__":
    sys.exit(main())
