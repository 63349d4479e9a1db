"""Says which epochs of a run are steady: all but those that a process begins with, which also warm the machine up.

Standard library only: what trains and what reads results both ask.
"""

from collections.abc import Collection


def positions(epochs: int, resumed_after: Collection[int] = ()) -> list[int]:
    """Positions, counted from 0, of the steady ones among so many `epochs`.

    Left out are the first, and those that came first after the run was resumed: `resumed_after` has the numbers,
    counted from 1, of the epochs before them.
    """
    cold = {0, *resumed_after}
    return [position for position in range(epochs) if position not in cold]


def positions_of_last_part(epochs: int, resumed_after: Collection[int] = ()) -> range:
    """Positions, counted from 0, of the epochs that the run's last process trained: all if it was never resumed."""
    return range(max(resumed_after, default=0), epochs)
