"""Runs may use the cards that are visible to them, and those of a device are all of one kind."""

import pytest

from trainbench.errors import InputError
from trainbench.machine import gpu_choice
from trainbench.machine.gpu_cards import Gpu, Inventory, Slice
from trainbench.machine.gpu_choice import Card

FIRST, SECOND, THIRD = "GPU-aa11-1", "GPU-aa22-2", "GPU-bb33-3"
SMALL, LARGE = "MIG-5c2d3b1e-0000", "MIG-77aa3b1e-0000"
H200, TITAN = "NVIDIA H200", "NVIDIA TITAN X (Pascal)"


def machine(*uuids: str | None) -> list[Gpu]:
    """Make up a machine with these cards, all alike."""
    return [Gpu(index, H200, uuid, 143_771.0, None) for index, uuid in enumerate(uuids)]


MIXED = [
    Gpu(0, TITAN, FIRST, 12_213.0, None),
    Gpu(1, H200, SECOND, 143_771.0, None),
    Gpu(2, TITAN, THIRD, 12_213.0, None),
]
SPLIT = [
    Gpu(0, H200, FIRST, 143_771.0, None),
    Gpu(
        1, H200, SECOND, 143_771.0, None,
        slices=(
            Slice("NVIDIA H200 MIG 1g.18gb", SMALL, 16_000.0, 9, 0),
            Slice("NVIDIA H200 MIG 3g.71gb", LARGE, 70_000.0, 2, 0),
            Slice("NVIDIA H200 MIG 1g.18gb", None, 16_000.0, 11, 0),
        ),
    ),
    Gpu(2, H200, THIRD, 143_771.0, None, slices=()),
]  # fmt: skip


def usable(gpus: list[Gpu], **environment: str) -> list[str]:
    return [card.uuid for card in gpu_choice.usable(gpus, environment)]


# --- which cards ---


def test_without_the_variable_all_cards_may_be_used() -> None:
    assert usable(machine(FIRST, SECOND, THIRD)) == [FIRST, SECOND, THIRD]


def test_a_card_without_a_uuid_cannot_be_used() -> None:
    assert usable(machine(None, SECOND)) == [SECOND]


@pytest.mark.parametrize(
    ("visible", "cards"),
    [
        pytest.param("2,0", [THIRD, FIRST], id="numbers, in the order given"),
        pytest.param(" 0 , 1 ", [FIRST, SECOND], id="spaces"),
        pytest.param(f"{SECOND},{THIRD}", [SECOND, THIRD], id="UUIDs"),
        pytest.param("GPU-b", [THIRD], id="the start of a UUID"),
        pytest.param(f"1,{FIRST}", [SECOND, FIRST], id="a number and a UUID"),
        pytest.param("0,0,1", [FIRST, SECOND], id="a card named twice"),
        pytest.param(f"0,{FIRST}", [FIRST], id="a card named in two ways"),
        pytest.param("", [], id="nothing"),
        pytest.param("-1", [], id="minus one"),
        pytest.param("NoDevFiles", [], id="a word"),
        pytest.param("0,-1,1", [FIRST], id="minus one ends the list"),
        pytest.param("0,7,1", [FIRST], id="a number beyond the cards ends the list"),
        pytest.param("0,GPU-zz,1", [FIRST], id="an unknown UUID ends the list"),
        pytest.param("0,GPU-aa,1", [FIRST], id="a start that two UUIDs share ends the list"),
        pytest.param("0,,1", [FIRST], id="an empty entry ends the list"),
        pytest.param("0,MIG-typo,1", [FIRST], id="a slice that is not there ends the list"),
    ],
)
def test_the_variable_says_which_cards_may_be_used(visible: str, cards: list[str]) -> None:
    assert usable(machine(FIRST, SECOND, THIRD), CUDA_VISIBLE_DEVICES=visible) == cards


def test_a_number_counts_cards_without_a_uuid_too() -> None:
    assert usable(machine(None, SECOND), CUDA_VISIBLE_DEVICES="1") == [SECOND]


def test_a_card_that_cannot_be_asked_does_not_hide_those_named_after_it() -> None:
    assert usable(machine(None, SECOND), CUDA_VISIBLE_DEVICES="0,1") == [SECOND]


@pytest.mark.parametrize("environment", [{}, {"CUDA_VISIBLE_DEVICES": "0"}])
def test_a_machine_without_cards_offers_none(environment: dict[str, str]) -> None:
    assert usable([], **environment) == []


# --- slices ---


def test_in_the_place_of_a_card_in_mig_mode_its_slices_may_be_used() -> None:
    assert usable(SPLIT) == [FIRST, SMALL, LARGE]


