"""From metrics records to the tables of runs, epochs and cells and to the comparison."""

import json

import pandas as pd
import pytest

from metrics_builder import make_record
from trainbench import record
from trainbench.tables import (
    CELL_COLUMNS,
    CHECK_COLUMNS,
    EPOCH_COLUMNS,
    FLAGGED,
    RUN_COLUMNS,
    TIMES,
    TableOrder,
    cells_table,
    checks_table,
    comparison_markdown,
    comparison_table,
    epochs_table,
    format_number,
    read_cells,
    read_checks,
    read_epochs,
    read_runs,
    runs_table,
    write_csv,
)

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
    return cells_table(runs_table(records, order), order)


def three_runs(device, seconds, **settings):
    return [
        make_record(device=device, repeat=repeat, train_seconds=(99.0, value), **settings)
        for repeat, value in enumerate(seconds, start=1)
    ]


def compared(*records):
    """The comparison of these records as Markdown, all that their checks found told to it."""
    return comparison_markdown(cells_of(*records), CPU_AND_GPU, checks=checks_table(records, CPU_AND_GPU))


def one_run(**settings):
    return runs_table([make_record(**settings)]).iloc[0]


def gpus_of(**figures):
    """The GPUs of a window, one for each value: `power_watts=(1.0, 2.0)` is two cards."""
    card = make_record(device="gpu")["usage"]["steady"]["gpus"][0]
    return [card | dict(zip(figures, values, strict=True)) for values in zip(*figures.values(), strict=True)]


def finding(name, level="warning"):
    return {"name": name, "level": level, "finding": f"there was {name}", "advice": f"see to {name}"}


def table_rows(markdown):
    """The rows of the first table of a Markdown text by their first field."""
    rows = {}
    for line in markdown.partition("\n## ")[2].partition("\n## ")[0].splitlines():
        if line.startswith("|"):
            name, *values = [field.strip() for field in line.strip("|").split(" |")]
            rows[name] = values
    return rows


def test_a_metrics_file_becomes_a_row_with_every_column_in_order(written):
    runs = runs_table(written(make_record()))
    assert list(runs.columns) == list(RUN_COLUMNS)


def test_a_runs_speed_is_that_of_its_steady_epochs(written):
    run = runs_table(written(make_record(batch_size=512, train_seconds=(50.0, 10.0, 12.0, 11.0)))).iloc[0]
    assert (run["train_seconds_per_epoch"], run["samples_per_second"], run["steady_epochs"]) == (11.0, 54784 / 11, 3)


def test_a_runs_arithmetic_is_that_of_its_samples_a_second(written):
    arithmetic = {"train_flop_per_example": 1000, "train_bytes_per_example": 50.0}
    run = runs_table(written(make_record(train_seconds=(50.0, 11.0), arithmetic=arithmetic))).iloc[0]
    assert (run["achieved_flop_per_second"], run["flop_per_byte"]) == (pytest.approx(1000 * 54784 / 11), 20.0)


def test_a_run_carries_the_ceilings_that_it_found(written):
    ceilings = {"flop_per_second": 3e11, "bytes_per_second": 4e10}
    run = runs_table(written(make_record(ceilings=ceilings))).iloc[0]
    assert (run["flop_ceiling_per_second"], run["bytes_ceiling_per_second"]) == (3e11, 4e10)


def test_ceilings_that_could_not_be_found_are_unknown(written):
    run = runs_table(written(make_record(ceilings=None))).iloc[0]
    assert run[["flop_ceiling_per_second", "bytes_ceiling_per_second"]].isna().all()


def test_the_first_epoch_is_kept_beside_the_steady_ones():
    run = runs_table([make_record(train_seconds=(50.0, 10.0))]).iloc[0]
    assert run["first_epoch_train_seconds"] == 50.0


def test_a_run_of_one_epoch_is_flagged():
    run = runs_table([make_record(train_seconds=(50.0,))]).iloc[0]
    assert (run["train_seconds_per_epoch"], run["steady_epochs"], run["first_epoch_only"]) == (50.0, 0, True)


def test_the_final_accuracy_is_the_last_and_the_best_the_highest():
    run = runs_table([make_record(train_seconds=(1, 1, 1), accuracies=(0.2, 0.9, 0.8))]).iloc[0]
    assert (run["final_accuracy"], run["best_accuracy"]) == (0.8, 0.9)


