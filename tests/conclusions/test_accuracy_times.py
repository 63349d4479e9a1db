"""Time to accuracy ends with the first epoch at the target; runs that never reach it are counted, not guessed."""

import pandas as pd
import pytest

from metrics_builder import make_record
from trainbench.conclusions.tables.accuracy_times import COLUMNS as ACCURACY_TIME_COLUMNS
from trainbench.conclusions.tables.accuracy_times import accuracy_times_table
from trainbench.results.measured import measured
from trainbench.results.tables import TableOrder


def times_of(*records, target=0.9):
    found = measured(records)
    return accuracy_times_table(found.runs, found.epochs, {"conv": target}, TableOrder())


def run_with(accuracies, repeat=1, **settings):
    return make_record(repeat=repeat, train_seconds=[2.0] * len(accuracies), accuracies=accuracies, **settings)


def test_the_first_epoch_at_the_target_counts():
    row = times_of(run_with((0.5, 0.9, 0.8, 0.95))).iloc[0]
    assert (row["epochs_to_accuracy_median"], row["time_to_accuracy_seconds"]) == (2.0, 4.0)


def test_start_up_and_evaluation_count_in_the_time_from_the_start():
    record = run_with((0.5, 0.95), eval_seconds=0.5)
    before = sum(record["clock"][name] for name in ("startup_seconds", "data_seconds", "compile_seconds"))
    assert times_of(record).iloc[0]["time_to_accuracy_with_startup_seconds"] == pytest.approx(before + 4.0 + 1.0)


def test_over_runs_it_is_the_geometric_mean_with_an_interval():
    row = times_of(run_with((0.95,)), run_with((0.5, 0.5, 0.5, 0.95), repeat=2)).iloc[0]
    assert row["time_to_accuracy_seconds"] == pytest.approx(4.0)
    assert row["time_to_accuracy_seconds_low"] < 4.0 < row["time_to_accuracy_seconds_high"]


def test_the_median_of_epochs_is_known_of_runs_that_all_reached_the_target_however_long_each_was_trained():
    row = times_of(run_with((0.95,)), run_with((0.5, 0.5, 0.5, 0.95), repeat=2)).iloc[0]
    assert row["epochs_to_accuracy_median"] == 2.5


def test_a_run_that_never_reaches_the_target_is_counted_and_leaves_the_mean_unknown():
    row = times_of(run_with((0.95, 0.96)), run_with((0.5, 0.6), repeat=2)).iloc[0]
    assert (row["n"], row["reached"], row["not_reached"]) == (2, 1, 1)
    assert row["verdict"] == "1 of 2 runs not in 2 epochs"
    assert pd.isna(row["time_to_accuracy_seconds"])


def test_the_median_is_known_where_most_runs_reached_the_target():
    row = times_of(run_with((0.95,)), run_with((0.5, 0.95), repeat=2), run_with((0.5, 0.5), repeat=3)).iloc[0]
    assert row["time_to_accuracy_seconds_median"] == 4.0


def test_the_median_is_unknown_where_half_of_the_runs_did_not():
    assert pd.isna(times_of(run_with((0.95,)), run_with((0.5,), repeat=2)).iloc[0]["time_to_accuracy_seconds_median"])


def test_a_cell_that_never_reaches_the_target_says_in_how_many_epochs():
    assert times_of(run_with((0.5, 0.6))).iloc[0]["verdict"] == "not in 2 epochs"


def test_runs_that_were_trained_for_less_say_for_how_long_and_leave_the_medians_unknown():
    long = [run_with((0.1,) * 9 + (0.95,), repeat=number) for number in (1, 2)]
    row = times_of(*long, run_with((0.1, 0.2), repeat=3)).iloc[0]
    assert row["verdict"] == "1 of 3 runs not in 2 epochs"
    assert pd.isna(row["time_to_accuracy_seconds_median"])
    assert pd.isna(row["epochs_to_accuracy_median"])


def test_runs_of_the_same_cell_and_repeat_are_told_apart():
    theirs = run_with((0.95,)) | {"run_id": "f" * 32}
    assert times_of(run_with((0.95,)), theirs).iloc[0]["n"] == 2


def test_a_model_without_a_target_has_no_row():
    assert times_of(make_record(model="lstm")).empty


def test_a_run_out_of_memory_has_no_row():
    assert times_of(make_record(status="out_of_memory")).empty


def test_a_run_of_which_only_the_last_epoch_is_known_has_no_row():
    found = measured([run_with((0.5, 0.95))])
    last = found.epochs[found.epochs["epoch"] == 2]
    assert accuracy_times_table(found.runs, last, {"conv": 0.9}, TableOrder()).empty


def test_a_table_of_nothing_has_its_columns():
    assert list(times_of().columns) == list(ACCURACY_TIME_COLUMNS)
