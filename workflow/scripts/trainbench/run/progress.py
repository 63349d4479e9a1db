"""Reads the lines that a training process prints, and finds out when it makes no progress any more."""

import queue
import subprocess
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import psutil

from trainbench.run import journal

LEAST_SECONDS: Final = 3600.0
"""How long a process may be silent, whatever it is at: importing a framework or compiling can take minutes."""

LAST_LINES_SECONDS: Final = 1.0
"""How long the last lines of a process that has ended may take to arrive, on a machine with nothing but work to do."""

_TIMES_EXPECTED: Final = 10
_LOOKS: Final = 60
"""Into how many looks the patience is divided. What counts is their number and not a clock, so that a look after a
pause of the machine, or after Ctrl-Z, counts as one."""

_STOPPED: Final = (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)


class Stuck(Exception):  # noqa: N818 - the name says what is the case
    """A process has shown no sign of life for `seconds`; `last` was the last one."""

    def __init__(self, last: str, seconds: float) -> None:
        super().__init__(f"no sign of life for {seconds:g} s after {last}")
        self.last = last
        self.seconds = seconds


def lines(process: "subprocess.Popen[str]", notes: Path, batch_size: int, least_seconds: float) -> Iterator[str]:
    """The lines that `process` prints, as they come, until it ends.

    A line is a sign of life, and so is a note in its journal `notes`. That it computes is none, for a deadlock can
    spin; that it rests means nothing, for it may wait for a GPU. A process that is stopped is not stuck.

    Raises:
        Stuck: there was no sign of life for `patience_seconds`.
    """
    arrived: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    threading.Thread(target=_pass_on, args=(process.stdout or (), arrived), daemon=True).start()
    look_seconds = least_seconds / _LOOKS
    last, silent_seconds, noted_bytes, has_ended = "its start", 0.0, 0, False
    while True:
        try:
            line = arrived.get(timeout=LAST_LINES_SECONDS if has_ended else look_seconds)
        except queue.Empty:
            if has_ended:
                return  # what it has started holds its output open
            if process.poll() is not None:
                has_ended = True
                continue
            size = notes.stat().st_size if notes.exists() else 0
            if size != noted_bytes:
                epochs = journal.read(notes).get("epochs", [])
                last = f"epoch {epochs[-1]['epoch']}" if epochs else "the first step, which was compiled"
                silent_seconds, noted_bytes = 0.0, size
            elif not _is_stopped(process.pid):
                silent_seconds += look_seconds
                if silent_seconds >= patience_seconds(journal.read(notes), batch_size, least_seconds):
                    raise Stuck(last, silent_seconds) from None
            continue
        if line is None:
            try:
                process.wait(least_seconds)
            except subprocess.TimeoutExpired:
                raise Stuck("closing its output", least_seconds) from None
            return
        last, silent_seconds = f"the line '{line.strip()}'", 0.0
        yield line


def patience_seconds(noted: Mapping[str, Any], batch_size: int, least_seconds: float) -> float:
    """How long a process whose journal holds `noted` may be silent: 10 times what it has shown that it may need.

    That is its longest epoch or, before the first one has ended, as much for each batch as compiling took, which had a
    step in it: on a slow machine that took long as well.
    """
    epochs = noted.get("epochs", [])
    if epochs:
        expected = max(epoch["train_seconds"] + epoch["eval_seconds"] for epoch in epochs)
    elif "clock" in noted:
        expected = noted["clock"]["compile_seconds"] * (noted["dataset"]["train_samples"] // batch_size)
    else:
        expected = 0.0
    return max(least_seconds, float(_TIMES_EXPECTED * expected))


def _pass_on(output: Iterable[str], arrived: "queue.SimpleQueue[str | None]") -> None:
    for line in output:
        arrived.put(line)
    arrived.put(None)


def _is_stopped(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() in _STOPPED
    except psutil.Error:
        return False
