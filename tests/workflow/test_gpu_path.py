"""The way to a GPU run on a machine without a card: NVML replays two cards or four, TensorFlow sees none."""

import json
import os
import re

import pytest

from nvml_library import compiled_nvml_library, run_python  # noqa: F401 - a fixture
from trainbench.plan.study import Device, ModelSettings, Run, Study
from waiting_runs import have_runs_wait, most_at_once, waited

CARDS = [f"GPU-{letter * 8}-0000-0000-0000-000000000000" for letter in "abcd"]


def trace_of(cards, names=()):
    """A trace of NVML with these cards, of these names or all alike."""
    lines = ["driver 580.65.06", "cuda 13000"]
    for number, uuid in enumerate(cards):
        name = names[number] if names else "NVIDIA H200"
        lines.append(f"gpu {number} {uuid} 150000000000 00000000:{number + 1}B:00.0 {name}")
        lines.append(f"sample 0 {number} 50 1000000000 300000 1000000 40 1980 0")
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def replay(nvml_library, tmp_path_factory):
    """Give a function that gives environment variables which make NVML replay so many cards, and more lines."""

    def variables(count, *lines, names=()):
        trace = tmp_path_factory.mktemp("trace") / "trace.txt"
        trace.write_text(trace_of(CARDS[:count], names) + "\n".join([*lines, ""]))
        return {"LD_LIBRARY_PATH": str(nvml_library), "NVML_REPLAY": str(trace)}

    return variables


@pytest.fixture(scope="module")
def two_cards(replay):
    return replay(2)


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


@pytest.mark.parametrize(
    ("lines", "variables", "part"),
    [
        pytest.param(
            ["broken 18"], {}, "(NVML: RM has detected an NVML/RM version mismatch", id="a driver out of order"
        ),
        pytest.param(["lost 0 1"], {}, "GPU 1 cannot be asked about (NVML: GPU is lost)", id="a lost card of two"),
        pytest.param([], {"CUDA_VISIBLE_DEVICES": "MIG-typo"}, "'MIG-typo', which names no single card", id="a typo"),
    ],
)
def test_auto_says_in_one_warning_why_cards_are_left_out(checkout, replay, lines, variables, part):
    run = checkout.study("--dry-run", "--config", "devices=auto", **replay(2, *lines), **variables)
    assert run.returncode == 0
    (told,) = [line for line in (run.stdout + run.stderr).splitlines() if line.startswith("GPUs: ")]
    assert part in told


def test_a_slice_that_is_not_there_is_refused_when_the_study_is_planned(any_tensorflow, replay):
    slices = ["mig 0", f"slice 1 0 1 0 MIG-{CARDS[0]}/1/0 10000000000 NVIDIA H200 MIG 1g.18gb"]
    typo = {"CUDA_VISIBLE_DEVICES": f"MIG-{CARDS[0]}/7/0"}
    study = ("--dry-run", "--config", "devices=[gpu]")
    assert "/7/0', which names no single card or MIG slice" in told(
        any_tensorflow.study(*study, **replay(1, *slices), **typo)
    )
    assert any_tensorflow.study(*study, **replay(1, *slices)).returncode == 0


@pytest.fixture
def any_tensorflow(new_checkout):
    """A checkout whose rules do not ask what the installed TensorFlow is built for, and whose runs only wait.

    It takes this machine for one of 8 cores.
    """
    checkout = have_runs_wait(new_checkout())
    pretend(checkout, "else _installed_frameworks()", "else None")
    pretend(checkout, "given_cores(options, host.inventory().usable_threads)", "given_cores(options, 8)")
    return checkout


def pretend(checkout, found, pretended):
    """Have the rules of a checkout take this machine for another one."""
    module = checkout.folder / "workflow/scripts/trainbench/rules/call.py"
    text = module.read_text()
    assert text.count(found) == 1
    module.write_text(text.replace(found, pretended))


@pytest.mark.parametrize(
    ("limit", "side_by_side"), [([], 2), (["--resources", "gpu=2"], 2), (["--resources", "gpu=1"], 1)]
)
def test_as_many_gpu_runs_begin_as_there_are_cards_or_the_limit_allows(any_tensorflow, two_cards, limit, side_by_side):
    study = ["models=[logistic]", "devices=[gpu]", "repeats=3"]
    run = any_tensorflow.study("--cores", "8", "--until", "train", *limit, "--config", *study, **two_cards)
    assert run.returncode == 0, run.stderr
    runs = waited(any_tensorflow)
    assert len(runs) == 6
    assert most_at_once(runs) == side_by_side
    assert {run["gpus"] for run in runs} == {1}


