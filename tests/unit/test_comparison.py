"""The comparison of devices as data and as text: what is shown, marked, explained and answered."""

import json
from dataclasses import replace

import pytest

from metrics_builder import make_record
from trainbench.accuracy_times import accuracy_times_table
from trainbench.comparison import Compared, comparison_markdown, comparison_table
from trainbench.costs import costs_table
from trainbench.scaling_tables import core_equivalents_table, scaling_fits_table
from trainbench.speedups import Reference, crossovers_table, speedups_table
from trainbench.tables import CELL_COLUMNS, CHECK_COLUMNS, TableOrder, cells_table, measured, read_csv, write_csv
from trainbench.wording import FLAGGED, TIMES

CPU_AND_GPU = TableOrder(devices=("cpu", "gpu"))


def compared(*records, order=CPU_AND_GPU, targets=None, prices=None):
    """The tables of these records that the comparison puts together."""
    found = measured(records, order)
    return compared_tables(found, cells_table(found.runs, order), order, targets, prices)


def compared_tables(found, cells, order, targets=None, prices=None):
    speedups = speedups_table(cells, order, Reference())
    times = accuracy_times_table(found.runs, found.epochs, targets or {}, order)
    return Compared(
        cells=cells,
        checks=found.checks,
        speedups=speedups,
        crossovers=crossovers_table(speedups, order),
        accuracy_times=times,
        costs=costs_table(cells, times, prices or {}, "EUR", order),
        scaling_fits=scaling_fits_table(cells, order),
        core_equivalents=core_equivalents_table(cells, order),
    )


def table(*records, order=CPU_AND_GPU, **asked):
    return comparison_table(compared(*records, order=order, **asked), order)


def text_of(*records, order=CPU_AND_GPU, **asked):
    return comparison_markdown(compared(*records, order=order, **asked), order)


def three_runs(device, seconds, **settings):
    return [
        make_record(device=device, repeat=repeat, train_seconds=(99.0, value), **settings)
        for repeat, value in enumerate(seconds, start=1)
    ]


def finding(name, level="warning"):
    return {"name": name, "level": level, "finding": f"there was {name}", "advice": f"see to {name}"}


def table_rows(markdown):
    """The rows of the first table of a Markdown text by their first field."""
    rows = {}
    lines = markdown.splitlines()
    first = next(number for number, line in enumerate(lines) if ", batch size " in line and line.startswith("## "))
    for line in lines[first + 1 :]:
        if line.startswith("## "):
            break
        if line.startswith("|"):
            name, *values = [field.strip() for field in line.strip("|").split(" |")]
            rows[name] = values
    return rows


def answers_of(markdown):
    return [line.removeprefix("- ") for line in markdown.splitlines() if line.startswith("- **")]


def test_the_comparison_has_a_column_a_device_in_order():
    records = [make_record(device="gpu"), make_record(device="cpu")]
    assert list(table(*records).columns) == [
        "model", "batch_size", "measure", "unit", "cpu", "gpu",
    ]  # fmt: skip


def test_the_comparison_names_the_host_where_there_are_several():
    records = [make_record(host="a"), make_record(host="b")]
    assert list(table(*records).columns[4:]) == ["a/cpu", "b/cpu"]


def test_the_comparison_holds_means_and_speedups():
    records = [*three_runs("cpu", (20.0, 22.0)), *three_runs("gpu", (2.0, 2.2))]
    rows = table(*records).set_index("measure")
    assert rows.loc["train_seconds_per_epoch", ["cpu", "gpu"]].tolist() == pytest.approx([440**0.5, 4.4**0.5])
    assert rows.loc["speedup", ["cpu", "gpu"]].tolist() == pytest.approx([1.0, 10.0])


def test_the_comparison_counts_flagged_runs():
    records = [make_record(repeat=1, flags=["other_load"]), make_record(repeat=2)]
    rows = table(*records).set_index("measure")
    assert rows.loc[["completed_runs", "flagged_runs"], "cpu"].tolist() == [2, 1]


