"""From metrics records to the tables of runs, epochs, checks and cells."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from metrics_builder import as_older_versions_timed, make_record
from trainbench.records import record
from trainbench.results.cells_table import CELL_COLUMNS, cells_table
from trainbench.results.executors import executors_of
from trainbench.results.measured import CHECK_COLUMNS, EPOCH_COLUMNS, measured
from trainbench.results.runs_table import RUN_COLUMNS
from trainbench.results.tables import TableOrder, read_csv, rows_of, write_csv

CPU_AND_GPU = TableOrder(devices=("cpu", "gpu"))


@pytest.fixture
def written(tmp_path):
    """Records that went through real metrics files, as the pipeline's do."""

    def through_files(*records):
        result = []
        for index, built in enumerate(records):
            path = tmp_path / f"{index}.json"
            record.write(built, path)
            result.append(record.read(path))
        return result

    return through_files


def cells_of(*records, order=CPU_AND_GPU):
    return cells_table(measured(records, order).runs, order)


def three_runs(device, seconds, **settings):
    return [
        make_record(device=device, repeat=repeat, train_seconds=(99.0, value), **settings)
        for repeat, value in enumerate(seconds, start=1)
    ]


def one_run(**settings):
    return measured([make_record(**settings)]).runs.iloc[0]


def gpus_of(**figures):
    """The GPUs of a window, one for each value: `power_watts=(1.0, 2.0)` is two cards."""
    card = make_record(device="gpu")["usage"]["steady"]["gpus"][0]
    return [card | dict(zip(figures, values, strict=True)) for values in zip(*figures.values(), strict=True)]


def finding(name, level="warning"):
    return {"name": name, "level": level, "finding": f"there was {name}", "advice": f"see to {name}"}


def test_a_metrics_file_becomes_a_row_with_every_column_in_order(written):
    runs = measured(written(make_record())).runs
    assert list(runs.columns) == list(RUN_COLUMNS)


def test_a_runs_speed_is_that_of_its_steady_epochs(written):
    run = measured(written(make_record(batch_size=512, train_seconds=(50.0, 10.0, 12.0, 11.0)))).runs.iloc[0]
    assert (run["train_seconds_per_epoch"], run["samples_per_second"], run["steady_epochs"]) == (11.0, 54784 / 11, 3)


def test_a_runs_arithmetic_is_that_of_its_samples_a_second(written):
    arithmetic = {"train_flop_per_example": 1000, "train_bytes_per_example": 50.0}
    run = measured(written(make_record(train_seconds=(50.0, 11.0), arithmetic=arithmetic))).runs.iloc[0]
    assert (run["achieved_flop_per_second"], run["flop_per_byte"]) == (pytest.approx(1000 * 54784 / 11), 20.0)


def test_a_run_carries_the_ceilings_that_it_found(written):
    ceilings = {"flop_per_second": 3e11, "bytes_per_second": 4e10}
    run = measured(written(make_record(ceilings=ceilings))).runs.iloc[0]
    assert (run["flop_ceiling_per_second"], run["bytes_ceiling_per_second"]) == (3e11, 4e10)


def test_ceilings_that_could_not_be_found_are_unknown(written):
    run = measured(written(make_record(ceilings=None))).runs.iloc[0]
    assert run[["flop_ceiling_per_second", "bytes_ceiling_per_second"]].isna().all()


def test_the_first_epoch_is_kept_beside_the_steady_ones():
    run = measured([make_record(train_seconds=(50.0, 10.0))]).runs.iloc[0]
    assert run["first_epoch_train_seconds"] == 50.0


def test_a_run_of_one_epoch_is_flagged():
    run = measured([make_record(train_seconds=(50.0,))]).runs.iloc[0]
    assert (run["train_seconds_per_epoch"], run["steady_epochs"], run["first_epoch_only"]) == (50.0, 0, True)


def test_a_run_in_which_every_epoch_was_the_first_of_a_process_is_flagged():
    run = one_run(train_seconds=(9.0, 8.0), resumed_after_epochs=[1])
    assert (run["train_seconds_per_epoch"], run["steady_epochs"], run["first_epoch_only"]) == (9.0, 0, True)


def test_a_run_without_epochs_is_not_flagged():
    run = one_run(epochs=[])
    assert (run["steady_epochs"], run["first_epoch_only"]) == (0, False)


def test_the_final_accuracy_is_the_last_and_the_best_the_highest():
    run = measured([make_record(train_seconds=(1, 1, 1), accuracies=(0.2, 0.9, 0.8))]).runs.iloc[0]
    assert (run["final_accuracy"], run["best_accuracy"]) == (0.8, 0.9)