SEVERAL = "device_settings={gpu: {gpus: [1, 2]}}"


@pytest.mark.parametrize(("cards", "most_at_once"), [(2, {1: 2, 2: 1}), (4, {1: 4, 2: 2})])
def test_runs_reserve_the_gpus_of_their_device_and_go_side_by_side_where_there_are_enough(
    any_tensorflow, replay, cards, most_at_once
):
    config = ["models=[logistic]", "devices=[gpu]", SEVERAL, "repeats=2"]
    run = any_tensorflow.study("--cores", "8", "--until", "train", "--config", *config, **replay(cards))
    assert run.returncode == 0, run.stderr
    runs = waited(any_tensorflow)
    assert sorted(run["gpus"] for run in runs) == [1] * 4 + [2] * 4
    # At the begin of each run, what runs then.
    together = [[other["gpus"] for other in runs if other["begin"] <= run["begin"] < other["end"]] for run in runs]
    assert max(sum(gpus) for gpus in together) == cards
    assert all(gpus.count(count) <= most for gpus in together for count, most in most_at_once.items())
    if cards > 2:
        assert any(set(gpus) == {1, 2} for gpus in together), together


def test_a_run_with_two_of_four_gpus_has_half_of_the_cores_and_one_with_one_a_quarter(any_tensorflow, replay):
    config = ["models=[logistic]", "batch_sizes=[16]", "devices=[gpu]", SEVERAL]
    run = any_tensorflow.study("--cores", "8", "--until", "train", "--config", *config, **replay(4))
    assert run.returncode == 0, run.stderr
    runs = waited(any_tensorflow)
    assert {run["gpus"]: run["cores"] for run in runs} == {1: 2, 2: 4}


def test_no_more_gpu_runs_begin_than_there_are_cores_for_them(any_tensorflow, replay):
    pretend(any_tensorflow, "given_cores(options, 8)", "given_cores(options, 2)")
    config = ["models=[logistic]", "devices=[gpu]", "repeats=2"]
    run = any_tensorflow.study("--cores", "32", "--until", "train", "--config", *config, **replay(4))
    assert run.returncode == 0, run.stderr
    runs = waited(any_tensorflow)
    assert ({run["cores"] for run in runs}, most_at_once(runs)) == ({1}, 2)


def test_runs_of_each_kind_of_card_take_turns_on_their_own_and_the_choice_is_told(any_tensorflow, replay):
    """Two cards of one kind and one of another: of none do more runs begin than there are cards."""
    cards = replay(3, names=["TITAN X", "NVIDIA H200", "NVIDIA H200"])
    devices = ["devices=[gpu, old]", "device_settings={old: {kind: gpu, card: titan}}"]
    config = ["models=[logistic]", "batch_sizes=[16]", *devices, "repeats=4"]
    run = any_tensorflow.study("--cores", "8", "--until", "train", "--config", *config, **cards)
    assert run.returncode == 0, run.stderr
    assert "gpu takes NVIDIA H200" in run.stdout + run.stderr
    found = any_tensorflow.folder.glob("results/runs/**/metrics.json")
    runs = [(path.parts[-3], json.loads(path.read_text())) for path in found]
    assert len(runs) == 8
    for device, most in (("gpu", 2), ("old", 1)):
        own = [shown for name, shown in runs if name == device]
        assert most_at_once(own) <= most


@pytest.mark.parametrize(
    ("cards", "limit", "batch_size", "parts"),
    [
        (1, [], 16, ["'gpu-2g'", "needs 2 GPUs", "found 1"]),
        (4, ["--resources", "gpu=1"], 16, ["'gpu-2g'", "needs 2 GPUs", "gpu=1 allows no more of the 4 found"]),
        (4, [], 15, ["'batch_sizes' has 15", "the 2 GPUs of the device 'gpu-2g'", "multiples of 2"]),
    ],
)
def test_a_study_that_wants_several_gpus_and_cannot_be_is_refused_with_the_reason(
    any_tensorflow, replay, cards, limit, batch_size, parts
):
    config = ["devices=[gpu-2g]", SEVERAL, f"batch_sizes=[{batch_size}]"]
    run = any_tensorflow.study("--dry-run", *limit, "--config", *config, **replay(cards))
    assert run.returncode != 0
    assert [part for part in parts if part not in told(run)] == []


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
from trainbench.datasets import dataset; from trainbench.run import launch; from trainbench.run.task import Task
from trainbench.errors import InputError, RunFailed

