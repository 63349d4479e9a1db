"""Says which cards the devices of a study need, which of them it takes, and what is wrong where it cannot have them."""

from collections.abc import Iterable, Sequence

from trainbench.errors import InputError
from trainbench.machine.gpu_choice import VISIBLE, Card, Visible, kinds, listed, of_device
from trainbench.plan.study import Device, Study


def refuse_missing(study: Study, devices: Sequence[Device], visible: Visible, limit: int | None) -> None:
    """Hold the GPUs that these devices of a study need against those that there are and `limit` (--resources gpu=N).

    Raises:
        InputError: they need others or more; the text names the config key.
    """
    cards = visible.cards
    cpu_only = "select CPU devices (--config 'devices=[cpu]')"
    fewer = "lower its gpus in device_settings or leave it out of devices"
    # The one that needs most first: what suits it suits all of its kind.
    for device in sorted((device for device in devices if device.gpus), key=lambda device: -device.gpus):
        needed = "a GPU" if device.gpus == 1 else f"{device.gpus} GPUs"
        asked = f"{study.wanted(device)} needs {needed}, but"
        if not cards:
            because = f" ({visible.problem})" if visible.problem else ""
            mend = "mend that" if visible.doubts else "run on a machine with a card"
            raise InputError(f"{asked} none is found{because}; {cpu_only} or {mend}")
        if limit == 0:
            raise InputError(f"{asked} --resources gpu=0 allows none of the {len(cards)} found; raise it or {cpu_only}")
        if limit is not None and limit > len(cards):
            raise InputError(
                f"--resources gpu={limit} asks for more GPUs than there are: found {len(cards)}; "
                f"give --resources gpu={len(cards)} or leave it out"
            )
        own = of_device(cards, device.name, device.card, device.gpus)
        if device.gpus > len(own):
            of_kinds = (
                "" if len(own) == len(cards) else f" of one kind ({listed(cards)} in all; its card names another)"
            )
            raise InputError(f"{asked} found {len(own)}{of_kinds}; {fewer}")
        if limit is not None and device.gpus > limit:
            raise InputError(
                f"{asked} --resources gpu={limit} allows no more of the {len(cards)} found; raise it, {fewer}"
            )


def in_use(devices: Iterable[Device], cards: Sequence[Card]) -> frozenset[Card]:
    """The cards that runs of these devices may use."""
    return frozenset(card for device in devices for card in _own(device, cards))


def _own(device: Device, cards: Sequence[Card]) -> tuple[Card, ...]:
    """As `of_device`; none for a device that is refused when it is to be measured."""
    try:
        return of_device(cards, device.name, device.card, device.gpus) if device.gpus else ()
    except InputError:
        return ()


def choice(devices: Iterable[Device], cards: Sequence[Card]) -> str | None:
    """A sentence on which kind is measured and how to choose another, where there are several and nobody chose."""
    unasked = [device for device in devices if device.gpus and device.card is None]
    if not unasked or len(kinds(cards)) < 2:  # noqa: PLR2004 - one kind is no choice
        return None
    first, second, *_ = kinds(cards)
    return (
        f"there are GPUs of {len(kinds(cards))} kinds ({listed(cards)}), and a device measures one of them: "
        f"{', '.join(device.name for device in unasked)} {'takes' if len(unasked) == 1 else 'take'} {first}. For "
        "another, name it as the card of a device, for example --config "
        f"'device_settings={{{unasked[0].entry}: {{card: \"{second}\"}}}}', or show no other with {VISIBLE}"
    )


def by_resource(cards: Sequence[Card]) -> dict[str, tuple[Card, ...]]:
    """The cards of each kind, by the name of Snakemake's resource that counts them; none where all are of one kind.

    Without these, runs would begin that wait for cards of their kind while others are free.
    """
    by_kind = kinds(cards)
    if len(by_kind) < 2:  # noqa: PLR2004 - they are counted as "gpu"
        return {}
    return {f"gpu_kind_{number}": of_kind for number, of_kind in enumerate(by_kind.values(), start=1)}


def reserved(device: Device, cards: Sequence[Card]) -> dict[str, int]:
    """How many cards of each kind a run on `device` reserves, by the name of Snakemake's resource."""
    own = _own(device, cards)
    return {name: device.gpus if of_kind == own else 0 for name, of_kind in by_resource(cards).items()}
