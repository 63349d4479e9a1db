"""How far a study is follows from Snakemake's jobs and from what the training processes note."""

import ast
from pathlib import Path

import pytest

from forecast_study import DATA, EPOCHS, HOST, STUDY
from metrics_builder import make_record
from results_folder import write_results
from trainbench.plan.study import Run
from trainbench.rules.forecast import Forecast, time_text
from trainbench.run import journal, task
from trainbench.terminal.under_way import NOTES_NAME, Watch

RUN = Run("conv", 512, "cpu", 1)
OTHER = Run("conv", 512, "gpu", 1)


class Study:
    """A study of a few runs under way in a folder, at a time of one's own."""

    def __init__(self, folder, *runs, cores=2, records=()):
        write_results(folder, records)
        self.folder = folder
        self.watch = Watch(runs, Forecast(STUDY, folder, DATA, HOST, cores, gpus=2))

    def begin(self, run=RUN, job=1, now=0.0):
        self.watch.began(job, run, now)

    def open_notes(self, run=RUN):
        """As the training process of a run opens its notes."""
        path = self.folder / run.folder / NOTES_NAME
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        return journal.Journal(path)

    def state(self, now=0.0):
        return self.watch.state(now)

    def run(self, now=0.0):
        (state,) = self.state(now).running
        return state


def epoch(number, train_seconds=2.0):
    return {"epoch": number, "train_seconds": train_seconds, "eval_seconds": 0.5}


@pytest.fixture
def study(tmp_path):
    return Study(tmp_path, RUN, OTHER)


def test_the_notes_lie_where_the_launcher_puts_them():
    tree = ast.parse(Path(task.__file__).read_text())
    names = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    folder, name = NOTES_NAME.split("/")
    assert folder == task.UNFINISHED_NAME
    assert name in names


def test_before_anything_begins_all_runs_are_to_come(study):
    state = study.state()
    assert (state.running, state.waiting, state.finished, state.failed) == ((), 2, 0, 0)


def test_a_run_that_has_noted_nothing_is_starting(study):
    study.begin()
    assert (study.run().phase, study.run().epoch_seconds, study.run().left_seconds) == ("starting", None, None)


def test_a_run_trains_as_soon_as_it_has_compiled(study):
    study.begin()
    study.open_notes().note({"proof": {}, "threads": {}})
    assert (study.run().phase, study.run().epochs_done) == ("training", 0)


def test_epochs_are_counted_as_they_are_noted(study):
    study.begin()
    notes = study.open_notes()
    notes.note({"proof": {}})
    notes.note({"epochs": [epoch(1)]})
    assert study.run().epochs_done == 1
    notes.note({"epochs": [epoch(2)]})
    assert (study.run().epochs_done, study.run().epochs) == (2, EPOCHS)


def test_epochs_of_before_an_interruption_count(study):
    study.begin()
    study.open_notes().note({"proof": {}, "epochs": [epoch(number) for number in (1, 2, 3)]})
    assert study.run().epochs_done == 3


def test_seconds_an_epoch_leave_out_the_first_as_soon_as_there_is_another(study):
    study.begin()
    notes = study.open_notes()
    notes.note({"epochs": [epoch(1, 8.0)]})
    assert study.run().epoch_seconds == 8.0
    notes.note({"epochs": [epoch(2, 2.0)]})
    assert study.run().epoch_seconds == 2.0


def test_what_is_left_of_a_run_follows_from_its_own_epochs(study):
    study.begin()
    study.open_notes().note({"epochs": [epoch(1), epoch(2)]})
    assert study.run().left_seconds == pytest.approx((EPOCHS - 2) * 2.5)


def test_before_its_first_epoch_what_is_left_follows_from_earlier_runs(tmp_path):
    study = Study(tmp_path, RUN, records=[make_record(train_seconds=[2.0] * EPOCHS, repeat=2)])
    study.begin(now=100.0)
    assert study.run(now=110.0).left_seconds == pytest.approx(10 * 2.6 + 6.62 - 10.0)


def test_a_run_after_its_last_epoch_is_ending(study):
    study.begin()
    study.open_notes().note({"epochs": [epoch(number) for number in range(1, EPOCHS + 1)]})
    assert study.run().phase == "ending"


def test_notes_that_an_interrupted_run_left_do_not_count(study):
    study.open_notes().note({"proof": {}, "epochs": [epoch(1), epoch(2)]})
    study.begin()
    assert (study.run().phase, study.run().epochs_done) == ("starting", 0)
    study.open_notes().note({"proof": {}, "epochs": [epoch(1)]})
    assert study.run().epochs_done == 1


def test_half_a_line_is_read_when_it_is_whole(study):
    study.begin()
    path = study.folder / RUN.folder / NOTES_NAME
    path.parent.mkdir(parents=True)
    path.write_text('{"epochs": [{"epoch": 1, "train_sec')
    assert study.run().epochs_done == 0
    with path.open("a") as file:
        file.write('onds": 2.0, "eval_seconds": 0.5}]}\n')
    assert study.run().epochs_done == 1


def test_runs_are_counted_as_they_end(study):
    study.begin(RUN, job=1)
    study.begin(OTHER, job=2)
    study.watch.ended(1)
    study.watch.failed(2)
    state = study.state()
    assert (state.running, state.waiting, state.finished, state.failed) == ((), 0, 1, 1)


def test_a_run_out_of_memory_is_finished_and_said_to_be_so(study):
    study.begin()
    write_results(study.folder, [make_record(status="out_of_memory")])
    study.watch.ended(1)
    assert (study.state().finished, study.state().out_of_memory) == (1, 1)


def test_jobs_that_are_no_runs_are_passed_over(study):
    study.watch.ended(7)
    study.watch.failed(8)
    assert (study.state().finished, study.state().failed) == (0, 0)


def test_the_time_left_is_unknown_as_long_as_no_run_tells(study):
    assert time_text(study.state().left) == "unknown"


def test_the_time_left_is_that_of_runs_to_come_and_of_what_is_left_of_those_under_way(tmp_path):
    record = make_record(train_seconds=[20.0] * EPOCHS, eval_seconds=1.0, repeat=3)  # 216.62 s
    study = Study(tmp_path, RUN, Run("conv", 512, "cpu", 2), records=[record])
    study.begin()
    study.open_notes().note({"epochs": [epoch(1, 29.5)]})  # 270 s are left
    assert time_text(study.state(now=60.0).left) == "about 8 min"


def test_a_run_that_ends_tells_the_time_of_those_to_come(study):
    study = Study(study.folder, RUN, Run("conv", 256, "cpu", 1))
    study.begin()
    assert time_text(study.state().left) == "unknown"
    write_results(study.folder, [make_record(train_seconds=[20.0] * EPOCHS)])
    study.watch.ended(1)
    assert time_text(study.state().left) == "about 5 min (4 min to 7 min)"


def test_where_runs_are_submitted_the_time_left_is_unknown(tmp_path):
    study = Study(tmp_path, RUN, cores=None, records=[make_record(repeat=2)])
    assert time_text(study.state().left) == "unknown"
