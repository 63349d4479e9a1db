"""The way to a GPU run on a machine without a card: NVML replays two cards, TensorFlow sees none."""

import json
import os
import re

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
        (["--config", "devices=[gpu]"], {}, ["'gpu'", "build for CPUs alone", "make setup BUILD=cuda"]),
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


def test_auto_leaves_out_cards_of_which_none_may_be_used_and_says_so(any_tensorflow, two_cards):
    run = any_tensorflow.study("--dry-run", "--resources", "gpu=0", "--config", "devices=auto", **two_cards)
    assert run.returncode == 0
    assert "A GPU is found but not measured: --resources gpu=0" in run.stdout + run.stderr
    assert "device=gpu" not in run.stdout + run.stderr


NOTHING_BUT_WAITING = """
import json, time
from pathlib import Path

begin = time.monotonic()
time.sleep(0.5)
shown = {"begin": begin, "end": time.monotonic(), "cores": snakemake.threads, "gpus": snakemake.resources.gpu}
Path(snakemake.output.metrics).write_text(json.dumps(shown))
Path(snakemake.output.samples).touch()
"""


@pytest.fixture
def any_tensorflow(new_checkout):
    """A checkout whose rules do not ask what the installed TensorFlow is built for, and whose runs only wait."""
    checkout = new_checkout()
    rules = checkout.folder / "workflow/rules/common.smk"
    rules.write_text(rules.read_text().replace("frameworks=installed_frameworks()", "frameworks=None"))
    (checkout.folder / "workflow/scripts/train.py").write_text(NOTHING_BUT_WAITING)
    return checkout


@pytest.mark.parametrize(
    ("limit", "side_by_side"), [([], 2), (["--resources", "gpu=2"], 2), (["--resources", "gpu=1"], 1)]
)
def test_as_many_gpu_runs_begin_as_there_are_cards_or_the_limit_allows(any_tensorflow, two_cards, limit, side_by_side):
    study = ["models=[logistic]", "devices=[gpu]", "repeats=3"]
    run = any_tensorflow.study("--cores", "8", "--until", "train", *limit, "--config", *study, **two_cards)
    assert run.returncode == 0, run.stderr
    runs = [json.loads(path.read_text()) for path in any_tensorflow.folder.glob("results/runs/**/metrics.json")]
    assert len(runs) == 6
    at_once = [sum(other["begin"] <= run["begin"] < other["end"] for other in runs) for run in runs]
    assert max(at_once) == side_by_side
    assert {run["gpus"] for run in runs} == {1}


def test_a_cpu_study_takes_any_limit_of_gpus(any_tensorflow, two_cards):
    run = any_tensorflow.study("--dry-run", "--resources", "gpu=9", **two_cards)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize(("cores", "threads"), [("1", 1), ("2", 2), ("9999", len(os.sched_getaffinity(0)))])
def test_a_run_reserves_no_more_cores_than_it_is_given_and_the_machine_has(checkout, cores, threads):
    run = checkout.study("--dry-run", "--cores", cores)
    assert run.returncode == 0, run.stderr
    trained = [job for job in (run.stdout + run.stderr).split("\nrule ") if job.startswith("train:")]
    shown = [re.search(r"threads: (\d+)", job) for job in trained]
    assert {1 if found is None else int(found[1]) for found in shown} == {threads}


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
    assert "make setup BUILD=cuda" in shown
    assert not (tmp_path / "metrics.json").exists()
