"""Builds studies to be drawn, and looks at what was drawn of them."""

import itertools
import math

from matplotlib.collections import LineCollection
from matplotlib.markers import CARETDOWN, CARETUP

from metrics_builder import make_record
from trainbench.conclusions.all_tables import Question, Tables
from trainbench.figures.drawn_study import DrawnStudy
from trainbench.results.measured import measured
from trainbench.results.tables import TableOrder


def study(
    *,
    models=("conv",),
    batch_sizes=(128, 512),
    devices=("cpu", "gpu"),
    repeats=2,
    epochs=3,
    seconds=lambda device, batch_size: (2.0 if device.startswith("gpu") else 20.0) * 128 / batch_size,
    each=lambda _: {},
    slower=lambda repeat: 1 + repeat / 50,
    of_repeat=lambda _: {},
    **settings,
):
    """A whole study, to be drawn.

    `each` device and each repeat (`of_repeat`) has settings of its own; a repeat is so many times slower.
    """
    order = TableOrder(models=tuple(models), batch_sizes=tuple(batch_sizes), devices=tuple(devices))
    records = [
        make_record(
            model,
            size,
            device,
            repeat,
            train_seconds=[seconds(device, size) * slower(repeat)] * epochs,
            **settings,
            **each(device),
            **of_repeat(repeat),
        )
        for model, size, device, repeat in itertools.product(models, batch_sizes, devices, range(1, repeats + 1))
    ]
    return drawn_study(records, order)


def drawn_study(records, order):
    """The study of these records, to be drawn."""
    found = measured(records, order)
    return DrawnStudy(Tables(found.runs, found.epochs, found.checks, Question(order)), order)


def shown_texts(figure):
    figure.draw_without_rendering()
    return [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))]


def legend_labels(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def lines_of(figure, **properties):
    """The lines of the first panel that have these properties."""
    return [
        line
        for line in figure.axes[0].lines
        if all(getattr(line, f"get_{name}")() == value for name, value in properties.items())
    ]


def bars_of(figure):
    """From where to where the bars of all devices in the first panel reach."""
    return [
        tuple(segment[:, 1].tolist())
        for bars in figure.axes[0].collections
        if isinstance(bars, LineCollection)
        for segment in bars.get_segments()
    ]


def arrows_of(figure):
    """The heights of the first panel's arrows, by their marker."""
    return {
        marker: [y for line in lines_of(figure, marker=marker) for y in line.get_ydata()]
        for marker in (CARETDOWN, CARETUP)
    }


def hollow_places(figure):
    """Where the first panel's hollow markers of means are."""
    return {
        round(x)
        for line in figure.axes[0].lines
        if line.get_markerfacecolor() == "white" and line.get_marker() != "."
        for x, y in line.get_xydata()
        if not math.isnan(y)
    }


def with_a_flagged_run(device):
    """A study of two devices at two batch sizes, of which one run at the second is flagged."""
    order = TableOrder(devices=("cpu", "gpu"))
    records = [
        make_record(
            "conv", size, name, repeat, flags=["other_load"] if (size, name, repeat) == (512, device, 2) else ()
        )
        for size, name, repeat in itertools.product((128, 512), order.devices, (1, 2))
    ]
    return drawn_study(records, order)