def test_a_cell_out_of_memory_says_so_in_the_comparison():
    records = [make_record(), make_record(device="gpu", status="out_of_memory")]
    rows = table(*records).set_index("measure")
    assert rows.loc["train_seconds_per_epoch", "gpu"] == "out of memory"


def test_the_markdown_has_a_table_for_each_model_and_batch_size():
    records = [make_record(model="conv", batch_size=128), make_record(model="lstm", batch_size=512)]
    text = text_of(*records, order=TableOrder(models=("lstm",)))
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## lstm, batch size 512",
        "## conv, batch size 128",
        "## How to read this",
    ]


def test_the_markdown_begins_with_the_answers_and_what_limits_them():
    records = measured([make_record()], CPU_AND_GPU)
    tables = compared_tables(records, cells_table(records.runs, CPU_AND_GPU), CPU_AND_GPU)
    text = comparison_markdown(tables, CPU_AND_GPU, ["conv trains <b>."], ["One run."])
    first, _, _ = text.partition("\n\n## conv,")
    assert first == "# Results\n\n- conv trains &lt;b&gt;.\n\nWhat limits these answers:\n\n- One run."


def test_the_markdown_shows_figures_with_their_interval():
    rows = table_rows(text_of(*three_runs("cpu", (12.10, 12.15, 12.20))))
    assert rows["Seconds an epoch"] == ["12.15 (12.03\N{EN DASH}12.27)"]


def test_the_markdown_says_that_a_single_run_has_no_interval():
    rows = table_rows(text_of(make_record(train_seconds=(99.0, 12.15))))
    assert rows["Seconds an epoch"] == ["12.15 (one run)"]


def test_the_markdown_marks_what_is_unknown():
    rows = table_rows(text_of(make_record(), make_record(device="gpu")))
    assert rows["GPU utilisation (%)"] == ["\N{EN DASH}", "75.00"]


def test_the_markdown_shows_accuracy_in_percent():
    rows = table_rows(text_of(make_record(accuracies=(0.5, 0.9234))))
    assert rows["Final accuracy (%)"] == ["92.34"]


def test_the_markdown_shows_the_speedup_over_the_first_device():
    records = [*three_runs("cpu", (20.0,)), *three_runs("gpu", (3.0,))]
    assert table_rows(text_of(*records))["Speedup over cpu"] == [f"1.00{TIMES}", f"6.67{TIMES}"]


def test_one_device_has_no_speedup():
    assert "Speedup" not in text_of(make_record())


def test_the_markdown_says_which_cell_ran_out_of_memory():
    records = [make_record(), make_record(device="gpu", status="out_of_memory")]
    rows = table_rows(text_of(*records))
    assert (rows["Seconds an epoch"][1], rows["Runs"]) == ("out of memory", ["1", "0 of 1 (out of memory)"])


def test_the_markdown_marks_speeds_of_a_first_epoch():
    text = text_of(make_record(train_seconds=(50.0,)))
    assert table_rows(text)["Seconds an epoch"] == ["50.00 (one run) *"]
    assert "\n\\* Runs of a single epoch" in text


def test_the_markdown_shows_power_and_energy_of_gpus():
    rows = table_rows(text_of(make_record(), make_record(device="gpu", train_seconds=(99.0, 2.0))))
    shown = {name: values[1] for name, values in rows.items() if name.startswith("GPU ")}
    assert shown == {
        "GPU utilisation (%)": "75.00",
        "GPU memory (MiB)": "2048",
        "GPU power (W)": "300.0",
        "GPU energy an epoch (J)": "600.0 (one run)",
    }


def test_the_markdown_has_no_row_of_gpu_figures_that_no_device_knows():
    rows = table_rows(text_of(make_record(), make_record(device="gpu", status="out_of_memory")))
    assert not [name for name in rows if name.startswith("GPU ")]


