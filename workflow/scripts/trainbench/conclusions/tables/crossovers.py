"""Says from which batch size on each device trains faster than the reference device."""

from typing import Final

import pandas as pd

from trainbench.conclusions.crossover import crossover
from trainbench.conclusions.tables.speedups import is_reference
from trainbench.results.columns import chosen, grouped, interval, ratio_in, text, yes_or_no
from trainbench.results.tables import TableOrder, frame, rows_of

_SERIES: Final = ("model", "device", "host")

COLUMNS: Final = (
    text(*_SERIES, "reference_device", "reference_host", "batch_sizes", "verdict")
    | interval("crossover_batch_size")
    | yes_or_no("low_open", "high_open", "certain")
)


def crossovers_table(speedups: pd.DataFrame, order: TableOrder) -> pd.DataFrame:
    """A row for each model and device but the reference: where its speedup passes 1, with `COLUMNS`.

    A bound that is empty is unknown, or open (`low_open`, `high_open`): beyond the measured batch sizes.
    """
    others = [row for row in rows_of(speedups) if not is_reference(row)]
    rows = []
    for members in grouped(others, _SERIES).values():
        ratios = {row["batch_size"]: ratio_in(row) for row in members}
        found = crossover(ratios)
        if found is None:
            continue
        single = found.batch_sizes[0] if len(found.batch_sizes) == 1 else None
        rows.append(
            {
                **chosen(members[0], (*_SERIES, "reference_device", "reference_host")),
                "batch_sizes": " ".join(str(size) for size in sorted(ratios)),
                "verdict": found.verdict,
                "crossover_batch_size": single,
                "crossover_batch_size_low": found.low,
                "crossover_batch_size_high": found.high,
                **chosen(vars(found), ("low_open", "high_open", "certain")),
            }
        )
    return frame(rows, COLUMNS, order)
