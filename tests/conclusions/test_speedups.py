"""Speedups are over the reference device of the same host, of one host for all, or of the first that has it."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from metrics_builder import make_record
from trainbench.conclusions.tables.crossovers import COLUMNS as CROSSOVER_COLUMNS
from trainbench.conclusions.tables.crossovers import crossovers_table
from trainbench.conclusions.tables.speedups import COLUMNS as SPEEDUP_COLUMNS
from trainbench.conclusions.tables.speedups import Reference, rivals, speedups_table
from trainbench.results.cells_table import cells_table
from trainbench.results.measured import measured
from trainbench.results.tables import TableOrder, cells_by_key, read_csv, write_csv

ORDER = TableOrder(devices=("cpu", "gpu"))


def runs_of(device, seconds, **settings):
    return [
        make_record(device=device, repeat=repeat, train_seconds=(99.0, value), **settings)
        for repeat, value in enumerate(seconds, start=1)
    ]


def speedups_of(*records, reference=None, order=ORDER):
    return speedups_table(cells_table(measured(records, order).runs, order), order, reference or Reference())


def by_place(table, column="speedup"):
    return {(row["device"], row["host"]): row[column] for row in table.to_dict("records")}


def test_a_speedup_is_the_ratio_of_geometric_means_with_welchs_interval():
    cpu, gpu = (20.0, 22.0, 21.0), (2.0, 2.5, 2.2)
    row = speedups_of(*runs_of("cpu", cpu), *runs_of("gpu", gpu)).set_index("device").loc["gpu"]
    welch = stats.ttest_ind(np.log(cpu), np.log(gpu), equal_var=False).confidence_interval(0.95)
    expected = [np.exp(np.log(cpu).mean() - np.log(gpu).mean()), *np.exp([welch.low, welch.high])]
    assert row[["speedup", "speedup_low", "speedup_high"]].tolist() == pytest.approx(expected)


def test_the_reference_is_as_fast_as_itself():
    row = speedups_of(*runs_of("cpu", (20.0, 25.0))).iloc[0]
    assert row[["speedup", "speedup_low", "speedup_high"]].tolist() == [1.0, 1.0, 1.0]


def test_evaluation_counts_in_the_speedup_with_evaluation():
    records = [
        make_record(train_seconds=(99.0, 10.0), eval_seconds=2.0),
        make_record(device="gpu", train_seconds=(99.0, 1.0), eval_seconds=1.0),
    ]
    assert by_place(speedups_of(*records), "speedup_with_evaluation")["gpu", records[1]["host"]["id"]] == 6.0


def test_each_host_is_compared_with_its_own_reference():
    records = [*runs_of("cpu", (10.0,), host="a"), *runs_of("gpu", (1.0,), host="a")]
    records += [*runs_of("cpu", (40.0,), host="b"), *runs_of("gpu", (1.0,), host="b")]
    assert by_place(speedups_of(*records)) == pytest.approx(
        {("cpu", "a"): 1.0, ("gpu", "a"): 10.0, ("cpu", "b"): 1.0, ("gpu", "b"): 40.0}
    )


def test_a_host_without_the_reference_device_is_compared_with_the_first_that_has_it():
    records = [*runs_of("cpu", (10.0,), host="cpu-node"), *runs_of("gpu", (1.0,), host="gpu-node")]
    table = speedups_of(*records)
    assert by_place(table)["gpu", "gpu-node"] == 10.0
    assert by_place(table, "reference_host")["gpu", "gpu-node"] == "cpu-node"


def test_all_hosts_can_be_compared_with_one():
    records = [*runs_of("cpu", (10.0,), host="a"), *runs_of("cpu", (40.0,), host="b")]
    assert by_place(speedups_of(*records, reference=Reference("cpu", "b"))) == {("cpu", "a"): 4.0, ("cpu", "b"): 1.0}


def test_another_device_can_be_the_reference():
    records = [*runs_of("cpu", (10.0,)), *runs_of("gpu", (1.0,))]
    assert sorted(by_place(speedups_of(*records, reference=Reference("gpu"))).values()) == [0.1, 1.0]


def test_the_cpu_at_its_best_is_whichever_cpu_device_is_fastest():
    records = [*runs_of("cpu", (10.0,)), *runs_of("cpu-8t", (5.0,)), *runs_of("gpu", (1.0,))]
    row = speedups_of(*records).set_index("device").loc["gpu"]
    assert (row["best_cpu_device"], row["speedup"], row["speedup_over_best_cpu"]) == ("cpu-8t", 10.0, 5.0)


def test_a_cell_without_a_completed_run_has_no_speedup():
    records = [*runs_of("cpu", (10.0,)), make_record(device="gpu", status="out_of_memory")]
    assert speedups_of(*records)["device"].tolist() == ["cpu"]


def passing(scatter):
    """Runs of which the GPU takes twice the CPU's seconds at 64 and half of them at 256, two runs a cell."""
    return [
        record
        for size, pair in {64: (4.0, 8.0), 256: (4.0, 2.0)}.items()
        for device, seconds in zip(("cpu", "gpu"), pair, strict=True)
        for record in runs_of(device, (seconds * scatter, seconds / scatter), batch_size=size)
    ]


