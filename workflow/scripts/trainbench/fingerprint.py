"""Says in one short string what a rule's result depends on: code, or the bytes of files.

Standard library only: rules call it whenever Snakemake reads them. Snakemake tracks neither the modules that a script
imports nor contents independent of modification times, so rules carry these fingerprints among their params.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

PACKAGE: Final = Path(__file__).resolve().parent


def of_code(modules: Iterable[str]) -> str:
    """SHA-256 over the named files of the package (paths relative to it, as in `engines/tensorflow.py`)."""
    return of_files(PACKAGE / module for module in modules)


def of_files(paths: Iterable[Path]) -> str:
    """SHA-256 over names and bytes of `paths`, whatever their order, folders and modification times."""
    return of_texts(*sorted(f"{path.name}\0{_of_bytes(path)}" for path in paths))


def _of_bytes(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def of_texts(*texts: str) -> str:
    """SHA-256 over `texts` in their order."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()
