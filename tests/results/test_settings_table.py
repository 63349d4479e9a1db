"""The table of settings holds every value that runs had, and how many had it."""

import pandas as pd
import pytest

from metrics_builder import make_record
from trainbench.results.settings_table import LEFT_OUT, PUBLISHED, SETTING_COLUMNS, Settings
from trainbench.results.tables import read_csv, rows_of, write_csv


@pytest.fixture
def table():
    settings = Settings()
    for record in (
        make_record("conv", repeat=1),
        make_record("conv", repeat=2, settings={"epochs": 7}),
        make_record("lstm", device="gpu"),
    ):
        settings.add(record)
    settings.tell(PUBLISHED, "published-2017", "provenance", "read by hand")
    return settings.table(models=("lstm", "conv"), devices=("gpu", "cpu"))


def values(table, part, name, of=None):
    rows = table[(table["part"] == part) & (table["name"] == name)]
    return [(row.of, row.value, row.runs) for row in rows.itertuples() if of is None or row.of == of]


def test_values_that_differ_stand_side_by_side_with_their_counts(table):
    assert values(table, "model", "epochs", "conv") == [("conv", "2", 1), ("conv", "7", 1)]


def test_models_and_devices_stand_in_the_order_of_the_study(table):
    assert list(dict.fromkeys(table.loc[table["part"] == "model", "of"])) == ["lstm", "conv"]
    assert list(dict.fromkeys(table.loc[table["part"] == "device", "of"])) == ["gpu", "cpu"]


def test_versions_are_those_of_a_host(table):
    assert values(table, "software", "tensorflow") == [("amd-epyc-2t-1a2b3c4d", "2.21.0", 3)]


def test_what_is_unknown_has_no_row(table):
    assert values(table, "software", "cuda") == []


def test_switches_read_as_words(table):
    assert values(table, "software", "tf32") == [("amd-epyc-2t-1a2b3c4d", "off", 3)]


def test_what_differs_from_run_to_run_by_itself_has_no_row(table):
    assert not {"seed", "repeat", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES"} & set(table["name"])


def test_what_was_told_has_no_number_of_runs(table):
    ((of, value, runs),) = values(table, "published", "provenance")
    assert (of, value) == ("published-2017", "read by hand")
    assert pd.isna(runs)


def test_the_table_reads_back_as_it_was_written(table, tmp_path):
    write_csv(table, tmp_path / "settings.csv")
    again = read_csv(tmp_path / "settings.csv", SETTING_COLUMNS)
    assert again["value"].tolist() == table["value"].tolist()


def test_a_variable_that_a_device_sets_is_the_devices_and_one_that_an_earlier_run_inherited_the_softwares():
    settings = Settings()
    own = {"LD_PRELOAD": "a.so"}
    flags = {"environment": {"XLA_FLAGS": "--a", **own}}
    settings.add(make_record(settings={"device": {"environment": own}}, software={"flags": flags}))
    table = settings.table()
    found = table[table["name"].isin(["LD_PRELOAD", "XLA_FLAGS"])]
    assert list(zip(found["part"], found["name"], found["value"], strict=True)) == [
        ("device", "LD_PRELOAD", "a.so"),
        ("software", "XLA_FLAGS", "--a"),
    ]


def test_software_is_that_of_a_framework():
    settings = Settings()
    for framework in ("torch", "tensorflow"):
        settings.add(make_record(device=framework, framework=framework))
    found = settings.table()
    codes = found[found["name"] == "code_sha256"]
    assert codes["framework"].tolist() == ["tensorflow", "torch"]
    assert codes["value"].nunique() == 2
    assert found.loc[found["part"] != "software", "framework"].isna().all()


def test_a_run_has_a_row_for_each_setting_version_and_fingerprint():
    settings = Settings()
    record = make_record(
        device="gpu",
        framework="torch",
        settings={"device": {"environment": {"A": "1"}}, "hyperparameters": {"decay": 1.0}},
        software={"flags": {"deterministic": True, "environment": {"XLA_FLAGS": "x"}}},
    )
    settings.add(record)
    settings.tell(LEFT_OUT, "", "file", "y")
    host, files, code = "amd-epyc-2t-1a2b3c4d", record["dataset"]["sha256"], record["software"]["code_sha256"]
    assert [tuple(row.values()) for row in rows_of(settings.table())] == [
        ("study", "", None, "isolation", "device", 1),
        ("study", "", None, "monitor_interval_seconds", "0.1", 1),
        ("study", "", None, "validation_samples", "5000", 1),
        ("study", "", None, "study_seed", "2017", 1),
        ("model", "conv", None, "epochs", "2", 1),
        ("model", "conv", None, "learning_rate", "0.001", 1),
        ("model", "conv", None, "decay", "1", 1),
        ("model", "conv", None, "keep_conv", "0.8", 1),
        ("model", "conv", None, "keep_hidden", "0.5", 1),
        ("device", "gpu", None, "kind", "gpu", 1),
        ("device", "gpu", None, "threads", "all", 1),
        ("device", "gpu", None, "gpus", "1", 1),
        ("device", "gpu", None, "framework", "torch", 1),
        ("device", "gpu", None, "precision", "float32", 1),
        ("device", "gpu", None, "A", "1", 1),
        ("data", "", None, "dataset_files_sha256", files, 1),
        ("data", "", None, "sha256", files, 1),
        ("data", "", None, "train_samples", "55000", 1),
        ("data", "", None, "test_samples", "10000", 1),
        ("data", "", None, "height", "28", 1),
        ("data", "", None, "width", "28", 1),
        ("data", "", None, "classes", "10", 1),
        ("software", host, "torch", "trainbench", "0.1.0", 1),
        ("software", host, "torch", "code_sha256", code, 1),
        ("software", host, "torch", "python", "3.11.7", 1),
        ("software", host, "torch", "torch", "2.13.0", 1),
        ("software", host, "torch", "numpy", "2.4.6", 1),
        ("software", host, "torch", "tf32", "off", 1),
        ("software", host, "torch", "deterministic", "on", 1),
        ("software", host, "torch", "XLA_FLAGS", "x", 1),
        ("left out", "", None, "file", "y", None),
    ]


def test_a_run_that_loaded_no_data_set_has_its_files_alone():
    settings = Settings()
    settings.add(make_record() | {"dataset": None})
    table = settings.table()
    assert table.loc[table["part"] == "data", "name"].tolist() == ["dataset_files_sha256"]


def test_models_that_are_not_named_come_last_by_name():
    settings = Settings()
    for model in ("b", "c", "a"):
        settings.add(make_record(model))
    table = settings.table(models=("c",))
    assert list(dict.fromkeys(table.loc[table["part"] == "model", "of"])) == ["c", "a", "b"]
