"""Gives a run cores of its own, apart from those of other runs on this machine.

Each core is locked as a GPU is (`trainbench.locks`). Unlike a GPU, a core that is taken does not hold a run up: the run
then shares it, and says so.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from trainbench import locks

_SIBLINGS: Final = "sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"


@dataclass(frozen=True)
class CoreLease:
    """Logical CPUs of a run; those in `shared` are also another run's. Who inherits `descriptors` holds them too."""

    cores: tuple[int, ...]
    shared: tuple[int, ...]
    descriptors: tuple[int, ...]


def preferred(allowed: Collection[int], near: Collection[int] | None, root: Path = Path("/")) -> tuple[int, ...]:
    """`allowed` in the order in which a run wants them.

    First those near its GPU (`near`, None where it has none or NVML does not know), then one thread of each physical
    core before its second.
    """

    def rank(core: int) -> tuple[bool, int, int]:
        siblings = _siblings(core, root)
        position = siblings.index(core) if core in siblings else 0
        return (near is not None and core not in near, position, core)

    return tuple(sorted(allowed, key=rank))


def _siblings(core: int, root: Path) -> list[int]:
    """Logical CPUs of the physical core of `core`, lowest first."""
    try:
        text = (root / _SIBLINGS.format(core)).read_text(encoding="ascii")
    except OSError:
        return [core]
    siblings: list[int] = []
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        siblings += range(int(first), int(last or first) + 1)
    return siblings


@contextmanager
def leased(count: int, wanted: Sequence[int], folder: Path) -> Iterator[CoreLease]:
    """Hold `count` cores: the first free ones of `wanted`, and where too few are free, the first taken ones too.

    Raises:
        InputError: the folder of locks cannot be used.
    """
    held: dict[str, int] = {}
    own: list[int] = []
    with locks.kept(folder, held):
        for core in wanted:
            if len(own) == count:
                break
            name = f"core-{core}.lock"
            descriptor = locks.try_lock_in(folder, name)
            if descriptor is not None:
                held[name] = descriptor
                own.append(core)
        shared = [core for core in wanted if core not in own][: max(0, count - len(own))]
        yield CoreLease(tuple(sorted([*own, *shared])), tuple(sorted(shared)), tuple(held.values()))
