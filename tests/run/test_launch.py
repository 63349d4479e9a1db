"""What a run starts with, and what becomes of it whose training process is killed, hangs or meets a full disk."""

import dataclasses
import os
import resource
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

import toy_process
from idx_writer import write_idx_directory
from nvml_library import compiled_nvml_library, run_python  # noqa: F401  # the first is a fixture
from study_builder import CPU, make_study
from trainbench.datasets import dataset
from trainbench.errors import InputError, RunFailed
from trainbench.machine import clean_environment, control_groups, gpu_lease, host
from trainbench.machine.gpu_cards import Gpu, Slice
from trainbench.plan.study import ModelSettings, Run
from trainbench.records import record
from trainbench.run import journal, launch
from trainbench.run.task import Task

RUN = Run("logistic", 16, "cpu", 1)
HYPERPARAMETERS = {"learning_rate": 0.001, "decay": 0.9, "keep_conv": 0.8, "keep_hidden": 0.5}
LEARNING_RATE = {"learning_rate": 0.05}


@pytest.fixture
def task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Task:
    """A run that takes minutes, if nothing ends it."""
    monkeypatch.setenv("TRAINBENCH_LEASE_FOLDER", str(tmp_path / "leases"))
    dataset.prepare(write_idx_directory(tmp_path / "data"), tmp_path / "dataset.safetensors")
    cpu = replace(CPU, environment=toy_process.variables(tmp_path / "toy", epoch_seconds=0.01))
    settings = {RUN.model: ModelSettings(10_000, LEARNING_RATE)}
    study = make_study(settings, (RUN.batch_size,), validation_samples=40, device_settings={"cpu": cpu})
    return Task(
        settings=study.settings(RUN, "ab" * 32),
        dataset=tmp_path / "dataset.safetensors",
        cores=1,
        gpus=0,
        metrics=tmp_path / "run" / "metrics.json",
        samples=tmp_path / "run" / "samples.csv",
        log=tmp_path / "run" / "train.log",
    )


def is_seen(epochs: Sequence[Mapping[str, Any]]) -> bool:
    if len(epochs) < 3:
        return False
    begin, end = epochs[0]["train_window_monotonic_seconds"][0], epochs[-1]["eval_window_monotonic_seconds"][1]
    return bool(end - begin > 0.5)


@pytest.fixture
def killer(task: Task) -> Iterator[threading.Thread]:
    """Kills the training process with SIGKILL when three epochs have ended and the monitor has seen some of them."""
    notes = task.notes

    over = threading.Event()

    def kill() -> None:
        while not is_seen(journal.read(notes).get("epochs", [])):
            if over.wait(0.01):
                return
        for child in psutil.Process().children():
            if "trainbench.run.training" in child.cmdline():
                child.kill()

    thread = threading.Thread(target=kill)
    thread.start()
    yield thread
    over.set()
    thread.join()


def counter(*values: int | None) -> Callable[[], int | None]:
    """Give what the kernel's count of processes killed for lack of memory is, reading by reading."""
    return iter(values).__next__


@pytest.mark.usefixtures("killer")
def test_a_training_process_that_the_kernel_killed_for_lack_of_memory_is_a_result(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_groups, "oom_kills", counter(4, 5))
    launch.run(task, announce=lambda _: None)
    metrics = record.read(task.metrics)
    assert metrics["status"] == "out_of_memory"
    assert len(metrics["epochs"]) >= 3
    assert metrics["usage"]["span"]["samples"] > 0


@pytest.mark.usefixtures("killer")
@pytest.mark.parametrize("counts", [(4, 4), (None, None)])
def test_a_training_process_that_somebody_killed_is_no_result(
    counts: tuple[int | None, int | None], task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_groups, "oom_kills", counter(*counts))
    with pytest.raises(RunFailed, match="ended with signal 9"):
        launch.run(task, announce=lambda _: None)
    assert not task.metrics.exists()


def test_a_disk_without_room_ends_the_run_with_one_sentence(task: Task) -> None:
    """A limit on the size of files stands in for the disk: what a run notes soon grows beyond it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(InputError, match="cannot take what was to be written there") as raised:
            launch.run(task, announce=lambda _: None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(raised.value).startswith(f"logistic 16 on cpu, repeat 1: {task.metrics.parent} ")
    left = [child.cmdline() for child in psutil.Process(os.getpid()).children()]
    assert [arguments for arguments in left if any("trainbench." in argument for argument in arguments)] == []


def test_the_training_process_starts_without_keras() -> None:
    """TensorFlow imports it along with itself, a quarter of its time, unless the environment keeps it from that."""
    program = "import sys, trainbench.engines.tensorflow.engine; print('keras' in sys.modules)"
    environment = clean_environment.of_process(os.environ, 1, ())
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.split() == ["False"]


def test_what_the_training_process_prints_is_utf8_whatever_the_terminal_shows() -> None:
    environment = clean_environment.of_process({**os.environ, "PYTHONIOENCODING": "ascii"}, 1, ())
    done = subprocess.run(
        [sys.executable, "-c", "print('\\u2020')"], env=environment, capture_output=True, check=True, timeout=60
    )
    assert done.stdout.decode() == "\u2020\n"


# --- the environment ---


def with_variables(task: Task, model: str = "conv", framework: str = "tensorflow", **own: str) -> Task:
    """The run on a device that sets variables of its own."""
    cpu = replace(CPU, framework=framework, environment=own)
    settings = ModelSettings(2, LEARNING_RATE if model == "logistic" else HYPERPARAMETERS)
    study = make_study({model: settings}, (16,), validation_samples=40, device_settings={"cpu": cpu})
    return replace(task, settings=study.settings(Run(model, 16, "cpu", 1), "ab" * 32))


def folder_of_python(folder: Path, begin: str) -> str:
    """A folder from which Python runs this code as it starts, in the place of the training's process alone."""
    folder.mkdir()
    only_there = "import sys\nif 'trainbench.run.training' in ' '.join(sys.orig_argv):\n"
    (folder / "sitecustomize.py").write_text(only_there + textwrap.indent(textwrap.dedent(begin), "    "))
    return str(folder)


