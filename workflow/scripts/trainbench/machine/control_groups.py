"""Reads what the control groups above this process allow it, and what the kernel did to keep them to it.

Both versions are read; where they are mixed, a controller is in one of them (cgroups(7)). Functions take the root of
the tree, so that a recorded machine can be read like this one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from trainbench.machine.kernel_files import number, text

# cgroup v1 writes "no limit" as the largest signed 64-bit number, rounded down to a page.
NO_MEMORY_LIMIT_BYTES: Final = 2**62


@dataclass(frozen=True)
class CpuQuota:
    """CPU time, in cores, that all processes in the control group whose directory is `group` have together."""

    cores: float
    group: Path


def cpu_quota(root: Path = Path("/")) -> CpuQuota | None:
    """The smallest CPU quota above this process, and whose it is; None where nothing limits it."""
    # A child's quota may exceed its parent's, and the parent's still holds: so every level counts.
    quotas = (CpuQuota(cores, group) for group in _groups(root, "cpu") if (cores := _quota_cores(group)) is not None)
    return min(quotas, key=lambda quota: quota.cores, default=None)


def _quota_cores(group: Path) -> float | None:
    version_2 = (text(group / "cpu.max") or "").split()
    if version_2 and version_2[0] != "max":
        return int(version_2[0]) / int(version_2[1])
    quota_us, period_us = number(group / "cpu.cfs_quota_us"), number(group / "cpu.cfs_period_us")
    # Version 1 writes "no quota" as -1.
    return quota_us / period_us if quota_us and period_us and quota_us > 0 else None


def memory_limits(root: Path) -> Iterator[tuple[int, int | None]]:
    """Limit and use in bytes of every group above this process that has a limit; the use is None where unknown."""
    for group in _groups(root, "memory"):
        for limit_file, use_file, cached_key in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            # Version 2 writes "no limit" as "max", which is no number.
            limit, use = number(group / limit_file), number(group / use_file)
            if limit is not None and limit < NO_MEMORY_LIMIT_BYTES:
                statistics = dict(line.split() for line in (text(group / "memory.stat") or "").splitlines())
                # Cached files count as used, but the kernel drops them before it refuses memory.
                yield limit, None if use is None else use - int(statistics.get(cached_key, 0))


def oom_kills(root: Path = Path("/")) -> int | None:
    """How many processes the kernel has killed so far for lack of memory, or None where it does not tell.

    Counted are those of this process' control group, whichever limit they met (kernel's
    Documentation/admin-guide/cgroup-v2.rst, memory.events); where no group counts, those of the whole machine.
    """
    counting = [group / name for group in _groups(root, "memory") for name in ("memory.events", "memory.oom_control")]
    for path in [*counting, root / "proc/vmstat"]:
        for line in (text(path) or "").splitlines():
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
    return None


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """The directories of this process' control groups, its own first, then each one above it."""
    for mount, mounted_root, controllers in _mounts(root):
        own = _own_group(root, controllers)
        if own is None or (controllers and controller not in controllers):
            continue
        # A container may see a part of the hierarchy: mounted_root is what its mount point shows. Where the
        # process is outside of that part, directories below the mount point do not exist and say nothing.
        visible = own.relative_to(mounted_root) if own.is_relative_to(mounted_root) else PurePosixPath()
        yield from (mount / part for part in (visible, *visible.parents))


def _mounts(root: Path) -> Iterator[tuple[Path, PurePosixPath, frozenset[str]]]:
    """Mount point, the group mounted there and its controllers (version 2: none).

    The format is in proc(5), /proc/pid/mountinfo.
    """
    for line in (text(root / "proc/self/mountinfo") or "").splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.partition(" ")
        if kind in ("cgroup", "cgroup2"):
            mounted_root, mount = before.split()[3:5]
            controllers = options.split()[-1].split(",") if kind == "cgroup" else ()
            yield root / mount.lstrip("/"), PurePosixPath(mounted_root), frozenset(controllers)


def _own_group(root: Path, controllers: frozenset[str]) -> PurePosixPath | None:
    """This process' group in the hierarchy that has these controllers; see cgroups(7)."""
    for line in (text(root / "proc/self/cgroup") or "").splitlines():
        _, names, path = line.split(":", maxsplit=2)
        if controllers.intersection(names.split(",")) if controllers else not names:
            return PurePosixPath(path)
    return None
