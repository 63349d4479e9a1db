"""Figures are drawn in every situation, alike every time, with one look a device."""

import itertools
import math
import re
import warnings
from xml.etree import ElementTree

import pandas as pd
import pytest
from matplotlib.collections import LineCollection
from matplotlib.markers import CARETDOWN, CARETUP

from metrics_builder import make_record
from trainbench.conclusions.tables.gpu_scaling import gpu_scaling_table
from trainbench.conclusions.tables.roofline import roofline_table
from trainbench.conclusions.tables.scaling import scaling_table
from trainbench.conclusions.tables.scaling_fits import scaling_fits_table
from trainbench.conclusions.tables.speedups import Reference, speedups_table
from trainbench.figures.drawing import MARKERS, device_colors, device_looks, looks_of_hosts, save
from trainbench.figures.figures import (
    FIGURES,
    Tables,
    accuracy_over_epochs,
    accuracy_over_time,
    cpu_percent,
    gpu_scaling,
    roofline,
    scaling,
    seconds_per_epoch,
    speedup,
)
from trainbench.results.cells_table import cells_table
from trainbench.results.measured import measured
from trainbench.results.tables import TableOrder
from trainbench.words.wording import TIMES


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
    """Tables of a whole study, and the order in which it names things.

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
    return tables_of(records, order), order


def tables_of(records, order):
    found = measured(records, order)
    cells = cells_table(found.runs, order)
    return Tables(
        runs=found.runs,
        epochs=found.epochs,
        cells=cells,
        speedups=speedups_table(cells, order, Reference()),
        scaling=scaling_table(cells, order),
        scaling_fits=scaling_fits_table(cells, order),
        gpu_scaling=gpu_scaling_table(cells, order),
        roofline=roofline_table(found.runs, order),
    )


def shown_texts(figure):
    figure.draw_without_rendering()
    return [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))]


def legend_labels(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


SITUATIONS = {
    "one device, one model, one run of one epoch": {
        "devices": ["cpu"], "batch_sizes": [128], "repeats": 1, "epochs": 1,
    },
    "two devices": {},
    "eight devices": {"devices": ["cpu", *(f"gpu-{index}" for index in range(7))], "repeats": 1},
    "ten devices": {"devices": ["cpu", *(f"gpu-{index}" for index in range(9))], "batch_sizes": [128], "repeats": 1},
    "six models and eight batch sizes": {
        "models": [f"model-{index}" for index in range(6)],
        "batch_sizes": [2**power for power in range(5, 13)],
        "repeats": 1,
        "epochs": 1,
    },
    "long names": {"models": ["m" * 64], "devices": ["cpu-" + "x" * 60, "gpu-" + "word-" * 12]},
    "nothing but failures": {"status": "out_of_memory"},
    "unknown usage": {"cpu_percent": None},
    "nothing watched": {"watched": False},
    "unknown ceilings": {"ceilings": None},
    "flagged runs": {"flags": ["epochs_scatter", "other_load"]},
    "several frameworks, precisions and numbers of GPUs": {
        "devices": ["cpu", "cpu-torch-bfloat16", *(f"gpu-{count}g" for count in (1, 2, 4, 8))],
        "each": lambda device: {
            "framework": "torch" if "torch" in device else "tensorflow",
            "precision": "bfloat16" if "bfloat16" in device else "float32",
            "gpus": int(device[4]) if device.startswith("gpu") else 0,
        },
    },
    "runs that scatter as widely as can be": {
        "devices": ["cpu-1t", "cpu-2t", "cpu-4t", "gpu-1g", "gpu-2g"],
        "slower": lambda repeat: 1000.0**repeat,
        "of_repeat": lambda repeat: {"cpu_percent": 0.4 if repeat == 1 else 199.0},
        "each": lambda device: {
            "usable_threads": int(device[4]),
            "gpus": int(device[4]) if device.startswith("gpu") else 0,
        },
    },
    "no CPU use seen": {"cpu_percent": 0.0},
    "CPU use seen in one run of two, on many threads": {
        "usable_threads": 64, "of_repeat": lambda repeat: {"cpu_percent": 90.0 * (repeat - 1)},
    },
    "one flagged run at one batch size": {
        "devices": ["cpu"], "batch_sizes": [512], "repeats": 1, "flags": ["other_load"],
    },
    "nothing learnt, and no loss": {"accuracies": [0.0] * 3, "losses": [None] * 3},
}  # fmt: skip


DRAWN = [(name, situation) for situation in SITUATIONS for name in FIGURES]


@pytest.mark.parametrize(("name", "situation"), DRAWN)
def test_every_figure_is_drawn_in_every_situation_without_a_warning_and_nothing_is_cut_off(name, situation):
    tables, order = study(**SITUATIONS[situation])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = FIGURES[name](tables, order)
        figure.draw_without_rendering()
    drawn, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert min(drawn.x0, drawn.y0, width - drawn.x1, height - drawn.y1) >= 0


@pytest.mark.parametrize("situation", SITUATIONS)
def test_no_text_is_cut_off_at_the_edge(situation):
    tables, order = study(**SITUATIONS[situation])
    figure = seconds_per_epoch(tables, order)
    figure.draw_without_rendering()
    width, height = figure.bbox.size
    for text in figure.findobj(lambda artist: hasattr(artist, "get_text")):
        if text.get_visible() and text.get_text():
            box = text.get_window_extent()
            assert box.x0 >= 0, text
            assert box.x1 <= width, text
            assert box.y0 >= 0, text
            assert box.y1 <= height, text


def test_a_device_keeps_its_colour_whatever_stands_behind_it():
    assert device_colors(["cpu", "gpu"]).items() <= device_colors(["cpu", "gpu", "gpu-bf16"]).items()


def test_sixty_four_devices_all_look_different():
    looks = device_looks([f"gpu-{index}" for index in range(64)])
    assert len({(look.color, look.marker) for look in looks.values()}) == 64


def looks_at(devices, hosts):
    return looks_of_hosts(list(itertools.product([f"d{device}" for device in range(devices)], hosts)))


def test_a_device_has_one_colour_on_all_hosts():
    looks = looks_at(3, ["a", "b"])
    assert {looks[device, "a"].color == looks[device, "b"].color for device in ("d0", "d1", "d2")} == {True}


def test_a_device_has_the_same_colour_whether_there_are_other_hosts_or_not():
    assert looks_at(3, ["a"])["d1", "a"].color == looks_at(3, ["a", "b"])["d1", "a"].color


@pytest.mark.parametrize(("devices", "hosts"), [(8, 8), (16, 4), (3, 2)])
def test_devices_of_several_hosts_all_look_different(devices, hosts):
    looks = looks_at(devices, [f"h{host}" for host in range(hosts)])
    assert len({(look.color, look.marker) for look in looks.values()}) == devices * hosts


def test_neighbouring_devices_differ_without_colour_too():
    looks = list(device_looks([f"gpu-{index}" for index in range(8)]).values())
    assert len({look.marker for look in looks}) == 8


def test_a_device_without_any_accuracy_keeps_its_colour_in_all_figures():
    order = TableOrder(devices=("cpu", "gpu", "gpu-x2"))
    records = [make_record(device="cpu"), make_record(device="gpu", status="out_of_memory")]
    tables = tables_of([*records, make_record(device="gpu-x2")], order)
    third = list(device_colors(order.devices).values())[2]
    colors = {line.get_color() for line in accuracy_over_epochs(tables, order).axes[0].lines}
    assert third in colors


def test_panels_stand_in_the_order_given():
    tables, order = study(models=("lstm", "conv", "logistic"))
    titles = [axes.get_title(loc="left") for axes in seconds_per_epoch(tables, order).axes]
    assert titles == ["lstm", "conv", "logistic"]


def test_accuracy_has_a_line_for_each_run():
    tables, order = study(batch_sizes=(128,), repeats=3)
    assert len(accuracy_over_epochs(tables, order).axes[0].lines) == 2 * 3


def test_many_runs_are_one_line_a_cell_in_a_band_from_the_lowest_to_the_highest():
    order = TableOrder(devices=("cpu",))
    records = [make_record(repeat=repeat, accuracies=[0.5 + repeat / 100, 0.9]) for repeat in range(1, 22)]
    (axes,) = accuracy_over_epochs(tables_of(records, order), order).axes
    (line,), (band,) = axes.lines, axes.collections
    assert line.get_ydata().tolist() == pytest.approx([61.0, 90.0])
    heights = band.get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == pytest.approx((51.0, 90.0))


def test_of_more_panels_than_anybody_looks_at_some_are_shown_from_end_to_end_and_said_to_be():
    sizes = [2**power for power in range(3, 13)]
    tables, order = study(models=("conv", "lstm", "logistic"), batch_sizes=sizes, repeats=1, epochs=1)
    figure = accuracy_over_epochs(tables, order)
    titles = [axes.get_title(loc="left").replace("\n", " ") for axes in figure.axes[:4]]
    assert titles == [f"conv, batch size {size}" for size in (8, 64, 512, 4096)]
    assert any("Shown: 4 of 10 batch sizes." in text.replace("\n", " ") for text in shown_texts(figure))


def test_single_runs_have_no_dots_where_they_are_too_many_and_none_are_explained():
    tables, order = study(devices=("cpu",), batch_sizes=(128,), repeats=21, epochs=1)
    figure = seconds_per_epoch(tables, order)
    assert not lines_of(figure, marker=".")
    assert not any("faint dots" in text for text in shown_texts(figure))


def test_lines_are_named_at_their_ends_where_names_are_short():
    (axes,) = seconds_per_epoch(*study(repeats=1)).axes
    assert [text.get_text() for text in axes.texts if text.get_text().isalpha()] == ["cpu", "gpu"]


def test_accuracy_over_time_begins_after_the_first_epochs_training():
    tables, order = study(batch_sizes=(128,), devices=("cpu",), repeats=1, seconds=lambda *_: 10.0)
    assert accuracy_over_time(tables, order).axes[0].lines[0].get_xdata().tolist() == pytest.approx([10.2, 20.4, 30.6])


@pytest.mark.parametrize(("gpu_seconds", "scale"), [(2.0, "linear"), (0.5, "log")])
def test_time_is_logarithmic_where_devices_are_more_than_twenty_times_apart(gpu_seconds, scale):
    tables, order = study(seconds=lambda device, _: 20.0 if device == "cpu" else gpu_seconds)
    assert accuracy_over_time(tables, order).axes[0].get_xscale() == scale


@pytest.mark.parametrize(("gpu_seconds", "scale"), [(10.0, "linear"), (2.0, "log")])
def test_seconds_are_logarithmic_where_ratios_matter(gpu_seconds, scale):
    tables, order = study(seconds=lambda device, _: 20.0 if device == "cpu" else gpu_seconds)
    assert seconds_per_epoch(tables, order).axes[0].get_yscale() == scale


def test_the_values_are_written_beside_the_markers():
    tables, order = study(batch_sizes=(128,), repeats=1, seconds=lambda device, _: 20.0 if device == "cpu" else 2.0)
    assert {"20.4", "2.04"} <= set(shown_texts(seconds_per_epoch(tables, order)))


def written_values(figure):
    """The values written in each panel."""
    figure.draw_without_rendering()
    return [
        [text.get_text() for text in axes.texts if re.fullmatch(r"[\d.]+", text.get_text())] for axes in figure.axes
    ]


def test_every_value_is_written_though_wide_bars_and_names_stand_beside_it():
    tables, order = study(
        batch_sizes=(128, 256, 512),
        repeats=3,
        seconds=lambda device, size: (0.06 if size == 256 else 0.02) * (1.0 if device == "cpu" else 0.14),
        slower=lambda repeat: (1, 1.05, 2.0)[repeat - 1],
    )
    (values,) = written_values(seconds_per_epoch(tables, order))
    assert len(values) == 2 * 3


@pytest.mark.parametrize("sizes", [6, 40])
def test_a_panel_has_all_of_its_values_or_none(sizes):
    tables, order = study(
        batch_sizes=range(100, 100 + sizes), devices=("cpu", "gpu-a", "gpu-b"), repeats=1, seconds=lambda *_: 1.2345
    )
    (values,) = written_values(seconds_per_epoch(tables, order))
    assert len(values) in (0, 3 * sizes)


def test_the_line_of_the_only_device_needs_no_name():
    (axes,) = seconds_per_epoch(*study(devices=("cpu",))).axes
    assert "cpu" not in [text.get_text() for text in axes.texts]


def test_cpu_use_is_read_against_one_core_and_all_threads():
    tables, order = study(usable_threads=128)
    guides = {line.get_ydata()[0] for line in cpu_percent(tables, order).axes[0].lines if len(line.get_ydata()) == 2}
    assert {100.0, 12800.0} <= guides


def test_a_speedup_is_drawn_on_powers_of_two_with_a_line_at_one():
    tables, order = study()
    axes = speedup(tables, order).axes[0]
    assert axes.get_yscale() == "log"
    assert f"1{TIMES}" in [label.get_text() for label in axes.get_yticklabels()]


@pytest.mark.parametrize(
    ("repeats", "words"),
    [
        (2, f"with its 95 % interval: shown to be faster where all of that lies above the line at 1{TIMES}."),
        (1, f", without intervals because of single runs; above the line at 1{TIMES} was faster in these."),
    ],
    ids=["several runs", "single runs"],
)
def test_a_speedup_is_called_faster_by_its_whole_interval_and_in_single_runs_as_seen(repeats, words):
    assert words in " ".join(" ".join(shown_texts(speedup(*study(repeats=repeats)))).split())


def test_a_speedup_is_the_ratio_of_the_means():
    tables, order = study(batch_sizes=(128,), seconds=lambda device, _: 30.0 if device == "cpu" else 2.0)
    assert f"15.0{TIMES}" in shown_texts(speedup(tables, order))


def test_a_speedup_of_one_device_shows_it_at_1():
    assert f"1.00{TIMES}" in shown_texts(speedup(*study(devices=("cpu",))))


def test_a_speedup_without_a_reference_shows_that_there_is_none():
    tables, order = study(devices=("gpu",))
    assert shown_texts(speedup(tables, order)).count("not measured") == 1


def lines_of(figure, **properties):
    """The lines of the first panel that have these properties."""
    return [
        line
        for line in figure.axes[0].lines
        if all(getattr(line, f"get_{name}")() == value for name, value in properties.items())
    ]


def test_each_device_has_its_roof_with_a_ridge_where_memory_and_arithmetic_meet():
    tables, order = study(ceilings={"flop_per_second": 4e11, "bytes_per_second": 2e10})
    roofs = [line for line in lines_of(roofline(tables, order)) if len(line.get_xdata()) == 3]
    assert [(line.get_xdata()[1], line.get_ydata()[1:].tolist()) for line in roofs] == [(20.0, [400.0, 400.0])] * 2


def test_left_of_the_ridge_a_roof_falls_with_the_intensity():
    tables, order = study(devices=("cpu",), ceilings={"flop_per_second": 4e11, "bytes_per_second": 2e10})
    (roof,) = (line for line in lines_of(roofline(tables, order)) if len(line.get_xdata()) == 3)
    left, _, _ = roof.get_xdata()
    assert roof.get_ydata()[0] == pytest.approx(left * 20.0)


def test_a_cell_stands_at_its_intensity_and_at_what_it_achieves():
    arithmetic = {"train_flop_per_example": 1_000_000, "train_bytes_per_example": 50_000.0}
    tables, order = study(
        batch_sizes=(500,), devices=("cpu",), repeats=1, seconds=lambda *_: 10.0, arithmetic=arithmetic
    )
    (cell,) = lines_of(roofline(tables, order), marker="o")
    assert (cell.get_xdata()[0], cell.get_ydata()[0]) == (20.0, pytest.approx(55_000 * 1e6 / 10.2 / 1e9))


def test_models_differ_in_their_markers_and_devices_in_their_colours():
    tables, order = study(models=("conv", "lstm"), batch_sizes=(512,))
    cells = [line for line in lines_of(roofline(tables, order)) if line.get_marker() != "None"]
    looks = [(line.get_marker(), line.get_color()) for line in cells]
    assert sorted(looks) == sorted(itertools.product("os", list(device_colors(order.devices).values())))


def test_the_roofline_names_what_each_device_can_do():
    tables, order = study(ceilings={"flop_per_second": 4e11, "bytes_per_second": 2e10})
    assert legend_labels(roofline(tables, order)) == [f"{name}: 400 GFLOP/s, 20.0 GB/s" for name in ("cpu", "gpu")]


def test_the_roofline_says_that_no_run_knows_what_its_device_can_do():
    tables, order = study(ceilings=None)
    assert "no run knows what its device can do at most" in shown_texts(roofline(tables, order))


def test_a_device_of_unknown_ceilings_shows_its_cells_without_a_roof():
    order = TableOrder(devices=("cpu", "gpu"))
    figure = roofline(tables_of([make_record(), make_record(device="gpu", ceilings=None)], order), order)
    gpu = device_colors(order.devices)["gpu"]
    assert [len(line.get_xdata()) for line in lines_of(figure, color=gpu, marker="o")] == [1]
    assert legend_labels(figure)[1] == "gpu: unknown"


def test_the_cell_of_a_flagged_run_is_hollow_in_the_roofline():
    cells = lines_of(roofline(*with_a_flagged_run("cpu")), marker="o")
    assert sum(line.get_markerfacecolor() == "white" for line in cells) == 1


def hollow_places(figure):
    """Where the first panel's hollow markers of means are."""
    return {
        round(x)
        for line in figure.axes[0].lines
        if line.get_markerfacecolor() == "white" and line.get_marker() != "."
        for x, y in line.get_xydata()
        if not math.isnan(y)
    }


