"""`snakemake so_far` makes tables and figures of what is there, and trains nothing."""

import shutil

import pandas as pd
import pytest


def so_far(study, *config):
    """Ask for the results so far; the target comes first, because --configfile takes all that follows it."""
    return study.snakemake("so_far", "--cores", "2", "--configfile", "study.yaml", "--config", *config)


@pytest.fixture
def partly_finished(finished, tmp_path):
    """A study of which a run is missing, one has failed and those of one model have other settings."""
    shutil.copytree(finished.folder, tmp_path / "study", symlinks=True)
    study = type(finished)(tmp_path / "study")
    runs = study.folder / "results/runs"
    shutil.rmtree(runs / "logistic/16")
    (runs / "conv/32/cpu/1/metrics.json").unlink()
    with (runs / "conv/32/cpu/1/train.log").open("a") as log:
        log.write("trainbench: conv 32 on cpu, repeat 1: the training process ended with signal 11\n")
    return study


def test_what_is_there_is_shown_and_the_rest_says_why_it_is_not(partly_finished):
    before = {path: path.stat().st_mtime_ns for path in partly_finished.folder.glob("results/runs/**/metrics.json")}
    run = so_far(partly_finished, "model_settings={lstm: {epochs: 3}}")
    assert run.returncode == 0, run.stderr
    assert "- 2 of 6 runs have results; 1 failed, 1 missing and 2 outdated." in run.stdout
    cells = pd.read_csv(partly_finished.folder / "results/so_far/tables/cells.csv")
    assert cells.set_index(["model", "batch_size"])["status"].to_dict() == {
        ("logistic", 16): "missing",
        ("logistic", 32): "completed",
        ("conv", 16): "completed",
        ("conv", 32): "failed",
        ("lstm", 16): "outdated",
        ("lstm", 32): "outdated",
    }
    assert (partly_finished.folder / "results/so_far/figures/seconds_per_epoch.png").exists()
    after = {path: path.stat().st_mtime_ns for path in partly_finished.folder.glob("results/runs/**/metrics.json")}
    assert after == before


def test_a_failed_run_says_so_in_the_last_line_of_its_log(new_checkout):
    study = new_checkout()
    training = study.folder / "workflow/scripts/trainbench/run/training.py"
    training.write_text(training.read_text().replace("    engine.place(", "    os.abort()\n    engine.place("))
    run = study.study("--config", "models=[logistic]", "batch_sizes=[16]")
    log = study.folder / "results/runs/logistic/16/cpu/1/train.log"
    assert run.returncode == 1
    assert log.read_text().splitlines()[-1].startswith("trainbench: logistic 16 on cpu, repeat 1: the training process")
    assert "1 failed" in so_far(study, "models=[logistic]", "batch_sizes=[16]").stdout
