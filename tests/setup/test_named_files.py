"""Every file that the documentation or a comment names is there, under that path."""

import re
from pathlib import Path

import pytest

from documentation import PAGES, REPOSITORY

PACKAGE = REPOSITORY / "workflow/scripts/trainbench"
FOLDERS = (".ci", "benchmarks", "config", "docs", "envs", "findings", "profiles", "requirements", "resources", "tests")
FOLDERS += ("workflow",)
ROOMS = tuple(sorted({path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()} - {"results"}))
"""The rooms whose names are no folders of results."""

COMMENTED = [
    *(REPOSITORY / name for name in (".ci/run", "Makefile", "Snakefile", "pyproject.toml")),
    *(path for folder in ("config", "envs", "profiles") for path in (REPOSITORY / folder).rglob("*.yaml")),
    *(REPOSITORY / "workflow/rules").glob("*.smk"),
]
# The changelog tells of what there was.
SOURCES = sorted([*(path for path in PAGES if path.name != "CHANGELOG.md"), *COMMENTED])

FILE = re.compile(r"(?<![\w./<>{}*-])(?:[\w.-]+/)*[\w-]+\.\w+(?:\.\w+)*\b(?![/({*])")
CODE = re.compile(r"\.(?:py|smk|sh|j2|mplstyle|css|js|rst)$|\.schema\.json$")
FOLDER = re.compile(rf"(?:{'|'.join(map(re.escape, (*FOLDERS, *ROOMS)))})(?:/[\w.-]+)*/?")
MODULE = re.compile(r"\btrainbench(?:\.[a-z_]+)+\b")

WRITTEN_BY_THE_READER = {
    "data/to_idx.py",
    "envs/train-toy-cpu.yaml",
    "envs/train-toy-cuda.yaml",
    "workflow/scripts/trainbench/conclusions/tables/hourly.py",
    "workflow/scripts/trainbench/engines/toy.py",
    "workflow/scripts/trainbench/figures/of_study/runs_of_devices.py",
}
MADE_BY_BENCHMARKS = "benchmarks/results/"
WANTED_ELSEWHERE = {"workflow/Snakefile"}
"""By Snakemake's catalog, which architecture.md tells of."""


def named(text: str) -> set[str]:
    """Paths in a text that look like a file of code or lie in a folder of the repository."""
    files = {
        name for name in FILE.findall(text) if CODE.search(name) or name.startswith(tuple(f"{f}/" for f in FOLDERS))
    }
    folders = {name for name in re.findall(r"`([^`\n]+)`", text) if FOLDER.fullmatch(name) and "/" in name}
    return files | folders


def is_there(name: str, source: Path) -> bool:
    """Whether a name is a path in the repository, beside the file that has it, or in the package."""
    return any((folder / name).exists() for folder in (REPOSITORY, source.parent, PACKAGE, PACKAGE.parent))


def is_module(name: str) -> bool:
    """Whether a dotted name is that of a module, or of something in one."""
    path = PACKAGE.parent / name.replace(".", "/")
    return any(found.with_suffix(".py").exists() or found.is_dir() for found in (path, path.parent))


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_every_file_that_is_named_is_there(source):
    names = {re.sub("^[ab]/(?=workflow/)", "", name) for name in named(source.read_text(encoding="utf-8"))}
    elsewhere = (
        {name for name in names if name.startswith(MADE_BY_BENCHMARKS)} | WRITTEN_BY_THE_READER | WANTED_ELSEWHERE
    )
    assert sorted(name for name in names - elsewhere if not is_there(name, source)) == []


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_every_module_that_is_named_is_there(source):
    assert sorted(name for name in set(MODULE.findall(source.read_text(encoding="utf-8"))) if not is_module(name)) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("`limits.py` and `config/config.yaml`", {"limits.py", "config/config.yaml"}),
        ("figures in `figures/of_study/`, results in `results/tables/`", {"figures/of_study/"}),
        ("`../scripts/train.py`, `engines/<framework>.py`, `metrics.json`", {"../scripts/train.py"}),
        ("Slurm's `profiles/slurm` and https://example.org/setup.py", {"profiles/slurm"}),
    ],
)
def test_what_counts_as_named(text, found):
    assert named(text) == found