def test_a_diverged_loss_is_unknown_and_not_zero():
    run = measured([make_record(losses=(2.3, None))]).runs.iloc[0]
    assert pd.isna(run["final_loss"])


def test_what_older_versions_timed_before_a_run_is_no_figure_of_the_same_name():
    runs = measured([as_older_versions_timed(make_record(), 0.3), make_record(repeat=2, canary_seconds=0.2)]).runs
    assert [pd.isna(runs["canary_seconds"].iloc[0]), runs["canary_seconds"].iloc[1]] == [True, 0.2]


def test_a_run_out_of_memory_keeps_its_row_without_figures(written):
    run = measured(written(make_record(status="out_of_memory"))).runs.iloc[0]
    figures = [name for name in RUN_COLUMNS if name.endswith(("_seconds", "_percent", "_mib", "_accuracy"))]
    figures.remove("canary_seconds")
    assert run["status"] == "out_of_memory"
    assert run[[*figures, "train_seconds_per_epoch", "samples_per_second"]].isna().all()


def test_cpu_use_is_that_of_the_steady_epochs():
    run = one_run(usage={"first_epoch": {"cpu_percent": 20.0}, "steady": {"cpu_percent": 90.0, "samples": 7}})
    assert (run["cpu_percent"], run["cpu_samples"]) == (90.0, 7)


def test_cpu_use_of_a_single_epoch_is_that_epochs():
    run = one_run(train_seconds=(12.2,), usage={"first_epoch": {"cpu_percent": 20.0, "samples": 3}})
    assert (run["cpu_percent"], run["cpu_samples"]) == (20.0, 3)


def test_load_by_others_is_that_of_the_whole_span():
    usage = {"steady": {"other_cpu_percent": 1.0}, "span": {"other_cpu_percent": 40.0}}
    assert one_run(usage=usage)["other_cpu_percent"] == 40.0


def test_energy_is_shared_out_among_the_epochs_that_used_it():
    usage = {"steady": {"gpus": gpus_of(energy_joules=[9000.0])}}
    assert one_run(device="gpu", train_seconds=(99.0, 1.0, 1.0, 1.0), usage=usage)["energy_joules_per_epoch"] == 3000.0


def test_energy_of_a_single_epoch_is_that_epochs():
    usage = {"first_epoch": {"gpus": gpus_of(energy_joules=[9000.0])}}
    assert one_run(device="gpu", train_seconds=(99.0,), usage=usage)["energy_joules_per_epoch"] == 9000.0


@pytest.mark.parametrize(
    ("column", "figure", "of_both"),
    [
        ("gpu_utilization_percent", "utilization_percent", 20.0),
        ("gpu_samples", "samples", 10),
        ("gpu_memory_mib", "memory_used_mib", 40.0),
        ("gpu_process_memory_mib", "process_memory_mib", 40.0),
        ("power_watts", "power_watts", 40.0),
        ("energy_joules_per_epoch", "energy_joules", 40.0),
        ("temperature_celsius", "temperature_celsius", 30.0),
        ("sm_clock_mhz", "sm_clock_mhz", 20.0),
    ],
)
def test_the_cards_of_a_run_are_taken_together(column, figure, of_both):
    usage = {"steady": {"gpus": gpus_of(**{figure: (10, 30)})}}
    assert one_run(device="gpu", gpus=2, usage=usage)[column] == of_both


def test_what_one_of_the_cards_does_not_know_is_unknown_of_the_run():
    usage = {"steady": {"gpus": gpus_of(energy_joules=(10.0, None), energy_source=("counter", None))}}
    run = one_run(device="gpu", gpus=2, usage=usage)
    assert run[["energy_joules_per_epoch", "energy_source"]].isna().all()


def test_the_source_of_energy_names_all_that_were_used():
    usage = {"steady": {"gpus": gpus_of(energy_source=("power", "counter"))}}
    assert one_run(device="gpu", gpus=2, usage=usage)["energy_source"] == "counter power"


def test_a_cpu_run_has_no_gpu_figures():
    run = one_run()
    assert run[["gpu_utilization_percent", "gpu_samples", "power_watts", "energy_joules_per_epoch"]].isna().all()


def test_use_is_unknown_of_a_run_that_nothing_watched(written):
    run = measured(written(make_record(device="gpu", watched=False))).runs.iloc[0]
    assert run[["cpu_percent", "cpu_samples", "other_cpu_percent", "gpu_samples", "power_watts"]].isna().all()


def test_warnings_and_errors_flag_a_run_and_infos_do_not():
    checks = [finding("turbo", "info"), finding("other_load"), finding("gpu_unread", "error")]
    assert one_run(checks=checks)["flags"] == "other_load gpu_unread"


