"""A rule's process does not outlive the Snakemake that started it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

from hidden_processes import HIDEPID, hiding
from trainbench.files import fingerprint
from trainbench.machine import lifetime
from trainbench.rules import rule_script

CHILD = """
import os, time
from trainbench.machine import lifetime
lifetime.end_with_snakemake(os.environ)
print(os.getpid(), flush=True)
time.sleep(60)
"""

# A shell that lives as long as its child stands between the two, as where conda is used.
STARTER = f"""
import os, subprocess, sys
os.environ["{lifetime.SNAKEMAKE_VARIABLE}"] = str(os.getpid())
subprocess.run(["sh", "-c", '"$0" -c "$1"; true', sys.executable, sys.argv[1]])
"""


def environment(**variables: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(fingerprint.PACKAGE.parent), **variables}


def ended(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def dies_with_its_snakemake(child_program: str, beginning: Sequence[str] = ()) -> None:
    """Have a Snakemake start the program, kill the Snakemake and wait for the program's end."""
    command = [*beginning, sys.executable, "-c", STARTER, child_program]
    starter = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    child = int(starter.stdout.readline())
    assert not ended(child)
    starter.send_signal(signal.SIGKILL)
    starter.wait()
    deadline = time.monotonic() + 20
    while not ended(child) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert ended(child)


def test_a_script_dies_with_a_snakemake_that_is_killed_whatever_stands_between_them() -> None:
    dies_with_its_snakemake(CHILD)


@pytest.mark.parametrize("hidepid", HIDEPID)
def test_a_script_dies_with_its_snakemake_where_the_processes_of_others_are_hidden(hidepid: str) -> None:
    dies_with_its_snakemake(CHILD, hiding(hidepid))


def test_a_script_dies_with_its_snakemake_where_python_does_not_know_of_the_kernel_s_call() -> None:
    dies_with_its_snakemake(f"import os; vars(os).pop('pidfd_open', None)\n{CHILD}")


def test_a_script_begins_where_the_kernel_lacks_the_call() -> None:
    unknown_call = f"from trainbench.machine import lifetime; lifetime._SYS_PIDFD_OPEN = 99999\n{CHILD}"
    run = subprocess.run(
        [sys.executable, "-c", STARTER, unknown_call.replace("time.sleep(60)", "print('begun')")],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "begun" in run.stdout


def test_a_script_that_breaks_before_its_work_has_a_log(tmp_path: Path) -> None:
    log = tmp_path / "rule.log"
    program = (
        "from pathlib import Path; from trainbench.rules import rule_script\n"
        f"with rule_script.ending_with_one_sentence(Path({str(log)!r})): pass"
    )
    variables = environment(**{lifetime.SNAKEMAKE_VARIABLE: "no number"})
    run = subprocess.run([sys.executable, "-c", program], env=variables, capture_output=True, check=False, timeout=60)
    assert run.returncode == 1
    assert rule_script.BUG in log.read_text(encoding="utf-8")


@pytest.mark.parametrize("number", ["1999999999", "{sibling}"])
def test_a_script_whose_snakemake_has_ended_already_does_not_begin(number: str) -> None:
    with subprocess.Popen(["sleep", "60"]) as sibling:
        run = subprocess.run(
            [sys.executable, "-c", CHILD],
            env=environment(**{lifetime.SNAKEMAKE_VARIABLE: number.format(sibling=sibling.pid)}),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        sibling.kill()
    assert run.returncode == 1
    assert "has ended already" in run.stderr


def test_a_script_that_no_snakemake_started_begins(tmp_path: Path) -> None:
    variables = {name: value for name, value in environment().items() if name != lifetime.SNAKEMAKE_VARIABLE}
    program = CHILD.replace("time.sleep(60)", "pass")
    run = subprocess.run([sys.executable, "-c", program], env=variables, cwd=tmp_path, check=False, timeout=60)
    assert run.returncode == 0
