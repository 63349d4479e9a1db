"""Accuracy on the test images after each epoch: devices should not differ."""

from typing import Final

from matplotlib.figure import Figure

from trainbench.figures.accuracy import accuracy_over
from trainbench.figures.drawn_study import DrawnStudy
from trainbench.figures.looks import styled

TITLE: Final = "Accuracy after each epoch"
CAPTION: Final = "The lines of a panel should lie together: every device trains the same network on the same images."


@styled
def draw(study: DrawnStudy) -> Figure:
    """Accuracy over epochs."""
    return accuracy_over(study, "epoch", TITLE, "Epoch")
