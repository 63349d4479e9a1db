"""The view stands below what is written, whoever writes it, and leaves the terminal as it was."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from terminal import Terminal, played
from trainbench.plan.study import Run
from trainbench.rules.forecast import Estimate, Work, work
from trainbench.terminal.live_view import view_lines
from trainbench.terminal.under_way import RunUnderWay, StudyUnderWay

REPOSITORY = Path(__file__).resolve().parents[2]
ENVIRONMENT = {
    **os.environ,
    "TERM": "xterm-256color",
    "PYTHONPATH": os.pathsep.join(str(REPOSITORY / part) for part in ("workflow/scripts", "tests")),
}


def run_at_terminal(program, folder, **options):
    """Run a program that shows a view, that of `state`; give the terminal after its end."""
    script = folder / "program.py"
    script.write_text(
        textwrap.dedent("""
            import os, subprocess, sys, time
            from trainbench.terminal import live_view
            from trainbench.rules.forecast import Work
            from trainbench.plan.study import Run
            from trainbench.terminal.under_way import RunUnderWay, StudyUnderWay

            live_view.REDRAW_SECONDS = 0.05

            def state(now):
                run = RunUnderWay(Run("conv", 512, "cpu", 1), "training", 1, 10, 2.5, 20.0)
                return StudyUnderWay((run,), 3, 0, 1, 4, Work(unknown_runs=5))
        """)
        + textwrap.dedent(program),
        encoding="utf-8",
    )
    terminal = Terminal([sys.executable, script], ENVIRONMENT, folder, **options)
    terminal.wait(60)
    return terminal


@pytest.mark.parametrize(
    "words", ["conv 512 on cpu, repeat 1", "epoch 2 of 10", "2.50 s an epoch", "20 s left", "3 finished, 1 failed"]
)
def test_the_view_is_shown(tmp_path, words):
    terminal = run_at_terminal("view = live_view.View(state); time.sleep(0.5); view.stop()", tmp_path)
    assert words in terminal.written


def test_nothing_of_the_view_is_left_when_it_has_stopped(tmp_path):
    program = "view = live_view.View(state); time.sleep(0.5); view.stop(); print('after')"
    assert run_at_terminal(program, tmp_path).lines() == ["after", ""]


def test_lines_of_this_process_and_of_its_children_stand_whole_and_in_order_above_the_view(tmp_path):
    program = """
        view = live_view.View(state)
        for number in range(5):
            print(f"own {number}", flush=True)
            time.sleep(0.12)
            subprocess.run([sys.executable, "-c", f"import sys; sys.stderr.write('child {number}\\\\n')"])
        view.stop()
        print("after")
    """
    expected = [f"{who} {number}" for number in range(5) for who in ("own", "child")]
    assert run_at_terminal(program, tmp_path).lines() == [*expected, "after", ""]


def test_a_line_without_an_end_is_not_lost(tmp_path):
    program = """
        view = live_view.View(state)
        sys.stderr.write("half a line")
        sys.stderr.flush()
        time.sleep(0.2)
        view.stop()
    """
    assert "half a line" in run_at_terminal(program, tmp_path).lines()


def test_colours_of_lines_are_kept(tmp_path):
    program = r"view = live_view.View(state); print('\033[31mred\033[0m', flush=True); time.sleep(0.3); view.stop()"
    assert "\x1b[31mred" in run_at_terminal(program, tmp_path).written


def test_text_that_looks_like_markup_is_shown_as_it_is(tmp_path):
    program = "view = live_view.View(state); print('[bold]x[/bold] :smile:', flush=True); time.sleep(0.3); view.stop()"
    assert "[bold]x[/bold] :smile:" in run_at_terminal(program, tmp_path).lines()


def test_lines_longer_than_the_terminal_stay_one_line(tmp_path):
    program = "view = live_view.View(state); print('x' * 300, flush=True); time.sleep(0.3); view.stop()"
    assert "x" * 300 in run_at_terminal(program, tmp_path, columns=80).lines()


def test_the_cursor_stays_visible(tmp_path):
    terminal = run_at_terminal("view = live_view.View(state); time.sleep(0.2); view.stop()", tmp_path)
    assert terminal.written.rfind("\x1b[?25h") > terminal.written.rfind("\x1b[?25l")


def test_the_terminal_is_given_back_when_the_program_ends_without_stopping_the_view(tmp_path):
    program = "live_view.View(state); time.sleep(0.2); raise RuntimeError('it broke')"
    lines = run_at_terminal(program, tmp_path).lines()
    assert lines[-2:] == ["RuntimeError: it broke", ""]
    assert not any("epoch" in line for line in lines)


def test_ctrl_c_ends_the_view_cleanly(tmp_path):
    program = """
        view = live_view.View(state)
        time.sleep(0.2)
        try:
            os.kill(os.getpid(), 2)
            time.sleep(5)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
    """
    assert run_at_terminal(program, tmp_path).lines() == ["interrupted", ""]


def test_a_view_that_cannot_be_drawn_says_so_once_and_lines_go_on(tmp_path):
    program = """
        view = live_view.View(lambda now: 1 / 0)
        time.sleep(0.3)
        print("still here", flush=True)
        time.sleep(0.2)
        view.stop()
    """
    lines = run_at_terminal(program, tmp_path).lines()
    assert lines[0].startswith("trainbench: the view has ended: ZeroDivisionError")
    assert lines[1:] == ["still here", ""]


def test_what_is_sent_elsewhere_does_not_go_to_the_terminal(tmp_path):
    with (tmp_path / "stdout.txt").open("w") as file:
        program = "view = live_view.View(state); print('table', flush=True); time.sleep(0.2); view.stop()"
        terminal = run_at_terminal(program, tmp_path, stdout=file.fileno())
    assert (tmp_path / "stdout.txt").read_text() == "table\n"
    assert "table" not in terminal.written


@pytest.mark.parametrize("encoding", ["iso-8859-1", "utf-8"])
def test_letters_of_lines_arrive_in_the_encoding_of_the_terminal(tmp_path, monkeypatch, encoding):
    monkeypatch.setitem(ENVIRONMENT, "PYTHONIOENCODING", encoding)
    program = "view = live_view.View(state); print('gr\u00fcn', flush=True); time.sleep(0.3); view.stop()"
    assert "gr\u00fcn".encode(encoding) in run_at_terminal(program, tmp_path).bytes_written


def wants_view(folder, **options):
    terminal = Terminal(
        [
            sys.executable,
            "-c",
            "import os; from trainbench.terminal import live_view; print(live_view.is_wanted(os.environ))",
        ],
        {**ENVIRONMENT, **options},
        folder,
    )
    terminal.wait(60)
    return terminal.lines()[0]


def test_a_view_is_wanted_at_a_terminal(tmp_path):
    assert wants_view(tmp_path) == "True"


@pytest.mark.parametrize("term", ["dumb", ""])
def test_none_is_wanted_at_a_terminal_that_cannot_move_its_cursor(tmp_path, term):
    assert wants_view(tmp_path, TERM=term) == "False"


def test_none_is_wanted_where_stderr_is_no_terminal():
    code = "import os; from trainbench.terminal import live_view; print(live_view.is_wanted(os.environ))"
    run = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"


# --- what the view says ---


def state_of(*running, finished=0, out_of_memory=0, failed=0, waiting=0, left=None):
    return StudyUnderWay(running, finished, out_of_memory, failed, waiting, left or Work())


def run_under_way(phase="training", done=0, repeat=1, epoch_seconds=None, left=None):
    return RunUnderWay(Run("conv", 512, "cpu", repeat), phase, done, 10, epoch_seconds, left)


def test_what_is_not_known_of_a_run_is_left_out():
    assert view_lines(state_of(run_under_way()))[0] == ("conv 512 on cpu, repeat 1", "epoch 1 of 10", "", "")


def test_the_epoch_shown_is_the_one_that_is_being_trained():
    assert view_lines(state_of(run_under_way(done=9)))[0][1] == "epoch 10 of 10"


@pytest.mark.parametrize("phase", ["starting", "ending"])
def test_before_and_after_its_epochs_a_run_shows_its_phase(phase):
    assert view_lines(state_of(run_under_way(phase=phase)))[0][1] == phase


def test_many_runs_side_by_side_are_cut_short():
    lines = view_lines(state_of(*(run_under_way(repeat=repeat) for repeat in range(1, 13))))
    assert len(lines) == 10
    assert lines[8][0] == "and 4 more runs"


def test_the_last_line_counts_runs_and_tells_the_time_left():
    left = work(1.0, Estimate(600.0, 480.0, 720.0, "cell"))
    state = state_of(run_under_way(), finished=5, out_of_memory=1, failed=2, waiting=4, left=left)
    counts, _, _, time_left = view_lines(state)[-1]
    assert counts == "runs: 5 finished (1 out of memory), 2 failed, 1 under way, 4 to come"
    assert time_left == "left: about 10 min (8 min to 12 min)"


def test_the_time_left_of_a_study_is_rounded_as_that_of_its_only_run():
    left = work(1.0, Estimate(16.6, None, None, "cell"))
    run, study = view_lines(state_of(run_under_way(left=16.6), left=left))
    assert (run[-1], study[-1]) == ("15 s left", "left: about 15 s")


def test_a_study_that_is_nearly_over_has_a_few_seconds_left():
    left = work(1.0, Estimate(1.0, None, None, "cell"))
    run, study = view_lines(state_of(run_under_way(left=1.0), left=left))
    assert (run[-1], study[-1]) == ("soon", "left: a few seconds")


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ({"finished": 2}, "all 2 runs finished"),
        ({"finished": 1}, "the run finished"),
        (
            {"finished": 3, "out_of_memory": 1},
            "all 3 runs finished (1 out of memory)",
        ),
        ({"finished": 2, "failed": 1}, "runs: 2 finished, 1 failed"),
    ],
)
def test_after_the_last_run_the_view_says_how_runs_ended_and_no_time(counts, words):
    assert view_lines(state_of(**counts)) == ((words, "", "", ""),)


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        (("train", "tables", "figure", "timelines", "page", "all"), "; making tables, figures and the page"),
        (("train", "tables", "timelines"), "; making tables and figures"),
        (("train", "tables"), "; making tables"),
        (("train",), ""),
    ],
)
def test_after_the_last_run_the_view_says_what_is_still_made_in_this_call(rules, words):
    assert view_lines(state_of(finished=2), rules) == ((f"all 2 runs finished{words}", "", "", ""),)


def test_a_terminal_plays_back_what_was_written_over():
    assert played("one\r\ntwo\r\x1b[2K\x1b[1A\x1b[2Kthree\r\n") == ["three", ""]
