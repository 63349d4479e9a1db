"""Which runs a study has, with which settings and seeds, and how many cores each reserves."""

import dataclasses
import json
from typing import Any

import pytest

from trainbench.errors import InputError
from trainbench.plan.study import Device, ModelSettings, Run, Study, cores_of_run, seed_of

CPU = Device("cpu", "cpu", "all", gpus=0)
CPU_8T = Device("cpu-8t", "cpu", 8, gpus=0)
GPU = Device("gpu", "gpu", "all", gpus=1)
RUN = Run("conv", 512, "cpu", 1)
STUDY = Study(
    models=("logistic", "conv"),
    batch_sizes=(256, 512),
    devices=("cpu", "gpu"),
    repeats=2,
    seed=2017,
    isolation="device",
    monitor_interval_seconds=0.1,
    dataset_path="resources/mnist",
    validation_samples=5000,
    model_settings={
        "logistic": ModelSettings(10, {"learning_rate": 0.05}),
        "conv": ModelSettings(2, {"learning_rate": 0.001, "decay": 0.9}),
    },
    device_settings={"cpu": CPU, "cpu-8t": CPU_8T, "gpu": GPU},
)


# --- seeds ---


def test_a_seed_stays_the_same_from_version_to_version() -> None:
    # The first 31 bits of sha256("2017/conv/512/cpu/1").
    assert seed_of(2017, RUN) == 1785921458


@pytest.mark.parametrize(
    "change",
    [{"model": "lstm"}, {"batch_size": 256}, {"device": "gpu"}, {"repeat": 2}],
    ids=lambda change: str(*change),
)
def test_a_seed_changes_with_every_part_of_the_run(change: dict[str, Any]) -> None:
    assert seed_of(2017, dataclasses.replace(RUN, **change)) != seed_of(2017, RUN)


def test_a_seed_changes_with_the_seed_of_the_study() -> None:
    assert seed_of(2018, RUN) != seed_of(2017, RUN)


def test_numbers_that_run_together_give_different_seeds() -> None:
    assert seed_of(1, Run("conv", 12, "cpu", 3)) != seed_of(1, Run("conv", 1, "cpu", 23))


def test_seeds_fit_a_signed_32_bit_number_and_use_all_of_it() -> None:
    seeds = [seed_of(2017, dataclasses.replace(RUN, repeat=repeat)) for repeat in range(1, 1001)]
    assert 0 <= min(seeds) < 2**31 // 100
    assert 2**31 - 2**31 // 100 < max(seeds) < 2**31


# --- runs ---


def test_runs_are_all_cells_in_all_repeats() -> None:
    assert STUDY.runs() == (
        Run("logistic", 256, "cpu", 1),
        Run("logistic", 256, "gpu", 1),
        Run("logistic", 512, "cpu", 1),
        Run("logistic", 512, "gpu", 1),
        Run("conv", 256, "cpu", 1),
        Run("conv", 256, "gpu", 1),
        Run("conv", 512, "cpu", 1),
        Run("conv", 512, "gpu", 1),
        Run("logistic", 256, "cpu", 2),
        Run("logistic", 256, "gpu", 2),
        Run("logistic", 512, "cpu", 2),
        Run("logistic", 512, "gpu", 2),
        Run("conv", 256, "cpu", 2),
        Run("conv", 256, "gpu", 2),
        Run("conv", 512, "cpu", 2),
        Run("conv", 512, "gpu", 2),
    )


def test_runs_take_their_turns_repeat_by_repeat() -> None:
    turns = STUDY.turns()
    assert sorted(turns, key=str) == sorted(STUDY.runs(), key=str)
    assert [run.repeat for run in turns] == [1] * 8 + [2] * 8


def test_the_cells_of_a_repeat_are_in_the_order_of_their_seeds() -> None:
    for turns in (STUDY.turns()[:8], STUDY.turns()[8:]):
        seeds = [seed_of(2017, run) for run in turns]
        assert seeds == sorted(seeds)


def test_a_run_lies_in_a_folder_named_by_its_wildcards() -> None:
    assert RUN.folder == "runs/conv/512/cpu/1"


