"""A small study through profiles/slurm, on a Slurm of the test's own with pretend cards."""

import json
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import private_slurm
from private_slurm import ACCOUNT, CARD, CORES_PER_NODE, Job, PrivateSlurm

# `cards` computes on CPUs but is placed as a GPU device would be; `gpu` and `pair` find no real card, and fail.
STUDY = f"""
models: [logistic]
batch_sizes: [16, 32]
devices: [cpu, cards, gpu, pair]
repeats: 1
dataset: {{path: data, validation_samples: 40}}
model_settings: {{logistic: {{epochs: 2}}}}
device_settings:
  cpu: {{kind: cpu, resources: {{slurm_partition: cpu, slurm_account: {ACCOUNT}, runtime: 30}}}}
  cards: {{kind: cpu, threads: 1, resources: {{slurm_partition: gpu, gres: "gpu:{CARD}:1", slurm_extra: "-w gpu2"}}}}
  gpu: {{kind: gpu, resources: {{slurm_partition: gpu, gpu_model: {CARD}, cpus_per_task: 1}}}}
  pair: {{kind: gpu, gpus: 2, resources: {{slurm_partition: gpu, cpus_per_task: 1}}}}
"""
SHARING_STUDY = """
models: [logistic]
batch_sizes: [16]
devices: [cpu-1t]
isolation: none
repeats: 1
dataset: {path: data, validation_samples: 40}
model_settings: {logistic: {epochs: 2}}
device_settings: {cpu-1t: {kind: cpu, threads: 1}}
"""
# The profile as it stands, but looking after its jobs more often than a scheduler with other users would like.
PROFILE = (
    *("--configfile", "study.yaml", "--profile", "profiles/slurm"),
    *("--slurm-init-seconds-before-status-checks", "6"),
)
# Another time limit is no other setting of a run.
SECOND_CONFIG = ("devices=[cpu,cards]", "device_settings={cpu: {resources: {runtime: 45}}}")
START_SECONDS = 60.0


@contextmanager
def slurm(with_accounting: bool) -> Iterator[PrivateSlurm]:
    reason = private_slurm.missing(with_accounting)
    if reason is not None:
        pytest.skip(reason)
    with (
        tempfile.TemporaryDirectory(prefix="trainbench-slurm-") as folder,
        private_slurm.running(Path(folder), with_accounting) as running,
    ):
        yield running


def run_of(job: Job) -> str:
    """MODEL_BATCH-SIZE_DEVICE_REPEAT: the plugin keeps it in the job's comment."""
    return job.comment.removeprefix("rule_train_wildcards_")


def metrics(folder: Path, run: str) -> dict[str, Any]:
    model, batch_size, device, repeat = run.split("_")
    file = folder / "results/runs" / model / batch_size / device / repeat / "metrics.json"
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


@dataclass(frozen=True)
class Story:
    """A study in two calls: in the first a run is cancelled and those on GPUs fail, the second leaves those out."""

    folder: Path
    first_code: int
    first_output: str
    cancelled: Job
    first_jobs: dict[str, Job]
    second_code: int
    second_output: str
    second_jobs: dict[str, Job]
    accounts: dict[str, str]


@pytest.fixture(scope="module")
def story(new_checkout) -> Story:
    with slurm(with_accounting=True) as cluster:
        checkout = new_checkout(STUDY)
        with killed_at_exit(checkout.start(*PROFILE, **cluster.environment)) as first:
            cancelled = running_job(cluster, "logistic_32_cpu_1")
            cluster.run("scancel", cancelled.number)
            first_output = "".join(first.communicate(timeout=300))
        first_jobs = {run_of(job): job for job in cluster.jobs()}
        second = checkout.snakemake(*PROFILE, "--config", *SECOND_CONFIG, **cluster.environment)
        earlier = {job.number for job in first_jobs.values()}
        second_jobs = {run_of(job): job for job in cluster.jobs() if job.number not in earlier}
        listed = cluster.run("sacct", "-X", "-n", "-P", "--format=JobID,Account").split()
        return Story(
            checkout.folder, first.returncode, first_output, cancelled, first_jobs,
            second.returncode, second.stdout + second.stderr, second_jobs,
            dict(line.split("|") for line in listed),
        )  # fmt: skip


@contextmanager
def killed_at_exit(process: "subprocess.Popen[str]") -> Iterator["subprocess.Popen[str]"]:
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def running_job(cluster: PrivateSlurm, run: str) -> Job:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        for job in cluster.jobs():
            if run_of(job) == run and job.state == "RUNNING":
                return job
        time.sleep(0.2)
    raise TimeoutError(f"no job of {run} was running within {START_SECONDS:.0f} s: {cluster.jobs()}")


