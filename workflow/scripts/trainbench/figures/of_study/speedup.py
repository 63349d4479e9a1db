"""How many times faster than the reference device each device trains, over batch sizes: shown to be faster where the
whole interval lies above 1.
"""

import math
from collections.abc import Sequence
from typing import Final

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trainbench.figures.axes import name_places
from trainbench.figures.drawn_study import DrawnStudy
from trainbench.figures.looks import styled
from trainbench.figures.over_batch_sizes import Subject, over_batch_sizes
from trainbench.results.columns import INTERVAL
from trainbench.words.wording import TIMES, format_ratio

TITLE: Final = "Speedup over batch sizes"
CAPTION: Final = (
    "A line that rises with the batch size, by more than its intervals, belongs to a device that larger batches keep "
    "busier than its reference."
)
GUIDE_CHARACTERS: Final = 12


@styled
def draw(study: DrawnStudy) -> Figure:
    """Ratios of speeds, a panel a model."""
    rows = study.tables["speedups"]
    references = set(rows[["reference_device", "reference_host"]].itertuples(index=False, name=None))
    # With nothing but references there is nothing else to show than these.
    others = [one for one in study.executors if one.key not in references] or study.executors
    names = [one.label for one in study.executors if one.key in references]
    devices = {device for device, _ in references}
    reference = names[0] if len(names) == 1 else devices.pop() if len(devices) == 1 else "the reference device"
    value, low, high = (rows[f"speedup{end}"] for end in INTERVAL)
    flagged = (rows[["flagged_runs", "reference_flagged_runs"]] > 0).any(axis="columns")
    subject = Subject(
        title=f"How many times faster than {reference} each device trains",
        note=f"Ratio of the seconds an epoch{_bars_note(rows)}" + study.flagged_note("a run of either cell"),
        y_label="Speedup (times, log scale)",
        executors=others,
        values=rows.assign(value=value, low=low, high=high, hollow=value.where(flagged)),
        runs=rows.assign(value=math.nan, flagged=False).iloc[:0],
        logarithmic=True,
        scale_y=_powers_of_two,
        label=format_ratio,
        guides={reference if len(reference) <= GUIDE_CHARACTERS else "as fast": 1.0},
    )
    return over_batch_sizes(study, subject)


def _bars_note(rows: pd.DataFrame) -> str:
    """From where on a speedup is shown, which takes its interval."""
    compared = (rows["device"] != rows["reference_device"]) | (rows["host"] != rows["reference_host"])
    if rows.loc[compared, "speedup_low"].notna().any():
        return f" with its 95 % interval: shown to be faster where all of that lies above the line at 1{TIMES}."
    return f", without intervals because of single runs; above the line at 1{TIMES} was faster in these."


def _powers_of_two(axes: Axes, values: Sequence[float]) -> None:
    """An axis with at most about eight powers of two named."""
    low, high = min(math.log2(min(values)) - 0.6, -0.6), max(math.log2(max(values)) + 0.6, 1.2)
    first, last = math.floor(low), math.ceil(high)
    stride = max(1, math.ceil((last - first) / 8))
    axes.set_yscale("log", base=2)
    axes.set_ylim(2**low, 2**high)
    # Counted from 1 on, so that the line at 1 is always named.
    name_places(axes.yaxis, [2.0**exponent for exponent in range(first, last + 1) if exponent % stride == 0], TIMES)
