"""A run's row has all that its metrics record knows, column by column."""

import pytest

from metrics_builder import make_record
from trainbench.results.runs_table import RUN_COLUMNS, run_row

RECORD = make_record(
    device="gpu",
    gpus=2,
    train_seconds=(10.0, 8.0, 9.0),
    accuracies=(0.5, 0.9, 0.8),
    framework="torch",
    precision="bfloat16",
    settings={"device": {"environment": {"B": "2", "A": "1"}}},
)
KNOWN_OF_EVERY_RUN = {
    "model": "conv",
    "batch_size": 512,
    "device": "gpu",
    "repeat": 1,
    "host": "amd-epyc-2t-1a2b3c4d",
    "hostname": "server7",
    "status": "completed",
    "run_id": RECORD["run_id"],
    "started_at": "2026-11-23T08:15:30.123456+00:00",
    "seed": RECORD["seed"],
    "framework": "torch",
    "framework_version": "2.13.0",
    "precision": "bfloat16",
    "environment": "A=1 B=2",
    "device_kind": "gpu",
    "gpus": 2,
    "epochs": 3,
    "usable_threads": 2,
    "canary_seconds": 0.2,
}
# 107 steps of 512 samples an epoch, each of 51,972,732 FLOP and 424,074 bytes.
OF_COMPLETED_RUNS = {
    "device_name": "NVIDIA H200",
    "threads": 2,
    "cores_given": 2,
    "train_seconds_per_epoch": 8.5,
    "eval_seconds_per_epoch": 0.6,
    "epoch_seconds": 9.1,
    "first_epoch_train_seconds": 10.0,
    "steady_epochs": 2,
    "samples_per_second": 54_784 / 8.5,
    "startup_seconds": 4.1,
    "data_seconds": 0.12,
    "compile_seconds": 0.9,
    "train_seconds": 27.0,
    "eval_seconds": 1.8,
    "total_seconds": 33.92,
    "final_loss": 2.3 / 3,
    "final_accuracy": 0.8,
    "best_accuracy": 0.9,
    "samples_trained": 3 * 54_784,
    "cpu_percent": 198.2,
    "peak_memory_mib": 1234.5,
    "gpu_utilization_percent": 75.0,
    "gpu_memory_mib": 4096.0,
    "first_epoch_only": False,
    "cpu_samples": 170,
    "other_cpu_percent": 1.2,
    "gpu_samples": 170,
    "gpu_process_memory_mib": 3072.0,
    "power_watts": 600.0,
    "energy_joules_per_epoch": 5100.0,
    "energy_source": "counter",
    "cpu_energy_joules_per_epoch": None,
    "temperature_celsius": 55.0,
    "sm_clock_mhz": 1980.0,
    "achieved_flop_per_second": 51_972_732 * 54_784 / 8.5,
    "flop_ceiling_per_second": 5e13,
    "bytes_ceiling_per_second": 4e12,
    "flop_per_byte": 51_972_732 / 424_074,
}


def test_a_completed_run_has_a_value_for_each_column_but_its_flags():
    assert run_row(RECORD) == pytest.approx(KNOWN_OF_EVERY_RUN | OF_COMPLETED_RUNS)
    assert run_row(RECORD).keys() | {"flags"} == RUN_COLUMNS.keys()


def test_a_run_out_of_memory_has_what_is_known_without_training():
    row = run_row(RECORD | {"status": "out_of_memory", "epochs": RECORD["epochs"][:1], "device_used": None})
    assert row == KNOWN_OF_EVERY_RUN | {"status": "out_of_memory", "epochs": 1}


@pytest.mark.parametrize("missing", ["arithmetic", "ceilings"])
def test_what_a_run_could_not_find_out_about_its_arithmetic_is_unknown(missing):
    row = run_row(RECORD | {missing: None})
    unknown = {
        "arithmetic": ("achieved_flop_per_second", "flop_per_byte"),
        "ceilings": ("flop_ceiling_per_second", "bytes_ceiling_per_second"),
    }[missing]
    assert {name for name, value in row.items() if value is None} == {"cpu_energy_joules_per_epoch", *unknown}


def test_a_run_without_variables_of_its_own_has_no_environment():
    assert run_row(make_record())["environment"] is None


def test_a_run_that_was_not_timed_before_it_began_has_no_canary():
    assert run_row(RECORD | {"canary": {"cores": 2, "before": None, "after": None}})["canary_seconds"] is None


def with_epochs(*epochs, **settings):
    """A record of epochs of so many training seconds, evaluation seconds and samples."""
    record = make_record(train_seconds=[seconds for seconds, _, _ in epochs], **settings)
    for epoch, (_, eval_seconds, samples) in zip(record["epochs"], epochs, strict=True):
        epoch |= {"eval_seconds": eval_seconds, "samples": samples}
    return record


def test_figures_leave_out_the_epochs_right_after_a_resume():
    row = run_row(with_epochs((9.0, 9.0, 9), (2.0, 1.0, 40), (8.0, 8.0, 8), (2.0, 1.0, 40), resumed_after_epochs=[2]))
    assert (row["train_seconds_per_epoch"], row["eval_seconds_per_epoch"], row["epoch_seconds"]) == (2.0, 1.0, 3.0)
    assert (row["samples_per_second"], row["steady_epochs"], row["first_epoch_only"]) == (20.0, 2, False)


@pytest.mark.parametrize(("seconds", "samples"), [(0.0, 40), (2.0, 0)])
def test_a_clock_or_a_count_of_0_tells_no_rate(seconds, samples):
    assert run_row(with_epochs((9.0, 1.0, samples), (seconds, 1.0, samples)))["samples_per_second"] is None


def test_the_fixed_computation_of_older_versions_is_no_figure():
    assert run_row(RECORD | {"canary": {"before_seconds": 0.3}})["canary_seconds"] is None
