"""Gives a run cores of its own, apart from those of other runs on this machine.

Each core is locked as a GPU is (`locks`). Unlike a GPU, a core that is taken does not hold a run up: the run
then shares it, and says so, also to the run that has it. Where a control group allows CPU time for fewer cores than it
has, runs on different cores still take it from each other, so that time is locked too, a core's worth at a time.
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from trainbench.machine import kernel_files, locks
from trainbench.machine.control_groups import CpuQuota


@dataclass(frozen=True)
class CoreLease:
    """Logical CPUs of a run; those in `shared`, or the CPU time for them, were another run's already.

    `core_locks` are its open lock files by core, `time_locks` those of a quota on CPU time.
    """

    cores: tuple[int, ...]
    shared: tuple[int, ...]
    core_locks: Mapping[int, int]
    time_locks: tuple[int, ...]

    @property
    def descriptors(self) -> tuple[int, ...]:
        """The open lock files: who inherits them holds the cores too."""
        return (*self.core_locks.values(), *self.time_locks)

    def shared_by_now(self) -> tuple[int, ...]:
        """`shared`, and the cores that other runs have come to share since, or the CPU time for them."""
        marked = [core for core, descriptor in self.core_locks.items() if locks.is_marked(descriptor)]
        short = sum(map(locks.is_marked, self.time_locks)) - len(marked)
        found = {*self.shared, *marked}
        # Which of its cores a run has no time of its own for is all the same.
        return tuple(sorted({*found, *[core for core in self.cores if core not in found][: max(0, short)]}))


def preferred(allowed: Collection[int], near: Collection[int] | None, root: Path = Path("/")) -> tuple[int, ...]:
    """`allowed` in the order in which a run wants them.

    First those near its GPU (`near`, None where it has none or NVML does not know), then one thread of each physical
    core before its second.
    """

    def rank(core: int) -> tuple[bool, int, int]:
        siblings = kernel_files.siblings(core, root)
        position = siblings.index(core) if core in siblings else 0
        return (near is not None and core not in near, position, core)

    return tuple(sorted(allowed, key=rank))


def quota_locks(quota: CpuQuota | None) -> tuple[str, ...] | None:
    """A name for each whole core that `quota` has time for, one at least; None where there is no quota.

    The directory of a group names it on the whole machine by its inode, under whatever path a container sees it.
    """
    if quota is None:
        return None
    inode = quota.group.stat().st_ino
    return tuple(f"quota-{inode}-{number}.lock" for number in range(max(1, math.floor(quota.cores))))


@contextmanager
def leased(
    count: int, wanted: Sequence[int], folder: Path, quota_names: Sequence[str] | None = None
) -> Iterator[CoreLease]:
    """Hold `count` cores: the first free ones of `wanted`, and where too few are free, the first taken ones too.

    `quota_names` are the locks of a quota on CPU time, None where there is no quota: as many of them are held too.

    Raises:
        InputError: the folder of locks cannot be used.
    """
    names = {core: f"core-{core}.lock" for core in wanted}
    held: dict[str, int] = {}
    with locks.kept(folder, held):
        locks.take(held, count, list(names.values()), folder)
        own = {core: held[names[core]] for core in wanted if names[core] in held}
        shared = [core for core in wanted if core not in own][: max(0, count - len(own))]
        used = [names[core] for core in shared]
        timed = locks.take(held, count, quota_names or (), folder)
        if quota_names is not None and timed < count:
            shared += list(own)[: max(0, count - timed - len(shared))]
            used += [name for name in quota_names if name not in held]
        for name in used:
            locks.mark(folder, name)
        time_locks = tuple(held[name] for name in quota_names or () if name in held)
        yield CoreLease(tuple(sorted({*own, *shared})), tuple(sorted(shared)), own, time_locks)
