"""Says what limits the answers: runs that are missing or failed, disturbances, single runs."""

from collections import Counter
from typing import Final

import pandas as pd

from trainbench.conclusions.comparison_markdown import FLAGGED_HEADING
from trainbench.results.cells_table import NEVER_AVERAGED
from trainbench.results.columns import CellKey, Row
from trainbench.results.runs_table import COMPLETED
from trainbench.results.tables import cells_by_key
from trainbench.words.wording import FLAGGED, MOST_NAMED, listed, numbered, quoted, status_words

OUT_OF_MEMORY: Final = "out_of_memory"
_ENDED: Final = frozenset({COMPLETED, OUT_OF_MEMORY})


def caveats(runs: pd.DataFrame, cells: pd.DataFrame) -> list[str]:
    """What limits the answers: runs that are missing or failed, disturbances, single runs."""
    told, by_key = [], cells_by_key(cells)
    statuses = Counter(runs["status"].tolist())
    absent = {status: count for status, count in statuses.items() if status not in _ENDED}
    if absent:
        total = sum(statuses.values())
        named = listed([f"{count} {status_words(status)}" for status, count in sorted(absent.items())])
        told.append(f"{total - sum(absent.values())} of {total} runs have results; {named}.")
    if statuses[OUT_OF_MEMORY]:
        told.append(f"Memory ran out in {numbered(statuses[OUT_OF_MEMORY], 'run')}: {_places(by_key, OUT_OF_MEMORY)}.")
    for column, status in NEVER_AVERAGED.items():
        if different := _places(by_key, status):
            with_what = f"{'on' if column == 'device_name' else 'with'} {status_words(status)}"
            told.append(f"No figures where the runs of a cell trained {with_what}: {different}.")
    completed, flagged = _completed_and_flagged(runs)
    if 0 < flagged < completed:
        told.append(
            f"{FLAGGED} Checks flagged {flagged} of {completed} completed runs: something may have disturbed "
            f"them. {quoted(FLAGGED_HEADING)} says what, and what to do."
        )
    single = int((cells["n"] == 1).sum())
    if single:
        of = f"{single} of {len(cells)} cells rest" if single < len(cells) else "All cells rest"
        told.append(f"{of} on one run and have no interval.")
    return told


def _completed_and_flagged(runs: pd.DataFrame) -> tuple[int, int]:
    """How many runs were completed, and how many of these were flagged."""
    completed = runs[runs["status"] == COMPLETED]
    return len(completed), int((completed["flags"] != "").sum())


def all_flagged(runs: pd.DataFrame) -> list[str]:
    """That no number is free of disturbance, where that is so: the first thing to know about all that follows."""
    completed, flagged = _completed_and_flagged(runs)
    if not completed or flagged < completed:
        return []
    which, them = (
        ("The only completed run is", "it") if completed == 1 else (f"All {completed} completed runs are", "them")
    )
    return [
        f"{FLAGGED} {which} flagged: something may have disturbed {them}, and with {them} every number here. "
        f"{quoted(FLAGGED_HEADING)} says what, and what to do."
    ]


def _places(by_key: dict[CellKey, Row], status: str) -> str:
    """The cells with runs of a status, a few by name; "" where there are none."""
    several_hosts = len({key[3] for key in by_key}) > 1
    named = [
        f"{model} at {size} on {device}" + (f" @ {host}" if several_hosts else "")
        for (model, size, device, host), cell in by_key.items()
        if status in cell["status"].split(", ")
    ]
    left_out = len(named) - MOST_NAMED
    return listed([*named[:MOST_NAMED], *([f"{left_out} more cells"] if left_out > 0 else [])]) if named else ""
