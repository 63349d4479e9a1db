"""At a terminal a study shows how far it is; elsewhere it writes plain lines; a plan agrees with what is then done."""

import os
import re
import time
from dataclasses import dataclass

import pytest

from checkout import SNAKEMAKE
from terminal import Terminal

STUDY = ("--cores", "2", "--configfile", "study.yaml")
# Long enough for epochs to be seen, in runs that may stand side by side.
SIDE_BY_SIDE = (
    "models=[logistic,conv]",
    "batch_sizes=[16]",
    "devices=[cpu-1t]",
    "device_settings={cpu-1t: {kind: cpu, threads: 1}}",
    "isolation=none",
    "model_settings={logistic: {epochs: 1500}, conv: {epochs: 300}}",
)
CONTROL = "\x1b["


def at_terminal(checkout, *arguments):
    environment = {name: os.environ[name] for name in ("PATH", "HOME")}
    return Terminal(
        [SNAKEMAKE, *arguments],
        {**environment, "TRAINBENCH_LEASE_FOLDER": str(checkout.folder / "leases")},
        checkout.folder,
    )


@pytest.fixture(scope="module")
def shown(new_checkout):
    """Two runs side by side, seen at a terminal: checkout, terminal, exit status."""
    checkout = new_checkout()
    terminal = at_terminal(checkout, "all", *STUDY, "--config", *SIDE_BY_SIDE)
    return checkout, terminal, terminal.wait()


def test_a_study_at_a_terminal_ends_as_elsewhere(shown):
    _, terminal, code = shown
    assert code == 0, terminal.written[-3000:]


@pytest.mark.parametrize("model", ["logistic", "conv"])
def test_the_epochs_of_each_run_are_seen(shown, model):
    _, terminal, _ = shown
    epochs = re.findall(rf"{model} 16 on cpu-1t, repeat 1 +epoch (\d+) of \d+ +[0-9.]+ s an epoch", terminal.written)
    assert len(set(epochs)) > 1


def test_both_runs_are_seen_at_once(shown):
    _, terminal, _ = shown
    assert "2 under way" in terminal.written


def test_after_the_last_run_the_view_says_what_is_made_of_them(shown):
    written = shown[1].written
    assert "all 2 runs finished; making tables, figures and the page" in written
    assert "left: unknown" not in written.partition("all 2 runs finished")[2]


def test_lines_of_snakemake_and_of_runs_are_whole(shown):
    lines = shown[1].lines()
    assert any(re.fullmatch(r"conv 16 on cpu-1t, repeat 1: epoch 300/300: .* 0 s left", line) for line in lines)
    assert any(line.startswith("    output: results/runs/conv/16/cpu-1t/1/metrics.json") for line in lines)


def test_nothing_of_the_view_is_left_at_the_end(shown):
    # The sentences of comparison.md, which a study ends with, are items of a list.
    left = [line for line in shown[1].lines() if not line.startswith("- ")]
    assert not [line for line in left if line.startswith("runs: ") or " s an epoch" in line]


def test_without_a_terminal_there_are_plain_lines_alone(finished):
    text = (finished.folder / "stderr.txt").read_text(encoding="utf-8")
    assert re.search(r"^conv 16 on cpu, repeat 1: epoch 2/2: ", text, re.MULTILINE)
    assert CONTROL not in text
    assert "under way" not in text


def test_a_failing_run_leaves_its_sentence_whole_and_the_terminal_as_it_was(new_checkout):
    checkout = new_checkout()
    training = checkout.folder / "workflow/scripts/trainbench/run/training.py"
    text = training.read_text().replace("    run.resume()\n", "    run.resume()\n    sys.exit(7)\n")
    training.write_text(text)
    terminal = at_terminal(checkout, "all", *STUDY, "--config", "models=[logistic]", "batch_sizes=[16]")
    assert terminal.wait() != 0
    lines = terminal.lines()
    assert any(
        line.startswith("trainbench: logistic 16 on cpu, repeat 1: the training process ended with exit code 7")
        for line in lines
    )
    assert not [line for line in lines if line.startswith("runs: ")]


@pytest.fixture(scope="module")
def stopped(new_checkout):
    """A study at a terminal that was stopped with Ctrl-C while runs were under way: terminal, exit status."""
    terminal = at_terminal(new_checkout(), "all", *STUDY, "--config", *SIDE_BY_SIDE)
    while "under way" not in terminal.written and terminal.process.poll() is None:
        time.sleep(0.1)
    terminal.type("\x03")
    return terminal, terminal.wait()


def test_ctrl_c_leaves_the_terminal_as_it_was(stopped):
    terminal, code = stopped
    assert code != 0
    lines = terminal.lines()
    assert any("Terminating processes on user request" in line for line in lines)
    assert not [line for line in lines if line.startswith("runs: ")]


def test_the_last_line_after_ctrl_c_says_that_the_same_command_goes_on(stopped):
    terminal, _ = stopped
    assert [line for line in terminal.lines() if line][-1].startswith("trainbench: stopped; finished runs and epochs")


# --- the plan ---


@dataclass(frozen=True)
class Plan:
    """What a dry run says: the number of runs in Snakemake's table of jobs, and the plan below it."""

    trainings: int
    text: str


def plan(checkout, *config):
    run = checkout.study("--dry-run", "--quiet", "rules", *(("--config", *config) if config else ()))
    assert run.returncode == 0, run.stderr
    trainings = re.search(r"^train +(\d+)$", run.stdout, re.MULTILINE)
    return Plan(int(trainings[1]) if trainings else 0, run.stdout.rpartition("\ntotal ")[2])


@pytest.mark.parametrize(
    "config",
    [("batch_sizes=[16,32,64]", "repeats=2"), ("model_settings={conv: {epochs: 4}}",), ("models=[lstm]", "seed=1")],
    ids=" ".join,
)
def test_a_plan_agrees_with_what_snakemake_would_do(finished, config):
    planned = plan(finished, *config)
    assert planned.trainings > 0
    assert f"\n{planned.trainings} runs to carry out" in planned.text


def test_a_plan_of_a_finished_study_says_that_all_is_there(finished):
    assert "Nothing is to be measured: 6 runs asked for, all there." in plan(finished).text


def test_a_plan_knows_the_time_of_cells_that_were_measured(finished):
    text = plan(finished, "repeats=2").text
    assert re.search(r"6 runs to carry out: about \d+ s on 2 cores", text)
    assert "6 runs known from runs of the same cell." in text


def test_a_plan_of_a_device_that_was_never_measured_knows_no_time(finished):
    text = plan(finished, "devices=[cpu-1t]", "device_settings={cpu-1t: {kind: cpu, threads: 1}}").text
    assert "6 runs to carry out; how long that takes is unknown." in text


def test_a_plan_says_what_it_replaces(finished):
    text = plan(finished, "model_settings={conv: {epochs: 4}}").text
    assert "2 of these runs replace results measured with other settings (epochs: 2 -> 4)" in text


def test_a_plan_changes_nothing(finished):
    def state():
        return {path: path.stat().st_mtime_ns for path in finished.folder.joinpath("results").rglob("*")}

    before = state()
    plan(finished, "repeats=2")
    assert state() == before
