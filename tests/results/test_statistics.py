"""A run's figure, a cell's figure and summary, and the ratio of two cells."""

import math

import numpy as np
import pytest
from scipy import stats

from trainbench.results.statistics import (
    Estimate,
    Outcome,
    Ratio,
    Summary,
    estimate,
    outcome,
    ratio,
    steady_median,
    summarize,
)


def test_the_steady_epochs_are_all_but_the_first():
    assert steady_median([9.0, 2.0, 3.0]) == 2.5


def test_a_run_of_one_epoch_is_judged_by_that_epoch():
    assert steady_median([9.0]) == 9.0


def test_a_runs_figure_is_the_median_that_one_slow_epoch_does_not_move():
    assert steady_median([50.0, 2.0, 2.1, 40.0]) == 2.1


def test_an_epoch_right_after_a_resume_is_not_steady():
    assert steady_median([9.0, 2.0, 8.0, 3.0], resumed_after=[2]) == 2.5


def test_a_run_in_which_every_epoch_was_the_first_of_a_process_is_judged_by_its_first():
    assert steady_median([9.0, 8.0], resumed_after=[1]) == 9.0


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


# --- a cell's figure ---


def test_a_figure_is_the_geometric_mean_over_runs():
    assert estimate([1.0, 4.0, 16.0]).value == pytest.approx(4.0)


@pytest.mark.parametrize("runs", [2, 3, 5, 30])
def test_the_interval_of_a_figure_is_students_on_logarithms(runs):
    values = np.random.default_rng(runs).lognormal(3.0, 0.1, runs)
    expected = stats.ttest_1samp(np.log(values), 0.0).confidence_interval(0.95)
    found = estimate(values.tolist())
    assert (math.log(found.low), math.log(found.high)) == pytest.approx((expected.low, expected.high))


def test_the_interval_of_two_runs_is_the_one_worked_out_by_hand():
    # Logarithms -x and x: standard error x, Student's t with one degree of freedom 12.7062.
    found = estimate([1 / 1.01, 1.01])
    assert (found.low, found.high) == pytest.approx((1.01**-12.7062, 1.01**12.7062), rel=1e-5)


def test_the_spread_is_the_deviation_of_a_run_from_the_mean():
    # Logarithms -x, 0 and x have the standard deviation x.
    assert estimate([1 / 1.05, 1.0, 1.05]).spread_percent == pytest.approx(5.0)


def test_a_figure_keeps_its_unit():
    seconds = estimate([1.0, 1.1, 1.3])
    milliseconds = estimate([1000.0, 1100.0, 1300.0])
    assert (milliseconds.value, milliseconds.low, milliseconds.high) == pytest.approx(
        (1000 * seconds.value, 1000 * seconds.low, 1000 * seconds.high)
    )


def test_one_run_has_a_figure_and_no_interval():
    assert estimate([5.0]) == Estimate(n=1, value=pytest.approx(5.0))


def test_no_run_has_no_figure():
    assert estimate([]) == Estimate(n=0, value=None)


def test_runs_that_do_not_know_a_figure_do_not_count_towards_it():
    assert estimate([None, 2.0, None, 8.0]) == estimate([2.0, 8.0])


def test_runs_that_agree_have_an_interval_without_width():
    found = estimate([2.0, 2.0, 2.0])
    assert (found.low, found.high, found.spread_percent) == (found.value, found.value, 0.0)


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_what_is_no_positive_number_has_no_geometric_mean(value):
    with pytest.raises(ValueError, match=f"found {value}"):
        estimate([1.0, value])


# --- the ratio of two cells ---


def test_a_ratio_is_that_of_the_geometric_means():
    assert ratio(estimate([8.0, 2.0]), estimate([1.0, 4.0])).value == pytest.approx(2.0)


