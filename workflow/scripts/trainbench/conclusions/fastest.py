"""Says which device trains each model fastest, how fast that is, and what takes the word from it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import pandas as pd

from trainbench.conclusions.cell_texts import figure_text, hardware_of
from trainbench.conclusions.tables.speedups import rivals, speedup
from trainbench.results.columns import Row, grouped
from trainbench.results.executors import Executor, labels_of
from trainbench.results.tables import TableOrder, models_of, rows_of
from trainbench.words.wording import FLAGGED, few, format_ratio, more

MOST_MODELS: Final = 4
SECONDS: Final = "train_seconds_per_epoch"
ONCE: Final = "how sure that is takes at least two runs of each"


def speeds(cells: pd.DataFrame, executor: Executor, order: TableOrder) -> list[str]:
    """How fast the only device is, a sentence a model."""
    sentences = []
    by_model = _by_model(cells, order)
    for model, known in list(by_model.items())[:MOST_MODELS]:
        best = min(known, key=_seconds)
        others = [cell for cell in known if cell is not best]
        hardware = hardware_of(best)
        on = f"{executor.label} ({hardware})" if hardware and hardware != executor.label else executor.label
        place = f"at batch size {best['batch_size']} on {on}"
        undecided, once = rivals(best, others)
        if undecided:
            beside = rivals_text(*([str(cell["batch_size"]) for cell in cells] for cells in (undecided, once)))
            sentences.append(f"{model}: {_seconds_text(best)} {place}; {beside}.")
        elif once:
            least = f"the least of {len(others) + 1} batch sizes"
            sentences.append(f"{model}: {_seconds_text(best)} {place}, {least}; {ONCE}.")
        else:
            sentences.append(f"{model} trains {'fastest ' if others else ''}{place}: {_seconds_text(best)}.")
    return [*sentences, *more(len(by_model) - MOST_MODELS, "model", "Every cell")]


def fastest(cells: pd.DataFrame, executors: Sequence[Executor], order: TableOrder) -> list[str]:
    """Which device trains each model fastest, and how far ahead of the next at the same batch size it is.

    A device is called the fastest where its best cell is shown to be faster than every cell of the others. Models that
    one device trains fastest share a sentence, which shows the one that takes longest.
    """
    labels, details = labels_of(executors), {executor.key: executor.detail for executor in executors}
    clear: dict[tuple[str, str], list[Row]] = {}
    doubtful: list[str] = []
    by_model = _by_model(cells, order)
    for model, known in by_model.items():
        best = min(known, key=_seconds)
        device = best["device"], best["host"]
        others = [cell for cell in known if (cell["device"], cell["host"]) != device]
        undecided, once = rivals(best, others)
        on = _on(best, labels, details)
        if undecided:
            beside = rivals_text(*(places(best, sorted(cells, key=_seconds), labels) for cells in (undecided, once)))
            words = f"{_seconds_text(best)} at batch size {best['batch_size']} on {on}"
            doubtful.append(f"{model}: {words}; {beside}.")
        elif once:
            doubtful.append(f"{model}: {_lead(best, known, labels, f' on {on}')}; {ONCE}.")
        else:
            clear.setdefault(device, []).append(best)
    sentences = []
    for members in clear.values():
        best = max(members, key=_seconds)
        models = few([cell["model"] for cell in members], f"{len(members)} models", MOST_MODELS)
        verb, takes = ("train", f"; {best['model']} takes") if len(members) > 1 else ("trains", ":")
        lead = _lead(best, by_model[best["model"]], labels)
        sentences.append(f"{models} {verb} fastest on {_on(best, labels, details)}{takes} {lead}.")
    sentences += doubtful
    return [
        *sentences[:MOST_MODELS],
        *more(len(sentences) - MOST_MODELS, "answer", "Which device for which model"),
    ]


def _on(cell: Row, labels: Mapping[tuple[str, str], str], details: Mapping[tuple[str, str], str]) -> str:
    """A device and in brackets on what it computes."""
    device = cell["device"], cell["host"]
    in_brackets = ", ".join(filter(None, (hardware_of(cell), details[device])))
    return labels[device] + (f" ({in_brackets})" if in_brackets else "")


def places(best: Row, cells: Iterable[Row], labels: Mapping[tuple[str, str], str]) -> list[str]:
    """The devices of these cells, each with the batch size of its first one where that is not that of the best."""
    return [
        labels[device] + ("" if first["batch_size"] == best["batch_size"] else f" at {first['batch_size']}")
        for device, (first, *_) in grouped(cells, ("device", "host")).items()
    ]


def rivals_text(undecided: Sequence[str], once: Sequence[str]) -> str:
    """What takes the word "fastest" from the one with the least mean: as in "no difference shown from cpu at 128"."""
    parts = [
        f"{words} {few(names, f'{len(names)} others')}"
        for words, names in (("no difference shown from", undecided), ("no interval beside", once))
        if names
    ]
    return "; ".join(parts)


def _lead(best: Row, known: Sequence[Row], labels: Mapping[tuple[str, str], str], on: str = "") -> str:
    """How fast the cell with the least mean is, and how far ahead of the nearest device at its batch size."""
    words = f"{_seconds_text(best)} at batch size {best['batch_size']}{on}"
    others = [cell for cell in known if cell["batch_size"] == best["batch_size"] and cell is not best]
    second = min(others, key=_seconds, default=None)
    ahead = None if second is None else speedup(second, best)
    if second is None or ahead is None:
        return words
    ratio = format_ratio(ahead.value, ahead.low, ahead.high)
    return f"{words}, {ratio} faster than {labels[second['device'], second['host']]}"


def _by_model(cells: pd.DataFrame, order: TableOrder) -> dict[str, list[Row]]:
    """The cells with a known speed of each model, in order."""
    by_model = grouped(rows_of(cells[cells[SECONDS].notna()]), ["model"])
    return {model: by_model[model,] for model in models_of(cells, order) if (model,) in by_model}


def _seconds(cell: Row) -> float:
    return float(cell["train_seconds_per_epoch"])


def _seconds_text(cell: Row) -> str:
    """As in "12.15 s an epoch (11.90-12.40)"."""
    return figure_text(cell, SECONDS, " s an epoch") + (f" {FLAGGED}" if cell["flagged_runs"] else "")
