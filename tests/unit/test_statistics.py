"""A run's figure and a cell's summary."""

import pytest

from trainbench.statistics import (
    Summary,
    first_epoch_only,
    steady,
    steady_count,
    steady_median,
    summarize,
)


def test_the_steady_epochs_are_all_but_the_first():
    assert list(steady([9.0, 2.0, 3.0])) == [2.0, 3.0]


def test_a_run_of_one_epoch_is_judged_by_that_epoch():
    assert list(steady([9.0])) == [9.0]


def test_only_a_run_of_one_epoch_is_flagged_as_first_epoch_only():
    assert [first_epoch_only(values) for values in ([], [9.0], [9.0, 2.0])] == [False, True, False]


def test_a_run_of_one_epoch_has_no_steady_epoch():
    assert [steady_count(values) for values in ([], [9.0], [9.0, 2.0, 3.0])] == [0, 0, 2]


def test_a_runs_figure_is_the_median_that_one_slow_epoch_does_not_move():
    assert steady_median([50.0, 2.0, 2.1, 40.0]) == 2.1


def test_a_run_without_epochs_has_no_figure():
    assert steady_median([]) is None


def test_a_summary_takes_the_standard_deviation_of_a_sample():
    assert summarize([1.0, 2.0, 4.0]) == Summary(
        n=3, mean=pytest.approx(7 / 3), sd=pytest.approx((7 / 3) ** 0.5), minimum=1.0, maximum=4.0
    )


def test_one_run_has_no_standard_deviation():
    assert summarize([5.0]) == Summary(n=1, mean=5.0, sd=None, minimum=5.0, maximum=5.0)


def test_runs_that_do_not_know_a_figure_are_not_counted():
    assert summarize([None, 3.0, None]).n == 1


def test_what_no_run_knows_stays_unknown():
    assert summarize([None]) == Summary(n=0, mean=None, sd=None, minimum=None, maximum=None)


def test_the_mean_of_equal_values_is_that_value():
    assert summarize([0.1, 0.1, 0.1]).mean == 0.1