def test_neither_training_nor_monitor_gets_what_would_slow_them_down(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen from outside, in what the kernel says of both processes."""
    slowing = {
        **{"MALLOC_MMAP_THRESHOLD_": "1", "PYTHONTRACEMALLOC": "1", "DNNL_VERBOSE": "2", "MKL_VERBOSE": "1"},
        **{"TORCH_LOGS": "+all", "TF_CPP_MAX_VLOG_LEVEL": "3", "TF_XLA_FLAGS": "--tf_xla_auto_jit=2"},
    }
    for name, value in slowing.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LANG", "C.UTF-8")
    seen: dict[str, set[str]] = {}

    def announce(_: str) -> None:
        for child in psutil.Process().children():
            for module in ("trainbench.run.training", "trainbench.run.monitor"):
                if module in child.cmdline():
                    seen[module] = set(child.environ())

    launch.run(with_variables(task, "logistic", A_VARIABLE="1"), announce)
    assert {module: names & {*slowing, "LANG", "A_VARIABLE"} for module, names in seen.items()} == {
        "trainbench.run.training": {"LANG", "A_VARIABLE"},
        "trainbench.run.monitor": {"LANG"},
    }


@pytest.mark.parametrize("name", ["JAX_ENABLE_X64", "JAX_DISABLE_JIT"])
def test_a_variable_of_the_shell_with_which_jax_cannot_train_does_not_reach_it(
    name: str, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "1")
    launch.run(with_variables(task, "logistic", "jax"), announce=lambda _: None)
    assert record.read(task.metrics)["status"] == "completed"


@pytest.mark.parametrize("name", ["JAX_ENABLE_X64", "JAX_DISABLE_JIT"])
def test_a_variable_of_the_device_with_which_jax_cannot_train_is_told_in_one_sentence(name: str, task: Task) -> None:
    with pytest.raises(InputError, match=rf"the device sets {name} .*try without") as raised:
        launch.run(with_variables(task, "logistic", "jax", **{name: "1"}), announce=lambda _: None)
    assert "\n" not in str(raised.value)
    assert "Traceback" in task.log.read_text()


def test_a_preloaded_library_that_is_not_there_ends_the_run_instead_of_being_done_without(task: Task) -> None:
    with pytest.raises(InputError, match=r"'/nowhere/lib\.so' from LD_PRELOAD cannot be preloaded.*the device sets"):
        launch.run(with_variables(task, "logistic", LD_PRELOAD="/nowhere/lib.so"), announce=lambda _: None)


def test_a_training_process_that_its_devices_variables_kill_is_told_with_their_names(
    task: Task, tmp_path: Path
) -> None:
    search_path = folder_of_python(tmp_path / "site", "import os; os.abort()")
    with pytest.raises(RunFailed, match=r"signal 6 and left no result; the device sets PYTHONPATH .*try without"):
        launch.run(with_variables(task, PYTHONPATH=search_path), announce=lambda _: None)


# --- no progress ---

SLEEPS = "import time; time.sleep(1000)"
SPINS = "while True: pass"
NOTES_AN_EPOCH_AND_SLEEPS = """
    import json, pathlib, time
    time.sleep(0.5)
    epoch = {"epoch": 1, "train_seconds": 0.01, "eval_seconds": 0.01}
    pathlib.Path(sys.orig_argv[-1]).write_text(json.dumps({"epochs": [epoch]}) + chr(10))
    time.sleep(1000)
    """


@pytest.mark.parametrize(
    ("hang", "last"), [(SLEEPS, "its start"), (SPINS, "its start"), (NOTES_AN_EPOCH_AND_SLEEPS, "epoch 1")]
)
def test_a_training_process_without_progress_is_ended_with_its_last_sign_of_life(
    hang: str, last: str, task: Task, tmp_path: Path
) -> None:
    stuck = with_variables(task, PYTHONPATH=folder_of_python(tmp_path / "site", hang))
    with pytest.raises(RunFailed, match=rf"no sign of life for .*, the last was {last}; it was ended.*train:no_prog"):
        launch.run(replace(stuck, no_progress_seconds=1.0), announce=lambda _: None)
    left = [child for child in psutil.Process().children() if "trainbench.run.training" in child.cmdline()]
    assert left == []


# --- two cards ---

FIRST, SECOND, THIRD = (f"GPU-00000000-0000-0000-0000-00000000000{index}" for index in range(3))
CARDS = f"""
driver 580.65.06
cuda 13000
gpu 0 {FIRST} 150000000000 00000000:1B:00.0 NVIDIA H200
gpu 1 {SECOND} 150000000000 00000000:43:00.0 NVIDIA H200
gpu 2 {THIRD} 150000000000 00000000:52:00.0 NVIDIA H200
"""

Replay = Callable[..., str]


@pytest.fixture
def replay(nvml_library: Path, tmp_path: Path) -> Replay:
    """Give a function that runs a program that launches, on a machine with three cards of which more lines tell."""

    def run(program: str, *lines: str) -> str:
        trace = tmp_path / "trace.txt"
        trace.write_text(CARDS + "\n".join(lines) + "\n", encoding="utf-8")
        begin = (
            "import os\nfrom trainbench.machine import gpu_lease\nfrom trainbench.run import launch, watched_training\n"
            f"FIRST, SECOND, THIRD = {[FIRST, SECOND, THIRD]}\n"
        )
        return run_python(begin + textwrap.dedent(program), nvml_library, trace).strip()

    return run


def test_the_training_process_sees_the_leased_cards_alone_by_their_uuids() -> None:
    made = clean_environment.of_process({"CUDA_VISIBLE_DEVICES": "0,1,2"}, 4, (SECOND, FIRST))
    assert (made["CUDA_VISIBLE_DEVICES"], made["CUDA_DEVICE_ORDER"]) == (f"{SECOND},{FIRST}", "PCI_BUS_ID")


@pytest.mark.parametrize(
    ("leased", "names"),
    [
        ((SECOND,), ["NVIDIA H200"]),
        (("MIG-1",), ["NVIDIA H200 MIG 1g.18gb"]),
        (("MIG-2",), ["MIG-2"]),
    ],
    ids=["a card", "a slice", "a slice without a name"],
)
def test_a_state_is_gone_on_from_on_the_same_kind_of_card_or_slice_alone(
    task: Task, leased: tuple[str, ...], names: list[str]
) -> None:
    slices = (Slice("NVIDIA H200 MIG 1g.18gb", "MIG-1", None, 1, 0), Slice(None, "MIG-2", None, 2, 0))
    cards = (Gpu(0, "NVIDIA H200", FIRST, None, None, slices), Gpu(1, "NVIDIA H200", SECOND, None, None))
    machine = dataclasses.replace(host.inventory(), gpus=cards)
    assert launch._identity(task, machine, 1, gpu_lease.Lease(leased, (), 0.0))["gpus"] == names


def test_the_training_process_of_a_cpu_run_sees_no_card() -> None:
    assert clean_environment.of_process({"CUDA_VISIBLE_DEVICES": "0,1,2"}, 4, ())["CUDA_VISIBLE_DEVICES"] == ""


@pytest.mark.parametrize(
    ("listed", "answer"),
    [
        (["process 0 self 1048576", "process 1 self 1048576"], "True"),
        (["process 0 self 1048576", f"process 1 {os.getpid()} 1048576"], "False"),
        (["process 0 self 1048576", "process 2 self 1048576"], "False"),
        (["process 0 self 1048576"], "False"),
        ([f"process 0 {os.getpid()} 1048576"], "None"),
        (["process 0 4294967295 1048576"], "None"),
        ([], "None"),
    ],
    ids=[
        "on both",
        "another's on the second",
        "on a third",
        "on one alone",
        "another's alone",
        "no process",
        "none to see",
    ],
)
def test_a_run_is_listed_where_each_of_its_cards_lists_it(replay: Replay, listed: list[str], answer: str) -> None:
    assert replay("print(watched_training._gpus_list([FIRST, SECOND], os.getpid()))", *listed) == answer


def test_a_process_that_the_training_started_counts_as_the_training(replay: Replay) -> None:
    """Some frameworks train on each card with a process of its own."""
    program = "print(watched_training._gpus_list([FIRST, SECOND], os.getppid()))"
    assert replay(program, f"process 0 {os.getpid()} 1048576", "process 1 self 1048576") == "True"


@pytest.mark.parametrize(
    ("near", "cores"),
    [
        (["near 0 3", "near 1 c"], "[0, 1, 2, 3]"),
        (["near 0 3", "near 1 6"], "[0, 1, 2]"),
        (["near 0 3"], "None"),
        ([], "None"),
        (["near 0 3", "near 1 c", "lost 0 1"], "None"),
    ],
    ids=["apart", "shared", "those of one card", "unknown", "a lost card"],
)
def test_the_cores_near_several_cards_are_those_near_any_of_them(replay: Replay, near: list[str], cores: str) -> None:
    program = """
        os.cpu_count = lambda: 16
        near = launch._near_cores(gpu_lease.Lease((FIRST, SECOND), (), 0.0))
        print(None if near is None else sorted(near))
        """
    assert replay(program, *near) == cores
