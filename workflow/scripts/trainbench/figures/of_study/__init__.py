"""The figures of a whole study: a module each, whose first line says what it shows.

Each module has `TITLE` and `CAPTION`, the words of the page around it, and `draw`. It is found by its place in this
folder. Rules read this whenever Snakemake starts, so it imports nothing that draws.
"""

import ast
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Final

_FOLDER: Final = Path(__file__).parent

NAMES: Final = tuple(sorted(path.stem for path in _FOLDER.glob("[!_]*.py")))


def figure(name: str) -> ModuleType:
    """The module of a figure."""
    return import_module(f"{__name__}.{name}")


def shows(name: str) -> str:
    """What a figure shows, without importing it."""
    docstring = ast.get_docstring(ast.parse((_FOLDER / f"{name}.py").read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n\n")[0]
