"""Throughput over the GPUs of a run, beside twice as fast with twice the GPUs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from trainbench.conclusions.scaling_series import GPUS
from trainbench.figures.drawn_study import DrawnStudy
from trainbench.figures.frame import entry
from trainbench.figures.looks import MUTED, Look, device_looks, styled
from trainbench.figures.panels import Shown
from trainbench.figures.throughput import throughput_panels
from trainbench.results.columns import Row, grouped
from trainbench.results.executors import Executor

TITLE: Final = "Throughput over GPUs"
CAPTION: Final = (
    "On the dashed line twice the GPUs train twice as fast. What lies below it is the price of sharing each batch out "
    "and adding the gradients up again."
)
IDEAL_LINE: Final[Mapping[str, Any]] = {"color": MUTED, "linestyle": (0, (5, 3)), "linewidth": 1.0}

_SHARED: Final = [column for column in GPUS.key if column not in {"model", "batch_size"}]
"""What the devices of a curve have in common."""

_Curve = tuple[object, ...]


@styled
def draw(study: DrawnStudy) -> Figure:
    """Measured throughput; a panel for each model and batch size.

    Devices that differ in their number of GPUs alone are one curve, in the colour of the one with the fewest as long as
    that tells it from the others.
    """
    points = study.rows("gpu_scaling")
    by_place = {executor.key: executor for executor in study.executors}
    # From the fewest GPUs to the most.
    curves = {
        curve: list(dict.fromkeys(by_place[row["device"], row["host"]] for row in of_curve))
        for curve, of_curve in grouped(sorted(points, key=lambda row: row["gpus"]), _SHARED).items()
    }
    looks = _looks(study, curves)
    figure, panels = throughput_panels(
        Shown.of(study.tables["gpu_scaling"], study.order),
        points,
        GPUS,
        header=(
            "Samples a second over the GPUs of a run: what do more of them gain?",
            "Geometric mean of the runs with its 95 % interval. Dashed: twice as fast with twice the GPUs, from the "
            "fewest measured on. The batch size is that of all GPUs together.",
        ),
        legend=[
            *(entry(looks[curve], _name(devices)) for curve, devices in curves.items()),
            (Line2D([], [], **IDEAL_LINE), "twice as fast with twice the GPUs"),
        ],
        x_label="GPUs (log scale)",
        empty="no GPU was measured in several numbers",
    )
    for panel in panels:
        members = grouped(panel.points, _SHARED)
        ideals = [_ideal(members[curve]) for curve in curves if curve in members]
        panel.scale([speed for _, speeds in ideals for speed in speeds], beyond=1.25)
        for counts, speeds in ideals:
            panel.axes.plot(counts, speeds, zorder=1.5, **IDEAL_LINE)
        for curve in curves:
            panel.draw(members.get(curve, ()), looks[curve])
    return figure


def _looks(study: DrawnStudy, curves: Mapping[_Curve, Sequence[Executor]]) -> dict[_Curve, Look]:
    """How each curve is drawn: as its first device where the colours of these differ, else in colours of its own."""
    looks = {devices[0].label: study.looks[devices[0].key] for devices in curves.values()}
    if len({look.color for look in looks.values()}) < len(curves):
        looks = device_looks([devices[0].label for devices in curves.values()])
    return {curve: replace(looks[devices[0].label], line_style="-") for curve, devices in curves.items()}


def _name(devices: Sequence[Executor]) -> str:
    first, *_, last = devices
    return f"{first.label} to {last.label}" + (f": {first.detail}" if first.detail else "")


def _ideal(rows: Sequence[Row]) -> tuple[list[int], list[float]]:
    """The fewest and the most GPUs of a curve, and throughputs in proportion to the fewest's."""
    reference = next(row for row in rows if row["device"] == row["reference_device"])
    counts = [reference["gpus"], max(row["gpus"] for row in rows)]
    return counts, [reference["samples_per_second"] * count / reference["gpus"] for count in counts]
