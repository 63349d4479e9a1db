"""The Universal Scalability Law, core equivalents, and their tables."""

import math
import re

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import curve_fit, lsq_linear

from trainbench.conclusions import scaling
from trainbench.conclusions.scaling import Point, Uncertainty, Usl, core_equivalent, fit_usl, parameter_bounds
from trainbench.conclusions.tables.core_equivalents import core_equivalents_table
from trainbench.conclusions.tables.gpu_scaling import gpu_scaling_table
from trainbench.conclusions.tables.scaling import scaling_table
from trainbench.conclusions.tables.scaling_fits import scaling_fits_table
from trainbench.results.statistics import Estimate, estimate
from trainbench.results.tables import TableOrder

THREADS = (1, 2, 4, 8, 16)


def law(contention=0.05, coherency=0.001, gamma=1000.0, **changes):
    return Usl(gamma, contention, coherency, **{"fewest_threads": 1, "most_threads": 16} | changes)


def noisy(value, runs=5, noise=0.05, seed=0):
    """A figure over runs that scatter around `value`, by a share of it."""
    return estimate(value * np.exp(noise * np.random.default_rng(seed).standard_normal(runs)))


def exact(planted, threads=THREADS):
    """What is measured without noise, one run for each number of threads."""
    return tuple(Point(count, Estimate(1, planted.throughput(count))) for count in threads)


def scattered(planted, threads=THREADS, **settings):
    return tuple(Point(count, noisy(planted.throughput(count), seed=count, **settings)) for count in threads)


# --- the law ---


def test_one_thread_processes_gamma_samples_a_second():
    assert law(gamma=1234.0).throughput(1) == 1234.0


def test_throughput_is_gunthers_law():
    assert law(0.1, 0.01, gamma=10.0).throughput(4) == pytest.approx(10 * 4 / (1 + 0.1 * 3 + 0.01 * 4 * 3))


def test_throughput_is_highest_at_the_peak():
    planted = law()
    peak = planted.peak_threads
    assert planted.throughput(peak) > max(planted.throughput(peak - 0.5), planted.throughput(peak + 0.5))


def test_perfect_scaling_has_no_peak():
    planted = law(0.0, 0.0)
    assert (planted.peak_threads, planted.peak_samples_per_second) == (None, None)


def test_without_coherency_throughput_grows_towards_gamma_over_contention():
    planted = law(0.05, 0.0)
    assert (planted.peak_threads, planted.peak_samples_per_second) == (None, pytest.approx(20_000.0))


@pytest.mark.parametrize(("contention", "coherency"), [(2.0, 0.0), (1.0, 0.1), (0.5, 3.0)])
def test_throughput_that_falls_from_the_start_peaks_with_one_thread(contention, coherency):
    planted = law(contention, coherency)
    assert (planted.peak_threads, planted.peak_samples_per_second) == (1.0, pytest.approx(1000.0))


# --- the fit ---


@pytest.mark.parametrize(
    ("contention", "coherency"), [(0.05, 0.001), (0.0, 0.0), (0.05, 0.0), (0.0, 0.001), (1.0, 0.0), (2.0, 0.5)]
)
def test_a_fit_without_noise_finds_the_planted_parameters(contention, coherency):
    found = fit_usl(exact(law(contention, coherency))).law
    assert (found.gamma, found.contention, found.coherency) == pytest.approx(
        (1000.0, contention, coherency), rel=1e-6, abs=1e-9
    )


def test_noise_does_not_make_parameters_negative():
    superlinear = tuple(Point(count, Estimate(1, float(count**1.2))) for count in THREADS)
    found = fit_usl(superlinear).law
    assert (found.contention, found.coherency) == (0.0, 0.0)


def test_a_fit_weighs_relative_differences():
    # A tenth more with one thread and a tenth less with many are the same error: both parameters stay in place.
    planted = law(0.05, 0.0, gamma=10.0)
    more, less = (
        tuple(Point(p.threads, Estimate(1, p.samples_per_second.value * f)) for p in exact(planted))
        for f in (1.1, 1 / 1.1)
    )
    assert fit_usl(more + less).law.contention == pytest.approx(0.05, abs=1e-6)