def test_a_diverged_loss_is_unknown_and_not_zero():
    run = runs_table([make_record(losses=(2.3, None))]).iloc[0]
    assert pd.isna(run["final_loss"])


def test_a_run_out_of_memory_keeps_its_row_without_figures(written):
    run = runs_table(written(make_record(status="out_of_memory"))).iloc[0]
    measured = [name for name in RUN_COLUMNS if name.endswith(("_seconds", "_percent", "_mib", "_accuracy"))]
    measured.remove("canary_seconds")
    assert run["status"] == "out_of_memory"
    assert run[[*measured, "train_seconds_per_epoch", "samples_per_second"]].isna().all()


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
    run = runs_table(written(make_record(device="gpu", watched=False))).iloc[0]
    assert run[["cpu_percent", "cpu_samples", "other_cpu_percent", "gpu_samples", "power_watts"]].isna().all()


def test_warnings_and_errors_flag_a_run_and_infos_do_not():
    checks = [finding("turbo", "info"), finding("other_load"), finding("gpu_unread", "error")]
    assert one_run(checks=checks)["flags"] == "other_load gpu_unread"


def test_a_run_without_findings_has_no_flags():
    assert one_run()["flags"] == ""


def test_what_sets_runs_of_a_cell_apart_flags_them_too():
    runs = runs_table([make_record(repeat=repeat, usable_threads=2 * repeat) for repeat in (1, 2)])
    assert runs["flags"].tolist() == ["threads_differ", "threads_differ"]


def test_the_table_of_checks_holds_findings_of_every_level(written):
    checks = checks_table(written(make_record(checks=[finding("turbo", "info"), finding("other_load")])))
    assert checks[["name", "level", "advice"]].values.tolist() == [
        ["turbo", "info", "see to turbo"],
        ["other_load", "warning", "see to other_load"],
    ]


def test_the_table_of_checks_holds_what_was_found_across_runs():
    records = [make_record(repeat=repeat, usable_threads=2 * repeat) for repeat in (1, 2)]
    assert checks_table(records)[["repeat", "name"]].values.tolist() == [[1, "threads_differ"], [2, "threads_differ"]]


def test_rows_follow_the_given_order_and_then_the_alphabet():
    records = [make_record(model=model) for model in ("zeta", "conv", "alpha", "lstm")]
    runs = runs_table(records, TableOrder(models=("lstm", "conv")))
    assert runs["model"].tolist() == ["lstm", "conv", "alpha", "zeta"]


def test_batch_sizes_that_are_not_named_are_sorted_as_numbers():
    runs = runs_table([make_record(batch_size=size) for size in (1024, 64, 128)])
    assert runs["batch_size"].tolist() == [64, 128, 1024]


def test_the_epochs_table_begins_with_the_published_columns():
    epochs = epochs_table([make_record()])
    assert ",".join(epochs.columns) == (
        "model,batch_size,device,repeat,host,epoch,train_seconds,eval_seconds,loss,accuracy,elapsed_seconds"
    )


def test_elapsed_seconds_count_training_and_leave_evaluation_out():
    epochs = epochs_table([make_record(train_seconds=(3.0, 2.0, 1.0), eval_seconds=100.0)])
    assert epochs["elapsed_seconds"].tolist() == [3.0, 5.0, 6.0]


def test_elapsed_seconds_start_anew_with_every_run():
    epochs = epochs_table([make_record(repeat=repeat, train_seconds=(3.0, 2.0)) for repeat in (1, 2)])
    assert epochs["elapsed_seconds"].tolist() == [3.0, 5.0, 3.0, 5.0]


def test_a_cell_summarises_its_runs_and_not_their_epochs():
    cell = cells_of(*three_runs("cpu", (10.0, 11.0, 12.0))).iloc[0]
    shown = [cell[f"train_seconds_per_epoch_{name}"] for name in ("mean", "sd", "min", "max")]
    assert (shown, cell["n"]) == ([11.0, 1.0, 10.0, 12.0], 3)


def test_one_run_leaves_the_standard_deviation_unknown():
    assert pd.isna(cells_of(make_record()).iloc[0]["train_seconds_per_epoch_sd"])


