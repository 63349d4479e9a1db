"""Says which NVIDIA cards runs may use, and which of these are of the kind that a device measures.

A card in MIG mode is replaced by its slices, each of which CUDA takes for a card. Cards of one name are of one kind: a
model, or a model with the profile of a slice. Runs of a device are all measured on one kind.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from trainbench.errors import InputError
from trainbench.machine.gpu_cards import Gpu, Inventory
from trainbench.machine.nvml import SLICE_PREFIX

VISIBLE: Final = "CUDA_VISIBLE_DEVICES"
ORDER: Final = "CUDA_DEVICE_ORDER"
PCI_ORDER: Final = "PCI_BUS_ID"
_HIDES_CARDS: Final = re.compile(r"(-\d+|NoDevFiles|none|void)?", re.IGNORECASE)
"""What is written to hide cards; anything else was meant to name one."""


@dataclass(frozen=True)
class Card:
    """What a run may lease: a card, or a slice of one."""

    uuid: str
    name: str | None
    memory_mib: float | None

    @property
    def is_slice(self) -> bool:
        """Whether it is a part of a card in MIG mode."""
        return self.uuid.startswith(SLICE_PREFIX)


@dataclass(frozen=True)
class Visible:
    """The cards that runs may use.

    `problem` says why there is none, where there is more to say than that; `doubts` are sentences on cards that ought
    to be there and are not, or may not be the ones that were meant.
    """

    cards: tuple[Card, ...]
    problem: str | None = None
    doubts: tuple[str, ...] = ()


def look(inventory: Inventory, environment: Mapping[str, str]) -> Visible:
    """The cards that runs may use, and what a user should know of them before anything trains."""
    if inventory.problem is not None:
        problem = f"NVML: {inventory.problem}"
        broken = f"NVIDIA's driver is there, but which GPUs it has cannot be asked ({problem})"
        return Visible((), problem, (broken,) if inventory.is_broken else ())
    try:
        cards = usable(inventory.gpus, environment)
    except InputError as error:
        return Visible((), str(error), (*inventory.unreadable, str(error)))
    doubts = [*inventory.unreadable, *_doubts(inventory.gpus, cards, environment)]
    hidden = f"{VISIBLE} hides all" if inventory.gpus and VISIBLE in environment else None
    return Visible(cards, None if cards else "; ".join(doubts) or hidden, tuple(doubts))


def usable(gpus: Sequence[Gpu], environment: Mapping[str, str]) -> tuple[Card, ...]:
    """The cards in CUDA_VISIBLE_DEVICES where somebody, a scheduler for one, has set it, else all.

    Numbers in it are those of nvidia-smi, in PCI order: so says CUDA's manual, and so schedulers mean them, although
    CUDA counts from the fastest card on where CUDA_DEVICE_ORDER is not set. A card in MIG mode stands for all its
    slices. As in CUDA, the first entry that names no card ends the list.
    Source: CUDA Programming Guide, "CUDA Environment Variables"; NVIDIA MIG User Guide, "CUDA Device Enumeration".

    Raises:
        InputError: CUDA_DEVICE_ORDER asks for another order, which nobody but CUDA knows.
    """
    visible = environment.get(VISIBLE)
    if visible is None:
        return tuple(card for gpu in gpus for card in _seen(gpu))
    entries = _entries(visible)
    order = environment.get(ORDER, PCI_ORDER)
    if order != PCI_ORDER and len(_models(gpus)) > 1 and any(entry.isdecimal() for entry in entries):
        raise InputError(
            f"{VISIBLE} is '{visible}' and {ORDER} is {order}: in which order CUDA puts cards of different models "
            f"({', '.join(_models(gpus))}) is not known, expected UUIDs (nvidia-smi -L shows them) or "
            f"{ORDER}={PCI_ORDER}, with which numbers are those of nvidia-smi"
        )
    chosen: dict[str, Card] = {}
    for entry in entries:
        named = _named(entry, gpus)
        if named is None:
            break
        chosen |= {card.uuid: card for card in named}
    return tuple(chosen.values())


def _entries(visible: str) -> list[str]:
    return [part.strip() for part in visible.split(",")]


def _models(gpus: Iterable[Gpu]) -> list[str]:
    return sorted({str(gpu.name) for gpu in gpus if gpu.uuid is not None})


def _seen(gpu: Gpu) -> tuple[Card, ...]:
    """What CUDA sees of a card: nothing where nobody may ask about it."""
    if gpu.uuid is None:
        return ()
    if gpu.slices is None:
        return (Card(gpu.uuid, gpu.name, gpu.memory_mib),)
    return tuple(Card(part.uuid, part.name, part.memory_mib) for part in gpu.slices if part.uuid is not None)


def _named(entry: str, gpus: Sequence[Gpu]) -> tuple[Card, ...] | None:
    """The cards that one entry of CUDA_VISIBLE_DEVICES names, None where it names none.

    By number, by (the start of) a UUID, or a slice by the older MIG-GPU-UUID/GPU instance/compute instance.
    """
    if entry.isdecimal():
        return _seen(gpus[int(entry)]) if int(entry) < len(gpus) else None
    if entry.startswith(SLICE_PREFIX):
        names: dict[str, tuple[Card, ...]] = {
            card.uuid: (card,) for gpu in gpus if gpu.slices is not None for card in _seen(gpu)
        }
        names |= {
            f"{SLICE_PREFIX}{gpu.uuid}/{part.gpu_instance}/{part.compute_instance}": names[part.uuid]
            for gpu in gpus
            for part in gpu.slices or ()
            if part.uuid in names
        }
        if entry in names:
            return names[entry]
    else:
        names = {gpu.uuid: _seen(gpu) for gpu in gpus if gpu.uuid is not None}
    matching = {cards for name, cards in names.items() if entry and name.startswith(entry)}
    return matching.pop() if len(matching) == 1 else None


def _doubts(gpus: Sequence[Gpu], cards: Sequence[Card], environment: Mapping[str, str]) -> Iterable[str]:
    visible = environment.get(VISIBLE)
    if visible is None or not cards:
        for gpu in gpus:
            if gpu.slices == ():
                yield f"{gpu.name or f'GPU {gpu.index}'} is in MIG mode and has no slices (nvidia-smi mig makes them)"
    if visible is None:
        return
    unknown = next((entry for entry in _entries(visible) if _named(entry, gpus) is None), None)
    if unknown is not None and not _HIDES_CARDS.fullmatch(unknown):
        yield (
            f"{VISIBLE} has '{unknown}', which names no single card or MIG slice of this machine (nvidia-smi -L shows "
            "them), so CUDA ends the list there"
        )
    numbers = any(entry.isdecimal() for entry in _entries(visible))
    if numbers and ORDER not in environment and len(_models(gpus)) > 1:
        yield (
            f"the numbers in {VISIBLE}={visible} are taken for those of nvidia-smi, {listed(cards)}; if that is meant, "
            f"set {ORDER}={PCI_ORDER} too, otherwise name cards by UUID"
        )


def kinds(cards: Iterable[Card]) -> dict[str | None, tuple[Card, ...]]:
    """The cards by kind, the one first that runs take unless their device names another.

    That is the kind with the most memory; of equals, the one with more cards; of equals, the first card's.
    """
    found: dict[str | None, tuple[Card, ...]] = {}
    for card in cards:
        found[card.name] = (*found.get(card.name, ()), card)

    def rank(name: str | None) -> tuple[bool, float, int]:
        memory_mib = max(card.memory_mib or 0.0 for card in found[name])
        return name is None, -memory_mib, -len(found[name])

    return {name: found[name] for name in sorted(found, key=rank)}


def listed(cards: Iterable[Card]) -> str:
    """The kinds of cards and how many there are of each: "1 NVIDIA TITAN X, 2 NVIDIA H200"."""
    return ", ".join(f"{len(of_kind)} {name or 'without a name'}" for name, of_kind in kinds(cards).items())


def of_device(cards: Sequence[Card], name: str, wanted: str | None, gpus: int) -> tuple[Card, ...]:
    """Of `cards` those that runs of the device `name` may use, all of one kind; none where there is no card at all.

    `wanted` is part of the name of a kind, None the first kind; a run takes so many `gpus`.

    Raises:
        InputError: `wanted` names no kind or several, or a run would take several slices.
    """
    by_kind = kinds(cards)
    if not by_kind:
        return ()
    chosen = next(iter(by_kind))
    if wanted is not None:
        known = [kind for kind in by_kind if kind is not None]
        names = [kind for kind in known if wanted.casefold() in kind.casefold()]
        exact = [kind for kind in names if kind.casefold() == wanted.casefold()]
        if len(exact or names) != 1:
            raise InputError(
                f"the card of '{name}' in device_settings is '{wanted}', which is part of the name of "
                f"{'more than one kind' if names else 'no kind'} of GPU here, expected one of: {', '.join(known)}; "
                f"correct it or look at {VISIBLE}"
            )
        (chosen,) = exact or names
    if gpus > 1 and by_kind[chosen][0].is_slice:
        raise InputError(
            f"the device '{name}' needs {gpus} GPUs, but finds slices of cards in MIG mode "
            f"({listed(by_kind[chosen])}), of which CUDA takes one a process; lower its gpus in device_settings or "
            "take the cards out of MIG mode"
        )
    return by_kind[chosen]


def names(gpus: Iterable[Gpu], uuids: Sequence[str]) -> list[str | None]:
    """The names of these cards or slices, in their order; None where one has none."""
    known = {card.uuid: card.name for gpu in gpus for card in _seen(gpu)}
    return [known.get(uuid) for uuid in uuids]