@pytest.mark.parametrize("threads", [(), (4,), (1, 2), (2, 2, 2, 4)])
def test_fewer_than_three_thread_counts_give_no_law(threads):
    assert fit_usl(exact(law(), threads)).law is None


def test_a_missing_law_says_how_many_thread_counts_there_were():
    assert fit_usl(exact(law(), (2, 2, 4))).reason == "2 thread counts measured, the law takes at least 3"


def test_measurements_that_do_not_follow_the_law_give_a_reason():
    wild = tuple(Point(count, Estimate(1, value)) for count, value in zip(THREADS, (1.0, 1000.0) * 2, strict=False))
    assert fit_usl(wild).reason.startswith("the measured throughputs do not follow the law")


def test_throughput_that_falls_from_several_threads_on_does_not_determine_the_law():
    # The more contention, the better the law fits, and the higher one thread's throughput.
    falling = tuple(Point(count, Estimate(1, 1000.0 * count / (count - 1))) for count in (8, 16, 32))
    reason = "the measured throughputs do not determine the law: measure with one thread too"
    assert fit_usl(falling).reason == reason


def test_throughput_that_falls_from_one_thread_on_as_no_law_does_is_told_without_more_advice():
    found = fit_usl(exact(law(200.0, 0.0)))
    assert (found.law, found.reason) == (None, "the measured throughputs do not determine the law")


def test_draws_below_0_are_moved_to_the_nearest_that_are_allowed_in_the_metric_of_the_fit():
    covariance = np.array([[0.04, 0.01, -0.002], [0.01, 0.02, -0.003], [-0.002, -0.003, 0.001]])
    drawn = np.random.default_rng(0).multivariate_normal((0.0, 0.0, 0.0), covariance, 50)
    metric = np.linalg.inv(np.linalg.cholesky(covariance))
    nearest = [
        lsq_linear(metric, metric @ draw, bounds=([-np.inf, 0, 0], np.inf), tol=1e-14).x if draw.min() < 0 else draw
        for draw in drawn
    ]
    found = scaling._within_bounds(drawn, covariance)
    assert found == pytest.approx(np.array(nearest), abs=1e-6)
    assert {tuple(signs) for signs in (drawn[:, 1:] < 0).tolist()} == {
        (True, True), (True, False), (False, True), (False, False)
    }  # fmt: skip


def test_draws_of_a_law_that_is_certain_are_cut_off_at_0():
    drawn = np.array([[-1.0, -0.1, 0.2], [1.0, 0.1, -0.2]])
    covariance = np.diag([0.1, 0.0, 0.1])
    assert scaling._within_bounds(drawn, covariance).tolist() == [[-1.0, 0.0, 0.2], [1.0, 0.1, 0.0]]


def test_throughputs_that_are_unknown_are_left_out():
    assert fit_usl((*exact(law(), (1, 2, 4)), Point(8, Estimate(0, None)))) == fit_usl(exact(law(), (1, 2, 4)))


def test_three_thread_counts_know_no_uncertainty():
    assert fit_usl(scattered(law(), (1, 2, 4))).law.uncertainty is None


def test_all_runs_count_towards_the_degrees_of_freedom():
    assert fit_usl(scattered(law(), runs=5)).law.uncertainty.degrees_of_freedom == 5 * 5 - 3


def test_the_fit_is_the_one_to_all_single_runs():
    values = {count: law().throughput(count) * np.array([0.95, 1.0, 1.08]) for count in (1, 2, 4, 8)}
    of_cells = fit_usl(tuple(Point(count, estimate(runs)) for count, runs in values.items())).law
    of_runs = fit_usl(tuple(Point(count, Estimate(1, value)) for count, runs in values.items() for value in runs)).law
    assert (of_cells.gamma, of_cells.contention, of_cells.coherency) == pytest.approx(
        (of_runs.gamma, of_runs.contention, of_runs.coherency), rel=1e-5
    )


