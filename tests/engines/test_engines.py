"""What is known of frameworks without importing them."""

import sys
from pathlib import Path

import pytest

from trainbench import engines
from trainbench.engines.shared import interface

EXECUTION = interface.Execution("cpu", threads=1, batch_size=16)


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a registered framework that is not installed."""
    registered = engines.Registered("trainbench.engines.absent", "no_such_package", ("no-such-package",))
    monkeypatch.setattr(engines, "ENGINES", {**engines.ENGINES, "absent": registered})
    return "absent"


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """The name of a registered framework whose package is there but cannot be imported."""
    package = tmp_path / "a_broken_package"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    registered = engines.Registered("trainbench.engines.found", package.name, ("a-build-for-gpus",))
    monkeypatch.setattr(engines, "ENGINES", {**engines.ENGINES, "found": registered})
    return "found"


def test_a_framework_that_is_not_installed_is_refused_with_the_command_that_installs_it(absent: str) -> None:
    with pytest.raises(interface.Refused, match=r"install it: make setup FRAMEWORKS='tensorflow .*absent'$"):
        engines.start(absent, EXECUTION)


def test_the_command_that_installs_a_framework_names_what_is_installed_once_and_first(absent: str) -> None:
    assert engines.how_to_install("tensorflow").count("tensorflow") == 1
    assert engines.how_to_install(absent).endswith(" absent'")


def test_the_command_for_gpus_names_the_framework_too_which_may_be_installed_for_cpus_beside_others(
    absent: str,
) -> None:
    assert engines.how_to_install(absent, for_gpus=True).startswith("make setup BUILD=cuda FRAMEWORKS='tensorflow ")


def test_of_a_framework_that_is_not_installed_nobody_knows_whether_it_can_use_gpus(absent: str) -> None:
    assert engines.uses_gpus(absent) is None


def test_a_framework_is_found_without_being_imported(found: str) -> None:
    assert engines.is_installed(found)
    assert "a_broken_package" not in sys.modules


def test_a_framework_uses_gpus_only_where_its_build_for_them_is_installed(found: str, tmp_path: Path) -> None:
    assert engines.uses_gpus(found) is False
    build = tmp_path / "a_build_for_gpus-1.0.dist-info"
    build.mkdir()
    (build / "METADATA").write_text("Metadata-Version: 2.1\nName: a-build-for-gpus\nVersion: 1.0\n", encoding="utf-8")
    assert engines.uses_gpus(found) is True
