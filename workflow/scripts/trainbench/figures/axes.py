"""Scales axes over what they show, with plain numbers at round places."""

import math
from collections.abc import Iterable, Sequence
from typing import Final, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from trainbench.figures.looks import MUTED

LEAST_LOG_RANGE: Final = 6.0
LOG_SCALE_FROM_RATIO: Final = 5.0
ENOUGH_PLACES: Final = 4
LEAST_WITH_COMMAS: Final = 10_000
ROUND_STEPS: Final = (1, 2, 2.5, 5, 10)


def is_wide(values: Iterable[float]) -> bool:
    """Whether the known values are so far apart that ratios matter; not where a zero is among them."""
    known = [value for value in values if not math.isnan(value)]
    return bool(known) and min(known) > 0 and max(known) / min(known) > LOG_SCALE_FROM_RATIO


def log_axis(axes: Axes, which: Literal["x", "y"], values: np.ndarray, margin: float) -> None:
    """A logarithmic axis over `values` with plain numbers at round places, at least two of them."""
    low, high = values.min() / margin, values.max() * margin
    widening = max(1.0, math.sqrt(LEAST_LOG_RANGE / (high / low)))
    low, high = low / widening, high * widening
    axes.set(**{f"{which}scale": "log", f"{which}lim": (low, high)})
    name_places(axes.xaxis if which == "x" else axes.yaxis, _round_places(low, high))


def linear_y(axes: Axes, values: Sequence[float]) -> None:
    """A linear axis from 0 on, with room above the highest of `values`."""
    axes.set_ylim(0, max(values) * 1.18 or 1.0)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=ROUND_STEPS))


def name_places(axis: Axis, places: Sequence[float], unit: str = "") -> None:
    """Name these places of an axis and no others."""
    axis.set_major_locator(FixedLocator(places))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{plain(value)}{unit}"))


def _round_places(low: float, high: float) -> list[float]:
    """1, 2, 5, 10, ... between two limits; 1, 3, 10, ... or 1, 10, ... where that gives enough."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1,), (1, 3), (1, 2, 5)):
        places = [step * 10.0**decade for decade in decades for step in steps]
        inside = [place for place in places if low <= place <= high]
        if len(inside) >= ENOUGH_PLACES:
            break
    return inside


def plain(value: float) -> str:
    """A number without an exponent and without needless zeros: 0.02, 500, 2,000,000."""
    if value >= LEAST_WITH_COMMAS:
        return f"{value:,.0f}"
    return np.format_float_positional(value, precision=9, trim="-")


def say_empty(axes: Axes, text: str, *, keep_x: bool = False) -> None:
    """Say in the middle of a panel why nothing is in it."""
    axes.set_yticks([])
    if not keep_x:
        axes.set_xticks([])
    axes.text(0.5, 0.5, text, transform=axes.transAxes, color=MUTED, fontsize=8, ha="center", va="center")
