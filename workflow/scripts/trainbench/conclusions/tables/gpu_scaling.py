"""Says how throughput grows with the number of GPUs."""

from typing import Final

import pandas as pd

from trainbench.conclusions.scaling_series import GPUS, SPEED, scaled, series_of
from trainbench.results.columns import interval, text, whole
from trainbench.results.tables import TableOrder, frame

COLUMNS: Final = (
    text("model")
    | whole("batch_size")
    | text("host", "device_name", "framework", "precision", "environment", "device")
    | whole("gpus", "n")
    | interval(SPEED)
    | text("reference_device")
    | whole("reference_gpus")
    | interval("speedup", "efficiency")
)


def gpu_scaling_table(cells: pd.DataFrame, order: TableOrder | None = None) -> pd.DataFrame:
    """A row for each GPU cell measured with several numbers of GPUs, with the columns `COLUMNS`.

    `speedup` is over the series' first device with the fewest GPUs, `reference_device`, and `efficiency` the speedup
    for each of the reference's GPUs, as the table `scaling` has them of threads. The batch size is that of all.
    """
    several = [series for series in series_of(cells, order, GPUS) if len(series.counts) > 1]
    return frame([row for series in several for row in scaled(series)], COLUMNS)
