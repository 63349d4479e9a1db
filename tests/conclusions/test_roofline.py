"""Each cell stands where it belongs below its device's roofs."""

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from metrics_builder import make_record
from trainbench.conclusions.tables.roofline import COLUMNS as ROOFLINE_COLUMNS
from trainbench.conclusions.tables.roofline import DISTURBED_BY, bound, roofline_table
from trainbench.results.measured import measured
from trainbench.results.tables import TableOrder, read_csv, write_csv

FLOP_CEILING, BYTES_CEILING = 400e9, 20e9
"""A ridge at 20 FLOP a byte."""


def record(
    flop_per_byte: float = 10.0, achieved: float = 50e9, *, seconds: float = 2.0, repeat: int = 1, **changes: Any
) -> dict[str, Any]:
    """Give a run that achieves so many FLOP/s at this intensity; its first epoch is slower."""
    built = make_record(
        repeat=repeat,
        train_seconds=(seconds * 3, seconds),
        ceilings={"flop_per_second": FLOP_CEILING, "bytes_per_second": BYTES_CEILING},
    )
    flop = round(achieved * seconds / built["epochs"][1]["samples"])
    arithmetic = {"train_flop_per_example": flop, "train_bytes_per_example": flop / flop_per_byte}
    return {**built, "arithmetic": arithmetic, **changes}


def row(*records: dict[str, Any]) -> pd.Series:
    (_, found), *others = roofline_table(measured(records).runs).iterrows()
    assert not others
    return found


# --- bounds ---


@pytest.mark.parametrize(
    ("flop_per_byte", "achieved", "expected"),
    [
        pytest.param(10.0, 150e9, "memory", id="left of the ridge, near the slope"),
        pytest.param(10.0, 21e9, "memory", id="left of the ridge, a little above a tenth of the slope"),
        pytest.param(10.0, 19e9, "overhead", id="left of the ridge, below a tenth of the slope"),
        pytest.param(30.0, 300e9, "compute", id="right of the ridge, near the flat"),
        pytest.param(30.0, 41e9, "compute", id="right of the ridge, a little above a tenth of the flat"),
        pytest.param(30.0, 39e9, "overhead", id="right of the ridge, below a tenth of the flat"),
        pytest.param(20.0, 300e9, "compute", id="at the ridge"),
        pytest.param(30.0, 450e9, "compute", id="above the roof"),
    ],
)
def test_the_bound_is_the_roof_above_a_cell_or_overhead_far_below_both(
    flop_per_byte: float, achieved: float, expected: str
) -> None:
    assert bound(achieved, flop_per_byte, FLOP_CEILING, BYTES_CEILING) == expected


# --- the table ---


def test_the_table_has_every_column_in_order() -> None:
    assert list(roofline_table(measured([record()]).runs).columns) == list(ROOFLINE_COLUMNS)


def test_the_memory_roof_is_intensity_times_bandwidth() -> None:
    found = row(record(flop_per_byte=10.0, achieved=50e9))
    assert found["attainable_flop_per_second"] == pytest.approx(200e9)
    assert found["fraction_of_attainable"] == pytest.approx(0.25, rel=1e-3)
    assert found["fraction_of_flop_ceiling"] == pytest.approx(0.125, rel=1e-3)


def test_the_arithmetic_roof_is_the_ceiling_of_products() -> None:
    found = row(record(flop_per_byte=100.0, achieved=300e9))
    assert found["attainable_flop_per_second"] == FLOP_CEILING
    assert found["fraction_of_attainable"] == pytest.approx(0.75, rel=1e-3)


def test_what_a_cell_achieves_is_the_geometric_mean_of_its_steady_epochs_speeds() -> None:
    runs = [record(achieved=achieved, repeat=repeat) for repeat, achieved in enumerate((40e9, 90e9), start=1)]
    assert row(*runs)["achieved_flop_per_second"] == pytest.approx(60e9, rel=1e-3)


def test_a_cell_of_several_runs_has_an_interval() -> None:
    found = row(*(record(achieved=achieved, repeat=repeat) for repeat, achieved in enumerate((50e9, 51e9, 52e9))))
    low, value, high = (found[f"achieved_flop_per_second{end}"] for end in ("_low", "", "_high"))
    assert 40e9 < low < value < high < 60e9


@pytest.mark.parametrize(("spread", "expected"), [(1.02, "memory"), (1.2, "undecided")])
def test_the_bound_is_decided_where_the_whole_interval_lies_on_one_side_of_overhead(spread, expected) -> None:
    runs = [record(achieved=22e9 * factor, repeat=repeat) for repeat, factor in enumerate((1 / spread, 1.0, spread))]
    assert row(*runs)["bound"] == expected


def test_a_cell_of_one_run_has_none() -> None:
    assert math.isnan(row(record())["achieved_flop_per_second_low"])