def test_of_single_runs_the_covariance_is_that_of_least_squares_on_logarithms():
    points = tuple(
        Point(count, Estimate(1, law().throughput(count) * factor))
        for count, factor in zip((1, 2, 4, 8, 16, 32), (1.01, 0.98, 1.03, 0.99, 1.02, 0.97), strict=True)
    )
    _, expected = curve_fit(
        lambda n, log_gamma, a, b: log_gamma + np.log(n) - np.log(1 + a * (n - 1) + b * n * (n - 1)),
        np.array([point.threads for point in points], dtype=float),
        np.log([point.samples_per_second.value for point in points]),
        p0=(math.log(1000.0), 0.05, 0.001),
    )
    found = fit_usl(points).law.uncertainty
    assert found.degrees_of_freedom == 3
    assert np.array(found.covariance) == pytest.approx(expected, rel=1e-3)


def test_a_law_that_is_off_is_not_made_sure_by_runs_that_agree():
    bent = {1: 1000.0, 2: 2400.0, 4: 2600.0, 8: 6000.0, 16: 5000.0}
    few, many = (
        fit_usl(tuple(Point(n, noisy(value, runs=runs, noise=0.001)) for n, value in bent.items())).law
        for runs in (2, 50)
    )
    assert many.uncertainty.covariance[0][0] == pytest.approx(few.uncertainty.covariance[0][0], rel=0.05)


def test_a_misfit_is_how_far_the_law_is_off_at_most():
    superlinear = tuple(Point(count, Estimate(1, value)) for count, value in ((1, 1.0), (2, 2.0), (4, 4.0), (8, 16.0)))
    # Perfect scaling, its gamma the geometric mean of 1, 1, 1, 2.
    assert fit_usl(superlinear).misfit_percent == pytest.approx(100 * (2 / 2**0.25 - 1))


def test_bounds_of_parameters_are_not_negative():
    assert all(low >= 0 for low, _ in parameter_bounds(fit_usl(scattered(law(0.01, 0.0))).law))


def test_bounds_of_parameters_are_unknown_without_uncertainty():
    assert parameter_bounds(law()) is None


# --- core equivalents ---


@pytest.mark.parametrize(("contention", "coherency"), [(0.05, 0.001), (0.0, 0.0), (0.05, 0.0), (0.0, 0.001)])
def test_the_core_equivalent_is_the_least_number_of_cores_that_matches(contention, coherency):
    planted = law(contention, coherency)
    assert core_equivalent(planted, Estimate(1, planted.throughput(7.3))).cores == pytest.approx(7.3)


def test_whole_cores_are_rounded_up():
    assert core_equivalent(law(), Estimate(1, law().throughput(7.3))).whole_cores == 8


def test_a_whole_number_of_cores_is_not_rounded_up_by_rounding_errors():
    assert core_equivalent(law(), Estimate(1, law().throughput(7.0))).whole_cores == 7


def test_a_device_slower_than_one_core_matches_a_share_of_it():
    match = core_equivalent(law(gamma=1000.0), Estimate(1, 250.0))
    assert (match.cores, match.whole_cores) == (0.25, 1)


def test_the_peak_itself_is_matched():
    planted = law()
    assert core_equivalent(planted, Estimate(1, planted.peak_samples_per_second)).cores == pytest.approx(
        planted.peak_threads, rel=1e-5
    )


def test_above_the_peak_no_number_of_cores_matches():
    match = core_equivalent(law(), Estimate(1, 1.01 * law().peak_samples_per_second))
    assert (match.cores, match.whole_cores) == (None, None)


def test_an_asymptote_is_not_matched():
    assert core_equivalent(law(0.05, 0.0), Estimate(1, 20_000.0)).cores is None


