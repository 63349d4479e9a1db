"""Lays out panels: in groups that each begin a row, or one for each model and batch size."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from trainbench.figures.frame import Entry, fitting, framed
from trainbench.results.tables import TableOrder, batch_sizes_of, models_of

PANEL_INCHES: Final = 2.9
PANEL_MARGIN_INCHES: Final = 0.6
PANEL_TITLE_POINTS: Final = 10
LEAST_WIDTH_INCHES: Final = 5.4
MOST_PANELS: Final = 24
MOST_MODELS: Final = 12
MOST_COLUMNS: Final = 4


def panels(
    titles: Sequence[Sequence[str]],
    *,
    columns: int,
    panel_size: tuple[float, float],
    header: tuple[str, str],
    legend: Sequence[Entry],
    labels: tuple[str, str],
) -> tuple[Figure, list[Axes]]:
    """A figure with an empty panel for each title, so many in a row, in reading order; each group of them begins a row.

    The size of a panel is its width and height in inches, its tick labels and title counted. The header is title and
    note; the labels of the x and the y axis are written at the outer panels.
    """
    rows_of_group = math.ceil(len(titles[0]) / columns)
    rows = len(titles) * rows_of_group
    figure = framed(max(LEAST_WIDTH_INCHES, columns * panel_size[0]), rows * panel_size[1], header, legend)
    grid = figure.add_gridspec(rows, columns)
    made: list[Axes] = []
    for group, of_group in enumerate(titles):
        for index, title in enumerate(of_group):
            row, column = divmod(index, columns)
            axes = figure.add_subplot(grid[group * rows_of_group + row, column])
            if title:
                axes.set_title(fitting(title, panel_size[0] - PANEL_MARGIN_INCHES, PANEL_TITLE_POINTS, "bold"))
            if column == 0:
                axes.set_ylabel(labels[1])
            if group == len(titles) - 1 and index + columns >= len(of_group):
                axes.set_xlabel(labels[0])
            made.append(axes)
    return figure, made


@dataclass(frozen=True)
class Shown:
    """Models and batch sizes that have panels, and a sentence about those that have none."""

    models: Sequence[str]
    batch_sizes: Sequence[int]
    note: str

    @classmethod
    def of(cls, table: pd.DataFrame, order: TableOrder) -> "Shown":
        """All of a table, or as many as somebody can look at: the first models, batch sizes from end to end."""
        models, sizes = models_of(table, order), batch_sizes_of(table, order)
        if len(models) * len(sizes) <= MOST_PANELS:
            return cls(models, sizes, "")
        places = np.unique(np.linspace(0, len(sizes) - 1, MOST_COLUMNS).round().astype(int))
        kept_models, kept_sizes = models[:MOST_MODELS], [sizes[place] for place in places]
        return cls(
            kept_models,
            kept_sizes,
            shown_note(("models", kept_models, models), ("batch sizes", kept_sizes, sizes)),
        )


def shown_note(*parts: tuple[str, Sequence[object], Sequence[object]]) -> str:
    """How many are shown of what there is, each with its name: nothing of what is shown whole."""
    left_out = [f"{len(kept)} of {len(all_of)} {what}" for what, kept, all_of in parts if len(kept) < len(all_of)]
    return f" Shown: {', '.join(left_out)}." if left_out else ""


def panels_of_cells(
    shown: Shown, *, panel_inches: float, header: tuple[str, str], legend: Sequence[Entry], labels: tuple[str, str]
) -> tuple[Figure, dict[tuple[str, int], Axes]]:
    """A figure with an empty panel for each model and batch size, so high; one without a title where there are none."""
    titles = [[f"{model}, batch size {size}" for size in shown.batch_sizes] for model in shown.models] or [[""]]
    sizes = len(titles[0])
    figure, made = panels(
        titles,
        # So that no row is much shorter than the others.
        columns=math.ceil(sizes / math.ceil(sizes / MOST_COLUMNS)),
        panel_size=(PANEL_INCHES, panel_inches),
        header=(header[0], header[1] + shown.note),
        legend=legend,
        labels=labels,
    )
    return figure, dict(zip(list(product(shown.models, shown.batch_sizes)) or [("", 0)], made, strict=True))


def settle_layout(figure: Figure) -> None:
    """Lay the panels out, so that texts can be measured against them."""
    FigureCanvasAgg(figure)
    figure.draw_without_rendering()
