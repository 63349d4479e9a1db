"""What is shown on stdout arrives in its encoding, and costs nothing where it cannot be written."""

import os
import subprocess
import sys

import pytest

from trainbench.files import fingerprint

SHOWS = r"from trainbench.rules.rule_script import show; show('12 \N{DAGGER} gr\xfcn\n')"


def show(stdout: int, **variables: str) -> "subprocess.CompletedProcess[bytes]":
    environment = {**os.environ, "PYTHONPATH": str(fingerprint.PACKAGE.parent), **variables}
    command = [sys.executable, "-c", SHOWS]
    return subprocess.run(command, env=environment, stdout=stdout, stderr=subprocess.PIPE, check=False, timeout=60)


@pytest.mark.parametrize(
    ("variables", "shown"),
    [
        ({"PYTHONIOENCODING": "utf-8"}, "12 † grün".encode()),
        ({"PYTHONIOENCODING": "iso-8859-1"}, b"12 ? gr\xfcn"),
        ({"PYTHONIOENCODING": "ascii"}, b"12 ? gr?n"),
        ({"LC_ALL": "C", "PYTHONUTF8": "0"}, b"12 ? gr?n"),
    ],
    ids=["UTF-8", "Latin-1", "ASCII", "locale C"],
)
def test_letters_that_stdout_cannot_show_are_replaced(variables: dict[str, str], shown: bytes) -> None:
    run = show(subprocess.PIPE, **variables)
    assert (run.returncode, run.stdout.strip(), run.stderr) == (0, shown, b"")


def test_a_reader_who_has_gone_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    run = show(writer)
    os.close(writer)
    assert (run.returncode, run.stderr) == (0, b"")


def test_a_full_disk_behind_stdout_is_no_error() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    run = show(full)
    os.close(full)
    assert (run.returncode, run.stderr) == (0, b"")
