"""A rule's fingerprint covers the rooms that its result depends on."""

import re
from pathlib import Path

import grimp
import pytest

from trainbench import engines
from trainbench.figures import of_study
from trainbench.files import fingerprint
from trainbench.rules import rooms

RULES = Path(__file__).parents[2] / "workflow" / "rules"

STARTS = {
    "train.py": ["run.launch", "run.training", "run.monitor"],
    "make_tables.py": ["conclusions.analysis"],
    "make_baseline_tables.py": ["conclusions.baseline", "results.sources"],
    "draw_figure.py": [f"figures.of_study.{name}" for name in of_study.NAMES],
    "draw_timelines.py": ["figures.timeline"],
    "make_report.py": ["page.report"],
}
"""Of each rule's script, the modules that its work begins with: launch starts processes by their modules' names."""

NO_RESULT = {"errors", "engines", "words"}
"""What may be imported and alters no measurement: the sentences of errors, the registry of frameworks, words."""


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
    match["script"]: match["named"] or "train.py"
    for path in sorted(RULES.glob("*.smk"))
    for match in re.finditer(
        r"code=(?:rooms\.code_of\(\"(?P<named>\w+\.py)\"\)|each_run\(Call\.code\)),\s+"
        r"script:\s+\"\.\./scripts/(?P<script>\w+\.py)\"",
        path.read_text(encoding="utf-8"),
    )
}
"""Of each rule's script, the one that its fingerprint is for."""


def test_every_rule_that_makes_files_has_the_fingerprint_of_its_script() -> None:
    assert {script: script for script in rooms.OF_SCRIPTS} == USED


def test_of_every_script_it_is_known_with_which_modules_its_work_begins() -> None:
    assert rooms.OF_SCRIPTS.keys() == STARTS.keys()


@pytest.mark.parametrize("script", STARTS)
def test_a_result_depends_on_no_room_that_its_fingerprint_leaves_out(script: str) -> None:
    assert imported(STARTS[script]) - NO_RESULT <= set(rooms.OF_SCRIPTS[script])


@pytest.mark.parametrize("framework", engines.ENGINES)
def test_an_engine_imports_nothing_that_is_not_counted_with_its_runs(framework: str) -> None:
    module = engines.ENGINES[framework].module.removeprefix("trainbench.")
    assert imported([module]) - NO_RESULT <= {*rooms.RUN, f"engines/{framework}"}


@pytest.mark.parametrize("framework", engines.ENGINES)
def test_a_run_depends_on_the_engine_of_its_framework_and_on_its_rules_script(framework: str) -> None:
    expected = fingerprint.of_rooms([*rooms.RUN, f"engines/{framework}"], "train.py")
    assert rooms.code_of_run(framework) == expected


def test_an_edit_of_a_script_makes_its_results_again() -> None:
    assert rooms.code_of("draw_figure.py") != rooms.code_of("draw_timelines.py")
