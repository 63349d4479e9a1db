"""Says how long a cell trains until its accuracy reaches a target, and how many runs never did."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Final

import pandas as pd

from trainbench.results.columns import (
    CELL,
    CELL_KEY,
    ESTIMATE,
    CellKey,
    Row,
    ended,
    grouped,
    real,
    spread_out,
    text,
    whole,
)
from trainbench.results.statistics import estimate
from trainbench.results.tables import TableOrder, frame, rows_of
from trainbench.words.wording import numbered

_TIMES: Final = {
    "time_to_accuracy_seconds": ("elapsed_seconds",),
    "time_to_accuracy_with_startup_seconds": (
        *("startup_seconds", "data_seconds", "compile_seconds", "elapsed_seconds", "eval_until_then"),
    ),
}
"""The parts of each time, of the run and of its first epoch that reaches the target; unknown where one of them is."""

COLUMNS: Final = (
    CELL
    | real("target_accuracy")
    | whole("n", "reached", "not_reached", "epochs_trained")
    | real("epochs_to_accuracy_median")
    | ended(_TIMES, (*ESTIMATE, "_median"))
    | text("verdict")
)


def accuracy_times_table(
    runs: pd.DataFrame, epochs: pd.DataFrame, target_accuracy: Mapping[str, float], order: TableOrder
) -> pd.DataFrame:
    """A row for each cell of a model with a target, with the columns `COLUMNS`.

    A run reaches its target (a share of all test images) with the first epoch whose accuracy is at or above it.
    `time_to_accuracy_seconds` is the training time until the end of that epoch, evaluation left out;
    `..._with_startup_seconds` all time from the start of the process to the end of that epoch's evaluation. Runs that
    did not reach it are censored: all that is known is that they need longer. The geometric means and their intervals
    therefore stand only where all runs reached the target; the medians where more than half did, a run that did not
    counting as longer than any that did, as far as it was trained for as long. Published results are left out: their
    accuracies and seconds cover something else.
    """
    epochs = _whole_traces(epochs)
    traced = set(epochs["run_id"])
    reaching = _first_reaching(epochs, target_accuracy)
    shown = [
        run
        for run in rows_of(runs)
        if run["model"] in target_accuracy and run["run_id"] in traced and run["startup_seconds"] is not None
    ]
    rows = [
        _row(key, members, [reaching.get(run["run_id"]) for run in members], target_accuracy[key[0]])
        for key, members in grouped(shown).items()
    ]
    return frame(rows, COLUMNS, order)


def _whole_traces(epochs: pd.DataFrame) -> pd.DataFrame:
    """The epochs of runs of which every epoch from the first on is there."""
    run_key = [*CELL_KEY, "run_id"]
    ordered = epochs.sort_values([*run_key, "epoch"])
    has_gap = ordered["epoch"] != ordered.groupby(run_key, sort=False).cumcount() + 1
    return ordered[~has_gap.groupby([ordered[column] for column in run_key], sort=False).transform("any")]


def _first_reaching(epochs: pd.DataFrame, targets: Mapping[str, float]) -> dict[str, Row]:
    """Each run's first epoch at or above its model's target, with the seconds of all epochs until then."""
    run_key = [*CELL_KEY, "run_id"]
    of_targets = epochs[epochs["model"].isin(list(targets))]
    of_targets = of_targets.assign(
        eval_until_then=of_targets.groupby(run_key, sort=False)["eval_seconds"].cumsum(),
        target=of_targets["model"].map(dict(targets)).astype("float64"),
    )
    first = of_targets[of_targets["accuracy"] >= of_targets["target"]].drop_duplicates(run_key)
    return {row["run_id"]: row for row in rows_of(first)}


def _row(key: CellKey, runs: Sequence[Row], reached: Sequence[Row | None], target: float) -> dict[str, Any]:
    both = list(zip(runs, reached, strict=True))
    without = [run for run, epoch in both if epoch is None]
    censored = len(without)
    # Of runs that did not reach it, what is known is what the shortest shows.
    epochs_trained = min(run["epochs"] for run in without or runs)
    trained_seconds = min((run["train_seconds"] for run in without), default=math.inf)
    epochs = [None if epoch is None else epoch["epoch"] for epoch in reached]
    row: dict[str, Any] = {
        **dict(zip(CELL_KEY, key, strict=True)),
        "target_accuracy": target,
        "n": len(runs),
        "reached": len(runs) - censored,
        "not_reached": censored,
        "epochs_trained": epochs_trained,
        "epochs_to_accuracy_median": _median(epochs, epochs_trained if without else math.inf),
        "verdict": _verdict(len(runs), censored, epochs_trained),
    }
    for name, parts in _TIMES.items():
        seconds = [None if epoch is None else _sum([{**run, **epoch}[part] for part in parts]) for run, epoch in both]
        row |= spread_out(name, None if censored else estimate(seconds))
        row[f"{name}_median"] = _median(seconds, trained_seconds)
    return row


def _sum(seconds: Sequence[Any]) -> float | None:
    return None if None in seconds else float(sum(seconds))


def _median(values: Sequence[float | None], seen: float) -> float | None:
    """The median with unknown ones, of which is known that they are above `seen`, as larger than all others.

    None where it is one of them, or above `seen`, where it may lie anywhere.
    """
    known = [math.inf if value is None else value for value in values]
    highest = statistics.median_high(known)
    return statistics.median(known) if highest <= seen and highest < math.inf else None


def _verdict(runs: int, censored: int, epochs_trained: int) -> str:
    if not censored:
        return "reached"
    words = f"not in {numbered(epochs_trained, 'epoch')}"
    return words if censored == runs else f"{censored} of {runs} runs {words}"
