"""Breaks the code of rooms on purpose, in one place at a time, and counts how often their tests notice.

    make mutations                    # all rooms below, hours
    make mutations ROOMS='plan'       # one of them

Each broken version is a mutant, made by mutmut; a mutant that no test notices has survived. A room is mutated in a
folder of its own below .mutations and held against its own unit tests, of which those that reach the
mutated function are run up to the first failure, in a process that is forked where everything is imported. Prints a
row for each module, and of each survivor where it is and what it changes; exit code 1 where a room kills fewer than
85 %. docs/mutations.md has a run's numbers and what its survivors are. A second call carries on where the first one was
stopped; it makes the mutants of changed functions anew, and with --again it tries those again that had survived.
"""

import argparse
import ast
import difflib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

REPOSITORY: Final = Path(__file__).resolve().parents[1]
FOLDER: Final = REPOSITORY / ".mutations"
RUN_MUTMUT: Final = REPOSITORY / "benchmarks" / "decorated_mutants.py"
KILLED_GOAL: Final = 0.85
KILLED: Final = frozenset({1, 3, -24, 24, 36, 152})
"""Exit codes of mutants that a test noticed: pytest's, or mutmut's where one ran for longer than it may."""

ROOMS: Final = {
    "plan": "tests/plan",
    "run/checks": "tests/run/test_checks.py",
    "results": "tests/results",
    "conclusions": "tests/conclusions",
}
"""The rooms, and their unit tests."""

LEFT_OUT: Final = (
    "tests/conclusions/test_all_tables.py::test_a_new_table_is_one_new_file",
    "tests/conclusions/test_all_tables.py::test_a_new_column_is_its_name_and_its_value",
    "tests/conclusions/test_comparison.py::test_no_answer_to_any_runs_claims_what_no_interval_carries",
    "tests/conclusions/test_headlines.py::test_no_headline_on_any_runs_claims_what_no_interval_carries",
)
"""Tests that start a process or take seconds: too long to be run for each of thousands of mutants."""

# Links to the repository, as mutmut wants it: it takes the names of modules from their paths below src.
LINKS: Final = {
    "src": "workflow/scripts",
    **{name: name for name in ("tests", "config", "docs", "resources")},
}
CONFIGURATION: Final = """
[tool.pytest.ini_options]
pythonpath = ["src", "tests"]

[tool.mutmut]
source_paths = ["src"]
only_mutate = ["src/trainbench/{room}/*"]
also_copy = ["config", "docs", "resources"]
pytest_add_cli_args = ["-p", "no:cacheprovider", "-p", "no:xdist"{deselected}]
pytest_add_cli_args_test_selection = ["{tests}"]
process_isolation = "forkserver"
track_dependencies = false
use_git_change_detection = false
"""


@dataclass(frozen=True)
class Survivor:
    """A mutant that no test noticed: mutmut's key for it, the line of its module, and what that became."""

    key: str
    line: int
    before: str
    after: str


@dataclass(frozen=True)
class Module:
    """What became of the mutants of a module."""

    name: str
    mutants: int
    survivors: tuple[Survivor, ...]

    @property
    def killed(self) -> int:
        """How many of them a test noticed."""
        return self.mutants - len(self.survivors)


def prepared(room: str) -> Path:
    """The folder in which mutmut works on a room."""
    folder = FOLDER / room.replace("/", "-")
    folder.mkdir(parents=True, exist_ok=True)
    for name, target in LINKS.items():
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(REPOSITORY / target)
    deselected = "".join(f', "--deselect", "{test}"' for test in LEFT_OUT if test.startswith(ROOMS[room]))
    text = CONFIGURATION.format(room=room, tests=ROOMS[room], deselected=deselected)
    (folder / "pyproject.toml").write_text(text, encoding="utf-8")
    return folder


def mutate(folder: Path, again: Sequence[str]) -> None:
    """Have mutmut make and try the mutants that have not been tried, or, where some are named, these again."""
    # One at a time: beside another, a test on two cores can take longer than it may.
    command = [sys.executable, str(RUN_MUTMUT), "run", "--max-children", "1", *again]
    subprocess.run(command, cwd=folder, env=os.environ | {"COLUMNS": "100"}, check=True)


