"""The comparison of devices as data and as text: what is shown, marked, explained and answered."""

import json
import random
import re
from dataclasses import replace

import pytest

from metrics_builder import make_record
from trainbench.conclusions.comparison import comparison_table
from trainbench.conclusions.comparison_markdown import comparison_markdown
from trainbench.conclusions.tables.accuracy_times import accuracy_times_table
from trainbench.conclusions.tables.core_equivalents import core_equivalents_table
from trainbench.conclusions.tables.costs import costs_table
from trainbench.conclusions.tables.crossovers import crossovers_table
from trainbench.conclusions.tables.scaling_fits import scaling_fits_table
from trainbench.conclusions.tables.speedups import Reference, outcome_of, speedups_table
from trainbench.results.cells_table import CELL_COLUMNS, cells_table
from trainbench.results.measured import CHECK_COLUMNS, measured
from trainbench.results.statistics import Outcome
from trainbench.results.tables import TableOrder, read_csv, rows_of, write_csv
from trainbench.words.wording import FLAGGED, TIMES

CPU_AND_GPU = TableOrder(devices=("cpu", "gpu"))


def compared(*records, order=CPU_AND_GPU, targets=None, prices=None):
    """The tables of these records that the comparison puts together."""
    found = measured(records, order)
    return compared_tables(found, cells_table(found.runs, order), order, targets, prices)


def compared_tables(found, cells, order, targets=None, prices=None):
    speedups = speedups_table(cells, order, Reference())
    times = accuracy_times_table(found.runs, found.epochs, targets or {}, order)
    return {
        "cells": cells,
        "checks": found.checks,
        "speedups": speedups,
        "crossovers": crossovers_table(speedups, order),
        "accuracy_times": times,
        "costs": costs_table(cells, times, prices or {}, "EUR", order),
        "scaling_fits": scaling_fits_table(cells, order),
        "core_equivalents": core_equivalents_table(cells, order),
    }


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


def beside_a_cpu(seconds):
    """Runs of a CPU that takes 2 s, and of a GPU that takes so many at each batch size, two runs a cell."""
    return [
        make_record(batch_size=size, device=device, repeat=repeat, train_seconds=(99.0, each))
        for size, (of_gpu, scatter) in seconds.items()
        for device, value in (("cpu", 2.0), ("gpu", of_gpu))
        for repeat, each in enumerate((value,) if scatter is None else (value * scatter, value / scatter), start=1)
    ]


def answer_on(seconds):
    (answer,) = answers_of(text_of(*beside_a_cpu(seconds)))
    return answer


def claims_of(words, sizes, crossing):
    """What the words of an answer claim, by batch size."""
    lead, *left_out = words.split("; ")
    if lead.startswith(("no difference", "in single runs")):
        return {}
    passing = re.search(r"(from|up to) a batch size", lead)
    if passing:
        beyond = {size: size > crossing["crossover_batch_size_high"] for size in sizes}
        claims = {size: Outcome.ABOVE if beyond[size] is (passing[1] == "from") else Outcome.BELOW for size in sizes}
    else:
        claims = {}
        for side, at in re.findall(r"(faster|slower) than \w+ at ([\d, and]+|every)", lead):
            named = sizes if at == "every" else map(int, re.findall(r"\d+", at))
            claims |= dict.fromkeys(named, Outcome.ABOVE if side == "faster" else Outcome.BELOW)
    excepted = {int(size) for size in re.findall(r"\d+", " ".join(left_out))}
    return {size: claim for size, claim in claims.items() if size not in excepted}


def test_the_answer_says_how_many_times_faster_and_how_sure():
    records = [*three_runs("cpu", (20.0, 20.2, 19.8)), *three_runs("gpu", (2.0, 2.02, 1.98))]
    assert answers_of(text_of(*records)) == [
        "**conv**: gpu is faster than cpu at every batch size compared: 10.0\N{MULTIPLICATION SIGN} "
        "(9.8\N{EN DASH}10.2) at 512."
    ]


