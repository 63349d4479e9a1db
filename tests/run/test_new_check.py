"""A new check is one function: what docs/how-to/new-check.md says, done to a copy of the package."""

import ast
import json
from pathlib import Path

import pytest

from documented_changes import add_at_end, blocks, carry_out, copied

FIND = """
import json
from types import SimpleNamespace
from trainbench.run.checks import CHECKS

(check,) = (check for check in CHECKS if check.name == "few_epochs")
found = [check(SimpleNamespace(epoch_seconds=[1.0] * epochs)) for epochs in (3, 4)]
print(json.dumps([finding and [finding.name, finding.level, finding.finding] for finding in found]))
"""

(FUNCTION,) = blocks("new-check.md", "python")


def test_what_the_page_adds_is_one_function() -> None:
    assert [type(part) for part in ast.parse(FUNCTION).body] == [ast.FunctionDef]


@pytest.fixture
def found(tmp_path: Path) -> list[list[str] | None]:
    """What the check finds of runs with three and with four epochs."""
    package = copied(tmp_path)
    add_at_end(package / "run" / "checks" / "pace.py", FUNCTION)
    found: list[list[str] | None] = json.loads(carry_out(FIND, package))
    return found


def test_a_new_check_is_carried_out_without_anything_naming_it(found: list[list[str] | None]) -> None:
    sentence = "the run's figure is the median of 2 steady epochs"
    assert found == [["few_epochs", "info", sentence], None]
