"""Draws the rooms of the package, with their floors and what each is for, into docs/architecture.md.

    .venv/bin/python docs/rooms.py

Floors are those of import-linter in pyproject.toml, arrows the imports of the code, words those of the rooms' own
docstrings. A test holds that the page has what this makes.
"""

import ast
import re
import sys
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import grimp

REPOSITORY: Final = Path(__file__).resolve().parents[1]
PAGE: Final = REPOSITORY / "docs" / "architecture.md"
SCRIPTS: Final = REPOSITORY / "workflow" / "scripts"
PACKAGE: Final = "trainbench"
BEGIN: Final = "<!-- Made by .venv/bin/python docs/rooms.py: edit the rooms' docstrings instead. -->\n"
END: Final = "<!-- Up to here. -->\n"

_WORDS: Final = re.compile(r"(.+?)\. In: (.+?)\. Out: (.+?)\. Must never know: (.+?)\.( |$)")

Imports = Mapping[str, set[str]]


def floors() -> list[list[str]]:
    """The rooms of each floor, the highest first."""
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    (layers,) = (found["layers"] for found in settings["tool"]["importlinter"]["contracts"] if "layers" in found)
    return [[room.strip() for room in layer.split("|")] for layer in layers]


def imports(rooms: Iterable[str]) -> Imports:
    """Which rooms each room imports."""
    if str(SCRIPTS) not in sys.path:
        sys.path.insert(0, str(SCRIPTS))
    graph = grimp.build_graph(PACKAGE, cache_dir=None)
    names = {room: f"{PACKAGE}.{room}" for room in rooms}
    for name in names.values():
        graph.squash_module(name)
    found = {room: graph.find_modules_directly_imported_by(name) for room, name in names.items()}
    return {room: {other for other, name in names.items() if name in found[room]} - {room} for room in names}


def needed(arrows: Imports) -> dict[str, set[str]]:
    """The arrows that do not follow from others."""

    def reached(room: str) -> set[str]:
        return arrows[room].union(*map(reached, arrows[room]))

    return {room: others - set().union(*map(reached, others)) for room, others in arrows.items()}


def words(room: str) -> tuple[str, ...]:
    """What a room is for, what comes in, what goes out, and what it must never know."""
    path = SCRIPTS / PACKAGE / room
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    docstring = " ".join((ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").split())
    found = _WORDS.match(docstring)
    if found is None:
        sys.exit(f"{file} does not say 'In: ... Out: ... Must never know: ...' after what it is for")
    return found.groups()[:-1]


def picture() -> str:
    """The rooms as a diagram, a box a floor, and as a table."""
    by_floor = floors()
    rooms = [room for floor in by_floor for room in floor]
    arrows = needed(imports(rooms))
    lines = ["```mermaid", "flowchart TB"]
    for number, floor in enumerate(by_floor):
        lines.append(f'    subgraph floor{number}[" "]; {"; ".join(floor)}; end')
    # Lines that are not drawn keep each floor below the one before it.
    lines.append(f"    {' ~~~ '.join(' & '.join(floor) for floor in by_floor)}")
    lines += [f"    {room} --> {' & '.join(sorted(arrows[room], key=rooms.index))}" for room in rooms if arrows[room]]
    lines += ["```", "", "| room | is for | in | out | must never know |", "|---|---|---|---|---|"]
    lines += [f"| {' | '.join((f'`{room}`', *words(room)))} |" for room in rooms]
    return "\n".join((*lines, ""))


def page() -> str:
    """The page as it is, with the picture as it should be."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{picture()}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
