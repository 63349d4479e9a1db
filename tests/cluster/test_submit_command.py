"""A small study through profiles/cluster-generic, whose scripts run jobs in the background of this machine."""

import json
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from trainbench.machine import host
from waiting_runs import have_runs_wait, most_at_once, waited

REPOSITORY = Path(__file__).resolve().parents[2]

STUDY = """
models: [logistic]
batch_sizes: [16, 32]
devices: [cpu]
repeats: 1
dataset: {path: data, validation_samples: 40}
model_settings: {logistic: {epochs: 2}}
"""
PROFILE = (
    *("--configfile", "study.yaml", "--profile", "profiles/cluster-generic"),
    *("--seconds-between-status-checks", "1"),
)


@dataclass(frozen=True)
class Study:
    folder: Path
    code: int
    output: str


@pytest.fixture(scope="module")
def study(new_checkout) -> Study:
    """Submitted by a call that may keep one core busy itself."""
    checkout = new_checkout(STUDY)
    run = checkout.snakemake(*PROFILE, "results/tables/comparison.md", "--cores", "1")
    return Study(checkout.folder, run.returncode, run.stderr)


def metrics(study: Study) -> list[dict[str, Any]]:
    files = sorted(study.folder.glob("results/runs/logistic/*/cpu/1/metrics.json"))
    return [json.loads(file.read_text(encoding="utf-8")) for file in files]


def test_a_study_completes_through_submit_status_and_cancel_commands(study):
    assert study.code == 0, study.output
    assert (study.folder / "results/tables/comparison.md").exists()


def test_every_run_is_a_job_of_the_submit_command(study):
    jobs = [file.read_text() for file in study.folder.glob(".snakemake/background_jobs/*/exit_code")]
    assert jobs == ["0\n", "0\n"]


def test_runs_that_want_the_machine_to_themselves_follow_one_another(study):
    assert [found["device_used"]["shared_cores"] for found in metrics(study)] == [[], []]


def test_a_run_trains_with_all_cores_of_its_node_whatever_cores_the_call_had_that_submitted_it(study):
    usable = host.inventory().usable_threads
    assert [found["device_used"]["cores_given"] for found in metrics(study)] == [usable, usable]


def test_what_runs_ask_for_is_not_cut_to_the_cores_of_the_call_that_submits_them(new_checkout):
    config = ("isolation=none", "devices=[cpu-8t]", "device_settings={cpu-8t: {kind: cpu, threads: 8}}")
    run = new_checkout(STUDY).snakemake("--dry-run", *PROFILE, "--cores", "1", "--config", *config)
    assert run.returncode == 0, run.stderr
    assert (run.stdout + run.stderr).splitlines().count("    threads: 8") == 2


def test_runs_in_one_job_take_turns_on_all_cores_of_the_node(new_checkout):
    checkout = have_runs_wait(new_checkout(STUDY))
    grouped = ("--groups", "train=both", "--group-components", "both=2")
    run = checkout.snakemake("--until", "train", *PROFILE, "--cores", "32", *grouped)
    assert run.returncode == 0, run.stderr
    assert len(list(checkout.folder.glob(".snakemake/background_jobs/*/exit_code"))) == 1
    runs = waited(checkout)
    assert ({run["cores"] for run in runs}, most_at_once(runs)) == ({host.inventory().usable_threads}, 1)


def test_devices_have_to_be_named_where_runs_are_submitted(new_checkout):
    run = new_checkout(STUDY).snakemake(*PROFILE, "--config", "devices=auto")
    assert run.returncode != 0
    assert "trainbench: config key 'devices' is 'auto', but runs are submitted to other machines" in run.stderr


@dataclass(frozen=True)
class Scripts:
    """The three scripts of the profile, in a folder of their own."""

    folder: Path

    def call(self, name: str, *arguments: str) -> str:
        script = REPOSITORY / "profiles/cluster-generic" / name
        done = subprocess.run([script, *arguments], cwd=self.folder, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def submit(self, commands: str, whole_node: str = "0") -> str:
        jobscript = self.folder / "job.sh"
        jobscript.write_text(commands, encoding="utf-8")
        return self.call("submit.sh", "1", "0", whole_node, str(jobscript))

    def state_after(self, job: str, state: str) -> str:
        """The state that follows `state`, or `state` if that takes too long."""
        until = time.monotonic() + 20
        while (found := self.call("status.sh", job)) == state and time.monotonic() < until:
            time.sleep(0.05)
        return found


@pytest.fixture
def scripts(tmp_path):
    return Scripts(tmp_path)


def has_ended(process_id: int) -> bool:
    """Whether a process is gone within 20 s, or is only left for its parent to take note of."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(process_id)
        psutil.wait_procs([process], timeout=20)
        return process.status() == psutil.STATUS_ZOMBIE
    return True


@pytest.mark.parametrize(("commands", "state"), [("exit 0", "success"), ("exit 3", "failed")])
def test_a_job_that_ended_has_the_state_of_its_exit_code(scripts, commands, state):
    assert scripts.state_after(scripts.submit(commands), "running") == state


def test_a_job_of_several_runs_that_want_the_node_to_themselves_has_it_to_itself(scripts):
    jobs = [scripts.submit("echo begin >> order; sleep 0.5; echo end >> order", whole_node="2")]
    jobs.append(scripts.call("submit.sh", "1", "0", "2", str(scripts.folder / "job.sh")))
    assert [scripts.state_after(job, "running") for job in jobs] == ["success", "success"]
    assert (scripts.folder / "order").read_text().split() == ["begin", "end", "begin", "end"]


def test_a_cancelled_job_ends_with_all_its_processes_and_counts_as_failed(scripts):
    job = scripts.submit("sleep 300 & echo $! > child; wait")
    child = scripts.folder / "child"
    while not (child.exists() and child.read_text().endswith("\n")):
        time.sleep(0.05)
    scripts.call("cancel.sh", job)
    assert scripts.state_after(job, "running") == "failed"
    assert has_ended(int(child.read_text()))
