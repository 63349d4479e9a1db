"""A run is there, missing, failed or outdated, by the files in its folder."""

import json

import pytest

from study_builder import make_study
from trainbench.plan.study import ModelSettings, Run
from trainbench.rules.so_far import changes, states

DATASET = "0" * 64
STUDY = make_study({"conv": ModelSettings(3, {"learning_rate": 0.001})}, (128,))
RUN = Run("conv", 128, "cpu", 1)


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / RUN.folder
    path.mkdir(parents=True)
    return path


def state_in(results):
    return states(STUDY, results, DATASET)[RUN]


def test_a_run_without_files_is_missing(tmp_path):
    assert state_in(tmp_path) == "missing"


def test_a_run_with_the_settings_of_the_study_is_there(tmp_path, folder):
    (folder / "metrics.json").write_text(json.dumps({"settings": STUDY.settings(RUN, DATASET)}))
    assert state_in(tmp_path) == "there"


def test_a_run_with_other_settings_is_outdated(tmp_path, folder):
    (folder / "metrics.json").write_text(json.dumps({"settings": STUDY.settings(RUN, DATASET) | {"epochs": 9}}))
    assert state_in(tmp_path) == "outdated"


def test_a_run_whose_log_ends_with_why_has_failed(tmp_path, folder):
    (folder / "train.log").write_text("epoch 1/3: 1 s\ntrainbench: conv 128 on cpu: the training process ended\n")
    assert state_in(tmp_path) == "failed"


def test_a_run_that_was_broken_off_is_missing(tmp_path, folder):
    (folder / "train.log").write_text("epoch 1/3: 1 s\n")
    assert state_in(tmp_path) == "missing"


@pytest.mark.parametrize("broken", ["", "[]", "[" * 100_000, "{}"])
def test_a_broken_file_is_there_for_its_reader_to_refuse(tmp_path, folder, broken):
    (folder / "metrics.json").write_text(broken)
    assert state_in(tmp_path) == "there"


def changes_from(results, **before):
    settings = STUDY.settings(RUN, DATASET) | before
    (results / RUN.folder / "metrics.json").write_text(json.dumps({"settings": settings}))
    return changes(STUDY, [RUN], results, DATASET)


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
def test_of_a_run_with_other_settings_the_change_is_named(tmp_path, before, change):
    assert changes_from(tmp_path, **before) == {RUN: (change,)}


@pytest.mark.usefixtures("folder")
def test_a_run_with_the_same_settings_has_no_change(tmp_path):
    assert changes_from(tmp_path) == {}


def test_a_run_without_results_has_no_change(tmp_path):
    assert changes(STUDY, [RUN], tmp_path, DATASET) == {}
