"""Work outside of the repository: in another folder, from a checkout that nobody may write, in another workflow."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from checkout import REPOSITORY, Checkout
from hidden_processes import NOBODY, hiding

ONE_RUN = ("models=[logistic]", "batch_sizes=[16]")
OTHER_CONFIG = """
models: [lstm]
batch_sizes: [16]
dataset: {path: data, validation_samples: 40}
"""


@pytest.fixture
def repository(new_checkout):
    return new_checkout()


@pytest.fixture
def elsewhere(tmp_path):
    return tmp_path / "elsewhere"


def study(repository, elsewhere, *arguments, config=ONE_RUN):
    """Work elsewhere, as a user would from the repository."""
    return repository.study("--directory", str(elsewhere), *arguments, "--config", *config)


def told(run):
    return next((line for line in run.stderr.splitlines() if line.startswith("trainbench:")), run.stderr)


def test_results_go_elsewhere_and_data_come_from_the_repository(repository, elsewhere):
    run = study(repository, elsewhere, "--until", "tables")
    assert run.returncode == 0, run.stderr
    assert (elsewhere / "results/tables/runs.csv").exists()
    assert (elsewhere / "results/runs/logistic/16/cpu/1/train.log").exists()
    assert not (repository.folder / "results").exists()
    assert "rule " not in study(repository, elsewhere, "--until", "tables").stderr


def test_data_elsewhere_come_before_those_of_the_repository(repository, elsewhere):
    (elsewhere / "data").mkdir(parents=True)
    assert "data has no train-images file" in told(study(repository, elsewhere, "--dry-run"))


def test_data_that_are_in_neither_place_are_told_with_the_place(repository, elsewhere):
    sentence = told(study(repository, elsewhere, "--dry-run", config=("dataset={path: nowhere}",)))
    assert f"nowhere does not exist, seen from {elsewhere}" in sentence


def test_a_config_elsewhere_is_layered_over_that_of_the_repository(repository, elsewhere):
    (elsewhere / "config").mkdir(parents=True)
    (elsewhere / "config/config.yaml").write_text(OTHER_CONFIG)
    run = repository.snakemake("--directory", str(elsewhere), "--cores", "2", "--dry-run", "--config", "repeats=1")
    assert run.returncode == 0, run.stderr
    trained = [line for line in (run.stdout + run.stderr).splitlines() if "wildcards: model=" in line]
    assert [line.split()[1] for line in trained] == ["model=lstm,"]


@pytest.fixture
def read_only(repository, tmp_path):
    """The repository as nobody can write it."""
    mount_point = tmp_path / "read-only"
    mount_point.mkdir()
    for options in (["--bind", repository.folder], ["-o", "remount,bind,ro"]):
        mounted = subprocess.run(["mount", *options, mount_point], capture_output=True, text=True, check=False)
        if mounted.returncode != 0:
            pytest.skip(f"takes the right to mount a folder read-only: {mounted.stderr.strip()}")
    yield Checkout(mount_point)
    subprocess.run(["umount", "--lazy", mount_point], check=True)


def test_a_checkout_that_is_read_only_will_do(read_only, elsewhere):
    options = ("--directory", str(elsewhere), "--until", "tables", "--config", *ONE_RUN)
    run = read_only.study(*options, TRAINBENCH_LEASE_FOLDER=str(elsewhere / "leases"))
    assert run.returncode == 0, run.stderr
    assert (elsewhere / "results/tables/runs.csv").exists()


def test_a_study_of_a_user_who_cannot_see_the_processes_of_others_completes(repository):
    for path in [repository.folder, *repository.folder.rglob("*")]:
        os.chown(path, NOBODY, NOBODY)
    study = ("--cores", "2", "--configfile", "study.yaml", "--until", "tables", "--config", *ONE_RUN)
    run = repository.snakemake(*study, beginning=hiding("2"), HOME=str(repository.folder))
    assert run.returncode == 0, run.stderr


def documented_workflow(repository: Path) -> str:
    """The Snakefile that the configuration's page shows, with this repository in it."""
    (text,) = re.findall(
        r"```python\n(.*?)```", (REPOSITORY / "config/README.md").read_text(encoding="utf-8"), re.DOTALL
    )
    return text.replace("../trainbench", str(repository))


def test_another_workflow_takes_it_in_as_a_module(repository, elsewhere):
    elsewhere.mkdir()
    (elsewhere / "Snakefile").write_text(documented_workflow(repository.folder))
    shutil.copytree(repository.folder / "data", elsewhere / "data")
    own = (
        "--config",
        "dataset={path: data, validation_samples: 40}",
        *ONE_RUN,
        "model_settings={logistic: {epochs: 2}}",
    )
    run = Checkout(elsewhere).snakemake("--cores", "2", *own, "repeats=1", "devices=[cpu]")
    assert run.returncode == 0, run.stderr
    assert (elsewhere / "answer.md").read_text() == (elsewhere / "results/tables/comparison.md").read_text()
