"""The conda environments pin what the lock files pin."""

import re
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
ALL_LOCKS = sorted(path.name for path in (REPOSITORY / "requirements").glob("*.txt"))

# PyTorch's build for CPUs is not on PyPI, and so in no lock file: an environment has PyPI's.
LOCKS = {
    "train-tensorflow-cpu": ["cpu.txt"],
    "train-tensorflow-cuda": ["cuda.txt"],
    "train-jax-cpu": ["cpu.txt", "jax-cpu.txt"],
    "train-jax-cuda": ["cpu.txt", "jax-cuda.txt"],
    "train-torch-cpu": ["cpu.txt", "torch-cuda.txt"],
    "train-torch-cuda": ["cpu.txt", "torch-cuda.txt"],
    "analysis": ["cpu.txt"],
}


def locked(name):
    """Exact versions in a lock file that hold for Python 3.11."""
    text = (REPOSITORY / "requirements" / name).read_text()
    pins = re.findall(r"^([a-z0-9._-]+)(?:\[[a-z0-9,-]+\])?==(\S+)(?: ; (.*?))? \\$", text, flags=re.MULTILINE)
    return {package: version for package, version, marker in pins if "python_full_version >= '3.12'" not in marker}


def test_every_environment_is_held_against_lock_files():
    assert {path.stem for path in (REPOSITORY / "envs").glob("*.yaml")} == LOCKS.keys()


@pytest.mark.parametrize("environment", LOCKS)
def test_the_pins_of_an_environment_are_those_of_the_lock_files(environment):
    specification = yaml.safe_load((REPOSITORY / f"envs/{environment}.yaml").read_text())
    (pip,) = (part["pip"] for part in specification["dependencies"] if isinstance(part, dict))
    pins = dict(re.fullmatch(r"([a-z0-9._-]+)(?:\[[a-z0-9-]+\])?==(\S+)", pin).groups() for pin in pip)
    versions = {package: version for lock in LOCKS[environment] for package, version in locked(lock).items()}
    assert pins == {package: versions[package] for package in pins}


@pytest.mark.parametrize("name", ALL_LOCKS)
def test_every_package_of_a_lock_file_is_exact_and_hashed(name):
    entries = re.split(r"^(?=[a-z0-9])", (REPOSITORY / "requirements" / name).read_text(), flags=re.MULTILINE)
    packages = [entry for entry in entries if entry.strip() and not entry.startswith("#")]
    assert packages
    for package in packages:
        assert re.match(r"[a-z0-9._-]+(\[[a-z0-9,-]+\])?==\S+", package), package[:60]
        assert "--hash=sha256:" in package, package[:60]


@pytest.mark.parametrize("build", ["cpu", "cuda"])
def test_lock_files_that_are_installed_together_agree_on_every_version(build):
    # With BUILD=cuda, TensorFlow may be there in its build for CPUs: those of cpu.txt are those of cuda.txt.
    versions = {}
    for lock in ("cpu.txt", f"{build}.txt", f"torch-{build}.txt", f"jax-{build}.txt", "dev.txt"):
        for package, version in locked(lock).items():
            assert versions.setdefault(package, version) == version, f"{package} in {lock}"
