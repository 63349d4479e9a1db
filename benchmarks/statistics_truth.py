"""Shows that intervals, crossovers, scaling laws and core equivalents recover what was planted in simulated studies.

    .venv/bin/python benchmarks/statistics_truth.py

Simulates 2,000 studies with 3 and 5 runs a cell whose true figures are known; runs scatter by 5 %, lognormally. All
figures and speedups go through whole metrics records and the package's own tables. Crossovers and scaling take too many
runs for that: they go through the package's functions, and the first studies through records and tables too, which
have to say the same. Prints a table; exit code 1 when a goal is missed. Takes about a minute.
"""

import argparse
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

REPOSITORY: Final = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY / "workflow" / "scripts"), str(REPOSITORY / "tests")]

from metrics_builder import TRAIN_SAMPLES, make_record
from trainbench.conclusions.scaling import CoreEquivalent, Point, Usl, core_equivalent, fit_usl, parameter_bounds
from trainbench.conclusions.tables import core_equivalents, speedups
from trainbench.conclusions.tables.crossovers import Crossover, Verdict, crossover, crossovers_table
from trainbench.results import tables
from trainbench.results.statistics import Estimate, Ratio, estimate, ratio

SEED: Final = 2017
NOISE: Final = math.log(1.05)
RUNS_A_CELL: Final = (3, 5)
END_TO_END: Final = 30

CPU_SECONDS: Final = 12.0
SPEEDUP: Final = 8.0

BATCH_SIZES: Final = tuple(2**power for power in range(4, 12))
SLOPE: Final = 0.5

THREADS: Final = (1, 2, 4, 8, 16, 32)
GAMMA: Final = 1000.0
CONTENTION_ERROR: Final = 0.03
COHERENCY_ERROR: Final = 0.001
TOO_FAST: Final = 1.5

ORDER: Final = tables.TableOrder()
REFERENCE: Final = speedups.Reference("cpu")


@dataclass(frozen=True)
class Goal:
    """A share of studies, or another number, that has to lie between two bounds."""

    name: str
    found: float
    low: float = 0.0
    high: float = 1.0

    @property
    def reached(self) -> bool:
        """Whether it does."""
        return self.low <= self.found <= self.high


class Noise:
    """Runs that scatter around a true figure, from one seeded source."""

    def __init__(self, seed: Sequence[int], runs: int) -> None:
        self.random = np.random.default_rng(seed)
        self.runs = runs

    def around(self, truth: float) -> list[float]:
        """The figures of a cell's runs."""
        return (truth * np.exp(NOISE * self.random.standard_normal(self.runs))).tolist()


def covers(low: float | None, high: float | None, truth: float) -> bool:
    """Whether an interval contains the truth; a bound that is None is open."""
    return (low is None or low <= truth) and (high is None or truth <= high)


def share(hits: Iterable[bool]) -> float:
    """The share of hits."""
    return float(np.mean(list(hits)))


def cells_of(records: Iterable[dict[str, Any]]) -> Any:
    """The table of cells, as the pipeline makes it from metrics records."""
    return tables.cells_table(tables.measured(records, ORDER).runs, ORDER)


def records_of(cell: dict[str, Any], seconds: Sequence[float], **changes: Any) -> Iterator[dict[str, Any]]:
    """The records of a cell's runs: a slow first epoch and two steady ones of the given seconds."""
    for repeat, value in enumerate(seconds, start=1):
        yield make_record(**cell, repeat=repeat, train_seconds=(2 * value, value, value), **changes)


# --- figures and speedups ---


def intervals(studies: int, runs: int) -> list[Goal]:
    """How often the intervals of a cell's figure and of a speedup contain the truth."""
    noise = Noise((SEED, 1, runs), runs)

    def records() -> Iterator[dict[str, Any]]:
        for study in range(studies):
            for device, truth in (("cpu", CPU_SECONDS), ("gpu", CPU_SECONDS / SPEEDUP)):
                yield from records_of({"model": f"study{study}", "device": device}, noise.around(truth))

    cells = cells_of(records())
    figures = [tables.figure_of(cell, "train_seconds_per_epoch") for cell in tables.rows_of(cells)]
    truths = [CPU_SECONDS if cell["device"] == "cpu" else CPU_SECONDS / SPEEDUP for cell in tables.rows_of(cells)]
    compared = [
        row for row in tables.rows_of(speedups.speedups_table(cells, ORDER, REFERENCE)) if row["device"] == "gpu"
    ]
    in_figures = [covers(found.low, found.high, truth) for found, truth in zip(figures, truths, strict=True)]
    in_speedups = [covers(row["speedup_low"], row["speedup_high"], SPEEDUP) for row in compared]
    if (len(in_figures), len(in_speedups)) != (2 * studies, studies):
        raise RuntimeError(f"{len(in_figures)} figures and {len(in_speedups)} speedups of {studies} studies")
    return [
        Goal("95 % interval of a figure contains it", share(in_figures), 0.93, 0.97),
        Goal("95 % interval of a speedup contains it", share(in_speedups), 0.93, 0.97),
    ]