def test_a_run_without_findings_has_no_flags():
    assert one_run()["flags"] == ""


def test_what_sets_runs_of_a_cell_apart_flags_them_too():
    runs = measured([make_record(repeat=repeat, usable_threads=2 * repeat) for repeat in (1, 2)]).runs
    assert runs["flags"].tolist() == ["threads_differ", "threads_differ"]


def test_the_table_of_checks_holds_findings_of_every_level(written):
    checks = measured(written(make_record(checks=[finding("turbo", "info"), finding("other_load")]))).checks
    assert checks[["name", "level", "advice"]].values.tolist() == [
        ["turbo", "info", "see to turbo"],
        ["other_load", "warning", "see to other_load"],
    ]


def test_the_table_of_checks_holds_what_was_found_across_runs():
    records = [make_record(repeat=repeat, usable_threads=2 * repeat) for repeat in (1, 2)]
    assert measured(records).checks[["repeat", "name"]].values.tolist() == [
        [1, "threads_differ"],
        [2, "threads_differ"],
    ]


def test_rows_follow_the_given_order_and_then_the_alphabet():
    records = [make_record(model=model) for model in ("zeta", "conv", "alpha", "lstm")]
    runs = measured(records, TableOrder(models=("lstm", "conv"))).runs
    assert runs["model"].tolist() == ["lstm", "conv", "alpha", "zeta"]


def test_batch_sizes_that_are_not_named_are_sorted_as_numbers():
    runs = measured([make_record(batch_size=size) for size in (1024, 64, 128)]).runs
    assert runs["batch_size"].tolist() == [64, 128, 1024]


def test_batch_sizes_are_sorted_altogether_where_one_is_not_named():
    runs = measured([make_record(batch_size=size) for size in (256, 512, 128)], TableOrder(batch_sizes=(512, 128))).runs
    assert runs["batch_size"].tolist() == [128, 256, 512]


def test_the_epochs_table_begins_with_the_published_columns():
    epochs = measured([make_record()]).epochs
    assert ",".join(epochs.columns) == (
        "model,batch_size,device,repeat,host,epoch,train_seconds,eval_seconds,loss,accuracy,elapsed_seconds,run_id"
    )


def test_elapsed_seconds_count_training_and_leave_evaluation_out():
    epochs = measured([make_record(train_seconds=(3.0, 2.0, 1.0), eval_seconds=100.0)]).epochs
    assert epochs["elapsed_seconds"].tolist() == [3.0, 5.0, 6.0]


def test_elapsed_seconds_start_anew_with_every_run():
    epochs = measured([make_record(repeat=repeat, train_seconds=(3.0, 2.0)) for repeat in (1, 2)]).epochs
    assert epochs["elapsed_seconds"].tolist() == [3.0, 5.0, 3.0, 5.0]


def test_a_cell_summarises_its_runs_and_not_their_epochs():
    cell = cells_of(*three_runs("cpu", (10.0, 20.0, 40.0))).iloc[0]
    shown = [cell[f"train_seconds_per_epoch{part}"] for part in ("", "_spread_percent", "_min", "_max")]
    assert (shown, cell["n"]) == (pytest.approx([20.0, 100.0, 10.0, 40.0]), 3)


def test_the_interval_of_a_cells_figure_is_students_on_the_logarithm():
    cell = cells_of(*three_runs("cpu", (10.0, 11.0, 12.0))).iloc[0]
    logs = stats.ttest_1samp(np.log([10.0, 11.0, 12.0]), 0.0).confidence_interval(0.95)
    shown = cell[["train_seconds_per_epoch_low", "train_seconds_per_epoch_high"]].tolist()
    assert shown == pytest.approx(np.exp([logs.low, logs.high]))


@pytest.mark.parametrize(
    ("other", "status"),
    [
        ({"framework": "torch"}, "different_frameworks"),
        ({"precision": "bfloat16"}, "different_precisions"),
        ({"gpus": 2}, "different_numbers_of_gpus"),
    ],
)
def test_runs_that_share_no_more_than_their_devices_name_make_no_figure(other, status):
    cell = cells_of(make_record(device="gpu"), make_record(device="gpu", repeat=2, **other)).iloc[0]
    assert (cell["n"], cell["status"]) == (0, status)


@pytest.mark.parametrize(("record", "gpus"), [({}, 0), ({"device": "gpu"}, 1), ({"device": "gpu", "gpus": 4}, 4)])
def test_runs_and_cells_tell_the_number_of_gpus(record, gpus):
    runs = measured([make_record(**record)]).runs
    assert (runs["gpus"].tolist(), cells_table(runs)["gpus"].tolist()) == ([gpus], [gpus])