def test_a_devices_ceilings_are_the_highest_that_any_of_its_runs_saw() -> None:
    disturbed = {**make_record()["ceilings"], "flop_per_second": 100e9, "bytes_per_second": 30e9}
    runs = [record(), record(repeat=2, ceilings=disturbed)]
    found = row(*runs)
    assert (found["flop_ceiling_per_second"], found["bytes_ceiling_per_second"]) == (FLOP_CEILING, 30e9)


def test_ceilings_hold_for_all_cells_of_a_device_and_for_no_other_device() -> None:
    runs = [record(), record(ceilings=None, batch_size=128), record(ceilings=None, device="cpu-1t")]
    table = roofline_table(measured(runs, order := TableOrder(batch_sizes=(128, 512))).runs, order)
    known = table["flop_ceiling_per_second"].notna()
    assert list(zip(table["batch_size"], table["device"], known, strict=True)) == [
        (128, "cpu", True),
        (512, "cpu", True),
        (512, "cpu-1t", False),
    ]


def test_without_ceilings_the_fractions_and_the_bound_are_unknown() -> None:
    found = row(record(ceilings=None))
    assert found[["attainable_flop_per_second", "fraction_of_attainable", "bound"]].isna().all()


def test_what_is_achieved_is_known_without_ceilings() -> None:
    assert row(record(achieved=50e9, ceilings=None))["achieved_flop_per_second"] == pytest.approx(50e9, rel=1e-3)


def test_a_cell_out_of_memory_keeps_its_row_without_figures() -> None:
    found = row(make_record(status="out_of_memory"))
    assert found["n"] == 0
    assert found[["achieved_flop_per_second", "flop_per_byte", "bound"]].isna().all()


def test_only_completed_runs_count() -> None:
    assert row(record(), make_record(repeat=2, status="out_of_memory"))["n"] == 1


def test_rows_stand_in_the_order_of_the_config() -> None:
    order = TableOrder(models=("lstm", "conv"), batch_sizes=(512, 128), devices=("gpu", "cpu"))
    records = [make_record(m, b, d) for m in ("conv", "lstm") for b in (128, 512) for d in ("cpu", "gpu")]
    table = roofline_table(measured(records).runs, order)
    assert list(zip(table["model"], table["batch_size"], table["device"], strict=True)) == [
        (m, b, d) for m in order.models for b in order.batch_sizes for d in order.devices
    ]


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    records = [record(), make_record(device="NA"), make_record("lstm", status="out_of_memory")]
    table = roofline_table(measured(records).runs)
    write_csv(table, tmp_path / "roofline.csv")
    pd.testing.assert_frame_equal(read_csv(tmp_path / "roofline.csv", ROOFLINE_COLUMNS), table)


# --- disturbed cells ---


def found(*names: str) -> list[dict[str, str]]:
    return [{"name": name, "level": "warning", "finding": "there was something", "advice": "see"} for name in names]


@pytest.mark.parametrize("check", DISTURBED_BY)
def test_what_others_at_work_held_up_is_put_down_to_no_roof_and_no_overhead(check: str) -> None:
    assert row(record(achieved=1e9), record(repeat=2, checks=found(check, "epochs_scatter")))["bound"] == "disturbed"


def test_other_findings_leave_the_bound() -> None:
    assert row(record(achieved=1e9, checks=found("epochs_scatter", "machine_speed")))["bound"] == "overhead"


def test_a_disturbed_cell_keeps_its_figures() -> None:
    assert row(record(achieved=50e9, checks=found("other_load")))["fraction_of_attainable"] == pytest.approx(
        0.25, rel=1e-3
    )


def test_the_bound_of_a_disturbed_cell_without_ceilings_is_unknown() -> None:
    assert pd.isna(row(record(ceilings=None, checks=found("other_load")))["bound"])


# --- what a device computes with ---


def test_ceilings_are_those_of_the_same_framework_and_precision() -> None:
    low = {**make_record()["ceilings"], "flop_per_second": 1e11}
    runs = [
        record(),
        make_record("lstm", framework="jax", ceilings=low),
        make_record("logistic", precision="bfloat16", ceilings=None),
    ]
    found = roofline_table(measured(runs).runs).set_index("model")["flop_ceiling_per_second"]
    assert (found["conv"], found["lstm"]) == (FLOP_CEILING, 1e11)
    assert math.isnan(found["logistic"])


def test_several_gpus_have_as_many_times_the_ceilings_of_one() -> None:
    found = row(make_record(device="gpu", gpus=4))
    one = make_record(device="gpu")["ceilings"]
    assert found["flop_ceiling_per_second"] == 4 * one["flop_per_second"]
    assert found["bytes_ceiling_per_second"] == 4 * one["bytes_per_second"]