# --- bars ---


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


def test_a_bar_is_the_interval_of_the_tables():
    tables, order = study(batch_sizes=(128,), devices=("cpu",), slower=lambda repeat: 1 + repeat / 10)
    cell = tables.cells.iloc[0]
    figure = seconds_per_epoch(tables, order)
    assert bars_of(figure) == [(cell["train_seconds_per_epoch_low"], cell["train_seconds_per_epoch_high"])]
    assert arrows_of(figure) == {CARETDOWN: [], CARETUP: []}


def test_a_wide_interval_is_drawn_to_its_low_end():
    tables, order = study(batch_sizes=(128, 512), devices=("cpu",), repeats=3, slower=lambda repeat: 2.0**repeat)
    (low, _), _ = bars_of(seconds_per_epoch(tables, order))
    assert low == tables.cells["train_seconds_per_epoch_low"][0]


def test_an_interval_that_would_squeeze_the_rest_ends_in_arrows_and_they_are_explained():
    tables, order = study(batch_sizes=(128,), devices=("cpu", "gpu"), slower=lambda repeat: 3.0**repeat)
    figure = seconds_per_epoch(tables, order)
    foot, top = figure.axes[0].get_ylim()
    assert (foot, top) in bars_of(figure)
    assert {height for heights in arrows_of(figure).values() for height in heights} == {foot, top}
    assert foot > tables.cells["train_seconds_per_epoch_low"].min()
    assert any("Arrow: the bar goes on." in text.replace("\n", " ") for text in shown_texts(figure))