def details_of(*records):
    return [one.detail for one in executors_of(cells_of(*records), TableOrder())]


def test_devices_of_one_framework_and_precision_need_no_label():
    assert details_of(make_record(), make_record(device="gpu")) == ["", ""]


def test_devices_are_labelled_by_what_differs_between_them():
    assert details_of(make_record(), make_record(device="torch", framework="torch")) == ["TensorFlow", "PyTorch"]
    assert details_of(
        make_record(),
        make_record(device="gpu", framework="jax", precision="bfloat16"),
        make_record(device="toy", framework="toy"),
    ) == ["TensorFlow, float32", "JAX, bfloat16", "toy, float32"]


def test_runs_on_different_cards_make_no_figure():
    runs = [
        make_record(device="gpu", repeat=number, device_used={"name": name})
        for number, name in ((1, "H200"), (2, "T4"))
    ]
    cell = cells_of(*runs).iloc[0]
    assert (cell["n"], cell["status"]) == (0, "different_hardware")
    assert pd.isna(cell["train_seconds_per_epoch"])


def test_a_clock_that_says_0_is_unknown():
    assert pd.isna(cells_of(make_record(clock={"startup_seconds": 0.0})).iloc[0]["startup_seconds"])


def test_the_names_of_machines_that_are_one_host_stand_side_by_side():
    twins = [make_record(repeat=number, host="a", hostname=name) for number, name in ((1, "n1"), (2, "n2"))]
    assert cells_of(*twins).iloc[0]["hostname"] == "n1, n2"


def test_a_share_is_summarised_by_its_arithmetic_mean():
    cell = cells_of(*(make_record(repeat=n, cpu_percent=value) for n, value in ((1, 0.0), (2, 90.0)))).iloc[0]
    assert cell[["cpu_percent_mean", "cpu_percent_min", "cpu_percent_max"]].tolist() == [45.0, 0.0, 90.0]


def test_an_energy_counter_that_has_not_moved_is_unknown():
    usage = {"steady": {"gpus": gpus_of(energy_joules=[0.0])}}
    assert pd.isna(one_run(device="gpu", usage=usage)["energy_joules_per_epoch"])


def test_training_and_evaluation_count_together_epoch_by_epoch():
    assert one_run(train_seconds=(99.0, 2.0, 4.0), eval_seconds=0.5)["epoch_seconds"] == 3.5


def test_records_are_looked_at_one_by_one():
    records = (make_record(repeat=repeat) for repeat in (1, 2))
    assert measured(records).runs["repeat"].tolist() == [1, 2]


def test_one_run_leaves_interval_and_spread_unknown():
    cell = cells_of(make_record()).iloc[0]
    assert cell[[f"train_seconds_per_epoch_{part}" for part in ("low", "high", "spread_percent")]].isna().all()


def test_the_same_cell_on_two_hosts_is_two_rows():
    cells = cells_of(make_record(host="a"), make_record(host="b"))
    assert cells["host"].tolist() == ["a", "b"]


def test_a_cell_with_a_failed_run_rests_on_the_completed_ones_and_says_so():
    completed = three_runs("gpu", (2.0, 8.0))
    cell = cells_of(*completed, make_record(device="gpu", repeat=3, status="out_of_memory")).iloc[0]
    assert (cell["runs"], cell["n"], cell["status"]) == (3, 2, "out_of_memory")
    assert cell["train_seconds_per_epoch"] == pytest.approx(4.0)


def test_a_cell_keeps_its_hardware_beside_a_run_out_of_memory():
    cell = cells_of(make_record(), make_record(repeat=2, status="out_of_memory")).iloc[0]
    assert (cell["device_name"], cell["threads"]) == ("AMD EPYC 9B14", 2)


def test_a_cell_counts_in_how_many_runs_each_flag_was_found():
    flags = (["epochs_scatter"], ["other_load"], ["other_load", "epochs_drift"], [])
    cell = cells_of(*(make_record(repeat=repeat, flags=names) for repeat, names in enumerate(flags, start=1))).iloc[0]
    assert (cell["flagged_runs"], cell["flags"]) == (3, "other_load:2 epochs_scatter:1 epochs_drift:1")


def test_a_run_out_of_memory_does_not_flag_the_cell_whose_figures_rest_on_others():
    failed = make_record(repeat=2, status="out_of_memory", flags=["other_load"])
    cell = cells_of(make_record(), failed).iloc[0]
    assert (cell["flagged_runs"], cell["flags"]) == (0, "")


