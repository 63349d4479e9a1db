"""Runs get the cores that this process may keep busy, however many Snakemake was told to hand out."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from waiting_runs import have_runs_wait, most_at_once, waited

SIX_RUNS = ("--cores", "32", "--until", "train", "--config", "repeats=1")


@pytest.fixture
def waiting(new_checkout):
    return have_runs_wait(new_checkout())


def test_runs_take_turns_on_the_one_core_that_affinity_leaves(waiting):
    core = min(os.sched_getaffinity(0))
    run = waiting.study(*SIX_RUNS, beginning=("taskset", "-c", str(core)))
    assert run.returncode == 0, run.stderr
    runs = waited(waiting)
    assert len(runs) == 6
    assert ({run["cores"] for run in runs}, most_at_once(runs)) == ({1}, 1)


@pytest.fixture
def quota() -> Iterator[Path]:
    """A control group with CPU time for one core and a half."""
    usable = len(os.sched_getaffinity(0))
    if usable < 2:
        pytest.skip("takes two cores, of which a quota leaves one")
    mount = Path("/sys/fs/cgroup")
    unified = (mount / "cgroup.controllers").exists()
    group = (mount if unified else mount / "cpu") / f"trainbench-test-{os.getpid()}"
    try:
        if unified:
            (mount / "cgroup.subtree_control").write_text("+cpu")
        group.mkdir()
        if unified:
            (group / "cpu.max").write_text("150000 100000")
        else:
            (group / "cpu.cfs_quota_us").write_text("150000")
    except OSError as error:
        with suppress(OSError):
            group.rmdir()
        pytest.skip(f"takes the right to make control groups: {error}")
    yield group
    group.rmdir()


def within(group: Path) -> tuple[str, ...]:
    return ("sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh")


def test_runs_take_turns_on_the_whole_cores_of_a_quota(waiting, quota):
    run = waiting.study(*SIX_RUNS, beginning=within(quota))
    assert run.returncode == 0, run.stderr
    runs = waited(waiting)
    assert ({run["cores"] for run in runs}, most_at_once(runs)) == ({1}, 1)