def read_modules(folder: Path, room: str) -> Iterator[Module]:
    """What became of the mutants of a room, module by module, from what mutmut wrote."""
    for source in sorted((folder / "src/trainbench" / room).rglob("*.py")):
        mutated = folder / "mutants" / source.relative_to(folder)
        codes = json.loads(mutated.with_suffix(".py.meta").read_text(encoding="utf-8"))["exit_code_by_key"]
        if codes:
            survivors = [key for key, code in codes.items() if code not in KILLED]
            name = source.relative_to(folder / "src/trainbench").as_posix()
            yield Module(name, len(codes), tuple(survivor(source, mutated, key) for key in survivors))


def survivor(source: Path, mutated: Path, key: str) -> Survivor:
    """Where a mutant is and what it changes."""
    mutant = key.rpartition(".")[2]
    original = f"{mutant.partition('__mutmut_')[0]}__mutmut_orig"
    spans = json.loads(mutated.with_suffix(".py.spans").read_text(encoding="utf-8"))["spans"]
    lines = mutated.read_text(encoding="utf-8").splitlines()
    # Their names differ, which is no mutation.
    before, after = (
        [line.replace(mutant, original) for line in lines[spans[name][0] - 1 : spans[name][1]]]
        for name in (original, mutant)
    )
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    _, first, last, new_first, new_last = next(change for change in matcher.get_opcodes() if change[0] != "equal")
    defined_at = next(number for number, line in enumerate(before) if line.lstrip().startswith("def "))
    line = first_line(source, mutant) + first - defined_at
    return Survivor(
        key, line, *(" ".join(map(str.strip, part)) for part in (before[first:last], after[new_first:new_last]))
    )


def first_line(source: Path, mutant: str) -> int:
    """In which line the function is defined that a mutant is one of: its name is x_function or xǁClassǁfunction.

    0 where it is there no more.
    """
    mangled = mutant.partition("__mutmut_")[0]
    found: Any = ast.parse(source.read_text(encoding="utf-8"))
    for name in mangled.split("ǁ")[1:] or [mangled.removeprefix("x_")]:
        found = next((each for each in getattr(found, "body", ()) if getattr(each, "name", None) == name), None)
    return 0 if found is None else int(found.lineno)


def told(room: str, modules: Sequence[Module]) -> Iterator[str]:
    """A row for each module of a room, then its survivors."""
    mutants, killed = sum(one.mutants for one in modules), sum(one.killed for one in modules)
    yield f"## {room}: {killed} of {mutants} mutants killed, {killed / mutants:.1%}\n"
    yield "| module | mutants | killed | survived | killed % |\n|---|--:|--:|--:|--:|"
    for one in modules:
        counts = one.mutants, one.killed, len(one.survivors), f"{100 * one.killed / one.mutants:.0f}"
        yield f"| {one.name} | {' | '.join(map(str, counts))} |"
    yield ""
    for one in modules:
        for each in one.survivors:
            yield f"{one.name}:{each.line} ({each.key.rpartition('.')[2]})\n    - {each.before}\n    + {each.after}"
    yield ""


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rooms", nargs="*", metavar="room", help=f"of {', '.join(ROOMS)}; all where none is named")
    parser.add_argument(
        "--again", action="store_true", help="try those again that survived, as after tests were mended"
    )
    parser.add_argument("--report", action="store_true", help="try none, tell what became of those that were tried")
    given = parser.parse_args()
    shares = []
    for room in given.rooms or ROOMS:
        folder = prepared(room)
        if given.again:
            mutate(folder, [each.key for one in read_modules(folder, room) for each in one.survivors])
        elif not given.report:
            mutate(folder, ())
        modules = list(read_modules(folder, room))
        print(*told(room, modules), sep="\n", flush=True)
        shares.append(sum(one.killed for one in modules) / sum(one.mutants for one in modules))
    return int(min(shares) < KILLED_GOAL)


if __name__ == "__main__":
    sys.exit(main())
