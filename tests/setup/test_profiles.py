"""Snakemake loads every profile as it stands, where the plugins that it names are installed."""

import argparse
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from snakemake import cli

PROFILES = Path(__file__).resolve().parents[2] / "profiles"
NAMES = sorted(folder.name for folder in PROFILES.iterdir() if folder.is_dir())


def contents(name: str) -> dict[str, object]:
    read: dict[str, object] = yaml.safe_load((PROFILES / name / "profile.yaml").read_text(encoding="utf-8"))
    return read


def parsed(name: str) -> argparse.Namespace:
    """What Snakemake's own parser makes of the profile."""
    executor = str(contents(name).get("executor", "local"))
    module = f"snakemake_executor_plugin_{executor.replace('-', '_')}"
    if executor != "local" and find_spec(module) is None:
        pytest.skip(f"the plugin for {executor} is not installed ({module})")
    parser = cli.get_argument_parser(profiles=[str(PROFILES / name)])
    found: argparse.Namespace = parser.parse_args([])
    return found


@pytest.mark.parametrize("name", NAMES)
def test_every_key_of_a_profile_is_an_option_of_snakemake(name: str) -> None:
    options = vars(parsed(name))
    assert [key for key in contents(name) if key.replace("-", "_") not in options] == []


@pytest.mark.parametrize("name", [name for name in NAMES if name != "default"])
def test_a_profile_for_a_cluster_submits_and_asks_for_enough_memory(name: str) -> None:
    options = parsed(name)
    assert (options.executor, options.jobs) == (name, 100)
    assert options.default_resources["mem_mb"].value == 8000


def test_the_default_profile_submits_nothing() -> None:
    assert parsed("default").executor is None
