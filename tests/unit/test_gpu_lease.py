"""Runs may use the cards that are visible to them, one run a card at a time, whoever started the runs."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from trainbench import gpu_lease
from trainbench.errors import InputError
from trainbench.nvml import Gpu, Inventory

PACKAGE_FOLDER = Path(gpu_lease.__file__).parents[1]
FIRST, SECOND, THIRD = "GPU-aa11-1", "GPU-aa22-2", "GPU-bb33-3"
MIG = "MIG-5c2d3b1e-0000-5d7c-9a4f-1c2e3d4f5a6b"


def machine(*uuids: str | None) -> Inventory:
    """Make up a machine with these cards."""
    cards = (Gpu(index, "NVIDIA H200", uuid, 143_771.0, None) for index, uuid in enumerate(uuids))
    return Inventory(driver_version="580.65.06", cuda_driver_version="13.0", gpus=tuple(cards), problem=None)


# --- which cards ---


def test_without_the_variable_all_cards_may_be_used() -> None:
    assert gpu_lease.pool(machine(FIRST, SECOND, THIRD), {}) == (FIRST, SECOND, THIRD)


def test_a_card_without_a_uuid_cannot_be_used() -> None:
    assert gpu_lease.pool(machine(None, SECOND), {}) == (SECOND,)


@pytest.mark.parametrize(
    ("visible", "cards"),
    [
        pytest.param("2,0", [THIRD, FIRST], id="numbers, in the order given"),
        pytest.param(" 0 , 1 ", [FIRST, SECOND], id="spaces"),
        pytest.param(f"{SECOND},{THIRD}", [SECOND, THIRD], id="UUIDs"),
        pytest.param("GPU-b", [THIRD], id="the start of a UUID"),
        pytest.param(f"1,{FIRST}", [SECOND, FIRST], id="a number and a UUID"),
        pytest.param(MIG, [MIG], id="a MIG device"),
        pytest.param("0,0,1", [FIRST, SECOND], id="a card named twice"),
        pytest.param(f"0,{FIRST}", [FIRST], id="a card named in two ways"),
        pytest.param("", [], id="nothing"),
        pytest.param("-1", [], id="minus one"),
        pytest.param("NoDevFiles", [], id="a word"),
        pytest.param("0,-1,1", [FIRST], id="minus one ends the list"),
        pytest.param("0,7,1", [FIRST], id="a number beyond the cards ends the list"),
        pytest.param("0,GPU-zz,1", [FIRST], id="an unknown UUID ends the list"),
        pytest.param("0,GPU-aa,1", [FIRST], id="a start that two UUIDs share ends the list"),
        pytest.param("0,,1", [FIRST], id="an empty entry ends the list"),
    ],
)
def test_the_variable_says_which_cards_may_be_used(visible: str, cards: list[str]) -> None:
    chosen = gpu_lease.pool(machine(FIRST, SECOND, THIRD), {"CUDA_VISIBLE_DEVICES": visible})
    assert chosen == tuple(cards)


def test_a_number_counts_cards_without_a_uuid_too() -> None:
    assert gpu_lease.pool(machine(None, SECOND), {"CUDA_VISIBLE_DEVICES": "1"}) == (SECOND,)


@pytest.mark.parametrize("environment", [{}, {"CUDA_VISIBLE_DEVICES": "0"}])
def test_a_machine_without_cards_offers_none(environment: dict[str, str]) -> None:
    assert gpu_lease.pool(machine(), environment) == ()


@pytest.mark.parametrize("environment", [{}, {gpu_lease.LEASE_FOLDER_VARIABLE: ""}])
def test_all_users_share_one_folder_by_default(environment: dict[str, str]) -> None:
    assert gpu_lease.lease_folder(environment) == gpu_lease.DEFAULT_LEASE_FOLDER


def test_the_folder_can_be_set() -> None:
    assert gpu_lease.lease_folder({gpu_lease.LEASE_FOLDER_VARIABLE: "/run/leases"}) == Path("/run/leases")


# --- holding a card ---

HOLD = """
import subprocess, sys
from pathlib import Path
from trainbench.gpu_lease import leased

folder, child, *cards = sys.argv[1:]
with leased(cards, Path(folder), print, wait_limit_seconds=0) as lease:
    if child != "none":
        # Without pass_fds nothing is closed on purpose: the descriptor itself has to see to that.
        inherited = {"pass_fds": [lease.descriptor]} if child == "inherits" else {"close_fds": False}
        subprocess.Popen(["cat"], **inherited)
    print(lease.uuid, flush=True)
    sys.stdin.read()
"""
"""Holds a card, alone or with a child, until its standard input is closed."""

TAKE_TURNS = """
import sys, time
from pathlib import Path
from trainbench.gpu_lease import leased

folder, *cards = sys.argv[1:]
print("ready", flush=True)
sys.stdin.readline()
for turn in range(5):
    with leased(cards, Path(folder), print) as lease:
        occupied = Path(folder, f"{lease.uuid}.occupied")
        occupied.touch(exist_ok=False)
        time.sleep(0.01)
        occupied.unlink()
