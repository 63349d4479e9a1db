"""What two runs must have in common is named, and what may differ is left out."""

import pytest

from metrics_builder import as_older_versions_timed, make_record
from trainbench.results import comparability

OWN = {"LD_PRELOAD": "a.so", "A": "1"}


def test_the_settings_that_decide_are_told_by_their_dotted_names_as_text():
    record = make_record(settings={"device": {"environment": OWN}, "epochs": 3})
    assert comparability.decisive_settings(record) == {
        "epochs": "3",
        "hyperparameters.learning_rate": "0.001",
        "hyperparameters.decay": "0.9",
        "hyperparameters.keep_conv": "0.8",
        "hyperparameters.keep_hidden": "0.5",
        "device.kind": "cpu",
        "device.threads": "all",
        "device.gpus": "0",
        "device.framework": "tensorflow",
        "device.precision": "float32",
        "device.environment": "A=1 LD_PRELOAD=a.so",
        "validation_samples": "5000",
        "isolation": "device",
        "monitor_interval_seconds": "0.1",
        "dataset.sha256": record["dataset"]["sha256"][:12],
    }


def test_a_run_without_variables_and_data_set_says_none_and_nothing():
    settings = comparability.decisive_settings(make_record() | {"dataset": None})
    assert settings["device.environment"] == "none"
    assert "dataset.sha256" not in settings


def test_variables_are_told_as_a_shell_has_them():
    assert comparability.variables_text(OWN) == "A=1 LD_PRELOAD=a.so"
    assert comparability.variables_text({}) == ""


def test_the_variables_of_a_device_are_its_own_and_the_others_are_those_that_are_left():
    inherited = {"CUDA_VISIBLE_DEVICES": "0", "OMP_NUM_THREADS": "2", "XLA_FLAGS": "x", **OWN}
    record = make_record(settings={"device": {"environment": OWN}}, software={"flags": {"environment": inherited}})
    assert comparability.own_variables(record) == OWN
    assert comparability.other_variables(record) == {"XLA_FLAGS": "x"}
    assert comparability.own_variables(make_record()) == {}


@pytest.mark.parametrize(
    ("pools", "threads"),
    [
        ({"intra_op": 8, "inter_op": 1}, 8),
        ({"intra_op": None, "inter_op": 2}, 2),
        ({"intra_op": None}, None),
        ({}, None),
    ],
)
def test_the_threads_in_use_are_those_of_the_larger_pool(pools, threads):
    assert comparability.threads_in_use(pools) == threads


@pytest.mark.parametrize(
    ("record", "timed"),
    [
        (make_record(canary_seconds=0.2), ("all 2 cores at once", 0.2)),
        (make_record(usable_threads=1), ("its core", 0.2)),
        (as_older_versions_timed(make_record(), 0.3), ("one core", 0.3)),
        (make_record(canary={"before": None}), None),
        (make_record(canary={"before": {"together_seconds": None}}), None),
    ],
    ids=["all cores", "one core", "an older version", "not timed", "not known"],
)
def test_the_fixed_computation_is_told_with_what_it_ran_on(record, timed):
    assert comparability.canary_before(record) == timed
