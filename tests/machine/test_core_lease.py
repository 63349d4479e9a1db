"""Runs get cores of their own while there are enough, the best first, and share them openly where there are not."""

import os
from pathlib import Path

import pytest

from lock_holders import Start, first_line, kill, remove_all, started_programs, wait_until  # noqa: F401  # the last is a fixture
from trainbench.machine import core_lease, locks
from trainbench.machine.control_groups import CpuQuota
from trainbench.machine.core_lease import CoreLease

HOLD = """
import subprocess, sys
from pathlib import Path
from trainbench.machine import core_lease

folder, count, child, *wanted = sys.argv[1:]
quota_locks = [name for name in wanted if name.startswith("quota-")]
cores = [int(core) for core in wanted if core not in quota_locks]
with core_lease.leased(int(count), cores, Path(folder), quota_locks or None) as lease:
    if child == "inherits":
        subprocess.Popen(["cat"], pass_fds=lease.descriptors)
    print(*lease.cores, "shared", *lease.shared, flush=True)
    sys.stdin.read()
"""
"""Holds cores, and CPU time where locks of a quota are named, alone or with a child, until its input is closed."""

TAKE_TURNS = """
import fcntl, sys, time
from pathlib import Path
from trainbench.machine import core_lease

folder, turns, *wanted = sys.argv[1:]
witnesses = {int(core): Path(folder, f"{core}.witness").open("w") for core in wanted}
for _ in range(int(turns)):
    with core_lease.leased(2, [int(core) for core in wanted], Path(folder)) as lease:
        own = set(lease.cores) - set(lease.shared)
        for core in own:
            fcntl.lockf(witnesses[core], fcntl.LOCK_EX | fcntl.LOCK_NB)
        time.sleep(0.01)
        for core in own:
            fcntl.lockf(witnesses[core], fcntl.LOCK_UN)
"""
"""Holds two cores again and again; fails when it meets another holder on one that it thinks its own."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def machine(tmp_path: Path, *physical_cores: str) -> Path:
    """Write a topology tree; `physical_cores` are lists of logical CPUs as the kernel writes them."""
    for siblings in physical_cores:
        numbers = siblings.replace("-", ",").split(",")
        for number in numbers:
            topology = tmp_path / f"sys/devices/system/cpu/cpu{number}/topology"
            topology.mkdir(parents=True)
            (topology / "thread_siblings_list").write_text(f"{siblings}\n", encoding="ascii")
    return tmp_path


def is_free(core: int, folder: Path) -> bool:
    descriptor = locks.try_lock_in(folder, f"core-{core}.lock")
    if descriptor is not None:
        os.close(descriptor)
    return descriptor is not None


# --- which cores first ---


def test_one_thread_of_each_physical_core_comes_before_its_sibling(tmp_path: Path) -> None:
    root = machine(tmp_path, "0-1", "2-3")
    assert core_lease.preferred({0, 1, 2, 3}, None, root) == (0, 2, 1, 3)


def test_siblings_are_also_known_where_the_kernel_lists_them_with_a_comma(tmp_path: Path) -> None:
    root = machine(tmp_path, "0,2", "1,3")
    assert core_lease.preferred([3, 2, 1, 0], None, root) == (0, 1, 2, 3)


def test_cores_near_the_gpu_come_first_their_second_threads_too(tmp_path: Path) -> None:
    root = machine(tmp_path, "0,4", "1,5", "2,6", "3,7")
    assert core_lease.preferred(range(8), {2, 3, 6, 7}, root) == (2, 3, 6, 7, 0, 1, 4, 5)


def test_only_allowed_cores_are_wanted(tmp_path: Path) -> None:
    root = machine(tmp_path, "0,2", "1,3")
    assert core_lease.preferred({1, 3}, {0, 1}, root) == (1, 3)


def test_no_core_near_the_gpu_that_is_allowed_leaves_the_order_as_it_is(tmp_path: Path) -> None:
    root = machine(tmp_path, "0-1", "2-3")
    assert core_lease.preferred({0, 1, 2, 3}, {8, 9}, root) == (0, 2, 1, 3)


def test_without_a_topology_cores_are_wanted_in_their_order(tmp_path: Path) -> None:
    assert core_lease.preferred({3, 1, 2}, None, tmp_path) == (1, 2, 3)


def test_every_core_of_this_machine_that_may_be_used_is_wanted_once() -> None:
    allowed = os.sched_getaffinity(0)
    assert sorted(core_lease.preferred(allowed, None)) == sorted(allowed)


# --- holding them ---


def test_the_first_cores_wanted_are_taken_where_all_are_free(folder: Path) -> None:
    with core_lease.leased(2, [4, 2, 0], folder) as lease:
        assert (lease.cores, lease.shared) == ((2, 4), ())


def test_a_second_run_takes_the_next_free_cores(start: Start, folder: Path) -> None:
    assert first_line(start(HOLD, folder, 2, "none", 0, 1, 2, 3)) == "0 1 shared"
    assert first_line(start(HOLD, folder, 2, "none", 0, 1, 2, 3)) == "2 3 shared"


def test_a_free_core_is_taken_before_a_better_one_that_is_not(start: Start, folder: Path) -> None:
    assert first_line(start(HOLD, folder, 1, "none", 0)) == "0 shared"
    with core_lease.leased(1, [0, 7], folder) as lease:
        assert (lease.cores, lease.shared) == ((7,), ())


def test_a_run_that_finds_too_few_free_cores_shares_the_best_taken_ones_and_says_which(
    start: Start, folder: Path
) -> None:
    assert first_line(start(HOLD, folder, 3, "none", 0, 1, 2)) == "0 1 2 shared"
    assert first_line(start(HOLD, folder, 3, "none", 2, 1, 0, 3)) == "1 2 3 shared 1 2"


def test_a_shared_core_is_not_held(start: Start, folder: Path) -> None:
    holder = start(HOLD, folder, 1, "none", 0)
    assert first_line(holder) == "0 shared"
    with core_lease.leased(1, [0], folder) as lease:
        kill(holder)
        assert lease == CoreLease(cores=(0,), shared=(0,), core_locks={}, time_locks=())
        assert is_free(0, folder)


def test_the_run_that_has_a_core_learns_that_a_later_one_shares_it(start: Start, folder: Path) -> None:
    with core_lease.leased(2, [0, 1], folder) as lease:
        assert first_line(start(HOLD, folder, 2, "none", 1, 2)) == "1 2 shared 1"
        assert lease.shared_by_now() == (1,)


def test_a_core_that_a_later_run_leaves_alone_is_not_shared(start: Start, folder: Path) -> None:
    with core_lease.leased(1, [0, 1], folder) as lease:
        assert first_line(start(HOLD, folder, 1, "none", 0, 1)) == "1 shared"
        assert lease.shared_by_now() == ()


def test_who_shared_a_core_with_an_earlier_run_is_forgotten_by_the_next(start: Start, folder: Path) -> None:
    with core_lease.leased(1, [0], folder):
        sharer = start(HOLD, folder, 1, "none", 0)
        assert first_line(sharer) == "0 shared 0"
        kill(sharer)
    with core_lease.leased(1, [0], folder) as lease:
        assert lease.shared_by_now() == ()


def test_runs_never_meet_on_a_core_that_they_think_their_own(start: Start, folder: Path) -> None:
    processes = [start(TAKE_TURNS, folder, 8, 0, 1, 2) for _ in range(3)]
    errors = [process.communicate(timeout=20)[1] for process in processes]
    assert errors == ["", "", ""]


def test_a_lease_ends_with_its_block(folder: Path) -> None:
    with core_lease.leased(2, [0, 1], folder):
        pass
    assert [is_free(core, folder) for core in (0, 1)] == [True, True]


def test_a_lease_ends_with_an_error_in_its_block(folder: Path) -> None:
    with pytest.raises(ZeroDivisionError), core_lease.leased(1, [0], folder):
        raise ZeroDivisionError
    assert is_free(0, folder)


def test_a_killed_run_holds_no_core(start: Start, folder: Path) -> None:
    holder = start(HOLD, folder, 2, "none", 0, 1)
    assert first_line(holder) == "0 1 shared"
    kill(holder)
    assert [is_free(core, folder) for core in (0, 1)] == [True, True]


def test_a_child_that_inherited_all_cores_holds_them_after_its_parent_was_killed(start: Start, folder: Path) -> None:
    holder = start(HOLD, folder, 2, "inherits", 0, 1)
    assert first_line(holder) == "0 1 shared"
    kill(holder)
    assert [is_free(core, folder) for core in (0, 1)] == [False, False]


def test_leased_cores_stay_leased_where_a_cleaner_removes_their_locks(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "_LOOK_AGAIN_SECONDS", 0.01)
    with core_lease.leased(2, [0, 1], folder):
        remove_all(folder)
        wait_until(lambda: not is_free(0, folder) and not is_free(1, folder))
    assert [is_free(core, folder) for core in (0, 1)] == [True, True]


# --- a quota on CPU time ---


@pytest.mark.parametrize(("cores", "names"), [(0.5, 1), (1.0, 1), (1.5, 1), (2.0, 2)])
def test_a_quota_has_a_lock_for_each_whole_core_and_one_at_least(cores: float, names: int, tmp_path: Path) -> None:
    assert len(set(core_lease.quota_locks(CpuQuota(cores, tmp_path)) or ())) == names


def test_no_quota_has_no_locks() -> None:
    assert core_lease.quota_locks(None) is None


def test_a_quota_has_the_same_locks_under_whatever_path_its_group_is_seen(tmp_path: Path) -> None:
    (tmp_path / "group").mkdir()
    (tmp_path / "elsewhere").symlink_to("group")
    inside, outside = (core_lease.quota_locks(CpuQuota(2.0, tmp_path / name)) for name in ("elsewhere", "group"))
    assert inside == outside


def test_the_quotas_of_two_groups_have_no_lock_in_common(tmp_path: Path) -> None:
    quotas = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        quotas.append(CpuQuota(2.0, tmp_path / name))
    one, other = map(core_lease.quota_locks, quotas)
    assert set(one or ()).isdisjoint(other or ())


def test_a_run_on_a_core_of_its_own_says_so_where_another_has_the_time_of_the_quota(start: Start, folder: Path) -> None:
    assert first_line(start(HOLD, folder, 1, "none", 0, 1, "quota-7-0.lock")) == "0 shared"
    assert first_line(start(HOLD, folder, 1, "none", 0, 1, "quota-7-0.lock")) == "1 shared 1"


def test_the_run_that_has_the_time_of_the_quota_learns_that_a_later_one_shares_it(start: Start, folder: Path) -> None:
    with core_lease.leased(1, [0, 1], folder, ["quota-7-0.lock"]) as lease:
        assert first_line(start(HOLD, folder, 1, "none", 0, 1, "quota-7-0.lock")) == "1 shared 1"
        assert lease.shared_by_now() == (0,)


def test_every_run_that_has_time_of_the_quota_learns_of_one_that_has_none(start: Start, folder: Path) -> None:
    quota = ["quota-7-0.lock", "quota-7-1.lock"]
    with (
        core_lease.leased(1, [0, 1, 2], folder, quota) as first,
        core_lease.leased(1, [0, 1, 2], folder, quota) as second,
    ):
        assert first_line(start(HOLD, folder, 1, "none", 0, 1, 2, *quota)) == "2 shared 2"
        assert (first.shared_by_now(), second.shared_by_now()) == ((0,), (1,))


def test_runs_within_the_quota_share_nothing(start: Start, folder: Path) -> None:
    quota = ["quota-7-0.lock", "quota-7-1.lock"]
    assert first_line(start(HOLD, folder, 1, "none", 0, 1, 2, *quota)) == "0 shared"
    assert first_line(start(HOLD, folder, 1, "none", 0, 1, 2, *quota)) == "1 shared"


def test_as_many_cores_are_shared_as_there_is_no_time_for(start: Start, folder: Path) -> None:
    quota = ["quota-7-0.lock", "quota-7-1.lock"]
    assert first_line(start(HOLD, folder, 1, "none", 0, 1, 2, *quota)) == "0 shared"
    assert first_line(start(HOLD, folder, 2, "none", 0, 1, 2, *quota)) == "1 2 shared 1"


def test_a_core_that_another_holds_is_shared_once_with_its_time(start: Start, folder: Path) -> None:
    quota = ["quota-7-0.lock", "quota-7-1.lock"]
    assert first_line(start(HOLD, folder, 1, "none", 0, *quota)) == "0 shared"
    assert first_line(start(HOLD, folder, 2, "none", 0, 1, *quota)) == "0 1 shared 0"


def test_a_killed_run_holds_no_time_but_its_child_does(start: Start, folder: Path) -> None:
    holder = start(HOLD, folder, 1, "inherits", 0, "quota-7-0.lock")
    assert first_line(holder) == "0 shared"
    kill(holder)
    with core_lease.leased(1, [1], folder, ["quota-7-0.lock"]) as lease:
        assert lease.shared == (1,)
