"""Sets what each cell achieves against its device's roofs: arithmetic, memory, and what neither explains.

Source of the model: S. Williams, A. Waterman and D. Patterson, "Roofline: an insightful visual performance model for
multicore architectures" (Communications of the ACM 52(4), 2009).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pandas as pd

from trainbench.results.cells_table import in_common
from trainbench.results.columns import CELL, CELL_KEY, CellKey, Row, chosen, grouped, real, spread_out, text, whole
from trainbench.results.columns import estimate as estimate_columns
from trainbench.results.runs_table import COMPLETED
from trainbench.results.statistics import estimate
from trainbench.results.tables import TableOrder, frame, rows_of

COMPUTE: Final = "compute"
MEMORY: Final = "memory"
OVERHEAD: Final = "overhead"
DISTURBED: Final = "disturbed"
UNDECIDED: Final = "undecided"

OVERHEAD_BELOW: Final = 0.1
"""Share of what is attainable below which neither arithmetic nor memory explains the time.

The bytes of a model are the least possible. A framework that carries out operation after operation moves about seven
times as many for the conv net: activation functions, pooling, dropout and their gradients each read and write again
what the convolutions put out. So memory may be what limits a cell at a seventh of its roof, and arithmetic what limits
one whose matrices are too small to fill the device at half of it; at less than a tenth, something else does: starting
and dispatching many small operations, one after the other.
"""

DISTURBED_BY: Final = (
    *(
        "other_load",
        "cpu_pressure",
        "cpu_steal",
        "cores_shared",
        "cores_contend",
        "gpu_shared",
        "stood_still",
        "held_up",
    ),
)
"""Checks that found others at work on a run's cores or card, or nobody: it tells nothing of the device then."""

COMPUTED_WITH: Final = ("framework", "precision", "gpus")
"""What a device computes with, on which its ceilings depend: the same name can mean another in another study."""

_CEILINGS: Final = ("flop_ceiling_per_second", "bytes_ceiling_per_second")

COLUMNS: Final = (
    CELL
    | whole("n")
    | text("framework", "precision")
    | whole("gpus")
    | estimate_columns("achieved_flop_per_second")
    | real(*_CEILINGS, "flop_per_byte", "attainable_flop_per_second")
    | real("fraction_of_attainable", "fraction_of_flop_ceiling")
    | text("bound")
)


def roofline_table(runs: pd.DataFrame, order: TableOrder | None = None) -> pd.DataFrame:
    """A row for each cell of each host, with the columns `COLUMNS`.

    `runs` is the table of runs. `n` counts the completed runs, whose FLOP a second are summarised by their geometric
    mean with its 95 % interval. A device's ceilings are the highest that any of its runs on the host saw, with its
    framework and in its precision: a disturbed measurement can only be too low. Runs measure the ceilings of one GPU,
    so those of a device with several are as many times as high. `attainable_flop_per_second` is the lower of the two
    roofs at the cell's arithmetic intensity (`flop_per_byte`), and `bound` says which that is, or "overhead" for less
    than `OVERHEAD_BELOW` of it; it is "undecided" where the interval of what is achieved contains that share, and
    "disturbed" where one of `DISTURBED_BY` flagged a completed run.
    """
    ceilings = _ceilings(runs)
    rows = [_row(key, members, ceilings) for key, members in grouped(rows_of(runs)).items()]
    return frame(rows, COLUMNS, order or TableOrder())


def bound(achieved: float, flop_per_byte: float, flop_ceiling: float, bytes_ceiling: float) -> str:
    """What limits a cell: the roof above it, left or right of the ridge where both meet, or overhead far below both.

    Args:
        achieved: FLOP a second.
        flop_per_byte: Arithmetic intensity.
        flop_ceiling: FLOP a second that the device can do at most.
        bytes_ceiling: Bytes a second that the device's memory can move at most.
    """
    if achieved < OVERHEAD_BELOW * min(flop_ceiling, flop_per_byte * bytes_ceiling):
        return OVERHEAD
    return COMPUTE if flop_per_byte >= flop_ceiling / bytes_ceiling else MEMORY


def _ceilings(runs: pd.DataFrame) -> dict[tuple[Any, ...], dict[str, float]]:
    """The ceilings of each device of each host that knows them, by these and what it computed with."""
    names = list(_CEILINGS)
    highest = runs.dropna(subset=names).groupby(["device", "host", *COMPUTED_WITH], sort=False)[names].max()
    cards = [max(1, key[-1]) for key in highest.index]
    return dict(zip(highest.index, highest.mul(cards, axis=0).to_dict("records"), strict=True))


def _row(key: CellKey, runs: Sequence[Row], ceilings: Mapping[tuple[Any, ...], Mapping[str, float]]) -> dict[str, Any]:
    completed = [run for run in runs if run["status"] == COMPLETED]
    own = {column: in_common(run[column] for run in runs) for column in COMPUTED_WITH}
    intensities = (run["flop_per_byte"] for run in completed if run["flop_per_byte"] is not None)
    row = {
        **chosen(runs[0], CELL_KEY),
        "n": len(completed),
        **own,
        **spread_out("achieved_flop_per_second", estimate(run["achieved_flop_per_second"] for run in completed)),
        "flop_per_byte": next(intensities, None),
        **ceilings.get((*key[2:], *own.values()), {}),
    }
    placed = _placed(row)
    if placed and any(not set(DISTURBED_BY).isdisjoint(run["flags"].split()) for run in completed):
        placed["bound"] = DISTURBED
    return row | placed


def _placed(row: Mapping[str, Any]) -> dict[str, Any]:
    """Where a cell stands below its device's roofs; nothing where one of the two is unknown."""
    achieved, flop_per_byte = row["achieved_flop_per_second"], row["flop_per_byte"]
    flop_ceiling, bytes_ceiling = (row.get(name) for name in _CEILINGS)
    if achieved is None or flop_per_byte is None or flop_ceiling is None or bytes_ceiling is None:
        return {}
    attainable = min(flop_ceiling, flop_per_byte * bytes_ceiling)
    low, high = row["achieved_flop_per_second_low"], row["achieved_flop_per_second_high"]
    ends = (achieved,) if low is None or high is None else (low, high)
    bounds = {bound(end, flop_per_byte, flop_ceiling, bytes_ceiling) for end in ends}
    return {
        "attainable_flop_per_second": attainable,
        "fraction_of_attainable": achieved / attainable,
        "fraction_of_flop_ceiling": achieved / flop_ceiling,
        "bound": bounds.pop() if len(bounds) == 1 else UNDECIDED,
    }
