"""Throughput of the CPU over its threads, with the fitted law of scaling, beside the GPUs where there are some."""

from dataclasses import replace
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trainbench.conclusions.scaling import Usl
from trainbench.conclusions.scaling_series import THREADS
from trainbench.figures.drawn_study import DrawnStudy
from trainbench.figures.frame import device_entry
from trainbench.figures.looks import Look, styled
from trainbench.figures.panels import Shown
from trainbench.figures.throughput import throughput_panels
from trainbench.results.columns import Row, grouped

TITLE: Final = "Throughput over threads"
CAPTION: Final = (
    "Where the curve bends down, threads wait for each other; where it falls, more of them make training slower."
)
BEYOND_THREADS: Final = 2.0


@styled
def draw(study: DrawnStudy) -> Figure:
    """Measured throughput, laws and levels of GPUs; a panel for each model and batch size."""
    points, laws = (study.rows(name) for name in ("scaling", "scaling_fits"))
    on_gpus = {key[2:] for key, cell in study.cells.items() if cell["device_kind"] == "gpu"}
    gpus = [executor for executor in study.executors if executor.key in on_gpus]
    cpus = [executor for executor in study.executors if executor not in gpus]
    markers = [device_entry(cpu, replace(study.looks[cpu.key], line_style="none")) for cpu in cpus if points]
    levels = [device_entry(gpu, replace(study.looks[gpu.key], marker="none", line_style="-")) for gpu in gpus]
    curve = (
        " Curve: the Universal Scalability Law fitted to them, dotted beyond the measured threads."
        if any(law["gamma"] is not None for law in laws)
        else " Three numbers of threads or more are fitted by the Universal Scalability Law."
    )
    figure, panels = throughput_panels(
        Shown.of(study.tables["scaling_fits"], study.order),
        points,
        THREADS,
        header=(
            "Samples a second over threads: does the CPU get faster with more?",
            f"Geometric mean of the runs with its 95 % interval.{curve}" + (" Level lines are GPUs." if gpus else ""),
        ),
        legend=[*markers, *levels] or [device_entry(one, study.looks[one.key]) for one in study.executors],
        x_label="Threads (log scale)",
        empty="no CPU was measured with several numbers of threads",
    )
    # A law has the colour of the device with the most threads.
    by_threads = sorted(points, key=lambda row: row["threads"])
    law_looks = {_law_of(row): study.looks[row["device"], row["host"]] for row in by_threads}
    for panel in panels:
        model, size = panel.points[0]["model"], panel.points[0]["batch_size"]
        on_gpu = {gpu: study.cells.get((model, size, *gpu.key), {}) for gpu in gpus}
        known = {gpu: cell["samples_per_second"] for gpu, cell in on_gpu.items() if cell.get("samples_per_second")}
        panel.scale(list(known.values()), BEYOND_THREADS)
        for gpu, level in known.items():
            panel.axes.axhline(level, color=study.looks[gpu.key].color, linewidth=1.2, zorder=1.5)
        for law in laws:
            if (law["model"], law["batch_size"]) == (model, size) and law["gamma"] is not None:
                _draw_law(panel.axes, law, law_looks[_law_of(law)])
        of_devices = grouped(panel.points, ("device", "host"))
        for cpu in cpus:
            panel.draw(of_devices.get(cpu.key, ()), replace(study.looks[cpu.key], line_style="none"))
    return figure


def _law_of(row: Row) -> tuple[object, ...]:
    """Whose law of scaling a row of measurements or fits belongs to."""
    return row["host"], row["framework"], row["precision"], row["environment"]


def _draw_law(axes: Axes, fit: Row, look: Look) -> None:
    """The fitted law, whole over the measured threads and dotted beyond them."""
    fewest, most = fit["fewest_threads"], fit["most_threads"]
    law = Usl(fit["gamma"], fit["contention"], fit["coherency"], fewest, most)
    for begin, end, line_style in ((fewest, most, "-"), (most, most * BEYOND_THREADS, ":")):
        threads = np.geomspace(begin, end, 60)
        speeds = [law.throughput(count) for count in threads]
        axes.plot(threads, speeds, color=look.color, linestyle=line_style, linewidth=1.0, zorder=2)
