"""A copy of the repository to run Snakemake in, as a user would."""

import compileall
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import snakemake_server
from idx_writer import write_idx_directory
from snakemake_server import SNAKEMAKE

REPOSITORY = Path(__file__).resolve().parents[1]
PARTS = ("Snakefile", "config", "workflow", "profiles", "envs", "resources")
TIMEOUT_SECONDS = 600.0
"""Ends a call that hangs, and none that is slow because tests and others are at work beside it."""


@dataclass(frozen=True)
class Checkout:
    """A copy of the repository with its own results, small images in `data` and one study, `study.yaml`."""

    folder: Path

    def start(self, *arguments: str, beginning: Sequence[str] = (), **variables: str) -> "subprocess.Popen[str]":
        """Start Snakemake, with `variables` but nothing else of the test's environment, by a command's `beginning`."""
        return subprocess.Popen(
            [*beginning, SNAKEMAKE, *arguments],
            cwd=self.folder,
            env=self._environment(variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def snakemake(
        self, *arguments: str, beginning: Sequence[str] = (), **variables: str
    ) -> "subprocess.CompletedProcess[str]":
        """Run Snakemake, in a fresh process where there is a `beginning`."""
        if not beginning:
            return snakemake_server.call(arguments, self.folder, self._environment(variables), TIMEOUT_SECONDS)
        with self.start(*arguments, beginning=beginning, **variables) as process:
            try:
                stdout, stderr = process.communicate(timeout=TIMEOUT_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    def _environment(self, variables: Mapping[str, str]) -> dict[str, str]:
        return {
            **{name: os.environ[name] for name in ("PATH", "HOME")},
            "TRAINBENCH_LEASE_FOLDER": str(self.folder / "leases"),  # apart from other runs on this machine
            **variables,
        }

    def study(self, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        """Run the study on two cores."""
        return self.snakemake("--cores", "2", "--configfile", "study.yaml", *arguments, **variables)

    def adopt(self, metrics: Iterable[Path], *config: str) -> None:
        """Have Snakemake record these metrics files as made with the settings and the code of now."""
        files = [str(path.relative_to(self.folder)) for path in metrics]
        options = ("--cores", "2", "--configfile", "study.yaml", "--config", *config)
        touched = self.snakemake(*files, "--touch", "--forceall", *options)
        assert touched.returncode == 0, touched.stderr

    def planned(self, *arguments: str) -> dict[str, int]:
        """How many jobs of each rule a dry run of the study plans."""
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


def make_checkout(folder: Path, study: str) -> Checkout:
    """Copy the repository into `folder`, with data and a study."""
    _compile_scripts()
    for part in PARTS:
        source = REPOSITORY / part
        copy = shutil.copytree if source.is_dir() else shutil.copy2
        copy(source, folder / part)
    write_idx_directory(folder / "data", train_samples=200, test_samples=60, height=9, width=14, classes=4)
    (folder / "study.yaml").write_text(study, encoding="utf-8")
    return Checkout(folder)


@cache
def _compile_scripts() -> None:
    """Have the repository's modules compiled, and with them every copy's: each would compile its own otherwise."""
    compileall.compile_dir(REPOSITORY / "workflow/scripts", quiet=1)
