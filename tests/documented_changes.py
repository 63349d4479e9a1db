"""Makes, in a copy of the package, the changes that the how-tos describe: from the blocks of code on their pages."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from documentation import REPOSITORY, Page

PACKAGE = Path("workflow", "scripts", "trainbench")


def blocks(page: str, language: str) -> list[str]:
    """The blocks of code of a how-to, those in one language."""
    return [block.text for block in Page.read(REPOSITORY / "docs/how-to" / page).blocks if block.language == language]


def copied(folder: Path) -> Path:
    """The package in a folder of its own, where it lies as in the repository."""
    shutil.copytree(REPOSITORY / PACKAGE, folder / PACKAGE, ignore=shutil.ignore_patterns("__pycache__"))
    return folder / PACKAGE


def carry_out(program: str, package: Path, *arguments: str) -> str:
    """What a program prints that imports this copy of the package."""
    command = [sys.executable, "-c", program, *arguments]
    environment = os.environ | {"PYTHONPATH": str(package.parent)}
    return subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout


def apply(diff: str, folder: Path) -> None:
    """Change files below a folder as a diff says, each part of which has to fit in one place and no other."""
    for name, parts in re.findall(r"^\+\+\+ b/(\S+)\n(.*?)(?=^--- |\Z)", diff, re.MULTILINE | re.DOTALL):
        text = (folder / name).read_text(encoding="utf-8")
        for part in re.split(r"^@@.*\n", parts, flags=re.MULTILINE)[1:]:
            lines = part.splitlines(keepends=True)
            before = "".join(line[1:] for line in lines if not line.startswith("+"))
            after = "".join(line[1:] for line in lines if not line.startswith("-"))
            assert text.count(before) == 1, f"not once in {name}:\n{before}"
            text = text.replace(before, after)
        (folder / name).write_text(text, encoding="utf-8")


def add_at_end(path: Path, function: str) -> None:
    """Add a function at the end of a module."""
    path.write_text(f"{path.read_text(encoding='utf-8')}\n\n{function}", encoding="utf-8")


def add_network(package: Path) -> None:
    """Add the network of new-model.md: its function, and its line at the end of the registry."""
    function, line = blocks("new-model.md", "python")
    models = package / "networks" / "models.py"
    above, marker, below = models.read_text(encoding="utf-8").partition("@dataclass(frozen=True)\nclass Model:\n")
    text = f"{above}{function}\n\n{marker}{below}"
    models.write_text(re.sub(r"^\}\n\Z", f"{line}}}\n", text, flags=re.MULTILINE), encoding="utf-8")
