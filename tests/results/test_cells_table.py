"""A cell's row has what its runs have in common, and figures over them, column by column."""

import pytest

from metrics_builder import make_record
from trainbench.results.cells_table import CELL_COLUMNS, beside_cells, cells_table, counted, in_common
from trainbench.results.columns import CELL_KEY
from trainbench.results.measured import measured
from trainbench.results.tables import TableOrder, rows_of

# Of two runs a factor apart the logarithms deviate by ln(factor) / sqrt(2); T is Student's of one degree of freedom.
T = 12.706204736


def cells_of(*records, order=None):
    return rows_of(cells_table(measured(records).runs, order))


def figure(name, low, high):
    """The columns of a figure over two runs."""
    mean, ratio = (low * high) ** 0.5, high / low
    return {
        name: mean,
        f"{name}_low": mean * ratio ** (-T / 2),
        f"{name}_high": mean * ratio ** (T / 2),
        f"{name}_spread_percent": 100 * (ratio ** (1 / 2**0.5) - 1),
        f"{name}_min": low,
        f"{name}_max": high,
    }


def share(name, value):
    """The columns of a share that is the same in all runs."""
    return {f"{name}_mean": value, f"{name}_sd": 0.0, f"{name}_min": value, f"{name}_max": value}


def unknown(*names, endings):
    return {f"{name}{ending}": None for name in names for ending in endings}


def test_a_cell_has_a_value_for_each_column():
    records = [
        make_record(repeat=1, train_seconds=(10.0, 8.0), flags=("other_load", "epochs_scatter")),
        make_record(repeat=2, train_seconds=(10.0, 12.5), flags=("other_load",), hostname="server8"),
        make_record(repeat=3, status="out_of_memory", flags=("cpu_steal",)),
    ]
    (cell,) = cells_of(*records)
    figures, shares = ("", "_low", "_high", "_spread_percent", "_min", "_max"), ("_mean", "_sd", "_min", "_max")
    expected = {
        "model": "conv",
        "batch_size": 512,
        "device": "cpu",
        "host": "amd-epyc-2t-1a2b3c4d",
        "hostname": "server7, server8",
        "device_kind": "cpu",
        "device_name": "AMD EPYC 9B14",
        "framework": "tensorflow",
        "precision": "float32",
        "environment": None,
        "gpus": 0,
        "threads": 2,
        "usable_threads": 2,
        "runs": 3,
        "n": 2,
        "status": "out_of_memory",
        "first_epoch_only": False,
        "flagged_runs": 2,
        "flags": "other_load:2 epochs_scatter:1",
        **figure("train_seconds_per_epoch", 8.0, 12.5),
        **figure("eval_seconds_per_epoch", 0.6, 0.6),
        **figure("epoch_seconds", 8.6, 13.1),
        **figure("samples_per_second", 54_784 / 12.5, 54_784 / 8.0),
        **figure("startup_seconds", 4.1, 4.1),
        **unknown("energy_joules_per_epoch", "cpu_energy_joules_per_epoch", endings=figures),
        **share("final_accuracy", 0.74),
        **share("cpu_percent", 198.2),
        **share("peak_memory_mib", 1234.5),
        **unknown("gpu_utilization_percent", "gpu_memory_mib", "power_watts", endings=shares),
        **share("other_cpu_percent", 1.2),
    }
    assert cell == pytest.approx(expected)
    assert list(cell) == list(CELL_COLUMNS)


def test_a_cell_without_a_completed_run_knows_no_figure_and_not_whether_epochs_were_steady():
    (cell,) = cells_of(make_record(status="out_of_memory", flags=("cpu_steal",)))
    assert (cell["runs"], cell["n"], cell["status"]) == (1, 0, "out_of_memory")
    assert (cell["first_epoch_only"], cell["flagged_runs"], cell["flags"]) == (None, 0, "")
    assert (cell["train_seconds_per_epoch"], cell["train_seconds_per_epoch_min"]) == (None, None)


def test_a_cell_whose_runs_had_one_epoch_says_so():
    (cell,) = cells_of(make_record(train_seconds=(9.0,)), make_record(repeat=2))
    assert cell["first_epoch_only"] is True


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"device_used": {"name": "TITAN X"}}, "different_hardware"),
        ({"framework": "jax"}, "different_frameworks"),
        ({"precision": "bfloat16"}, "different_precisions"),
        ({"settings": {"device": {"gpus": 3}}}, "different_numbers_of_gpus"),
    ],
)
def test_runs_that_are_never_averaged_make_no_figure_and_say_why(changes, status):
    (cell,) = cells_of(
        make_record(flags=("other_load",)),
        make_record(repeat=2, **changes),
        make_record(repeat=3, status="out_of_memory"),
    )
    assert (cell["runs"], cell["n"], cell["status"]) == (3, 0, f"out_of_memory, {status}")
    assert (cell["train_seconds_per_epoch"], cell["flagged_runs"], cell["flags"]) == (None, 0, "")


def test_cells_come_in_the_order_that_is_wanted():
    records = [make_record(model) for model in ("conv", "lstm")]
    assert [cell["model"] for cell in cells_of(*records, order=TableOrder(models=("lstm", "conv")))] == ["lstm", "conv"]


def test_flags_are_counted_the_most_frequent_first():
    assert counted(["a", "b", "b"]) == "b:2 a:1"
    assert counted([]) == ""


def test_what_is_in_common_is_what_all_have_that_know_it():
    assert [in_common(values) for values in ([1, None, 1], [1, 2], [None], [])] == [1, None, None, None]


def test_beside_a_row_a_cell_stand_what_it_rests_on_and_its_flags():
    cells = cells_table(measured([make_record(flags=("other_load",)), make_record(device="gpu")]).runs)
    table = cells[[*CELL_KEY, "n"]].iloc[::-1]
    found = rows_of(beside_cells(table, cells))
    assert [row["device"] for row in found] == ["gpu", "cpu"]
    assert list(found[1]) == [*CELL_KEY, "n", "train_seconds_per_epoch_spread_percent", "flagged_runs", "flags"]
    assert (found[1]["n"], found[1]["flagged_runs"], found[1]["flags"]) == (1, 1, "other_load:1")


def test_a_row_of_a_cell_that_there_is_not_has_nothing_beside_it():
    cells = cells_table(measured([make_record()]).runs)
    (row,) = rows_of(beside_cells(cells[list(CELL_KEY)].assign(device="tpu"), cells))
    assert (row["device"], row["n"], row["flags"]) == ("tpu", None, None)
