"""A study beside an earlier one: a verdict a cell, what else differs, and whether who asked should stop."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from metrics_builder import as_older_versions_timed, make_record
from trainbench.conclusions import baseline
from trainbench.conclusions.baseline_markdown import markdown, summary
from trainbench.conclusions.baseline_runs import measured_runs
from trainbench.results.columns import Row
from trainbench.results.tables import TableOrder, rows_of, write_csv

SMALLEST_PERCENT = 3.0
NOW = (10.0, 10.1, 9.9)
SLOWER_BY_A_FIFTH = tuple(1.2 * seconds for seconds in NOW)


def runs_of(seconds: Sequence[float], sitting: str = "now", **settings: Any) -> list[dict[str, Any]]:
    """A run for each of these seconds an epoch; runs of two sittings are never the same."""
    records = [
        make_record(repeat=repeat, train_seconds=(99.0, value), **settings)
        for repeat, value in enumerate(seconds, start=1)
    ]
    for record in records:
        record["run_id"] = hashlib.sha256(f"{sitting}{record['run_id']}".encode()).hexdigest()[:32]
    return records


def compared(
    current: Sequence[Mapping[str, Any]], before: Sequence[Mapping[str, Any]], smallest: float = SMALLEST_PERCENT
) -> baseline.Comparison:
    return baseline.compare(measured_runs(current), measured_runs(before), smallest)


def only_cell(
    current: Sequence[Mapping[str, Any]], before: Sequence[Mapping[str, Any]], smallest: float = SMALLEST_PERCENT
) -> Row:
    (cell,) = compared(current, before, smallest).cells
    return cell


def differences(current: Sequence[Mapping[str, Any]], before: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {name: values for name, *values in compared(current, before).differences}


# --- verdicts ---


@pytest.mark.parametrize(
    ("now", "before", "verdict"),
    [
        (NOW, NOW, "no difference shown"),
        (SLOWER_BY_A_FIFTH, NOW, "slower"),
        (NOW, SLOWER_BY_A_FIFTH, "faster"),
        ((10.0, 14.0, 11.0), NOW, "no difference shown"),
    ],
    ids=["the same", "a fifth slower", "a fifth faster", "scattered"],
)
def test_the_verdict_rests_on_the_interval(now: Sequence[float], before: Sequence[float], verdict: str) -> None:
    assert only_cell(runs_of(now), runs_of(before, "before"))["verdict"] == verdict


def test_the_ratio_is_current_over_baseline() -> None:
    ratio = only_cell(runs_of(SLOWER_BY_A_FIFTH), runs_of(NOW, "before"))["ratio"]
    assert ratio == pytest.approx(1.2)


@pytest.mark.parametrize(("smallest", "verdict"), [(1.0, "slower"), (3.0, "no difference shown")])
def test_a_difference_below_the_smallest_is_never_called(smallest: float, verdict: str) -> None:
    assert only_cell(runs_of((10.2, 10.2)), runs_of((10.0, 10.0), "before"), smallest)["verdict"] == verdict


@pytest.mark.parametrize(("now", "before"), [((12.0,), NOW), (NOW, (12.0,)), ((12.0,), (10.0,))])
def test_an_interval_takes_two_runs_on_each_side(now: Sequence[float], before: Sequence[float]) -> None:
    cell = only_cell(runs_of(now), runs_of(before, "before"))
    assert (cell["verdict"], f"{len(now)} completed now, {len(before)} in the baseline" in cell["reasons"]) == (
        "too few runs",
        True,
    )


def test_a_cell_that_completed_before_and_now_does_not_is_told() -> None:
    cell = only_cell(runs_of(NOW, status="out_of_memory"), runs_of(NOW, "before"))
    assert (cell["verdict"], cell["reasons"]) == ("no longer completes", "3 of 3 runs out of memory now")


def test_a_cell_that_never_completed_has_too_few_runs() -> None:
    out = {"status": "out_of_memory"}
    assert only_cell(runs_of(NOW, **out), runs_of(NOW, "before", **out))["verdict"] == "too few runs"


def test_a_cell_of_one_set_alone_is_told() -> None:
    cells = compared(runs_of(NOW, model="lstm"), runs_of(NOW, "before", model="conv")).cells
    assert {cell["model"]: cell["verdict"] for cell in cells} == {"lstm": "only in current", "conv": "only in baseline"}


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"settings": {"epochs": 9}}, "epochs was 9, is 2"),
        (
            {"settings": {"hyperparameters": {"learning_rate": 0.5}}},
            "hyperparameters.learning_rate was 0.5, is 0.001",
        ),
        ({"settings": {"hyperparameters": {"momentum": 0.5}}}, "hyperparameters.momentum was 0.5, is not set"),
        ({"settings": {"device": {"threads": 2}}}, "device.threads was 2, is all"),
        ({"settings": {"device": {"precision": "bfloat16"}}}, "device.precision was bfloat16, is float32"),
        ({"settings": {"validation_samples": 0}}, "validation_samples was 0, is 5000"),
        ({"settings": {"isolation": "none"}}, "isolation was none, is device"),
        ({"settings": {"monitor_interval_seconds": 1.0}}, "monitor_interval_seconds was 1, is 0.1"),
        ({"dataset": {"sha256": "ab" * 32}}, "dataset.sha256 was abababababab, is 63af3a9e54e0"),
        ({"device_used": {"threads": {"intra_op": 1}}}, "threads used were 1, are 2"),
    ],
    ids=lambda part: str(part)[:60],
)
def test_other_settings_are_not_comparable_and_named_with_both_values(settings: dict[str, Any], told: str) -> None:
    cell = only_cell(runs_of(NOW), runs_of(NOW, "before", **settings))
    assert (cell["verdict"], cell["reasons"]) == ("not comparable", told)


@pytest.mark.parametrize("settings", [{"seed": 5}, {"study_seed": 5}, {"dataset_files_sha256": "ab" * 32}])
def test_settings_that_change_no_speed_are_compared(settings: dict[str, Any]) -> None:
    assert only_cell(runs_of(NOW), runs_of(NOW, "before", settings=settings))["verdict"] == "no difference shown"


def test_a_set_that_mixes_settings_is_not_comparable() -> None:
    mixed = [*runs_of(NOW[:2], "before"), *runs_of(NOW, "later", settings={"epochs": 5})]
    assert only_cell(runs_of(NOW), mixed)["reasons"] == "epochs was 2 or 5, is 2"


def test_runs_out_of_memory_that_loaded_no_data_do_not_change_the_data_set() -> None:
    before = runs_of(NOW, "before")
    before[0].update(status="out_of_memory", dataset=None, device_used=None, clock=None, epochs=[])
    assert only_cell(runs_of(NOW), before)["verdict"] == "no difference shown"


# --- hosts ---

A, B, C = "host-a", "host-b", "host-c"


def hosts_of(comparison: baseline.Comparison) -> list[tuple[str | None, str | None, str]]:
    return [(cell.get("host"), cell.get("baseline_host"), cell["verdict"]) for cell in comparison.cells]


def test_a_host_is_compared_with_itself() -> None:
    before = [*runs_of(SLOWER_BY_A_FIFTH, "before", host=B), *runs_of(NOW, "before", host=A)]
    assert hosts_of(compared(runs_of(NOW, host=A), before)) == [
        (A, A, "no difference shown"),
        (None, B, "only in baseline"),
    ]


def test_another_machine_is_compared_and_named() -> None:
    comparison = compared(runs_of(SLOWER_BY_A_FIFTH, host=A), runs_of(NOW, "before", host=B))
    assert hosts_of(comparison) == [(A, B, "slower")]
    assert "Compared across machines: host-a now, host-b in the baseline." in markdown(comparison, "x")


def test_threads_of_another_machine_do_not_keep_it_from_being_compared() -> None:
    before = runs_of(NOW, "before", host=B, usable_threads=64)
    assert only_cell(runs_of(NOW, host=A), before)["verdict"] == "no difference shown"


def test_several_other_machines_are_not_paired_by_guess() -> None:
    before = [*runs_of(NOW, "before", host=B), *runs_of(NOW, "before", host=C)]
    assert {verdict for _, _, verdict in hosts_of(compared(runs_of(NOW, host=A), before))} == {
        "only in current",
        "only in baseline",
    }


# --- what else differs ---


@pytest.mark.parametrize(
    ("changes", "name", "values"),
    [
        ({"software": {"versions": {"tensorflow": "2.20.0"}}}, "tensorflow", ("2.20.0", "2.21.0")),
        ({"software": {"versions": {"cuda": "12.5"}}}, "cuda", ("12.5", "unknown")),
        ({"software": {"python": "3.12.1"}}, "Python", ("3.12.1", "3.11.7")),
        ({"software": {"flags": {"tf32": True}}}, "TF32", ("on", "off")),
        ({"software": {"flags": {"deterministic": None}}}, "deterministic operations", ("unknown", "off")),
        (
            {"software": {"flags": {"environment": {"XLA_FLAGS": "--a"}}}},
            "environment variable XLA_FLAGS",
            ("--a", "not set"),
        ),
        ({"host": {"kernel": "5.15"}}, "kernel", ("5.15", "6.1.0-18-amd64")),
        ({"host": {"gpu_driver_version": "535.1"}}, "GPU driver", ("535.1", "570.86")),
        ({"host": {"cgroup_cpu_quota_cores": 1.5}}, "CPU time limit (cores)", ("1.5", "none")),
        ({"device_used": {"name": "NVIDIA L4"}}, "hardware of gpu", ("NVIDIA L4", "NVIDIA H200")),
    ],
    ids=lambda part: str(part)[:60],
)
def test_a_difference_of_software_or_machine_is_listed_with_both_values(
    changes: dict[str, Any], name: str, values: tuple[str, str]
) -> None:
    before = [make_record(repeat=repeat, device="gpu", **{"host": "h"}) for repeat in (1, 2)]
    for record in before:
        merge(record, changes)
    current = [make_record(repeat=repeat, device="gpu", host="h") for repeat in (1, 2)]
    assert differences(current, before) == {name: list(values)}


def merge(record: dict[str, Any], changes: Mapping[str, Any]) -> None:
    for key, value in changes.items():
        if isinstance(value, Mapping):
            merge(record[key], value)
        else:
            record[key] = value


def test_the_driver_of_a_gpu_is_no_matter_to_runs_on_the_cpu() -> None:
    assert differences(runs_of(NOW), runs_of(NOW, "before", gpu_driver_version="535.1")) == {}


def test_which_card_was_leased_is_no_difference() -> None:
    environment = {"software": {"flags": {"environment": {"CUDA_VISIBLE_DEVICES": "GPU-7"}}}}
    assert differences(runs_of(NOW), runs_of(NOW, "before", **environment)) == {}


def test_a_machine_that_itself_computed_slower_is_told() -> None:
    comparison = compared(runs_of(NOW, canary_seconds=0.22), runs_of(NOW, "before", canary_seconds=0.2))
    assert "computed slower: a fixed computation before each run took 10 % longer on" in markdown(comparison, "x")


def test_machines_are_not_compared_by_computations_that_were_not_the_same() -> None:
    before = [as_older_versions_timed(run, 0.2) for run in runs_of(NOW, "before")]
    comparison = compared(runs_of(NOW, canary_seconds=0.4), before)
    text = markdown(comparison, "x")
    assert "Baseline: x. Both measured on " in text
    assert "no fixed computation was timed alike before the runs of both sets." in text


def test_runs_of_older_versions_are_compared_by_what_these_timed() -> None:
    now, before = (
        [as_older_versions_timed(run, seconds) for run in runs_of(NOW, folder)]
        for folder, seconds in (("", 0.4), ("before", 0.2))
    )
    assert "computed slower" in markdown(compared(now, before), "x")


def test_a_machine_of_about_the_same_speed_is_not_told() -> None:
    comparison = compared(runs_of(NOW, canary_seconds=0.204), runs_of(NOW, "before", canary_seconds=0.2))
    assert "computed slower" not in markdown(comparison, "x")


@pytest.mark.parametrize(
    ("seconds", "told"),
    [((0.18, 0.2, 0.31), False), ((0.219, 0.22, 0.221), True)],
    ids=["its interval contains 1", "its interval leaves 1 out"],
)
def test_a_machine_computed_slower_only_where_the_interval_carries_it(seconds: Sequence[float], *, told: bool) -> None:
    now = [
        run
        for each, second in zip(seconds, NOW, strict=True)
        for run in runs_of((second,), f"now {second}", canary_seconds=each)
    ]
    comparison = compared(now, runs_of(NOW, "before", canary_seconds=0.2))
    assert ("computed slower" in markdown(comparison, "x")) is told


def test_a_machine_seen_to_compute_slower_in_single_runs_is_told_as_such() -> None:
    comparison = compared(runs_of((10.0,), canary_seconds=0.3), runs_of((10.0,), "before", canary_seconds=0.2))
    assert " than in the baseline (single runs)." in markdown(comparison, "x")


def test_flags_of_both_sides_are_counted() -> None:
    cell = only_cell(runs_of(NOW, flags=["other_load"]), runs_of(NOW, "before", flags=["cpu_steal"]))
    assert (cell["flags"], cell["baseline_flags"]) == ("other_load:3", "cpu_steal:3")


def test_flags_across_the_runs_of_a_set_count_too() -> None:
    current = runs_of(NOW)
    current[0]["software"]["python"] = "3.12.0"
    cell = only_cell(current, runs_of(NOW, "before"))
    assert cell["flags"] == "versions_differ:3"


# --- what is told ---


def nine_cells(slower: int) -> baseline.Comparison:
    cells = [(model, size) for model in ("logistic", "conv", "lstm") for size in (128, 256, 512)]
    current, before = [], []
    for index, (model, size) in enumerate(cells):
        seconds = SLOWER_BY_A_FIFTH if index < slower else NOW
        current += runs_of(seconds, model=model, batch_size=size)
        before += runs_of(NOW, "before", model=model, batch_size=size)
    return compared(current, before)


def test_the_first_line_sums_up() -> None:
    assert markdown(nine_cells(slower=2), "x").splitlines()[0] == (
        "2 of 9 cells slower, 0 faster, 7 no difference shown"
    )


def test_the_first_line_tells_what_could_not_be_compared() -> None:
    comparison = compared(runs_of(NOW), runs_of(NOW, "before", settings={"epochs": 9}))
    assert summary(comparison) == "0 of 1 cell slower, 0 faster, 0 no difference shown, 1 not comparable"


def test_the_text_says_how_many_false_verdicts_to_expect() -> None:
    text = markdown(nine_cells(slower=0), "x")
    assert "So of 9 compared cells up to 0.45 would be called on average although nothing changed" in text


def test_the_cells_are_in_the_order_of_the_config() -> None:
    both = [*runs_of(NOW, model="conv"), *runs_of(NOW, model="logistic")]
    measured = measured_runs(both)
    comparison = baseline.compare(measured, measured, SMALLEST_PERCENT, TableOrder(models=("logistic", "conv")))
    assert [cell["model"] for cell in comparison.cells] == ["logistic", "conv"]


def test_runs_that_are_in_both_sets_are_told() -> None:
    assert "3 runs are the same in both sets" in markdown(compared(runs_of(NOW), runs_of(NOW)), "x")


def test_hostile_text_stays_text_in_the_markdown() -> None:
    versions = {"versions": {"tensorflow": "2 | <b>*x*"}}
    text = markdown(compared(runs_of(NOW), runs_of(NOW, "before", software=versions)), "`a`")
    assert ("2 \\| &lt;b&gt;\\*x\\*" in text, "Baseline: \\`a\\`" in text) == (True, True)


def test_a_device_named_like_a_number_keeps_its_name() -> None:
    comparison = compared(runs_of(NOW, device="1e5"), runs_of(NOW, "before", device="1e5"))
    assert "| 1e5 " in markdown(comparison, "x")


def test_the_table_has_a_row_a_cell_that_survives_the_csv_file(tmp_path: Path) -> None:
    comparison = compared(
        [*runs_of(NOW), *runs_of(NOW, model="lstm")], runs_of(SLOWER_BY_A_FIFTH, "before", flags=["other_load"])
    )
    write_csv(baseline.table(comparison), tmp_path / "baseline.csv")
    rows = pd.read_csv(tmp_path / "baseline.csv").set_index("model")
    assert rows["verdict"].to_dict() == {"conv": "faster", "lstm": "only in current"}
    assert rows.loc["conv", "ratio"] == pytest.approx(1 / 1.2)
    assert rows.loc["conv", "baseline_flags"] == "other_load:3"
    assert baseline.verdicts_of(tmp_path / "baseline.csv") == ["faster", "only in current"]


@pytest.mark.parametrize(
    ("verdicts", "fails"),
    [
        (["no difference shown", "faster"], False),
        (["no difference shown", "not comparable", "too few runs"], False),
        (["no difference shown", "slower"], True),
        (["faster", "no longer completes"], True),
        (["not comparable", "too few runs", "only in baseline", "only in current"], True),
        ([], True),
    ],
)
def test_what_makes_the_comparison_fail(verdicts: list[str], fails: bool) -> None:
    assert baseline.failed(verdicts) is fails


def test_the_same_distribution_is_called_different_in_few_of_many_cells() -> None:
    """Two sittings of 400 cells, 3 runs each, 5 % noise from run to run: 19 of 20 cells show no difference."""
    seconds = 10 * np.random.default_rng(2017).lognormal(0, 0.05, size=(400, 2, 3))
    current, before = [], []
    for size, (now, earlier) in enumerate(seconds.tolist(), start=1):
        current += runs_of(now, batch_size=size)
        before += runs_of(earlier, "before", batch_size=size)
    comparison = compared(current, before)
    assert comparison.count(["no difference shown"]) >= 380


# --- to the letter ---

EXPECTED = Path(__file__).with_name("expected") / "baseline.md"
ELSEWHERE = {"python": "3.12.1", "flags": {"environment": {"XLA_FLAGS": "--a"}}}


def one_of_each_verdict() -> baseline.Comparison:
    current = [
        *runs_of((12.0, 12.1, 11.9), flags=["other_load"], canary_seconds=0.22),
        *runs_of(NOW, model="lstm", canary_seconds=0.22),
        *runs_of((5.0,), model="logistic", canary_seconds=0.22),
        *runs_of((1.0, 1.01), device="gpu", host=B, software=ELSEWHERE),
        *runs_of((1.0, 1.01, 1.02), batch_size=64, host=C),
        *runs_of((1.0, 1.0), model="logistic", batch_size=32, canary_seconds=0.22),
        make_record("logistic", 32, repeat=3, status="out_of_memory"),
        *runs_of((1.0, 1.0), batch_size=16, status="out_of_memory"),
        *runs_of((1.0,), batch_size=32, canary_seconds=0.22),
        make_record(batch_size=32, repeat=2, status="out_of_memory"),
    ]
    before = [
        *runs_of(NOW, "before"),
        *runs_of(NOW, "before", model="lstm", settings={"epochs": 9}),
        *runs_of((5.0, 5.1), "before", model="logistic", flags=["cpu_steal"]),
        *runs_of((1.2, 1.21), "before", device="gpu", host=B),
        *runs_of(NOW, "before", batch_size=128, host="host-d"),
        *runs_of((1.0, 1.0, 1.0), "before", model="logistic", batch_size=32),
        *runs_of((1.0, 1.0), "before", batch_size=16),
        *runs_of((1.0, 1.1), "before", batch_size=32),
    ]
    return compared(current, before)


def test_the_comparison_to_be_read_is_as_it_was_written_down() -> None:
    assert markdown(one_of_each_verdict(), "../results-*before*") == EXPECTED.read_text(encoding="utf-8")


def test_the_tables_rows_are_the_cells_in_order() -> None:
    rows = rows_of(baseline.table(one_of_each_verdict()))
    assert [(row["model"], row["batch_size"], row["device"], row["verdict"]) for row in rows] == [
        ("conv", 16, "cpu", "no longer completes"),
        ("conv", 32, "cpu", "completes less often"),
        ("conv", 64, "cpu", "only in current"),
        ("conv", 128, "cpu", "only in baseline"),
        ("conv", 512, "cpu", "slower"),
        ("conv", 512, "gpu", "faster"),
        ("logistic", 32, "cpu", "no difference shown"),
        ("logistic", 512, "cpu", "too few runs"),
        ("lstm", 512, "cpu", "not comparable"),
    ]


def test_a_row_has_both_sides_with_their_intervals() -> None:
    row = rows_of(baseline.table(one_of_each_verdict()))[4]
    assert row == pytest.approx(
        {
            "model": "conv",
            "batch_size": 512,
            "device": "cpu",
            "host": "amd-epyc-2t-1a2b3c4d",
            "baseline_host": "amd-epyc-2t-1a2b3c4d",
            "verdict": "slower",
            "ratio": 1.2000122,
            "ratio_low": 1.1749135,
            "ratio_high": 1.2256471,
            "train_seconds_per_epoch": 11.9997222,
            "train_seconds_per_epoch_low": 11.7538614,
            "train_seconds_per_epoch_high": 12.2507258,
            "n": 3,
            "baseline_train_seconds_per_epoch": 9.9996667,
            "baseline_train_seconds_per_epoch_low": 9.7543121,
            "baseline_train_seconds_per_epoch_high": 10.2511928,
            "baseline_n": 3,
            "reasons": "",
            "flags": "other_load:3",
            "baseline_flags": "",
        }
    )


def test_a_row_of_one_side_alone_knows_nothing_of_the_other() -> None:
    row = rows_of(baseline.table(one_of_each_verdict()))[3]
    known = {name for name, value in row.items() if value is not None}
    seconds = {f"baseline_train_seconds_per_epoch{end}" for end in ("", "_low", "_high")}
    assert known == {
        "model", "batch_size", "device", "baseline_host", "verdict", "baseline_n", "reasons", "baseline_flags", *seconds
    }  # fmt: skip


def test_nothing_that_differs_is_told_as_such() -> None:
    comparison = compared(runs_of(NOW), runs_of(NOW))
    assert markdown(comparison, "x").endswith(
        "\n\n3 runs are the same in both sets: a run compared with itself shows nothing.\n\n## What else differs\n\n"
        "Software and drivers are the same, and a fixed computation before each run is not shown to have taken longer "
        "or shorter by more than 5 %.\n"
    )


def test_one_run_that_is_in_both_sets_is_told() -> None:
    both = runs_of((10.0,))
    assert "\n\n1 run is the same in both sets: " in markdown(compared(both, both), "x")


def test_a_machine_that_computed_faster_than_another_is_told_with_both() -> None:
    comparison = compared(runs_of(NOW, host=A, canary_seconds=0.1), runs_of(NOW, "before", host=B, canary_seconds=0.2))
    told = (
        "The machine itself computed faster: a fixed computation before each run took 50 % less on host-a than on "
        "host-b."
    )
    text = markdown(comparison, "x")
    assert told in text
    assert (
        "Baseline: x. Compared across machines: host-a now, host-b in the baseline. A ratio then is that of the "
        "machines as well.\n"
    ) in text


def test_sets_without_a_cell_in_common_promise_nothing() -> None:
    text = markdown(compared(runs_of(NOW, model="lstm"), runs_of(NOW, "before")), "x")
    assert "\n\nBaseline: x. No cell is in both sets.\n\n" in text
    assert "differs from it by more than 3 %.\n\n## What else differs" in text


def test_the_smallest_difference_is_told_and_a_ratio_at_it_is_not_called() -> None:
    comparison = compared(runs_of((10.3, 10.3)), runs_of((10.0, 10.0), "before"), 3.5)
    assert "by more than 3.5 %." in markdown(comparison, "x")
    assert comparison.cells[0]["verdict"] == "no difference shown"


def test_two_machines_are_named_in_a_row_where_several_are_compared() -> None:
    current = [*runs_of(NOW, host=A), *runs_of(NOW, host=C, batch_size=64)]
    before = [*runs_of(NOW, "before", host=B), *runs_of(NOW, "before", host=C, batch_size=64)]
    text = markdown(compared(current, before), "x")
    assert re.search(r"\| host-a / host-b +\| no difference shown", text)
    assert re.search(r"\| host-c +\| no difference shown", text)


@pytest.mark.parametrize(
    ("current", "before", "named"),
    [
        (runs_of(NOW), runs_of(NOW, "before"), False),
        (runs_of(NOW), [*runs_of(NOW, "before"), *runs_of(NOW, "before", batch_size=64)], True),
        (
            [*runs_of(NOW), *runs_of(NOW, batch_size=64, host=B)],
            [*runs_of(NOW, "before"), *runs_of(NOW, "before", batch_size=64, host=B)],
            True,
        ),
    ],
    ids=["one host", "a cell of one set alone", "two hosts"],
)
def test_hosts_have_a_column_where_a_cell_could_be_of_several(current: Any, before: Any, *, named: bool) -> None:
    header = re.search(r"^\| Model.*$", markdown(compared(current, before), "x"), re.MULTILINE)
    assert header is not None
    columns = [column.strip() for column in header[0].strip("|").split("|")]
    assert columns == [
        *["Model", "Batch size", "Device", *(["Host"] if named else []), "Verdict", "Now / before"],
        *["Seconds an epoch now", "before", "Runs now / before", "Flags"],
    ]


def test_cells_that_were_compared_without_more_ado_have_no_reasons_below_the_table() -> None:
    assert "\n- " not in markdown(compared(runs_of(NOW), runs_of(NOW, "before")), "x")


def test_machines_compared_with_themselves_and_with_others_are_all_named() -> None:
    current, before = (
        [
            *runs_of(NOW, sitting, host="host-s"),
            *runs_of(NOW, sitting, batch_size=64, host=hosts[0]),
            *runs_of(NOW, sitting, batch_size=32, host=hosts[1]),
        ]
        for sitting, hosts in (("now", (A, C)), ("before", (B, "host-d")))
    )
    assert (
        "\n\nBaseline: x. Both measured on host-s. Compared across machines: host-c now, host-d in the baseline; "
        "host-a now, host-b in the baseline. A ratio then is that of the machines as well.\n\n"
    ) in markdown(compared(current, before), "x")


def test_the_flags_of_both_sides_stand_in_a_row() -> None:
    current, before = runs_of(NOW, flags=["other_load"]), runs_of(NOW, "before", flags=["cpu_steal"])
    assert "| now: other_load:3; before: cpu_steal:3 |" in markdown(compared(current, before), "x")


@pytest.mark.parametrize(("seconds", "told"), [(0.21, False), (0.4, True)])
def test_what_the_fixed_computation_took_is_told_beyond_5_percent(seconds: float, *, told: bool) -> None:
    comparison = compared(runs_of(NOW, canary_seconds=seconds), runs_of(NOW, "before", canary_seconds=0.2))
    text = "took 100 % longer on amd-epyc-2t-1a2b3c4d than in the baseline."
    assert (text in markdown(comparison, "x")) is told
