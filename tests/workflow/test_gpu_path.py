"""The way to a GPU run on a machine without a card: NVML replays two cards, TensorFlow sees none."""

import json

import pytest

from nvml_library import compiled_nvml_library, run_python  # noqa: F401 - a fixture
from trainbench.study import Device, ModelSettings, Run, Study

TRACE = """
driver 580.65.06
cuda 13000
gpu 0 GPU-aaaaaaaa-0000-0000-0000-000000000000 150000000000 00000000:1B:00.0 NVIDIA H200
gpu 1 GPU-bbbbbbbb-0000-0000-0000-000000000000 150000000000 00000000:43:00.0 NVIDIA H200
sample 0 0 50 1000000000 300000 1000000 40 1980 0
sample 0 1 50 1000000000 300000 1000000 40 1980 0
"""


@pytest.fixture(scope="module")
def two_cards(nvml_library, tmp_path_factory):
    """Environment variables that make NVML replay two cards."""
    trace = tmp_path_factory.mktemp("trace") / "trace.txt"
    trace.write_text(TRACE)
    return {"LD_LIBRARY_PATH": str(nvml_library), "NVML_REPLAY": str(trace)}


@pytest.fixture(scope="module")
def checkout(new_checkout):
    return new_checkout()


def told(run):
    return next((line for line in run.stderr.splitlines() if line.startswith("trainbench:")), run.stderr)


@pytest.mark.parametrize(
    ("arguments", "variables", "parts"),
    [
        (["--config", "devices=[gpu]"], {}, ["'gpu'", "built for CPUs alone", "make setup TENSORFLOW=cuda"]),
        (["--config", "devices=[gpu]", "--resources", "gpu=3"], {}, ["gpu=3", "more GPUs than there are", "found 2"]),
        (["--config", "devices=[gpu]", "--resources", "gpu=0"], {}, ["gpu=0", "none of the 2 found"]),
        (
            ["--config", "devices=[gpu]"],
            {"CUDA_VISIBLE_DEVICES": ""},
            ["none is found", "CUDA_VISIBLE_DEVICES hides all"],
        ),
    ],
)
def test_a_gpu_study_that_cannot_be_is_refused_with_the_reason(checkout, two_cards, arguments, variables, parts):
    run = checkout.study("--dry-run", *arguments, **two_cards, **variables)
    assert run.returncode != 0
    for part in parts:
        assert part in told(run)


def test_auto_leaves_out_a_card_that_the_installed_tensorflow_cannot_use_and_says_so(checkout, two_cards):
    run = checkout.study("--dry-run", "--config", "devices=auto", **two_cards)
    assert run.returncode == 0
    assert "A GPU is found but not measured" in run.stdout + run.stderr
    assert "device=gpu" not in run.stdout + run.stderr


LAUNCH = """
import json, sys
from pathlib import Path
from trainbench import dataset, launch
from trainbench.errors import InputError

folder = Path({folder!r})
dataset.prepare(Path({data!r}), folder / "dataset.safetensors")
task = launch.Task(
    settings=json.loads({settings!r}), dataset=folder / "dataset.safetensors", cores=1, gpus=1,
    metrics=folder / "metrics.json", samples=folder / "samples.csv", log=folder / "train.log",
)
try:
    launch.run(task, announce=print)
except InputError as error:
    print("told:", error)
"""


def test_a_gpu_run_that_tensorflow_cannot_carry_out_fails_with_the_reason_and_leaves_no_metrics(
    two_cards, nvml_library, checkout, tmp_path
):
    device = Device("gpu", "gpu", "all", gpus=1)
    settings = Study(
        models=("logistic",), batch_sizes=(16,), devices=("gpu",), repeats=1, seed=1, isolation="device",
        monitor_interval_seconds=0.1, dataset_path="data", validation_samples=40,
        model_settings={"logistic": ModelSettings(2, {"learning_rate": 0.05})}, device_settings={"gpu": device},
    ).settings(Run("logistic", 16, "gpu", 1), "0" * 64)  # fmt: skip
    code = LAUNCH.format(folder=str(tmp_path), data=str(checkout.folder / "data"), settings=json.dumps(settings))
    shown = run_python(code, nvml_library, two_cards["NVML_REPLAY"])
    assert "told: logistic 16 on gpu, repeat 1: a GPU was asked for, but TensorFlow" in shown
    assert "make setup TENSORFLOW=cuda" in shown
    assert not (tmp_path / "metrics.json").exists()
