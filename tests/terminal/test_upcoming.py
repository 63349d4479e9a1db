"""The plan tells what would be measured and how long it would take, and what it does not know."""

import pytest

from forecast_study import DATA, HOST, STUDY
from metrics_builder import make_record
from results_folder import write_results
from trainbench.rules.forecast import Forecast
from trainbench.terminal.upcoming import text

ALL_RUNS = STUDY.runs()
MACHINE = {"cores": 2, "gpus": 1}


def plan(folder, records=(), *, to_come=ALL_RUNS, machine=MACHINE, changes=None):
    write_results(folder, records)
    there = [run for run in STUDY.runs() if run not in to_come]
    return text(to_come, there, Forecast(STUDY, folder, DATA, HOST, **machine), changes or {})


def line(shown, device, model):
    """The fields of the table's line for a device and a model."""
    (found,) = (line.split() for line in shown.splitlines() if line.split()[:2] == [device, model])
    return found


def test_each_device_and_model_has_its_line_with_the_numbers_of_runs(tmp_path):
    shown = plan(tmp_path, to_come=STUDY.runs()[5:])
    assert line(shown, "cpu", "conv")[2:] == ["128,", "256,", "512", "6", "3", "unknown"]
    assert line(shown, "gpu", "conv")[5:7] == ["7", "2"]
    assert "31 runs to carry out; how long that takes is unknown." in shown


def test_devices_and_models_stand_in_the_order_of_the_study(tmp_path):
    rows = [line.split()[:2] for line in plan(tmp_path).splitlines()[2:6]]
    assert rows == [["cpu", "conv"], ["cpu", "lstm"], ["gpu", "conv"], ["gpu", "lstm"]]


def test_the_time_is_told_with_what_tells_it(tmp_path):
    records = [make_record("conv", 512, "cpu", repeat, train_seconds=[2.0] * 10) for repeat in (1, 2)]
    shown = plan(tmp_path, records, to_come=[run for run in STUDY.runs() if (run.device, run.model) == ("cpu", "conv")])
    assert "9 runs to carry out: about 7 min (" in shown
    assert "on 2 cores and 1 GPU." in shown
    assert "3 runs known from runs of the same cell." in shown
    assert "6 runs known from the nearest batch size alone" in shown
    assert "unknown" not in shown


LIMITS = "limits are as many images and as many steps a second"


@pytest.mark.parametrize(("runs_of_the_cell", "told"), [(1, False), (2, True)])
def test_what_limits_mean_is_told_where_limits_are_shown(tmp_path, runs_of_the_cell, told):
    records = [make_record("conv", 512, "cpu", repeat) for repeat in range(1, runs_of_the_cell + 1)]
    shown = plan(tmp_path, records, to_come=[run for run in STUDY.runs() if (run.device, run.model) == ("cpu", "conv")])
    assert "known from the nearest batch size alone" in shown
    assert ((LIMITS in shown), (" min to " in shown)) == (told, told)


def test_a_study_that_is_finished_has_nothing_to_measure(tmp_path):
    assert plan(tmp_path, to_come=()) == "Nothing is to be measured: 36 runs asked for, all there.\n"


def test_of_submitted_runs_the_time_one_after_another_is_told(tmp_path):
    shown = plan(tmp_path, [make_record()], machine={"cores": None})
    assert "one after another; how many the scheduler carries out side by side is not known here" in shown


def test_a_plan_says_which_results_it_replaces_and_how_to_keep_both(tmp_path):
    shown = plan(tmp_path, changes=dict.fromkeys(ALL_RUNS[:8], ("epochs: 10 -> 3",)))
    assert shown.endswith(
        "\n8 of these runs replace results measured with other settings (epochs: 10 -> 3); "
        "keep both with --directory DIR\n"
    )


def test_of_many_settings_that_differ_a_few_are_named(tmp_path):
    different = [f"epochs: {number} -> 3" for number in range(10, 17)]
    shown = plan(tmp_path, changes={ALL_RUNS[0]: different})
    assert "1 of these runs replaces results" in shown
    assert "(epochs: 10 -> 3, epochs: 11 -> 3, epochs: 12 -> 3, epochs: 13 -> 3, 3 more)" in shown


def test_a_plan_that_replaces_nothing_says_nothing_of_it(tmp_path):
    assert "replace" not in plan(tmp_path)
