"""Shows on a terminal how far a study is, below the lines that Snakemake and its runs write.

While it is shown, what this process and its children write to the terminal goes through a pipe: lines appear above the
view, whoever wrote them, and never across it.
"""

import atexit
import logging
import os
import select
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text
from snakemake_interface_logger_plugins.common import LogEvent

from trainbench.plan.study import Run
from trainbench.rules import forecast
from trainbench.rules.call import Call
from trainbench.rules.forecast import Work, duration_text, time_text
from trainbench.terminal.under_way import RunUnderWay, StudyUnderWay, Watch
from trainbench.words.wording import format_number, listed, numbered

REDRAW_SECONDS: Final = 1.0
MOST_CPU_SHARE: Final = 0.0025
"""Of one core, beside runs that are measured: a view that is slow to draw is drawn less often."""

MOST_RUNS_SHOWN: Final = 8
STEP_OF_TIME_LEFT_SECONDS: Final = 5.0
LONGEST_STOP_SECONDS: Final = 5.0
PIPE_BYTES: Final = 65536
MADE_BY_RULES: Final = {"tables": "tables", "figure": "figures", "timelines": "figures", "page": "the page"}
"""What is made of the runs, in this order."""

_STDOUT, _STDERR = 1, 2
_Line = tuple[str, str, str, str]


def is_wanted(environment: Mapping[str, str]) -> bool:
    """Whether somebody looks: stderr is a terminal that can be written across, and this process is at its front."""
    return os.isatty(_STDERR) and environment.get("TERM", "") not in {"", "dumb"} and _is_in_front(_STDERR)


def _is_in_front(terminal: int) -> bool:
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False


class JobEvents(logging.Handler):
    """Tells a watch of the runs that Snakemake begins and ends, from the events that it logs (as logger plugins do)."""

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self._watch = watch

    def emit(self, record: logging.LogRecord) -> None:
        """Take note of one event; what goes wrong is told, and Snakemake goes on."""
        fields = record.__dict__
        try:
            match fields.get("event"):
                case LogEvent.JOB_INFO if fields["rule_name"] == "train":
                    self._watch.began(fields["jobid"], Run.named(fields["wildcards"]), time.monotonic())
                case LogEvent.JOB_FINISHED:
                    self._watch.ended(fields["job_id"])
                case LogEvent.JOB_ERROR:
                    self._watch.failed(fields["jobid"])
        except Exception:
            self.handleError(record)


@contextmanager
def shown(
    call: Call, runs: Collection[Run], results: Path, logger: logging.Logger, rules: Collection[str], *, colored: bool
) -> Iterator[None]:
    """Show how far these runs of a call are, of which Snakemake's `logger` tells; `rules` are carried out as well."""
    watch = Watch(runs, forecast.of_call(call, results))
    events = JobEvents(watch)
    logger.addHandler(events)
    view = View(watch.state, rules=rules, colored=colored)
    try:
        yield
    finally:
        view.stop()
        logger.removeHandler(events)