# --- crossovers ---


def crossovers(studies: int, runs: int) -> list[Goal]:
    """How near the planted crossing the found one lies, and how often its interval contains it."""
    noise = Noise((SEED, 2, runs), runs)
    planted = np.exp(noise.random.uniform(math.log(48), math.log(700), studies)).tolist()
    seconds = [
        {
            batch_size: (noise.around(CPU_SECONDS), noise.around(CPU_SECONDS / (batch_size / crossing) ** SLOPE))
            for batch_size in BATCH_SIZES
        }
        for crossing in planted
    ]
    found = [_crossover_of(study) for study in seconds]
    single = [
        (crossing, of_study)
        for crossing, of_study in zip(planted, found, strict=True)
        if of_study.verdict == Verdict.FASTER_FROM
    ]
    errors = np.array([of_study.batch_sizes[0] / crossing for crossing, of_study in single])
    return [
        Goal("crossover: verdict is the planted one", len(single) / studies, 0.95),
        Goal("crossover: what is claimed is wrong", share(_is_wrong(of_study) for of_study in found), high=0.01),
        Goal("crossover: median of found / planted", float(np.median(errors)), 0.98, 1.02),
        Goal("crossover: found within 20 % of planted", share(np.abs(np.log(errors)) < math.log(1.2)), 0.95),
        Goal(
            "crossover: interval contains the planted one",
            share(covers(of_study.low, of_study.high, crossing) for crossing, of_study in single),
            0.93,
        ),
        Goal("crossover: tables say the same", _crossovers_agree(seconds[:END_TO_END], found[:END_TO_END]), 1.0),
    ]


BySize = dict[int, tuple[list[float], list[float]]]


def _crossover_of(seconds: BySize) -> Crossover:
    ratios = {size: _ratio(estimate(cpu), estimate(gpu)) for size, (cpu, gpu) in seconds.items()}
    found = crossover(ratios)
    if found is None:
        raise RuntimeError("no crossover from speedups")
    return found


def _ratio(numerator: Estimate, denominator: Estimate) -> Ratio:
    found = ratio(numerator, denominator)
    if found is None:
        raise RuntimeError("no ratio of known figures")
    return found


def _is_wrong(found: Crossover) -> bool:
    throughout = {Verdict.FASTER_THROUGHOUT, Verdict.SLOWER_THROUGHOUT}
    return found.verdict in {*throughout, Verdict.FASTER_UP_TO, Verdict.CHANGES}


def _crossovers_agree(seconds: Sequence[BySize], found: Sequence[Crossover]) -> float:
    """The share of studies whose crossover the tables give alike, from whole records."""

    def records() -> Iterator[dict[str, Any]]:
        for study, by_size in enumerate(seconds):
            for batch_size, of_devices in by_size.items():
                for device, values in zip(("cpu", "gpu"), of_devices, strict=True):
                    cell = {"model": f"study{study}", "batch_size": batch_size, "device": device}
                    yield from records_of(cell, values)

    table = crossovers_table(speedups.speedups_table(cells_of(records()), ORDER, REFERENCE), ORDER)
    rows = {row["model"]: row for row in tables.rows_of(table)}
    return share(
        rows[f"study{study}"]["verdict"] == expected.verdict
        and _same(rows[f"study{study}"]["crossover_batch_size_low"], expected.low)
        and _same(rows[f"study{study}"]["crossover_batch_size_high"], expected.high)
        for study, expected in enumerate(found)
    )


def _same(one: float | None, other: float | None) -> bool:
    return one is other if one is None or other is None else math.isclose(one, other, rel_tol=1e-6)


# --- scaling ---


@dataclass(frozen=True)
class Scaling:
    """A study of threads and a GPU: what is true, and the measured samples a second."""

    law: Usl
    cores: float
    cpus: dict[int, list[float]]
    gpu: list[float]
    fast_gpu: list[float]