def test_the_same_cell_on_two_hosts_is_two_rows():
    cells = cells_of(make_record(host="a"), make_record(host="b"))
    assert cells["host"].tolist() == ["a", "b"]


def test_a_cell_with_a_failed_run_rests_on_the_completed_ones_and_says_so():
    completed = three_runs("gpu", (2.0, 4.0))
    cell = cells_of(*completed, make_record(device="gpu", repeat=3, status="out_of_memory")).iloc[0]
    assert (cell["runs"], cell["n"], cell["status"]) == (3, 2, "out_of_memory")
    assert cell["train_seconds_per_epoch_mean"] == 3.0


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


def test_the_comparison_has_a_column_a_device_in_order():
    cells = cells_of(make_record(device="gpu"), make_record(device="cpu"))
    assert list(comparison_table(cells, CPU_AND_GPU).columns) == [
        "model", "batch_size", "measure", "unit", "cpu", "gpu",
    ]  # fmt: skip


def test_the_comparison_names_the_host_where_there_are_several():
    cells = cells_of(make_record(host="a"), make_record(host="b"))
    assert list(comparison_table(cells, CPU_AND_GPU).columns[4:]) == ["a/cpu", "b/cpu"]


def test_the_comparison_holds_means_and_speedups():
    cells = cells_of(*three_runs("cpu", (20.0, 22.0)), *three_runs("gpu", (2.0, 2.2)))
    rows = comparison_table(cells, CPU_AND_GPU).set_index("measure")
    assert rows.loc["train_seconds_per_epoch", ["cpu", "gpu"]].tolist() == [21.0, 2.1]
    assert rows.loc["speedup", ["cpu", "gpu"]].tolist() == pytest.approx([1.0, 10.0])


def test_the_comparison_counts_flagged_runs():
    records = [make_record(repeat=1, flags=["other_load"]), make_record(repeat=2)]
    rows = comparison_table(cells_of(*records), CPU_AND_GPU).set_index("measure")
    assert rows.loc[["completed_runs", "flagged_runs"], "cpu"].tolist() == [2, 1]


def test_a_cell_out_of_memory_says_so_in_the_comparison():
    cells = cells_of(make_record(), make_record(device="gpu", status="out_of_memory"))
    rows = comparison_table(cells, CPU_AND_GPU).set_index("measure")
    assert rows.loc["train_seconds_per_epoch", "gpu"] == "out of memory"


def test_the_markdown_has_a_table_for_each_model_and_batch_size():
    cells = cells_of(make_record(model="conv", batch_size=128), make_record(model="lstm", batch_size=512))
    text = comparison_markdown(cells, TableOrder(models=("lstm",)))
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## lstm, batch size 512",
        "## conv, batch size 128",
    ]


def test_the_markdown_shows_mean_and_standard_deviation():
    rows = table_rows(comparison_markdown(cells_of(*three_runs("cpu", (12.10, 12.15, 12.20)))))
    assert rows["Seconds an epoch"] == ["12.15 ± 0.05"]


def test_the_markdown_shows_no_deviation_of_a_single_run():
    rows = table_rows(comparison_markdown(cells_of(make_record(train_seconds=(99.0, 12.15)))))
    assert rows["Seconds an epoch"] == ["12.15"]


def test_the_markdown_marks_what_is_unknown():
    rows = table_rows(comparison_markdown(cells_of(make_record(), make_record(device="gpu")), CPU_AND_GPU))
    assert rows["GPU utilisation (%)"] == ["\N{EN DASH}", "75.00"]


def test_the_markdown_shows_accuracy_in_percent():
    rows = table_rows(comparison_markdown(cells_of(make_record(accuracies=(0.5, 0.9234)))))
    assert rows["Final accuracy (%)"] == ["92.34"]


def test_the_markdown_shows_the_speedup_over_the_first_device():
    cells = cells_of(*three_runs("cpu", (20.0,)), *three_runs("gpu", (3.0,)))
    assert table_rows(comparison_markdown(cells, CPU_AND_GPU))["Speedup over cpu"] == [f"1.00{TIMES}", f"6.67{TIMES}"]


def test_one_device_has_no_speedup():
    assert "Speedup" not in comparison_markdown(cells_of(make_record()))


