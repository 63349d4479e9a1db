"""Speedups are ratios to the reference, on powers of two."""

import pytest

from drawn_studies import hollow_places, shown_texts, study, with_a_flagged_run
from trainbench.figures.of_study.speedup import draw
from trainbench.words.wording import TIMES


def test_a_speedup_is_drawn_on_powers_of_two_with_a_line_at_one():
    shown = study()
    axes = draw(shown).axes[0]
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
    assert words in " ".join(" ".join(shown_texts(draw(study(repeats=repeats)))).split())


def test_a_speedup_is_the_ratio_of_the_means():
    shown = study(batch_sizes=(128,), seconds=lambda device, _: 30.0 if device == "cpu" else 2.0)
    assert f"15.0{TIMES}" in shown_texts(draw(shown))


def test_a_speedup_of_one_device_shows_it_at_1():
    assert f"1.00{TIMES}" in shown_texts(draw(study(devices=("cpu",))))


def test_a_speedup_without_a_reference_shows_that_there_is_none():
    shown = study(devices=("gpu",))
    assert shown_texts(draw(shown)).count("not measured") == 1


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_a_speedup_is_hollow_whichever_of_its_cells_has_a_flagged_run(device):
    assert hollow_places(draw(with_a_flagged_run(device))) == {1}
