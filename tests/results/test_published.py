"""The results of 2017 come as rows of the tables of runs and epochs; a broken publication is refused by place."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from metrics_builder import make_record
from trainbench.errors import InputError
from trainbench.files.bounded_file import printable
from trainbench.results import measured, tables
from trainbench.results.published import read_published
from trainbench.results.runs_table import RUN_COLUMNS

SHIPPED = Path(__file__).parents[2] / "resources" / "published"
CELLS = "published_2017_cells.csv"
EPOCHS = "published_2017_epochs.csv"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of what ships, to break."""
    return Path(shutil.copytree(SHIPPED, tmp_path / "published"))


def published_seconds(model: str, batch_size: int, device: str) -> float:
    runs = read_published(SHIPPED).runs.set_index(["model", "batch_size", "device"])
    return float(runs.loc[(model, batch_size, device), "train_seconds_per_epoch"])


@pytest.mark.parametrize(("model", "batch_size", "speedup"), [("conv", 512, 12.4), ("logistic", 128, 1.47)])
def test_the_published_cells_give_the_speedups_of_the_post(model: str, batch_size: int, speedup: float) -> None:
    ratio = published_seconds(model, batch_size, "cpu") / published_seconds(model, batch_size, "gpu")
    assert ratio == pytest.approx(speedup, rel=0.005)


def test_every_published_cell_is_one_completed_run_of_its_own() -> None:
    runs = read_published(SHIPPED).runs
    assert (len(runs), runs["run_id"].nunique(), set(runs["status"]), set(runs["host"])) == (
        14,
        14,
        {"completed"},
        {"published-2017"},
    )


def test_the_run_ids_are_the_same_whenever_they_are_read() -> None:
    assert read_published(SHIPPED).runs["run_id"].tolist() == read_published(SHIPPED).runs["run_id"].tolist()


def test_samples_a_second_count_the_images_of_whole_batches() -> None:
    run = read_published(SHIPPED).runs.query("model == 'conv' and batch_size == 512 and device == 'gpu'").iloc[0]
    assert run["samples_per_second"] == pytest.approx(54_784 / 2.63)


def test_samples_a_second_are_unknown_where_the_number_of_images_is(folder: Path) -> None:
    edit_descriptor(folder, training_images=None)
    assert read_published(folder).runs["samples_per_second"].isna().all()


def test_what_was_not_published_is_unknown() -> None:
    run = read_published(SHIPPED).runs.query("model == 'conv' and batch_size == 512 and device == 'cpu'").iloc[0]
    unknown = ["gpu_utilization_percent", "final_accuracy", "peak_memory_mib", "threads", "startup_seconds"]
    assert run[unknown].isna().all()


def test_epochs_are_counted_from_one() -> None:
    epochs = read_published(SHIPPED).epochs
    assert (len(epochs), epochs["epoch"].min(), epochs["epoch"].max()) == (81, 1, 100)


@pytest.mark.parametrize("table", ["runs", "epochs"])
def test_published_rows_join_those_of_runs_without_a_change_of_types(table: str) -> None:
    ours = getattr(measured.measured([make_record()]), table)
    joined = pd.concat([ours, getattr(read_published(SHIPPED), table)], ignore_index=True)
    assert joined.dtypes.to_dict() == ours.dtypes.to_dict()


def test_published_rows_survive_the_csv_file(tmp_path: Path) -> None:
    runs = read_published(SHIPPED).runs
    tables.write_csv(runs, tmp_path / "runs.csv")
    pd.testing.assert_frame_equal(tables.read_csv(tmp_path / "runs.csv", RUN_COLUMNS), runs)


# --- refusals ---


def edit_descriptor(folder: Path, **changes: object) -> None:
    path = folder / "published.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **changes}), encoding="utf-8")


def refusal_of(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_published(folder)
    return str(caught.value)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"format": "another"}, "at format"),
        ({"format_version": 2}, "at format_version"),
        ({"host": "../x"}, "at host"),
        ({"hostname": "<b>"}, "at hostname"),
        ({"cells": "../cells.csv"}, "at cells"),
        ({"training_images": 0}, "at training_images"),
        ({"devices": {"gpu": {"kind": "tpu", "name": "x", "hardware": "y"}}}, "at devices/gpu/kind"),
        ({"extra": 1}, "'extra' was unexpected"),
        ({"cells": "other.csv"}, "other.csv cannot be used: the file cannot be read (No such file or directory)"),
    ],
)
def test_a_broken_descriptor_is_refused_by_place(folder: Path, changes: dict[str, object], told: str) -> None:
    edit_descriptor(folder, **changes)
    assert told in refusal_of(folder)


@pytest.mark.parametrize("content", [b"", b"[" * 100_000, b"\xff", b"{"])
def test_a_descriptor_that_is_no_json_is_refused_by_name(folder: Path, content: bytes) -> None:
    (folder / "published.json").write_bytes(content)
    assert f"{folder}/published.json cannot be used: the file is not" in refusal_of(folder)


def replace(old: str, new: str) -> Callable[[str], str]:
    return lambda text: text.replace(old, new, 1)


