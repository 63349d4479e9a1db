"""CPU use is read against one core and all threads."""

import pytest
from matplotlib.markers import CARETDOWN, CARETUP

from drawn_studies import arrows_of, study
from trainbench.figures.of_study.cpu_percent import draw


def test_cpu_use_is_read_against_one_core_and_all_threads():
    shown = study(usable_threads=128)
    guides = {line.get_ydata()[0] for line in draw(shown).axes[0].lines if len(line.get_ydata()) == 2}
    assert {100.0, 12800.0} <= guides


@pytest.mark.parametrize(("usable_threads", "scale"), [(2, "linear"), (64, "log")])
def test_a_deviation_below_no_cpu_use_at_all_is_an_arrow_at_the_foot(usable_threads, scale):
    uses = {1: 20.0, 2: 40.0, 3: 194.0}
    figure = draw(
        study(
            batch_sizes=(512,),
            devices=("cpu",),
            repeats=3,
            usable_threads=usable_threads,
            of_repeat=lambda repeat: {"cpu_percent": uses[repeat]},
        )
    )
    axes = figure.axes[0]
    assert axes.get_yscale() == scale
    assert arrows_of(figure) == {CARETDOWN: [axes.get_ylim()[0]], CARETUP: []}
