"""The measured process answers with what it measured; finding the ceilings disturbs none of it."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from idx_writer import write_idx_directory
from trainbench import dataset, engines, journal, training

BATCH_SIZE = 16
SETTINGS = {
    "model": "logistic",
    "batch_size": BATCH_SIZE,
    "epochs": 2,
    "hyperparameters": {"learning_rate": 0.05},
    "device": {"framework": "tensorflow", "kind": "cpu"},
    "validation_samples": 40,
    "seed": 7,
}
CEILINGS = engines.Ceilings(4e11, 2e10, product_size=2048, array_bytes=2**27, seconds=0.9)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    dataset.prepare(write_idx_directory(folder / "idx"), folder / "dataset.safetensors")
    return folder / "dataset.safetensors"


@pytest.fixture
def answer(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Give a function that trains in this process, its ceilings found by another function."""

    def trained(ceilings: Callable[[], engines.Ceilings]) -> dict[str, Any]:
        engine = engines.start("tensorflow", "cpu", threads=1)
        monkeypatch.setattr(engine, "ceilings", ceilings)
        monkeypatch.setattr(engines, "start", lambda *_: engine)
        request = training.Request(
            SETTINGS, prepared, 1, [0], os.getpid(), time.monotonic(), tmp_path / "state.safetensors", {}
        )
        training.train(request, journal.Journal(tmp_path / "journal.jsonl"))
        return journal.read(tmp_path / "journal.jsonl")

    return trained


def test_the_answer_has_the_ceilings_and_the_arithmetic_of_an_example(answer: Callable[..., dict[str, Any]]) -> None:
    found = answer(lambda: CEILINGS)
    assert found["ceilings"]["flop_per_second"] == CEILINGS.flop_per_second
    # 8 x 12 pixels, 4 classes: 2 x 96 x 4 FLOP forward and as many for the gradient of the weights; 96 values read,
    # 4 written and read, and 384 weights and gradients each read and written once in a step of 16 examples.
    assert found["arithmetic"] == {
        "train_flop_per_example": 2 * 2 * 96 * 4,
        "train_bytes_per_example": 4 * (96 + 2 * 4 + 4 * 384 / BATCH_SIZE),
    }


def test_too_little_memory_for_the_ceilings_does_not_spoil_a_finished_run(
    answer: Callable[..., dict[str, Any]],
) -> None:
    def refuse() -> engines.Ceilings:
        raise engines.OutOfMemory("no room")

    found = answer(refuse)
    assert found["ceilings"] is None
    assert len(found["epochs"]) == SETTINGS["epochs"]


def test_the_log_says_why_there_are_no_ceilings(
    answer: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> engines.Ceilings:
        raise engines.OutOfMemory("no room")

    answer(refuse)
    assert "ceilings: not measured, no room" in capsys.readouterr().out


def test_the_ceilings_are_found_when_every_clock_has_stopped(answer: Callable[..., dict[str, Any]]) -> None:
    begun = []

    def note() -> engines.Ceilings:
        begun.append(time.monotonic())
        return CEILINGS

    found = answer(note)
    assert found["launched_at"] + found["clock"]["total_seconds"] <= begun[0]
    assert found["epochs"][-1]["eval_window_monotonic_seconds"][1] <= begun[0]


def test_the_peak_of_memory_is_that_of_the_training(
    answer: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    read_before = []

    def note() -> engines.Ceilings:
        monkeypatch.setattr(training, "_peak_memory_mib", lambda: pytest.fail("read after the ceilings"))
        read_before.append(True)
        return CEILINGS

    assert answer(note)["peak_memory_mib"] > 0
    assert read_before
