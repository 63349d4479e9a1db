"""Runs programs as a user whom /proc does not let see the processes of others, as many clusters have it."""

import subprocess
from functools import cache

import pytest

NOBODY = 65534
HIDEPID = ("1", "2")
"""1: the files of others' processes are refused; 2: their folders are not there either (proc(5))."""

# Reading every file is left to it, because the Python under test may lie in a folder of root's. What /proc shows does
# not depend on that.
_AS_NOBODY = (
    *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
    *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
)


def hiding(hidepid: str) -> list[str]:
    """The beginning of a command whose rest runs like that, in a /proc of its own; skips where that is not allowed."""
    problem = _problem()
    if problem is not None:
        pytest.skip(f"takes the rights to mount /proc and to change the user: {problem}")
    mounted = f'mount -t proc -o hidepid={hidepid} proc /proc && exec "$@"'
    return ["unshare", "--mount", "sh", "-c", mounted, "sh", *_AS_NOBODY]


@cache
def _problem() -> str | None:
    command = ["unshare", "--mount", "sh", "-c", 'mount -t proc -o hidepid=2 proc /proc && exec "$@"', "sh"]
    try:
        run = subprocess.run([*command, *_AS_NOBODY, "true"], capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        return str(error)
    return run.stderr.strip() if run.returncode else None