@pytest.mark.parametrize(
    ("visible", "cards"),
    [
        pytest.param(LARGE, [LARGE], id="a slice"),
        pytest.param("MIG-5c2d", [SMALL], id="the start of its UUID"),
        pytest.param(f"MIG-{SECOND}/9/0,{LARGE}", [SMALL, LARGE], id="the older form"),
        pytest.param(f"{SMALL},MIG-{SECOND}/9/0", [SMALL], id="a slice named in two ways"),
        pytest.param("1", [SMALL, LARGE], id="its card by number"),
        pytest.param(SECOND, [SMALL, LARGE], id="its card by UUID"),
        pytest.param("MIG-typo", [], id="none that is there"),
        pytest.param(f"MIG-{SECOND}/9/1", [], id="another part of a part that is there"),
        pytest.param(f"MIG-{FIRST}", [], id="a card that is not in MIG mode"),
    ],
)
def test_slices_are_named_by_themselves_or_by_their_card(visible: str, cards: list[str]) -> None:
    assert usable(SPLIT, CUDA_VISIBLE_DEVICES=visible) == cards


def test_slices_have_their_own_names_and_so_has_what_a_run_used() -> None:
    assert gpu_choice.names(SPLIT, [LARGE, FIRST, "GPU-gone"]) == ["NVIDIA H200 MIG 3g.71gb", H200, None]


def test_slices_of_different_profiles_or_cards_are_of_different_kinds() -> None:
    assert list(gpu_choice.kinds(gpu_choice.usable(SPLIT, {}))) == [
        H200,
        "NVIDIA H200 MIG 3g.71gb",
        "NVIDIA H200 MIG 1g.18gb",
    ]


def test_several_slices_are_no_cards_for_one_run() -> None:
    cards = [Card("MIG-1", "NVIDIA H200 MIG 1g.18gb", None), Card("MIG-2", "NVIDIA H200 MIG 1g.18gb", None)]
    with pytest.raises(InputError, match=r"'gpu-2g' needs 2 GPUs, but finds slices .* CUDA takes one a process"):
        gpu_choice.of_device(cards, "gpu-2g", None, 2)


# --- the order of numbers ---


@pytest.mark.parametrize("order", ["FASTEST_FIRST", "anything"])
def test_numbers_in_an_order_that_nobody_knows_are_refused(order: str) -> None:
    with pytest.raises(InputError, match="CUDA_DEVICE_ORDER=PCI_BUS_ID"):
        gpu_choice.usable(MIXED, {"CUDA_VISIBLE_DEVICES": "0", "CUDA_DEVICE_ORDER": order})


@pytest.mark.parametrize(
    ("gpus", "environment"),
    [
        pytest.param(MIXED, {"CUDA_VISIBLE_DEVICES": "0", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}, id="nvidia-smi's order"),
        pytest.param(MIXED, {"CUDA_VISIBLE_DEVICES": FIRST, "CUDA_DEVICE_ORDER": "FASTEST_FIRST"}, id="no number"),
        pytest.param(
            machine(FIRST), {"CUDA_VISIBLE_DEVICES": "0", "CUDA_DEVICE_ORDER": "FASTEST_FIRST"}, id="cards all alike"
        ),
        pytest.param(MIXED, {"CUDA_VISIBLE_DEVICES": "0"}, id="no order, as a scheduler leaves it"),
    ],
)
def test_an_order_that_is_known_or_does_not_matter_is_taken(gpus: list[Gpu], environment: dict[str, str]) -> None:
    assert usable(gpus, **environment) == [FIRST]


# --- what is told of them ---


def look(gpus: list[Gpu], *unreadable: str, **environment: str) -> gpu_choice.Visible:
    return gpu_choice.look(Inventory("580.65.06", tuple(gpus), None, unreadable=unreadable), environment)


@pytest.mark.parametrize(
    ("gpus", "environment", "doubt"),
    [
        pytest.param(
            machine(FIRST), {"CUDA_VISIBLE_DEVICES": "0,MIG-typo"}, "has 'MIG-typo', which names", id="a typo"
        ),
        pytest.param(machine(FIRST), {"CUDA_VISIBLE_DEVICES": "1"}, "has '1', which names", id="a number too high"),
        pytest.param(
            machine(FIRST), {"CUDA_VISIBLE_DEVICES": "all"}, "has 'all', which names", id="a container's word"
        ),
        pytest.param(
            machine(FIRST),
            {"CUDA_VISIBLE_DEVICES": FIRST.lower()},
            f"has '{FIRST.lower()}'",
            id="a UUID in small letters",
        ),
        pytest.param(SPLIT, {}, "H200 is in MIG mode and has no slices", id="a card without slices"),
        pytest.param(MIXED, {"CUDA_VISIBLE_DEVICES": "0"}, f"those of nvidia-smi, 1 {TITAN};", id="numbers, no order"),
        pytest.param(
            MIXED,
            {"CUDA_VISIBLE_DEVICES": "0", "CUDA_DEVICE_ORDER": "FASTEST_FIRST"},
            "in which order CUDA puts cards",
            id="numbers in an order that nobody knows",
        ),
    ],
)
def test_cards_that_are_not_there_or_may_not_be_meant_are_told(
    gpus: list[Gpu], environment: dict[str, str], doubt: str
) -> None:
    (told,) = look(gpus, **environment).doubts
    assert doubt in told


