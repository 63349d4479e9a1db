"""Cells stand below the roofs of their devices."""

import itertools

import pytest

from drawn_studies import drawn_study, legend_labels, lines_of, shown_texts, study, with_a_flagged_run
from metrics_builder import make_record
from trainbench.figures.looks import device_colors
from trainbench.figures.of_study.roofline import draw
from trainbench.results.tables import TableOrder


def test_each_device_has_its_roof_with_a_ridge_where_memory_and_arithmetic_meet():
    shown = study(ceilings={"flop_per_second": 4e11, "bytes_per_second": 2e10})
    roofs = [line for line in lines_of(draw(shown)) if len(line.get_xdata()) == 3]
    assert [(line.get_xdata()[1], line.get_ydata()[1:].tolist()) for line in roofs] == [(20.0, [400.0, 400.0])] * 2


def test_left_of_the_ridge_a_roof_falls_with_the_intensity():
    shown = study(devices=("cpu",), ceilings={"flop_per_second": 4e11, "bytes_per_second": 2e10})
    (roof,) = (line for line in lines_of(draw(shown)) if len(line.get_xdata()) == 3)
    left, _, _ = roof.get_xdata()
    assert roof.get_ydata()[0] == pytest.approx(left * 20.0)


def test_a_cell_stands_at_its_intensity_and_at_what_it_achieves():
    arithmetic = {"train_flop_per_example": 1_000_000, "train_bytes_per_example": 50_000.0}
    shown = study(batch_sizes=(500,), devices=("cpu",), repeats=1, seconds=lambda *_: 10.0, arithmetic=arithmetic)
    (cell,) = lines_of(draw(shown), marker="o")
    assert (cell.get_xdata()[0], cell.get_ydata()[0]) == (20.0, pytest.approx(55_000 * 1e6 / 10.2 / 1e9))


def test_models_differ_in_their_markers_and_devices_in_their_colours():
    shown = study(models=("conv", "lstm"), batch_sizes=(512,))
    cells = [line for line in lines_of(draw(shown)) if line.get_marker() != "None"]
    looks = [(line.get_marker(), line.get_color()) for line in cells]
    assert sorted(looks) == sorted(itertools.product("os", list(device_colors(shown.order.devices).values())))


def test_the_roofline_names_what_each_device_can_do():
    shown = study(ceilings={"flop_per_second": 4e11, "bytes_per_second": 2e10})
    assert legend_labels(draw(shown)) == [f"{name}: 400 GFLOP/s, 20.0 GB/s" for name in ("cpu", "gpu")]


def test_the_roofline_says_that_no_run_knows_what_its_device_can_do():
    shown = study(ceilings=None)
    assert "no run knows what its device can do at most" in shown_texts(draw(shown))


def test_a_device_of_unknown_ceilings_shows_its_cells_without_a_roof():
    order = TableOrder(devices=("cpu", "gpu"))
    figure = draw(drawn_study([make_record(), make_record(device="gpu", ceilings=None)], order))
    gpu = device_colors(order.devices)["gpu"]
    assert [len(line.get_xdata()) for line in lines_of(figure, color=gpu, marker="o")] == [1]
    assert legend_labels(figure)[1] == "gpu: unknown"


def test_the_cell_of_a_flagged_run_is_hollow_in_the_roofline():
    cells = lines_of(draw(with_a_flagged_run("cpu")), marker="o")
    assert sum(line.get_markerfacecolor() == "white" for line in cells) == 1
