"""Values are written beside their markers, where they cover nothing."""

import re

import pytest

from drawn_studies import shown_texts, study
from trainbench.figures.of_study import seconds_per_epoch


def test_the_values_are_written_beside_the_markers():
    shown = study(batch_sizes=(128,), repeats=1, seconds=lambda device, _: 20.0 if device == "cpu" else 2.0)
    assert {"20.4", "2.04"} <= set(shown_texts(seconds_per_epoch.draw(shown)))


def written_values(figure):
    """The values written in each panel."""
    figure.draw_without_rendering()
    return [
        [text.get_text() for text in axes.texts if re.fullmatch(r"[\d.]+", text.get_text())] for axes in figure.axes
    ]


def test_every_value_is_written_though_wide_bars_and_names_stand_beside_it():
    shown = study(
        batch_sizes=(128, 256, 512),
        repeats=3,
        seconds=lambda device, size: (0.06 if size == 256 else 0.02) * (1.0 if device == "cpu" else 0.14),
        slower=lambda repeat: (1, 1.05, 2.0)[repeat - 1],
    )
    (values,) = written_values(seconds_per_epoch.draw(shown))
    assert len(values) == 2 * 3


@pytest.mark.parametrize("sizes", [6, 40])
def test_a_panel_has_all_of_its_values_or_none(sizes):
    shown = study(
        batch_sizes=range(100, 100 + sizes), devices=("cpu", "gpu-a", "gpu-b"), repeats=1, seconds=lambda *_: 1.2345
    )
    (values,) = written_values(seconds_per_epoch.draw(shown))
    assert len(values) in (0, 3 * sizes)
