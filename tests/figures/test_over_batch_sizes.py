"""Figures over batch sizes show every cell, and say what their marks are."""

import pytest

from drawn_studies import drawn_study, hollow_places, legend_labels, lines_of, shown_texts, study, with_a_flagged_run
from metrics_builder import make_record
from trainbench.figures.of_study import cpu_percent, seconds_per_epoch
from trainbench.results.tables import TableOrder


def test_panels_stand_in_the_order_given():
    shown = study(models=("lstm", "conv", "logistic"))
    titles = [axes.get_title(loc="left") for axes in seconds_per_epoch.draw(shown).axes]
    assert titles == ["lstm", "conv", "logistic"]


def test_single_runs_have_no_dots_where_they_are_too_many_and_none_are_explained():
    shown = study(devices=("cpu",), batch_sizes=(128,), repeats=21, epochs=1)
    figure = seconds_per_epoch.draw(shown)
    assert not lines_of(figure, marker=".")
    assert not any("faint dots" in text for text in shown_texts(figure))


def test_lines_are_named_at_their_ends_where_names_are_short():
    (axes,) = seconds_per_epoch.draw(study(repeats=1)).axes
    assert [text.get_text() for text in axes.texts if text.get_text().isalpha()] == ["cpu", "gpu"]


def test_the_line_of_the_only_device_needs_no_name():
    (axes,) = seconds_per_epoch.draw(study(devices=("cpu",))).axes
    assert "cpu" not in [text.get_text() for text in axes.texts]


@pytest.mark.parametrize("figure", [seconds_per_epoch, cpu_percent], ids=lambda figure: figure.TITLE)
def test_the_mean_of_a_cell_with_a_flagged_run_is_hollow(figure):
    assert hollow_places(figure.draw(with_a_flagged_run("cpu"))) == {1}


def test_the_dot_of_a_flagged_run_is_hollow_and_that_of_its_neighbour_full():
    lines = seconds_per_epoch.draw(with_a_flagged_run("cpu")).axes[0].lines
    dots = [line for line in lines if line.get_marker() == "." and line.get_color() == "#0072B2"]
    at_512 = [line.get_markerfacecolor() for line in dots for x in line.get_xdata() if round(x) == 1]
    assert sorted(at_512) == ["#0072B2", "white"]


def test_hollow_markers_are_explained():
    texts = shown_texts(seconds_per_epoch.draw(with_a_flagged_run("cpu")))
    assert any("Hollow: a check flagged a run" in text.replace("\n", " ") for text in texts)


def test_nothing_is_explained_that_is_not_there():
    assert not any("Hollow" in text for text in shown_texts(seconds_per_epoch.draw(study())))


def test_a_cell_out_of_memory_is_marked_and_explained():
    order = TableOrder(devices=("cpu", "gpu"))
    shown = drawn_study([make_record(), make_record(device="gpu", status="out_of_memory")], order)
    assert legend_labels(seconds_per_epoch.draw(shown)) == ["cpu", "gpu", "out of memory"]


def test_devices_of_several_hosts_are_told_apart_by_host():
    order = TableOrder()
    shown = drawn_study([make_record(host="a"), make_record(host="b")], order)
    assert legend_labels(seconds_per_epoch.draw(shown)) == ["cpu @ a", "cpu @ b"]


def test_hostile_names_are_shown_as_they_are():
    order = TableOrder()
    names = ["$x_1$", "<script>alert(1)</script>"]
    shown = drawn_study([make_record(host=name) for name in names], order)
    assert legend_labels(seconds_per_epoch.draw(shown)) == [f"cpu @ {name}" for name in names]


def test_a_legend_tells_what_devices_compute_with_where_that_differs():
    order = TableOrder(devices=("cpu", "fast"))
    shown = drawn_study([make_record(), make_record(device="fast", framework="torch")], order)
    assert legend_labels(seconds_per_epoch.draw(shown)) == ["cpu: TensorFlow", "fast: PyTorch"]
