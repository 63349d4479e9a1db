"""Says what an epoch costs: joules where they are known, and money where a price per hour is given."""

from collections.abc import Mapping
from typing import Any, Final

import pandas as pd

from trainbench.results.columns import CELL, CELL_KEY, ESTIMATE, Row, cell_key, chosen, estimate, real, text, whole
from trainbench.results.tables import TableOrder, cells_by_key, frame, rows_of

SECONDS_PER_HOUR: Final = 3600.0
_ENERGIES: Final = ("energy_joules_per_epoch", "cpu_energy_joules_per_epoch")

COLUMNS: Final = (
    CELL
    | whole("n")
    | text("priced_by")
    | real("price_per_hour")
    | text("currency")
    | real("target_accuracy")
    | estimate(*_ENERGIES, "price_per_epoch", "price_to_accuracy")
    | text("price_to_accuracy_note")
)


def costs_table(
    cells: pd.DataFrame,
    accuracy_times: pd.DataFrame,
    prices: Mapping[str, float],
    currency: str,
    order: TableOrder,
) -> pd.DataFrame:
    """A row for each completed cell, with the columns `COLUMNS`.

    `prices` are per hour, by HOST/DEVICE, device, host id or hostname; the first of these that is given counts. An
    epoch's price is that of training and evaluating it (`epoch_seconds`); the price to the target accuracy that of all
    time from the start of the process. Energies are those of the table of cells: `energy_joules_per_epoch` of the GPUs,
    `cpu_energy_joules_per_epoch` of the CPU packages, each while training a steady epoch.
    """
    times = cells_by_key(accuracy_times)
    rows = []
    for cell in rows_of(cells):
        if not cell["n"]:
            continue
        priced_by = _priced_by(cell, prices)
        per_second = None if priced_by is None else prices[priced_by] / SECONDS_PER_HOUR
        time = times.get(cell_key(cell))
        row: dict[str, Any] = {
            **chosen(cell, (*CELL_KEY, "n", *estimate(*_ENERGIES))),
            "priced_by": priced_by,
            "price_per_hour": None if priced_by is None else prices[priced_by],
            "currency": None if priced_by is None else currency,
            "target_accuracy": None if time is None else time["target_accuracy"],
            "price_to_accuracy_note": None if time is None or time["verdict"] == "reached" else time["verdict"],
        }
        for end in ESTIMATE:
            # Seconds and their price scatter by the same share.
            factor = 1.0 if per_second is not None and end == "_spread_percent" else per_second
            row[f"price_per_epoch{end}"] = _times(cell[f"epoch_seconds{end}"], factor)
            seconds = None if time is None else time[f"time_to_accuracy_with_startup_seconds{end}"]
            row[f"price_to_accuracy{end}"] = _times(seconds, factor)
        rows.append(row)
    return frame(rows, COLUMNS, order)


def _priced_by(cell: Row, prices: Mapping[str, float]) -> str | None:
    """Which entry of `prices` applies to a cell, the most specific first."""
    names = (f"{cell['host']}/{cell['device']}", cell["device"], cell["host"])
    own = next((name for name in names if name in prices), None)
    # Machines of the same hardware are one host with several names: these have to cost the same.
    hostnames = (cell["hostname"] or "").split(", ")
    same = len({prices.get(name) for name in hostnames}) == 1
    return own or (hostnames[0] if same and hostnames[0] in prices else None)


def _times(seconds: float | None, per_second: float | None) -> float | None:
    return None if seconds is None or per_second is None else seconds * per_second