def test_throughput_that_falls_from_the_start_matches_nothing_faster_than_one_core():
    assert core_equivalent(law(1.5, 0.1), Estimate(1, 1001.0)).cores is None


def test_a_match_that_lies_between_whole_numbers_around_the_peak_is_no_whole_number():
    planted = law(0.0, 1 / 1.5**2)  # peaks with 1.5 threads, and 1 and 2 train less
    match = core_equivalent(planted, Estimate(1, planted.throughput(1.4)))
    assert (match.cores, match.whole_cores) == (pytest.approx(1.4), None)


def test_a_whole_number_beyond_the_peak_that_still_matches_is_one():
    planted = law(0.05, 0.95 / 21)  # peaks with 4.6 threads, and 5 train more than 4
    match = core_equivalent(planted, Estimate(1, 0.9999 * planted.throughput(5)))
    assert (match.cores < planted.peak_threads, match.whole_cores) == (True, 5)


def test_a_share_of_one_core_is_not_extrapolated_where_one_thread_was_measured():
    assert not core_equivalent(law(gamma=1000.0), Estimate(1, 250.0)).extrapolated


def test_more_cores_than_threads_were_measured_are_extrapolated():
    planted = law(0.01, 0.0, most_threads=4)
    assert [core_equivalent(planted, Estimate(1, planted.throughput(n))).extrapolated for n in (4, 5)] == [False, True]


def test_that_no_number_matches_is_extrapolated_when_the_peak_was_not_measured():
    target = Estimate(1, 2 * law().peak_samples_per_second)
    assert [core_equivalent(law(most_threads=n), target).extrapolated for n in (16, 64)] == [True, False]


def test_an_unknown_throughput_is_refused():
    with pytest.raises(ValueError, match=r"^the core equivalent of an unknown throughput$"):
        core_equivalent(law(), Estimate(0, None))


def test_the_interval_of_perfect_scaling_is_students_on_the_logarithm_of_one_core():
    """With 3 degrees of freedom; the throughput to match is certain. Quantiles of 4000 draws are off by percents."""
    deviation, freedom = 0.05, 3
    certain_but_gamma = Uncertainty(((deviation**2, 0, 0), (0, 0, 0), (0, 0, 0)), freedom)
    match = core_equivalent(law(0.0, 0.0, uncertainty=certain_but_gamma), Estimate(5, 6000.0, 6000.0, 6000.0, 0.0))
    reached = [math.log(bound / match.cores) / deviation for bound in (match.low, match.high)]
    assert reached == pytest.approx([-3.182, 3.182], rel=0.05)


def test_the_interval_contains_the_core_equivalent():
    match = core_equivalent(fit_usl(scattered(law())).law, noisy(law().throughput(6.0)))
    assert match.low < match.cores < match.high


def test_the_interval_is_the_same_every_time():
    fitted = fit_usl(scattered(law())).law
    assert core_equivalent(fitted, noisy(5000.0)) == core_equivalent(fitted, noisy(5000.0))


def test_noise_of_the_device_widens_the_interval():
    fitted = fit_usl(scattered(law())).law
    calm, wild = (core_equivalent(fitted, noisy(4000.0, noise=noise)) for noise in (0.001, 0.1))
    assert wild.high / wild.low > calm.high / calm.low


def test_an_interval_is_open_where_many_laws_have_no_match():
    match = core_equivalent(fit_usl(scattered(law())).law, noisy(law().peak_samples_per_second))
    assert (match.high, match.high_open) == (None, True)


def test_a_device_far_above_the_peak_is_matched_by_no_possible_law():
    match = core_equivalent(fit_usl(scattered(law(0.2, 0.01))).law, noisy(1e6))
    assert (match.low, match.high, match.matched_share) == (None, None, 0.0)


def test_a_single_run_of_the_device_leaves_the_interval_unknown():
    match = core_equivalent(fit_usl(scattered(law())).law, Estimate(1, 4000.0))
    assert (match.low, match.high, match.high_open, match.matched_share) == (None, None, False, None)


