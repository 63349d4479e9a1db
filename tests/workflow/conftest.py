"""A checkout to run Snakemake in, and one small finished study that several tests look at."""

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from idx_writer import write_idx_directory

REPOSITORY = Path(__file__).resolve().parents[2]
SNAKEMAKE = REPOSITORY / ".venv" / "bin" / "snakemake"
PARTS = ("Snakefile", "config", "workflow", "profiles", "envs", "resources")

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


@dataclass(frozen=True)
class Checkout:
    """A copy of the repository with its own results."""

    folder: Path

    def snakemake(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run Snakemake as a user would, with `variables` but nothing else of the test's environment."""
        environment = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **variables}
        return subprocess.run(
            [SNAKEMAKE, *arguments],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    def study(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run the small study on two cores."""
        return self.snakemake("--cores", "2", "--configfile", "study.yaml", *arguments, **variables)

    def planned(self, *arguments: str) -> dict[str, int]:
        """How many jobs of each rule a dry run of the small study plans."""
        dry_run = self.study("--dry-run", "--quiet", "rules", *arguments)
        assert dry_run.returncode == 0, dry_run.stderr
        jobs = {}
        table = dry_run.stdout.partition("Job stats:")[2] or dry_run.stderr.partition("Job stats:")[2]
        for line in table.splitlines()[3:]:
            if not line.strip():
                break
            rule, count = line.split()
            jobs[rule] = int(count)
        jobs.pop("total", None)
        return jobs


@pytest.fixture(scope="session")
def new_checkout(tmp_path_factory) -> Callable[[], Checkout]:
    def make() -> Checkout:
        folder = tmp_path_factory.mktemp("checkout")
        for part in PARTS:
            source = REPOSITORY / part
            copy = shutil.copytree if source.is_dir() else shutil.copy2
            copy(source, folder / part)
        write_idx_directory(folder / "data", train_samples=200, test_samples=60, height=9, width=14, classes=4)
        (folder / "study.yaml").write_text(STUDY, encoding="utf-8")
        return Checkout(folder)

    return make


@pytest.fixture(scope="session")
def finished(new_checkout) -> Checkout:
    """The small study, finished. Tests only look at it or plan on it; none changes it."""
    checkout = new_checkout()
    run = checkout.study()
    (checkout.folder / "stdout.txt").write_text(run.stdout, encoding="utf-8")
    (checkout.folder / "stderr.txt").write_text(run.stderr, encoding="utf-8")
    assert run.returncode == 0, run.stderr
    return checkout
