"""Who started whom is read from /proc; what /proc hides is unknown and hides nothing else."""

import os
import subprocess
import sys
from collections.abc import Sequence

import pytest

from hidden_processes import HIDEPID, hiding
from trainbench.files import fingerprint
from trainbench.machine import processes

GRANDCHILD = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1], *sys.argv[2:]], check=True)"
ASKED = "import sys; from trainbench.machine import processes; print(processes.descends_from(int(sys.argv[1])))"

FAMILY = """
import os, subprocess, sys
from trainbench.run import counters, training; from trainbench.machine import processes
child = subprocess.Popen(["sh", "-c", "sleep 60 & echo $!; wait"], stdout=subprocess.PIPE, text=True)
grandchild = int(child.stdout.readline())
expected = sorted([child.pid, grandchild])
tree = counters.ProcessTree(os.getpid())
tree.find_descendants()
print(sorted(processes.descendants(os.getpid())) == expected)
print(sorted(tree.process_ids) == sorted([os.getpid(), *expected]), tree.read() is not None)
print(training._descendants_cpu_seconds() >= 0)
child.kill()
os.kill(grandchild, 9)
"""
"""Starts a child that starts one, and says whether each who looks for descendants finds the two."""


def output(program: str, *arguments: object, beginning: Sequence[str] = ()) -> str:
    return subprocess.run(
        [*beginning, sys.executable, "-c", program, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(fingerprint.PACKAGE.parent)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout.strip()


@pytest.mark.parametrize("generations", [[ASKED], [GRANDCHILD, ASKED]])
def test_a_process_descends_from_the_one_that_started_it_or_its_parent(generations: list[str]) -> None:
    program, *arguments = generations
    assert output(program, *arguments, os.getpid()) == "True"


def test_a_process_does_not_descend_from_its_sibling() -> None:
    with subprocess.Popen(["sleep", "60"]) as sibling:
        assert output(ASKED, sibling.pid) == "False"
        sibling.kill()


@pytest.mark.parametrize("hidepid", HIDEPID)
def test_whether_a_process_descends_from_another_is_unknown_where_one_between_them_is_hidden(hidepid: str) -> None:
    assert output(ASKED, os.getppid(), beginning=hiding(hidepid)) == "None"


@pytest.mark.parametrize("hidepid", HIDEPID)
def test_a_process_descends_from_its_parent_though_that_is_hidden(hidepid: str) -> None:
    assert output(ASKED, os.getpid(), beginning=hiding(hidepid)) == "True"


def test_a_process_that_has_ended_has_no_descendants() -> None:
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
    assert processes.descendants(ended.pid) == []


@pytest.mark.parametrize("beginning", [(), *HIDEPID])
def test_all_who_look_for_descendants_find_a_child_and_its_child_whatever_is_hidden(beginning: str) -> None:
    told = output(FAMILY, beginning=hiding(beginning) if beginning else ())
    assert told.split() == ["True", "True", "True", "True"]