def test_a_fit_without_uncertainty_leaves_the_interval_unknown():
    assert core_equivalent(law(), noisy(4000.0)).low is None


def test_a_law_that_is_certain_gives_the_interval_of_the_device():
    certain = law(0.0, 0.0, uncertainty=Uncertainty(((0.0,) * 3,) * 3, 10))
    device = noisy(4000.0, runs=10)
    match = core_equivalent(certain, device)
    assert (match.low, match.high) == pytest.approx((device.low / 1000, device.high / 1000), rel=0.02)


# --- tables ---


def cell(device="cpu-1t", threads=1, samples_per_second=1000.0, runs=3, **changes):
    """A row of the table of cells, as far as scaling reads it; its runs scatter by 2 %."""
    kind = "gpu" if device.startswith("gpu") else "cpu"
    figure = noisy(samples_per_second, runs=runs, noise=0.02, seed=threads) if samples_per_second else Estimate(0, None)
    return {
        "model": "conv",
        "batch_size": 512,
        "device": device,
        "host": "server",
        "device_kind": kind,
        "framework": "tensorflow",
        "precision": "float32",
        "environment": None,
        "threads": threads,
        "usable_threads": 8,
        "gpus": int(kind == "gpu"),
        "device_name": "NVIDIA H200" if kind == "gpu" else "AMD EPYC 9B14",
        "n": figure.n,
        "samples_per_second": figure.value,
        "samples_per_second_low": figure.low,
        "samples_per_second_high": figure.high,
        "samples_per_second_spread_percent": figure.spread_percent,
    } | changes


def cells(*rows):
    return pd.DataFrame(rows).astype({"threads": "Int64", "usable_threads": "Int64"})


def cpus(threads=(1, 2, 4, 8), planted=None, **changes):
    planted = planted or law()
    return [cell(f"cpu-{n}t", n, planted.throughput(n), **changes) for n in threads]


def test_scaling_is_shown_by_number_of_threads():
    assert scaling_table(cells(*reversed(cpus())))["threads"].tolist() == [1, 2, 4, 8]


def test_speedups_are_over_the_fewest_threads():
    table = scaling_table(cells(*cpus((2, 4, 8))))
    assert (table["reference_device"].unique().tolist(), table["speedup"][0]) == (["cpu-2t"], 1.0)


def test_efficiency_is_one_where_twice_the_threads_train_twice_as_fast():
    rows = [cell("cpu-2t", 2, runs=1), cell("cpu-4t", 4, runs=1)]
    rows[1]["samples_per_second"] = 2 * rows[0]["samples_per_second"]
    assert scaling_table(cells(*rows))["efficiency"].tolist() == pytest.approx([1.0, 1.0])


def test_two_devices_with_one_number_of_threads_are_both_shown():
    table = scaling_table(cells(*cpus(), cell("pinned", 2, 2100.0)))
    assert table["device"].tolist() == ["cpu-1t", "cpu-2t", "pinned", "cpu-4t", "cpu-8t"]


def test_the_modelled_throughput_is_near_the_measured_one():
    table = scaling_table(cells(*cpus()))
    assert table["modelled_samples_per_second"].to_numpy() == pytest.approx(table["samples_per_second"], rel=0.05)


@pytest.mark.parametrize(
    "change",
    [
        *[{"host": "other"}, {"precision": "bfloat16"}, {"framework": "jax"}, {"batch_size": 64}, {"model": "lstm"}],
        {"environment": "LD_PRELOAD=a.so"},
    ],
)
def test_cells_that_differ_in_more_than_threads_are_series_of_their_own(change):
    others = [row | {"device": f"{row['device']}-b"} | change for row in cpus((1, 2))]
    table = scaling_table(cells(*cpus((1, 2)), *others))
    assert table["speedup"].tolist().count(1.0) == 2


