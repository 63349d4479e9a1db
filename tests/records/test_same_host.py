"""Hosts are one where CPUs are alike and memory differs by what kernels keep for themselves."""

import copy
from typing import Any

import pytest

from metrics_builder import make_record
from trainbench.machine import host
from trainbench.records.same_host import Hosts, are_one

MIB_PER_GIB = 1024


def machine(memory_gib: float, **cpu: object) -> dict[str, Any]:
    """A host as a run on such a machine records it."""
    found = copy.deepcopy(make_record()["host"])
    found["memory_mib"] = memory_gib * MIB_PER_GIB
    found["cpu"] |= cpu
    known = {part: found["cpu"][part] for part in host.Cpu.__dataclass_fields__}
    found["id"] = host.host_id(host.Cpu(**known), found["memory_mib"])
    return found


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (23.499, 23.501),  # an update of the kernel, of a machine at the edge of rounding
        (7.7, 7.2),  # 512 MiB kept for a kernel that writes down crashes
        (125.6, 121.6),  # 4 GiB, which is four edges away
    ],
)
def test_a_machine_whose_kernel_keeps_more_memory_is_one_host(before: float, after: float) -> None:
    assert machine(before)["id"] != machine(after)["id"]
    assert are_one(machine(before), machine(after))
    assert are_one(machine(after), machine(before))


@pytest.mark.parametrize(("before", "after"), [(31.2, 62.6), (14.6, 22.9), (3.8, 7.7)])
def test_a_machine_with_more_memory_built_in_is_another_host(before: float, after: float) -> None:
    assert not are_one(machine(before), machine(after))


@pytest.mark.parametrize("part", ["model", "architecture", "sockets", "cores", "threads", "numa_nodes"])
def test_a_machine_with_another_cpu_is_another_host(part: str) -> None:
    other = "another" if part in {"model", "architecture"} else 64
    assert not are_one(machine(23.499), machine(23.501, **{part: other}))


def test_what_virtual_machines_report_unreliably_makes_no_other_host() -> None:
    assert are_one(machine(23.499), machine(23.501, max_mhz=3000.0, caches=None))


def test_a_host_of_one_id_is_one_however_much_memory_it_tells() -> None:
    less, more = machine(1.51), machine(2.49)
    assert less["id"] == more["id"]
    assert are_one(less, more)


def test_hosts_that_are_one_have_the_id_that_was_met_first() -> None:
    hosts = Hosts()
    first, again, other = machine(23.501), machine(23.499), machine(62.6)
    assert [hosts.name(found) for found in (first, again, other, again)] == [
        first["id"],
        first["id"],
        other["id"],
        first["id"],
    ]
