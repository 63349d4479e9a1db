"""Fields of text say what a row of a table says, with its interval, or why there is nothing to say."""

import pytest

from trainbench.conclusions import cell_texts

UNKNOWN = "\N{EN DASH}"
FIGURE = {"n": 2, "seconds": 12.15, "seconds_low": 12.03, "seconds_high": 12.27}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "12.15 s (12.03\N{EN DASH}12.27)"),
        ({"n": 1, "seconds_low": None, "seconds_high": None}, "12.15 s (one run)"),
        ({"seconds": None}, UNKNOWN),
    ],
)
def test_a_figure_is_told_with_its_interval_or_that_it_rests_on_one_run(changes, text):
    assert cell_texts.figure_text(FIGURE | changes, "seconds", " s") == text


@pytest.mark.parametrize(
    ("mean", "sd", "scale", "text"),
    [
        (0.95, 0.01, 100.0, "95.0 ± 1.0"),
        (0.95, None, 100.0, "95.00"),
        (198.2, 0.4, 1.0, "198.2 ± 0.4"),
        (None, None, 100.0, UNKNOWN),
    ],
)
def test_a_mean_is_told_with_its_deviation_in_the_unit_that_is_wanted(mean, sd, scale, text):
    assert cell_texts.mean_text({"share_mean": mean, "share_sd": sd}, "share", scale) == text


def test_a_mean_is_told_in_its_own_unit_unless_another_is_wanted():
    assert cell_texts.mean_text({"share_mean": 0.5, "share_sd": None}, "share") == "0.5000"


@pytest.mark.parametrize(
    ("ratio", "text"),
    [
        ((2.0, 1.9, 2.1), "2.00\N{MULTIPLICATION SIGN} (1.90\N{EN DASH}2.10)"),
        ((2.0, None, None), "2.00\N{MULTIPLICATION SIGN}"),
        ((1.0, 1.0, 1.0), "1.00\N{MULTIPLICATION SIGN}"),
        ((1.0, 0.9, 1.1), "1.00\N{MULTIPLICATION SIGN} (0.90\N{EN DASH}1.10)"),
        ((None, None, None), UNKNOWN),
    ],
    ids=["interval", "single runs", "the reference", "no difference", "unknown"],
)
@pytest.mark.parametrize("name", ["speedup", "other"])
def test_a_ratio_is_told_with_its_interval_but_not_that_of_the_reference_to_itself(name, ratio, text):
    row = dict(zip((name, f"{name}_low", f"{name}_high"), ratio, strict=True))
    assert (cell_texts.ratio_text(row) if name == "speedup" else cell_texts.ratio_text(row, name)) == text


@pytest.mark.parametrize(("device", "text"), [("gpu-4g", "80.0 % (79.6\N{EN DASH}80.4)"), ("gpu-1g", "80.0 %")])
def test_an_efficiency_is_told_in_percent_and_that_of_the_reference_without_interval(device, text):
    row = {"efficiency": 0.8, "efficiency_low": 0.796, "efficiency_high": 0.804}
    row |= {"device": device, "reference_device": "gpu-1g"}
    assert cell_texts.efficiency_text(row, " %") == text


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (None, UNKNOWN),
        ({"n": 1, "status": "out_of_memory"}, UNKNOWN),
        ({"n": 0, "status": "out_of_memory"}, "out of memory"),
    ],
)
def test_a_cell_without_a_conclusion_says_how_its_runs_ended(cell, text):
    assert cell_texts.absent_text(cell) == text


@pytest.mark.parametrize(
    ("undecided", "text"), [(None, "4"), ("8", "4 (not shown over 8)"), ("2 8 16", "4 (not shown over 2, 8 and 16)")]
)
def test_the_best_number_of_threads_is_told_with_those_over_which_it_is_not_shown(undecided, text):
    assert cell_texts.best_threads_text({"best_threads": 4, "undecided_threads": undecided}) == text


CPU = {"device_kind": "cpu", "device_name": "EPYC", "gpus": 0, "threads": 2}
GPU = {"device_kind": "gpu", "device_name": "H200", "gpus": 1, "threads": 2}


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (CPU, "EPYC, 2 threads"),
        (CPU | {"threads": 1}, "EPYC, 1 thread"),
        (CPU | {"threads": None}, "EPYC"),
        (CPU | {"device_name": None}, None),
        (GPU, "H200"),
        (GPU | {"gpus": 4}, "4 x H200"),
        (GPU | {"gpus": None}, "H200"),
        (GPU | {"gpus": 4, "device_name": None}, None),
    ],
)
def test_hardware_is_told_as_a_card_or_several_or_a_processor_and_its_threads(cell, text):
    assert cell_texts.hardware_of(cell) == text
