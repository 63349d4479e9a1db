"""What Snakemake logs passes; a lock is told in a user's words, and so is how a call ended."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from snakemake.exceptions import LockException
from snakemake_interface_logger_plugins.common import LogEvent

from trainbench.rules.rule_script import BUG
from trainbench.terminal.plain_words import MOST_SENTENCES, STOPPED, PlainWords, results_of


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


def hearing(logger: logging.Logger, folder: Path | None = None, *, at_work: bool = False) -> PlainWords:
    words = PlainWords(folder or Path.cwd(), lambda: at_work)
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


# --- Snakemake leaves the working folder (--directory) before its last lines ---


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, left for another that has a log of the same name."""
    (caller := tmp_path / "caller").mkdir()
    (folder := tmp_path / "elsewhere").mkdir()
    written(caller, "tables.log", "trainbench: of another study\n")
    monkeypatch.chdir(caller)
    return folder


def test_the_sentence_of_a_failure_is_that_of_the_log_in_the_working_folder(
    logger: logging.Logger, elsewhere: Path
) -> None:
    words = hearing(logger, elsewhere)
    fail(logger, Path("tables.log"))
    written(elsewhere, "tables.log", "trainbench: of this one\n")
    assert words.last_words() == "trainbench: of this one\n"


def test_the_log_of_a_bug_in_another_folder_is_named_so_that_it_is_found(
    logger: logging.Logger, elsewhere: Path
) -> None:
    words = hearing(logger, elsewhere)
    fail(logger, Path("tables.log"))
    log = written(elsewhere, "tables.log", f"{BUG}\n")
    assert words.last_words().endswith(f"the lines of {log}\n")


def test_a_study_under_way_is_told_with_its_own_folder(logger: logging.Logger, kept: Kept, elsewhere: Path) -> None:
    hearing(logger, elsewhere, at_work=True)
    logger.error(str(LockException()))
    assert kept.texts[0].startswith(f"trainbench: a study is under way in {elsewhere};")


# --- what is said below a call that succeeded ---

COMPARISON, PAGE = "results/tables/comparison.md", "results/report.html"
DRAWN = ("results/figures/speedup.svg", "results/figures/scaling.svg")


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with all results."""
    monkeypatch.chdir(tmp_path)
    for path in (COMPARISON, PAGE, *DRAWN):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        written(tmp_path, path, "twice as fast\n")
    return tmp_path


def said(*up_to_date: str) -> str:
    return results_of(up_to_date, Path("results"), DRAWN)


@pytest.mark.usefixtures("made")
def test_a_study_that_made_everything_says_where_it_is() -> None:
    assert said(COMPARISON, PAGE, *DRAWN).splitlines() == [
        "twice as fast",
        "",
        "All of it on one page: results/report.html",
        "Tables: results/tables/   Figures: results/figures/   Every run: results/runs/",
    ]


@pytest.mark.usefixtures("made")
def test_a_page_that_this_call_was_not_asked_for_may_be_older_and_is_not_told() -> None:
    assert "report.html" not in said(COMPARISON, *DRAWN)


@pytest.mark.usefixtures("made")
def test_figures_of_which_only_some_are_up_to_date_are_not_told() -> None:
    assert "Figures" not in said(COMPARISON, DRAWN[0])


def test_a_page_that_is_not_there_is_not_told(made: Path) -> None:
    (made / PAGE).unlink()
    assert "report.html" not in said(COMPARISON, PAGE, *DRAWN)


def test_without_tables_nothing_is_said(made: Path) -> None:
    (made / COMPARISON).unlink()
    assert said(COMPARISON, PAGE, *DRAWN) == ""


def test_a_failure_that_left_no_sentence_adds_nothing(logger: logging.Logger, tmp_path: Path) -> None:
    words = hearing(logger)
    fail(logger, written(tmp_path, "tables.log", "what a program wrote\n"), tmp_path / "nowhere.log")
    assert words.last_words() == ""