def test_the_markdown_says_which_cell_ran_out_of_memory():
    cells = cells_of(make_record(), make_record(device="gpu", status="out_of_memory"))
    rows = table_rows(comparison_markdown(cells, CPU_AND_GPU))
    assert (rows["Seconds an epoch"][1], rows["Runs"]) == ("out of memory", ["1", "0 of 1 (out of memory)"])


def test_the_markdown_marks_speeds_of_a_first_epoch():
    text = comparison_markdown(cells_of(make_record(train_seconds=(50.0,))))
    assert table_rows(text)["Seconds an epoch"] == ["50.00 *"]
    assert "\n\\* Runs of a single epoch" in text


def test_the_markdown_shows_power_and_energy_of_gpus():
    rows = table_rows(compared(make_record(), make_record(device="gpu", train_seconds=(99.0, 2.0))))
    shown = {name: values[1] for name, values in rows.items() if name.startswith("GPU ")}
    assert shown == {
        "GPU utilisation (%)": "75.00",
        "GPU memory (MiB)": "2048",
        "GPU power (W)": "300.0",
        "GPU energy an epoch (J)": "600.0",
    }


def test_the_markdown_has_no_row_of_gpu_figures_that_no_device_knows():
    rows = table_rows(compared(make_record(), make_record(device="gpu", status="out_of_memory")))
    assert [name for name in rows if name.startswith("GPU ")] == ["GPU utilisation (%)"]


def test_the_markdown_marks_the_speed_of_a_cell_with_flagged_runs():
    rows = table_rows(compared(make_record(flags=["other_load"]), make_record(device="gpu")))
    assert rows["Seconds an epoch"] == [f"12.10 {FLAGGED}", "12.10"]


def test_the_markdown_marks_nothing_where_no_run_is_flagged():
    assert FLAGGED not in compared(make_record(checks=[finding("turbo", "info")]))


def test_the_markdown_says_what_was_found_where_and_what_to_do():
    text = compared(
        make_record(repeat=1, flags=["other_load"]),
        make_record(repeat=2),
        make_record(device="gpu", flags=["other_load", "gpu_shared"]),
    )
    assert [line for line in text.splitlines() if line.startswith(f"- {FLAGGED}")] == [
        f"- {FLAGGED} other_load: 2 of 3 runs (all cells): see to other_load",
        f"- {FLAGGED} gpu_shared: 1 of 3 runs (conv 512 gpu): see to gpu_shared",
    ]


def test_the_markdown_names_no_device_where_there_is_one():
    assert f"\n- {FLAGGED} other_load: 1 of 1 runs (all cells): see to other_load\n" in compared(
        make_record(flags=["other_load"])
    )


def test_the_markdown_names_the_cells_of_a_flag_that_not_all_have():
    text = compared(make_record(batch_size=128, flags=["other_load"]), make_record(batch_size=512))
    assert f"\n- {FLAGGED} other_load: 1 of 2 runs (conv 128): see to other_load\n" in text


def test_hostile_advice_cannot_leave_its_place_in_the_markdown():
    checks = [{**finding("other_load"), "advice": "<b>`rm`\n# x"}]
    assert "other_load: 1 of 1 runs (all cells): &lt;b&gt;\\`rm\\` \\# x\n" in compared(make_record(checks=checks))


def test_the_markdown_names_host_and_hardware():
    text = comparison_markdown(cells_of(make_record(), make_record(device="gpu")), CPU_AND_GPU)
    assert "Host amd-epyc-2t-1a2b3c4d (server7): cpu = AMD EPYC 9B14, 2 threads; gpu = NVIDIA H200" in text


def test_a_hostile_host_name_cannot_leave_its_place_in_the_markdown():
    text = comparison_markdown(cells_of(make_record(host="a|b<script>", hostname="*x*")))
    assert "Host a\\|b&lt;script&gt; (\\*x\\*): " in text


def test_a_device_named_like_a_number_keeps_its_name_in_the_markdown():
    assert list(table_rows(comparison_markdown(cells_of(make_record(device="1e5"))))[""]) == ["1e5"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0"),
        (0.00001234, "0.00001234"),
        (0.99996, "1.000"),
        (12.154, "12.15"),
        (9999.6, "10000"),
        (55213.0, "55210"),
        (1.2e9, "1200000000"),
    ],
)
def test_numbers_have_four_digits_and_no_exponent(value, shown):
    assert format_number(value) == shown