def test_the_markdown_marks_the_speed_of_a_cell_with_flagged_runs():
    rows = table_rows(text_of(make_record(flags=["other_load"]), make_record(device="gpu")))
    assert rows["Seconds an epoch"] == [f"12.10 (one run) {FLAGGED}", "12.10 (one run)"]


def test_the_markdown_marks_nothing_where_no_run_is_flagged():
    assert FLAGGED not in text_of(make_record(checks=[finding("turbo", "info")]))


def test_the_markdown_says_what_was_found_where_and_what_to_do():
    text = text_of(
        make_record(repeat=1, flags=["other_load"]),
        make_record(repeat=2),
        make_record(device="gpu", flags=["other_load", "gpu_shared"]),
    )
    assert [line for line in text.splitlines() if line.startswith(f"- {FLAGGED}")] == [
        f"- {FLAGGED} other_load: 2 of 3 runs (all cells): see to other_load",
        f"- {FLAGGED} gpu_shared: 1 of 3 runs (conv 512 gpu): see to gpu_shared",
    ]


def test_the_markdown_names_no_device_where_there_is_one():
    assert f"\n- {FLAGGED} other_load: 1 of 1 runs (all cells): see to other_load\n" in text_of(
        make_record(flags=["other_load"])
    )


def test_the_markdown_names_the_cells_of_a_flag_that_not_all_have():
    text = text_of(make_record(batch_size=128, flags=["other_load"]), make_record(batch_size=512))
    assert f"\n- {FLAGGED} other_load: 1 of 2 runs (conv 128): see to other_load\n" in text


def test_hostile_advice_cannot_leave_its_place_in_the_markdown():
    checks = [{**finding("other_load"), "advice": "<b>`rm`\n# x"}]
    assert "other_load: 1 of 1 runs (all cells): &lt;b&gt;\\`rm\\` \\# x\n" in text_of(make_record(checks=checks))


def test_the_markdown_names_host_and_hardware():
    text = text_of(make_record(), make_record(device="gpu"))
    assert "Host amd-epyc-2t-1a2b3c4d (server7): cpu = AMD EPYC 9B14, 2 threads; gpu = NVIDIA H200" in text


def test_a_hostile_host_name_cannot_leave_its_place_in_the_markdown():
    text = text_of(make_record(host="a|b<script>", hostname="*x*"))
    assert "Host a\\|b&lt;script&gt; (\\*x\\*): " in text


def test_a_device_named_like_a_number_keeps_its_name_in_the_markdown():
    assert list(table_rows(text_of(make_record(device="1e5")))[""]) == ["1e5"]


def test_tables_read_from_files_compare_like_those_in_memory(tmp_path):
    records = [
        *three_runs("cpu", (20.0, 22.0), flags=["other_load"]),
        make_record(device="gpu", status="out_of_memory"),
    ]
    found = measured(records, CPU_AND_GPU)
    write_csv(cells_table(found.runs, CPU_AND_GPU), tmp_path / "cells.csv")
    write_csv(found.checks, tmp_path / "checks.csv")
    checks = read_csv(tmp_path / "checks.csv", CHECK_COLUMNS)
    read = compared_tables(replace(found, checks=checks), read_csv(tmp_path / "cells.csv", CELL_COLUMNS), CPU_AND_GPU)
    assert comparison_markdown(read, CPU_AND_GPU) == text_of(*records)


def test_the_published_cells_keep_their_seconds_through_the_tables():
    """The means of 2017, given as runs of two epochs, come out as they were published."""
    published = {("logistic", 128): (1.014248, 0.689136), ("conv", 512): (32.6, 2.63), ("lstm", 512): (9.95, 2.02)}
    records = [
        make_record(model, size, device, train_seconds=(100.0, seconds))
        for (model, size), pair in published.items()
        for device, seconds in zip(("cpu", "gpu"), pair, strict=True)
    ]
    rows = table(*records)
    seconds = rows[rows["measure"] == "train_seconds_per_epoch"]
    assert {(row.model, row.batch_size): (row.cpu, row.gpu) for row in seconds.itertuples()} == published


