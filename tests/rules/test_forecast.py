"""How long runs will take is told by runs that have ended, and nothing else is invented."""

import json
import os
from datetime import datetime
from pathlib import Path

import pytest

from forecast_study import DATA, HOST, STUDY
from metrics_builder import as_older_versions_timed, make_record
from results_folder import write_results
from trainbench.plan.study import Run
from trainbench.rules.forecast import (
    Cell,
    Estimate,
    Forecast,
    Work,
    duration_text,
    left_of,
    past_of,
    time_text,
    work,
)

CELL = Cell("conv", 512, "cpu")


def history(folder, records, host=HOST):
    write_results(folder, records)
    return Forecast(STUDY, folder, DATA, host)


def test_a_run_takes_what_the_runs_of_its_cell_took(tmp_path):
    records = [make_record(repeat=repeat, train_seconds=[seconds] * 10) for repeat, seconds in enumerate((2, 3, 5), 1)]
    estimate = history(tmp_path, records).estimate(CELL)
    assert estimate is not None
    # Each epoch is evaluated in 0.6 s; 5.12 s of start, 0.9 s of probes and two canaries of 0.3 s come with it.
    assert estimate.seconds == pytest.approx(10 * 3.6 + 5.12 + 0.9 + 0.6)
    assert (estimate.low, estimate.high) == pytest.approx((10 * 2.6 + 6.62, 10 * 5.6 + 6.62))
    assert estimate.basis == "cell"


def test_more_epochs_take_longer_by_these_epochs_alone(tmp_path):
    estimate = history(tmp_path, [make_record(train_seconds=[2.0] * 5)]).estimate(CELL)
    assert estimate is not None
    assert estimate.seconds == pytest.approx(10 * 2.6 + 6.62)


def test_a_single_run_says_nothing_of_how_far_runs_lie_apart(tmp_path):
    estimate = history(tmp_path, [make_record()]).estimate(CELL)
    assert estimate is not None
    assert (estimate.low, estimate.high) == (None, None)


def test_another_batch_size_gives_limits_between_equal_images_and_equal_steps_a_second(tmp_path):
    records = [make_record(batch_size=256, train_seconds=[4.0] * 10, eval_seconds=0.0)]
    estimate = history(tmp_path, records).estimate(CELL)
    assert estimate == Estimate(
        seconds=pytest.approx(10 * 8**0.5 + 6.62),
        low=pytest.approx(10 * 2.0 + 6.62),
        high=pytest.approx(10 * 4.0 + 6.62),
        basis="throughput",
    )


def test_of_several_batch_sizes_the_nearest_tells(tmp_path):
    records = [
        make_record(batch_size=size, train_seconds=[seconds] * 10, eval_seconds=0.0)
        for size, seconds in ((128, 9), (256, 4))
    ]
    estimate = history(tmp_path, records).estimate(CELL)
    assert estimate is not None
    assert estimate.high == pytest.approx(46.62)


def test_runs_before_an_update_of_the_kernel_tell_how_long_those_after_it_take(tmp_path):
    before = make_record()
    before["host"] |= {"id": "amd-epyc-2t-9f8e7d6c", "memory_mib": HOST["memory_mib"] - 2}
    assert history(tmp_path, [before]).estimate(CELL) is not None


@pytest.mark.parametrize(
    "other",
    [
        make_record(host="intel-xeon-8t-5e6f7a8b"),
        make_record(status="out_of_memory"),
        make_record(settings={"dataset_files_sha256": "another"}),
        make_record(settings={"device": {"threads": 1}}),
        {"schema_version": 1},
    ],
    ids=["another host", "out of memory", "other data", "another device of the name", "broken"],
)
def test_runs_that_tell_nothing_are_passed_over(tmp_path, other):
    write_results(tmp_path, [make_record()])
    (tmp_path / "runs/conv/512/cpu/1/metrics.json").write_text(json.dumps(other))
    assert Forecast(STUDY, tmp_path, DATA, HOST).estimate(CELL) is None


def test_where_no_run_of_model_and_device_has_ended_nothing_is_known(tmp_path):
    assert history(tmp_path, [make_record("lstm"), make_record(device="gpu")]).estimate(CELL) is None


def test_a_run_that_ends_is_learned_from(tmp_path):
    known = history(tmp_path, [])
    assert known.estimate(CELL) is None
    write_results(tmp_path, [make_record(batch_size=128)])
    known.learn(Run("conv", 128, "cpu", 1))
    estimate = known.estimate(CELL)
    assert estimate is not None
    assert estimate.basis == "throughput"