def test_arrows_that_are_not_there_are_not_explained():
    assert not any("Arrow" in text for text in shown_texts(seconds_per_epoch(*study())))


@pytest.mark.parametrize(("usable_threads", "scale"), [(2, "linear"), (64, "log")])
def test_a_deviation_below_no_cpu_use_at_all_is_an_arrow_at_the_foot(usable_threads, scale):
    uses = {1: 20.0, 2: 40.0, 3: 194.0}
    figure = cpu_percent(
        *study(
            batch_sizes=(512,),
            devices=("cpu",),
            repeats=3,
            usable_threads=usable_threads,
            of_repeat=lambda repeat: {"cpu_percent": uses[repeat]},
        )
    )
    axes = figure.axes[0]
    assert axes.get_yscale() == scale
    assert arrows_of(figure) == {CARETDOWN: [axes.get_ylim()[0]], CARETUP: []}


def test_bars_over_threads_end_in_arrows_likewise():
    order = TableOrder(devices=("cpu-1t", "cpu-2t"))
    records = [
        make_record(device=device, repeat=repeat, usable_threads=int(device[4]), train_seconds=[9.0, 4.0 * 3.0**repeat])
        for device, repeat in itertools.product(order.devices, (1, 2))
    ]
    figure = scaling(tables_of(records, order), order)
    foot, top = figure.axes[0].get_ylim()
    assert bars_of(figure) == [(foot, top)] * 2
    assert any("Arrow: the bar goes on." in text.replace("\n", " ") for text in shown_texts(figure))


