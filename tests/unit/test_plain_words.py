"""What Snakemake logs passes; a lock is told in a user's words, and so is how a call ended."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from snakemake.exceptions import LockException
from snakemake_interface_logger_plugins.common import LogEvent

from trainbench.plain_words import MOST_SENTENCES, STOPPED, PlainWords
from trainbench.rule_script import BUG


class Kept(logging.Handler):
    """Keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def logger(kept: Kept) -> Iterator[logging.Logger]:
    logger = logging.Logger("snakemake-of-this-test")
    logger.addHandler(kept)
    yield logger
    logger.removeHandler(kept)


def hearing(logger: logging.Logger, *, at_work: bool = False) -> PlainWords:
    words = PlainWords(lambda: at_work)
    logger.addFilter(words)
    return words


def fail(logger: logging.Logger, *logs: Path) -> None:
    for log in logs:
        logger.error("Error in rule tables", extra={"event": LogEvent.JOB_ERROR, "log": [str(log)]})


def written(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_where_a_study_is_under_way_a_lock_is_told_without_the_advice_to_remove_it(
    logger: logging.Logger, kept: Kept
) -> None:
    hearing(logger, at_work=True)
    logger.error(str(LockException()))
    (text,) = kept.texts
    assert text.startswith(f"trainbench: a study is under way in {Path.cwd()}; wait until it has ended")
    assert "unlock" not in text


def test_a_plan_beside_a_study_that_is_under_way_says_so(logger: logging.Logger, kept: Kept) -> None:
    hearing(logger, at_work=True)
    logger.info("Error: Directory cannot be locked. Another Snakemake instance is running.")
    assert kept.texts == ["A study is under way in this folder. What it has finished by now counts as there."]


def test_of_a_lock_whose_holder_is_not_known_snakemakes_own_words_stay(logger: logging.Logger, kept: Kept) -> None:
    hearing(logger)
    logger.error(str(LockException()))
    assert kept.texts == [str(LockException())]


@pytest.mark.parametrize(
    "said",
    [
        "Terminating processes on user request, this might take some time.",
        "Will exit after finishing currently running jobs (scheduler).",
    ],
)
def test_a_call_that_was_stopped_ends_with_what_to_do_then(said: str, logger: logging.Logger, tmp_path: Path) -> None:
    words = hearing(logger)
    logger.info(said)
    fail(logger, written(tmp_path, "tables.log", "trainbench: not this\n"))
    assert words.last_words() == f"{STOPPED}\n"


def test_a_failure_ends_with_its_sentence(logger: logging.Logger, tmp_path: Path) -> None:
    words = hearing(logger)
    fail(logger, written(tmp_path, "tables.log", "first\ntrainbench: results/x is broken; delete it\n"))
    assert words.last_words() == "trainbench: results/x is broken; delete it\n"


def test_the_same_sentence_of_several_failures_is_said_once(logger: logging.Logger, tmp_path: Path) -> None:
    words = hearing(logger)
    fail(logger, *(written(tmp_path, name, "trainbench: the same\n") for name in ("a.log", "b.log")))
    assert words.last_words() == "trainbench: the same\n"


def test_many_failures_are_cut_short(logger: logging.Logger, tmp_path: Path) -> None:
    words = hearing(logger)
    fail(logger, *(written(tmp_path, f"{n}.log", f"trainbench: run {n}\n") for n in range(MOST_SENTENCES + 3)))
    assert words.last_words().splitlines()[-2:] == [
        f"trainbench: run {MOST_SENTENCES - 1}",
        "trainbench: and 3 more, above",
    ]


def test_of_a_bug_the_last_line_names_the_log_with_its_lines(logger: logging.Logger, tmp_path: Path) -> None:
    words = hearing(logger)
    log = written(tmp_path, "page.log", f"Traceback: ...\n{BUG}\n")
    fail(logger, log)
    assert words.last_words() == f"trainbench: this is a bug of trainbench; please report it with the lines of {log}\n"


def test_a_failure_that_left_no_sentence_adds_nothing(logger: logging.Logger, tmp_path: Path) -> None:
    words = hearing(logger)
    fail(logger, written(tmp_path, "tables.log", "what a program wrote\n"), tmp_path / "nowhere.log")
    assert words.last_words() == ""