@pytest.mark.parametrize("name", ["NA", "null", "nan", "1e5", "007"])
def test_a_device_name_survives_the_csv_file(tmp_path, name):
    write_csv(measured([make_record(device=name)]).runs, tmp_path / "runs.csv")
    assert read_csv(tmp_path / "runs.csv", RUN_COLUMNS)["device"].tolist() == [name]


@pytest.mark.parametrize(
    ("table", "columns"),
    [
        (lambda records: measured(records).runs, RUN_COLUMNS),
        (lambda records: measured(records).epochs, EPOCH_COLUMNS),
        (lambda records: cells_table(measured(records).runs), CELL_COLUMNS),
        (lambda records: measured(records).checks, CHECK_COLUMNS),
    ],
    ids=["runs", "epochs", "cells", "checks"],
)
def test_a_table_read_back_equals_the_one_written(tmp_path, table, columns):
    records = [
        make_record(train_seconds=(1 / 3, 0.1 + 0.2), losses=(1e-17, None)),
        make_record(device="gpu", repeat=2, hostname='näme, "quoted"', flags=["other_load", "epochs_drift"]),
        make_record(device="gpu", repeat=1, status="out_of_memory"),
    ]
    written = table(records)
    write_csv(written, tmp_path / "table.csv")
    pd.testing.assert_frame_equal(read_csv(tmp_path / "table.csv", columns), written, check_exact=True)


@pytest.mark.parametrize(
    ("table", "columns"),
    [
        (lambda records: measured(records).runs, RUN_COLUMNS),
        (lambda records: measured(records).epochs, EPOCH_COLUMNS),
        (lambda records: cells_table(measured(records).runs), CELL_COLUMNS),
        (lambda records: measured(records).checks, CHECK_COLUMNS),
    ],
    ids=["runs", "epochs", "cells", "checks"],
)
def test_a_table_of_nothing_has_its_columns(table, columns):
    assert list(table([]).columns) == list(columns)


def test_unknown_is_empty_in_the_csv_file(tmp_path):
    write_csv(measured([make_record()]).runs[["model", "gpu_memory_mib", "batch_size"]], tmp_path / "runs.csv")
    assert (tmp_path / "runs.csv").read_text() == "model,gpu_memory_mib,batch_size\nconv,,512\n"


def test_a_failed_write_leaves_the_old_table(tmp_path, monkeypatch):
    path = tmp_path / "runs.csv"
    write_csv(measured([make_record()]).runs, path)
    before = path.read_bytes()
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_csv(measured([]).runs, path)
    assert (path.read_bytes(), [entry.name for entry in tmp_path.iterdir()]) == (before, ["runs.csv"])


def test_epochs_right_after_a_resume_are_left_out_of_a_runs_figures():
    run = one_run(train_seconds=(9.0, 1.0, 1.2, 7.0, 8.0, 1.4), resumed_after_epochs=[3, 4])
    assert run["train_seconds_per_epoch"] == pytest.approx(1.2)
    assert run["steady_epochs"] == 3
    assert not run["first_epoch_only"]


def test_energy_of_a_resumed_run_is_that_of_the_epochs_that_were_watched():
    # 300 W over the two steady epochs of the last process: the fifth and the sixth, each of 2 s.
    usage = {"steady": {"gpus": [make_record(device="gpu")["usage"]["steady"]["gpus"][0] | {"energy_joules": 1200.0}]}}
    run = one_run(device="gpu", train_seconds=(9.0, 1.0, 1.2, 7.0, 2.0, 2.0), resumed_after_epochs=[3], usage=usage)
    assert run["energy_joules_per_epoch"] == 600.0


def test_a_run_out_of_memory_shows_its_finished_epochs_and_no_figures():
    whole = make_record(train_seconds=(9.0, 1.0, 1.2))
    tables = measured([whole | {"status": "out_of_memory", "message": "no memory left"}])
    assert len(tables.epochs) == 3
    assert tables.runs.iloc[0]["status"] == "out_of_memory"
    assert tables.runs["train_seconds_per_epoch"].isna().all()


def test_what_variables_a_device_sets_stands_in_its_runs_and_cells():
    own = {"settings": {"device": {"environment": {"OMP_WAIT_POLICY": "active", "LD_PRELOAD": "a.so"}}}}
    runs = measured([make_record(), make_record(device="mine", kind="cpu", **own)]).runs
    both = [None, "LD_PRELOAD=a.so OMP_WAIT_POLICY=active"]
    assert [row["environment"] for row in rows_of(runs)] == both
    assert [row["environment"] for row in rows_of(cells_table(runs))] == both
