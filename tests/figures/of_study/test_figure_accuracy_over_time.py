"""Accuracy is shown over training time, with what failed."""

import pytest

from drawn_studies import drawn_study, shown_texts, study
from metrics_builder import make_record
from trainbench.figures.of_study.accuracy_over_time import draw
from trainbench.results.tables import TableOrder


def test_accuracy_over_time_begins_after_the_first_epochs_training():
    shown = study(batch_sizes=(128,), devices=("cpu",), repeats=1, seconds=lambda *_: 10.0)
    assert draw(shown).axes[0].lines[0].get_xdata().tolist() == pytest.approx([10.2, 20.4, 30.6])


@pytest.mark.parametrize(("gpu_seconds", "scale"), [(2.0, "linear"), (0.5, "log")])
def test_time_is_logarithmic_where_devices_are_more_than_twenty_times_apart(gpu_seconds, scale):
    shown = study(seconds=lambda device, _: 20.0 if device == "cpu" else gpu_seconds)
    assert draw(shown).axes[0].get_xscale() == scale


def test_an_accuracy_panel_names_the_devices_that_ran_out_of_memory():
    order = TableOrder(devices=("cpu", "gpu", "gpu-x2"))
    failed = [make_record(device=device, status="out_of_memory") for device in ("gpu", "gpu-x2")]
    shown = drawn_study([make_record(), *failed], order)
    assert "out of memory: gpu, gpu-x2" in shown_texts(draw(shown))
