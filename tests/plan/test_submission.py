"""What a run asks of a scheduler, and which cores its job got."""

import dataclasses

import pytest

from trainbench.plan import submission
from trainbench.plan.study import Device

CPU = Device("cpu", "cpu", "all", gpus=0)
CPU_8T = Device("cpu-8t", "cpu", 8, gpus=0)
GPU = Device("gpu", "gpu", "all", gpus=1)
GPU_4T = Device("gpu-4t", "gpu", 4, gpus=1)
GPU_2G = Device("gpu-2g", "gpu", "all", gpus=2)


def with_resources(device: Device, **resources: int | str) -> Device:
    return dataclasses.replace(device, resources=resources)


@pytest.mark.parametrize(
    ("device", "isolation", "alone"),
    [
        (CPU, "device", True),
        (CPU_8T, "device", True),
        (GPU, "device", False),
        (GPU, "host", True),
        (CPU_8T, "none", False),
        (CPU, "none", True),
    ],
)
def test_a_run_asks_for_a_node_of_its_own_where_isolation_wants_the_machine_free(
    device: Device, isolation: str, alone: bool
) -> None:
    asked = submission.resources(device, isolation)
    assert (asked["whole_node"], asked.get("slurm_extra"), asked.get("lsf_extra")) == (
        (1, "--exclusive", "-x") if alone else (0, None, None)
    )


def test_a_run_with_a_node_of_its_own_names_no_number_of_cores() -> None:
    assert submission.resources(CPU_8T, "device")["cpus_per_task"] == -1


def test_a_gpu_run_with_all_threads_leaves_the_number_of_cores_to_the_site() -> None:
    assert submission.resources(GPU, "device")["cpus_per_task"] == -1


@pytest.mark.parametrize(("name", "count"), [("cpus_per_task", 8), ("cpus_per_gpu", 6)])
def test_a_number_of_cores_in_the_config_is_asked_for(name: str, count: int) -> None:
    asked = submission.resources(with_resources(GPU, **{name: count}), "device")
    assert {key: value for key, value in asked.items() if key.startswith("cpus")} == {name: count}


@pytest.mark.parametrize(
    ("device", "isolation"), [(CPU_8T, "device"), (GPU_4T, "host"), (GPU, "none"), (CPU, "none"), (CPU, "device")]
)
def test_one_core_is_asked_for_where_the_node_or_the_site_says_how_many(device: Device, isolation: str) -> None:
    assert submission.cores(device, isolation) == 1


@pytest.mark.parametrize(("device", "isolation", "count"), [(GPU_4T, "device", 4), (CPU_8T, "none", 8)])
def test_a_number_of_threads_is_asked_for_as_cores(device: Device, isolation: str, count: int) -> None:
    assert submission.cores(device, isolation) == count
    assert "cpus_per_task" not in submission.resources(device, isolation)


def test_further_options_of_a_device_join_that_for_a_node_of_its_own() -> None:
    device = with_resources(CPU, slurm_extra="--nodelist=node[1-4]")
    assert submission.resources(device, "device")["slurm_extra"] == "--exclusive --nodelist=node[1-4]"


def test_what_the_config_names_is_asked_for_as_it_stands() -> None:
    given = {"slurm_partition": "gpu", "gpu_model": "a100", "runtime": "2h"}
    asked = submission.resources(with_resources(GPU, **given), "device")
    assert {name: asked[name] for name in given} == given


def test_all_gpus_of_a_run_are_asked_for_on_one_node() -> None:
    assert submission.resources(GPU_2G, "device")["nodes"] == 1


@pytest.mark.parametrize("device", [CPU, GPU])
def test_a_run_with_one_device_names_no_number_of_nodes(device: Device) -> None:
    assert "nodes" not in submission.resources(device, "device")


@pytest.mark.parametrize(
    ("environment", "cores"),
    [
        ({}, 16),
        ({"SLURM_CPUS_ON_NODE": "8"}, 8),
        ({"SLURM_CPUS_ON_NODE": "64"}, 16),
        ({"LSB_DJOB_NUMPROC": "4"}, 4),
        ({"NSLOTS": "2", "NCPUS": "64"}, 2),
        ({"NSLOTS": "", "NCPUS": "0"}, 16),
        ({"NSLOTS": "1"}, 1),
        ({"SLURM_CPUS_ON_NODE": "many"}, 16),
    ],
)
def test_a_job_on_a_shared_node_has_as_many_cores_as_its_scheduler_says(
    environment: dict[str, str], cores: int
) -> None:
    assert submission.cores_on_node(GPU, "device", 16, environment) == cores


@pytest.mark.parametrize(("device", "isolation"), [(CPU, "device"), (GPU, "host")])
@pytest.mark.parametrize(
    ("environment", "cores"), [({"LSB_DJOB_NUMPROC": "1"}, 16), ({"SLURM_CPUS_ON_NODE": "12"}, 12)]
)
def test_a_job_with_a_node_of_its_own_has_all_cores_of_it(
    device: Device, isolation: str, environment: dict[str, str], cores: int
) -> None:
    assert submission.cores_on_node(device, isolation, 16, environment) == cores
