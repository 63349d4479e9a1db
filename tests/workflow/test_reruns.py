"""What runs again after which change: one case for each line of the table in docs/reruns.md, on a real small study.

Where a study of another size must be finished first, its runs are copies of measured ones that Snakemake records as its
own (--touch).
"""

import gzip
import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pandas as pd
import pytest

from metrics_builder import make_record
from results_folder import write_results

REPOSITORY = Path(__file__).resolve().parents[2]
TABLE = (REPOSITORY / "docs" / "reruns.md").read_text(encoding="utf-8")
NOTHING: dict[str, int] = {}
TWO_DEVICES = ("devices=[cpu,cpu-1t]", "device_settings={cpu-1t: {kind: cpu, threads: 1}}")


def again(train=0, tables=1, figure=5, timelines=1, page=1):
    """The jobs of a dry run."""
    jobs = {"train": train, "tables": tables, "figure": figure, "timelines": timelines, "page": page, "all": 1}
    return {rule: count for rule, count in jobs.items() if count}


@dataclass(frozen=True)
class Change:
    """What is changed once the small study has finished: its config, its files, or both.

    `before` finishes a study of another size first.
    """

    planned: dict[str, int]
    config: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    before: Callable[..., None] | None = None
    edit: Callable[..., None] | None = None


def finish(study, *config):
    """Have every run of `config` there and up to date: copies of measured runs where it has none."""
    runs = study.folder / "results/runs"
    for source in list(runs.glob("*/*/cpu/1")):
        for copy in (source.with_name("2"), source.parents[1] / "cpu-1t/1"):
            shutil.copytree(source, copy, dirs_exist_ok=True)
    touched = study.study("--touch", "--forceall", "--config", *config)
    assert touched.returncode == 0, touched.stderr
    assert study.planned("--config", *config).keys() <= {"figure", "timelines", "page", "all"}


def with_two_repeats(study):
    finish(study, "repeats=2")


def with_two_devices(study):
    finish(study, *TWO_DEVICES)


def with_two_models(study):
    shutil.rmtree(study.folder / "results/runs/lstm")
    finish(study, "models=[logistic,conv]")


def add_source(study):
    write_results(study.folder / "server-b", [make_record("logistic", 16, host="intel-xeon-8t-5e6f7a8b")])


def add_baseline(study):
    write_results(study.folder / "before", [make_record("logistic", 16)])


def another_label(study):
    labels = study.folder / "data/train-labels-idx1-ubyte"
    content = bytearray(labels.read_bytes())
    content[-1] = 3 - content[-1]
    labels.write_bytes(content)


def pack(study):
    images = study.folder / "data/train-images-idx3-ubyte"
    images.with_name(f"{images.name}.gz").write_bytes(gzip.compress(images.read_bytes()))
    images.unlink()


def move_data(study):
    (study.folder / "data").rename(study.folder / "moved")


