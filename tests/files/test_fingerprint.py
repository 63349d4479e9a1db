"""Fingerprints follow contents and names; those of rules cover the rooms that their results depend on."""

import os
import re
from pathlib import Path

import grimp
import pytest

from trainbench import engines
from trainbench.files import fingerprint

REPOSITORY = Path(__file__).parents[2]
RULES = REPOSITORY / "workflow" / "rules"
COMMON = (RULES / "common.smk").read_text(encoding="utf-8")

STARTS = {
    "train.py": ["run.launch", "run.training", "run.monitor"],
    "make_tables.py": ["conclusions.analysis"],
    "make_baseline_tables.py": ["conclusions.baseline", "results.sources"],
    "draw_figure.py": ["figures.figures"],
    "draw_timelines.py": ["figures.timeline"],
    "make_report.py": ["page.report"],
}
"""Of each rule's script, the modules that its work begins with: launch starts processes by their modules' names."""

NO_RESULT = {"errors", "engines", "words"}
"""What may be imported and alters no measurement: the sentences of errors, the registry of frameworks, words."""


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / name for name in ("a.py", "b.py")]
    for path in paths:
        path.write_text(f"contents of {path.name}", encoding="utf-8")
    return paths


# --- fingerprints ---


def test_a_fingerprint_changes_with_contents(files: list[Path]) -> None:
    before = fingerprint.of_files(files)
    files[0].write_text("other contents", encoding="utf-8")
    assert fingerprint.of_files(files) != before


def test_a_fingerprint_does_not_change_with_modification_times(files: list[Path]) -> None:
    before = fingerprint.of_files(files)
    os.utime(files[0], (0, 0))
    assert fingerprint.of_files(files) == before


def test_a_fingerprint_does_not_change_with_the_order_of_files(files: list[Path]) -> None:
    assert fingerprint.of_files(reversed(files)) == fingerprint.of_files(files)


def test_a_fingerprint_does_not_change_with_the_order_of_files_of_one_name(files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (namesake := tmp_path / "folder" / files[0].name).write_text("of the same name", encoding="utf-8")
    assert fingerprint.of_files([namesake, *files]) == fingerprint.of_files([*files, namesake])


def test_a_fingerprint_does_not_change_with_the_folder(files: list[Path], tmp_path: Path) -> None:
    before = fingerprint.of_files(files)
    (tmp_path / "folder").mkdir()
    assert fingerprint.of_files(path.rename(tmp_path / "folder" / path.name) for path in files) == before


def test_a_fingerprint_changes_with_a_name(files: list[Path]) -> None:
    before = fingerprint.of_files(files)
    assert fingerprint.of_files([files[0].rename(files[0].with_name("c.py")), files[1]]) != before


def test_contents_that_move_from_one_file_to_another_change_the_fingerprint(files: list[Path]) -> None:
    before = fingerprint.of_files(files)
    first, second = (path.read_bytes() for path in files)
    files[0].write_bytes(second)
    files[1].write_bytes(first)
    assert fingerprint.of_files(files) != before


def test_a_room_is_all_files_below_its_folder() -> None:
    paths = [path for path in (fingerprint.PACKAGE / "engines" / "jax").rglob("*") if path.suffix != ".pyc"]
    assert fingerprint.of_rooms(["engines/jax"]) == fingerprint.of_files(path for path in paths if path.is_file())


def test_a_room_may_be_one_module() -> None:
    assert fingerprint.of_rooms(["errors"]) == fingerprint.of_files([fingerprint.PACKAGE / "errors.py"])


def test_a_rules_script_counts_with_its_rooms() -> None:
    files = [fingerprint.PACKAGE / "errors.py", fingerprint.SCRIPTS / "train.py"]
    assert fingerprint.of_rooms(["errors"], "train.py") == fingerprint.of_files(files)


def test_texts_are_kept_apart() -> None:
    assert fingerprint.of_texts("ab", "c") != fingerprint.of_texts("a", "bc")


def test_the_order_of_texts_counts() -> None:
    assert fingerprint.of_texts("a", "b") != fingerprint.of_texts("b", "a")


# --- the rooms of rules ---


def rooms(name: str) -> set[str]:
    """The rooms in the list that `common.smk` assigns to `name`."""
    (assigned,) = re.findall(rf"^{name} = \[(.*)\]$", COMMON, re.MULTILINE)
    listed = {part.strip() for part in assigned.split(",")}
    return {room for part in listed for room in (rooms(part[1:]) if part.startswith("*") else {part.strip('"')})}


def room_of(module: str) -> str:
    """The room of a module; of engines, the shared one, a framework's or the registry."""
    _, room, *rest = module.split(".")
    return f"engines/{rest[0]}" if room == "engines" and rest else room


def imported(starts: list[str]) -> set[str]:
    """The rooms of all modules that `starts` import, themselves included, whether directly or not."""
    graph = grimp.build_graph("trainbench", cache_dir=None)
    names = [f"trainbench.{start}" for start in starts]
    modules = set(names).union(*(graph.find_upstream_modules(name) for name in names))
    return {room_of(module) for module in modules - {"trainbench"}}


USED = {
    match["script"]: match["rooms"] or "RUN_ROOMS"
    for path in sorted(RULES.glob("*.smk"))
    for match in re.finditer(
        r"code=(?:fingerprint\.of_rooms\((?P<rooms>\w+), \"(?P<named>\w+\.py)\"\)|run_code),\s+"
        r"script:\s+\"\.\./scripts/(?P<script>\w+\.py)\"",
        path.read_text(encoding="utf-8"),
    )
    if match["named"] in {None, match["script"]}
}
"""Of each rule's script, the name of the rooms that its fingerprint covers, with that very script."""


def test_every_rule_that_makes_files_names_its_rooms_and_its_script() -> None:
    assert USED.keys() == STARTS.keys()


@pytest.mark.parametrize("script", STARTS)
def test_a_result_depends_on_no_room_that_its_fingerprint_leaves_out(script: str) -> None:
    assert imported(STARTS[script]) - NO_RESULT <= rooms(USED[script])


@pytest.mark.parametrize("framework", engines.ENGINES)
def test_an_engine_imports_nothing_that_is_not_counted_with_its_runs(framework: str) -> None:
    module = engines.ENGINES[framework].module.removeprefix("trainbench.")
    assert imported([module]) - NO_RESULT <= rooms("RUN_ROOMS") | {f"engines/{framework}"}
