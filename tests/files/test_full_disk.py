"""A full disk is told in one sentence that names the folder, wherever it was met."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from trainbench.files import fingerprint, full_disk, whole_file
from trainbench.rules import rule_script

FULL = Path("/dev/full")


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(fingerprint.PACKAGE.parent)}


@pytest.mark.parametrize(
    ("number", "expected"), [(errno.ENOSPC, True), (errno.EDQUOT, True), (errno.EFBIG, True), (errno.EACCES, False)]
)
def test_no_space_no_quota_and_a_limit_of_size_are_a_full_disk(number: int, expected: bool) -> None:
    assert full_disk.is_cause(OSError(number, os.strerror(number))) is expected


def test_a_file_that_may_not_grow_so_large_is_named(tmp_path: Path) -> None:
    """The shell's `ulimit -f` stands in for a disk with little room."""
    program = (
        "import resource, sys; from pathlib import Path; from trainbench.files import whole_file\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: whole_file.write(b'x' * 5000, Path(sys.argv[1]))\n"
        "except OSError as error: print(error.filename)\n"
    )
    path = tmp_path / "metrics.json"
    run = subprocess.run(
        [sys.executable, "-c", program, str(path)], env=environment(), capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == str(path)
    assert list(tmp_path.iterdir()) == []


def test_a_rule_ends_with_one_sentence_that_names_the_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (
        pytest.raises(SystemExit) as ended,
        rule_script.ending_with_one_sentence(tmp_path / "tables.log"),
    ):
        whole_file_on_a_full_disk(tmp_path / "tables" / "runs.csv")
    shown = capsys.readouterr().err
    assert ended.value.code == 1
    assert shown.startswith(
        f"trainbench: {tmp_path / 'tables'} cannot take what was to be written there (no space left"
    )
    assert shown.count("\n") == 1


def whole_file_on_a_full_disk(path: Path) -> None:
    """Write as `whole_file` does, on a device that is always full."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device")))
        whole_file.write("model\n", path)


def test_a_log_that_cannot_be_written_keeps_nothing_from_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), rule_script.ending_with_one_sentence(FULL):
        FULL.write_text("progress\n")
    assert capsys.readouterr().err.startswith("trainbench: /dev cannot take")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.EIO, errno.ESTALE])
def test_a_file_that_cannot_be_used_ends_a_rule_with_one_sentence_that_names_it(
    number: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit), rule_script.ending_with_one_sentence(tmp_path / "rule.log"):
        raise OSError(number, os.strerror(number), "results/tables/runs.csv")
    shown = capsys.readouterr().err
    assert shown.startswith(
        f"trainbench: results/tables/runs.csv cannot be read or written ({os.strerror(number)}".lower()
    )
    assert shown.count("\n") == 1


def test_a_right_that_no_file_lacks_is_not_taken_for_one_that_a_file_lacks() -> None:
    assert full_disk.told(PermissionError(errno.EPERM, "Operation not permitted"), Path("results")) is None


def test_another_failure_to_write_is_not_taken_for_a_full_disk(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit), rule_script.ending_with_one_sentence(tmp_path / "rule.log"):
        (tmp_path / "missing" / "file").write_text("x")
    assert "this is a bug of trainbench" in capsys.readouterr().err


def test_an_interrupted_rule_leaves_no_sentence_in_its_log(tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    with pytest.raises(SystemExit) as ended, rule_script.ending_with_one_sentence(log):
        raise KeyboardInterrupt
    assert (ended.value.code, log.read_text()) == (130, "")


def test_the_monitor_ends_by_itself_on_a_full_disk() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "trainbench.run.monitor", str(os.getpid()), str(os.getpid()), "0.1", str(FULL), "0"],
        env=environment(),
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert (run.returncode, run.stderr) == (full_disk.EXIT_CODE, b"")
