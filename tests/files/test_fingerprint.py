"""Fingerprints follow contents and names."""

import os
from pathlib import Path

import pytest

from trainbench.files import fingerprint


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / name for name in ("a.py", "b.py")]
    for path in paths:
        path.write_text(f"contents of {path.name}", encoding="utf-8")
    return paths


def test_a_fingerprint_changes_with_contents(files: list[Path]) -> None:
    before = fingerprint.of_files(files)
    files[0].write_text("other contents", encoding="utf-8")
    assert fingerprint.of_files(files) != before


def test_a_fingerprint_does_not_change_with_modification_times(files: list[Path]) -> None:
    before = fingerprint.of_files(files)
    os.utime(files[0], (0, 0))
    assert fingerprint.of_files(files) == before


def test_a_fingerprint_does_not_change_with_the_order_of_files(files: list[Path]) -> None:
    assert fingerprint.of_files(reversed(files)) == fingerprint.of_files(files)


def test_a_fingerprint_does_not_change_with_the_order_of_files_of_one_name(files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (namesake := tmp_path / "folder" / files[0].name).write_text("of the same name", encoding="utf-8")
    assert fingerprint.of_files([namesake, *files]) == fingerprint.of_files([*files, namesake])


def test_a_fingerprint_does_not_change_with_the_folder(files: list[Path], tmp_path: Path) -> None:
    before = fingerprint.of_files(files)
    (tmp_path / "folder").mkdir()
    assert fingerprint.of_files(path.rename(tmp_path / "folder" / path.name) for path in files) == before


def test_a_fingerprint_changes_with_a_name(files: list[Path]) -> None:
    before = fingerprint.of_files(files)
    assert fingerprint.of_files([files[0].rename(files[0].with_name("c.py")), files[1]]) != before


def test_contents_that_move_from_one_file_to_another_change_the_fingerprint(files: list[Path]) -> None:
    before = fingerprint.of_files(files)
    first, second = (path.read_bytes() for path in files)
    files[0].write_bytes(second)
    files[1].write_bytes(first)
    assert fingerprint.of_files(files) != before


def test_a_room_is_all_files_below_its_folder() -> None:
    paths = [path for path in (fingerprint.PACKAGE / "engines" / "jax").rglob("*") if path.suffix != ".pyc"]
    assert fingerprint.of_rooms(["engines/jax"]) == fingerprint.of_files(path for path in paths if path.is_file())


def test_a_room_may_be_one_module() -> None:
    assert fingerprint.of_rooms(["errors"]) == fingerprint.of_files([fingerprint.PACKAGE / "errors.py"])


def test_a_rules_script_counts_with_its_rooms() -> None:
    files = [fingerprint.PACKAGE / "errors.py", fingerprint.SCRIPTS / "train.py"]
    assert fingerprint.of_rooms(["errors"], "train.py") == fingerprint.of_files(files)


def test_texts_are_kept_apart() -> None:
    assert fingerprint.of_texts("ab", "c") != fingerprint.of_texts("a", "bc")


def test_the_order_of_texts_counts() -> None:
    assert fingerprint.of_texts("a", "b") != fingerprint.of_texts("b", "a")
