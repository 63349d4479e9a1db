"""Leases a GPU to one run at a time on this machine, whoever started the runs.

Snakemake counts GPUs but hands a local job none in particular. A lease is a lock on the card (`trainbench.locks`): it
ends with the processes that hold it.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from trainbench import locks
from trainbench.errors import InputError
from trainbench.nvml import Gpu

WAIT_LIMIT_SECONDS: Final = 3600.0
_POLL_SECONDS: Final = 0.2
_REPORT_SECONDS: Final = 30.0


@dataclass(frozen=True)
class Lease:
    """A leased card and the open lock file; a process that inherits `descriptor` holds the lease too."""

    uuid: str
    descriptor: int
    waited_seconds: float


def pool(gpus: Sequence[Gpu], environment: Mapping[str, str]) -> tuple[str, ...]:
    """UUIDs (or MIG ids) of the cards that runs may use.

    These are the cards in CUDA_VISIBLE_DEVICES where somebody, a scheduler for one, has set it, else all. Numbers in it
    are taken in PCI order, which is NVML's and, with CUDA_DEVICE_ORDER=PCI_BUS_ID, CUDA's. As in CUDA, the first entry
    that names no card ends the list.
    Source: CUDA C++ Programming Guide, "CUDA Environment Variables".
    """
    uuids = [gpu.uuid for gpu in gpus]
    known = [uuid for uuid in uuids if uuid is not None]
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return tuple(known)
    chosen: list[str] = []
    for entry in (part.strip() for part in visible.split(",")):
        card = _card(entry, uuids)
        if card is None:
            break
        chosen.append(card)
    return tuple(dict.fromkeys(chosen))


def _card(entry: str, uuids: Sequence[str | None]) -> str | None:
    """The card that one entry of CUDA_VISIBLE_DEVICES names: by number, by (the start of) a UUID or by MIG id."""
    if entry.isdecimal():
        return uuids[int(entry)] if int(entry) < len(uuids) else None
    if entry.startswith("MIG-"):
        return entry
    matching = [uuid for uuid in uuids if uuid is not None and entry and uuid.startswith(entry)]
    return matching[0] if len(matching) == 1 else None


@contextmanager
def leased(
    cards: Sequence[str],
    folder: Path,
    report: Callable[[str], None],
    wait_limit_seconds: float = WAIT_LIMIT_SECONDS,
) -> Iterator[Lease]:
    """Hold one card of `cards`, waiting for it if others hold all of them.

    Raises:
        InputError: `cards` is empty, or none came free within the limit.
    """
    if not cards:
        raise InputError(
            "this run needs a GPU, but no card is visible to it (CUDA_VISIBLE_DEVICES names none, or NVML finds none); "
            "run it on a machine with a card or select CPU devices (devices: [cpu])"
        )
    began = time.monotonic()
    reported = began
    while True:
        for card in cards:
            descriptor = locks.try_lock(folder / f"{card.replace('/', '_')}.lock")
            if descriptor is not None:
                try:
                    yield Lease(card, descriptor, time.monotonic() - began)
                finally:
                    os.close(descriptor)
                return
        now = time.monotonic()
        if now - began > wait_limit_seconds:
            raise InputError(
                f"none of the {len(cards)} GPUs ({', '.join(cards)}) came free within {wait_limit_seconds:.0f} s: "
                f"other runs on this machine hold the locks in {folder} (fuser {folder}/* names them); "
                f"wait for them or end them"
            )
        if now - reported > _REPORT_SECONDS:
            report(f"waiting for a GPU for {now - began:.0f} s: all {len(cards)} are leased to other runs")
            reported = now
        time.sleep(_POLL_SECONDS)