def test_the_answer_says_from_which_batch_size_on():
    assert answer_on({128: (4.0, 0.99), 512: (1.0, 0.99)}) == (
        f"**conv**: gpu is faster than cpu from a batch size of about 256 (241 to 272) on: 0.500{TIMES} "
        f"(0.470\u20130.532) at 128 to 2.00{TIMES} (1.88\u20132.13) at 512."
    )


def test_the_answer_leaves_out_what_is_not_shown_beside_a_crossover():
    answer = answer_on({64: (2.1, 0.8), 128: (4.0, 0.99), 512: (1.0, 0.99), 1024: (0.5, None)})
    assert " (241 to 272) up to 512; no difference shown at 64; no interval at 1024: " in answer


def test_a_crossover_reaches_down_to_what_is_shown():
    answer = answer_on({64: (0.5, None), 128: (1.0, 0.99), 512: (4.0, 0.99)})
    assert answer.startswith("**conv**: gpu is faster than cpu from 128 up to a batch size of about ")


def test_the_answer_claims_no_crossover_that_no_interval_carries():
    answer = answer_on({128: (2.2, 0.8), 256: (1.8, 0.8), 512: (1.0, 0.99)})
    assert answer.startswith("**conv**: gpu is faster than cpu at 512; no difference shown at 128 and 256: ")
    assert answer.endswith(" More repeats would tell more.")


def test_the_answer_to_intervals_that_all_contain_1_is_that_no_difference_is_shown():
    answer = answer_on({128: (2.2, 0.8), 512: (1.8, 0.8)})
    assert answer.startswith("**conv**: no difference is shown between gpu and cpu at every batch size compared: ")


def test_the_answer_of_single_runs_says_that_it_rests_on_them():
    assert answer_on({128: (4.0, None), 512: (1.0, None)}) == (
        f"**conv**: in single runs gpu was faster than cpu at 512 and slower than it at 128: 0.500{TIMES} at 128 to "
        f"2.00{TIMES} at 512. How sure that is takes at least two runs a cell."
    )