def test_cells_without_a_completed_run_scale_nothing():
    failed = cell("cpu-4t", None, None)
    assert len(scaling_table(cells(*cpus((1, 2)), failed))) == 2


def test_a_single_thread_count_is_no_scaling():
    assert scaling_fits_table(cells(cell())).empty


def test_two_thread_counts_are_compared_without_a_law():
    (row,) = scaling_fits_table(cells(*cpus((4, 8)))).to_dict("records")
    assert (row["best_threads"], row["no_fit_reason"]) == (8, "2 thread counts measured, the law takes at least 3")


def test_the_best_thread_count_stands_beside_all_threads():
    falling = law(0.1, 0.1)
    (row,) = scaling_fits_table(cells(*cpus(planted=falling))).to_dict("records")
    assert (row["best_threads"], row["all_threads"]) == (4, 8)
    assert row["best_over_all_threads"] == pytest.approx(falling.throughput(4) / falling.throughput(8), rel=0.1)


def test_numbers_of_threads_over_which_the_best_is_not_shown_to_be_faster_are_named():
    rows = [
        cell("cpu-1t", 1, 1000.0),
        cell("cpu-4t", 4, 3000.0),
        cell("cpu-8t", 8, 3010.0),
        cell("cpu-2t", 2, 1.0, runs=1),
    ]
    (row,) = scaling_fits_table(cells(*rows)).to_dict("records")
    assert row["undecided_threads"] == " ".join(map(str, sorted({2, 4, 8} - {row["best_threads"]})))


def test_a_best_number_of_threads_that_is_shown_has_none_beside_it():
    (row,) = scaling_fits_table(cells(*cpus())).to_dict("records")
    assert (row["best_threads"], pd.isna(row["undecided_threads"])) == (8, True)


def test_all_threads_being_best_is_a_ratio_of_exactly_one():
    (row,) = scaling_fits_table(cells(*cpus())).to_dict("records")
    assert (row["best_over_all_threads"], row["best_over_all_threads_low"]) == (1.0, 1.0)


def test_where_all_threads_were_not_measured_they_are_unknown():
    table = scaling_fits_table(cells(*cpus((1, 2, 4))))
    assert table[["all_threads", "best_over_all_threads"]].isna().all(axis=None)


def test_a_gpu_is_set_beside_the_cores_of_its_host():
    gpu = cell("gpu", 1, law().throughput(6.0))
    (row,) = core_equivalents_table(cells(*cpus(), gpu)).to_dict("records")
    assert row["cpu_host"] == "server"
    assert row["cores"] == pytest.approx(6.0, rel=0.1)


def interval_of(row):
    """What the words say of the interval of a row's cores."""
    high = "without upper bound" if row["cores_high_open"] else f"to {row['cores_high']:.1f}"
    return f"(95 % interval {row['cores_low']:.1f} {high})"


def test_a_match_is_told_in_words():
    (row,) = core_equivalents_table(cells(*cpus(), cell("gpu", 1, law().throughput(6.0)))).to_dict("records")
    assert row["verdict"] == f"{row['cores']:.1f} cores match it {interval_of(row)}"


def test_that_no_number_of_cores_matches_is_told_in_words():
    (verdict,) = core_equivalents_table(cells(*cpus(planted=law(0.1, 0.1)), cell("gpu", 1, 1e6)))["verdict"]
    peak = re.fullmatch(
        r"no number of cores matches it, whose throughput peaks at (\d+) samples a second with (\d\.\d) cores", verdict
    )
    assert [float(number) for number in peak.groups()] == pytest.approx([1522, 3.0], rel=0.2)


def test_a_throughput_that_only_grows_towards_its_limit_is_told_with_that():
    (row,) = core_equivalents_table(cells(*cpus(THREADS, law(0.1, 0.0)), cell("gpu", 1, 1e6))).to_dict("records")
    limit = row["peak_samples_per_second"]
    assert row["verdict"] == (
        f"no number of cores matches it, whose throughput never exceeds {limit:.0f} samples a second, extrapolated "
        "from 1 to 16 measured threads"
    )
    assert limit == pytest.approx(10_000, rel=0.1)


