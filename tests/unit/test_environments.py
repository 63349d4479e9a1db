"""The conda environments pin what the lock files pin."""

import re
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
LOCKS = {"train-tensorflow-cpu": "cpu.txt", "train-tensorflow-cuda": "cuda.txt", "analysis": "cpu.txt"}


def locked(name):
    """Exact versions in a lock file that hold for Python 3.11."""
    text = (REPOSITORY / "requirements" / name).read_text()
    pins = re.findall(r"^([a-z0-9._-]+)==(\S+)(?: ; (.*?))? \\$", text, flags=re.MULTILINE)
    return {package: version for package, version, marker in pins if "python_full_version >= '3.12'" not in marker}


@pytest.mark.parametrize("environment", LOCKS)
def test_the_pins_of_an_environment_are_those_of_the_lock_file(environment):
    specification = yaml.safe_load((REPOSITORY / f"envs/{environment}.yaml").read_text())
    (pip,) = (part["pip"] for part in specification["dependencies"] if isinstance(part, dict))
    pins = dict(re.fullmatch(r"([a-z0-9._-]+)(?:\[[a-z-]+\])?==(\S+)", pin).groups() for pin in pip)
    versions = locked(LOCKS[environment])
    assert pins == {package: versions[package] for package in pins}


@pytest.mark.parametrize("name", ["setup.txt", "cpu.txt", "cuda.txt", "dev.txt"])
def test_every_package_of_a_lock_file_is_exact_and_hashed(name):
    entries = re.split(r"^(?=[a-z0-9])", (REPOSITORY / "requirements" / name).read_text(), flags=re.MULTILINE)
    packages = [entry for entry in entries if entry.strip() and not entry.startswith("#")]
    assert packages
    for package in packages:
        assert re.match(r"[a-z0-9._-]+==\S+", package), package[:60]
        assert "--hash=sha256:" in package, package[:60]
