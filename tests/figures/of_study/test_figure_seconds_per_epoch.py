"""Seconds an epoch are shown on the axis that they take."""

import pytest

from drawn_studies import study
from trainbench.figures.of_study.seconds_per_epoch import draw


@pytest.mark.parametrize(("gpu_seconds", "scale"), [(10.0, "linear"), (2.0, "log")])
def test_seconds_are_logarithmic_where_ratios_matter(gpu_seconds, scale):
    shown = study(seconds=lambda device, _: 20.0 if device == "cpu" else gpu_seconds)
    assert draw(shown).axes[0].get_yscale() == scale
