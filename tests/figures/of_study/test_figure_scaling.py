"""Throughput over threads is shown with its intervals and its law."""

import itertools

from drawn_studies import bars_of, drawn_study, lines_of, shown_texts, study
from metrics_builder import make_record
from trainbench.figures.looks import device_colors
from trainbench.figures.of_study.scaling import draw
from trainbench.results.tables import TableOrder


def test_bars_over_threads_end_in_arrows_likewise():
    order = TableOrder(devices=("cpu-1t", "cpu-2t"))
    records = [
        make_record(device=device, repeat=repeat, usable_threads=int(device[4]), train_seconds=[9.0, 4.0 * 3.0**repeat])
        for device, repeat in itertools.product(order.devices, (1, 2))
    ]
    figure = draw(drawn_study(records, order))
    foot, top = figure.axes[0].get_ylim()
    assert bars_of(figure) == [(foot, top)] * 2
    assert any("Arrow: the bar goes on." in text.replace("\n", " ") for text in shown_texts(figure))


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
    laws = [line for line in lines_of(draw(drawn_study(records, order))) if len(line.get_xdata()) == 60]
    assert {line.get_color() for line in laws} == {colors["tensorflow-4t"], colors["torch-4t"]}


def test_one_number_of_threads_is_said_to_be_no_curve():
    assert "no CPU was measured with several numbers of threads" in shown_texts(draw(study()))
