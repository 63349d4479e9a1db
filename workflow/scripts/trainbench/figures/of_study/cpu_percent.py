"""CPU use while training: 100 % is one core busy."""

from typing import Final

from matplotlib.figure import Figure

from trainbench.figures.drawn_study import DrawnStudy
from trainbench.figures.looks import styled
from trainbench.figures.over_batch_sizes import over_measured

TITLE: Final = "CPU use while training"
CAPTION: Final = (
    "Near the line of all threads every core is busy; far below it most of them wait, or other programs have them "
    "(hollow)."
)


@styled
def draw(study: DrawnStudy) -> Figure:
    """CPU use over batch sizes, a panel a model, against one core and all threads."""
    threads = sorted({int(count) for count in study.tables["cells"]["usable_threads"].dropna()})
    all_threads = {f"all {count} threads": 100.0 * count for count in threads if count > 1}
    return over_measured(
        study,
        "cpu_percent",
        title=f"{TITLE}: 100 % is one core busy",
        of_several="Mean of the runs, with bars of ± one standard deviation",
        of_one="One run a cell.",
        y_label="CPU (% of one core)",
        guides={"one core": 100.0} | all_threads,
    )
