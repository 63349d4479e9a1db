"""docs/architecture.md shows the rooms as they are, and ways through them that the code takes."""

import re
import tomllib

import pytest

import rooms
from documentation import REPOSITORY, Page

PAGE = Page.read(REPOSITORY / "docs/architecture.md")
PACKAGE = REPOSITORY / "workflow/scripts/trainbench"
CONTRACTS = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
    "contracts"
]
FLOORS = [re.findall(r"\w+", layer) for contract in CONTRACTS for layer in contract.get("layers", ())]

(PICTURE,) = (block.text for block in PAGE.blocks if block.language == "mermaid")
(WAYS,) = (section.text for section in PAGE.sections if section.heading == "The way through the rooms")
FILES = {
    name: re.findall(r"^\d\. `(\S+\.py)`[:,] (.*(?:\n   .*)*)", steps, re.MULTILINE)
    for name, steps in re.findall(r"^\*\*(.+)\*\*\n\n((?:(?:\d\.|  ) .*\n)+)", WAYS, re.MULTILINE)
}
"""By what goes a way: its files, each with what is said of it."""


def test_the_rooms_on_the_page_are_what_the_command_makes():
    assert rooms.page() == PAGE.path.read_text(encoding="utf-8")


def test_the_floors_of_the_picture_are_those_that_import_linter_holds():
    assert [re.findall(r"\w+", floor) for floor in re.findall(r'\[" "\]; (.+); end', PICTURE)] == FLOORS


def test_every_arrow_of_the_picture_leads_down():
    floor_of = {room: number for number, floor in enumerate(FLOORS) for room in floor}
    arrows = [(above, re.findall(r"\w+", below)) for above, below in re.findall(r"(\w+) --> (.+)", PICTURE)]
    assert [(above, room) for above, below in arrows for room in below if floor_of[room] <= floor_of[above]] == []


def test_arrows_that_follow_from_others_are_left_out():
    arrows = {
        "page": {"results", "files", "words"},
        "results": {"files"},
        "files": {"errors"},
        "words": set(),
        "errors": set(),
    }
    assert rooms.needed(arrows) == {**arrows, "page": {"results", "words"}}


def test_of_every_room_the_page_says_what_it_must_never_know():
    assert all(len(rooms.words(room)) == 4 for floor in FLOORS for room in floor)


@pytest.mark.parametrize("way", ["Seconds an epoch on the page", "The flag `other_load`", "`device_settings.threads`"])
def test_a_way_goes_through_at_most_five_files_and_none_twice(way):
    files = [file for file, _ in FILES[way]]
    assert 0 < len(files) <= 5
    assert len(set(files)) == len(files)


@pytest.mark.parametrize("way", FILES)
def test_a_way_comes_back_to_no_room_that_it_has_left(way):
    passed = [file.partition("/")[0] for file, _ in FILES[way]]
    entered = [room for before, room in zip(["", *passed], passed, strict=False) if room != before]
    assert len(set(entered)) == len(entered)


@pytest.mark.parametrize(("file", "said"), [step for steps in FILES.values() for step in steps])
def test_a_file_on_a_way_has_what_the_page_says_of_it(file, said):
    text = (PACKAGE / file).read_text(encoding="utf-8")
    named = re.findall(r"`(\w+)`", said)
    assert named
    assert [name for name in named if not re.search(rf"\b{name}\b", text)] == []