"""
"""Holds a card five times; fails when it meets another holder there."""

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "leases"


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    """Start a program of this file; end it after the test."""
    with ExitStack() as started:

        def start_one(program: str, *arguments: str) -> "subprocess.Popen[str]":
            process = subprocess.Popen(
                [sys.executable, "-c", program, str(folder), *arguments],
                env={**os.environ, "PYTHONPATH": str(PACKAGE_FOLDER)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            started.enter_context(process)
            started.callback(process.kill)
            return process

        yield start_one


def first_line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def kill(process: "subprocess.Popen[str]") -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


def close_input(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    process.stdin.close()


def is_free(card: str, folder: Path, wait_limit_seconds: float = 0) -> bool:
    try:
        with gpu_lease.leased([card], folder, print, wait_limit_seconds):
            return True
    except InputError:
        return False


def test_a_card_that_another_process_holds_is_not_leased(start: Start, folder: Path) -> None:
    assert first_line(start(HOLD, "none", FIRST)) == FIRST
    assert not is_free(FIRST, folder)


def test_a_run_takes_the_next_card_that_is_free(start: Start, folder: Path) -> None:
    assert first_line(start(HOLD, "none", FIRST, SECOND)) == FIRST
    with gpu_lease.leased([FIRST, SECOND], folder, print) as lease:
        assert lease.uuid == SECOND


def test_runs_that_take_turns_never_meet_on_a_card(start: Start) -> None:
    processes = [start(TAKE_TURNS, FIRST, SECOND) for _ in range(3)]
    assert [first_line(process) for process in processes] == ["ready"] * 3
    for process in processes:
        close_input(process)
    errors = [process.stderr.read() for process in processes if process.stderr]
    assert errors == ["", "", ""]


def test_a_lease_ends_with_its_block(folder: Path) -> None:
    with gpu_lease.leased([FIRST], folder, print):
        pass
    assert is_free(FIRST, folder)


def test_a_lease_ends_with_an_error_in_its_block(folder: Path) -> None:
    with pytest.raises(ZeroDivisionError), gpu_lease.leased([FIRST], folder, print):
        raise ZeroDivisionError
    assert is_free(FIRST, folder)


def test_a_killed_process_holds_no_card(start: Start, folder: Path) -> None:
    holder = start(HOLD, "none", FIRST)
    assert first_line(holder) == FIRST
    kill(holder)
    assert is_free(FIRST, folder)


def test_a_child_that_inherited_the_lease_holds_it_after_its_parent_was_killed(start: Start, folder: Path) -> None:
    holder = start(HOLD, "inherits", FIRST)
    assert first_line(holder) == FIRST
    kill(holder)
    assert not is_free(FIRST, folder)


def test_the_lease_is_over_when_such_a_child_has_ended_too(start: Start, folder: Path) -> None:
    holder = start(HOLD, "inherits", FIRST)
    assert first_line(holder) == FIRST
    kill(holder)
    close_input(holder)
    assert is_free(FIRST, folder, wait_limit_seconds=20)


def test_a_child_that_did_not_inherit_the_lease_does_not_hold_it(start: Start, folder: Path) -> None:
    holder = start(HOLD, "does not inherit", FIRST)
    assert first_line(holder) == FIRST
    kill(holder)
    assert is_free(FIRST, folder)


# --- waiting, and what is refused ---


def test_after_the_limit_the_refusal_names_cards_and_folder(folder: Path) -> None:
    with (
        gpu_lease.leased([FIRST], folder, print),
        pytest.raises(InputError, match=rf"none of the 1 GPUs \({FIRST}\) came free .* the locks in {folder} "),
        gpu_lease.leased([FIRST], folder, print, wait_limit_seconds=0),
    ):
        pass


def test_a_run_that_waits_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_lease, "_REPORT_SECONDS", 0.0)
    lines: list[str] = []
    with (
        gpu_lease.leased([FIRST], folder, print),
        pytest.raises(InputError),
        gpu_lease.leased([FIRST], folder, lines.append, wait_limit_seconds=0.1),
    ):
        pass
    assert "all 1 are leased to other runs" in lines[0]


def test_a_run_without_a_visible_card_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="no card is visible to it"), gpu_lease.leased([], folder, print):
        pass


# --- lock files ---


def test_other_users_can_lease_the_same_cards_whatever_the_umask(folder: Path) -> None:
    umask = os.umask(0o077)
    try:
        with gpu_lease.leased([FIRST], folder, print):
            modes = [path.stat().st_mode & 0o7777 for path in (folder, folder / f"{FIRST}.lock")]
    finally:
        os.umask(umask)
    assert modes == [0o1777, 0o666]


def test_a_card_whose_name_has_slashes_is_locked_in_the_folder(folder: Path) -> None:
    with gpu_lease.leased(["MIG-GPU-aa11-1/2/0"], folder, print):
        assert [path.name for path in folder.iterdir()] == ["MIG-GPU-aa11-1_2_0.lock"]


def test_a_link_in_place_of_a_lock_file_is_not_followed(folder: Path, tmp_path: Path) -> None:
    folder.mkdir()
    (folder / f"{FIRST}.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"), gpu_lease.leased([FIRST], folder, print):
        pass
