"""A checkout to submit runs from."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from idx_writer import write_idx_directory

REPOSITORY = Path(__file__).resolve().parents[2]
SNAKEMAKE = REPOSITORY / ".venv" / "bin" / "snakemake"
PARTS = ("Snakefile", "config", "workflow", "profiles", "envs")


@dataclass(frozen=True)
class Checkout:
    """A copy of the repository with its own results and one study, `study.yaml`."""

    folder: Path

    def start(self, *arguments: str, **variables: str) -> "subprocess.Popen[str]":
        """Start Snakemake on the study as a user would, with `variables` but nothing else of the test's environment."""
        return subprocess.Popen(
            [SNAKEMAKE, "--configfile", "study.yaml", *arguments],
            cwd=self.folder,
            env={
                **{name: os.environ[name] for name in ("PATH", "HOME")},
                "TRAINBENCH_LEASE_FOLDER": str(self.folder / "leases"),  # apart from other runs on this machine
                **variables,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *arguments: str, **variables: str) -> tuple[int, str]:
        """Exit code and output of Snakemake on the study."""
        process = self.start(*arguments, **variables)
        output, _ = process.communicate(timeout=300)
        return process.returncode, output


@pytest.fixture(scope="module")
def new_checkout(tmp_path_factory):
    def make(study: str) -> Checkout:
        folder = tmp_path_factory.mktemp("checkout")
        for part in PARTS:
            source = REPOSITORY / part
            copy = shutil.copytree if source.is_dir() else shutil.copy2
            copy(source, folder / part)
        write_idx_directory(folder / "data", train_samples=200, test_samples=60, height=9, width=14, classes=4)
        (folder / "study.yaml").write_text(study, encoding="utf-8")
        return Checkout(folder)

    return make


def pytest_terminal_summary(terminalreporter):
    """Tell how long the tests of this folder took: they start a Slurm, or are skipped."""
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    ours = [report for report in reports if getattr(report, "nodeid", "").startswith("tests/cluster/")]
    if ours:
        seconds = sum(getattr(report, "duration", 0.0) for report in ours)
        terminalreporter.write_line(f"tests/cluster took {seconds:.0f} s")