def with_a_flagged_run(device):
    """Tables of two devices at two batch sizes, of which one run at the second is flagged."""
    order = TableOrder(devices=("cpu", "gpu"))
    records = [
        make_record(
            "conv", size, name, repeat, flags=["other_load"] if (size, name, repeat) == (512, device, 2) else ()
        )
        for size, name, repeat in itertools.product((128, 512), order.devices, (1, 2))
    ]
    return tables_of(records, order), order


@pytest.mark.parametrize("draw", [seconds_per_epoch, cpu_percent], ids=lambda draw: draw.__name__)
def test_the_mean_of_a_cell_with_a_flagged_run_is_hollow(draw):
    assert hollow_places(draw(*with_a_flagged_run("cpu"))) == {1}


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_a_speedup_is_hollow_whichever_of_its_cells_has_a_flagged_run(device):
    assert hollow_places(speedup(*with_a_flagged_run(device))) == {1}


def test_the_dot_of_a_flagged_run_is_hollow_and_that_of_its_neighbour_full():
    lines = seconds_per_epoch(*with_a_flagged_run("cpu")).axes[0].lines
    dots = [line for line in lines if line.get_marker() == "." and line.get_color() == "#0072B2"]
    at_512 = [line.get_markerfacecolor() for line in dots for x in line.get_xdata() if round(x) == 1]
    assert sorted(at_512) == ["#0072B2", "white"]


