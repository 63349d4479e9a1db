"""Says what stands in a row of a table as the fields of text that people read: figures, ratios, hardware, why not."""

from trainbench.results.columns import Row, ratio_in
from trainbench.results.statistics import Ratio
from trainbench.words.wording import UNKNOWN, format_estimate, format_mean, format_ratio, listed, numbered, status_words


def figure_text(row: Row, name: str, unit: str = "") -> str:
    """A figure and its unit with its interval, or that there is none because it rests on one run."""
    if row[name] is None:
        return UNKNOWN
    single = " (one run)" if row["n"] == 1 else ""
    return format_estimate(row[name], row[f"{name}_low"], row[f"{name}_high"], unit=unit) + single


def mean_text(row: Row, name: str, scale: float = 1.0) -> str:
    """The mean of a share, a percentage or a size and its standard deviation, times `scale`."""
    mean, sd = row[f"{name}_mean"], row[f"{name}_sd"]
    return UNKNOWN if mean is None else format_mean(mean * scale, None if sd is None else sd * scale)


def ratio_text(row: Row, name: str = "speedup") -> str:
    """How many times, with its interval where it has one."""
    if row[name] is None:
        return UNKNOWN
    found = ratio_in(row, name)
    return format_ratio(1.0) if found == Ratio(1.0, 1.0, 1.0) else format_ratio(found.value, found.low, found.high)


def efficiency_text(row: Row, unit: str = "") -> str:
    """An efficiency in percent with its interval, where it has one; that of the reference is 100 % by definition."""
    found = ratio_in(row, "efficiency").times(100)
    if row["device"] == row["reference_device"]:
        found = Ratio(found.value)
    return format_estimate(found.value, found.low, found.high, significant=3, unit=unit)


def absent_text(cell: Row | None) -> str:
    """Why a cell has no conclusion: how its runs ended, or that it is unknown."""
    return UNKNOWN if cell is None or cell["n"] else status_words(cell["status"])


def best_threads_text(row: Row) -> str:
    """The number of threads with the highest mean, and over which others that is not shown: "4 (not shown over 8)"."""
    undecided = (row["undecided_threads"] or "").split()
    return f"{row['best_threads']}" + (f" (not shown over {listed(undecided)})" if undecided else "")


def hardware_of(cell: Row) -> str | None:
    """What a cell trained on: a card or several, or a processor and its threads."""
    name: str | None = cell["device_name"]
    if name is not None and (cell["gpus"] or 0) > 1:
        return f"{cell['gpus']} x {name}"
    if cell["device_kind"] != "cpu" or name is None or cell["threads"] is None:
        return name
    return f"{name}, {numbered(cell['threads'], 'thread')}"
