"""What the machine or the data set cannot carry is refused before it begins, and nothing else."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest

from trainbench.datasets.idx import Shape
from trainbench.errors import InputError
from trainbench.machine.gpu_choice import Card, Visible
from trainbench.machine.working_folder import Disk
from trainbench.networks.models import MODELS, ImageShape
from trainbench.plan.limits import (
    Machine,
    gpu_warning,
    gpus_side_by_side,
    needed_memory_mib,
    refuse_contradictions,
    refuse_impatience,
    refuse_impossible,
    refuse_no_core,
)
from trainbench.plan.study import Device, ModelSettings, Run, Study

MNIST = Shape(train_samples=60_000, test_samples=10_000, height=28, width=28)
CONV = {"learning_rate": 0.001, "decay": 0.9, "keep_conv": 0.8, "keep_hidden": 0.5}
STUDY = Study(
    models=("logistic", "conv"),
    batch_sizes=(128, 512),
    devices=("cpu",),
    repeats=2,
    seed=2017,
    isolation="device",
    monitor_interval_seconds=0.1,
    dataset_path="resources/mnist",
    validation_samples=5000,
    model_settings={"logistic": ModelSettings(10, {"learning_rate": 0.05}), "conv": ModelSettings(2, CONV)},
    device_settings={
        "cpu": Device("cpu", "cpu", "all", gpus=0),
        "cpu-8t": Device("cpu-8t", "cpu", 8, gpus=0),
        "gpu": Device("gpu", "gpu", "all", gpus=1),
        "gpu-16t": Device("gpu-16t", "gpu", 16, gpus=1),
        "gpu-2g": Device("gpu-2g", "gpu", "all", gpus=2),
        "gpu-3g": Device("gpu-3g", "gpu", "all", gpus=3),
        "titan": Device("titan", "gpu", "all", gpus=1, card="TITAN X"),
        "jax": Device("jax", "cpu", "all", gpus=0, framework="jax"),
        "jax-gpu": Device("jax-gpu", "gpu", "all", gpus=1, framework="jax"),
        "torch": Device("torch", "cpu", "all", gpus=0, framework="torch"),
    },
)


def cards(count: int, *names: str) -> Visible:
    """Make up so many cards, all of one kind, and as many of each other name."""
    return Visible(
        tuple(
            Card(f"GPU-{number}-{name}", name, 150_000.0) for name in ("NVIDIA H200", *names) for number in range(count)
        )
    )


SERVER = Machine(
    cores=32,
    gpus=cards(4),
    gpu_limit=None,
    frameworks={"tensorflow": True, "jax": False, "torch": None},
    memory_mib=64_000.0,
    disks=(Disk(("results/runs", "results/dataset", ".snakemake"), free_mib=500_000.0),),
)
ELSEWHERE = Machine()
"""Another machine trains: nothing is known of it."""


def check(study: Mapping[str, Any], machine: Mapping[str, Any], shape: Shape = MNIST) -> None:
    changed = dataclasses.replace(STUDY, **study)
    refuse_impossible(changed, changed.runs(), shape, dataclasses.replace(SERVER, **machine), prepared=False)


def one_disk(free_mib: float) -> dict[str, Any]:
    return {"disks": (dataclasses.replace(SERVER.disks[0], free_mib=free_mib),)}


def apart(runs_mib: float, data_mib: float, records_mib: float) -> dict[str, Any]:
    """A disk for each of the folders, with so much room."""
    rooms = {"results/runs": runs_mib, "results/dataset": data_mib, ".snakemake": records_mib}
    return {"disks": tuple(Disk((folder,), free_mib) for folder, free_mib in rooms.items())}


@pytest.mark.parametrize(
    ("study", "machine", "parts"),
    [
        pytest.param(
            {"validation_samples": 60_000},
            {},
            ["nothing is left to train on", "60000 training images in resources/mnist", "dataset/validation_samples"],
            id="every image is left out",
        ),
        pytest.param(
            {"batch_sizes": (128, 55_001)},
            {},
            ["'batch_sizes' has 55001", "at most 55000", "60000 training images", "leaves out 5000"],
            id="a batch larger than the training set",
        ),
        pytest.param(
            {"devices": ("cpu", "gpu")},
            {"gpus": Visible((), "NVML: Driver Not Loaded")},
            ["'devices' has 'gpu'", "none is found (NVML: Driver Not Loaded)", "devices=[cpu]"],
            id="no GPU, with NVML's reason",
        ),
        pytest.param(
            {"devices": ("gpu",)},
            {"gpus": cards(0)},
            [
                "'devices' has 'gpu'",
                "none is found; select CPU devices (--config 'devices=[cpu]') or run on a machine with",
            ],
            id="no GPU, without a reason",
        ),
        pytest.param(
            {"devices": ("gpu",)},
            {"gpus": Visible((), "NVML: Unknown Error", doubts=("NVML says no more than 'Unknown Error'",))},
            ["none is found (NVML: Unknown Error); select CPU devices (--config 'devices=[cpu]') or mend that"],
            id="no GPU, for a reason that can be mended",
        ),
        pytest.param(
            {"devices": ("gpu",)},
            {"gpus": cards(4), "gpu_limit": 8},
            ["--resources gpu=8", "found 4", "give --resources gpu=4"],
            id="a limit above the GPUs there are",
        ),
        pytest.param(
            {"devices": ("gpu",)},
            {"gpus": cards(4), "gpu_limit": 0},
            ["'devices' has 'gpu'", "needs a GPU", "--resources gpu=0 allows none of the 4 found"],
            id="a limit of no GPU at all",
        ),
        pytest.param(
            {"devices": ("gpu",)},
            {"frameworks": {"tensorflow": False}},
            ["'devices' has 'gpu'", "build for CPUs alone", "make setup BUILD=cuda"],
            id="a TensorFlow that knows no GPU",
        ),
        pytest.param(
            {"devices": ("gpu", "jax-gpu")},
            {},
            [
                "'devices' has 'jax-gpu'",
                "jax is installed in its build for CPUs alone",
                "make setup BUILD=cuda",
                ") or select CPU devices (--config 'devices=[cpu]')",
            ],
            id="a JAX that knows no GPU beside a TensorFlow that does",
        ),
        pytest.param(
            {"devices": ("cpu", "torch")},
            {},
            ["'devices' has 'torch'", "trains with torch", "not installed", "make setup FRAMEWORKS='", "torch'"],
            id="a framework that is not installed",
        ),
        pytest.param(
            {"devices": ("gpu", "gpu-2g")},
            {"gpus": cards(1)},
            ["'devices' has 'gpu-2g'", "needs 2 GPUs", "but found 1; lower its gpus"],
            id="more GPUs in a run than there are",
        ),
        pytest.param(
            {"devices": ("gpu", "gpu-2g")},
            {"gpu_limit": 1},
            ["'devices' has 'gpu-2g'", "needs 2 GPUs", "--resources gpu=1 allows no more of the 4 found"],
            id="more GPUs in a run than the limit allows",
        ),
        pytest.param(
            {"devices": ("gpu", "gpu-2g")},
            {"gpus": cards(0)},
            ["'devices' has 'gpu-2g'", "needs 2 GPUs", "none is found"],
            id="several GPUs where there is none",
        ),
        pytest.param(
            {"devices": ("gpu-3g",)},
            {},
            ["'batch_sizes' has 128", "the 3 GPUs of the device 'gpu-3g'", "multiples of 3"],
            id="a batch that the GPUs cannot share evenly",
        ),
        pytest.param(
            {"devices": ("gpu-2g",), "batch_sizes": (127,)},
            {},
            ["'batch_sizes' has 127", "the 2 GPUs of the device 'gpu-2g'", "multiples of 2"],
            id="an odd batch for two GPUs",
        ),
        pytest.param(
            {"devices": ("gpu-16t",)},
            {},
            ["the threads of 'gpu-16t' in device_settings are 16", "its runs get 8 of 32 usable cores"],
            id="more threads than a GPU run's share of the cores",
        ),
        pytest.param(
            {"devices": ("cpu-8t",)},
            {"cores": 4},
            ["the threads of 'cpu-8t' in device_settings are 8", "get 4 of 4 usable cores", "--cores"],
            id="more threads than cores",
        ),
        pytest.param(
            {"devices": ("titan",)},
            {},
            [
                "the card of 'titan' in device_settings is 'TITAN X'",
                "no kind of GPU here",
                "expected one of: NVIDIA H200;",
            ],
            id="a card that is not there",
        ),
        pytest.param(
            {"devices": ("gpu-2g",)},
            {"gpus": cards(1, "NVIDIA TITAN X (Pascal)")},
            ["'devices' has 'gpu-2g'", "found 1 of one kind (1 NVIDIA H200, 1 NVIDIA TITAN X (Pascal) in all"],
            id="two cards, each of a kind of its own",
        ),
        pytest.param({}, {"max_threads": 8}, ["--max-threads alters", "device_settings"], id="fewer cores for a run"),
        pytest.param(
            {}, {"set_threads": True}, ["--set-threads alters", "device_settings"], id="other cores for a run"
        ),
        pytest.param(
            {}, {"memory_mib": 300.0}, ["model 'conv' at batch size 512", "found 300 MiB"], id="too little memory"
        ),
        pytest.param(
            {},
            one_disk(50.0),
            [
                "results/runs/ and results/dataset/ and .snakemake/: 8 runs and the prepared data set",
                "found 50 MiB free",
            ],
            id="too little disk",
        ),
        pytest.param(
            {},
            apart(runs_mib=7, data_mib=1000, records_mib=1000),
            ["for results/runs/: 8 runs need about 8 MiB", "found 7 MiB free", "make results/ a link"],
            id="too little on the disk of the runs",
        ),
        pytest.param(
            {},
            apart(runs_mib=1000, data_mib=50, records_mib=1000),
            ["for results/dataset/: 8 runs and the prepared data set need about 52 MiB", "found 50 MiB free"],
            id="too little on the disk of the prepared data set",
        ),
        pytest.param(
            {},
            apart(runs_mib=1000, data_mib=1000, records_mib=0),
            ["for .snakemake/: 8 runs need", "found 0 MiB free", "another working folder with --directory"],
            id="nothing on the disk of the working folder",
        ),
    ],
)
def test_an_impossible_study_is_refused_with_what_was_asked_and_what_there_is(
    study: Mapping[str, Any], machine: Mapping[str, Any], parts: list[str]
) -> None:
    with pytest.raises(InputError) as caught:
        check(study, machine)
    assert [part for part in parts if part not in str(caught.value)] == [], str(caught.value)


@pytest.mark.parametrize(
    ("study", "machine"),
    [
        pytest.param({}, {}, id="the default on a server"),
        pytest.param({"batch_sizes": (55_000,), "models": ("logistic",)}, {}, id="a batch of the whole training set"),
        pytest.param({"validation_samples": 0, "batch_sizes": (60_000,), "models": ("logistic",)}, {}, id="all images"),
        pytest.param({"validation_samples": 59_999, "batch_sizes": (1,), "models": ("logistic",)}, {}, id="one image"),
        pytest.param({"devices": ("cpu", "gpu")}, {"gpus": cards(1), "gpu_limit": 1}, id="one GPU of one"),
        pytest.param({"devices": ("gpu",)}, {"gpus": cards(4), "gpu_limit": 2}, id="a limit below the GPUs there are"),
        pytest.param({"devices": ("gpu-2g",)}, {"gpus": cards(2)}, id="as many GPUs in a run as there are"),
        pytest.param({"devices": ("gpu-2g",)}, {"gpu_limit": 2}, id="as many GPUs in a run as the limit allows"),
        pytest.param(
            {"devices": ("gpu-3g",), "batch_sizes": (126, 510)}, {}, id="batches that three GPUs can share evenly"
        ),
        pytest.param({"batch_sizes": (127,)}, {}, id="an uneven batch where GPUs that are not selected would share it"),
        pytest.param({"devices": ("jax",)}, {}, id="a CPU study of a framework whose build is for CPUs alone"),
        pytest.param({"devices": ("torch",)}, {"frameworks": None}, id="a framework that conda brings"),
        pytest.param({"devices": ("cpu",)}, {"gpus": Visible((), "Driver Not Loaded")}, id="a CPU study, no GPU"),
        pytest.param({"devices": ("gpu",)}, {"frameworks": None}, id="a TensorFlow that is not known yet"),
        pytest.param(
            {"devices": ("cpu",)}, {"frameworks": {"tensorflow": False}}, id="a CPU study, a TensorFlow for CPUs"
        ),
        pytest.param(
            {"devices": ("cpu",)}, {"gpus": cards(0), "gpu_limit": 8}, id="a CPU study, whatever the limit of GPUs"
        ),
        pytest.param(
            {"devices": ("gpu", "titan")}, {"gpus": cards(1, "NVIDIA TITAN X (Pascal)")}, id="two kinds, both measured"
        ),
        pytest.param(
            {"devices": ("gpu-16t",)},
            {"gpus": cards(2, "NVIDIA TITAN X (Pascal)")},
            id="cards of a kind that is not measured take no share of the cores",
        ),
        pytest.param({"devices": ("cpu-8t",)}, {"cores": 8}, id="as many threads as cores"),
        pytest.param(
            {"devices": ("gpu-16t",), "isolation": "host"}, {}, id="as many threads as a GPU run has for itself"
        ),
        pytest.param({"devices": ("cpu",)}, {"cores": 1}, id="all of one core"),
        pytest.param({}, {"max_threads": 32}, id="a limit of threads that limits nothing"),
        pytest.param(
            {}, apart(runs_mib=8, data_mib=70_000 * 784 / 2**20, records_mib=0.16), id="just enough room on each disk"
        ),
        pytest.param({"devices": ("cpu",)}, {"cores": 4}, id="a device that is described but not selected"),
        pytest.param({"models": ("logistic",)}, {"memory_mib": 300.0}, id="memory for the selected model"),
        pytest.param({"batch_sizes": (128,)}, {"memory_mib": 300.0}, id="memory for the selected batch size"),
        pytest.param({}, one_disk(70.0), id="little disk, but enough"),
    ],
)
def test_a_possible_study_is_not_refused(study: Mapping[str, Any], machine: Mapping[str, Any]) -> None:
    check(study, machine)


@pytest.mark.parametrize("devices", [("cpu",), ("cpu-8t",), ("gpu",), ("gpu-2g",), ("torch",)])
def test_nothing_is_refused_for_a_machine_that_is_not_known(devices: tuple[str, ...]) -> None:
    study = dataclasses.replace(STUDY, devices=devices)
    refuse_impossible(study, study.runs(), MNIST, ELSEWHERE, prepared=False)


@pytest.mark.parametrize(
    ("disks", "told"),
    [
        (
            apart(runs_mib=1.5, data_mib=1000, records_mib=1000),
            "for results/runs/: 8 runs need about 8 MiB, found 2 MiB free; free some, or make results/ a link to a "
            "folder on another disk",
        ),
        (
            apart(runs_mib=1000, data_mib=1000, records_mib=0.1234),
            "for .snakemake/: 8 runs need about 0.16 MiB, found 0.12 MiB free; free some, or give another working "
            "folder with --directory",
        ),
    ],
    ids=["runs", "records"],
)
def test_too_little_disk_is_told_in_whole_mib_or_in_two_digits_of_one(disks: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError) as caught:
        check({}, disks)
    assert str(caught.value) == f"not enough disk space {told}"


def test_memory_that_just_suffices_is_enough() -> None:
    spec = MODELS["conv"].specify(ImageShape(28, 28, classes=2), CONV)
    check({"models": ("conv",)}, {"memory_mib": needed_memory_mib(spec, 512, MNIST)})


@pytest.mark.parametrize(
    ("devices", "machine", "count"),
    [
        (("gpu",), SERVER, 4),
        (("gpu",), dataclasses.replace(SERVER, gpu_limit=2), 2),
        (("cpu",), SERVER, 1),
        (("gpu",), ELSEWHERE, 1),
    ],
    ids=["all cards", "a limit", "none wanted", "cards that are not known"],
)
def test_as_many_gpu_runs_share_the_cores_as_there_are_cards_for(
    devices: tuple[str, ...], machine: Machine, count: int
) -> None:
    assert gpus_side_by_side(dataclasses.replace(STUDY, devices=devices), machine) == count


BARE = Machine(
    cores=1,
    gpus=cards(0),
    frameworks={"tensorflow": False, "jax": None, "torch": None},
    memory_mib=0.0,
    disks=(Disk(("results/runs", "results/dataset", ".snakemake"), free_mib=0.0),),
)
"""A machine that can train nothing."""


def test_nothing_is_held_against_the_machine_where_no_run_is_to_be_carried_out() -> None:
    study = dataclasses.replace(STUDY, devices=("cpu-8t", "gpu-2g", "torch"))
    refuse_impossible(study, (), MNIST, BARE, prepared=False)


def test_the_other_devices_of_a_study_are_not_held_against_the_machine() -> None:
    study = dataclasses.replace(STUDY, devices=("cpu", "cpu-8t", "gpu-2g", "torch"))
    able = dataclasses.replace(BARE, memory_mib=4000.0, disks=None)
    refuse_impossible(study, [Run("logistic", 128, "cpu", 1)], MNIST, able, prepared=False)


def test_a_run_that_was_asked_for_by_name_is_held_against_the_machine_though_the_study_leaves_its_device_out() -> None:
    with pytest.raises(InputError, match=r"^a run on the device 'gpu' was asked for, which needs a GPU, but none"):
        refuse_impossible(STUDY, [Run("logistic", 128, "gpu", 1)], MNIST, BARE, prepared=False)


def test_a_batch_size_that_was_asked_for_by_name_is_held_against_the_data_set() -> None:
    with pytest.raises(InputError, match="'batch_sizes' has 60000, expected at most 55000"):
        refuse_impossible(STUDY, [Run("logistic", 60_000, "cpu", 1)], MNIST, SERVER, prepared=False)


@pytest.mark.parametrize(
    ("run", "told"),
    [
        (
            Run("resnet", 128, "cpu", 1),
            "the model 'resnet' is not described in model_settings, which has conv, logistic",
        ),
        (Run("conv", 128, "cpus", 1), "the device 'cpus' is not described in device_settings, which has cpu, cpu-8t,"),
    ],
)
def test_what_was_asked_for_by_name_and_is_not_described_is_refused(run: Run, told: str) -> None:
    with pytest.raises(InputError, match=told):
        refuse_impossible(STUDY, [run], MNIST, SERVER, prepared=False)


def test_memory_is_that_of_the_runs_to_be_carried_out() -> None:
    machine = dataclasses.replace(SERVER, memory_mib=300.0)
    refuse_impossible(STUDY, [Run("conv", 128, "cpu", 1)], MNIST, machine, prepared=False)


def test_a_data_set_that_is_prepared_takes_no_more_room() -> None:
    machine = dataclasses.replace(SERVER, **one_disk(9.0))
    refuse_impossible(STUDY, STUDY.runs(), MNIST, machine, prepared=True)


def test_no_core_at_all_is_refused() -> None:
    with pytest.raises(InputError, match=r"--cores is 0, but a run needs at least 1; give --cores all"):
        refuse_no_core(dataclasses.replace(SERVER, cores=0))


@pytest.mark.parametrize("cores", [None, 1])
def test_a_core_or_an_unknown_number_of_cores_is_not_refused(cores: int | None) -> None:
    refuse_no_core(dataclasses.replace(SERVER, cores=cores))


def test_too_few_images_are_refused_whatever_the_machine() -> None:
    with pytest.raises(InputError, match="'batch_sizes' has 512, expected at most 100"):
        refuse_contradictions(STUDY, STUDY.runs(), dataclasses.replace(MNIST, train_samples=5100))


def test_batches_that_gpus_cannot_share_are_refused_whatever_the_machine() -> None:
    study = dataclasses.replace(STUDY, devices=("gpu-3g",))
    with pytest.raises(InputError, match="'batch_sizes' has 128"):
        refuse_contradictions(study, study.runs(), MNIST)


def test_memory_counts_images_activations_and_three_values_a_parameter() -> None:
    spec = MODELS["logistic"].specify(ImageShape(28, 28, 10), {"learning_rate": 0.05})
    values = 70_000 * 784 + 512 * 10 + 3 * 7840
    assert needed_memory_mib(spec, 512, MNIST) == pytest.approx(values * 4 / 2**20)


BROKEN = Visible((), "NVML: Driver/library version mismatch", ("NVIDIA's driver is there, but cannot be asked",))


@pytest.mark.parametrize(
    ("devices", "gpus", "is_auto", "part"),
    [
        pytest.param(
            ("cpu",),
            BROKEN,
            True,
            "cannot be asked; so 'devices: auto' measures the CPU alone",
            id="a driver out of order, of which auto makes a CPU study",
        ),
        pytest.param(("cpu",), BROKEN, False, None, id="a driver out of order, and no GPU wanted"),
        pytest.param(("cpu",), Visible((), "NVML: NVML Shared Library Not Found"), True, None, id="no driver at all"),
        pytest.param(("gpu",), cards(1, "TITAN X"), False, "gpu takes NVIDIA H200", id="two kinds, none asked for"),
        pytest.param(("titan",), cards(1, "TITAN X"), False, None, id="two kinds, one asked for"),
        pytest.param(("cpu",), cards(1, "TITAN X"), False, None, id="two kinds, and no GPU wanted"),
        pytest.param(("gpu",), cards(4), False, None, id="one kind"),
    ],
)
def test_what_should_be_known_of_the_gpus_is_told_where_the_study_would_use_them(
    devices: tuple[str, ...], gpus: Visible, part: str | None, *, is_auto: bool
) -> None:
    study, machine = dataclasses.replace(STUDY, devices=devices), dataclasses.replace(SERVER, gpus=gpus)
    told = gpu_warning(study, machine, is_auto=is_auto)
    assert told is None if part is None else part in str(told)


PATIENCE = {"gpu_wait_seconds": 0, "no_progress_seconds": 1}


def test_a_run_may_wait_for_no_gpu_and_for_a_second_without_progress() -> None:
    refuse_impatience(PATIENCE)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("no_progress_seconds", 0, "is 0, expected whole seconds, at least 1"),
        ("no_progress_seconds", "1h", "is '1h', expected whole seconds"),
        ("gpu_wait_seconds", -1, "is -1, expected whole seconds, at least 0"),
    ],
)
def test_a_patience_with_which_no_run_could_be_carried_out_is_refused(name: str, value: object, words: str) -> None:
    with pytest.raises(InputError, match=f"'{name}' of rule train {words}"):
        refuse_impatience({**PATIENCE, name: value})
