"""An engine is its own file and one line: what docs/how-to/new-engine.md says, done in a checkout."""

import hashlib
import re
import shlex
import shutil
from pathlib import Path

import pandas as pd
import pytest

from checkout import Checkout
from documentation import REPOSITORY, Page

PAGE = Page.read(REPOSITORY / "docs/how-to/new-engine.md")
ENGINES = "workflow/scripts/trainbench/engines"
MADE_BY_RUNNING = {"results", ".snakemake", "leases", "__pycache__"}


def tree(folder: Path) -> dict[str, str]:
    """A checksum of every file that running does not make."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and not MADE_BY_RUNNING & set(path.relative_to(folder).parts)
    }


def block(first_words: str) -> str:
    """The one block of code on the page that begins with these words."""
    (found,) = (block.text for block in PAGE.blocks if block.text.lstrip().startswith(first_words))
    return found


def register(checkout: Checkout) -> None:
    """Add the engine's file, and its line at the end of the registry."""
    shutil.copy2(REPOSITORY / "tests/toy_engine.py", checkout.folder / ENGINES / "toy.py")
    registry = checkout.folder / ENGINES / "__init__.py"
    lines = registry.read_text(encoding="utf-8").splitlines(keepends=True)
    (begin,) = (number for number, line in enumerate(lines) if line.startswith("ENGINES: "))
    lines.insert(lines.index("}\n", begin), block('"toy"'))
    registry.write_text("".join(lines), encoding="utf-8")


@pytest.fixture(scope="module")
def checkout(finished, tmp_path_factory) -> Checkout:
    """A checkout with a finished study of TensorFlow's, to which the engine has been added."""
    folder = tmp_path_factory.mktemp("toy") / "checkout"
    shutil.copytree(finished.folder, folder, symlinks=True)
    return Checkout(folder)


@pytest.fixture(scope="module")
def before(checkout) -> dict[str, str]:
    """The checkout's files before the engine is added."""
    return tree(checkout.folder)


@pytest.fixture(scope="module")
def registered(checkout, before) -> Checkout:
    assert f"{ENGINES}/toy.py" not in before
    register(checkout)
    return checkout


@pytest.fixture(scope="module")
def measured(registered) -> Checkout:
    """The checkout after the study of the page, beside TensorFlow's, whose runs are there."""
    (command,) = (line for line in block(".venv/bin/snakemake").splitlines() if "toy.yaml" in line)
    (registered.folder / "toy.yaml").write_text(block("# toy.yaml"), encoding="utf-8")
    words = re.sub(r" --directory \S+", "", command).replace("--configfile", "--configfile study.yaml")
    run = registered.snakemake(*shlex.split(words)[1:])
    (registered.folder / "results/stderr.txt").write_text(run.stderr, encoding="utf-8")
    assert run.returncode == 0, run.stderr
    return registered


def test_results_of_other_frameworks_stay_up_to_date(registered):
    assert registered.planned() == {}


def test_the_file_and_one_line_are_all_that_is_added(measured, before):
    after = tree(measured.folder)
    added = {f"{ENGINES}/toy.py", "toy.yaml"}
    assert after.keys() - before.keys() == added
    assert {path for path in before if after[path] != before[path]} == {f"{ENGINES}/__init__.py"}
    assert len(block('"toy"').splitlines()) == 1


def test_its_runs_are_measured_and_no_others(measured):
    told = (measured.folder / "results/stderr.txt").read_text()
    runs = set(re.findall(r"^(\w+ \d+ on [\w-]+), repeat 1: epoch", told, re.MULTILINE))
    assert runs == {"logistic 16 on mine", "logistic 32 on mine"}


def test_it_really_trains(measured):
    epochs = pd.read_csv(measured.folder / "results/tables/epochs.csv").query("device == 'mine' and batch_size == 16")
    assert epochs["loss"].is_monotonic_decreasing
    assert epochs["accuracy"].iloc[-1] > 0.5  # of 4 classes


def test_the_tables_name_it_beside_the_others(measured):
    runs = pd.read_csv(measured.folder / "results/tables/runs.csv")
    assert set(zip(runs["device"], runs["framework"], strict=True)) == {("cpu", "tensorflow"), ("mine", "toy")}
    assert set(runs.query("framework == 'toy'")["framework_version"].astype(str)) == {"1.0"}


def test_the_page_names_it(measured):
    assert re.search(r"\btoy\b", (measured.folder / "results/report.html").read_text(encoding="utf-8"))
