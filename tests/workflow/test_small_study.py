import itertools
import json
import re
import shutil
import xml.etree.ElementTree as ET
from datetime import datetime, timedelta

import pandas as pd
import pytest

from trainbench.machine import host
from trainbench.records import record

CELLS = [(model, batch_size) for model in ("logistic", "conv", "lstm") for batch_size in (16, 32)]
TRAINED = 160  # of 200 images, 40 are left out for validation


def metrics_of(checkout, model="logistic", batch_size=16):
    path = checkout.folder / f"results/runs/{model}/{batch_size}/cpu/1/metrics.json"
    return record.read(path)


def test_every_run_leaves_a_metrics_file_samples_and_a_log(finished):
    for model, batch_size in CELLS:
        folder = finished.folder / f"results/runs/{model}/{batch_size}/cpu/1"
        assert record.read(folder / "metrics.json")["status"] == "completed"
        assert (folder / "samples.csv").read_text().startswith("monotonic_seconds,cpu_percent,")
        assert "epoch 1/" in (folder / "train.log").read_text()


def test_a_run_says_what_was_asked_for_and_what_really_ran(finished):
    metrics = metrics_of(finished)
    assert metrics["settings"]["epochs"] == len(metrics["epochs"]) == 3
    assert metrics["settings"]["hyperparameters"] == {"learning_rate": 0.05}
    assert metrics["samples_trained"] == 3 * TRAINED
    assert metrics["dataset"]["classes"] == 4
    assert (metrics["dataset"]["height"], metrics["dataset"]["width"]) == (9, 14)
    assert metrics["device_used"]["parameters_on"] == ["/device:CPU:0"]
    assert metrics["software"]["versions"]["tensorflow"]
    assert metrics["software"]["flags"]["environment"]["CUDA_VISIBLE_DEVICES"] == ""


def test_a_cpu_run_is_given_all_usable_cores_and_no_more_and_trains_with_them(finished):
    usable = min(32, host.inventory().usable_threads)
    used = metrics_of(finished)["device_used"]
    assert (used["cores_given"], max(used["threads"].values())) == (usable, usable)


def test_no_two_cpu_runs_overlap_however_many_cores_snakemake_was_given(finished):
    runs = [metrics_of(finished, *cell) for cell in CELLS]
    begins = [datetime.fromisoformat(run["started_at"]) for run in runs]
    ends = [begin + timedelta(seconds=run["clock"]["total_seconds"]) for begin, run in zip(begins, runs, strict=True)]
    turns = sorted(zip(begins, ends, strict=True))
    assert [(end, begin) for (_, end), (begin, _) in itertools.pairwise(turns) if begin < end] == []


def test_the_clock_is_split_and_its_parts_fit_into_the_whole(finished):
    clock = metrics_of(finished, "conv")["clock"]
    parts = [value for part, value in clock.items() if part != "total_seconds"]
    assert all(value > 0 for value in parts)
    assert sum(parts) <= clock["total_seconds"]


def test_the_monitor_samples_while_the_epochs_train(finished):
    metrics = metrics_of(finished, "lstm")
    samples = pd.read_csv(finished.folder / "results/runs/lstm/16/cpu/1/samples.csv")
    first_epoch_begins = metrics["epochs"][0]["train_window_monotonic_seconds"][0]
    assert samples["monotonic_seconds"].iloc[0] < first_epoch_begins


def test_cells_differ_in_their_seeds(finished):
    assert len({metrics_of(finished, *cell)["seed"] for cell in CELLS}) == len(CELLS)


def test_the_models_learn(finished):
    assert metrics_of(finished)["epochs"][-1]["accuracy"] > 0.5  # of 4 classes


def test_the_tables_hold_a_row_a_run_an_epoch_and_a_cell(finished):
    tables = finished.folder / "results/tables"
    assert len(pd.read_csv(tables / "runs.csv")) == 6
    epochs = pd.read_csv(tables / "epochs.csv")
    assert len(epochs) == 2 * (3 + 2 + 2)
    leading = "model,batch_size,device,repeat,host,epoch,train_seconds,eval_seconds,loss,accuracy"
    assert ",".join(epochs.columns).startswith(leading)
    assert len(pd.read_csv(tables / "cells.csv")) == 6


def test_the_ceilings_of_the_device_are_measured_after_the_last_epoch(finished):
    ceilings = metrics_of(finished)["ceilings"]
    assert ceilings["flop_per_second"] > 0
    assert ceilings["bytes_per_second"] > 0