@pytest.mark.parametrize(("runs", "other_runs", "other_noise"), [(3, 3, 0.05), (5, 3, 0.2), (2, 10, 0.01)])
def test_the_interval_of_a_ratio_is_welchs_on_logarithms(runs, other_runs, other_noise):
    random = np.random.default_rng(runs)
    ours, others = random.lognormal(2.0, 0.05, runs), random.lognormal(1.0, other_noise, other_runs)
    expected = stats.ttest_ind(np.log(ours), np.log(others), equal_var=False).confidence_interval(0.95)
    found = ratio(estimate(ours.tolist()), estimate(others.tolist()))
    assert (math.log(found.low), math.log(found.high)) == pytest.approx((expected.low, expected.high))


def test_the_interval_of_a_ratio_is_the_one_worked_out_by_hand():
    # Two cells of two runs, logarithms -x and x: variance x^2 each of the means, 2 degrees of freedom, t = 4.302653.
    cell = estimate([1 / 1.01, 1.01])
    found = ratio(cell, cell)
    assert (found.low, found.high) == pytest.approx((1.01 ** -(4.302653 * 2**0.5), 1.01 ** (4.302653 * 2**0.5)))


def test_the_inverse_ratio_has_the_inverse_interval():
    ours, others = estimate([1.0, 1.1, 1.2]), estimate([3.0, 3.1, 3.6])
    there, back = ratio(ours, others), ratio(others, ours)
    assert (back.value, back.low, back.high) == pytest.approx((1 / there.value, 1 / there.high, 1 / there.low))


def test_a_single_run_on_either_side_leaves_the_interval_unknown():
    one, several = estimate([4.0]), estimate([2.0, 2.0])
    assert [ratio(one, several), ratio(several, one)] == [Ratio(pytest.approx(2.0)), Ratio(pytest.approx(0.5))]


def test_a_ratio_to_an_unknown_figure_is_unknown():
    assert [ratio(estimate([]), estimate([1.0])), ratio(estimate([1.0]), estimate([]))] == [None, None]


def test_a_ratio_of_cells_without_scatter_has_an_interval_without_width():
    found = ratio(estimate([4.0, 4.0]), estimate([2.0, 2.0]))
    assert (found.low, found.high) == (found.value, found.value)


def test_scatter_on_one_side_alone_has_the_degrees_of_freedom_of_that_side():
    scattered, steady_cell = estimate([0.9, 1.0, 1.2]), estimate([2.0, 2.0])
    found = ratio(scattered, steady_cell)
    assert (found.low, found.high) == pytest.approx((scattered.low / 2.0, scattered.high / 2.0))


def test_a_ratio_in_another_unit_takes_its_interval_along():
    assert Ratio(2.0, 1.0, 4.0).times(100) == Ratio(200.0, 100.0, 400.0)
    assert Ratio(2.0).times(0.5) == Ratio(1.0)


@pytest.mark.parametrize(
    ("ratio", "said"),
    [
        ((2.0, 1.5, 2.5), Outcome.ABOVE),
        ((0.5, 0.4, 0.6), Outcome.BELOW),
        ((1.1, 0.9, 1.3), Outcome.NO_DIFFERENCE),
        ((1.0, 1.0, 1.0), Outcome.NO_DIFFERENCE),
        ((2.0, None, None), Outcome.ABOVE_ONCE),
        ((0.5, None, None), Outcome.BELOW_ONCE),
        ((1.0, None, None), Outcome.EQUAL_ONCE),
        ((2.0, 1.5, None), Outcome.ABOVE_ONCE),
        ((2.0, 1.0, 4.0), Outcome.NO_DIFFERENCE),
        ((0.5, 0.25, 1.0), Outcome.NO_DIFFERENCE),
    ],
)
def test_a_ratio_is_called_by_its_whole_interval(ratio, said):
    assert outcome(Ratio(*ratio)) is said


def test_a_ratio_without_an_interval_shows_nothing():
    assert not any(said.shown for said in Outcome if said.seen_once)
