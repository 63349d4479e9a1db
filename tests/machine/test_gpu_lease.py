"""One run a card at a time, whoever started the runs."""

from pathlib import Path

import pytest

from lock_holders import Start, close_input, first_line, kill, remove_all, started_programs, wait_until  # noqa: F401  # the last is a fixture
from trainbench.errors import InputError
from trainbench.machine import gpu_lease

FIRST, SECOND, THIRD = "GPU-aa11-1", "GPU-aa22-2", "GPU-bb33-3"

# --- holding a card ---

HOLD = """
import subprocess, sys
from pathlib import Path
from trainbench.machine.gpu_lease import leased

folder, child, count, *cards = sys.argv[1:]
with leased(cards, int(count), Path(folder), print, wait_limit_seconds=0) as lease:
    if child == "inherits":
        subprocess.Popen(["cat"], pass_fds=lease.descriptors)
    print(*lease.uuids, flush=True)
    sys.stdin.read()
"""
"""Holds so many cards, alone or with a child, until its standard input is closed."""

TAKE_TURNS = """
import fcntl, sys, time
from pathlib import Path
from trainbench.machine.gpu_lease import leased

folder, turns, count, *cards = sys.argv[1:]
# A second lock, of another kind. Opened before any lease, so that the kernel closes it first when it ends a process.
witnesses = {card: Path(folder, f"{card}.witness").open("w") for card in cards}
for turn in range(int(turns)):
    with leased(cards, int(count), Path(folder), print, wait_limit_seconds=40) as lease:
        if turn == 0:
            print("began", flush=True)
        for card in lease.uuids:
            fcntl.lockf(witnesses[card], fcntl.LOCK_EX | fcntl.LOCK_NB)
        time.sleep(0.01)
        for card in lease.uuids:
            fcntl.lockf(witnesses[card], fcntl.LOCK_UN)
"""
"""Holds so many cards again and again; fails when it meets another holder there."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "leases"
    path.mkdir()
    return path


def is_free(card: str, folder: Path, wait_limit_seconds: float = 0) -> bool:
    try:
        with gpu_lease.leased([card], 1, folder, print, wait_limit_seconds):
            return True
    except InputError:
        return False


def test_a_card_that_another_process_holds_is_not_leased(start: Start, folder: Path) -> None:
    assert first_line(start(HOLD, folder, "none", 1, FIRST)) == FIRST
    assert not is_free(FIRST, folder)


def test_a_run_takes_the_next_card_that_is_free(start: Start, folder: Path) -> None:
    assert first_line(start(HOLD, folder, "none", 1, FIRST, SECOND)) == FIRST
    with gpu_lease.leased([FIRST, SECOND], 1, folder, print) as lease:
        assert lease.uuids[0] == SECOND


def test_a_run_that_waited_gets_the_card_and_says_how_long(start: Start, folder: Path) -> None:
    holder = start(HOLD, folder, "none", 1, FIRST)
    assert first_line(holder) == FIRST
    close_input(holder)
    with gpu_lease.leased([FIRST], 1, folder, print, wait_limit_seconds=20) as lease:
        assert lease.waited_seconds > 0


def test_runs_that_take_turns_and_are_killed_never_meet_on_a_card(start: Start, folder: Path) -> None:
    """Those that are not killed finish all their turns: no lock is left behind."""
    finishing = [start(TAKE_TURNS, folder, 8, 1, FIRST, SECOND) for _ in range(3)]
    killed = [start(TAKE_TURNS, folder, 1000, 1, FIRST, SECOND) for _ in range(2)]
    for process in killed:
        assert first_line(process) == "began"
        kill(process)
    errors = [process.communicate(timeout=20)[1] for process in finishing]
    assert errors == ["", "", ""]


def test_a_lease_ends_with_its_block(folder: Path) -> None:
    with gpu_lease.leased([FIRST], 1, folder, print):
        pass
    assert is_free(FIRST, folder)


def test_a_lease_ends_with_an_error_in_its_block(folder: Path) -> None:
    with pytest.raises(ZeroDivisionError), gpu_lease.leased([FIRST], 1, folder, print):
        raise ZeroDivisionError
    assert is_free(FIRST, folder)


def test_a_killed_process_holds_no_card(start: Start, folder: Path) -> None:
    holder = start(HOLD, folder, "none", 1, FIRST)
    assert first_line(holder) == FIRST
    kill(holder)
    assert is_free(FIRST, folder)


def test_a_child_that_inherited_the_lease_holds_it_after_its_parent_was_killed(start: Start, folder: Path) -> None:
    holder = start(HOLD, folder, "inherits", 1, FIRST)
    assert first_line(holder) == FIRST
    kill(holder)
    assert not is_free(FIRST, folder)


def test_a_card_whose_name_has_slashes_is_locked_in_the_folder(folder: Path) -> None:
    with gpu_lease.leased(["MIG-GPU-aa11-1/2/0"], 1, folder, print):
        assert [path.name for path in folder.iterdir()] == ["MIG-GPU-aa11-1_2_0.lock"]


# --- waiting, and what is refused ---


def test_after_the_limit_the_refusal_names_cards_and_folder(folder: Path) -> None:
    with (
        gpu_lease.leased([FIRST], 1, folder, print),
        pytest.raises(InputError, match=rf"none of the 1 GPUs \({FIRST}\) came free .* the locks in {folder} "),
        gpu_lease.leased([FIRST], 1, folder, print, wait_limit_seconds=0),
    ):
        pass


def test_a_run_that_waits_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_lease, "_REPORT_SECONDS", 0.0)
    lines: list[str] = []
    with (
        gpu_lease.leased([FIRST], 1, folder, print),
        pytest.raises(InputError),
        gpu_lease.leased([FIRST], 1, folder, lines.append, wait_limit_seconds=0.1),
    ):
        pass
    assert lines[0] == "waiting for a GPU for 0 s: all 1 are leased to other runs"


def test_a_run_without_a_visible_card_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="no card is visible to it"), gpu_lease.leased([], 1, folder, print):
        pass


# --- several cards for one run ---


def test_a_run_holds_all_the_cards_that_it_asked_for(folder: Path) -> None:
    with gpu_lease.leased([FIRST, SECOND, THIRD], 2, folder, print) as lease:
        assert lease.uuids == (FIRST, SECOND)
        assert [card for card in (FIRST, SECOND, THIRD) if is_free(card, folder)] == [THIRD]


def test_a_run_takes_several_of_those_that_are_free(start: Start, folder: Path) -> None:
    assert first_line(start(HOLD, folder, "none", 1, SECOND)) == SECOND
    with gpu_lease.leased([FIRST, SECOND, THIRD], 2, folder, print) as lease:
        assert lease.uuids == (FIRST, THIRD)


def test_all_cards_come_free_with_the_block(folder: Path) -> None:
    with gpu_lease.leased([FIRST, SECOND], 2, folder, print):
        pass
    assert is_free(FIRST, folder)
    assert is_free(SECOND, folder)


@pytest.mark.parametrize("held", [FIRST, SECOND, THIRD])
def test_a_run_that_waits_for_several_cards_holds_none(
    start: Start, folder: Path, monkeypatch: pytest.MonkeyPatch, held: str
) -> None:
    assert first_line(start(HOLD, folder, "none", 1, held)) == held
    free: list[str] = []

    def look(_: float) -> None:
        free.extend(card for card in (FIRST, SECOND, THIRD) if is_free(card, folder))
        raise InputError("seen")

    monkeypatch.setattr(gpu_lease.time, "sleep", look)
    with (
        pytest.raises(InputError, match="seen"),
        gpu_lease.leased([FIRST, SECOND, THIRD], 3, folder, print),
    ):
        pass
    assert free == [card for card in (FIRST, SECOND, THIRD) if card != held]


def test_a_card_is_left_alone_as_soon_as_too_few_are_left(
    start: Start, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or two runs that both want two cards might take one each, time and again."""
    assert first_line(start(HOLD, folder, "none", 1, FIRST)) == FIRST
    tried: list[str] = []
    try_lock_in = gpu_lease.locks.try_lock_in

    def noting(folder: Path, name: str) -> int | None:
        tried.append(name)
        return try_lock_in(folder, name)

    monkeypatch.setattr(gpu_lease.locks, "try_lock_in", noting)
    with (
        pytest.raises(InputError),
        gpu_lease.leased([FIRST, SECOND], 2, folder, print, wait_limit_seconds=0),
    ):
        pass
    assert tried == [f"{FIRST}.lock"]


