"""Every figure of a study is found by its place, and drawn in every situation."""

import subprocess
import sys
import warnings

import pytest

from drawn_studies import study
from trainbench.figures import of_study
from trainbench.files import fingerprint

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


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("name", of_study.NAMES)
def test_every_figure_is_drawn_in_every_situation_without_a_warning_and_nothing_is_cut_off(name, situation):
    shown = study(**SITUATIONS[situation])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = of_study.figure(name).draw(shown)
        figure.draw_without_rendering()
    drawn, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert min(drawn.x0, drawn.y0, width - drawn.x1, height - drawn.y1) >= 0


@pytest.mark.parametrize("situation", SITUATIONS)
def test_no_text_is_cut_off_at_the_edge(situation):
    figure = of_study.figure("seconds_per_epoch").draw(study(**SITUATIONS[situation]))
    figure.draw_without_rendering()
    width, height = figure.bbox.size
    for text in figure.findobj(lambda artist: hasattr(artist, "get_text")):
        if text.get_visible() and text.get_text():
            box = text.get_window_extent()
            assert box.x0 >= 0, text
            assert box.x1 <= width, text
            assert box.y0 >= 0, text
            assert box.y1 <= height, text


@pytest.mark.parametrize("name", of_study.NAMES)
def test_every_figure_is_there_under_its_name_with_words_for_the_page(name):
    figure = of_study.figure(name)
    assert callable(figure.draw)
    assert figure.TITLE
    assert figure.CAPTION.endswith(".")


def test_what_a_figure_shows_is_the_first_sentence_of_its_file():
    assert of_study.shows("cpu_percent") == "CPU use while training: 100 % is one core busy."


def test_rules_learn_the_names_of_figures_without_what_draws_them():
    code = "import sys, trainbench.figures.of_study; print('matplotlib' in sys.modules, 'pandas' in sys.modules)"
    scripts = str(fingerprint.SCRIPTS)
    ended = subprocess.run([sys.executable, "-c", code], cwd=scripts, check=True, capture_output=True, text=True)
    assert ended.stdout.split() == ["False", "False"]
