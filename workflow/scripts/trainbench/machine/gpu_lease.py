"""Leases GPUs to one run at a time on this machine, whoever started the runs.

Snakemake counts GPUs but hands a local job none in particular. A lease is a lock on each card (`locks`): it
ends with the processes that hold it.
"""

import os
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from trainbench.errors import InputError
from trainbench.machine import locks

WAIT_LIMIT_SECONDS: Final = 3600.0
_POLL_SECONDS: Final = 0.2
_REPORT_SECONDS: Final = 30.0


@dataclass(frozen=True)
class Lease:
    """Leased cards and their open lock files; a process that inherits `descriptors` holds the lease too.

    `waited_seconds` is None of a run that asked for no card.
    """

    uuids: tuple[str, ...]
    descriptors: tuple[int, ...]
    waited_seconds: float | None


@contextmanager
def leased(
    cards: Sequence[str],
    count: int,
    folder: Path,
    report: Callable[[str], None],
    wait_limit_seconds: float = WAIT_LIMIT_SECONDS,
) -> Iterator[Lease]:
    """Hold `count` of `cards`, waiting for them if others hold too many.

    Raises:
        InputError: `cards` are fewer, not enough came free within the limit, or the folder of locks cannot be used.
    """
    wanted = "a GPU" if count == 1 else f"{count} GPUs"
    if len(cards) < count:
        few = f"only {len(cards)} {'is' if len(cards) == 1 else 'are'}" if cards else "no card is"
        raise InputError(
            f"this run needs {wanted}, but {few} visible to it (CUDA_VISIBLE_DEVICES names no more, or NVML finds no "
            "more); run it on a machine that has them or select CPU devices (devices: [cpu])"
        )
    began = time.monotonic()
    reported = began
    while True:
        held = _lock(cards, count, folder)
        if held:
            with locks.kept(folder, {_file_name(card): descriptor for card, descriptor in held.items()}):
                yield Lease(tuple(held), tuple(held.values()), time.monotonic() - began)
            return
        now = time.monotonic()
        if now - began > wait_limit_seconds:
            raise InputError(
                f"{'none' if count == 1 else f'not {count}'} of the {len(cards)} GPUs ({', '.join(cards)}) came free "
                f"{'' if count == 1 else 'together '}within {wait_limit_seconds:.0f} s: other runs on this machine "
                f"hold the locks in {folder} (fuser {folder}/* names them); wait for them or end them"
            )
        if now - reported > _REPORT_SECONDS:
            leased_to = "all" if count == 1 else f"more than {len(cards) - count} of the"
            report(f"waiting for {wanted} for {now - began:.0f} s: {leased_to} {len(cards)} are leased to other runs")
            reported = now
        # Not in step with others that wait for several, or each might keep finding what the other one holds.
        time.sleep(_POLL_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311 - no secret


def _lock(cards: Sequence[str], count: int, folder: Path) -> dict[str, int]:
    """Lock so many cards, or none: who waits holds nothing, so that two who wait do not wait for each other.

    As soon as too few are left to try, no more is locked: of two runs that want both of two cards, the one that comes
    second to the first card leaves the other card alone.
    """
    held: dict[str, int] = {}
    for position, card in enumerate(cards):
        if len(held) + len(cards) - position < count:
            break
        descriptor = locks.try_lock_in(folder, _file_name(card))
        if descriptor is not None:
            held[card] = descriptor
        if len(held) == count:
            return held
    _give_back(held)
    return {}


def _file_name(card: str) -> str:
    return f"{card.replace('/', '_')}.lock"


def _give_back(held: Mapping[str, int]) -> None:
    for descriptor in held.values():
        os.close(descriptor)
