"""Epochs that a process begins with are not steady."""

import pytest

from trainbench.records import steady


@pytest.mark.parametrize(
    ("epochs", "resumed_after", "expected"),
    [
        (0, [], []),
        (1, [], []),
        (4, [], [1, 2, 3]),
        (5, [3], [1, 2, 4]),
        (6, [2, 3], [1, 4, 5]),
        (2, [1], []),
        (3, [3], [1, 2]),
    ],
)
def test_the_first_epoch_and_those_right_after_a_resume_are_left_out(
    epochs: int, resumed_after: list[int], expected: list[int]
) -> None:
    assert steady.positions(epochs, resumed_after) == expected


@pytest.mark.parametrize(
    ("resumed_after", "expected"), [([], [0, 1, 2, 3]), ([1], [1, 2, 3]), ([1, 3], [3]), ([4], [])]
)
def test_the_last_part_begins_after_the_last_resume(resumed_after: list[int], expected: list[int]) -> None:
    assert list(steady.positions_of_last_part(4, resumed_after)) == expected