folder = Path({folder!r})
dataset.prepare(Path({data!r}), folder / "dataset.safetensors")
settings = json.loads({settings!r})
task = Task(
    settings=settings, dataset=folder / "dataset.safetensors", cores=1, gpus=settings["device"]["gpus"],
    metrics=folder / "metrics.json", samples=folder / "samples.csv", log=folder / "train.log",
)
try:
    launch.run(task, announce=print)
except InputError as error:
    print("told:", error)
except RunFailed as error:
    print("RunFailed:", error)
"""


SAYS_WHAT_IT_SEES = """
import os, sys, time
if "trainbench.run.training" in " ".join(sys.orig_argv):
    print("sees", os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
    time.sleep(2)
    os._exit(1)
"""
"""In the place of the training: says which cards are visible to it, waits for the monitor and ends."""


@pytest.fixture
def launched(nvml_library, replay, checkout, tmp_path):
    """Give a function that launches a run with so many of four cards, without Snakemake, and gives what it said."""

    def launch(gpus, trace=None):
        device = Device("gpu", "gpu", "all", gpus=gpus)
        settings = Study(
            models=("logistic",), batch_sizes=(16,), devices=("gpu",), repeats=1, seed=1, isolation="device",
            monitor_interval_seconds=0.1, dataset_path="data", validation_samples=40,
            model_settings={"logistic": ModelSettings(2, {"learning_rate": 0.05})}, device_settings={"gpu": device},
        ).settings(Run("logistic", 16, "gpu", 1), "0" * 64)  # fmt: skip
        code = LAUNCH.format(folder=str(tmp_path), data=str(checkout.folder / "data"), settings=json.dumps(settings))
        return run_python(code, nvml_library, trace or replay(4)["NVML_REPLAY"])

    return launch


IS_LISTED = """
import os, subprocess, sys, time
if "trainbench.run.training" in " ".join(sys.orig_argv):
    with open({trace!r}, "a") as trace:
        print("process", {card}, os.getpid() if {is_own} else os.getppid(), 1048576, file=trace)
    print("epoch 1/2 is over", flush=True)
    time.sleep(60 if {is_own} else 0)
    os._exit(1)
"""
"""In the place of the training: has NVML list it or another process that lives, and says that an epoch is over."""


@pytest.mark.parametrize(
    ("card", "is_own", "told"),
    [
        pytest.param(3, True, "told: logistic 16 on gpu, repeat 1: after the first epoch NVML lists", id="elsewhere"),
        pytest.param(0, False, "RunFailed", id="another process alone says nothing"),
    ],
)
def test_a_run_that_computes_elsewhere_ends_with_its_first_epoch_and_no_other(
    launched, replay, tmp_path, monkeypatch, card, is_own, told
):
    monkeypatch.setenv("TRAINBENCH_LEASE_FOLDER", str(tmp_path / "leases"))
    trace = replay(4)["NVML_REPLAY"]
    folder = tmp_path / "instead"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(IS_LISTED.format(trace=trace, card=card, is_own=is_own))
    monkeypatch.setenv("PYTHONPATH", str(folder))
    assert told in launched(1, trace)


@pytest.mark.parametrize(("gpus", "asked"), [(1, "a GPU was"), (2, "2 GPUs were")])
def test_a_gpu_run_that_tensorflow_cannot_carry_out_fails_with_the_reason_and_leaves_no_metrics(
    launched, tmp_path, monkeypatch, gpus, asked
):
    monkeypatch.setenv("TRAINBENCH_LEASE_FOLDER", str(tmp_path / "leases"))
    shown = launched(gpus)
    assert f"told: logistic 16 on gpu, repeat 1: {asked} asked for, but TensorFlow" in shown
    assert "make setup BUILD=cuda" in shown
    assert not (tmp_path / "metrics.json").exists()
    assert sorted(path.stem for path in (tmp_path / "leases").glob("GPU-*")) == CARDS[:gpus]


def test_the_training_process_of_a_run_sees_both_of_its_cards_and_the_monitor_watches_both(
    launched, tmp_path, monkeypatch
):
    """The training process is one that says what it sees; all around it is as ever."""
    monkeypatch.setenv("TRAINBENCH_LEASE_FOLDER", str(tmp_path / "leases"))
    folder = tmp_path / "instead"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(SAYS_WHAT_IT_SEES)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    shown = launched(2)
    assert "RunFailed" in shown
    log = (tmp_path / "train.log").read_text()
    assert f"sees {CARDS[0]},{CARDS[1]}" in log
    samples = (tmp_path / "samples.csv").read_text().splitlines()
    assert [uuid in samples[-1] for uuid in CARDS] == [True, True, False, False]
    assert "NVML cannot be used" not in samples[-1]