def add_sums(study):
    data = study.folder / "data"
    sums = "".join(f"{sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in data.glob("*-ubyte"))
    (data / "SHA256SUMS").write_text(sums)


def delete_prepared(study):
    shutil.rmtree(study.folder / "results/dataset")


def comment(*paths):
    """Append a comment to files below workflow/scripts."""

    def edit(study):
        for path in paths:
            with (study.folder / "workflow/scripts" / path).open("a") as file:
                file.write("# another line\n")

    return edit


def set_times(study):
    """Make scripts, data and settings newer than all results, of which some get times from long before the others."""
    for path in study.folder.rglob("*"):
        if path.is_file() and ".snakemake" not in path.parts:
            path.touch()
    for path in (study.folder / "results").rglob("*.json"):
        os.utime(path, (0, 0))
    for path in (study.folder / "results/dataset").iterdir():
        path.touch()


def lose_times(study):
    """Copy every file anew, tables first."""
    shutil.copytree(study.folder, study.folder.with_name("copied"), copy_function=shutil.copyfile)
    for part in ("results/tables", "results/runs"):
        shutil.copytree(
            study.folder / part,
            study.folder.with_name("copied") / part,
            dirs_exist_ok=True,
            copy_function=shutil.copyfile,
        )
    shutil.rmtree(study.folder)
    study.folder.with_name("copied").rename(study.folder)


def install_another_tensorflow(study):
    """Let another version be found first where the rules look for what is installed."""
    for name in ("tensorflow", "tensorflow_cpu"):
        package = study.folder / f"workflow/scripts/{name}-9.9.9.dist-info"
        package.mkdir()
        (package / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 9.9.9\n")


def delete(*paths):
    def edit(study):
        for path in paths:
            (study.folder / path).unlink()

    return edit


def delete_records(study):
    shutil.rmtree(study.folder / ".snakemake")


def edit_metrics(study):
    path = study.folder / "results/runs/lstm/16/cpu/1/metrics.json"
    metrics = json.loads(path.read_text())
    metrics["epochs"][0]["accuracy"] /= 2
    path.write_text(json.dumps(metrics))


RUN = "results/runs/lstm/16/cpu/1"
CHANGES = {
    "the epochs of one model": Change(again(train=2), ("model_settings={conv: {epochs: 4}}",)),
    "a hyperparameter of one model": Change(again(train=2), ("model_settings={lstm: {learning_rate: 0.002}}",)),
    "one more batch size": Change(again(train=3), ("batch_sizes=[16,32,64]",)),
    "one more repeat": Change(again(train=6), ("repeats=2",)),
    "one more device": Change(again(train=6, figure=7), TWO_DEVICES),
    "one more model": Change(again(train=2), before=with_two_models),
    "one batch size less": Change(again(), ("batch_sizes=[32]",)),
    "one repeat less": Change(again(), before=with_two_repeats),
    "one device less": Change(again(), before=with_two_devices),
    "one model less": Change(again(), ("models=[logistic,conv]",)),
    "another order of models, batch sizes or devices": Change(again(), ("batch_sizes=[32,16]",)),
    "an attribute of one device, such as its threads": Change(
        again(train=6, figure=7),
        ("devices=[cpu,cpu-1t]", "device_settings={cpu-1t: {kind: cpu, threads: 2}}"),
        before=with_two_devices,
    ),
    "`seed`": Change(again(train=6), ("seed=1",)),
    "`isolation`": Change(again(train=6), ("isolation=host",)),
    "`monitor.interval_seconds`": Change(again(train=6), ("monitor={interval_seconds: 0.2}",)),
    "`dataset.validation_samples`": Change(again(train=6), ("dataset={validation_samples: 41}",)),
    "`prices` or `currency`": Change(again(), ("prices={cpu: 0.4}", "currency=USD")),
    "`target_accuracy`": Change(again(), ("target_accuracy={conv: 0.5}",)),
    "`reference`": Change(again(), ("reference={device: gpu}",)),
    "`sources`, or names, sizes or times of files in them": Change(
        again(figure=8), ("sources=[server-b]",), edit=add_source
    ),
    "`baseline` or `compare.smallest_difference_percent`": Change(
        NOTHING, ("baseline=before", "compare={smallest_difference_percent: 7}"), edit=add_baseline
    ),
    "contents of a data file": Change(again(train=6), edit=another_label),
    "the data files packed or unpacked": Change(again(train=6), edit=pack),
    "the data files in another folder": Change(NOTHING, ("dataset={path: moved}",), edit=move_data),
    "`SHA256SUMS` of the data files": Change(NOTHING, edit=add_sums),
    "the prepared data set deleted": Change(NOTHING, edit=delete_prepared),
    "code of the training path, its script included": Change(again(train=6), edit=comment("train.py")),
    "the engine of one framework": Change(again(train=6), edit=comment("trainbench/engines/tensorflow/engine.py")),
    "the engine of another framework, or a new one and its line": Change(
        NOTHING, edit=comment("trainbench/engines/own.py", "trainbench/engines/__init__.py")
    ),
    "code of the tables, its script included": Change(again(), edit=comment("make_tables.py")),
    "code of the figures, its scripts included": Change(
        again(tables=0), edit=comment("draw_timelines.py", "trainbench/figures/saving.py")
    ),
    "code of the page, its script, its template": Change(
        again(tables=0, figure=0, timelines=0), edit=comment("make_report.py")
    ),
    "code of `snakemake compare`, or of the checks of the config": Change(
        NOTHING, edit=comment("compare.py", "trainbench/plan/configuration.py", "trainbench/rules/so_far.py")
    ),
    "times of any file, older or newer": Change(NOTHING, edit=set_times),
    "everything copied without its times": Change(NOTHING, edit=lose_times),
    "another version of TensorFlow, Python or a package": Change(NOTHING, edit=install_another_tensorflow),
    "`--cores`, `--resources`, `--set-resources`": Change(
        NOTHING, arguments=("--cores", "1", "--resources", "gpu=0", "--set-resources", "train:gpu_wait_seconds=1")
    ),
    "a run's metrics file deleted": Change(again(train=1), edit=delete(f"{RUN}/metrics.json")),
    "a run's samples deleted": Change(NOTHING, edit=delete(f"{RUN}/samples.csv")),
    "a run's metrics file edited": Change(again(), edit=edit_metrics),
    "a table deleted": Change(again(), edit=delete("results/tables/costs.csv")),
    "a figure deleted": Change(again(tables=0, figure=1, timelines=0), edit=delete("results/figures/roofline.png")),
    "a timeline deleted": Change(again(tables=0, figure=0), edit=delete("results/figures/timelines/lstm_16_cpu_1.svg")),
    "the page deleted": Change(again(tables=0, figure=0, timelines=0), edit=delete("results/report.html")),
    "`.snakemake` deleted, or results copied without it": Change(again(), edit=delete_records),
}


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of the finished study that a test may change."""
    shutil.copytree(finished.folder, tmp_path / "study", symlinks=True)
    return type(finished)(tmp_path / "study")


def test_a_finished_study_has_nothing_to_do(finished):
    assert finished.planned() == NOTHING


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_change_runs_again_what_it_alters_and_nothing_else(finished, change, request):
    study = request.getfixturevalue("copied") if change.before or change.edit else finished
    for edit in (change.before, change.edit):
        if edit is not None:
            edit(study)
    config = ("--config", *change.config) if change.config else ()
    assert study.planned(*change.arguments, *config) == change.planned


def test_every_line_of_the_table_has_its_case_and_every_case_its_line():
    lines = re.findall(r"^\| (.+?) \|", TABLE, re.MULTILINE)
    assert lines[0] == "change"
    assert lines[1:] == list(CHANGES)


# --- one line of the table for each of several files or kinds ---


@pytest.mark.parametrize(
    "module", ["run/training.py", "run/monitor.py", "engines/shared/interface.py", "records/metrics.schema.json"]
)
def test_whatever_the_training_path_is_made_of_counts_as_its_code(copied, module):
    path = copied.folder / "workflow/scripts/trainbench" / module
    path.write_text(f"{path.read_text()}\n")
    assert copied.planned()["train"] == 6


def test_a_missing_run_is_measured_alone_although_the_data_are_prepared_again(copied):
    delete_prepared(copied)
    assert copied.planned("--config", "batch_sizes=[16,32,64]") == again(train=3)


def test_without_records_too_the_runs_of_a_changed_model_are_measured_again(copied):
    delete_records(copied)
    assert copied.planned("--config", "model_settings={conv: {epochs: 4}}") == again(train=2)


def test_without_records_too_runs_are_measured_again_after_a_change_of_the_training_code(copied):
    delete_records(copied)
    comment("trainbench/run/training.py")(copied)
    assert copied.planned() == again(train=6)


# --- nothing outdated stays ---

TWO_BY_TWO = ("models=[logistic]", "batch_sizes=[16,32]", "repeats=2", *TWO_DEVICES)
ONE_DEVICE = ("models=[logistic]", "batch_sizes=[16]", "repeats=2", "devices=[cpu]")
SPEEDUP = "results/figures/speedup.svg"


@pytest.fixture(scope="module")
def shrunk(new_checkout):
    """A study of two batch sizes on two devices of which one of each is then no longer asked for.

    Its runs are built: what is made of them is the same. One of them was measured with another TensorFlow.
    """
    study = new_checkout()
    built = []
    for batch_size in (16, 32):
        for device in ("cpu", "cpu-1t"):
            records = [make_record("logistic", batch_size, device, repeat) for repeat in (1, 2)]
            records[1]["software"]["versions"]["tensorflow"] = "2.20.0"
            built += write_results(study.folder / "results", records)
    for path in built:
        path.with_name("samples.csv").touch()
    study.adopt(built, *TWO_BY_TWO)
    options = ("--cores", "2", "--configfile", "study.yaml", "--config")
    larger = study.snakemake("results/tables/runs.csv", SPEEDUP, *options, *TWO_BY_TWO)
    assert larger.returncode == 0, larger.stderr
    assert (study.folder / SPEEDUP).exists()
    (study.folder / "results/figures/mine.svg").touch()
    smaller = study.snakemake("results/tables/runs.csv", *options, *ONE_DEVICE)
    assert smaller.returncode == 0, smaller.stderr
    return study


def tables_with(study, text):
    return [path.name for path in (study.folder / "results/tables").iterdir() if text in path.read_text()]


def test_a_device_that_is_no_longer_asked_for_is_in_no_table(shrunk):
    assert tables_with(shrunk, "cpu-1t") == []


def test_a_batch_size_that_is_no_longer_asked_for_is_in_no_table(shrunk):
    with_batch_sizes = [
        table
        for path in (shrunk.folder / "results/tables").glob("*.csv")
        if path.stat().st_size > 1 and "batch_size" in (table := pd.read_csv(path)).columns
    ]
    assert with_batch_sizes
    assert {batch_size for table in with_batch_sizes for batch_size in table["batch_size"]} == {16}


def test_a_figure_that_is_no_longer_asked_for_is_deleted_and_files_of_other_names_stay(shrunk):
    assert [path.name for path in (shrunk.folder / "results/figures").iterdir()] == ["mine.svg"]


def test_runs_that_are_no_longer_asked_for_stay_on_disk(shrunk):
    assert len(list((shrunk.folder / "results/runs").rglob("metrics.json"))) == 8


def test_versions_that_differ_are_told_and_measure_nothing_again(shrunk):
    checks = pd.read_csv(shrunk.folder / "results/tables/checks.csv")
    assert (checks["name"] == "versions_differ").sum() == 2
