"""The state of an interrupted run comes back exactly, and only to the run that it belongs to."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from trainbench.run import state

IDENTITY: dict[str, Any] = {"settings": {"model": "conv", "batch_sizes": (16, 32)}, "threads": 2}
EPOCH = {"epoch": 1, "train_seconds": 1 / 3, "loss": None, "train_window_monotonic_seconds": [0.1, 0.1 + 1 / 3]}


def between() -> state.State:
    weights = np.random.default_rng(1).normal(size=(3, 4)).astype(np.float32)
    arrays = {"parameter/weights": weights, "slot/0": weights.T, "steps_done": np.array([7]), "scalar": np.array(2.5)}
    return state.State(arrays, [EPOCH], [1], 12.5)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    state.save(between(), IDENTITY, tmp_path / "unfinished" / "state.safetensors")
    return tmp_path / "unfinished" / "state.safetensors"


def test_arrays_come_back_bit_for_bit(path: Path) -> None:
    found = state.load(IDENTITY, path)
    assert found is not None
    assert {name: (array.shape, array.tobytes()) for name, array in found.arrays.items()} == {
        name: (array.shape, array.tobytes()) for name, array in between().arrays.items()
    }


def test_epochs_come_back_to_the_last_digit(path: Path) -> None:
    found = state.load(IDENTITY, path)
    assert found is not None
    assert (found.epochs, found.resumed_after_epochs, found.peak_memory_mib) == ([EPOCH], [1], 12.5)


@pytest.mark.parametrize(
    "other", [{**IDENTITY, "threads": 1}, {"threads": 2}, {**IDENTITY, "settings": {"model": "conv"}}, {}]
)
def test_the_state_of_another_run_is_no_state(other: dict[str, Any], path: Path) -> None:
    assert state.load(other, path) is None


@pytest.mark.parametrize("size", [0, 4, 100, -1])
def test_a_broken_file_is_no_state(size: int, path: Path) -> None:
    path.write_bytes(path.read_bytes()[:size])
    assert state.load(IDENTITY, path) is None


@pytest.mark.parametrize("facts", ["{", "[]", '{"identity": {}}'], ids=["no JSON", "no mapping", "no epochs"])
def test_a_file_with_other_facts_than_a_state_has_is_no_state(facts: str, tmp_path: Path) -> None:
    save_file({"weights": np.zeros(2)}, tmp_path / "state.safetensors", metadata={"trainbench_state": facts})
    assert state.load({}, tmp_path / "state.safetensors") is None


def test_a_file_that_is_not_there_is_no_state(tmp_path: Path) -> None:
    assert state.load(IDENTITY, tmp_path / "state.safetensors") is None


def test_a_state_that_cannot_be_written_leaves_the_one_before(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space left"):
        state.save(state.State({"steps_done": np.array([8])}, [], [], None), IDENTITY, path)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]