@pytest.mark.parametrize("name", ["NA", "null", "nan", "1e5", "007"])
def test_a_device_name_survives_the_csv_file(tmp_path, name):
    write_csv(runs_table([make_record(device=name)]), tmp_path / "runs.csv")
    assert read_runs(tmp_path / "runs.csv")["device"].tolist() == [name]


@pytest.mark.parametrize(
    ("table", "read"),
    [
        (runs_table, read_runs),
        (epochs_table, read_epochs),
        (lambda records: cells_table(runs_table(records)), read_cells),
        (checks_table, read_checks),
    ],
    ids=["runs", "epochs", "cells", "checks"],
)
def test_a_table_read_back_equals_the_one_written(tmp_path, table, read):
    records = [
        make_record(train_seconds=(1 / 3, 0.1 + 0.2), losses=(1e-17, None)),
        make_record(device="gpu", repeat=2, hostname='näme, "quoted"', flags=["other_load", "epochs_drift"]),
        make_record(device="gpu", repeat=1, status="out_of_memory"),
    ]
    written = table(records)
    write_csv(written, tmp_path / "table.csv")
    pd.testing.assert_frame_equal(read(tmp_path / "table.csv"), written, check_exact=True)


@pytest.mark.parametrize(
    ("table", "columns"),
    [
        (runs_table, RUN_COLUMNS),
        (epochs_table, EPOCH_COLUMNS),
        (lambda records: cells_table(runs_table(records)), CELL_COLUMNS),
        (checks_table, CHECK_COLUMNS),
    ],
    ids=["runs", "epochs", "cells", "checks"],
)
def test_a_table_of_nothing_has_its_columns(table, columns):
    assert list(table([]).columns) == list(columns)


def test_unknown_is_empty_in_the_csv_file(tmp_path):
    write_csv(runs_table([make_record()])[["model", "gpu_memory_mib", "batch_size"]], tmp_path / "runs.csv")
    assert (tmp_path / "runs.csv").read_text() == "model,gpu_memory_mib,batch_size\nconv,,512\n"


def test_tables_read_from_files_compare_like_those_in_memory(tmp_path):
    records = [
        *three_runs("cpu", (20.0, 22.0), flags=["other_load"]),
        make_record(device="gpu", status="out_of_memory"),
    ]
    write_csv(cells_of(*records), tmp_path / "cells.csv")
    write_csv(checks_table(records), tmp_path / "checks.csv")
    cells, checks = read_cells(tmp_path / "cells.csv"), read_checks(tmp_path / "checks.csv")
    assert comparison_markdown(cells, CPU_AND_GPU, checks=checks) == compared(*records)


def test_a_failed_write_leaves_the_old_table(tmp_path, monkeypatch):
    path = tmp_path / "runs.csv"
    write_csv(runs_table([make_record()]), path)
    before = path.read_bytes()
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_csv(runs_table([]), path)
    assert (path.read_bytes(), [entry.name for entry in tmp_path.iterdir()]) == (before, ["runs.csv"])


def test_the_published_cells_keep_their_seconds_through_the_tables():
    """The means of 2017, given as runs of two epochs, come out as they were published."""
    published = {("logistic", 128): (1.014248, 0.689136), ("conv", 512): (32.6, 2.63), ("lstm", 512): (9.95, 2.02)}
    records = [
        make_record(model, size, device, train_seconds=(100.0, seconds))
        for (model, size), pair in published.items()
        for device, seconds in zip(("cpu", "gpu"), pair, strict=True)
    ]
    rows = comparison_table(cells_of(*records), CPU_AND_GPU)
    seconds = rows[rows["measure"] == "train_seconds_per_epoch"]
    assert {(row.model, row.batch_size): (row.cpu, row.gpu) for row in seconds.itertuples()} == published


def test_comparison_values_are_plain_json_values():
    cells = cells_of(make_record(), make_record(device="gpu", status="out_of_memory"))
    rows = comparison_table(cells, CPU_AND_GPU).to_dict("records")
    assert json.loads(json.dumps(rows)) == rows
