"""Seconds to train one epoch over batch sizes, a panel a model: lower is faster."""

from typing import Final

from matplotlib.figure import Figure

from trainbench.figures.drawn_study import DrawnStudy
from trainbench.figures.looks import styled
from trainbench.figures.over_batch_sizes import over_measured

TITLE: Final = "Seconds to train one epoch"
CAPTION: Final = (
    "How long one pass over the training images takes. The numbers with their intervals are in the tables below."
)


@styled
def draw(study: DrawnStudy) -> Figure:
    """Training seconds of a steady epoch."""
    first_only = study.tables["cells"]["first_epoch_only"].fillna(value=False).any()
    return over_measured(
        study,
        "train_seconds_per_epoch",
        title=f"{TITLE}: lower is faster",
        of_several="Geometric mean of the runs with its 95 % interval",
        of_one="One run a cell: no intervals.",
        note=" Runs of one epoch show that first epoch." if first_only else " The first epoch is left out.",
        y_label="Seconds an epoch",
        guides={},
    )