def test_hollow_markers_are_explained():
    texts = shown_texts(seconds_per_epoch(*with_a_flagged_run("cpu")))
    assert any("Hollow: a check flagged a run" in text.replace("\n", " ") for text in texts)


def test_nothing_is_explained_that_is_not_there():
    assert not any("Hollow" in text for text in shown_texts(seconds_per_epoch(*study())))


def test_a_cell_out_of_memory_is_marked_and_explained():
    order = TableOrder(devices=("cpu", "gpu"))
    tables = tables_of([make_record(), make_record(device="gpu", status="out_of_memory")], order)
    assert legend_labels(seconds_per_epoch(tables, order)) == ["cpu", "gpu", "out of memory"]


def test_an_accuracy_panel_names_the_devices_that_ran_out_of_memory():
    order = TableOrder(devices=("cpu", "gpu", "gpu-x2"))
    failed = [make_record(device=device, status="out_of_memory") for device in ("gpu", "gpu-x2")]
    tables = tables_of([make_record(), *failed], order)
    assert "out of memory: gpu, gpu-x2" in shown_texts(accuracy_over_time(tables, order))


def test_a_cell_that_was_not_asked_for_leaves_its_panel_empty_and_says_so():
    order = TableOrder()
    tables = tables_of([make_record("conv", 128), make_record("lstm", 512)], order)
    assert shown_texts(accuracy_over_epochs(tables, order)).count("not measured") == 2


