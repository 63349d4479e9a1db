"""Bars are intervals, drawn to their ends as far as there is room."""

from matplotlib.markers import CARETDOWN, CARETUP

from drawn_studies import arrows_of, bars_of, shown_texts, study
from trainbench.figures.of_study import seconds_per_epoch


def test_a_bar_is_the_interval_of_the_tables():
    shown = study(batch_sizes=(128,), devices=("cpu",), slower=lambda repeat: 1 + repeat / 10)
    cell = shown.tables["cells"].iloc[0]
    figure = seconds_per_epoch.draw(shown)
    assert bars_of(figure) == [(cell["train_seconds_per_epoch_low"], cell["train_seconds_per_epoch_high"])]
    assert arrows_of(figure) == {CARETDOWN: [], CARETUP: []}


def test_a_wide_interval_is_drawn_to_its_low_end():
    shown = study(batch_sizes=(128, 512), devices=("cpu",), repeats=3, slower=lambda repeat: 2.0**repeat)
    (low, _), _ = bars_of(seconds_per_epoch.draw(shown))
    assert low == shown.tables["cells"]["train_seconds_per_epoch_low"][0]


def test_an_interval_that_would_squeeze_the_rest_ends_in_arrows_and_they_are_explained():
    shown = study(batch_sizes=(128,), devices=("cpu", "gpu"), slower=lambda repeat: 3.0**repeat)
    figure = seconds_per_epoch.draw(shown)
    foot, top = figure.axes[0].get_ylim()
    assert (foot, top) in bars_of(figure)
    assert {height for heights in arrows_of(figure).values() for height in heights} == {foot, top}
    assert foot > shown.tables["cells"]["train_seconds_per_epoch_low"].min()
    assert any("Arrow: the bar goes on." in text.replace("\n", " ") for text in shown_texts(figure))


def test_arrows_that_are_not_there_are_not_explained():
    assert not any("Arrow" in text for text in shown_texts(seconds_per_epoch.draw(study())))
