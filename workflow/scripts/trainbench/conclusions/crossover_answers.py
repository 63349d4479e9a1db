"""Says in sentences where each device is faster than the reference, and from which batch size on."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import pandas as pd

from trainbench.conclusions.cell_texts import ratio_text
from trainbench.conclusions.tables.crossovers import Verdict
from trainbench.conclusions.tables.speedups import outcome_of
from trainbench.results.columns import Row, grouped
from trainbench.results.executors import Executor, labels_of
from trainbench.results.statistics import Outcome
from trainbench.results.tables import rows_of
from trainbench.words.wording import format_fixed, listed


def answers_of(tables: Mapping[str, pd.DataFrame], executors: Sequence[Executor]) -> list[tuple[str, str]]:
    """A model and a sentence or two on a device: how many times faster, how sure, from which batch size on."""
    labels = labels_of(executors)
    series = grouped(rows_of(tables["speedups"]), ("model", "device", "host"))
    answers = []
    for crossing in rows_of(tables["crossovers"]):
        device = labels[crossing["device"], crossing["host"]]
        reference = labels[crossing["reference_device"], crossing["reference_host"]]
        rows = series[crossing["model"], crossing["device"], crossing["host"]]
        sentence = f"{_verdict_text(crossing, rows, device, reference)}: {_extremes_text(rows)}.{_doubt_text(crossing)}"
        answers.append((crossing["model"], sentence))
    return answers


def _verdict_text(crossing: Row, rows: Sequence[Row], device: str, reference: str) -> str:
    """Where the device is shown to be faster or slower than the reference, where not, and where that changes."""
    every = "at every batch size compared"
    at = {said: _sizes_text([row for row in rows if outcome_of(row) is said], len(rows)) for said in Outcome}
    once = _sizes_text([row for row in rows if outcome_of(row).seen_once], len(rows))
    told = {"no difference shown": at[Outcome.NO_DIFFERENCE], "no interval": once}
    beside = [f"{words} {sizes}" for words, sizes in told.items() if sizes]
    match crossing["verdict"]:
        case Verdict.FASTER_THROUGHOUT:
            return f"{device} is faster than {reference} {every}"
        case Verdict.SLOWER_THROUGHOUT:
            return f"{device} is slower than {reference} {every}"
        case Verdict.FASTER_FROM:
            lead = f"{device} is faster than {reference} from {_crossing_text(crossing)} {_end_text(rows, max)}"
        case Verdict.FASTER_UP_TO:
            lead = f"{device} is faster than {reference} {_end_text(rows, min)}up to {_crossing_text(crossing)}"
        case Verdict.SINGLE_RUNS:
            seen = (Outcome.ABOVE_ONCE, Outcome.BELOW_ONCE, Outcome.EQUAL_ONCE)
            return f"in single runs {device} was {_sides_text([at[said] for said in seen], reference)}"
        case Verdict.NO_DIFFERENCE:
            _, *beside = beside
            lead = f"no difference is shown between {device} and {reference} {at[Outcome.NO_DIFFERENCE]}"
        case _:
            lead = f"{device} is {_sides_text([at[Outcome.ABOVE], at[Outcome.BELOW]], reference)}"
    return "; ".join([lead, *beside])


def _end_text(rows: Sequence[Row], outermost: Callable[[Iterable[int]], int]) -> str:
    """Where what is shown ends, short of the batch sizes compared that lie beyond a crossover."""
    shown = outermost(row["batch_size"] for row in rows if outcome_of(row) is Outcome.ABOVE)
    is_last = shown == outermost(row["batch_size"] for row in rows)
    if outermost is max:
        return "on" if is_last else f"up to {shown}"
    return "" if is_last else f"from {shown} "


def _sides_text(at: Sequence[str], reference: str) -> str:
    """At which batch sizes a device is faster than the reference, slower, or as fast, each where there are any."""
    told = [
        (words, sizes) for words, sizes in zip(("faster than", "slower than", "as fast as"), at, strict=False) if sizes
    ]
    (first, sizes), *others = told
    return " and ".join([f"{first} {reference} {sizes}", *(f"{words} it {sizes}" for words, sizes in others)])


def _sizes_text(rows: Sequence[Row], compared: int) -> str:
    """As in "at 128 and 512"; "" for none."""
    sizes = [str(row["batch_size"]) for row in sorted(rows, key=lambda row: int(row["batch_size"]))]
    if len(sizes) == compared > 1:
        return "at every batch size compared"
    return f"at {listed(sizes)}" if sizes else ""


def _crossing_text(crossing: Row) -> str:
    """As in "a batch size of about 107 (90 to 130)": the interval alone where the values pass 1 several times in it."""
    low, at, high = (crossing[f"crossover_batch_size{part}"] for part in ("_low", "", "_high"))
    interval = f"{format_fixed(low, 0)} to {format_fixed(high, 0)}"
    return f"a batch size of {interval}" if at is None else f"a batch size of about {format_fixed(at, 0)} ({interval})"


def _doubt_text(crossing: Row) -> str:
    if crossing["certain"] is None:
        return " How sure that is takes at least two runs a cell."
    return "" if crossing["certain"] else " More repeats would tell more."


def _extremes_text(rows: Sequence[Row]) -> str:
    """The least and the greatest speedup of a series, and at which batch size."""
    least = min(rows, key=lambda row: float(row["speedup"]))
    greatest = max(rows, key=lambda row: float(row["speedup"]))
    texts = [
        f"{ratio_text(row)} at {row['batch_size']}" for row in ([greatest] if least is greatest else [least, greatest])
    ]
    return " to ".join(texts)