def test_devices_of_several_hosts_are_told_apart_by_host():
    order = TableOrder()
    tables = tables_of([make_record(host="a"), make_record(host="b")], order)
    assert legend_labels(seconds_per_epoch(tables, order)) == ["cpu @ a", "cpu @ b"]


def test_hostile_names_are_shown_as_they_are():
    order = TableOrder()
    names = ["$x_1$", "<script>alert(1)</script>"]
    tables = tables_of([make_record(host=name) for name in names], order)
    assert legend_labels(seconds_per_epoch(tables, order)) == [f"cpu @ {name}" for name in names]


def test_an_unfinished_formula_in_a_name_does_not_stop_the_figure(tmp_path):
    order = TableOrder()
    tables = tables_of([make_record(host="$\\frac{$"), make_record(host="b")], order)
    save(seconds_per_epoch(tables, order), tmp_path / "a.svg", tmp_path / "a.png")
    assert (tmp_path / "a.svg").exists()


def test_a_hostile_name_brings_no_element_into_the_svg(tmp_path):
    order = TableOrder()
    tables = tables_of([make_record(host="--><script>alert(1)</script>"), make_record(host="b")], order)
    save(seconds_per_epoch(tables, order), tmp_path / "a.svg", tmp_path / "a.png")
    elements = {element.tag for element in ElementTree.parse(tmp_path / "a.svg").iter()}  # noqa: S314
    assert not [tag for tag in elements if "script" in tag]


@pytest.mark.parametrize("draw", [seconds_per_epoch, accuracy_over_time], ids=lambda draw: draw.__name__)
def test_the_same_tables_give_the_same_bytes(tmp_path, draw):
    for name in ("first", "second"):
        save(draw(*study()), tmp_path / f"{name}.svg", tmp_path / f"{name}.png")
    for kind in ("svg", "png"):
        assert (tmp_path / f"first.{kind}").read_bytes() == (tmp_path / f"second.{kind}").read_bytes()


def test_an_svg_carries_no_date(tmp_path):
    save(seconds_per_epoch(*study()), tmp_path / "a.svg", tmp_path / "a.png")
    assert not re.search(r"<dc:date>|\d{4}-\d\d-\d\dT", (tmp_path / "a.svg").read_text())


