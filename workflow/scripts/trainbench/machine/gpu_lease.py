"""Leases GPUs to one run at a time on this machine, whoever started the runs.

Snakemake counts GPUs but hands a local job none in particular. A lease is a lock on each card (`locks`): it
ends with the processes that hold it.
"""

import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
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
    files = {f"{card.replace('/', '_')}.lock": card for card in cards}
    held: dict[str, int] = {}
    began = reported = time.monotonic()
    while True:
        if locks.take(held, count, list(files), folder, least=count) == count:
            with locks.kept(folder, held):
                yield Lease(tuple(files[name] for name in held), tuple(held.values()), time.monotonic() - began)
            return
        # Who waits holds nothing, so that two who wait do not wait for each other.
        while held:
            os.close(held.popitem()[1])
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