def test_the_seconds_after_the_last_epoch_count_by_the_time_of_the_file():
    record = make_record(train_seconds=[2.0] * 10)
    started = datetime.fromisoformat(record["started_at"]).timestamp()
    assert past_of(record, started + 40.0).seconds(10) == pytest.approx(40.3)


@pytest.mark.parametrize("moved_by_seconds", [-3600.0, 86400.0])
def test_a_file_that_was_copied_tells_nothing_by_its_time(moved_by_seconds):
    record = make_record(train_seconds=[2.0] * 10)
    started = datetime.fromisoformat(record["started_at"]).timestamp()
    assert past_of(record, started + moved_by_seconds).seconds(10) == pytest.approx(10 * 2.6 + 6.62)


def test_times_of_files_are_looked_at(tmp_path):
    record = make_record(train_seconds=[2.0] * 10)
    (path,) = write_results(tmp_path, [record])
    written = datetime.fromisoformat(record["started_at"]).timestamp() + 40.0
    os.utime(path, (written, written))
    estimate = Forecast(STUDY, tmp_path, DATA, HOST).estimate(CELL)
    assert estimate is not None
    assert estimate.seconds == pytest.approx(40.3)


def test_the_fixed_computation_of_older_versions_counts_too():
    record = as_older_versions_timed(make_record(train_seconds=[2.0] * 10), 0.3)
    assert past_of(record, written_at=0.0).seconds(10) == pytest.approx(10 * 2.6 + 6.62)


def test_a_fixed_computation_that_could_not_be_timed_takes_no_time():
    record = make_record(train_seconds=[2.0] * 10)
    record["canary"] = {"cores": 2, "before": None, "after": None}
    assert past_of(record, written_at=0.0).seconds(10) == pytest.approx(10 * 2.6 + 6.02)


@pytest.mark.parametrize(("device", "gpus", "share"), [("cpu", 2, 1.0), ("gpu", 4, 0.25), ("gpu", 1, 1.0)])
def test_a_run_takes_its_share_of_the_machine(device, gpus, share):
    assert Forecast(STUDY, Path(), DATA, HOST, cores=16, gpus=gpus).share(device) == share


def test_runs_side_by_side_take_their_share_of_the_time():
    assert time_text(work(0.25, Estimate(60.0, 60.0, 60.0, "cell"), runs=8)) == "about 2 min"


def test_no_study_ends_before_its_longest_run():
    assert time_text(work(0.25, Estimate(60.0, 60.0, 60.0, "cell"))) == "about 60 s"


def test_limits_add_up():
    parts = work(1.0, Estimate(600.0, 480.0, 720.0, "cell")) + work(1.0, Estimate(60.0, 0.0, 120.0, "throughput"))
    assert time_text(parts) == "about 11 min (8 min to 14 min)"


def test_a_run_without_limits_leaves_the_whole_without():
    parts = work(1.0, Estimate(600.0, 480.0, 720.0, "cell")) + work(1.0, Estimate(60.0, None, None, "cell"))
    assert time_text(parts) == "about 11 min"


def test_unknown_runs_are_named():
    parts = work(1.0, Estimate(600.0, None, None, "cell")) + work(1.0, None, runs=3)
    assert time_text(parts) == "about 10 min, and 3 runs of unknown length"


@pytest.mark.parametrize("nothing", [Work(), work(1.0, None, runs=3)])
def test_where_nothing_is_known_the_time_is_unknown(nothing):
    assert time_text(nothing) == "unknown"


def test_what_is_left_of_a_run_lies_between_what_is_left_of_its_limits():
    assert left_of(Estimate(60.0, 50.0, 80.0, "cell"), 30.0, elapsed=35.0) == Estimate(30.0, 15.0, 45.0, "cell")


def test_what_is_left_is_unknown_where_nothing_tells():
    assert left_of(Estimate(60.0, 50.0, 80.0, "cell"), None, elapsed=35.0) is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"),
        (7.4, "7 s"),
        (58.0, "60 s"),
        (119.0, "120 s"),
        (121.0, "2 min"),
        (3599.0, "1 h"),
        (4810.0, "1 h 20 min"),
        (86000.0, "23 h 55 min"),
        (183600.0, "2 d 3 h"),
    ],
)
def test_durations_are_told_to_two_digits_or_so(seconds, text):
    assert duration_text(seconds) == text