def test_runs_that_want_several_cards_and_runs_that_want_one_all_come_to_their_end(start: Start, folder: Path) -> None:
    """However they find the cards, in whichever order: none waits for what another one that waits holds."""
    both = [start(TAKE_TURNS, folder, 6, 2, *cards) for cards in ((FIRST, SECOND), (SECOND, FIRST), (FIRST, SECOND))]
    one = start(TAKE_TURNS, folder, 6, 1, FIRST, SECOND)
    errors = [process.communicate(timeout=60)[1] for process in (*both, one)]
    assert errors == [""] * 4


def test_a_killed_process_holds_none_of_its_cards(start: Start, folder: Path) -> None:
    holder = start(HOLD, folder, "none", 2, FIRST, SECOND)
    assert first_line(holder) == f"{FIRST} {SECOND}"
    kill(holder)
    assert is_free(FIRST, folder)
    assert is_free(SECOND, folder)


def test_a_child_inherits_every_card_of_a_lease(start: Start, folder: Path) -> None:
    holder = start(HOLD, folder, "inherits", 2, FIRST, SECOND)
    assert first_line(holder) == f"{FIRST} {SECOND}"
    kill(holder)
    assert not is_free(FIRST, folder)
    assert not is_free(SECOND, folder)


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_no_descriptor_is_left_of_an_attempt_that_found_too_few(start: Start, folder: Path) -> None:
    assert first_line(start(HOLD, folder, "none", 1, THIRD)) == THIRD
    before = open_descriptors()
    with (
        pytest.raises(InputError),
        gpu_lease.leased([FIRST, SECOND, THIRD], 3, folder, print, wait_limit_seconds=0),
    ):
        pass
    assert open_descriptors() == before