@pytest.mark.parametrize(
    ("seconds", "answer"),
    [
        pytest.param(
            {128: (4.0, 0.99), 512: (3.0, 0.99)},
            "gpu is slower than cpu at every batch size compared: 0.500x (0.470-0.532) at 128 to 0.667x "
            "(0.627-0.709) at 512.",
            id="slower throughout",
        ),
        pytest.param(
            {128: (1.0, 0.99), 512: (1.5, 0.99)},
            "gpu is faster than cpu at every batch size compared: 1.33x (1.25-1.42) at 512 to 2.00x "
            "(1.88-2.13) at 128.",
            id="faster throughout",
        ),
        pytest.param(
            {64: (2.1, 0.8), 128: (4.0, 0.99), 512: (1.0, 0.99), 1024: (0.5, None)},
            "gpu is faster than cpu from a batch size of about 256 (241 to 272) up to 512; no difference "
            "shown at 64; no interval at 1024: 0.500x (0.470-0.532) at 128 to 4.00x at 1024. How sure that "
            "is takes at least two runs a cell.",
            id="faster from, within what is shown",
        ),
        pytest.param(
            {64: (0.5, None), 128: (1.0, 0.99), 512: (4.0, 0.99)},
            "gpu is faster than cpu from 128 up to a batch size of about 256 (241 to 272); no interval at "
            "64: 0.500x (0.470-0.532) at 512 to 4.00x at 64. How sure that is takes at least two runs a "
            "cell.",
            id="faster up to, from what is shown",
        ),
        pytest.param(
            {128: (1.0, 0.99), 256: (2.0, 0.8), 512: (4.0, 0.99)},
            "gpu is faster than cpu up to a batch size of about 256 (160 to 411); no difference shown at "
            "256: 0.500x (0.470-0.532) at 512 to 2.00x (1.88-2.13) at 128. More repeats would tell more.",
            id="faster up to",
        ),
        pytest.param(
            {128: (2.2, 0.8), 256: (1.8, 0.8), 512: (1.0, 0.99)},
            "gpu is faster than cpu at 512; no difference shown at 128 and 256: 0.909x (0.234-3.53) at 128 "
            "to 2.00x (1.88-2.13) at 512. More repeats would tell more.",
            id="faster in part",
        ),
        pytest.param(
            {128: (2.2, 0.8), 512: (4.0, 0.99)},
            "gpu is slower than cpu at 512; no difference shown at 128: 0.500x (0.470-0.532) at 512 to "
            "0.909x (0.234-3.53) at 128. More repeats would tell more.",
            id="slower in part",
        ),
        pytest.param(
            {128: (2.2, 0.8), 512: (1.8, 0.8)},
            "no difference is shown between gpu and cpu at every batch size compared: 0.909x (0.234-3.53) "
            "at 128 to 1.11x (0.286-4.32) at 512. More repeats would tell more.",
            id="no difference",
        ),
        pytest.param(
            {128: (2.2, 0.8), 512: (1.8, 0.8), 1024: (1.0, None)},
            "no difference is shown between gpu and cpu at 128 and 512; no interval at 1024: 0.909x "
            "(0.234-3.53) at 128 to 2.00x at 1024. How sure that is takes at least two runs a cell.",
            id="no difference beside a single run",
        ),
        pytest.param(
            {128: (2.2, 0.8)},
            "no difference is shown between gpu and cpu at 128: 0.909x (0.234-3.53) at 128. More repeats "
            "would tell more.",
            id="no difference at the only batch size",
        ),
        pytest.param(
            {128: (4.0, None), 256: (2.0, None), 512: (1.0, None)},
            "in single runs gpu was faster than cpu at 512 and slower than it at 128 and as fast as it at "
            "256: 0.500x at 128 to 2.00x at 512. How sure that is takes at least two runs a cell.",
            id="single runs on both sides and at 1",
        ),
        pytest.param(
            {64: (4.0, 0.99), 128: (1.0, 0.99), 256: (4.0, 0.99), 512: (1.0, 0.99)},
            "gpu is faster than cpu at 128 and 512 and slower than it at 64 and 256: 0.500x (0.470-0.532) "
            "at 64 to 2.00x (1.88-2.13) at 128.",
            id="changes several times",
        ),
        pytest.param(
            {16: (8.0, 0.8), 64: (1.8, 0.8), 128: (2.2, 0.8), 512: (0.5, 0.8)},
            "gpu is faster than cpu from a batch size of 16 to 499 on; no difference shown at 64 and 128: "
            "0.250x (0.0643-0.972) at 16 to 4.00x (1.03-15.6) at 512. More repeats would tell more.",
            id="values that wander across 1",
        ),
    ],
)
def test_an_answer_is_given_to_the_letter(seconds, answer):
    signed = re.sub(r"(?<=\d)x\b", TIMES, re.sub(r"(?<=\d)-(?=\d)", "\N{EN DASH}", answer))
    assert answer_on(seconds) == f"**conv**: {signed}"


def test_no_answer_to_any_runs_claims_what_no_interval_carries():
    chance = random.Random(2017)
    for _ in range(40):
        sizes = chance.sample((64, 128, 256, 512), chance.randint(1, 4))
        spreads = (0.99, 0.9, 0.7, None)
        seconds = {size: (2.0 * chance.lognormvariate(0.0, 0.4), chance.choice(spreads)) for size in sizes}
        tables = compared(*beside_a_cpu(seconds))
        words = answers_of(comparison_markdown(tables, CPU_AND_GPU))[0].split(": ")[1]
        said = {row["batch_size"]: outcome_of(row) for row in rows_of(tables["speedups"]) if row["device"] == "gpu"}
        (crossing,) = rows_of(tables["crossovers"])
        assert claims_of(words, sizes, crossing) == {size: each for size, each in said.items() if each.shown}, words


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
    assert "## CPU by its number of threads" in text
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
    assert "Speedup over the CPU with the least mean" not in table_rows(text_of(*records, order=order))