def test_every_run_is_a_job_of_its_own(story):
    runs = {f"logistic_{size}_{device}_1" for size in (16, 32) for device in ("cpu", "cards", "gpu", "pair")}
    assert set(story.first_jobs) == runs, story.first_output


@pytest.mark.parametrize(
    ("device", "partition", "nodes"),
    [("cpu", "cpu", {"cpu1", "cpu2"}), ("cards", "gpu", {"gpu2"}), ("gpu", "gpu", {"gpu1", "gpu2"})],
)
def test_a_run_lands_in_the_partition_and_on_the_nodes_of_its_device(story, device, partition, nodes):
    jobs = [job for run, job in story.first_jobs.items() if f"_{device}_" in run]
    assert {job.partition for job in jobs} == {partition}
    assert {job.node for job in jobs} <= nodes


def test_a_run_on_a_cpu_has_its_node_to_itself_and_all_cores_of_it(story):
    job = story.first_jobs["logistic_16_cpu_1"]
    assert (job.alone, job.cores) == (True, CORES_PER_NODE)


def test_a_run_on_a_cpu_trains_with_all_cores_of_its_node(story):
    assert metrics(story.folder, "logistic_16_cpu_1")["device_used"]["cores_given"] == CORES_PER_NODE


def test_a_run_with_fewer_threads_still_has_its_node_to_itself(story):
    job = story.first_jobs["logistic_16_cards_1"]
    assert (job.alone, metrics(story.folder, "logistic_16_cards_1")["device_used"]["threads"]["intra_op"]) == (True, 1)


def test_a_run_on_a_gpu_asks_for_one_card_of_the_model_and_for_its_cores(story):
    job = story.first_jobs["logistic_16_gpu_1"]
    assert (job.alone, job.cores) == (False, 1)
    assert "gres/gpu=1" in job.allocated


def test_a_run_on_two_gpus_gets_both_on_one_node(story):
    job = story.first_jobs["logistic_16_pair_1"]
    assert "gres/gpu=2" in job.allocated
    assert job.node in {"gpu1", "gpu2"}


def test_a_run_goes_on_the_account_of_its_device(story):
    assert story.accounts[story.first_jobs["logistic_16_cpu_1"].number] == ACCOUNT


def test_what_a_device_does_not_ask_for_comes_from_the_profile(story):
    limits = {device: story.first_jobs[f"logistic_16_{device}_1"].time_limit for device in ("cpu", "cards", "gpu")}
    assert limits == {"cpu": "30:00", "cards": "4:00:00", "gpu": "4:00:00"}


def test_a_cancelled_run_is_reported_and_ends_the_call_with_an_error(story):
    assert story.first_code != 0
    assert re.search(rf"SLURM-job '{story.cancelled.number}' failed, SLURM status is: 'CANCELLED", story.first_output)


def test_a_run_that_fails_on_its_node_leaves_its_reason_in_its_log(story):
    log = story.folder / "results/runs/logistic/16/gpu/1/train.log"
    assert "this run needs a GPU, but no card is visible to it" in log.read_text(encoding="utf-8")
    log = story.folder / "results/runs/logistic/16/pair/1/train.log"
    assert "this run needs 2 GPUs, but no card is visible to it" in log.read_text(encoding="utf-8")


def test_the_other_runs_are_not_held_up_by_failures(story):
    for run in ("logistic_16_cpu_1", "logistic_16_cards_1", "logistic_32_cards_1"):
        assert metrics(story.folder, run)["status"] == "completed"


def test_the_next_call_makes_up_for_the_cancelled_run_alone_and_ends_with_the_tables(story):
    assert story.second_code == 0, story.second_output
    assert set(story.second_jobs) == {"logistic_32_cpu_1"}
    assert (story.folder / "results/tables/comparison.md").exists()


def test_no_accounting_is_needed_and_a_run_that_shares_its_node_trains_with_its_own_cores(new_checkout):
    with slurm(with_accounting=False) as cluster:
        checkout = new_checkout(SHARING_STUDY)
        run = checkout.snakemake(*PROFILE, "results/tables/comparison.md", **cluster.environment)
        (job,) = cluster.jobs()
    assert run.returncode == 0, run.stderr
    given = metrics(checkout.folder, "logistic_16_cpu-1t_1")["device_used"]["cores_given"]
    assert (job.alone, job.cores, given) == (False, 1, 1)