@pytest.mark.parametrize(("cards", "words"), [((FIRST,), "only 1 is visible"), ((FIRST, SECOND), "only 2 are visible")])
def test_a_run_that_needs_more_cards_than_are_visible_is_refused(
    folder: Path, cards: tuple[str, ...], words: str
) -> None:
    with (
        pytest.raises(InputError, match=f"needs 3 GPUs, but {words} to it"),
        gpu_lease.leased(cards, 3, folder, print),
    ):
        pass


def test_after_the_limit_the_refusal_says_how_many_did_not_come_free_together(start: Start, folder: Path) -> None:
    assert first_line(start(HOLD, folder, "none", 1, FIRST)) == FIRST
    with (
        pytest.raises(InputError, match=rf"not 2 of the 2 GPUs \({FIRST}, {SECOND}\) came free together within 0 s"),
        gpu_lease.leased([FIRST, SECOND], 2, folder, print, wait_limit_seconds=0),
    ):
        pass


def test_a_run_that_waits_for_several_says_how_many_are_leased(
    start: Start, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_lease, "_REPORT_SECONDS", 0.0)
    assert first_line(start(HOLD, folder, "none", 2, FIRST, SECOND)) == f"{FIRST} {SECOND}"
    lines: list[str] = []
    with (
        pytest.raises(InputError),
        gpu_lease.leased([FIRST, SECOND, THIRD], 2, folder, lines.append, wait_limit_seconds=0.1),
    ):
        pass
    assert lines[0] == "waiting for 2 GPUs for 0 s: more than 1 of the 3 are leased to other runs"


def test_a_leased_card_stays_leased_where_a_cleaner_removes_its_lock(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_lease.locks, "_LOOK_AGAIN_SECONDS", 0.01)
    with gpu_lease.leased([FIRST], 1, folder, print):
        remove_all(folder)
        wait_until(lambda: not is_free(FIRST, folder))
    assert is_free(FIRST, folder)
