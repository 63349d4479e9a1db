"""Limits are read from control groups of either version, written under tmp_path as the kernel shows them."""

from pathlib import Path

import pytest

from recorded_machine import write, write_cgroup_v1, write_cgroup_v2
from trainbench.machine import control_groups, host

GIB_IN_MIB = 1024


def quota_cores(root: Path) -> float | None:
    return host.inventory(root).cgroup_cpu_quota_cores


def memory_limit_mib(root: Path) -> float | None:
    return host.inventory(root).cgroup_memory_limit_mib


def test_a_v2_quota_is_given_in_cores(tmp_path):
    write_cgroup_v2(tmp_path, "/job")
    write(tmp_path, "sys/fs/cgroup/job/cpu.max", "250000 100000")
    assert quota_cores(tmp_path) == 2.5


def test_the_smallest_v2_quota_above_the_process_counts(tmp_path):
    write_cgroup_v2(tmp_path, "/slurm/job/step")
    write(tmp_path, "sys/fs/cgroup/slurm/cpu.max", "1600000 100000")
    write(tmp_path, "sys/fs/cgroup/slurm/job/cpu.max", "400000 100000")
    write(tmp_path, "sys/fs/cgroup/slurm/job/step/cpu.max", "max 100000")
    assert quota_cores(tmp_path) == 4.0


def test_the_smallest_quota_is_told_with_the_group_that_shares_it(tmp_path):
    write_cgroup_v2(tmp_path, "/pod/container")
    write(tmp_path, "sys/fs/cgroup/pod/cpu.max", "100000 100000")
    write(tmp_path, "sys/fs/cgroup/pod/container/cpu.max", "200000 100000")
    assert control_groups.cpu_quota(tmp_path) == control_groups.CpuQuota(1.0, tmp_path / "sys/fs/cgroup/pod")


@pytest.mark.parametrize("own", ["/", "/../other"], ids=["in_it", "outside_of_it"])
def test_in_a_cgroup_namespace_the_quota_stands_at_the_mount_point(tmp_path, own):
    write_cgroup_v2(tmp_path, own)
    write(tmp_path, "sys/fs/cgroup/cpu.max", "300000 100000")
    assert quota_cores(tmp_path) == 3.0


def test_a_v1_quota_is_given_in_cores(tmp_path):
    write_cgroup_v1(tmp_path, "/job")
    write(tmp_path, "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us", "150000")
    write(tmp_path, "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us", "100000")
    assert quota_cores(tmp_path) == 1.5


def test_a_group_inside_a_v1_container_is_found_below_what_the_container_mounts(tmp_path):
    write_cgroup_v1(tmp_path, "/docker/4f2a/job", mounted_root="/docker/4f2a")
    write(tmp_path, "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us", "200000")
    write(tmp_path, "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us", "100000")
    assert quota_cores(tmp_path) == 2.0


def test_an_unlimited_v1_quota_is_none(tmp_path):
    write_cgroup_v1(tmp_path, "/")
    write(tmp_path, "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1")
    write(tmp_path, "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000")
    assert quota_cores(tmp_path) is None


def test_an_unlimited_v2_quota_is_none(tmp_path):
    write_cgroup_v2(tmp_path, "/job")
    write(tmp_path, "sys/fs/cgroup/job/cpu.max", "max 100000")
    assert quota_cores(tmp_path) is None


def test_a_system_without_cgroups_has_no_quota(tmp_path):
    assert quota_cores(tmp_path) is None


def test_the_smallest_v2_memory_limit_above_the_process_counts(tmp_path):
    write_cgroup_v2(tmp_path, "/slurm/job")
    write(tmp_path, "sys/fs/cgroup/slurm/memory.max", str(8 * 2**30))
    write(tmp_path, "sys/fs/cgroup/slurm/job/memory.max", str(16 * 2**30))
    assert memory_limit_mib(tmp_path) == 8 * GIB_IN_MIB


def test_an_unlimited_v2_memory_limit_is_none(tmp_path):
    write_cgroup_v2(tmp_path, "/job")
    write(tmp_path, "sys/fs/cgroup/job/memory.max", "max")
    assert memory_limit_mib(tmp_path) is None


def test_a_v1_memory_limit_is_given_in_mib(tmp_path):
    write_cgroup_v1(tmp_path, "/job")
    write(tmp_path, "sys/fs/cgroup/memory/job/memory.limit_in_bytes", str(4 * 2**30))
    assert memory_limit_mib(tmp_path) == 4 * GIB_IN_MIB


@pytest.mark.parametrize("page_bytes", [4096, 65536])
def test_an_unlimited_v1_memory_limit_is_none_whatever_the_page_size(tmp_path, page_bytes):
    write_cgroup_v1(tmp_path, "/job")
    unlimited = (2**63 - 1) // page_bytes * page_bytes
    write(tmp_path, "sys/fs/cgroup/memory/job/memory.limit_in_bytes", str(unlimited))
    assert memory_limit_mib(tmp_path) is None


def test_processes_killed_for_lack_of_memory_are_those_of_the_own_v2_group(tmp_path):
    write_cgroup_v2(tmp_path, "/job")
    write(tmp_path, "sys/fs/cgroup/memory.events", "low 0\noom 9\noom_kill 9\n")
    write(tmp_path, "sys/fs/cgroup/job/memory.events", "low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 0\n")
    write(tmp_path, "proc/vmstat", "oom_kill 40\n")
    assert control_groups.oom_kills(tmp_path) == 2


def test_processes_killed_for_lack_of_memory_are_those_of_the_own_v1_group(tmp_path):
    write_cgroup_v1(tmp_path, "/job")
    write(tmp_path, "sys/fs/cgroup/memory/job/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n")
    assert control_groups.oom_kills(tmp_path) == 3


def test_without_a_group_that_counts_the_whole_machines_killed_processes_count(tmp_path):
    write(tmp_path, "proc/vmstat", "nr_free_pages 7\noom_kill 4\n")
    assert control_groups.oom_kills(tmp_path) == 4


def test_a_kernel_that_does_not_count_killed_processes_leaves_them_unknown(tmp_path):
    assert control_groups.oom_kills(tmp_path) is None
