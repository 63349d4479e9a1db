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


def test_the_choice_of_a_kind_is_told_with_the_others_and_how_to_take_them() -> None:
    told = device_cards.choice([replace(GPU, entry="gpu"), OLD, CPU], CARDS)
    assert told is not None
    assert f"(1 {H200}, 2 {TITAN})" in told
    assert f"gpu takes {H200}" in told
    assert f"'device_settings={{gpu: {{card: \"{TITAN}\"}}}}'" in told


def test_a_choice_for_a_device_of_a_list_is_made_where_the_list_is() -> None:
    told = device_cards.choice([replace(GPU, name="gpu-1g", entry="gpu")], CARDS)
    assert told is not None
    assert f"'device_settings={{gpu: {{card: \"{TITAN}\"}}}}'" in told
