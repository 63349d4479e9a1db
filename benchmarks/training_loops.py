"""Shows how fast our training is beside the 2017 tutorials' loop, Keras' `fit`, and what the machine could do at most.

    .venv/bin/python benchmarks/training_loops.py                              # about ten minutes on two cores
    .venv/bin/python benchmarks/training_loops.py --cells lstm:128 --repeats 6
    .venv/bin/python benchmarks/training_loops.py --before ../earlier          # and a checkout of another version

Each training is a process of its own (`contenders.py`); all contenders of all cells take turns in random order, as many
times as repeats are asked for. A run's figure is the median over its epochs but the first, without evaluation; what is
compared are geometric means over runs, with 95 % intervals. conv trains on a part of the images, the same for all, and
its seconds are scaled to the whole epoch.

The floor of a cell is the larger of two times: its FLOP at the speed of matrix products, and the least bytes that it
has to move at the speed of memory, both speeds as the runs of ours measure them after their last epoch
(docs/measuring.md, "Roofline"). Prints a Markdown table and the goals; writes every run as CSV, and a figure. Exit code
1 when a goal is missed. Keep the machine idle meanwhile.
"""

import argparse
import csv
import functools
import json
import os
import random
import statistics as plain_statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Final

import matplotlib.pyplot as plt
import numpy as np

import one_run
from trainbench.figures import axes as figure_axes
from trainbench.figures import looks as figure_looks
from trainbench.machine import clean_environment, host
from trainbench.results import statistics

SCRIPT: Final = Path("benchmarks", "contenders.py")
RESULTS: Final = one_run.REPOSITORY / "benchmarks" / "results"
IMAGES_AN_EPOCH: Final = 55_000
EPOCHS: Final = {"logistic": 20, "conv": 4, "lstm": 4}
IMAGES: Final = {"conv": 5_120}
"""Ten batches of 512, forty of 128: an epoch of all images takes a quarter of a minute."""

NAMES: Final = {
    "ours": "trainbench",
    "undivided": "trainbench, undivided",
    "before": "trainbench before",
    "2017": "loop of 2017",
    "keras": "Keras fit",
}
OWN: Final = ("ours", "undivided", "before")
CONTENDERS: Final = ("ours", "undivided", "2017", "keras")
COMPARED: Final = ("ours", "2017", "keras")


@dataclass(frozen=True)
class Goal:
    """How many times as fast as the others ours has to be, and how many times its floor an epoch may take."""

    against_2017: float
    against_keras: float
    times_floor: float


GOALS: Final[Mapping[tuple[str, int], Goal]] = {
    ("logistic", 128): Goal(4.0, 15.0, 2.5),
    ("logistic", 512): Goal(2.5, 8.0, 2.0),
    ("conv", 128): Goal(1.3, 2.0, 1.5),
    ("conv", 512): Goal(1.3, 2.0, 1.5),
    ("lstm", 512): Goal(2.0, 2.5, 4.0),
}


@dataclass(frozen=True)
class Measured:
    """One run: a row of the CSV file. Ceilings are None where the contender does not measure them."""

    turn: int
    contender: str
    model: str
    batch_size: int
    repeat: int
    images: int
    epochs: int
    seconds_an_epoch: float
    """Median of all epochs but the first, scaled to 55,000 images."""
    first_epoch_seconds: float
    accuracy: float
    flop_per_example: float
    bytes_per_example: float
    flop_per_second: float | None
    bytes_per_second: float | None
    threads: int
    machine: str


@dataclass(frozen=True)
class Compared:
    """A cell: seconds an epoch of each contender, and the floor."""

    model: str
    batch_size: int
    seconds: Mapping[str, statistics.Estimate]
    floor_seconds: float | None
    bound: str

    def times_faster(self, than: str) -> statistics.Ratio | None:
        """How many times as long another contender takes as ours."""
        if than not in self.seconds or "ours" not in self.seconds:
            return None
        return statistics.ratio(self.seconds[than], self.seconds["ours"])

    def times_floor(self, contender: str) -> float | None:
        """How many times its floor an epoch takes."""
        value = self.seconds[contender].value if contender in self.seconds else None
        return None if value is None or self.floor_seconds is None else value / self.floor_seconds