def test_wildcards_name_a_run() -> None:
    assert Run.named({"model": "conv", "batch_size": "512", "device": "cpu", "repeat": "1"}) == RUN


def test_only_selected_devices_are_measured() -> None:
    assert STUDY.selected_devices() == (CPU, GPU)


# --- settings ---


def test_settings_hold_everything_that_alters_the_result() -> None:
    assert STUDY.settings(RUN, "f00d") == {
        "model": "conv",
        "batch_size": 512,
        "repeat": 1,
        "epochs": 2,
        "hyperparameters": {"learning_rate": 0.001, "decay": 0.9},
        "device": {
            "name": "cpu",
            "kind": "cpu",
            "threads": "all",
            "gpus": 0,
            "framework": "tensorflow",
            "precision": "float32",
        },
        "isolation": "device",
        "monitor_interval_seconds": 0.1,
        "validation_samples": 5000,
        "study_seed": 2017,
        "seed": seed_of(2017, RUN),
        "dataset_files_sha256": "f00d",
    }


def test_a_card_is_among_the_settings_where_a_device_names_one() -> None:
    device = dataclasses.replace(GPU, card="TITAN X")
    settings = dataclasses.replace(STUDY, device_settings={"cpu": CPU, "gpu": device}).settings(
        dataclasses.replace(RUN, device="gpu"), "f00d"
    )
    assert settings["device"]["card"] == "TITAN X"


def test_settings_survive_json() -> None:
    settings = STUDY.settings(RUN, "f00d")
    assert json.loads(json.dumps(settings)) == settings


@pytest.mark.parametrize(
    "change",
    [{"repeats": 9}, {"models": ("conv",)}, {"batch_sizes": (512,)}, {"devices": ("cpu",)}],
    ids=lambda change: str(*change),
)
def test_settings_of_a_run_do_not_change_with_what_else_is_selected(change: dict[str, Any]) -> None:
    assert dataclasses.replace(STUDY, **change).settings(RUN, "f00d") == STUDY.settings(RUN, "f00d")


def test_settings_for_an_unknown_model_are_refused_with_those_known() -> None:
    with pytest.raises(InputError, match="'lstm' is not described in model_settings, which has conv, logistic"):
        STUDY.settings(dataclasses.replace(RUN, model="lstm"), "f00d")


def test_settings_for_an_unknown_device_are_refused_with_those_known() -> None:
    with pytest.raises(InputError, match="'tpu' is not described in device_settings, which has cpu, cpu-8t, gpu"):
        STUDY.settings(dataclasses.replace(RUN, device="tpu"), "f00d")


# --- cores ---


@pytest.mark.parametrize(
    ("device", "isolation", "cores", "gpus", "reserved"),
    [
        pytest.param(CPU, "device", 32, 4, 32, id="a CPU run has the machine to itself"),
        pytest.param(CPU_8T, "device", 32, 4, 32, id="a CPU run has it to itself whatever its threads"),
        pytest.param(GPU, "device", 32, 4, 8, id="a GPU run has its card's share"),
        pytest.param(GPU, "device", 30, 4, 7, id="shares are rounded down, so that all fit"),
        pytest.param(GPU, "device", 2, 4, 1, id="a GPU run has at least one core"),
        pytest.param(GPU, "device", 32, 0, 32, id="one GPU is assumed where none is known"),
        pytest.param(CPU, "host", 32, 4, 32, id="host: a CPU run has the machine to itself"),
        pytest.param(CPU_8T, "host", 32, 4, 32, id="host: a CPU run has it whatever its threads"),
        pytest.param(GPU, "host", 32, 4, 32, id="host: a GPU run has the machine to itself"),
        pytest.param(CPU, "none", 32, 4, 32, id="none: a CPU run of all cores has all"),
        pytest.param(CPU_8T, "none", 32, 4, 8, id="none: a CPU run has its threads"),
        pytest.param(CPU_8T, "none", 4, 4, 4, id="none: a CPU run has at most the cores there are"),
        pytest.param(GPU, "none", 32, 4, 8, id="none: a GPU run has its card's share"),
    ],
)
def test_cores_of_a_run(device: Device, isolation: str, cores: int, gpus: int, reserved: int) -> None:
    assert cores_of_run(device, isolation, cores, gpus) == reserved
