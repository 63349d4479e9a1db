"""The host is read from recorded machines written under tmp_path, and from this one."""

import dataclasses
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterable
from pathlib import Path

import psutil
import pytest

from recorded_machine import write, write_cgroup_v1, write_cgroup_v2
from trainbench.machine import host

XEON = "Intel(R) Xeon(R) Gold 6338 CPU @ 2.00GHz"


def span(numbers: Iterable[int]) -> str:
    return ",".join(map(str, numbers))


def write_two_socket_server(root: Path, online: Iterable[int] = range(128)) -> None:
    """Write 2 sockets x 32 cores x 2 threads; thread n + 64 is the second one of thread n's core."""
    online = list(online)
    blocks = []
    for cpu in online:
        core, socket_number = cpu % 64, cpu % 64 // 32
        siblings = [number for number in (core, core + 64) if number in online]
        package = [number for number in online if number % 64 // 32 == socket_number]
        blocks.append(
            f"processor\t: {cpu}\nvendor_id\t: GenuineIntel\nmodel\t\t: 106\nmodel name\t: {XEON}\n"
            f"physical id\t: {socket_number}\ncore id\t\t: {core % 32}\nflags\t\t: fpu vme de\n"
        )
        directory = f"sys/devices/system/cpu/cpu{cpu}"
        write(root, f"{directory}/topology/physical_package_id", str(socket_number))
        write(root, f"{directory}/topology/core_cpus_list", span(siblings))
        write(root, f"{directory}/cpufreq/cpuinfo_max_freq", "3200000")
        for index, (level, kind, size, shared) in enumerate(
            [
                (1, "Data", "48K", siblings),
                (1, "Instruction", "32K", siblings),
                (3, "Unified", "49152K", package),
            ]
        ):
            write(root, f"{directory}/cache/index{index}/level", str(level))
            write(root, f"{directory}/cache/index{index}/type", kind)
            write(root, f"{directory}/cache/index{index}/size", size)
            write(root, f"{directory}/cache/index{index}/shared_cpu_list", span(shared))
    write(root, "proc/cpuinfo", "\n".join(blocks))
    write(root, "sys/devices/system/cpu/online", span(online))
    write(root, "sys/devices/system/node/has_cpu", "0-1")


def write_arm_cpuinfo(root: Path, cores: list[tuple[str, str]]) -> None:
    blocks = (
        f"processor\t: {number}\nBogoMIPS\t: 243.75\nCPU implementer\t: {implementer}\n"
        f"CPU architecture: 8\nCPU variant\t: 0x3\nCPU part\t: {part}\nCPU revision\t: 1\n"
        for number, (implementer, part) in enumerate(cores)
    )
    write(root, "proc/cpuinfo", "\n".join(blocks))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    root = tmp_path_factory.mktemp("server")
    write_two_socket_server(root)
    return root


def test_a_server_of_two_sockets_is_counted_in_sockets_cores_and_threads(server):
    cpu = host.read_cpu(server)
    assert (cpu.model, cpu.sockets, cpu.cores, cpu.threads, cpu.numa_nodes) == (XEON, 2, 64, 128, 2)


def test_caches_are_counted_once_however_many_cpus_share_them(server):
    assert host.read_cpu(server).caches == (
        host.Cache(1, "data", 48, 64),
        host.Cache(1, "instruction", 32, 64),
        host.Cache(3, "unified", 49152, 2),
    )


@pytest.mark.parametrize(
    ("cpus", "caches"), [((0,), 1), ((0, 1, 64), 1), ((0, 32), 2)], ids=["one", "of one socket", "of both sockets"]
)
def test_the_last_caches_are_those_that_the_given_cpus_use(server, cpus, caches):
    assert host.last_level_cache_bytes(cpus, server) == caches * 48 * 2**20


def test_caches_that_the_kernel_does_not_tell_of_are_unknown(tmp_path):
    assert host.last_level_cache_bytes([0], tmp_path) is None


def test_the_highest_clock_is_given_in_mhz(server):
    assert host.read_cpu(server).max_mhz == 3200.0


def test_only_online_cpus_count(tmp_path):
    write_two_socket_server(tmp_path, online=[0, 1, 32, 64])
    cpu = host.read_cpu(tmp_path)
    assert (cpu.sockets, cpu.cores, cpu.threads) == (2, 3, 4)


def test_cores_are_counted_from_the_older_file_where_the_newer_is_missing(tmp_path):
    write(tmp_path, "sys/devices/system/cpu/online", "0-3")
    for cpu, siblings in enumerate(["0-1", "0-1", "2-3", "2-3"]):
        write(tmp_path, f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list", siblings)
    assert host.read_cpu(tmp_path).cores == 2


def test_a_machine_that_cannot_be_read_is_unknown_but_for_its_threads(tmp_path):
    cpu = host.read_cpu(tmp_path)
    assert dataclasses.replace(cpu, architecture="", threads=0) == host.Cpu(None, "", None, None, 0, None, None, None)


def test_threads_are_counted_in_cpuinfo_where_the_kernel_lists_no_online_cpus(tmp_path):
    write_arm_cpuinfo(tmp_path, [("0x41", "0xd0c")] * 80)
    assert host.read_cpu(tmp_path).threads == 80


@pytest.mark.parametrize(
    ("cores", "model"),
    [
        ([("0x41", "0xd0c")] * 4, "Neoverse-N1"),
        ([("0x41", "0xd85"), ("0x41", "0xd85"), ("0x41", "0xd87")], "Cortex-X925 + Cortex-A725"),
        ([("0x41", "0xfff")], "ARM 0x41 0xfff"),
    ],
    ids=["one_kind", "two_kinds", "not_in_the_table"],
)
def test_arm_cores_are_named_by_implementer_and_part(tmp_path, cores, model):
    write_arm_cpuinfo(tmp_path, cores)
    assert host.read_cpu(tmp_path).model == model


def test_available_memory_is_what_the_limit_leaves_with_cached_files_counted_as_free(tmp_path):
    write_cgroup_v2(tmp_path, "/job")
    write(tmp_path, "sys/fs/cgroup/job/memory.max", str(100 * 2**20))
    write(tmp_path, "sys/fs/cgroup/job/memory.current", str(80 * 2**20))
    write(tmp_path, "sys/fs/cgroup/job/memory.stat", f"anon {50 * 2**20}\ninactive_file {30 * 2**20}")
    assert host.available_memory_mib(tmp_path) == 50.0


def test_available_memory_is_never_negative(tmp_path):
    write_cgroup_v1(tmp_path, "/job")
    write(tmp_path, "sys/fs/cgroup/memory/job/memory.limit_in_bytes", str(100 * 2**20))
    write(tmp_path, "sys/fs/cgroup/memory/job/memory.usage_in_bytes", str(101 * 2**20))
    assert host.available_memory_mib(tmp_path) == 0.0


def test_without_a_limit_the_available_memory_is_the_machines(tmp_path):
    expected_mib = psutil.virtual_memory().available / 2**20
    assert host.available_memory_mib(tmp_path) == pytest.approx(expected_mib, rel=0.2)


@pytest.mark.parametrize(("allowed", "quota_cores", "usable"), [(8, None, 8), (8, 2.9, 2), (8, 0.5, 1), (2, 16.0, 2)])
def test_usable_threads_are_the_whole_cores_of_the_quota_within_the_affinity(allowed, quota_cores, usable):
    assert host.usable_threads(allowed, quota_cores) == usable


@pytest.mark.parametrize(
    ("model", "slug"),
    [
        ("Intel(R) Xeon(R) Gold 6338 CPU @ 2.00GHz", "intel-xeon-gold-6338"),
        ("12th Gen Intel(R) Core(TM) i7-12700K", "intel-core-i7-12700k"),
        ("AMD EPYC 7742 64-Core Processor", "amd-epyc-7742"),
        ("AMD Ryzen 7 7840U w/ Radeon 780M Graphics", "amd-ryzen-7-7840u"),
        ("AMD Ryzen Threadripper PRO 5995WX 64-Cores", "amd-ryzen-threadripper"),
        ("Cortex-X925 + Cortex-A725", "cortex-x925-cortex-a725"),
        ("(R)", "cpu"),
    ],
)
def test_a_slug_keeps_what_tells_cpus_apart(model, slug):
    assert host.model_slug(model) == slug


def test_the_id_is_readable_and_does_not_change_between_versions_of_this_program(server):
    cpu = dataclasses.replace(host.read_cpu(server), architecture="x86_64")
    assert host.host_id(cpu, memory_mib=257_812.5) == "intel-xeon-gold-6338-128t-3720bfe3"


def test_the_id_depends_on_the_cpu_model_even_where_the_slug_does_not(server):
    cpu = host.read_cpu(server)
    faster = dataclasses.replace(cpu, model=XEON.replace("2.00", "2.10"))
    assert host.host_id(cpu, 1024.0) != host.host_id(faster, 1024.0)


def test_the_id_ignores_memory_that_the_kernel_kept_for_itself(server):
    cpu = host.read_cpu(server)
    assert host.host_id(cpu, 64_200.0) == host.host_id(cpu, 64_150.0)


def test_the_id_ignores_what_virtual_machines_report_unreliably(server):
    cpu = host.read_cpu(server)
    assert host.host_id(dataclasses.replace(cpu, max_mhz=None, caches=None), 1024.0) == host.host_id(cpu, 1024.0)


def test_the_id_is_the_same_in_a_container_with_another_name_and_fewer_cpus(monkeypatch):
    outside = host.inventory().id
    allowed = os.sched_getaffinity(0)
    name = host.platform.uname()._replace(node="4f2a9c")
    monkeypatch.setattr(host.platform, "uname", lambda: name)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        inside = host.inventory()
    finally:
        os.sched_setaffinity(0, allowed)
    assert (inside.hostname, inside.usable_threads, inside.id) == ("4f2a9c", 1, outside)


def test_this_machine_has_the_memory_and_threads_that_psutil_sees():
    found = host.inventory()
    assert (found.memory_mib, found.cpu.threads) == (
        psutil.virtual_memory().total / 2**20,
        psutil.cpu_count(),
    )


def test_this_machine_has_the_name_that_the_system_gives_it():
    assert host.inventory().hostname == socket.gethostname()


@pytest.mark.skipif(shutil.which("lscpu") is None, reason="lscpu is not installed")
def test_this_machine_has_the_topology_that_lscpu_sees():
    printed = subprocess.run(
        ["lscpu", "--parse=CPU,CORE,SOCKET,NODE"], capture_output=True, text=True, check=True
    ).stdout
    rows = [line.split(",") for line in printed.splitlines() if not line.startswith("#")]
    threads, cores, sockets, nodes = (len(set(column) - {""}) for column in zip(*rows, strict=True))
    cpu = host.read_cpu()
    assert (cpu.threads, cpu.cores, cpu.sockets, cpu.numa_nodes or 0) == (threads, cores, sockets, nodes)


@pytest.mark.skipif(shutil.which("lscpu") is None, reason="lscpu is not installed")
def test_this_machine_has_the_cpu_model_that_lscpu_sees():
    printed = subprocess.run(
        ["lscpu", "-J"], capture_output=True, text=True, check=True, env={**os.environ, "LC_ALL": "C"}
    ).stdout
    entries = json.loads(printed)["lscpu"]
    for entry in entries:
        entries.extend(entry.get("children", []))
    models = [entry["data"] for entry in entries if entry["field"] == "Model name:"]
    assert host.read_cpu().model == " + ".join(dict.fromkeys(models))


def test_the_metrics_file_gets_every_field_it_documents():
    found = json.loads(json.dumps(dataclasses.asdict(host.inventory())))
    assert (list(found), list(found["cpu"])) == (
        [
            *("id", "hostname", "system", "kernel", "cpu", "memory_mib", "cgroup_cpu_quota_cores"),
            *("cgroup_memory_limit_mib", "usable_threads", "gpu_driver_version", "gpus"),
        ],
        ["model", "architecture", "sockets", "cores", "threads", "numa_nodes", "max_mhz", "caches"],
    )
