"""Accuracy after each epoch is shown of every run, or where these are many of every cell."""

import pytest

from drawn_studies import drawn_study, shown_texts, study
from metrics_builder import make_record
from trainbench.figures.looks import device_colors
from trainbench.figures.of_study.accuracy_over_epochs import draw
from trainbench.results.tables import TableOrder


def test_a_device_without_any_accuracy_keeps_its_colour_in_all_figures():
    order = TableOrder(devices=("cpu", "gpu", "gpu-x2"))
    records = [make_record(device="cpu"), make_record(device="gpu", status="out_of_memory")]
    shown = drawn_study([*records, make_record(device="gpu-x2")], order)
    third = list(device_colors(order.devices).values())[2]
    colors = {line.get_color() for line in draw(shown).axes[0].lines}
    assert third in colors


def test_accuracy_has_a_line_for_each_run():
    shown = study(batch_sizes=(128,), repeats=3)
    assert len(draw(shown).axes[0].lines) == 2 * 3


def test_many_runs_are_one_line_a_cell_in_a_band_from_the_lowest_to_the_highest():
    order = TableOrder(devices=("cpu",))
    records = [make_record(repeat=repeat, accuracies=[0.5 + repeat / 100, 0.9]) for repeat in range(1, 22)]
    (axes,) = draw(drawn_study(records, order)).axes
    (line,), (band,) = axes.lines, axes.collections
    assert line.get_ydata().tolist() == pytest.approx([61.0, 90.0])
    heights = band.get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == pytest.approx((51.0, 90.0))


def test_of_more_panels_than_anybody_looks_at_some_are_shown_from_end_to_end_and_said_to_be():
    sizes = [2**power for power in range(3, 13)]
    shown = study(models=("conv", "lstm", "logistic"), batch_sizes=sizes, repeats=1, epochs=1)
    figure = draw(shown)
    titles = [axes.get_title(loc="left").replace("\n", " ") for axes in figure.axes[:4]]
    assert titles == [f"conv, batch size {size}" for size in (8, 64, 512, 4096)]
    assert any("Shown: 4 of 10 batch sizes." in text.replace("\n", " ") for text in shown_texts(figure))


def test_a_cell_that_was_not_asked_for_leaves_its_panel_empty_and_says_so():
    order = TableOrder()
    shown = drawn_study([make_record("conv", 128), make_record("lstm", 512)], order)
    assert shown_texts(draw(shown)).count("not measured") == 2