def test_a_match_without_an_interval_says_so():
    (verdict,) = core_equivalents_table(cells(*cpus(), cell("gpu", 1, law().throughput(6.0), runs=1)))["verdict"]
    assert verdict.endswith(" cores match it (no interval: that takes four numbers of threads and two runs of the GPU)")


def test_that_no_number_matches_is_not_claimed_where_many_laws_have_one():
    planted = law(0.05, 0.01)
    near = cell("gpu", 1, 0.98 * planted.throughput(planted.peak_threads))
    (row,) = core_equivalents_table(cells(*cpus(planted=planted), near)).to_dict("records")
    assert (math.isnan(row["cores"]), row["matched_share"] > 0.025) == (True, True)
    interval = f"(95 % interval {row['cores_low']:.1f} without upper bound)"
    assert row["verdict"].startswith(f"whether some number of cores matches it is not shown {interval}")


def test_that_some_number_matches_is_not_claimed_where_many_laws_have_none():
    planted = law(0.05, 0.01)
    near = cell("gpu", 1, 0.94 * planted.throughput(planted.peak_threads))
    (row,) = core_equivalents_table(cells(*cpus(planted=planted), near)).to_dict("records")
    assert (row["cores"] > 0, row["cores_high_open"]) == (True, True)
    said = f"whether some number of cores matches it is not shown, by the law {row['cores']:.1f} do {interval_of(row)}"
    assert row["verdict"].startswith(said)


def test_an_extrapolation_says_from_where():
    gpu = cell("gpu", 1, law(0.01, 0.0).throughput(20.0))
    (verdict,) = core_equivalents_table(cells(*cpus(planted=law(0.01, 0.0)), gpu))["verdict"]
    assert verdict.endswith(", extrapolated from 1 to 8 measured threads")


def test_a_missing_law_is_told_in_words():
    (verdict,) = core_equivalents_table(cells(*cpus((1, 8)), cell("gpu", 1, 5000.0)))["verdict"]
    assert verdict == "how many cores match it is unknown: 2 thread counts measured, the law takes at least 3"


def test_a_gpu_on_a_host_without_cpu_cells_is_set_beside_the_only_other_host():
    (row,) = core_equivalents_table(cells(*cpus(), cell("gpu", 1, 5000.0, host="gpu-server"))).to_dict("records")
    said = f"{row['cores']:.1f} cores of the other host match it {interval_of(row)}"
    assert (row["cpu_host"], row["verdict"]) == ("server", said)


def test_a_gpu_on_a_host_without_cpu_cells_is_set_beside_none_of_several_hosts():
    both = [*cpus(), *cpus(host="second")]
    assert core_equivalents_table(cells(*both, cell("gpu", 1, 5000.0, host="gpu-server"))).empty


def test_a_gpu_beside_a_single_thread_count_has_no_row():
    assert core_equivalents_table(cells(cell("cpu", 8, 5000.0), cell("gpu", 1, 50_000.0))).empty


def test_a_gpu_is_matched_at_its_own_batch_size_alone():
    assert core_equivalents_table(cells(*cpus(), cell("gpu", 1, 5000.0, batch_size=128))).empty


def test_a_gpu_of_a_precision_that_no_cpu_has_is_set_beside_the_one_there_is():
    table = core_equivalents_table(cells(*cpus(), cell("gpu", 1, 5000.0, precision="bfloat16")))
    assert table["cpu_precision"].tolist() == ["float32"]


def test_a_gpu_is_set_beside_its_own_precision_where_there_are_several():
    both = [*cpus(), *[row | {"device": f"{row['device']}-b", "precision": "bfloat16"} for row in cpus()]]
    table = core_equivalents_table(cells(*both, cell("gpu", 1, 5000.0, precision="bfloat16")))
    assert table["cpu_precision"].tolist() == ["bfloat16"]