def scaling(studies: int, runs: int) -> list[Goal]:
    """How near the planted law and the planted number of cores the found ones lie."""
    noise = Noise((SEED, 3, runs), runs)
    simulated = [_simulated(noise) for _ in range(studies)]
    fits = [_law_of(study) for study in simulated]
    fitted = [(study, law) for study, law in zip(simulated, fits, strict=True) if law is not None]
    matches = [core_equivalent(law, estimate(study.gpu)) for study, law in fitted]
    too_fast = [core_equivalent(law, estimate(study.fast_gpu)) for study, law in fitted]
    cores = np.array([match.cores or math.inf for match in matches]) / np.array([study.cores for study, _ in fitted])
    worst = np.array([_worst_error(study.law, law) for study, law in fitted])
    gammas = np.array([law.gamma / study.law.gamma for study, law in fitted])
    contentions = np.array([law.contention - study.law.contention for study, law in fitted])
    coherencies = np.array([law.coherency - study.law.coherency for study, law in fitted])

    def covered(parameter: int, of_law: Callable[[Usl], float]) -> float:
        bounds = [(parameter_bounds(law) or ())[parameter] for _, law in fitted]
        return share(covers(*bound, of_law(study.law)) for bound, (study, _) in zip(bounds, fitted, strict=True))

    return [
        Goal("law: a fit is found", len(fitted) / studies, 1.0),
        Goal("law: throughput at every thread count within 10 %", share(worst < math.log(1.1)), 0.95),
        Goal("law: gamma within 10 %", share(np.abs(np.log(gammas)) < math.log(1.1)), 0.95),
        Goal(f"law: contention within {CONTENTION_ERROR}", share(np.abs(contentions) < CONTENTION_ERROR), 0.95),
        Goal(f"law: coherency within {COHERENCY_ERROR}", share(np.abs(coherencies) < COHERENCY_ERROR), 0.95),
        Goal("law: interval contains gamma", covered(0, lambda law: law.gamma), 0.93),
        Goal("law: interval contains contention", covered(1, lambda law: law.contention), 0.93),
        Goal("law: interval contains coherency", covered(2, lambda law: law.coherency), 0.93),
        Goal("cores: median of found / planted", float(np.median(cores)), 0.98, 1.02),
        Goal("cores: found within 20 % of planted", share(np.abs(np.log(cores)) < math.log(1.2)), 0.95),
        Goal(
            "cores: interval contains the planted number",
            share(
                covers(match.low, match.high, study.cores) for match, (study, _) in zip(matches, fitted, strict=True)
            ),
            0.93,
        ),
        Goal(f"cores: none match {TOO_FAST} times the peak", share(match.cores is None for match in too_fast), 0.95),
        Goal(
            f"cores: interval of {TOO_FAST} times the peak admits none",
            share(match.high_open for match in too_fast),
            0.975,
        ),
        Goal("cores: tables say the same", _scaling_agrees(simulated[:END_TO_END], matches[:END_TO_END]), 1.0),
    ]


def _simulated(noise: Noise) -> Scaling:
    """A law whose peak the thread counts reach or not, and a GPU on the rising part, where cores can match it."""
    contention = noise.random.uniform(0.0, 0.15)
    coherency = math.exp(noise.random.uniform(math.log(2e-4), math.log(4e-3)))
    law = Usl(GAMMA, contention, coherency, THREADS[0], THREADS[-1])
    peak = law.peak_threads or THREADS[-1]
    cores = noise.random.uniform(1.5, 0.5 * min(peak, THREADS[-1]))
    cpus = {count: noise.around(law.throughput(count)) for count in THREADS}
    return Scaling(law, cores, cpus, noise.around(law.throughput(cores)), noise.around(TOO_FAST * law.throughput(peak)))


def _law_of(study: Scaling) -> Usl | None:
    return fit_usl(tuple(Point(count, estimate(values)) for count, values in study.cpus.items())).law


def _worst_error(planted: Usl, found: Usl) -> float:
    return max(abs(math.log(found.throughput(count) / planted.throughput(count))) for count in THREADS)


def _scaling_agrees(simulated: Sequence[Scaling], matches: Sequence[CoreEquivalent]) -> float:
    """The share of studies whose core equivalent the tables give alike, from whole records."""
    samples = TRAIN_SAMPLES // 512 * 512

    def records() -> Iterator[dict[str, Any]]:
        for study, truth in enumerate(simulated):
            for count, values in truth.cpus.items():
                cell = {"model": f"study{study}", "device": f"cpu-{count}t", "usable_threads": THREADS[-1]}
                threads = {"device_used": {"threads": {"intra_op": count}}}
                yield from records_of(cell, [samples / value for value in values], **threads)
            cell = {"model": f"study{study}", "device": "gpu", "usable_threads": THREADS[-1]}
            yield from records_of(cell, [samples / value for value in truth.gpu])

    rows = {row["model"]: row for row in tables.rows_of(core_equivalents.core_equivalents_table(cells_of(records())))}
    return share(
        _same(rows[f"study{study}"]["cores"], expected.cores)
        and _same(rows[f"study{study}"]["cores_low"], expected.low)
        and _same(rows[f"study{study}"]["cores_high"], expected.high)
        for study, expected in enumerate(matches)
    )


def main() -> int:
    """Simulate, compare, print."""
    parser = argparse.ArgumentParser(description="Recover what was planted in simulated studies.")
    parser.add_argument("--studies", type=int, default=2000)
    studies = parser.parse_args().studies
    print(f"{studies} studies, runs scatter by 5 %\n")
    print("| what | runs a cell | found | goal | reached |\n|---|---|---|---|---|", flush=True)
    all_reached = True
    for simulate in (intervals, crossovers, scaling):
        for runs in RUNS_A_CELL:
            for goal in simulate(studies, runs):
                all_reached &= goal.reached
                wanted = f"{goal.low:g} to {goal.high:g}"
                print(
                    f"| {goal.name} | {runs} | {goal.found:.4f} | {wanted} | {'yes' if goal.reached else 'no'} |",
                    flush=True,
                )
    return int(not all_reached)


if __name__ == "__main__":
    sys.exit(main())
