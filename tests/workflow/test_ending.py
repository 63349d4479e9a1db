"""How a call ends: with what it made and nothing else, in letters that can be shown, wherever it was given."""

import shutil

import pytest

from checkout import Checkout

CELL = "results/runs/conv/16/cpu/1"


@pytest.fixture(scope="module")
def copied(finished, tmp_path_factory):
    """The finished study, to be changed by the tests of this module, each in its own way."""
    folder = tmp_path_factory.mktemp("copied") / "study"
    shutil.copytree(finished.folder, folder, symlinks=True)
    return Checkout(folder)


def test_a_study_whose_tables_are_gone_is_touched_without_an_error(copied):
    kept = copied.folder / "results/tables"
    kept.rename(copied.folder / "kept")
    run = copied.study("--touch")
    (copied.folder / "kept").rename(kept)
    assert run.returncode == 0, run.stderr
    assert run.stdout == ""


def test_letters_that_cannot_be_shown_cost_nothing(copied):
    run = copied.study("--touch", "--forceall", PYTHONIOENCODING="ascii")
    assert run.returncode == 0, run.stderr
    assert "? Something may have disturbed" in run.stdout or "? is unknown or not measured" in run.stdout
    assert "All of it on one page: results/report.html" in run.stdout


def test_where_tables_alone_are_made_the_older_page_is_not_told(copied):
    run = copied.study("--forcerun", "tables", "--until", "tables")
    assert run.returncode == 0, run.stderr
    assert run.stdout.endswith("\nTables: results/tables/   Every run: results/runs/\n")


def test_a_call_from_another_folder_ends_with_the_sentence_of_its_own_log(copied, tmp_path):
    (log := tmp_path / "results/logs/tables.log").parent.mkdir(parents=True)
    log.write_text("trainbench: of another study\n", encoding="utf-8")
    metrics = copied.folder / CELL / "metrics.json"
    whole = metrics.read_bytes()
    metrics.write_bytes(b"{")
    at, study = str(copied.folder), f"{copied.folder}/study.yaml"
    arguments = ("-s", f"{at}/Snakefile", "--directory", at, "--cores", "2", "--configfile", study)
    run = Checkout(tmp_path).snakemake("--until", "tables", *arguments)
    metrics.write_bytes(whole)
    assert run.returncode != 0
    last = run.stderr.splitlines()[-1]
    assert last.startswith("trainbench: ")
    assert f"{CELL}/metrics.json" in last


# --- a timeline that is asked for by its name ---

DEVICES = ("cpu_16_threads", "a_16_b_1", "cpu.2", "4")


@pytest.fixture(scope="module")
def planned(finished):
    """What Snakemake would do for the timelines of runs whose devices have such names."""
    devices = ", ".join(f"{name}: {{kind: cpu, threads: 1}}" for name in DEVICES)
    timelines = [f"results/figures/timelines/logistic_16_{name}_1.svg" for name in DEVICES]
    settings = ("--configfile", "study.yaml", "--config", f"device_settings={{{devices}}}")
    run = finished.snakemake(*timelines, "--dry-run", "--cores", "2", *settings)
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.parametrize("device", DEVICES)
def test_a_timeline_is_that_of_its_run_whatever_the_name_of_the_device(planned, device):
    assert f"wildcards: model=logistic, batch_size=16, device={device}, repeat=1" in planned
    assert f"input: results/runs/logistic/16/{device}/1/metrics.json" in planned


@pytest.mark.parametrize("figure", ["nothing", "timelines/logistic_16_nothing_1"])
def test_a_figure_that_cannot_be_is_refused_when_it_is_asked_for(finished, figure):
    run = finished.study("--dry-run", f"results/figures/{figure}.svg")
    assert run.returncode != 0
    assert f"No rule to produce results/figures/{figure}.svg" in run.stderr + run.stdout
    assert "Traceback" not in run.stderr + run.stdout