def test_a_gpu_is_set_beside_cpus_without_variables_of_their_own_where_there_are_both():
    own = [row | {"device": f"{row['device']}-tc", "environment": "A=1"} for row in cpus()]
    plain = core_equivalents_table(cells(*cpus(), cell("gpu", 1, 5000.0)))
    table = core_equivalents_table(
        cells(*[row | {"samples_per_second": 1.0} for row in own], *cpus(), cell("gpu", 1, 5000.0))
    )
    assert table["cores"].tolist() == plain["cores"].tolist()


def test_core_equivalents_follow_the_order_that_is_asked_for():
    gpus = [cell("gpu-a", 1, 5000.0), cell("gpu-b", 1, 5000.0)]
    table = core_equivalents_table(cells(*cpus(), *gpus), TableOrder(devices=("gpu-b", "gpu-a")))
    assert table["device"].tolist() == ["gpu-b", "gpu-a"]


def test_cells_whose_runs_differ_in_precision_are_kept():
    assert len(scaling_table(cells(*cpus((1, 2)), cell("cpu-4t", 4, 3000.0, precision=None)))) == 3


def test_numbers_that_are_unknown_stay_empty():
    table = core_equivalents_table(cells(*cpus((1, 8)), cell("gpu", 1, 5000.0)))
    assert all(math.isnan(value) for value in table["cores"])


# --- several GPUs ---


def gpus(counts=(1, 2, 4, 8), share=0.9, **changes):
    """Cells of one run each, in which every doubling of the GPUs gains the same share of it."""
    rows = [cell(f"gpu-{count}g", gpus=count, runs=1) | changes for count in counts]
    return [row | {"samples_per_second": 1000.0 * row["gpus"] * share ** math.log2(row["gpus"])} for row in rows]


def test_gpus_are_shown_by_their_number_with_speedup_and_efficiency_over_the_fewest():
    table = gpu_scaling_table(cells(*reversed(gpus((2, 4, 8)))))
    assert table["gpus"].tolist() == [2, 4, 8]
    assert table["speedup"].tolist() == pytest.approx([1.0, 1.8, 3.24])
    assert table["efficiency"].tolist() == pytest.approx([1.0, 0.9, 0.81])
    assert set(table["reference_gpus"]) == {2}


def test_an_efficiency_has_the_interval_of_its_speedup():
    table = gpu_scaling_table(cells(cell("gpu-1g", 1, 1000.0, gpus=1), cell("gpu-2g", 2, 1900.0, gpus=2)))
    ends = ("", "_low", "_high")
    found, speedup = ([table.loc[1, f"{name}{end}"] for end in ends] for name in ("efficiency", "speedup"))
    assert found == pytest.approx([value / 2 for value in speedup])


def test_a_speedup_over_gpus_has_welchs_interval():
    table = gpu_scaling_table(cells(cell("gpu-1g", 1, 1000.0, gpus=1), cell("gpu-2g", 2, 1900.0, gpus=2)))
    low, value, high = table.loc[1, ["speedup_low", "speedup", "speedup_high"]]
    assert 1.7 < low < value < high < 2.2


def test_one_number_of_gpus_is_no_scaling():
    assert gpu_scaling_table(cells(*gpus((2,)), cell("gpu-b", 1, 1000.0, gpus=2), *cpus())).empty


@pytest.mark.parametrize(
    "change", [{"host": "other"}, {"precision": "bfloat16"}, {"framework": "jax"}, {"device_name": "NVIDIA L4"}]
)
def test_gpus_that_differ_in_more_than_their_number_are_series_of_their_own(change):
    others = [row | {"device": f"{row['device']}-b"} | change for row in gpus((1, 2))]
    assert gpu_scaling_table(cells(*gpus((1, 2)), *others))["speedup"].tolist().count(1.0) == 2


def test_gpus_are_no_threads():
    assert scaling_table(cells(*gpus())).empty