@pytest.mark.parametrize(
    ("gpus", "environment"),
    [
        pytest.param(machine(FIRST, SECOND), {}, id="all cards"),
        pytest.param(machine(FIRST, SECOND), {"CUDA_VISIBLE_DEVICES": "1"}, id="numbers of cards all alike"),
        pytest.param(machine(FIRST, SECOND), {"CUDA_VISIBLE_DEVICES": ""}, id="cards hidden by an empty list"),
        pytest.param(machine(FIRST, SECOND), {"CUDA_VISIBLE_DEVICES": "0,-1"}, id="a list ended on purpose"),
        pytest.param(machine(FIRST, SECOND), {"CUDA_VISIBLE_DEVICES": "NoDevFiles"}, id="cards hidden by a scheduler"),
        pytest.param(SPLIT, {"CUDA_VISIBLE_DEVICES": SMALL}, id="a slice beside a card without any"),
        pytest.param([], {}, id="no card"),
    ],
)
def test_nothing_is_told_of_cards_that_are_as_they_were_asked_for(gpus: list[Gpu], environment: dict[str, str]) -> None:
    assert look(gpus, **environment).doubts == ()


@pytest.mark.parametrize(
    ("gpus", "unreadable", "environment", "problem"),
    [
        pytest.param(machine(None), ["GPU 0 is lost"], {}, "GPU 0 is lost", id="a lost card"),
        pytest.param(machine(FIRST), [], {"CUDA_VISIBLE_DEVICES": "-1"}, "CUDA_VISIBLE_DEVICES hides all", id="hidden"),
        pytest.param(machine(None), [], {}, None, id="a card that is not for this user"),
        pytest.param(machine(FIRST), [], {}, None, id="a card"),
    ],
)
def test_why_there_is_no_card_is_what_is_the_case(
    gpus: list[Gpu], unreadable: list[str], environment: dict[str, str], problem: str | None
) -> None:
    assert look(gpus, *unreadable, **environment).problem == problem


def test_one_lost_card_of_two_is_told_and_the_other_one_may_be_used() -> None:
    visible = look(machine(FIRST, None), "GPU 1 is lost")
    assert (visible.doubts, [card.uuid for card in visible.cards]) == (("GPU 1 is lost",), [FIRST])


@pytest.mark.parametrize("is_broken", [True, False])
def test_a_driver_out_of_order_is_told_with_its_reason_and_none_at_all_is_not(*, is_broken: bool) -> None:
    visible = gpu_choice.look(Inventory(None, (), "Driver/library version mismatch", is_broken), {})
    assert visible.problem == "NVML: Driver/library version mismatch"
    assert ["(NVML: Driver/library version mismatch)" in doubt for doubt in visible.doubts] == [True] * is_broken


# --- which kind ---

CARDS = gpu_choice.usable(MIXED, {})


def kind_of(cards: tuple[Card, ...], wanted: str | None) -> set[str | None]:
    return {card.name for card in gpu_choice.of_device(cards, "gpu", wanted, 1)}


def test_a_device_that_names_no_card_is_measured_on_the_kind_with_the_most_memory() -> None:
    assert kind_of(CARDS, None) == {H200}


def test_of_kinds_with_equal_memory_that_with_more_cards_is_taken_and_of_equals_the_first() -> None:
    a, b, c = Card("1", "A", 1.0), Card("2", "B", 1.0), Card("3", "B", 1.0)
    assert kind_of((a, b, c), None) == {"B"}
    assert kind_of((a, b), None) == {"A"}
    assert kind_of((b, a), None) == {"B"}


def test_a_card_without_a_name_is_taken_where_there_is_no_other() -> None:
    assert kind_of((Card("1", None, 9.0), Card("2", "A", 1.0)), None) == {"A"}
    assert kind_of((Card("1", None, 9.0),), None) == {None}


@pytest.mark.parametrize(("wanted", "name"), [("TITAN X", TITAN), ("titan", TITAN), ("H200", H200), (H200, H200)])
def test_a_device_is_measured_on_the_card_that_it_names_in_part(wanted: str, name: str) -> None:
    assert kind_of(CARDS, wanted) == {name}


def test_a_whole_name_names_that_kind_though_another_begins_with_it() -> None:
    assert kind_of((Card("1", "NVIDIA H100", 1.0), Card("2", "NVIDIA H100 NVL", 2.0)), "NVIDIA H100") == {"NVIDIA H100"}


@pytest.mark.parametrize(("wanted", "words"), [("H100", "no kind"), ("NVIDIA", "more than one kind")])
def test_a_name_of_no_kind_or_of_several_is_refused_with_those_there_are(wanted: str, words: str) -> None:
    with pytest.raises(
        InputError, match=rf"the card of 'gpu' in device_settings is '{wanted}'.*{words} .* of: {H200}, NVIDIA TIT"
    ):
        kind_of(CARDS, wanted)
