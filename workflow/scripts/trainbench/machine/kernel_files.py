"""Reads the small files in which the kernel tells of the machine; what cannot be read is None.

Standard library only: rules import this module whenever Snakemake reads them.
"""

from pathlib import Path, PurePath
from typing import Final

CPUS: Final = PurePath("sys/devices/system/cpu")
"""Seen from the root of the tree, so that a recorded machine can be read like this one."""


def text(path: Path) -> str | None:
    """The contents without the white space around it; None where there is nothing to read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip() or None
    except OSError:
        return None


def number(path: Path) -> int | None:
    """A whole number, where a "K" behind it goes without saying; None where there is none."""
    try:
        return int((text(path) or "").removesuffix("K"))
    except ValueError:
        return None


def cpu_list(listed: str | None) -> tuple[int, ...]:
    """Expand the kernel's list format, as in "0-3,8"; nothing for None."""
    spans = (part.partition("-") for part in (listed or "").split(",") if part)
    return tuple(cpu for first, _, last in spans for cpu in range(int(first), int(last or first) + 1))


def siblings(core: int, root: Path) -> tuple[int, ...]:
    """Logical CPUs of the physical core of `core`, lowest first; nothing where the kernel does not tell."""
    return cpu_list(text(root / CPUS / f"cpu{core}/topology/thread_siblings_list"))
