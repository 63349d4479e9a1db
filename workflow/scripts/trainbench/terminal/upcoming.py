"""Says what a study would still measure, and how long that will take: what `make plan` shows."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from functools import reduce
from operator import add
from pathlib import Path
from typing import Final

from tabulate import tabulate

from trainbench.plan.study import Run
from trainbench.rules import forecast, so_far
from trainbench.rules.call import Call
from trainbench.rules.forecast import Cell, Forecast, Work, cell_of, time_text, work
from trainbench.words.wording import numbered

MOST_BATCH_SIZES: Final = 6
MOST_CHANGES: Final = 4
_LIMITS: Final = " ("
"""What limits begin with where a time has them."""


def of_call(call: Call, asked_for: Mapping[Run, bool], results: Path) -> str:
    """What a call is to carry out of the runs that it is asked for, each with whether it is to be carried out."""
    to_come, there = ([run for run, comes in asked_for.items() if comes is wanted] for wanted in (True, False))
    changes = so_far.changes(call, to_come, results)
    return text(to_come, there, forecast.of_call(call, results), changes)


def text(
    to_come: Collection[Run], there: Collection[Run], known_by: Forecast, changes: Mapping[Run, Sequence[str]]
) -> str:
    """What is to come, a line for each device and model, then how long all of it takes and by what that is known.

    `there` are runs that are asked for as well, and are there; `changes` has of the runs to come whose results are
    there the settings in which they differ.
    """
    cells, cells_there = (Counter(cell_of(run) for run in runs) for runs in (to_come, there))
    if not to_come:
        return f"Nothing is to be measured: {numbered(len(there), 'run')} asked for, all there.\n"
    estimates = {cell: known_by.estimate(cell) for cell in cells}
    works = {cell: work(known_by.share(cell.device), estimates[cell], count) for cell, count in cells.items()}
    ranks = {name: rank for rank, name in enumerate((*known_by.study.devices, *known_by.study.models))}
    pairs = {(cell.device, cell.model) for cell in (*cells, *cells_there)}
    lines = [
        _line(pair, cells, cells_there, works)
        for pair in sorted(pairs, key=lambda pair: [(ranks.get(name, len(ranks)), name) for name in pair])
    ]
    table = tabulate(
        lines,
        ["device", "model", "batch sizes to run", "to run", "there", "time"],
        tablefmt="simple",
        colalign=("left", "left", "left", "right", "right", "left"),
        disable_numparse=True,
    )
    known = Counter[str]()
    for cell, estimate in estimates.items():
        known["nothing" if estimate is None else estimate.basis] += cells[cell]
    whole = reduce(add, works.values())
    by_throughput = {
        (cell.device, cell.model)
        for cell, estimate in estimates.items()
        if estimate is not None and estimate.basis == "throughput"
    }
    shown = [time_text(whole), *(time for device, model, *_, time in lines if (device, model) in by_throughput)]
    limited = any(_LIMITS in time for time in shown)
    return (
        f"{table}\n\n{numbered(len(to_come), 'run')} to carry out{_time(whole, known_by)}.\n{_sources(known, limited)}"
        f"{_replaced(changes)}"
    )


def _replaced(changes: Mapping[Run, Sequence[str]]) -> str:
    """That results will be lost, where a study with other settings has left some."""
    if not changes:
        return ""
    different = list(dict.fromkeys(change for run in changes for change in changes[run]))
    more = [f"{len(different) - MOST_CHANGES} more"] if len(different) > MOST_CHANGES else []
    replaces = "replaces" if len(changes) == 1 else "replace"
    return (
        f"{len(changes)} of these runs {replaces} results measured with other settings "
        f"({', '.join(different[:MOST_CHANGES] + more)}); keep both with --directory DIR\n"
    )


def _line(pair: tuple[str, str], cells: Counter[Cell], there: Counter[Cell], works: dict[Cell, Work]) -> list[str]:
    device, model = pair
    mine = [cell for cell in cells if (cell.device, cell.model) == pair]
    sizes = sorted(cell.batch_size for cell in mine)
    shown = ", ".join(str(size) for size in sizes[:MOST_BATCH_SIZES])
    more = f" and {len(sizes) - MOST_BATCH_SIZES} more" if len(sizes) > MOST_BATCH_SIZES else ""
    left_alone = sum(count for cell, count in there.items() if (cell.device, cell.model) == pair)
    time = time_text(reduce(add, (works[cell] for cell in mine))) if mine else ""
    return [device, model, f"{shown}{more}", str(sum(cells[cell] for cell in mine)), str(left_alone), time]


def _time(whole: Work, machine: Forecast) -> str:
    time = time_text(whole)
    if time == "unknown":
        return "; how long that takes is unknown"
    if machine.cores is None:
        return f": {time}, one after another; how many the scheduler carries out side by side is not known here"
    gpus = f" and {numbered(machine.gpus, 'GPU')}" if machine.gpus else ""
    return f": {time} on {numbered(machine.cores, 'core')}{gpus}"


def _sources(known: Counter[str], limited: bool) -> str:
    """By what the time is known; `limited` where limits are shown that another batch size tells."""
    meaning = ": limits are as many images and as many steps a second" if limited else ""
    sentences = {
        "cell": "known from runs of the same cell.",
        "throughput": f"known from the nearest batch size alone{meaning}.",
        "nothing": "of unknown length: nothing of the same model and device has been measured here on this host.",
    }
    return "".join(f"{numbered(known[basis], 'run')} {words}\n" for basis, words in sentences.items() if known[basis])