def test_comparison_values_are_plain_json_values():
    records = [make_record(), make_record(device="gpu", status="out_of_memory")]
    rows = table(*records).to_dict("records")
    assert json.loads(json.dumps(rows)) == rows


def test_the_answer_says_how_many_times_faster_and_how_sure():
    records = [*three_runs("cpu", (20.0, 20.2, 19.8)), *three_runs("gpu", (2.0, 2.02, 1.98))]
    assert answers_of(text_of(*records)) == [
        "**conv**: gpu is faster than cpu at every batch size compared: 10.0\N{MULTIPLICATION SIGN} "
        "(9.8\N{EN DASH}10.2) at 512."
    ]


def test_the_answer_says_from_which_batch_size_on():
    seconds = {128: (2.0, 4.0), 512: (2.0, 1.0)}
    records = [
        make_record(batch_size=size, device=device, train_seconds=(99.0, value))
        for size, pair in seconds.items()
        for device, value in zip(("cpu", "gpu"), pair, strict=True)
    ]
    (answer,) = answers_of(text_of(*records))
    assert answer.startswith("**conv**: gpu is faster than cpu from a batch size of about 256 on: 0.500")
    assert answer.endswith("How sure that is takes at least two runs a cell.")


def test_an_answer_whose_intervals_contain_1_is_doubted():
    records = [*three_runs("cpu", (2.0, 2.4, 1.6)), *three_runs("gpu", (1.9, 2.3, 1.5))]
    assert "Not every interval leaves out 1" in answers_of(text_of(*records))[0]


def test_a_target_that_was_not_reached_says_in_how_many_epochs():
    rows = table_rows(text_of(make_record(accuracies=(0.5, 0.9)), targets={"conv": 0.95}))
    assert rows["Seconds to 95 % accuracy"] == ["not in 2 epochs"]


def test_a_price_is_shown_with_its_currency():
    rows = table_rows(text_of(make_record(train_seconds=(1.0, 3599.0), eval_seconds=1.0), prices={"cpu": 2.0}))
    assert rows["Price of an epoch (EUR)"] == ["2.000 (one run)"]


def test_no_price_is_shown_where_none_is_given():
    assert not any(name.startswith("Price") for name in table_rows(text_of(make_record())))


def test_how_many_cores_match_a_gpu_is_said_beside_the_best_number_of_threads():
    records = [
        make_record(device=f"cpu-{threads}t", repeat=repeat, usable_threads=threads, train_seconds=(9.0, 8.0 / threads))
        for threads in (1, 2, 4, 8)
        for repeat in (1, 2)
    ]
    records += [make_record(device="gpu", repeat=repeat, train_seconds=(9.0, 0.5)) for repeat in (1, 2)]
    text = text_of(*records, order=TableOrder())
    assert "## CPU at its best number of threads" in text
    assert "cores match it" in text.partition("## How many cores match a GPU")[2]


def test_devices_of_several_frameworks_and_precisions_are_told_by_these():
    text = text_of(make_record(), make_record(device="gpu", framework="torch", precision="bfloat16"))
    rows = table_rows(text)
    assert (rows["Framework"], rows["Precision"]) == (["TensorFlow", "PyTorch"], ["float32", "bfloat16"])
    assert "gpu = NVIDIA H200, PyTorch, bfloat16" in text


def test_devices_of_one_framework_need_no_row_of_it():
    assert not {"Framework", "Precision"} & set(table_rows(text_of(make_record(), make_record(device="gpu"))))


def test_several_cards_of_a_run_are_counted():
    assert "gpu = 4 x NVIDIA H200" in text_of(make_record(), make_record(device="gpu", gpus=4))


def test_how_much_faster_than_itself_a_cpu_is_has_no_row():
    records = [make_record(), make_record(device="cpu-b", framework="torch")]
    order = TableOrder(devices=("cpu", "cpu-b"))
    assert "Speedup over the CPU at its best" not in table_rows(text_of(*records, order=order))
