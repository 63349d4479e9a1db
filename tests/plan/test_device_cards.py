"""Devices take cards of one kind, reserve those alone, and say which kind that is where there are several."""

from dataclasses import replace

import pytest

from trainbench.machine.gpu_choice import Card
from trainbench.plan import device_cards
from trainbench.plan.study import Device

H200, TITAN = "NVIDIA H200", "NVIDIA TITAN X (Pascal)"
CARDS = (Card("1", TITAN, 12_213.0), Card("2", H200, 143_771.0), Card("3", TITAN, 12_213.0))

GPU, OLD, BOTH, CPU = (
    Device("gpu", "gpu", "all", gpus=1),
    Device("old", "gpu", "all", gpus=1, card="TITAN"),
    Device("both", "gpu", "all", gpus=2, card="TITAN"),
    Device("cpu", "cpu", "all", gpus=0),
)


@pytest.mark.parametrize(
    ("device", "reserved"),
    [(GPU, [1, 0]), (OLD, [0, 1]), (BOTH, [0, 2]), (CPU, [0, 0])],
    ids=["h200", "titan", "2", "cpu"],
)
def test_a_run_reserves_cards_of_its_kind_alone(device: Device, reserved: list[int]) -> None:
    assert list(device_cards.reserved(device, CARDS).values()) == reserved
    counts = [(name, len(cards)) for name, cards in device_cards.by_resource(CARDS).items()]
    assert counts == [("gpu_kind_1", 1), ("gpu_kind_2", 2)]


def test_cards_of_one_kind_are_counted_as_gpus_alone() -> None:
    cards = CARDS[::2]
    assert (device_cards.reserved(GPU, cards), device_cards.by_resource(cards)) == ({}, {})


@pytest.mark.parametrize(
    ("devices", "used"),
    [((), set()), ((CPU,), set()), ((GPU,), {"2"}), ((CPU, BOTH), {"1", "3"}), ((GPU, OLD), {"1", "2", "3"})],
    ids=["none", "cpu", "h200", "titan", "2"],
)
def test_the_cards_in_use_are_those_of_the_kinds_that_are_measured(devices: tuple[Device, ...], used: set[str]) -> None:
    assert {card.uuid for card in device_cards.in_use(devices, CARDS)} == used


def test_a_device_that_is_refused_when_it_is_to_be_measured_uses_no_card() -> None:
    assert device_cards.in_use([replace(GPU, card="A100")], CARDS) == frozenset()


@pytest.mark.parametrize(
    ("names", "takes"), [(("gpu",), "gpu takes"), (("gpu-1g", "gpu-2g"), "gpu-1g, gpu-2g take")], ids=["one", "two"]
)
def test_the_choice_of_a_kind_is_told_with_the_others_and_how_to_take_them(names: tuple[str, ...], takes: str) -> None:
    devices = [replace(GPU, name=name, entry="gpu") for name in names]
    assert device_cards.choice([*devices, OLD, CPU], CARDS) == (
        f"there are GPUs of 2 kinds (1 {H200}, 2 {TITAN}), and a device measures one of them: {takes} {H200}. For "
        "another, name it as the card of a device, for example --config "
        f"'device_settings={{gpu: {{card: \"{TITAN}\"}}}}', or show no other with CUDA_VISIBLE_DEVICES"
    )


@pytest.mark.parametrize(("devices", "cards"), [((GPU,), CARDS[::2]), ((OLD, CPU), CARDS), ((), CARDS)])
def test_there_is_no_choice_of_one_kind_or_for_devices_that_name_their_card(
    devices: tuple[Device, ...], cards: tuple[Card, ...]
) -> None:
    assert device_cards.choice(devices, cards) is None


def test_a_choice_for_a_device_of_a_list_is_made_where_the_list_is() -> None:
    told = device_cards.choice([replace(GPU, name="gpu-1g", entry="gpu")], CARDS)
    assert told is not None
    assert f"'device_settings={{gpu: {{card: \"{TITAN}\"}}}}'" in told
