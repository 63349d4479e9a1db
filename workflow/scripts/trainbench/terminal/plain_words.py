"""Says in a user's words how a call of Snakemake ended, and that a study is under way where its folder is locked.

Snakemake's own last lines name exceptions and rules; what a rule said of its failure stands far above them.
"""

import logging
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Final

from snakemake_interface_logger_plugins.common import LogEvent

from trainbench.rules import products
from trainbench.rules.rule_script import BUG
from trainbench.rules.so_far import last_words

STOPPED: Final = (
    "trainbench: stopped; finished runs and epochs are kept. Give the same command again to go on where it was."
)
MOST_SENTENCES: Final = 5

# What Snakemake 9.27 says at Ctrl-C, at SIGTERM, and of a folder in which another is at work: in a dry run and else.
_STOPPING: Final = ("Terminating processes on user request", "Will exit after finishing currently running jobs")
_LOCKED_IN_DRY_RUN: Final = "Error: Directory cannot be locked. Another Snakemake instance is running."
_LOCKED: Final = "Error: Directory cannot be locked."
_UNDER_WAY: Final = "A study is under way in this folder. What it has finished by now counts as there."


class PlainWords(logging.Filter):
    """Hears all that Snakemake logs, and lets it pass; what it says of a lock is replaced.

    `folder` is the working folder, which Snakemake has left by the time of its last lines. `at_work` tells whether
    another Snakemake is known to be at work there: of a lock that may be left over Snakemake's words, which say how to
    remove it, are right.
    """

    def __init__(self, folder: Path, at_work: Callable[[], bool]) -> None:
        super().__init__()
        self._folder = folder
        self._at_work = at_work
        self._refusal = (
            f"trainbench: a study is under way in {folder}; wait until it has ended, or give another folder with "
            "--directory"
        )
        self._stopped = False
        self._failed_logs: list[Path] = []

    def filter(self, record: logging.LogRecord) -> bool:
        """Take note of a record, which always passes."""
        message = record.msg if isinstance(record.msg, str) else ""
        self._stopped |= message.startswith(_STOPPING)
        if record.__dict__.get("event") == LogEvent.JOB_ERROR:
            self._failed_logs += [Path(log) for log in record.__dict__.get("log") or ()]
        if _LOCKED in message and self._at_work():
            record.msg, record.args = _UNDER_WAY if message == _LOCKED_IN_DRY_RUN else self._refusal, None
        return True

    def last_words(self) -> str:
        """What to say below Snakemake's last lines, whole lines; nothing where there is nothing to add."""
        if self._stopped:
            return f"{STOPPED}\n"
        said = list(dict.fromkeys(words for log in self._failed_logs if (words := self._words_of(log)) is not None))
        more = len(said) - MOST_SENTENCES
        lines = said[:MOST_SENTENCES] + ([f"trainbench: and {more} more, above"] if more > 0 else [])
        return "".join(f"{line}\n" for line in lines)

    def _words_of(self, log: Path) -> str | None:
        """What a log says of a failure; of a bug where its lines are, which stand far above."""
        path = self._folder / log
        words = last_words(path)
        if words != BUG:
            return words
        return words.replace("these lines", f"the lines of {log if self._folder == Path.cwd() else path}")


def results_of(up_to_date: Collection[str], folder: Path, figures: Iterable[str]) -> str:
    """What to say of the results in `folder` below a call that succeeded, whole lines: the comparison, where what is.

    `up_to_date` are the files that the call made, or found to be as they are to be. Of others nothing is said, and of
    none that is not there: `--touch` makes no files.
    """

    def is_told(path: str) -> bool:
        return path in up_to_date and Path(path).exists()

    comparison = f"{folder}/tables/comparison.md"
    if not is_told(comparison):
        return ""
    places = [f"Tables: {folder}/tables/", "Every run: results/runs/"]
    if all(is_told(path) for path in figures):
        places.insert(1, f"Figures: {folder}/figures/")
    lines = [Path(comparison).read_text(encoding="utf-8")]
    if is_told(products.page(folder)):
        lines.append(f"All of it on one page: {products.page(folder)}")
    return "".join(f"{line}\n" for line in [*lines, "   ".join(places)])
