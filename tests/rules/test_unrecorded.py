"""Results that a killed Snakemake could not record come back; those that are no longer asked for do not."""

import base64
import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import pytest

from call_builder import make_call
from study_builder import make_study
from trainbench.plan.study import ModelSettings, Run, Study
from trainbench.rules import unrecorded

FILES_SHA256, CODE_SHA256 = "ab" * 32, "cd" * 32
RUN = Run("logistic", 16, "cpu", 1)
STUDY = make_study({"logistic": ModelSettings(3, {"learning_rate": 0.05})}, (16,), validation_samples=40)
SETTINGS = STUDY.settings(RUN, FILES_SHA256)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of a Snakemake that was killed just after the run's end."""
    monkeypatch.chdir(tmp_path)
    leave(SETTINGS, CODE_SHA256)
    mark()
    return tmp_path


def leave(settings: dict[str, Any], code_sha256: str) -> None:
    run = Path("results") / RUN.folder
    run.mkdir(parents=True, exist_ok=True)
    (run / "train.log").write_text("epoch 3/3\n")
    (run / "samples.csv").write_text("monotonic_seconds\n")
    contents = {"run_id": "1f" * 16, "settings": settings, "software": {"code_sha256": code_sha256}}
    (run / "metrics.json").write_text(json.dumps(contents))
    os.utime(run / "metrics.json", ns=(123_456_789, 123_456_789))


def mark(longest_name: int = 255) -> None:
    """Mark the run's outputs as under way, as Snakemake's persistence/file.py does."""
    for name in ("metrics.json", "samples.csv"):
        encoded = base64.urlsafe_b64encode(f"results/{RUN.folder}/{name}".encode()).decode()
        parts = [encoded[start : start + longest_name - 1] for start in range(0, len(encoded), longest_name - 1)]
        path = Path(".snakemake/incomplete", *(f"@{part}" for part in parts[:-1]), parts[-1])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")


def begin_job() -> None:
    """Do what Snakemake does before it carries out a job: delete its outputs and its log."""
    for path in (Path("results") / RUN.folder).iterdir():
        path.unlink()


def set_aside(study: Study = STUDY, code_sha256: str = CODE_SHA256) -> None:
    unrecorded.set_aside(make_call(study, data_sha256=FILES_SHA256, code_sha256=code_sha256))


def give_back(settings: dict[str, Any] = SETTINGS, code_sha256: str = CODE_SHA256) -> bool:
    return unrecorded.give_back(Path("results") / RUN.folder, settings, code_sha256)


@pytest.mark.usefixtures("folder")
def test_a_finished_run_comes_back_as_it_was() -> None:
    run = Path("results") / RUN.folder
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in run.iterdir()}
    set_aside()
    begin_job()
    assert give_back()
    assert {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in run.iterdir()} == before


def test_a_run_comes_back_once(folder: Path) -> None:
    set_aside()
    begin_job()
    assert give_back()
    assert not give_back()
    assert not (folder / "results" / ".unrecorded" / RUN.folder).exists()


@pytest.mark.usefixtures("folder")
def test_a_run_survives_a_second_kill_before_it_came_back() -> None:
    set_aside()
    begin_job()
    set_aside()
    assert give_back()


@pytest.mark.usefixtures("folder")
def test_names_too_long_for_one_file_are_read_too() -> None:
    for path in Path(".snakemake/incomplete").iterdir():
        path.unlink()
    mark(longest_name=20)
    set_aside()
    assert give_back()


@pytest.mark.usefixtures("folder")
def test_a_run_that_was_recorded_is_not_set_aside() -> None:
    for path in Path(".snakemake/incomplete").iterdir():
        path.unlink()
    set_aside()
    assert not give_back()


@pytest.mark.usefixtures("folder")
def test_what_was_set_aside_is_dropped_when_the_run_is_no_longer_under_way() -> None:
    set_aside()
    for path in Path(".snakemake/incomplete").iterdir():
        path.unlink()
    set_aside()
    assert not give_back()


@pytest.mark.usefixtures("folder")
def test_results_of_other_code_are_not_set_aside() -> None:
    set_aside(code_sha256="ef" * 32)
    assert not give_back(code_sha256="ef" * 32)


@pytest.mark.usefixtures("folder")
def test_results_of_other_settings_do_not_come_back() -> None:
    set_aside()
    assert not give_back(settings={**SETTINGS, "epochs": 4})


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("content", ["", "{", "[]", '{"settings": 1}', '{"settings": {}, "software": null}'])
def test_a_broken_metrics_file_is_not_set_aside(content: str) -> None:
    (Path("results") / RUN.folder / "metrics.json").write_text(content)
    set_aside()
    assert not give_back()


@pytest.mark.usefixtures("folder")
def test_marks_of_other_files_are_passed_over() -> None:
    for name in ("bm90IG91cnM=", "not base64", base64.urlsafe_b64encode(b"results/runs/a/b/c/d/metrics.json").decode()):
        Path(".snakemake/incomplete", name).write_text("{}")
    set_aside()
    assert give_back()


def test_a_folder_in_which_nothing_ran_yet_has_nothing_to_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    set_aside()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("left", ["metrics.json", "samples.csv"])
def test_the_mark_of_one_output_is_enough_to_keep_a_run(left: str) -> None:
    for mark_of in ("metrics.json", "samples.csv"):
        if mark_of != left:
            name = base64.urlsafe_b64encode(f"results/{RUN.folder}/{mark_of}".encode()).decode()
            Path(".snakemake/incomplete", name).unlink()
    set_aside()
    begin_job()
    assert give_back()


# --- results without a record ---

METRICS = f"results/{RUN.folder}/metrics.json"
TABLE = "results/tables/runs.csv"


def outdated(study: Study = STUDY, code_sha256: str = CODE_SHA256) -> list[str]:
    return unrecorded.outdated(make_call(study, data_sha256=FILES_SHA256, code_sha256=code_sha256), [TABLE])


@pytest.fixture
def without_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Results that were copied without Snakemake's records, into a folder where it has just begun."""
    monkeypatch.chdir(tmp_path)
    leave(SETTINGS, CODE_SHA256)
    Path(TABLE).parent.mkdir()
    Path(TABLE).write_text("model\n")
    metadata = tmp_path / ".snakemake/metadata"
    metadata.mkdir(parents=True)
    return metadata


@pytest.mark.usefixtures("without_records")
def test_without_a_record_a_table_is_outdated_and_a_run_that_says_what_it_should_is_not() -> None:
    assert outdated() == [TABLE]


@pytest.mark.usefixtures("without_records")
def test_without_a_record_a_run_of_other_code_or_settings_is_outdated() -> None:
    assert outdated(code_sha256="ef" * 32) == [METRICS, TABLE]
    assert outdated(dataclasses.replace(STUDY, seed=2)) == [METRICS, TABLE]


def test_what_has_a_record_is_left_to_snakemake(without_records: Path) -> None:
    for path in (METRICS, TABLE):
        (without_records / base64.urlsafe_b64encode(path.encode()).decode()).write_text("{}")
    assert outdated(code_sha256="ef" * 32) == []


@pytest.mark.usefixtures("without_records")
def test_what_is_not_there_is_not_outdated() -> None:
    Path(TABLE).unlink()
    Path(METRICS).unlink()
    assert outdated() == []


def test_nothing_is_known_of_records_that_snakemake_keeps_elsewhere(without_records: Path) -> None:
    without_records.rmdir()
    assert outdated(code_sha256="ef" * 32) == []
