"""Runs Snakemake's command line in forks of one process that has imported it, which is most of what a short call takes.

The package is never among what the process has imported: each call imports that of its own checkout.
"""

import gc
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import cache
from importlib import import_module
from pathlib import Path

SNAKEMAKE = Path(__file__).resolve().parents[1] / ".venv" / "bin" / "snakemake"
_MOST_BYTES = 2**20
# What the loader and Python read when a process starts, and never again.
_READ_AT_START = ("LD_", "PYTHON", "LC_", "LANG")
# What Snakemake, the rules and the package import in the course of a call.
_IMPORTED_LATE = (
    *("jinja2", "jsonschema_rs", "nbformat", "pygments.lexers", "pynvml", "rich.live", "smart_open"),
    "snakemake.report.html_reporter",
)


def call(
    arguments: Sequence[str], folder: Path, environment: Mapping[str, str], timeout_seconds: float
) -> "subprocess.CompletedProcess[str]":
    """Call Snakemake as `subprocess.run` would, without input and with its output as text.

    Raises:
        subprocess.TimeoutExpired: it took too long, and has been killed.
    """
    at_start = {name: value for name, value in environment.items() if name.startswith(_READ_AT_START)}
    server = _server(tuple(sorted(at_start.items())))
    command = [str(SNAKEMAKE), *arguments]
    with ExitStack() as stack:
        readers, writers = zip(os.pipe(), os.pipe(), strict=True)
        files = [stack.enter_context(os.fdopen(reader, encoding="utf-8")) for reader in readers]
        request = {"command": command, "folder": str(folder), "environment": dict(environment)}
        socket.send_fds(server, [json.dumps(request).encode()], writers)
        for writer in writers:
            os.close(writer)
        reading = stack.enter_context(ThreadPoolExecutor())
        outputs = [reading.submit(file.read) for file in files]
        process_id = int(server.recv(_MOST_BYTES))
        server.settimeout(timeout_seconds)
        try:
            code = int(server.recv(_MOST_BYTES))
        except TimeoutError:
            os.kill(process_id, signal.SIGKILL)
            server.settimeout(None)
            server.recv(_MOST_BYTES)
            raise subprocess.TimeoutExpired(command, timeout_seconds) from None
        stdout, stderr = (output.result() for output in outputs)
    return subprocess.CompletedProcess(command, code, stdout, stderr)


@cache
def _server(at_start: tuple[tuple[str, str], ...]) -> socket.socket:
    """Start a server with these variables; it ends when this process does.

    All of its files are the socket: neither it nor a pipe can be sought in, which Python finds out at its start.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        subprocess.Popen(
            [SNAKEMAKE.with_name("python"), __file__],
            env={"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **dict(at_start)},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
    return ours


def serve(asked: socket.socket) -> None:
    """Fork for each call that is asked for, and return in the fork; end when nobody can ask any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        request, writers, _, _ = socket.recv_fds(asked, _MOST_BYTES, maxfds=2)
        if not request:
            sys.exit()
        child = os.fork()
        if not child:
            asked.close()
            become(**json.loads(request), writers=writers)
            return
        for writer in writers:
            os.close(writer)
        asked.send(str(child).encode())
        _, status = os.waitpid(child, 0)
        asked.send(str(os.waitstatus_to_exitcode(status)).encode())


def become(command: Sequence[str], folder: str, environment: Mapping[str, str], writers: Sequence[int]) -> None:
    """Make this process what one is that was started with this command."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = list(command)
    sys.path[0] = str(SNAKEMAKE.parent)
    for descriptor, file in enumerate([os.open(os.devnull, os.O_RDONLY), *writers]):
        os.dup2(file, descriptor)
        os.close(file)


if __name__ == "__main__":
    for module in _IMPORTED_LATE:
        import_module(module)
    cli = import_module("snakemake.cli")
    cli.get_argument_parser()  # finds the plugins
    gc.freeze()
    serve(socket.socket(fileno=os.dup(0)))
    cli.main()