def test_the_speedup_passes_1_where_the_line_between_the_logarithms_does():
    row = crossovers_table(speedups_of(*passing(scatter=0.99)), ORDER).iloc[0]
    assert (row["verdict"], row["crossover_batch_size"]) == ("faster from", pytest.approx(128.0))
    assert 64 < row["crossover_batch_size_low"] < 128 < row["crossover_batch_size_high"] < 256


def test_a_crossover_of_runs_that_scatter_too_much_is_a_number_without_a_claim():
    row = crossovers_table(speedups_of(*passing(scatter=0.4)), ORDER).iloc[0]
    assert (row["verdict"], row["crossover_batch_size"]) == ("no difference shown", pytest.approx(128.0))
    assert (row["low_open"], row["high_open"], row["certain"]) == (True, True, False)


def test_what_has_the_least_mean_has_rivals_where_no_interval_carries_that_it_has_the_least():
    records = [*runs_of("gpu", (1.0, 1.02, 1.01)), *runs_of("near", (0.99, 1.06, 1.02)), *runs_of("far", (5.0, 5.1))]
    least, *others = cells_by_key(
        cells_table(measured([*records, *runs_of("once", (9.0,))], ORDER).runs, ORDER)
    ).values()
    undecided, once = rivals(least, others)
    assert ([cell["device"] for cell in undecided], [cell["device"] for cell in once]) == (["near"], ["once"])


def test_the_reference_has_no_crossover_with_itself():
    assert crossovers_table(speedups_of(*runs_of("cpu", (10.0,))), ORDER).empty


@pytest.mark.parametrize("name", ["speedups", "crossovers"])
def test_the_tables_survive_their_files(tmp_path, name):
    speedups = speedups_of(*runs_of("cpu", (10.0, 11.0)), *runs_of("gpu", (1.0, 1.2)))
    table, columns = {
        "speedups": (speedups, SPEEDUP_COLUMNS),
        "crossovers": (crossovers_table(speedups, ORDER), CROSSOVER_COLUMNS),
    }[name]
    write_csv(table, tmp_path / "table.csv")
    pd.testing.assert_frame_equal(read_csv(tmp_path / "table.csv", columns), table, check_exact=True)


def test_the_best_cpu_is_the_fastest_of_the_cells_own_framework_and_precision():
    records = [*runs_of("cpu", (20.0,)), *runs_of("cpu-b", (18.0,)), *runs_of("cpu-jax", (5.0,), framework="jax")]
    records += [*runs_of("gpu", (1.0,)), *runs_of("gpu-jax", (1.0,), framework="jax")]
    best = speedups_of(*records).set_index("device")["best_cpu_device"]
    assert (best["gpu"], best["gpu-jax"]) == ("cpu-b", "cpu-jax")


def test_without_a_cpu_in_its_precision_a_gpu_has_one_of_its_framework_beside_it():
    records = [*runs_of("cpu", (20.0,)), *runs_of("cpu-jax", (30.0,), framework="jax")]
    records += runs_of("gpu-jax", (1.0,), framework="jax", precision="tf32")
    assert speedups_of(*records).set_index("device")["best_cpu_device"]["gpu-jax"] == "cpu-jax"