class View:
    """The view, from its making until `stop`; one at a time in a process.

    `state` is asked about once a second, at the moment given (`time.monotonic()`); `rules` are those that are carried
    out in this call. What goes wrong in drawing ends the view and nothing else.
    """

    def __init__(
        self, state: Callable[[float], StudyUnderWay], *, rules: Collection[str] = (), colored: bool = True
    ) -> None:
        self._state = state
        self._rules = rules
        self._terminal = os.dup(_STDERR)
        self._encoding = sys.stderr.encoding
        self._screen = Console(
            file=os.fdopen(os.dup(self._terminal), "w", encoding=self._encoding, errors="replace"),
            force_terminal=True,
            no_color=not colored,
            markup=False,
            highlight=False,
            emoji=False,
        )
        drawing = Live(
            Text(),
            console=self._screen,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._drawing: Live | None = drawing
        self._originals = {fd: os.dup(fd) for fd in (_STDOUT, _STDERR) if fd == _STDERR or os.isatty(fd)}
        self._lines, into = os.pipe()
        self._stopped, self._stop = os.pipe()
        self._is_over = False
        self._thread = threading.Thread(target=self._pass_lines_on, name="view", daemon=True)
        _flush()
        self._fit()
        drawing.start()
        # Rich hides the cursor, and nobody would bring it back after SIGKILL.
        self._screen.show_cursor(True)
        for fd in self._originals:
            os.dup2(into, fd)
        os.close(into)
        self._thread.start()
        atexit.register(self.stop)

    def stop(self) -> None:
        """Take the view away and give the terminal back; may be called again."""
        if self._is_over:
            return
        self._is_over = True
        _flush()
        for fd, original in self._originals.items():
            os.dup2(original, fd)
        os.write(self._stop, b".")
        self._thread.join(LONGEST_STOP_SECONDS)
        self._end_drawing()

    def _pass_lines_on(self) -> None:
        """Write what comes out of the pipe above the view, whole lines at a time, and draw it anew when that is due."""
        rest, shown, due = b"", None, time.monotonic() + REDRAW_SECONDS
        while True:
            pause_seconds = max(0.0, due - time.monotonic()) if self._drawing else None
            ready, _, _ = select.select([self._lines, self._stopped], [], [], pause_seconds)
            written = os.read(self._lines, PIPE_BYTES) if self._lines in ready else b""
            *lines, rest = (rest + written).split(b"\n")
            if lines:
                self._write(b"\n".join(lines) + b"\n")
            if ready and not written:  # there is nobody to come
                if rest:
                    self._write(rest)
                return
            if self._drawing and not self._is_over and time.monotonic() >= due:
                begin = time.thread_time()
                shown = self._draw(shown)
                due = time.monotonic() + max(REDRAW_SECONDS, (time.thread_time() - begin) / MOST_CPU_SHARE)

    def _draw(self, shown: tuple[_Line, ...] | None) -> tuple[_Line, ...] | None:
        """Draw the view, unless it is as `shown`; returns what is shown then."""
        try:
            is_seen = _is_in_front(self._terminal)
            lines = view_lines(self._state(time.monotonic()), self._rules) if is_seen else ()
            if lines != shown and self._drawing:
                self._fit()
                self._drawing.update(_table(lines), refresh=True)
        except Exception as error:  # a study must not end because of its view
            self._end_drawing()
            os.write(self._terminal, f"trainbench: the view has ended: {error!r}\n".encode())
            return None
        return lines

    def _write(self, lines: bytes) -> None:
        try:
            if self._drawing:
                # As it is, colours included; rich takes the view away before and draws it again after.
                text = lines.decode(self._encoding, errors="replace").removesuffix("\n")
                self._screen.print(Text.from_ansi(text), soft_wrap=True)
                return
        except Exception:
            self._end_drawing()
        os.write(self._terminal, lines)

    def _fit(self) -> None:
        with suppress(OSError):
            self._screen.size = os.get_terminal_size(self._terminal)

    def _end_drawing(self) -> None:
        drawing, self._drawing = self._drawing, None
        with suppress(Exception):
            if drawing is not None:
                drawing.stop()


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()


def view_lines(state: StudyUnderWay, rules: Collection[str] = ()) -> tuple[_Line, ...]:
    """The view as text: a line for each run under way, and one for the study, of which `rules` are carried out."""
    runs = [_line_of_run(run) for run in state.running[:MOST_RUNS_SHOWN]]
    more = len(state.running) - len(runs)
    if more:
        runs.append((f"and {numbered(more, 'more run')}", "", "", ""))
    numbers = (state.finished, state.failed, len(state.running), state.waiting)
    counts = dict(zip(("finished", "failed", "under way", "to come"), numbers, strict=True))
    shown = [f"{count} {what}" for what, count in counts.items() if count or what == "finished"]
    memory = f" ({state.out_of_memory} out of memory)" if state.out_of_memory else ""
    shown[0] += memory
    if state.running or state.waiting:
        return (*runs, (f"runs: {', '.join(shown)}", "", "", f"left: {_left_of_study(state.left)}"))
    if state.failed:
        return ((f"runs: {', '.join(shown)}", "", "", ""),)
    finished = f"all {state.finished} runs" if state.finished > 1 else "the run"
    made = [*dict.fromkeys(what for rule, what in MADE_BY_RULES.items() if rule in rules)]
    making = f"; making {listed(made)}" if made else ""
    return ((f"{finished} finished{memory}{making}", "", "", ""),)


def _left_of_study(left: Work) -> str:
    """The time left for all, in the steps of that of each run."""
    rounded = replace(left, busy=tuple(map(_in_steps, left.busy)), longest=tuple(map(_in_steps, left.longest)))
    if left.known_runs and not left.unknown_runs and not any((*rounded.busy, *rounded.longest)):
        return "a few seconds"
    return time_text(rounded)


def _in_steps(seconds: float) -> float:
    """Rounded, so that the view is drawn again when there is something to see."""
    return round(seconds / STEP_OF_TIME_LEFT_SECONDS) * STEP_OF_TIME_LEFT_SECONDS


def _line_of_run(state: RunUnderWay) -> _Line:
    run = state.run
    name = f"{run.model} {run.batch_size} on {run.device}, repeat {run.repeat}"
    epoch = f"epoch {min(state.epochs_done + 1, state.epochs)} of {state.epochs}"
    phase = epoch if state.phase == "training" else state.phase
    speed = "" if state.epoch_seconds is None else f"{format_number(state.epoch_seconds, significant=3)} s an epoch"
    left = "" if state.left_seconds is None or state.phase == "ending" else "soon"
    if left and (seconds := _in_steps(state.left_seconds or 0.0)):
        left = f"{duration_text(seconds)} left"
    return (name, phase, speed, left)


def _table(lines: tuple[_Line, ...]) -> Table | Text:
    if not lines:
        return Text()
    *runs, (counts, _, _, left) = lines
    table = Table.grid(padding=(0, 3, 0, 0))
    for _ in range(4):
        table.add_column(no_wrap=True, overflow="ellipsis")
    for run in runs:
        table.add_row(*run)
    whole = Table.grid(padding=(0, 3, 0, 0))
    whole.add_row(table)
    whole.add_row(Text(f"{counts}   {left}".rstrip(), style="bold"))
    return whole
