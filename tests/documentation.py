"""Takes the documentation apart: its pages, their sections, tables, code blocks and links."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = sorted(
    [
        *(REPOSITORY / name for name in ("README.md", "CHANGELOG.md", "config/README.md")),
        *(REPOSITORY / "docs").rglob("*.md"),
        *(REPOSITORY / "resources").rglob("*.md"),
        *(REPOSITORY / "benchmarks").rglob("*.md"),
    ]
)

_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^(#{1,6}) +(.+?) *$", re.MULTILINE)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`]+)`")


@dataclass(frozen=True)
class Section:
    """A heading and the text below it, up to the next heading of any level; `above` are the headings it stands in."""

    heading: str
    text: str
    above: tuple[str, ...] = ()


@dataclass(frozen=True)
class Block:
    """A block of code: its language, "" where none is named, and its lines."""

    language: str
    text: str


@dataclass(frozen=True)
class Page:
    """One page in Markdown."""

    path: Path
    _text: str = field(repr=False)

    @classmethod
    def read(cls, path: Path) -> "Page":
        return cls(path, path.read_text(encoding="utf-8"))

    @property
    def name(self) -> str:
        """The page's path in the repository."""
        return self.path.relative_to(REPOSITORY).as_posix()

    @cached_property
    def blocks(self) -> list[Block]:
        """The code blocks, those in lists without their indentation."""
        return [
            Block(language, re.sub(rf"^{indent}", "", text, flags=re.MULTILINE))
            for indent, language, text in _FENCE.findall(self._text)
        ]

    @cached_property
    def prose(self) -> str:
        """The page without its code blocks."""
        return _FENCE.sub("", self._text)

    @cached_property
    def sections(self) -> list[Section]:
        """All sections, in order."""
        found = list(_HEADING.finditer(self.prose))
        ends = [*(match.start() for match in found[1:]), len(self.prose)]
        sections: list[Section] = []
        levels: list[tuple[int, str]] = []
        for match, end in zip(found, ends, strict=True):
            level, heading = len(match[1]), match[2]
            levels = [above for above in levels if above[0] < level]
            above = tuple(name for _, name in levels)
            sections.append(Section(heading, self.prose[match.end() : end], above))
            levels.append((level, heading))
        return sections

    @cached_property
    def anchors(self) -> set[str]:
        """The anchors of its headings, as GitHub makes them."""
        anchors: set[str] = set()
        for section in self.sections:
            plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", section.heading)
            anchor = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
            number = 0
            while (name := f"{anchor}-{number}" if number else anchor) in anchors:
                number += 1
            anchors.add(name)
        return anchors

    @cached_property
    def codes(self) -> list[str]:
        """The pieces of code in its text, each on one line."""
        return [" ".join(code.split()) for code in _CODE.findall(self.prose)]

    @cached_property
    def links(self) -> list[str]:
        """Where its links lead, in order, those of pictures among them; what looks like one in code is none."""
        return _LINK.findall(_CODE.sub("", self.prose))


def rows(text: str) -> Iterator[Mapping[str, str]]:
    """The rows of all Markdown tables in a text, each by its column."""
    header: list[str] = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if not line.startswith("|"):
            header = []
        elif not header:
            header = [cell.strip(" |") for cell in cells]
        elif not line.startswith("|---"):
            yield dict(zip(header, cells, strict=True))


def names(cell: str) -> list[str]:
    """The names in the code of a table's cell, braces expanded: `a{,_low}`, `b` is a, a_low and b."""
    return [name for code in _CODE.findall(cell) for name in expanded(code)]


def expanded(text: str) -> list[str]:
    """All texts that braces stand for, as a shell expands them: {a,b}c is ac and bc."""
    parts = [part.split(",") if index % 2 else [part] for index, part in enumerate(re.split(r"\{([^}]*)\}", text))]
    return ["".join(chosen) for chosen in product(*parts)]
