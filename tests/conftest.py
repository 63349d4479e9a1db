"""A checkout to run Snakemake in, one small finished study that several tests look at, and what tests cost by file."""

import fcntl
import os
import shutil
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from checkout import Checkout, make_checkout

# A shell that starts tests in the background has Ctrl-C ignored, by them and all that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# 3 models x 2 batch sizes x 1 device x 1 repeat on 200 small images: all the ways through the code, in seconds.
STUDY = """
models: [logistic, conv, lstm]
batch_sizes: [16, 32]
devices: [cpu]
repeats: 1
dataset: {path: data, validation_samples: 40}
model_settings:
  logistic: {epochs: 3}
  conv: {epochs: 2}
  lstm: {epochs: 2}
"""
FIRST = ("tests/cluster/test_slurm.py", "tests/workflow/")
"""Files that take longest: begun last, they would be waited for alone. Those of Slurm mostly wait."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files of `FIRST` before all others."""
    items.sort(key=lambda item: next((at for at, path in enumerate(FIRST) if item.nodeid.startswith(path)), len(FIRST)))


def pytest_terminal_summary(terminalreporter) -> None:
    """With --durations, tell the seconds of each file too."""
    if terminalreporter.config.option.durations is None:
        return
    seconds: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                seconds[report.nodeid.partition("::")[0]] += report.duration
    terminalreporter.section("seconds by file")
    for file, taken in seconds.most_common():
        terminalreporter.write_line(f"{taken:7.1f}  {file}")


@pytest.fixture(scope="session")
def new_checkout(tmp_path_factory) -> Callable[[], Checkout]:
    def make() -> Checkout:
        return make_checkout(tmp_path_factory.mktemp("checkout"), STUDY)

    return make


@pytest.fixture(scope="session")
def of_all_workers(tmp_path_factory) -> Path:
    """A folder that all processes see which carry out these tests."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def finished(new_checkout, of_all_workers, tmp_path_factory) -> Checkout:
    """The small study, finished. Tests only look at it or plan on it; none changes it.

    It was given more cores and GPUs than most machines have, as the README has it. The first worker that asks measures
    it; each has a copy.
    """
    measured = of_all_workers / "finished"
    with measured.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not measured.exists():
            checkout = new_checkout()
            run = checkout.study("--cores", "32", "--resources", "gpu=4")
            (checkout.folder / "stdout.txt").write_text(run.stdout, encoding="utf-8")
            (checkout.folder / "stderr.txt").write_text(run.stderr, encoding="utf-8")
            assert run.returncode == 0, run.stderr
            checkout.folder.rename(measured)
    folder = tmp_path_factory.mktemp("finished") / "study"
    shutil.copytree(measured, folder, symlinks=True)
    return Checkout(folder)
