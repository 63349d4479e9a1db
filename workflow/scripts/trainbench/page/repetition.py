"""Says how to repeat a study: by which code, with which configuration, and how one of its numbers comes about."""

import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from trainbench.conclusions.cell_texts import figure_text
from trainbench.conclusions.fastest import SECONDS
from trainbench.figures.drawn_study import DrawnStudy
from trainbench.results.columns import cell_key
from trainbench.results.settings_table import SOFTWARE
from trainbench.words.wording import format_number

MOST_LISTED: Final = 6
TIMEOUT_SECONDS: Final = 20


@dataclass(frozen=True)
class Commit:
    """A commit; `changed` says whether files that it holds were edited since.

    `origin` is where anybody can clone the repository from, None where no such place is known.
    """

    sha: str
    changed: bool
    origin: str | None = None


@dataclass(frozen=True)
class Repetition:
    """What it takes to repeat a study.

    `configuration` is the whole config as YAML, `code_sha256` the fingerprints of the training code as it is now, one
    for each framework, `commit` that of the repository, None where it is not known.
    """

    configuration: str
    code_sha256: Sequence[str]
    commit: Commit | None

    @property
    def command(self) -> str:
        """What to type."""
        commands = ["make setup", ".venv/bin/snakemake --cores all --configfile study.yaml"]
        if self.commit and self.commit.origin:
            commands = [f"git clone {shlex.quote(self.commit.origin)} trainbench", "cd trainbench", *commands]
        if self.commit:
            commands.insert(-2, f"git checkout {self.commit.sha}")
        return "\n".join(commands)


def code_sentence(study: DrawnStudy, repetition: Repetition) -> str:
    """Which code measured, and how that is known."""
    found = {row["value"] for row in study.rows("settings") if (row["part"], row["name"]) == (SOFTWARE, "code_sha256")}
    commit = repetition.commit
    here = (
        "The commit of the code that made this page is not known (no git repository)."
        if commit is None
        else f"This page was made at commit {commit.sha}{' with uncommitted changes' if commit.changed else ''}."
    )
    shown, now = (", ".join(sorted(sha[:12] for sha in hashes)) for hashes in (found, repetition.code_sha256))
    if not found:
        measured = "Which training code measured is not known."
    elif found <= set(repetition.code_sha256):
        measured = (
            f"All runs were measured by exactly this training code: each metrics file has its fingerprint ({shown})."
        )
    else:
        measured = (
            f"Runs were measured by other training code than this one: the fingerprints are {shown}, here it is {now}."
        )
    return f"{here} {measured}"


def example(study: DrawnStudy) -> str | None:
    """How one cell's seconds an epoch follow from the epochs, with its own numbers; None where no cell shows it."""
    runs, epochs = study.rows("runs"), study.tables["epochs"]
    for cell in study.rows("cells"):
        if cell["n"] < 2 or cell["first_epoch_only"] or cell["train_seconds_per_epoch"] is None:  # noqa: PLR2004
            continue
        of_cell = [
            run for run in runs if cell_key(run) == cell_key(cell) and run["train_seconds_per_epoch"] is not None
        ]
        first = of_cell[0]
        traced = epochs.loc[epochs["run_id"] == first["run_id"], "train_seconds"].tolist()
        if not (0 < first["steady_epochs"] == first["epochs"] - 1 and len(traced) == first["epochs"]):
            continue
        figures = [format_number(run["train_seconds_per_epoch"]) for run in of_cell]
        seconds = _few([format_number(value) for value in traced])
        return (
            f"{cell['model']} at batch size {cell['batch_size']} on {cell['device']}, host {cell['host']}. "
            f"In epochs.csv the {len(traced)} epochs of run {first['repeat']} took {seconds} s; without the "
            f"first the median is {figures[0]} s, its train_seconds_per_epoch in runs.csv. The {len(figures)} runs of "
            f"the cell have {_few(figures)} s, whose geometric mean is "
            f"{figure_text(cell, SECONDS).partition(' ')[0]} s: the number in cells.csv and on this page."
        )
    return None


def _few(texts: Sequence[str]) -> str:
    """Texts in a row, those beyond the first few as an ellipsis."""
    shown = texts if len(texts) <= MOST_LISTED else [*texts[: MOST_LISTED - 1], "\N{HORIZONTAL ELLIPSIS}"]
    return ", ".join(shown)


def commit_of(folder: Path) -> Commit | None:
    """The commit that is checked out at the repository `folder`; None where that is not known.

    Not known is it without git, and where `folder` is not the top of a repository, as in a downloaded archive.
    """
    found = _git(folder, "rev-parse", "--show-toplevel", "HEAD")
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    top, _, sha = (found or "").rpartition("\n")
    if found is None or changes is None or Path(top).resolve() != folder.resolve():
        return None
    return Commit(sha, bool(changes), _public(_git(folder, "config", "--get", "remote.origin.url")))


def _public(url: str | None) -> str | None:
    """An address that may be shown to anybody: of the web, without user name, password or query; else None."""
    try:
        parts = urlsplit(url or "")
    except ValueError:
        return None
    is_plain = parts.hostname and not (parts.username or parts.password or parts.query or parts.fragment)
    return url if parts.scheme in {"http", "https"} and is_plain and "@" not in parts.netloc else None


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        found = subprocess.run(
            ["git", "-C", folder, *arguments],  # noqa: S607 - whichever git the user has
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=TIMEOUT_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()
