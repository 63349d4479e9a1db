"""Accuracy on the test images over training time: further left is sooner."""

from typing import Final

from matplotlib.figure import Figure

from trainbench.figures.accuracy import accuracy_over
from trainbench.figures.drawn_study import DrawnStudy
from trainbench.figures.looks import styled
from trainbench.results.columns import CELL_KEY

TITLE: Final = "Accuracy over training time"
CAPTION: Final = (
    "Whichever line is the highest above a point in time had learnt most by then; how far the runs of one device lie "
    "apart, where there are several, says how much of that is chance."
)
LOG_TIME_FROM_RATIO: Final = 20.0


@styled
def draw(study: DrawnStudy) -> Figure:
    """Accuracy over seconds, on a logarithmic axis where devices are far apart."""
    longest = study.tables["epochs"].groupby(list(CELL_KEY), sort=False)["elapsed_seconds"].max()
    in_panel = longest.groupby(["model", "batch_size"], sort=False)
    log_x = bool((in_panel.max() > in_panel.min() * LOG_TIME_FROM_RATIO).any())
    x_label = "Training time (s)" + (", log scale" if log_x else "")
    return accuracy_over(study, "elapsed_seconds", f"{TITLE}: further left is sooner", x_label, log_x=log_x)
