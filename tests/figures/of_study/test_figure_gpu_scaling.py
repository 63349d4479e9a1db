"""Throughput over GPUs is shown beside twice as fast with twice as many."""

from dataclasses import replace

import pandas as pd
import pytest

from drawn_studies import drawn_study, legend_labels, lines_of, shown_texts
from metrics_builder import make_record
from trainbench.figures.looks import MARKERS, device_colors
from trainbench.figures.of_study.gpu_scaling import draw
from trainbench.results.tables import TableOrder


def gpus_that_share_a_batch(counts=(1, 2, 4), **settings):
    order = TableOrder(devices=tuple(f"gpu-{count}g" for count in counts))
    records = [
        make_record(device=f"gpu-{count}g", gpus=count, train_seconds=[9.0, 8.0 / count**0.5], **settings)
        for count in counts
    ]
    return drawn_study(records, order)


def test_throughput_over_gpus_stands_beside_one_that_grows_with_their_number():
    figure = draw(gpus_that_share_a_batch())
    (ideal,) = lines_of(figure, color="#666666")
    slowest = 107 * 512 / 8.0
    assert ideal.get_xdata().tolist() == [1, 4]
    assert ideal.get_ydata().tolist() == pytest.approx([slowest, 4 * slowest])


def test_both_axes_of_throughput_over_gpus_are_logarithmic_and_name_the_numbers_measured():
    axes = draw(gpus_that_share_a_batch()).axes[0]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert axes.get_xticks().tolist() == [1, 2, 4]


def test_every_series_of_gpus_has_an_ideal_of_its_own():
    shown = gpus_that_share_a_batch()
    jax = gpus_that_share_a_batch((2, 4), framework="jax", host="other")
    both = {name: pd.concat([shown.tables[name], jax.tables[name]]) for name in ("cells", "gpu_scaling")}
    assert len(lines_of(draw(replace(shown, tables=both)), color="#666666")) == 2


def test_devices_that_differ_in_their_gpus_alone_are_one_curve_in_the_colour_of_the_fewest():
    shown = gpus_that_share_a_batch()
    figure = draw(shown)
    (curve,) = lines_of(figure, color=device_colors(shown.order.devices)["gpu-1g"], marker="o")
    assert curve.get_xdata().tolist() == [1, 2, 4]
    assert legend_labels(figure) == ["gpu-1g to gpu-4g", "twice as fast with twice the GPUs"]


def test_curves_of_gpus_all_look_different():
    order = TableOrder(devices=tuple(f"gpu-{name}-{count}g" for name in "abcdefghi" for count in (1, 2)))
    records = [make_record(device=device, gpus=int(device[-2]), framework=device[4]) for device in order.devices]
    curves = [line for line in lines_of(draw(drawn_study(records, order))) if line.get_marker() in MARKERS]
    assert len({(line.get_color(), line.get_marker()) for line in curves}) == 9


def test_one_number_of_gpus_is_said_to_be_no_curve():
    assert "no GPU was measured in several numbers" in shown_texts(draw(gpus_that_share_a_batch((2,))))
