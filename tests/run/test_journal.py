"""What a training process noted can be read however the process ended."""

import errno
from pathlib import Path

import pytest

from trainbench.run import journal


@pytest.fixture
def path(tmp_path: Path) -> Path:
    notes = journal.Journal(tmp_path / "journal.jsonl")
    notes.note({"dataset": {"classes": 4}, "epochs": [], "samples_trained": 0})
    notes.note({"epochs": [{"epoch": 1}], "samples_trained": 160})
    notes.note({"epochs": [{"epoch": 2}], "samples_trained": 320})
    return tmp_path / "journal.jsonl"


def test_later_notes_replace_earlier_ones_and_epochs_are_added(path: Path) -> None:
    assert journal.read(path) == {
        "dataset": {"classes": 4},
        "epochs": [{"epoch": 1}, {"epoch": 2}],
        "samples_trained": 320,
    }


def test_a_last_line_cut_short_is_left_out(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])
    assert journal.read(path)["epochs"] == [{"epoch": 1}]


def test_a_journal_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    assert journal.read(tmp_path / "journal.jsonl") == {}


def test_a_note_that_the_disk_does_not_take_raises() -> None:
    with pytest.raises(OSError, match="No space left") as raised:
        journal.Journal(Path("/dev/full")).note({"epochs": []})
    assert raised.value.errno == errno.ENOSPC
