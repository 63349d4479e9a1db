"""Says in one short string what a rule's result depends on: code, or the bytes of files.

Standard library only: rules call it whenever Snakemake reads them. Snakemake tracks neither the modules that a script
imports nor contents independent of modification times, so rules carry these fingerprints among their params.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

PACKAGE: Final = Path(__file__).resolve().parents[1]
SCRIPTS: Final = PACKAGE.parent


def of_rooms(rooms: Iterable[str], script: str | None = None) -> str:
    """SHA-256 over all files of these rooms, folders or modules of the package (`engines/jax`), and a rule's script."""
    files = [SCRIPTS / script] if script else []
    for room in (PACKAGE / name for name in rooms):
        if room.is_dir():
            files += [path for path in room.rglob("*") if path.is_file() and path.suffix != ".pyc"]
        else:
            files.append(room.with_suffix(".py"))
    return of_files(files)


def of_files(paths: Iterable[Path]) -> str:
    """SHA-256 over names and bytes of `paths`, whatever their order, folders and modification times."""
    return of_texts(*sorted(f"{path.name}\0{_of_bytes(path)}" for path in paths))


def _of_bytes(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def of_texts(*texts: str) -> str:
    """SHA-256 over `texts` in their order."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()
