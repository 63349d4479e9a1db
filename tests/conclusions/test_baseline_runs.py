"""A run is reduced to what the comparison with a baseline needs of it."""

import pytest

from metrics_builder import make_record
from trainbench.conclusions.baseline_runs import measured_runs


def reduced(**settings):
    (run,) = measured_runs([make_record(**settings)])
    return run


def test_a_run_is_reduced_to_its_cell_its_speed_and_what_surrounds_it():
    record = make_record(
        device="gpu",
        framework="torch",
        train_seconds=(9.0, 8.0, 7.0),
        flags=("gpu_shared",),
        software={"flags": {"tf32": None, "environment": {"OMP_NUM_THREADS": "2", "XLA_FLAGS": "x"}}},
    )
    (run,) = measured_runs([record])
    compared = {name: run[name] for name in ("surroundings", "environment", "threads", "canary")}
    assert compared == {
        "surroundings": {
            "trainbench": "0.1.0",
            "framework": "torch",
            "torch": "2.13.0",
            "numpy": "2.4.6",
            "cuda": "unknown",
            "cudnn": "unknown",
            "Python": "3.11.7",
            "TF32": "unknown",
            "deterministic operations": "off",
            "host name": "server7",
            "kernel": "6.1.0-18-amd64",
            "usable threads": "2",
            "CPU time limit (cores)": "none",
            "GPU driver": "570.86",
            "hardware of gpu": "NVIDIA H200",
        },
        "environment": {"XLA_FLAGS": "x"},
        "threads": "2",
        "canary": ("all 2 cores at once", 0.2),
    }
    assert (run["settings"]["epochs"], run["settings"]["device.framework"]) == ("3", "torch")
    assert (run["run_id"], run["model"], run["batch_size"], run["device"]) == (record["run_id"], "conv", 512, "gpu")
    assert (run["host"], run["status"], run["train_seconds_per_epoch"]) == ("amd-epyc-2t-1a2b3c4d", "completed", 7.5)
    assert run["flags"] == "gpu_shared"


def test_a_run_on_the_cpu_has_no_driver_of_gpus_around_it():
    assert "GPU driver" not in reduced(gpu_driver_version="535.1")["surroundings"]


def test_a_limit_of_cpu_time_is_told_in_cores():
    record = make_record()
    record["host"]["cgroup_cpu_quota_cores"] = 1.5
    (run,) = measured_runs([record])
    assert run["surroundings"]["CPU time limit (cores)"] == "1.5"


def test_switches_that_are_known_are_on_or_off():
    run = reduced(software={"flags": {"tf32": True, "deterministic": False}})
    assert (run["surroundings"]["TF32"], run["surroundings"]["deterministic operations"]) == ("on", "off")


def test_a_run_out_of_memory_has_no_speed_and_no_hardware():
    run = reduced(status="out_of_memory")
    assert (run["status"], run["train_seconds_per_epoch"], run["threads"]) == ("out_of_memory", None, None)
    assert "hardware of cpu" not in run["surroundings"]


def test_epochs_of_a_run_that_did_not_complete_are_no_speed():
    (run,) = measured_runs([make_record() | {"status": "out_of_memory"}])
    assert run["train_seconds_per_epoch"] is None


def test_an_epoch_right_after_a_resume_counts_for_nothing():
    run = reduced(train_seconds=(9.0, 1.0, 8.0, 1.0), resumed_after_epochs=[2])
    assert run["train_seconds_per_epoch"] == 1.0


@pytest.mark.parametrize(("level", "flags"), [("warning", "a"), ("error", "a"), ("info", "")])
def test_findings_flag_a_run_unless_they_only_inform(level, flags):
    checks = [{"name": "a", "level": level, "finding": "f", "advice": "g"}]
    assert reduced(checks=checks)["flags"] == flags


def test_findings_across_the_set_flag_a_run_once_wherever_its_runs_lie():
    records = [
        make_record(repeat=repeat, flags=("versions_differ", "other_load"), software={"python": python})
        | {"runs_folder": folder}
        for repeat, (python, folder) in enumerate((("3.12", "/a"), ("3.11", "/b"), ("3.11", "/b")))
    ]
    assert [run["flags"] for run in measured_runs(records)] == ["versions_differ other_load"] * 3
    cells = [
        make_record(batch_size=size, software={"python": python}) | {"runs_folder": folder}
        for size, (python, folder) in enumerate((("3.12", "/a"), ("3.11", "/b"), ("3.11", "/b")), start=1)
    ]
    assert [run["flags"] for run in measured_runs(cells)] == ["versions_differ", "", ""]
