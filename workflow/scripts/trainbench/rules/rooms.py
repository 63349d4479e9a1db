"""Says on which rooms of the package a rule's result depends: an edit in one of them makes it again, and no others."""

from collections.abc import Mapping
from functools import cache
from typing import Final

from trainbench.files import fingerprint

RUN: Final = ("run", "machine", "datasets", "networks", "records", "files", "engines/shared")
"""Of a run, beside its framework's engine; the registry names all engines, and a new one alters no other's runs."""

_TABLES: Final = ("results", "conclusions", "records", "files", "words")
_FIGURES: Final = ("figures", *_TABLES)

OF_SCRIPTS: Final[Mapping[str, tuple[str, ...]]] = {
    "train.py": RUN,
    "make_tables.py": _TABLES,
    "make_baseline_tables.py": _TABLES,
    "draw_figure.py": _FIGURES,
    "draw_timelines.py": _FIGURES,
    "make_report.py": ("page", *_FIGURES),
}
"""By a rule's script."""


@cache
def code_of(script: str) -> str:
    """The fingerprint of the code that the result of a rule with this script depends on."""
    return fingerprint.of_rooms(OF_SCRIPTS[script], script)


@cache
def code_of_run(framework: str) -> str:
    """The fingerprint of the code that a run with this framework depends on."""
    return fingerprint.of_rooms([*RUN, f"engines/{framework}"], "train.py")
