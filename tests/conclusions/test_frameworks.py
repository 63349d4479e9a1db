"""Frameworks and precisions stand side by side where the hardware, the model and the batch size are the same."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from metrics_builder import make_record
from trainbench.conclusions.tables.frameworks import COLUMNS as FRAMEWORK_COLUMNS
from trainbench.conclusions.tables.frameworks import frameworks_table
from trainbench.conclusions.tables.roofline import roofline_table
from trainbench.results.cells_table import cells_table
from trainbench.results.measured import measured
from trainbench.results.tables import TableOrder, read_csv, write_csv


def runs_of(device, framework, seconds, precision="float32", **settings):
    return [
        make_record(
            device=device,
            repeat=repeat,
            train_seconds=(99.0, value),
            framework=framework,
            precision=precision,
            **{"kind": "cpu", **settings},
        )
        for repeat, value in enumerate(seconds, start=1)
    ]


def table_of(*records, order=None):
    order = order or TableOrder()
    runs = measured(records, order).runs
    return frameworks_table(cells_table(runs, order), roofline_table(runs, order), order)


def by_device(table, column="speedup"):
    return dict(zip(table["device"], table[column], strict=True))


TENSORFLOW = runs_of("cpu", "tensorflow", (20.0, 21.0, 22.0))
TORCH = runs_of("cpu-torch", "torch", (10.0, 11.0, 10.5))
TORCH_BF16 = runs_of("cpu-torch-bf16", "torch", (5.0,), "bfloat16")


def test_a_speedup_is_over_tensorflow_in_float32_with_welchs_interval():
    row = table_of(*TORCH, *TENSORFLOW).set_index("device").loc["cpu-torch"]
    ours, theirs = np.log((10.0, 11.0, 10.5)), np.log((20.0, 21.0, 22.0))
    welch = stats.ttest_ind(theirs, ours, equal_var=False).confidence_interval(0.95)
    expected = [np.exp(theirs.mean() - ours.mean()), *np.exp([welch.low, welch.high])]
    assert row[["speedup", "speedup_low", "speedup_high"]].tolist() == pytest.approx(expected)
    assert (row["reference_device"], row["reference_framework"]) == ("cpu", "tensorflow")


def test_without_tensorflow_the_first_device_is_the_reference():
    jax = runs_of("a-jax", "jax", (20.0,))
    order = TableOrder(devices=("cpu-torch", "a-jax"))
    assert by_device(table_of(*jax, *TORCH, order=order), "reference_device") == {
        "cpu-torch": "cpu-torch",
        "a-jax": "cpu-torch",
    }


def test_a_precision_is_compared_with_float32_of_its_own_framework():
    found = table_of(*runs_of("cpu", "tensorflow", (20.0,)), *runs_of("cpu-torch", "torch", (10.0,)), *TORCH_BF16)
    assert by_device(found) == pytest.approx({"cpu": 1.0, "cpu-torch": 2.0, "cpu-torch-bf16": 4.0})
    assert by_device(found, "speedup_over_float32") == pytest.approx({"cpu": 1, "cpu-torch": 1, "cpu-torch-bf16": 2})


def test_a_framework_without_float32_has_no_speedup_over_it():
    found = table_of(*TENSORFLOW, *TORCH_BF16).set_index("device")
    assert pd.isna(found.loc["cpu-torch-bf16", ["float32_device", "speedup_over_float32"]]).all()


def test_one_framework_in_one_precision_is_nothing_to_set_side_by_side():
    assert table_of(*TENSORFLOW, *runs_of("cpu-b", "tensorflow", (3.0,))).empty


@pytest.mark.parametrize(
    "other",
    [
        {"host": "other"},
        {"batch_size": 128},
        {"model": "lstm"},
        {"usable_threads": 8},
        {"kind": "gpu"},
        {"device_used": {"name": "Intel Xeon"}},
        {"settings": {"device": {"environment": {"A": "1"}}}},
    ],
    ids=lambda other: next(iter(other)),
)
def test_what_differs_in_more_than_framework_and_precision_is_not_side_by_side(other):
    assert table_of(*TENSORFLOW, *runs_of("cpu-torch", "torch", (10.0,), **other)).empty


def test_gpus_are_side_by_side_with_as_many_gpus_whatever_their_threads():
    jax = [runs_of(f"jax-{count}", "jax", (2.0,), kind="gpu", gpus=count, usable_threads=4) for count in (1, 2)]
    torch = runs_of("torch-2", "torch", (1.0,), kind="gpu", gpus=2, usable_threads=8)
    found = table_of(*jax[0], *jax[1], *torch)
    assert by_device(found) == pytest.approx({"jax-2": 1.0, "torch-2": 2.0})
    assert found["gpus"].tolist() == [2, 2]


def test_accuracy_and_share_of_the_ceiling_stand_beside_the_speed():
    ceilings = {"flop_per_second": 1e12, "bytes_per_second": 1e15}
    torch = runs_of("cpu-torch", "torch", (10.0,), accuracies=(0.5, 0.75), ceilings=ceilings)
    row = table_of(*TENSORFLOW, *torch).set_index("device").loc["cpu-torch"]
    achieved = torch[0]["arithmetic"]["train_flop_per_example"] * torch[0]["epochs"][0]["samples"] / 10.0
    assert row["final_accuracy_mean"] == 0.75
    assert row["fraction_of_flop_ceiling"] == pytest.approx(achieved / 1e12)


def test_a_cell_out_of_memory_has_a_row_where_its_device_has_run_elsewhere():
    lost = runs_of("cpu-torch", "torch", (1.0,), status="out_of_memory")
    found = table_of(*TENSORFLOW, *lost, *runs_of("cpu-torch", "torch", (1.0,), batch_size=128))
    row = found.set_index("device").loc["cpu-torch"]
    assert (row["status"], row["n"], row["framework"]) == ("out_of_memory", 0, "torch")
    assert pd.isna(row["speedup"])


def test_a_reference_out_of_memory_leaves_its_place_to_the_next():
    lost = runs_of("cpu", "tensorflow", (1.0,), status="out_of_memory")
    elsewhere = runs_of("cpu", "tensorflow", (1.0,), batch_size=128)
    found = table_of(*lost, *elsewhere, *TORCH)
    assert found.loc[found["n"] > 0, "reference_device"].tolist() == ["cpu-torch"]


def test_what_is_written_is_read_again(tmp_path):
    table = table_of(*TENSORFLOW, *TORCH, *TORCH_BF16)
    write_csv(table, tmp_path / "frameworks.csv")
    pd.testing.assert_frame_equal(read_csv(tmp_path / "frameworks.csv", FRAMEWORK_COLUMNS), table)
