"""Fingerprints follow contents and names; the rules' lists of code are what the modules really import."""

import ast
import os
import re
from pathlib import Path

import grimp
import pytest

from trainbench import engines, fingerprint

REPOSITORY = Path(__file__).parents[2]
RULES = (REPOSITORY / "workflow" / "rules" / "common.smk").read_text(encoding="utf-8")
LAUNCH = (fingerprint.PACKAGE / "launch.py").read_text(encoding="utf-8")

# launch starts processes by their modules' names, and engines are imported by name: no import shows it.
PROCESSES = re.findall(r'"-m", "(trainbench\.\w+)"', re.sub(r",\s+", ", ", LAUNCH))
TRAINING = ["trainbench.launch", *PROCESSES]

# What engines import of each other's: a run imports it with whichever engine it has.
SHARED_BY_ENGINES = ["trainbench.engines.common", "trainbench.engines.ceilings"]

# A run depends on its own framework's engine besides. The registry names all of them: a new one alters no other's runs.
REGISTRY = "engines/__init__.py"

LISTS = {
    "DATASET_CODE": (["trainbench.dataset"], set()),
    "TRAINING_CODE": ([*TRAINING, *SHARED_BY_ENGINES], {"../train.py", "../../schemas/metrics.schema.json"}),
    "TABLES_CODE": (
        ["trainbench.analysis"],
        {"../make_tables.py", "../../schemas/metrics.schema.json", "../../schemas/published.schema.json"},
    ),
    "BASELINE_CODE": (
        ["trainbench.baseline", "trainbench.sources"],
        {"../make_baseline_tables.py", "../../schemas/metrics.schema.json"},
    ),
    "FIGURES_CODE": (["trainbench.figures"], {"../draw_figure.py", "figures.mplstyle"}),
    "TIMELINE_CODE": (["trainbench.timeline"], {"../draw_timelines.py", "figures.mplstyle"}),
    "PAGE_CODE": (
        ["trainbench.report"],
        {
            *("../make_report.py", "figures.mplstyle"),
            *(f"../../templates/report.{kind}" for kind in ("css", "html.j2", "js")),
        },
    ),
}
"""Each list's modules to start from, and the other files that count: the rule's script, and what modules read."""


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


def test_code_is_named_relative_to_the_package() -> None:
    expected = fingerprint.of_files(fingerprint.PACKAGE / name for name in ("idx.py", "engines/__init__.py"))
    assert fingerprint.of_code(["engines/__init__.py", "idx.py"]) == expected


def test_texts_are_kept_apart() -> None:
    assert fingerprint.of_texts("ab", "c") != fingerprint.of_texts("a", "bc")


def test_the_order_of_texts_counts() -> None:
    assert fingerprint.of_texts("a", "b") != fingerprint.of_texts("b", "a")


# --- the rules' lists of code ---


def listed(name: str) -> list[str]:
    """Give the texts in the list that `common.smk` assigns to `name`."""
    match = re.search(rf"^{name} = (\[.*?\])$", RULES, re.MULTILINE | re.DOTALL)
    assert match, f"common.smk assigns no list to {name}"
    return [node.value for node in ast.walk(ast.parse(match[1])) if isinstance(node, ast.Constant)]


def imported(starts: list[str]) -> set[str]:
    """Give the files of all modules that `starts` import, themselves included, whether directly or not.

    The package's own __init__ is left out: it holds the version alone, which each metrics file records.
    """
    graph = grimp.build_graph("trainbench", cache_dir=None)
    modules = set(starts).union(*(graph.find_upstream_modules(start) for start in starts))
    packages = {module.rpartition(".")[0] for module in modules}
    return {file_of(module) for module in (modules | packages) - {"", "trainbench"}} - {REGISTRY}


def file_of(module: str) -> str:
    path = "/".join(module.split(".")[1:])
    return f"{path}/__init__.py" if (fingerprint.PACKAGE / path).is_dir() else f"{path}.py"


@pytest.mark.parametrize("name", LISTS)
def test_a_list_of_code_holds_what_its_modules_import(name: str) -> None:
    starts, other_files = LISTS[name]
    assert set(listed(name)) == imported(starts) | other_files


@pytest.mark.parametrize("framework", engines.ENGINES)
def test_an_engine_imports_nothing_that_is_not_counted_with_its_runs(framework: str) -> None:
    engine = engines.ENGINES[framework]
    assert imported([engine.module]) <= {*listed("TRAINING_CODE"), engine.code}


@pytest.mark.parametrize("name", re.findall(r"^(\w+_CODE) =", RULES, re.MULTILINE))
def test_every_list_of_code_is_held_to_the_imports(name: str) -> None:
    assert name in LISTS


def test_both_processes_of_a_run_count_as_training() -> None:
    assert sorted(PROCESSES) == ["trainbench.monitor", "trainbench.training"]


# A run's fingerprint is that of TRAINING_CODE and its engine.
RULES_WITH_SCRIPT = [
    (match["code"] or "TRAINING_CODE", match["script"])
    for path in sorted((REPOSITORY / "workflow" / "rules").glob("*.smk"))
    for match in re.finditer(
        r"(?:of_code\((?P<code>\w+)\)|code=(?P<run>run_code)),\s+script:\s+\"\.\./scripts/(?P<script>\w+\.py)\"",
        path.read_text(),
    )
]


@pytest.mark.parametrize(("name", "script"), RULES_WITH_SCRIPT)
def test_a_list_of_code_holds_its_rule_s_script(name: str, script: str) -> None:
    assert f"../{script}" in listed(name)


def test_every_rule_that_makes_files_names_its_code() -> None:
    made = {
        "train.py",
        "make_tables.py",
        "make_baseline_tables.py",
        "draw_figure.py",
        "draw_timelines.py",
        "make_report.py",
    }
    assert {script for _, script in RULES_WITH_SCRIPT} == made
