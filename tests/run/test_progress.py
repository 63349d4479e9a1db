"""A process that is slow or stopped is waited for; one that shows no sign of life is not."""

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from trainbench.run import progress

LIMIT_SECONDS = 1.0


@contextmanager
def started(code: str, *arguments: object) -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(
        [sys.executable, "-u", "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def lines_of(process: "subprocess.Popen[str]", folder: Path) -> list[str]:
    return [line.strip() for line in progress.lines(process, folder / "journal.jsonl", 16, LIMIT_SECONDS)]


def test_a_process_that_is_silent_ends_with_its_last_line(tmp_path: Path) -> None:
    with (
        started("import time; print('ready'); time.sleep(1000)") as process,
        pytest.raises(progress.Stuck, match="after the line 'ready'"),
    ):
        lines_of(process, tmp_path)


def test_a_process_that_takes_longer_than_the_limit_but_prints_is_waited_for(tmp_path: Path) -> None:
    code = "import time\nfor number in range(6): time.sleep(0.4); print(number)"
    with started(code) as process:
        assert lines_of(process, tmp_path) == ["0", "1", "2", "3", "4", "5"]


def test_a_note_in_the_journal_is_a_sign_of_life(tmp_path: Path) -> None:
    code = """
import sys, time
for _ in range(6):
    time.sleep(0.4)
    with open(sys.argv[1], "a") as file: print("{}", file=file)
print("over")
"""
    with started(code, tmp_path / "journal.jsonl") as process:
        assert lines_of(process, tmp_path) == ["over"]


def test_a_stopped_process_is_not_stuck(tmp_path: Path) -> None:
    with started(
        "import sys; print('ready'); sys.stdout.flush(); import time; time.sleep(0.2); print('over')"
    ) as process:
        got = progress.lines(process, tmp_path / "journal.jsonl", 16, LIMIT_SECONDS)
        assert next(got) == "ready\n"
        os.kill(process.pid, signal.SIGSTOP)
        threading.Timer(2 * LIMIT_SECONDS, os.kill, (process.pid, signal.SIGCONT)).start()
        assert list(got) == ["over\n"]


def test_the_time_in_which_the_whole_machine_stood_still_counts_as_one_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In each look this process finds that a minute has gone by, as after Ctrl-Z."""
    clock, minutes = time.monotonic, itertools.count()
    monkeypatch.setattr(time, "monotonic", lambda: clock() + 60 * next(minutes))
    with started("import time; time.sleep(0.5); print('over')") as process:
        assert lines_of(process, tmp_path) == ["over"]


def test_a_process_that_has_ended_is_over_although_a_child_holds_its_output(tmp_path: Path) -> None:
    code = "import subprocess; subprocess.Popen(['sleep', '3']); print('ready')"
    with started(code) as process:
        assert lines_of(process, tmp_path) == ["ready"]


def test_the_last_line_of_a_process_that_has_ended_is_read_though_it_arrives_late(tmp_path: Path) -> None:
    with started("print('ready')") as process:
        written = process.stdout
        process.wait()
        process.stdout = (time.sleep(LIMIT_SECONDS / 4) or line for line in written)
        assert lines_of(process, tmp_path) == ["ready"]
        process.stdout = written


def test_a_process_that_closes_its_output_and_stays_is_stuck(tmp_path: Path) -> None:
    with (
        started("import os, time; os.close(1); time.sleep(1000)") as process,
        pytest.raises(progress.Stuck, match="closing its output"),
    ):
        lines_of(process, tmp_path)


COMPILED = {"clock": {"compile_seconds": 2.0}, "dataset": {"train_samples": 1600}}


def epochs(*seconds: float) -> dict[str, Any]:
    return {**COMPILED, "epochs": [{"train_seconds": each, "eval_seconds": 1.0} for each in seconds]}


@pytest.mark.parametrize(
    ("noted", "seconds"),
    [
        ({}, 60.0),
        (COMPILED, 10 * 2.0 * 100),
        (epochs(9.0, 19.0, 4.0), 10 * 20.0),
        (epochs(0.5), 60.0),
    ],
    ids=["nothing known", "a step compiled", "epochs", "short epochs"],
)
def test_patience_is_ten_times_what_may_be_expected_and_never_less_than_the_limit(
    noted: dict[str, Any], seconds: float
) -> None:
    assert progress.patience_seconds(noted, 16, 60.0) == seconds
