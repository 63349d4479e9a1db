"""Runs small programs that hold locks, each in a process of its own, and ends them after the test.

A test module imports `started_programs` and asks for the fixture by its name, `start`.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

PACKAGE_FOLDER = Path(__file__).resolve().parent.parent / "workflow" / "scripts"

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(name="start")
def started_programs() -> Iterator[Start]:
    """Give a function that starts a Python program with arguments; its input stays open until the test ends."""
    with ExitStack() as started:

        def start_one(program: str, *arguments: object) -> "subprocess.Popen[str]":
            process = subprocess.Popen(
                [sys.executable, "-c", program, *(str(argument) for argument in arguments)],
                env={**os.environ, "PYTHONPATH": str(PACKAGE_FOLDER)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            started.enter_context(process)
            started.callback(process.kill)
            return process

        yield start_one


def first_line(process: "subprocess.Popen[str]") -> str:
    """Wait for a program's first line of output."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def close_input(process: "subprocess.Popen[str]") -> None:
    """Let a program go on that waits for its input."""
    assert process.stdin is not None
    process.stdin.close()


def kill(process: "subprocess.Popen[str]") -> None:
    """End a program as no program can prevent (SIGKILL), and wait until it has ended."""
    process.kill()
    process.wait()


def remove_all(folder: Path) -> None:
    """Remove a folder of locks and all in it, as a cleaner of temporary folders may."""
    shutil.rmtree(folder)


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for what comes about by itself, for 20 seconds at most."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