def measure(
    cell: tuple[str, int], contender: str, *, repeat: int, turn: int, prepared: Path, threads: int, checkout: Path
) -> Measured:
    """Train once in a new process, with the code of `checkout`."""
    model, batch_size = cell
    images = IMAGES.get(model, IMAGES_AN_EPOCH)
    # Ours trains in the environment that its launcher gives it, the others in the user's.
    plain = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "2"}
    environment = clean_environment.of_process(plain, threads, ()) if contender in OWN else plain
    options = {"images": images, "epochs": EPOCHS[model], "threads": threads}
    process = subprocess.run(
        [
            *[sys.executable, str(checkout / SCRIPT), "ours" if contender == "before" else contender],
            *[model, str(batch_size), str(prepared)],
            *[text for name, value in options.items() for text in (f"--{name}", str(value))],
        ],
        env=environment,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    if process.returncode != 0:
        sys.exit(f"{contender} {model} {batch_size} failed:\n{process.stderr[-3000:]}")
    found = json.loads(process.stdout.splitlines()[-1])
    ceilings = found["ceilings"] or {}
    first, *others = found["train_seconds"]
    scale = IMAGES_AN_EPOCH / found["images"]
    return Measured(
        turn=turn,
        contender=contender,
        model=model,
        batch_size=batch_size,
        repeat=repeat,
        images=found["images"],
        epochs=EPOCHS[model],
        seconds_an_epoch=scale * plain_statistics.median(others),
        first_epoch_seconds=scale * first,
        accuracy=found["accuracy"],
        flop_per_example=found["flop_per_example"],
        bytes_per_example=found["bytes_per_example"],
        flop_per_second=ceilings.get("flop_per_second"),
        bytes_per_second=ceilings.get("bytes_per_second"),
        threads=threads,
        machine=machine(),
    )


def measure_all(
    cells: Sequence[tuple[str, int]], checkouts: Mapping[str, Path], repeats: int, threads: int, seed: int
) -> list[Measured]:
    """Every contender of every cell, `repeats` times, each round in an order of its own."""
    chance = random.Random(seed)
    runs: list[Measured] = []
    with tempfile.TemporaryDirectory(prefix="trainbench-loops-") as folder:
        prepared = one_run.prepared_dataset(Path(folder))
        for repeat in range(1, repeats + 1):
            order = [(cell, contender) for cell in cells for contender in checkouts]
            chance.shuffle(order)
            for cell, contender in order:
                runs.append(
                    measure(
                        cell,
                        contender,
                        repeat=repeat,
                        turn=len(runs) + 1,
                        prepared=prepared,
                        threads=threads,
                        checkout=checkouts[contender],
                    )
                )
                print(f"{repeat}/{repeats} {_line(runs[-1])}", file=sys.stderr, flush=True)
    return runs


def _line(run: Measured) -> str:
    return f"{run.model} {run.batch_size} {NAMES[run.contender]}: {run.seconds_an_epoch:.4g} s an epoch"


def compare(runs: Iterable[Measured]) -> list[Compared]:
    """The cells, each with its floor; a ceiling is the highest that any run saw."""
    runs = list(runs)
    flop_ceiling = max((run.flop_per_second for run in runs if run.flop_per_second), default=None)
    bytes_ceiling = max((run.bytes_per_second for run in runs if run.bytes_per_second), default=None)
    found = []
    for model, batch_size in dict.fromkeys((run.model, run.batch_size) for run in runs):
        of_cell = [run for run in runs if (run.model, run.batch_size) == (model, batch_size)]
        floor_seconds, bound = None, ""
        if flop_ceiling is not None and bytes_ceiling is not None:
            of_flop = IMAGES_AN_EPOCH * of_cell[0].flop_per_example / flop_ceiling
            of_bytes = IMAGES_AN_EPOCH * of_cell[0].bytes_per_example / bytes_ceiling
            floor_seconds, bound = max((of_flop, "FLOP"), (of_bytes, "bytes"))
        seconds = {
            name: statistics.estimate(run.seconds_an_epoch for run in of_cell if run.contender == name)
            for name in NAMES
            if any(run.contender == name for run in of_cell)
        }
        found.append(Compared(model, batch_size, seconds, floor_seconds, bound))
    return sorted(found, key=lambda cell: (list(EPOCHS).index(cell.model), cell.batch_size))


def table(cells: Sequence[Compared]) -> str:
    """Seconds an epoch and ratios, with 95 % intervals."""
    shown = [name for name in NAMES if any(name in cell.seconds for cell in cells)]
    others = [name for name in shown if name != "ours"]
    lines = [
        f"| cell | {' | '.join(f'{NAMES[name]} (s)' for name in shown)} | "
        f"{' | '.join(f'against {NAMES[other]}' for other in others)} | floor (s) | times floor |",
        f"|{'---|' * (len(shown) + len(others) + 3)}",
    ]
    for cell in cells:
        values = [
            f"{cell.model} {cell.batch_size}",
            *(_estimate(cell.seconds.get(name)) for name in shown),
            *(_ratio(cell.times_faster(other)) for other in others),
            "-" if cell.floor_seconds is None else f"{cell.floor_seconds:.3g} ({cell.bound})",
            _factor(cell.times_floor("ours")),
        ]
        lines.append(f"| {' | '.join(values)} |")
    return "\n".join(lines)


def verdicts(cells: Sequence[Compared]) -> list[tuple[str, bool]]:
    """Each goal in words, and whether its figure reaches it."""
    found = []
    for cell in cells:
        goal = GOALS.get((cell.model, cell.batch_size))
        if goal is None:
            continue
        name = f"{cell.model} {cell.batch_size}"
        for other, least in (("2017", goal.against_2017), ("keras", goal.against_keras)):
            ratio = cell.times_faster(other)
            if ratio is not None:
                text = f"{name} against {NAMES[other]}: {ratio.value:.2f}, at least {least:g}"
                found.append((text, ratio.value >= least))
        times = cell.times_floor("ours")
        if times is not None:
            found.append(
                (f"{name} times its floor: {times:.2f}, at most {goal.times_floor:g}", times <= goal.times_floor)
            )
    return found


def draw(cells: Sequence[Compared], title: str, path: Path) -> None:
    """Seconds an epoch of each contender and the floor, on a logarithmic scale."""
    plt.style.use(figure_looks.STYLE_FILE)
    figure, axes = plt.subplots(figsize=(7.5, 0.9 + 0.75 * len(cells)), layout="constrained")
    looks = figure_looks.device_looks(list(NAMES))
    shown = [name for name in NAMES if any(name in cell.seconds for cell in cells)]
    rows = range(len(cells))
    for place, name in enumerate(shown):
        offset = 0.4 * (place + 0.5) / len(shown) - 0.2
        drawn = [(row, cell.seconds[name]) for row, cell in zip(rows, cells, strict=True) if name in cell.seconds]
        values = [estimate.value or 0.0 for _, estimate in drawn]
        reach = [
            [(estimate.value or 0.0) - (estimate.low or estimate.value or 0.0) for _, estimate in drawn],
            [(estimate.high or estimate.value or 0.0) - (estimate.value or 0.0) for _, estimate in drawn],
        ]
        places = [row + offset for row, _ in drawn]
        look = looks[name]
        axes.errorbar(
            values, places, xerr=reach, fmt=look.marker, color=look.color, capsize=3, linestyle="", label=NAMES[name]
        )
    for row, cell in zip(rows, cells, strict=True):
        if cell.floor_seconds is not None:
            axes.plot(
                [cell.floor_seconds] * 2, [row - 0.35, row + 0.35], color="black", label="floor" if row == 0 else None
            )
    seconds = [estimate.value for cell in cells for estimate in cell.seconds.values()]
    known = [value for value in (*seconds, *(cell.floor_seconds for cell in cells)) if value is not None]
    figure_axes.log_axis(axes, "x", np.array(known), margin=1.4)
    axes.set(xlabel="Seconds to train one epoch, evaluation left out (log scale)", title=title)
    axes.set_yticks(list(rows), [f"{cell.model} {cell.batch_size}" for cell in cells])
    axes.invert_yaxis()
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    figure.savefig(path)
    plt.close(figure)


def write(runs: Sequence[Measured], path: Path) -> None:
    """Every run as a row."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Measured)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(run) for run in runs)


@functools.cache
def machine() -> str:
    """The cores and the model of CPU."""
    return f"{len(os.sched_getaffinity(0))} cores of an {host.inventory().cpu.model or 'unknown CPU'}"


def read(path: Path) -> list[Measured]:
    """The runs of a file that `write` wrote."""
    texts = {"contender", "model", "machine"}
    with path.open(encoding="utf-8", newline="") as file:
        return [
            Measured(**{name: value if name in texts else _number(value) for name, value in row.items()})  # type: ignore[arg-type]
            for row in csv.DictReader(file)
        ]


def _number(text: str) -> float | int | None:
    if not text:
        return None
    return int(text) if text.isdecimal() else float(text)


def _estimate(estimate: statistics.Estimate | None) -> str:
    if estimate is None or estimate.value is None:
        return "-"
    if estimate.low is None:
        return f"{estimate.value:.4g}"
    return f"{estimate.value:.4g} ({estimate.low:.4g} to {estimate.high:.4g})"


def _ratio(ratio: statistics.Ratio | None) -> str:
    if ratio is None:
        return "-"
    return f"{ratio.value:.2f}" if ratio.low is None else f"{ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"


def _factor(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _cell(text: str) -> tuple[str, int]:
    model, _, batch_size = text.partition(":")
    if model not in EPOCHS or not batch_size.isdecimal():
        raise argparse.ArgumentTypeError(f"{text}: expected MODEL:BATCH_SIZE, such as lstm:512")
    return model, int(batch_size)


def main() -> int:
    """Measure, or read what was measured; print, draw, compare with the goals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", nargs="+", type=_cell, default=list(GOALS), metavar="MODEL:BATCH_SIZE")
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=COMPARED)
    parser.add_argument("--before", type=Path, metavar="CHECKOUT", help="of another version, to train with it as well")
    parser.add_argument("--repeats", type=int, default=4)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seed", type=int, default=2017, help="of the order of runs")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the CSV file and the figure")
    parser.add_argument("--read", type=Path, help="show an earlier CSV file instead of measuring")
    asked = parser.parse_args()
    asked.results.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    if asked.read:
        runs = read(asked.read)
    else:
        checkouts = dict.fromkeys(asked.contenders, one_run.REPOSITORY)
        if asked.before is not None:
            checkouts["before"] = asked.before
        runs = measure_all(asked.cells, checkouts, asked.repeats, asked.threads, asked.seed)
        write(runs, asked.results / "training_loops.csv")
    cells = compare(runs)
    name = f"{runs[0].machine}, {runs[0].threads} threads"
    draw(cells, name, asked.results / "training_loops.svg")
    repeats, minutes = max(run.repeat for run in runs), (time.monotonic() - began) / 60
    print(f"{name}; {repeats} runs each, {minutes:.1f} minutes\n\n{table(cells)}\n")
    found = verdicts(cells)
    for text, reached in found:
        print(f"- {'reached' if reached else 'missed'}: {text}")
    return int(not all(reached for _, reached in found))


if __name__ == "__main__":
    sys.exit(main())
