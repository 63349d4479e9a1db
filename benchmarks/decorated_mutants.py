"""Runs mutmut, in the folder that it is called in, so that it mutates functions with our decorators too.

mutmut leaves out every decorated function, because it would copy the decorators to each mutant: each copy of a check
would be a check. Here they stay on the one function that hands the call on to a mutant. A part of mutations.py.
"""

import gc
import io
import sys
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import libcst
import pytest
from _pytest.config import _prepareconfig
from mutmut.__main__ import cli
from mutmut.mutation import file_mutation
from mutmut.runners.harness import PytestRunner
from mutmut.state import state
from mutmut.utils.file_utils import change_cwd
from mutmut.utils.format_utils import get_module_from_key, mangled_name_from_mutant_name
from mutmut.workers import isolation

OURS: Final = frozenset({"check", "property", "cache", "lru_cache"})
HANDLED: Final = frozenset({"staticmethod", "classmethod"})
"""Decorators that mutmut handles itself."""


def name_of(decorator: libcst.Decorator) -> str:
    """What a decorator is called, whatever its arguments."""
    called = decorator.decorator
    return libcst.ensure_type(called.func if isinstance(called, libcst.Call) else called, libcst.Name).value


def decorators_of(function: libcst.FunctionDef) -> set[str]:
    """The names of a function's decorators."""
    return set(map(name_of, function.decorators))


class Visitor(file_mutation.MutationVisitor):
    """Finds what can be mutated."""

    def _skip_node_and_children(self, node: libcst.CSTNode) -> bool:
        if isinstance(node, libcst.FunctionDef) and node.decorators and decorators_of(node) <= OURS:
            return False
        return super()._skip_node_and_children(node)


arranged = file_mutation.function_trampoline_arrangement


def arranged_with_bare_copies(function: libcst.FunctionDef, *others: Any, **named: Any) -> Any:
    """The code of a function and its mutants."""
    declared, (switch, *copies), assigned, names = arranged(function, *others, **named)
    if not decorators_of(function) <= HANDLED:
        copies = [copy.with_changes(decorators=[]) for copy in copies]
        # With results kept from test to test, only the first one that asks would be seen to reach the function.
        kept = [each for each in switch.decorators if name_of(each) != "lru_cache"]
        switch = switch.with_changes(decorators=kept)
    return declared, [switch, *copies], assigned, names


class CollectedOnce(PytestRunner):
    """Runs a mutant's tests among those that were collected before the fork.

    Those come first that noticed other mutants of its function, then those in the file that is called like its module,
    then the quickest: most mutants need no other.
    """

    session: pytest.Session | None = None
    failed: str | None = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A hook of pytest's."""
        self.failed = report.nodeid if report.failed else self.failed

    def warm_up(self) -> None:
        """Collect the tests, in the process that is then forked for each mutant."""
        # Collecting garbage at the end of each of thousands of sessions takes longer than their tests.
        options = ["--rootdir=.", "-x", "-s", "-p", "no:unraisableexception", "-p", "no:threadexception"]
        arguments = [*options, *self._pytest_add_cli_args, *self._pytest_add_cli_args_test_selection]
        sys.stdout = io.StringIO()  # whatever the tests report: nobody reads it, the exit code tells
        with change_cwd("mutants"):
            config = _prepareconfig(arguments)
            config.pluginmanager.register(self)
            config._do_configure()
            self.session = pytest.Session.from_config(config)
            config.hook.pytest_sessionstart(session=self.session)
            config.hook.pytest_collection(session=self.session)
        gc.freeze()

    def run_tests(self, *, mutant_name: str | None, tests: Iterable[str]) -> int:
        """1 where a test fails."""
        if self.session is None:
            return super().run_tests(mutant_name=mutant_name, tests=tests)
        function = mangled_name_from_mutant_name(str(mutant_name))
        own_file = f"test_{get_module_from_key(function).rpartition('.')[2]}.py"
        # Each mutant has a process of its own: what one has found out, the next one reads from a file.
        noticed = Path("mutants", f"{function}.noticed").absolute()
        earlier = Counter(noticed.read_text(encoding="utf-8").splitlines() if noticed.exists() else ())
        chosen = set(tests)
        self.session.items = sorted(
            (item for item in self.session.items if item.nodeid in chosen),
            key=lambda item: (
                -earlier[item.nodeid],
                item.path.name != own_file,
                state().duration_by_test[item.nodeid],
            ),
        )
        with change_cwd("mutants"), suppress(pytest.Session.Failed):
            self.session.config.hook.pytest_runtestloop(session=self.session)
        if self.failed is None:
            return 0
        with noticed.open("a", encoding="utf-8") as file:
            file.write(f"{self.failed}\n")
        return 1


if __name__ == "__main__":
    file_mutation.MutationVisitor = Visitor
    file_mutation.function_trampoline_arrangement = arranged_with_bare_copies
    isolation.PytestRunner = CollectedOnce
    cli()
