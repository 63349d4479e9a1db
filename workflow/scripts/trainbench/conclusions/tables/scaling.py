"""Says how the throughput of a CPU grows with its threads."""

from typing import Final

import pandas as pd

from trainbench.conclusions.scaling_series import SPEED, THREADS, scaled, series_of
from trainbench.results.columns import interval, real, text, whole
from trainbench.results.tables import TableOrder, frame

COLUMNS: Final = (
    text("model")
    | whole("batch_size")
    | text("host", "framework", "precision", "environment", "device")
    | whole("threads", "n")
    | interval(SPEED)
    | text("reference_device")
    | whole("reference_threads")
    | interval("speedup", "efficiency")
    | real("modelled_samples_per_second")
)


def scaling_table(cells: pd.DataFrame, order: TableOrder | None = None) -> pd.DataFrame:
    """A row for each CPU cell with a known throughput, by threads, with the columns `COLUMNS`.

    `speedup` is over the series' first device with the fewest threads, `reference_device`, of which it is 1 by
    definition; `efficiency` is the speedup for each of the reference's threads: 1 where twice the threads train twice
    as fast. `modelled_samples_per_second` is that of the fitted law, unknown where there is none.
    """
    rows = []
    for series in series_of(cells, order, THREADS):
        law = series.fit.law
        for row in scaled(series):
            modelled = None if law is None else law.throughput(row["threads"])
            rows.append(row | {"modelled_samples_per_second": modelled})
    return frame(rows, COLUMNS)
