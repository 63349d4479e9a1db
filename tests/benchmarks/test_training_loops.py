"""The comparison of training loops: ratios, floors and goals follow from the runs, and a file keeps these whole."""

from pathlib import Path
from typing import Any

import pytest

import training_loops
from training_loops import Measured

FLOP_PER_SECOND, BYTES_PER_SECOND = 4e11, 5e10


def run(contender: str, seconds: float, repeat: int = 1, **changes: Any) -> Measured:
    fields: dict[str, Any] = {
        "turn": repeat,
        "contender": contender,
        "model": "logistic",
        "batch_size": 128,
        "repeat": repeat,
        "images": 55_000,
        "epochs": 8,
        "seconds_an_epoch": seconds,
        "first_epoch_seconds": seconds,
        "accuracy": 0.9,
        "flop_per_example": 31_360.0,
        "bytes_per_example": 1_000.0,
        "flop_per_second": FLOP_PER_SECOND if contender == "ours" else None,
        "bytes_per_second": BYTES_PER_SECOND if contender == "ours" else None,
        "threads": 2,
        "machine": "2 cores of a CPU",
    }
    return Measured(**{**fields, **changes})


def test_how_many_times_faster_is_the_ratio_of_the_geometric_means_of_runs() -> None:
    runs = [run("ours", 0.01), run("ours", 0.04, 2), run("2017", 0.1), run("2017", 0.1, 2)]
    (cell,) = training_loops.compare(runs)
    ratio = cell.times_faster("2017")
    assert ratio is not None
    assert ratio.value == pytest.approx(0.1 / 0.02)


def test_the_floor_is_the_longer_one_of_the_times_for_flop_and_for_bytes() -> None:
    (cell,) = training_loops.compare([run("ours", 0.01)])
    assert cell.bound == "FLOP"
    assert cell.floor_seconds == pytest.approx(55_000 * 31_360 / FLOP_PER_SECOND)
    (cell,) = training_loops.compare([run("ours", 0.01, bytes_per_example=1e5)])
    assert cell.bound == "bytes"
    assert cell.floor_seconds == pytest.approx(55_000 * 1e5 / BYTES_PER_SECOND)


def test_a_ceiling_is_the_highest_that_any_run_saw() -> None:
    (cell,) = training_loops.compare([run("ours", 0.01), run("ours", 0.01, 2, flop_per_second=2 * FLOP_PER_SECOND)])
    assert cell.floor_seconds == pytest.approx(55_000 * 31_360 / (2 * FLOP_PER_SECOND))


def test_each_goal_is_told_as_reached_or_missed() -> None:
    cells = training_loops.compare([run("ours", 0.02), run("2017", 0.1), run("keras", 0.2)])
    assert [reached for _, reached in training_loops.verdicts(cells)] == [True, False, False]


def test_runs_read_from_a_file_are_those_written_to_it(tmp_path: Path) -> None:
    runs = [run("ours", 0.0123456789), run("keras", 1.0, 2)]
    training_loops.write(runs, tmp_path / "runs.csv")
    assert training_loops.read(tmp_path / "runs.csv") == runs