def test_a_png_has_150_dots_per_inch(tmp_path):
    figure = seconds_per_epoch(*study())
    save(figure, tmp_path / "a.svg", tmp_path / "a.png")
    header = (tmp_path / "a.png").read_bytes()[16:24]
    assert int.from_bytes(header[:4]) == int(figure.get_figwidth() * 150)


def test_saving_leaves_nothing_but_the_two_files(tmp_path):
    save(seconds_per_epoch(*study()), tmp_path / "a.svg", tmp_path / "a.png")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.png", "a.svg"]


# --- several frameworks and GPUs ---


def gpus_that_share_a_batch(counts=(1, 2, 4), **settings):
    order = TableOrder(devices=tuple(f"gpu-{count}g" for count in counts))
    records = [
        make_record(device=f"gpu-{count}g", gpus=count, train_seconds=[9.0, 8.0 / count**0.5], **settings)
        for count in counts
    ]
    return tables_of(records, order), order


def test_throughput_over_gpus_stands_beside_one_that_grows_with_their_number():
    figure = gpu_scaling(*gpus_that_share_a_batch())
    (ideal,) = lines_of(figure, color="#666666")
    slowest = 107 * 512 / 8.0
    assert ideal.get_xdata().tolist() == [1, 4]
    assert ideal.get_ydata().tolist() == pytest.approx([slowest, 4 * slowest])


def test_both_axes_of_throughput_over_gpus_are_logarithmic_and_name_the_numbers_measured():
    axes = gpu_scaling(*gpus_that_share_a_batch()).axes[0]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert axes.get_xticks().tolist() == [1, 2, 4]


def test_every_series_of_gpus_has_an_ideal_of_its_own():
    tables, order = gpus_that_share_a_batch()
    jax, _ = gpus_that_share_a_batch((2, 4), framework="jax", host="other")
    both = Tables(**{name: pd.concat([getattr(tables, name), getattr(jax, name)]) for name in vars(tables)})
    assert len(lines_of(gpu_scaling(both, order), color="#666666")) == 2


def test_devices_that_differ_in_their_gpus_alone_are_one_curve_in_the_colour_of_the_fewest():
    tables, order = gpus_that_share_a_batch()
    figure = gpu_scaling(tables, order)
    (curve,) = lines_of(figure, color=device_colors(order.devices)["gpu-1g"], marker="o")
    assert curve.get_xdata().tolist() == [1, 2, 4]
    assert legend_labels(figure) == ["gpu-1g to gpu-4g", "twice as fast with twice the GPUs"]


def test_curves_of_gpus_all_look_different():
    order = TableOrder(devices=tuple(f"gpu-{name}-{count}g" for name in "abcdefghi" for count in (1, 2)))
    records = [make_record(device=device, gpus=int(device[-2]), framework=device[4]) for device in order.devices]
    curves = [line for line in lines_of(gpu_scaling(tables_of(records, order), order)) if line.get_marker() in MARKERS]
    assert len({(line.get_color(), line.get_marker()) for line in curves}) == 9


def test_one_number_of_gpus_is_said_to_be_no_curve():
    assert "no GPU was measured in several numbers" in shown_texts(gpu_scaling(*gpus_that_share_a_batch((2,))))


def test_the_law_of_each_framework_has_the_colour_of_its_devices():
    order = TableOrder(devices=tuple(f"{name}-{count}t" for name in ("tensorflow", "torch") for count in (1, 2, 4)))
    records = [
        make_record(
            device=device,
            framework=device.split("-")[0],
            usable_threads=int(device[-2]),
            kind="cpu",
            train_seconds=[9.0, 8.0 / int(device[-2])],
        )
        for device in order.devices
    ]
    colors = device_colors(order.devices)
    laws = [line for line in lines_of(scaling(tables_of(records, order), order)) if len(line.get_xdata()) == 60]
    assert {line.get_color() for line in laws} == {colors["tensorflow-4t"], colors["torch-4t"]}


def test_a_legend_tells_what_devices_compute_with_where_that_differs():
    order = TableOrder(devices=("cpu", "fast"))
    tables = tables_of([make_record(), make_record(device="fast", framework="torch")], order)
    assert legend_labels(seconds_per_epoch(tables, order)) == ["cpu: TensorFlow", "fast: PyTorch"]