def test_every_cell_stands_below_its_roofs_in_the_roofline_table(finished):
    roofline = pd.read_csv(finished.folder / "results/tables/roofline.csv")
    assert len(roofline) == 6
    assert roofline["bound"].isin(["compute", "memory", "overhead", "disturbed"]).all()


def test_a_number_can_be_followed_from_the_run_to_the_comparison(finished):
    metrics = metrics_of(finished)
    steady = sorted(epoch["train_seconds"] for epoch in metrics["epochs"][1:])
    comparison = pd.read_csv(finished.folder / "results/tables/comparison.csv")
    chosen = comparison.query("model == 'logistic' and batch_size == 16 and measure == 'train_seconds_per_epoch'")
    assert chosen["cpu"].item() == pytest.approx(sum(steady) / 2, rel=1e-9)


def test_the_comparison_is_shown_at_the_end_with_the_way_to_the_results(finished):
    shown = (finished.folder / "stdout.txt").read_text()
    for model, batch_size in CELLS:
        assert f"## {model}, batch size {batch_size}" in shown
    assert "results/tables/" in shown
    assert "results/figures/" in shown
    assert "results/report.html" in shown


def test_the_terminal_shows_the_progress_of_each_run(finished):
    shown = (finished.folder / "stderr.txt").read_text()
    assert "conv 32 on cpu, repeat 1: epoch 2/2:" in shown


@pytest.mark.parametrize(
    "name", ["seconds_per_epoch", "accuracy_over_epochs", "accuracy_over_time", "cpu_percent", "roofline"]
)
def test_each_figure_is_there_as_svg_and_png(finished, name):
    figures = finished.folder / "results/figures"
    assert ET.parse(figures / f"{name}.svg").getroot().tag.endswith("svg")  # noqa: S314 - our own file
    assert (figures / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_the_first_run_of_each_cell_has_a_timeline(finished):
    names = {path.name for path in (finished.folder / "results/figures/timelines").iterdir()}
    assert names == {f"{model}_{size}_cpu_1.{kind}" for model, size in CELLS for kind in ("svg", "png")}


def test_a_timeline_of_any_other_run_is_drawn_on_request(finished):
    target = "results/figures/timelines/lstm_16_cpu_2.svg"
    options = ("--cores", "2", "--configfile", "study.yaml", "--dry-run", "--quiet", "rules")
    run = finished.snakemake(target, *options)
    assert run.returncode == 0, run.stderr
    jobs = dict(re.findall(r"^(train|timelines?|tables) +(\d+)$", run.stdout + run.stderr, re.MULTILINE))
    assert jobs == {"train": "1", "timeline": "1"}


def test_one_device_makes_no_speedup_figure(finished):
    assert not (finished.folder / "results/figures/speedup.svg").exists()


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of the finished study that a test may change."""
    shutil.copytree(finished.folder, tmp_path / "study", symlinks=True)
    return type(finished)(tmp_path / "study")


def test_a_metrics_file_that_breaks_its_schema_is_named_by_the_tables(copied):
    path = copied.folder / "results/runs/lstm/16/cpu/1/metrics.json"
    metrics = json.loads(path.read_text())
    metrics["epochs"][0]["accuracy"] = 7
    path.write_text(json.dumps(metrics))
    run = copied.study()
    assert run.returncode != 0
    sentence = next(line for line in run.stderr.splitlines() if line.startswith("trainbench:"))
    assert "results/runs/lstm/16/cpu/1/metrics.json" in sentence
    assert "epochs/0/accuracy" in sentence
    assert "Traceback" not in run.stderr


def test_a_plan_names_what_of_the_shell_would_change_the_speed_and_is_left_out(finished):
    variables = {"DNNL_VERBOSE": "1", "XLA_FLAGS": "--xla_cpu_enable_fast_math=true", "EDITOR": "ed"}
    for_the_device = "device_settings={cpu: {environment: {XLA_FLAGS: --xla_cpu_enable_fast_math=false}}}"
    run = finished.study("--dry-run", "--config", for_the_device, **variables)
    assert run.returncode == 0, run.stderr
    (told,) = [line for line in (run.stdout + run.stderr).splitlines() if "clean environment" in line]
    assert "without DNNL_VERBOSE. " in told
    assert "device_settings='{cpu: {environment: {DNNL_VERBOSE: ...}}}'" in told


def test_runs_of_a_device_that_gets_an_environment_are_measured_again(finished):
    assert finished.planned("--config", "device_settings={cpu: {environment: {A_VARIABLE: 1}}}")["train"] == 6