@pytest.mark.parametrize(
    ("file", "damage", "told"),
    [
        (CELLS, replace("batch_size,", "size,"), "has the columns 'model,size,"),
        (
            CELLS,
            replace("logistic,128,gpu,0.689136", "logistic,128,gpu,-1"),
            "line 2, column seconds_per_epoch, is '-1'",
        ),
        (CELLS, replace("0.689136", "nan"), "line 2, column seconds_per_epoch, is 'nan'"),
        (CELLS, replace("0.689136", ""), "line 2, column seconds_per_epoch, is ''"),
        (CELLS, replace("logistic,128,cpu", "<b>,128,cpu"), "line 3, column model, is '<b>'"),
        (CELLS, replace("logistic,128,cpu", "logistic,0,cpu"), "line 3, column batch_size, is '0'"),
        (CELLS, replace("logistic,128,cpu", "logistic,128,tpu"), "line 3, column device, is 'tpu', expected one that"),
        (CELLS, replace("logistic,128,cpu", "logistic,128,gpu"), "line 3, column model, repeats the cell logistic 128"),
        (CELLS, replace("0.9234", "92.34"), "line 2, column final_accuracy, is '92.34', expected a number from 0 to 1"),
        (CELLS, replace("244.2", "inf"), "line 2, column cpu_percent, is 'inf'"),
        (CELLS, replace(",20\n", "\n"), "has 8 values in line 2, expected 9"),
        (CELLS, replace("logistic", '"logistic'), "is not valid CSV"),
        (CELLS, lambda text: text * 2000, "is larger than 1 MiB"),
        (EPOCHS, replace(",99,", ",-1,"), "line 2, column epoch, is '-1'"),
        (EPOCHS, replace("logistic,128,gpu", "logistic,64,gpu"), "line 2, column model, belongs to no cell"),
        (EPOCHS, replace("68.913616", "9" * 5000), "line 2, column elapsed_seconds, is '9999"),
    ],
)
def test_a_broken_table_is_refused_by_line_and_column(
    folder: Path, file: str, damage: Callable[[str], str], told: str
) -> None:
    path = folder / file
    path.write_text(damage(path.read_text(encoding="utf-8")), encoding="utf-8")
    refusal = refusal_of(folder)
    assert (str(path) in refusal, told in refusal) == (True, True), refusal


def known(table: pd.DataFrame, row: int) -> dict[str, object]:
    """Give what is known in a row of a table."""
    return {name: value for name, value in tables.rows_of(table)[row].items() if value is not None}


def test_a_published_cell_is_a_run_with_what_was_published_of_it() -> None:
    published = read_published(SHIPPED)
    cell = {"model": "logistic", "batch_size": 128, "device": "gpu", "repeat": 1, "host": "published-2017"}
    cell |= {"run_id": hashlib.sha256(b"published-2017/logistic/128/gpu").hexdigest()[:32]}
    assert known(published.runs, 0) == cell | {
        "hostname": "two servers of 2017",
        "status": "completed",
        "framework": "tensorflow",
        "precision": "float32",
        "device_kind": "gpu",
        "device_name": "NVIDIA TITAN X",
        "epochs": 100,
        "train_seconds_per_epoch": 0.689136,
        "samples_per_second": 54_912 / 0.689136,
        "final_accuracy": 0.9234,
        "cpu_percent": 244.2,
        "gpu_utilization_percent": 20.0,
        "flags": "",
    }
    assert known(published.epochs, 0) == cell | {"epoch": 100, "accuracy": 0.9234, "elapsed_seconds": 68.913616}


def test_a_published_host_and_what_its_seconds_cover_are_told_as_they_were_published() -> None:
    published = read_published(SHIPPED)
    assert published.host == {
        "host": "published-2017",
        "hostnames": "two servers of 2017",
        "cpu_model": "a server with 128 CPU cores, the model not published",
        "gpus": "a server with four NVIDIA TITAN X cards, of which a run trained on one",
        "software": "tensorflow",
        "runs": 14,
    }
    assert published.note == (
        "published-2017: measured in 2017 for a blog post that compared two servers on three MNIST models, TensorFlow "
        "1; CPU and GPU use read by hand from top and nvidia-smi. Seconds an epoch cover, for logistic: training and "
        "an evaluation on all 10,000 test images; conv: training and an evaluation on 256 test images; lstm: training "
        "and an evaluation on 256 test images."
    )


def test_a_framework_is_told_with_its_version_and_devices_of_a_kind_with_each_other(folder: Path) -> None:
    devices = json.loads((folder / "published.json").read_text(encoding="utf-8"))["devices"]
    edit_descriptor(
        folder, framework_version="1.0", devices={name: one | {"kind": "cpu"} for name, one in devices.items()}
    )
    host = read_published(folder).host
    assert host["software"] == "tensorflow 1.0"
    assert host["cpu_model"] == f"{devices['gpu']['hardware']}; {devices['cpu']['hardware']}"
    assert host["gpus"] is None


def test_published_results_may_have_no_epochs(folder: Path) -> None:
    edit_descriptor(folder, epochs=None)
    assert len(read_published(folder).epochs) == 0


def test_a_batch_larger_than_the_training_set_leaves_samples_a_second_unknown(folder: Path) -> None:
    edit_descriptor(folder, training_images=256)
    rates = read_published(folder).runs.set_index("batch_size")["samples_per_second"]
    assert rates.loc[512].isna().all()
    assert rates.loc[256].notna().all()


def test_a_refusal_of_published_results_names_the_file_and_what_to_do(folder: Path) -> None:
    edit_descriptor(folder, format="other")
    with pytest.raises(InputError) as caught:
        read_published(folder)
    refusal = str(caught.value)
    assert refusal.startswith(f"the published results {folder}/published.json cannot be used: the file does not match")
    assert refusal.endswith("; correct it or take its folder out of sources")


def test_a_refusal_of_a_published_value_names_its_line_and_what_to_do(folder: Path) -> None:
    path = folder / CELLS
    header, first, *rest = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([header, first.replace("logistic", "<" * 100), *rest]), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_published(folder)
    found = printable(f"is '{'<' * 100}'", 80)
    assert str(caught.value) == (
        f"the published results {path} cannot be used: line 2, column model, {found}, "
        "expected a name of letters, digits, '.', '_' and '-'; correct the file or take its folder out of sources"
    )
