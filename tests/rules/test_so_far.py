"""A run is there, missing, failed or outdated, by the files in its folder."""

import json

import pytest

from call_builder import make_call
from study_builder import make_study
from trainbench.plan.study import ModelSettings, Run
from trainbench.rules.so_far import absent, changes, contents, out_of_memory, states

DATASET = "0" * 64
STUDY = make_study({"conv": ModelSettings(3, {"learning_rate": 0.001})}, (128,))
RUN = Run("conv", 128, "cpu", 1)


CALL = make_call(STUDY, data_sha256=DATASET)


@pytest.fixture(autouse=True)
def results(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path / "results"


@pytest.fixture
def folder(results):
    path = results / RUN.folder
    path.mkdir(parents=True)
    return path


def state_of_run():
    return states(make_call(STUDY, data_sha256=DATASET))[RUN]


def test_a_run_without_files_is_missing():
    assert state_of_run() == "missing"


def test_a_run_with_the_settings_of_the_study_is_there(folder):
    (folder / "metrics.json").write_text(json.dumps({"settings": STUDY.settings(RUN, DATASET)}))
    assert state_of_run() == "there"


def test_a_run_with_other_settings_is_outdated(folder):
    (folder / "metrics.json").write_text(json.dumps({"settings": STUDY.settings(RUN, DATASET) | {"epochs": 9}}))
    assert state_of_run() == "outdated"


def test_a_run_whose_log_ends_with_why_has_failed(folder):
    (folder / "train.log").write_text("epoch 1/3: 1 s\ntrainbench: conv 128 on cpu: the training process ended\n")
    assert state_of_run() == "failed"


def test_a_run_that_was_broken_off_is_missing(folder):
    (folder / "train.log").write_text("epoch 1/3: 1 s\n")
    assert state_of_run() == "missing"


@pytest.mark.parametrize("broken", ["", "[]", "[" * 100_000, "{}"])
def test_a_broken_file_is_there_for_its_reader_to_refuse(folder, broken):
    (folder / "metrics.json").write_text(broken)
    assert state_of_run() == "there"


def changes_from(results, **before):
    settings = STUDY.settings(RUN, DATASET) | before
    (results / RUN.folder / "metrics.json").write_text(json.dumps({"settings": settings}))
    return changes(CALL, [RUN], results)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("before", "change"),
    [
        ({"epochs": 9}, "epochs: 9 -> 3"),
        ({"hyperparameters": {"learning_rate": 0.1}}, "learning_rate: 0.1 -> 0.001"),
        ({"study_seed": 7, "seed": 8}, "seed: 7 -> 1"),
        ({"dataset_files_sha256": "1" * 64}, "other data"),
    ],
)
def test_of_a_run_with_other_settings_the_change_is_named(results, before, change):
    assert changes_from(results, **before) == {RUN: (change,)}


@pytest.mark.usefixtures("folder")
def test_a_run_with_the_same_settings_has_no_change(results):
    assert changes_from(results) == {}


def test_a_run_without_results_has_no_change(results):
    assert changes(CALL, [RUN], results) == {}


# --- what tables of what is there by now are told ---


def test_of_runs_that_are_there_the_contents_are_told(folder):
    (folder / "metrics.json").write_text(json.dumps({"settings": STUDY.settings(RUN, DATASET)}))
    call = make_call(STUDY, data_sha256=DATASET)
    assert list(contents(call)) == [f"results/{RUN.folder}/metrics.json"]
    assert absent(call) == []


def test_of_other_runs_it_is_told_why_they_have_none():
    call = make_call(STUDY, data_sha256=DATASET)
    (run,) = absent(call)
    assert (run["model"], run["device_kind"], run["status"]) == ("conv", "cpu", "missing")
    assert contents(call) == {}


@pytest.mark.parametrize(("status", "found"), [("out_of_memory", 1), ("completed", 0)])
def test_runs_that_were_out_of_memory_are_found(folder, status, found):
    (folder / "metrics.json").write_text(json.dumps({"status": status}))
    assert out_of_memory(CALL) == [f"results/{RUN.folder}/metrics.json"][:found]
