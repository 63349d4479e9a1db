"""Puts devices side by side, in the shape of the 2017 tables: as data, and as text that begins with the answers."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Final

import pandas as pd

from trainbench.conclusions.crossover import Verdict
from trainbench.conclusions.tables.speedups import outcome_of
from trainbench.results.cells_table import CELL_FIGURES
from trainbench.results.columns import CellKey, Row, ratio_in
from trainbench.results.executors import Executor, executors_of
from trainbench.results.runs_table import FLAG_LEVELS
from trainbench.results.statistics import Outcome, Ratio
from trainbench.results.tables import TableOrder, cells_by_key, groups_of, rows_of
from trainbench.words.markdown import literal
from trainbench.words.wording import (
    FLAGGED,
    UNKNOWN,
    format_estimate,
    format_fixed,
    format_mean,
    format_ratio,
    framework_words,
    listed,
    status_words,
)

FLAGGED_HEADING: Final = "Flagged runs"


@dataclass(frozen=True)
class Compared:
    """The tables that the comparison puts together."""

    cells: pd.DataFrame
    checks: pd.DataFrame
    speedups: pd.DataFrame
    crossovers: pd.DataFrame
    accuracy_times: pd.DataFrame
    costs: pd.DataFrame
    scaling_fits: pd.DataFrame
    core_equivalents: pd.DataFrame

    @classmethod
    def of(cls, tables: Mapping[str, pd.DataFrame]) -> "Compared":
        """Those of all tables that it takes."""
        return cls(**{each.name: tables[each.name] for each in fields(cls)})


@dataclass(frozen=True)
class Measure:
    """A row of the comparison: a metric, its unit, and how the Markdown table shows it.

    `row` is None for a measure of comparison.csv alone; `scale` converts the metric to the unit in `row`;
    `only_if_known` leaves the row out of a table in which no device knows it.
    """

    metric: str
    unit: str
    row: str | None = None
    scale: float = 1.0
    only_if_known: bool = False

    def value(self, row: Row) -> float | None:
        """The metric of a row: a figure, or the mean of a share."""
        found: float | None = row[self.metric if self.metric in row else f"{self.metric}_mean"]
        return found


MEASURES: Final = (
    Measure("cpu_percent", "%", "CPU (% of one core)"),
    Measure("gpu_utilization_percent", "%", "GPU utilisation (%)", only_if_known=True),
    Measure("gpu_memory_mib", "MiB", "GPU memory (MiB)", only_if_known=True),
    Measure("power_watts", "W", "GPU power (W)", only_if_known=True),
    Measure("energy_joules_per_epoch", "J", "GPU energy an epoch (J)", only_if_known=True),
    Measure("cpu_energy_joules_per_epoch", "J", "CPU energy an epoch (J)", only_if_known=True),
    Measure("train_seconds_per_epoch", "s", "Seconds an epoch"),
    Measure("samples_per_second", "1/s", "Samples a second"),
    Measure("final_accuracy", "fraction", "Final accuracy (%)", scale=100.0),
    Measure("eval_seconds_per_epoch", "s"),
    Measure("epoch_seconds", "s"),
    Measure("startup_seconds", "s"),
    Measure("peak_memory_mib", "MiB"),
    Measure("other_cpu_percent", "%"),
)

# Rows that stand only where no cell of a table is without them: measures of the tables of times and costs.
TIME_TO_ACCURACY: Final = Measure("time_to_accuracy_seconds", "s", only_if_known=True)
PRICE_PER_EPOCH: Final = Measure("price_per_epoch", "currency", only_if_known=True)
PRICE_TO_ACCURACY: Final = Measure("price_to_accuracy", "currency", only_if_known=True)


def comparison_table(compared: Compared, order: TableOrder) -> pd.DataFrame:
    """The comparison as data: a row for each model, batch size and measure, a column a device.

    The columns are `model, batch_size, measure, unit` and then one a device, named `device` where all results
    come from one host and `host/device` otherwise. Values are those of the table of cells, over runs; a cell without a
    completed run holds its status in words ("out of memory"), and what is unknown is None.
    """
    cells = compared.cells
    executors = executors_of(cells, order)
    hosts = {executor.host for executor in executors}
    by_key, speedups = cells_by_key(cells), cells_by_key(compared.speedups)
    times, costs = cells_by_key(compared.accuracy_times), cells_by_key(compared.costs)
    rows: list[tuple[object, ...]] = []
    for model, batch_size in groups_of(cells, order):
        keys = [(model, batch_size, executor.device, executor.host) for executor in executors]
        column = [by_key.get(key) for key in keys]
        for measure in MEASURES:
            values = [_value_or_status(cell, measure) for cell in column]
            rows.append((model, batch_size, measure.metric, measure.unit, *values))
        if len(executors) > 1:
            ratios = [_ratio_or_status(by_key.get(key), speedups.get(key)) for key in keys]
            rows.append((model, batch_size, "speedup", "ratio", *ratios))
        for measure, found in ((TIME_TO_ACCURACY, times), (PRICE_PER_EPOCH, costs), (PRICE_TO_ACCURACY, costs)):
            known = [measure.value(found[key]) if key in found else None for key in keys]
            rows.append((model, batch_size, measure.metric, measure.unit, *known))
        counts = [None if cell is None else cell["n"] for cell in column]
        rows.append((model, batch_size, "completed_runs", "runs", *counts))
        flagged = [None if cell is None else cell["flagged_runs"] for cell in column]
        rows.append((model, batch_size, "flagged_runs", "runs", *flagged))
    names = [executor.device if len(hosts) == 1 else f"{executor.host}/{executor.device}" for executor in executors]
    # Values stay Python objects: numbers, words and unknowns share a column.
    return pd.DataFrame(rows, columns=["model", "batch_size", "measure", "unit", *names], dtype=object)


def comparison_markdown(
    compared: Compared, order: TableOrder, headlines: Sequence[str] = (), caveats: Sequence[str] = ()
) -> str:
    """The comparison to be read: the answers, a table for each model and batch size as in 2017, how to read them.

    `headlines` are the sentences to begin with, `caveats` what limits them, as on the page.
    Figures that vary by factors (times, rates, energies) are geometric means over runs with their 95 % interval in
    brackets; percentages are means followed by ± and the standard deviation. Speeds of cells with flagged runs are
    marked; the lines after the tables say what was found and what to do.
    """
    cells = compared.cells
    executors = executors_of(cells, order)
    parts = ["# Comparison of devices" if len(executors) > 1 else "# Results"]
    if headlines:
        parts.append("\n".join(f"- {literal(sentence)}" for sentence in headlines))
    if caveats:
        parts += ["What limits these answers:", "\n".join(f"- {literal(sentence)}" for sentence in caveats)]
    answers = [f"**{literal(model)}**: {literal(answer)}" for model, answer in answers_of(compared, executors)]
    if answers:
        parts += ["## From which batch size on", "\n".join(f"- {answer}" for answer in answers)]
    shown = shown_of(compared)
    for model, batch_size in groups_of(cells, order):
        keys = [(model, batch_size, executor.device, executor.host) for executor in executors]
        table = pd.DataFrame(
            [[literal(name), *fields] for name, *fields in group_rows(shown, keys)],
            columns=["", *(literal(executor.label) for executor in executors)],
        )
        # Text as it is: tabulate would read a device called 1e5 as a number.
        text = table.to_markdown(index=False, disable_numparse=True, colalign=("left", *("right" for _ in executors)))
        parts += [f"## {literal(model)}, batch size {batch_size}", text]
    several_hosts = len({executor.host for executor in executors}) > 1
    for title, section in (
        ("CPU by its number of threads", _best_threads_markdown(compared.scaling_fits, several_hosts)),
        ("How many cores match a GPU", _equivalents_markdown(compared, several_hosts)),
    ):
        if section is not None:
            parts += [f"## {title}", section]
    found = _flag_lines(cells, len(executors) > 1, _advice(compared.checks))
    if found:
        parts += [f"## {FLAGGED_HEADING}", "\n".join(found)]
    parts += ["## How to read this", *_legend(cells, executors)]
    return "\n\n".join(parts) + "\n"


@dataclass(frozen=True)
class Shown:
    """Rows of the tables by cell."""

    cells: Mapping[CellKey, Row]
    speedups: Mapping[CellKey, Row]
    times: Mapping[CellKey, Row]
    costs: Mapping[CellKey, Row]


def shown_of(compared: Compared) -> Shown:
    """The rows that the tables of models and batch sizes are made of."""
    return Shown(
        cells=cells_by_key(compared.cells),
        speedups=cells_by_key(compared.speedups),
        times=cells_by_key(compared.accuracy_times),
        costs=cells_by_key(compared.costs),
    )


def group_rows(shown: Shown, keys: Sequence[CellKey]) -> list[list[str]]:
    """The rows of one model and batch size in the shape of 2017: a name, then a field for each key, a device."""
    column = [shown.cells.get(key) for key in keys]
    rows = _computed_with(column)
    rows += [
        [measure.row, *(_cell_text(cell, measure) for cell in column)]
        for measure in MEASURES
        if measure.row is not None and not (measure.only_if_known and _unknown_in(column, measure))
    ]
    speedups = [shown.speedups.get(key) for key in keys]
    known = [row for row in speedups if row is not None]
    if len(keys) > 1 and known:
        over = f"Speedup over {known[0]['reference_device']}"
        rows.append(
            [over, *(_speedup_text(shown.cells.get(key), row) for key, row in zip(keys, speedups, strict=True))]
        )
        # Nobody asks how much faster than itself a CPU is.
        if any(row["best_cpu_device"] not in {row["reference_device"], row["device"]} for row in known):
            texts = [UNKNOWN if row is None else ratio_text(row, "speedup_over_best_cpu") for row in speedups]
            rows.append(["Speedup over the CPU with the least mean", *texts])
    times = [shown.times.get(key) for key in keys]
    targets = [row["target_accuracy"] for row in times if row is not None]
    if targets:
        name = f"Seconds to {100 * targets[0]:g} % accuracy"
        rows.append(
            [
                name,
                *(
                    _absent_text(cell) if row is None else _time_text(row)
                    for cell, row in zip(column, times, strict=True)
                ),
            ]
        )
    costs = [shown.costs.get(key) for key in keys]
    for measure, name in ((PRICE_PER_EPOCH, "Price of an epoch"), (PRICE_TO_ACCURACY, "Price to that accuracy")):
        priced = [row for row in costs if row is not None and measure.value(row) is not None]
        if priced:
            texts = [
                _absent_text(cell) if row is None else figure_text(row, measure)
                for cell, row in zip(column, costs, strict=True)
            ]
            rows.append([f"{name} ({priced[0]['currency']})", *texts])
    rows.append(["Runs", *(_runs_text(cell) for cell in column)])
    return rows


def _computed_with(column: Sequence[Row | None]) -> list[list[str]]:
    """Rows of the framework and the precision of each device, each where there are several."""
    rows = []
    for name, key, words in (("Framework", "framework", framework_words), ("Precision", "precision", str)):
        known = [None if cell is None else cell[key] for cell in column]
        if len(set(known) - {None}) > 1:
            rows.append([name, *(UNKNOWN if value is None else words(value) for value in known)])
    return rows


def answers_of(compared: Compared, executors: Sequence[Executor]) -> list[tuple[str, str]]:
    """A model and a sentence or two on a device: how many times faster, how sure, from which batch size on."""
    labels = {(executor.device, executor.host): executor.label for executor in executors}
    series: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows_of(compared.speedups):
        series.setdefault((row["model"], row["device"], row["host"]), []).append(row)
    answers = []
    for crossing in rows_of(compared.crossovers):
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
    beside = [
        *([f"no difference shown {at[Outcome.NO_DIFFERENCE]}"] if at[Outcome.NO_DIFFERENCE] else []),
        *_without_interval(rows),
    ]
    match crossing["verdict"]:
        case Verdict.FASTER_THROUGHOUT:
            return f"{device} is faster than {reference} {every}"
        case Verdict.SLOWER_THROUGHOUT:
            return f"{device} is slower than {reference} {every}"
        case Verdict.FASTER_FROM:
            lead = f"{device} is faster than {reference} from {_crossing_text(crossing)} on"
        case Verdict.FASTER_UP_TO:
            lead = f"{device} is faster than {reference} up to {_crossing_text(crossing)}"
        case Verdict.SINGLE_RUNS:
            seen = (Outcome.ABOVE_ONCE, Outcome.BELOW_ONCE, Outcome.EQUAL_ONCE)
            return f"in single runs {device} was {_sides_text([at[said] for said in seen], reference)}"
        case Verdict.NO_DIFFERENCE:
            _, *beside = beside
            lead = f"no difference is shown between {device} and {reference} {at[Outcome.NO_DIFFERENCE]}"
        case _:
            lead = f"{device} is {_sides_text([at[Outcome.ABOVE], at[Outcome.BELOW]], reference)}"
    return "; ".join([lead, *beside])


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


def _without_interval(rows: Sequence[Row]) -> list[str]:
    once = _sizes_text([row for row in rows if outcome_of(row).seen_once], len(rows))
    return [f"no interval {once}"] if once else []


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


def _equivalents_markdown(compared: Compared, several_hosts: bool) -> str | None:
    """How many cores match each GPU, or None where no GPU was measured beside a CPU of several numbers of threads."""
    rows = [
        [
            literal(row["model"]),
            str(row["batch_size"]),
            literal(f"{row['device']} @ {row['host']}" if several_hosts else row["device"]),
            literal(row["verdict"]),
        ]
        for row in rows_of(compared.core_equivalents)
    ]
    if not rows:
        return None
    table = pd.DataFrame(rows, columns=["model", "batch size", "GPU", "its equal"])
    return table.to_markdown(index=False, disable_numparse=True)


def _best_threads_markdown(fits: pd.DataFrame, several_hosts: bool) -> str | None:
    """The number of threads with the best mean beside all threads, or None where only one number was measured."""
    several = [column for column in ("framework", "precision") if fits[column].nunique() > 1]
    computed_with = {column: framework_words if column == "framework" else str for column in several}
    rows = [
        [
            literal(row["model"]),
            str(row["batch_size"]),
            *([literal(row["host"])] if several_hosts else []),
            *(literal(words(row[column] or UNKNOWN)) for column, words in computed_with.items()),
            best_threads_text(row),
            UNKNOWN if row["all_threads"] is None else str(row["all_threads"]),
            UNKNOWN if row["best_over_all_threads"] is None else ratio_text(row, "best_over_all_threads"),
        ]
        for row in rows_of(fits)
    ]
    if not rows:
        return None
    columns = [
        "model",
        "batch size",
        *(["host"] if several_hosts else []),
        *several,
        "best threads",
        "all threads",
        "best over all",
    ]
    return pd.DataFrame(rows, columns=columns).to_markdown(index=False, disable_numparse=True)


def best_threads_text(row: Row) -> str:
    """The number of threads with the highest mean, and over which others that is not shown: "4 (not shown over 8)"."""
    undecided = (row["undecided_threads"] or "").split()
    return f"{row['best_threads']}" + (f" (not shown over {listed(undecided)})" if undecided else "")


def efficiency_text(row: Row, unit: str = "") -> str:
    """An efficiency in percent with its interval, where it has one; that of the reference is 100 % by definition."""
    found = ratio_in(row, "efficiency").times(100)
    if row["device"] == row["reference_device"]:
        found = Ratio(found.value)
    return format_estimate(found.value, found.low, found.high, significant=3, unit=unit)


def _value_or_status(cell: Row | None, measure: Measure) -> float | str | None:
    if cell is None:
        return None
    return measure.value(cell) if cell["n"] else status_words(cell["status"])


def _ratio_or_status(cell: Row | None, speedup: Row | None) -> float | str | None:
    if cell is not None and not cell["n"]:
        return status_words(cell["status"])
    return None if speedup is None else float(speedup["speedup"])


def _cell_text(cell: Row | None, measure: Measure) -> str:
    if cell is None:
        return UNKNOWN
    if not cell["n"]:
        return status_words(cell["status"])
    if measure.metric not in CELL_FIGURES:
        return _mean_and_sd_text(cell, measure)
    shown = figure_text(cell, measure)
    if cell["first_epoch_only"] and "_per_" in measure.metric:
        shown += " *"
    if cell["flagged_runs"] and measure.metric == "train_seconds_per_epoch":
        shown += f" {FLAGGED}"
    return shown


def figure_text(row: Row, measure: Measure, unit: str = "") -> str:
    """A figure and its unit with its interval, or that there is none because it rests on one run."""
    value = measure.value(row)
    if value is None:
        return UNKNOWN
    low, high = row[f"{measure.metric}_low"], row[f"{measure.metric}_high"]
    return format_estimate(value, low, high, unit=unit) + _single(row)


def _single(row: Row) -> str:
    return " (one run)" if row["n"] == 1 else ""


def _mean_and_sd_text(cell: Row, measure: Measure) -> str:
    mean = measure.value(cell)
    if mean is None:
        return UNKNOWN
    sd = cell[f"{measure.metric}_sd"]
    return format_mean(mean * measure.scale, None if sd is None else sd * measure.scale)


def _unknown_in(column: Sequence[Row | None], measure: Measure) -> bool:
    return all(cell is None or measure.value(cell) is None for cell in column)


def _speedup_text(cell: Row | None, speedup: Row | None) -> str:
    if cell is not None and not cell["n"]:
        return status_words(cell["status"])
    return UNKNOWN if speedup is None else ratio_text(speedup)


def ratio_text(row: Row, name: str = "speedup") -> str:
    """How many times, with its interval where it has one."""
    ratio = ratio_in(row, name) if row[name] is not None else None
    if ratio is None:
        return UNKNOWN
    if ratio == Ratio(1.0, 1.0, 1.0):
        return format_ratio(1.0)
    return format_ratio(ratio.value, ratio.low, ratio.high)


def _absent_text(cell: Row | None) -> str:
    """Why a cell has no conclusion: how its runs ended, or that it is unknown."""
    return UNKNOWN if cell is None or cell["n"] else status_words(cell["status"])


def _time_text(row: Row) -> str:
    if row["verdict"] != "reached":
        return str(row["verdict"])
    return figure_text(row, TIME_TO_ACCURACY)


def _runs_text(cell: Row | None) -> str:
    if cell is None:
        return UNKNOWN
    if cell["n"] == cell["runs"]:
        return str(cell["n"])
    return f"{cell['n']} of {cell['runs']} ({status_words(cell['status'])})"


def _advice(checks: pd.DataFrame) -> dict[str, str]:
    """What to do about each flag, by its name: a check gives one advice, whatever it found."""
    return {row["name"]: row["advice"] for row in rows_of(checks) if row["level"] in FLAG_LEVELS}


def _flag_lines(cells: pd.DataFrame, several_executors: bool, advice: Mapping[str, str]) -> list[str]:
    """A line a flag: in how many runs, of which cells, and what to do."""
    rows = [cell for cell in rows_of(cells) if cell["n"]]
    several_hosts = len({cell["host"] for cell in rows}) > 1
    places: dict[str, dict[str, int]] = {}
    for cell in rows:
        place = f"{cell['model']} {cell['batch_size']}" + (f" {cell['device']}" if several_executors else "")
        place += f" @ {cell['host']}" if several_hosts else ""
        for flag in cell["flags"].split():
            name, _, count = flag.rpartition(":")
            of_flag = places.setdefault(name, {})
            of_flag[place] = of_flag.get(place, 0) + int(count)
    runs = sum(cell["n"] for cell in rows)
    lines = []
    for name, counts in places.items():
        listed = "all cells" if len(counts) == len(rows) else ", ".join(counts)
        line = f"{name}: {sum(counts.values())} of {runs} runs ({listed})"
        lines.append(f"- {FLAGGED} {literal(f'{line}: {advice[name]}' if name in advice else line)}")
    return lines


def _legend(cells: pd.DataFrame, executors: Sequence[Executor]) -> list[str]:
    """What a reader must know: what the numbers are and which hardware they come from."""
    paragraphs = [
        f"{'Each column is a device. ' if len(executors) > 1 else ''}Times, rates, energies and ratios are geometric "
        "means over the runs of a cell with their 95 % interval in brackets, which takes two runs; percentages and "
        "sizes are means ± their standard deviation. The speed of a run is that of training alone, evaluation left "
        "out: the median over its steady epochs, which are all but the first. CPU and GPU use are means over the "
        f"training time of these epochs; 100 % is one core busy. {UNKNOWN} is unknown or not measured."
    ]
    if any(_known(cells, measure) for measure in MEASURES if measure.only_if_known):
        paragraphs.append(
            "GPU memory is the most that all processes together used of the card. GPU power and energy are the card's "
            "alone, not the machine's; a run on several cards has their sum."
        )
    if cells["first_epoch_only"].any():
        paragraphs.append(
            "\\* Runs of a single epoch have no steady one: their speed is that of the first epoch, "
            "which can be slower."
        )
    if cells["flagged_runs"].any():
        paragraphs.append(
            f'{FLAGGED} Something may have disturbed runs of this cell: "{FLAGGED_HEADING}" says what, and what '
            "to do. checks.csv has every finding."
        )
    return [*paragraphs, *_host_lines(cells, executors)]


def _known(cells: pd.DataFrame, measure: Measure) -> bool:
    column = measure.metric if measure.metric in cells else f"{measure.metric}_mean"
    return bool(cells[column].notna().any())


def _host_lines(cells: pd.DataFrame, executors: Sequence[Executor]) -> list[str]:
    rows = rows_of(cells)
    lines = []
    for host in dict.fromkeys(executor.host for executor in executors):
        on_host = [row for row in rows if row["host"] == host]
        devices = []
        for executor in executors:
            if executor.host == host:
                hardware = _distinct(hardware_of(row) for row in on_host if row["device"] == executor.device)
                detail = f", {executor.detail}" if executor.detail else ""
                devices.append(f"{executor.device} = {' / '.join(hardware) or 'unknown'}{detail}")
        hostnames = ", ".join(_distinct(row["hostname"] for row in on_host))
        lines.append(literal(f"{host} ({hostnames}): {'; '.join(devices)}"))
    if len(lines) == 1:
        return [f"Host {lines[0]}"]
    return ["Hosts:", "\n".join(f"- {line}" for line in lines)]


def hardware_of(cell: Row) -> str | None:
    """What a cell trained on: a card or several, or a processor and its threads."""
    name: str | None = cell["device_name"]
    if name is not None and (cell["gpus"] or 0) > 1:
        return f"{cell['gpus']} x {name}"
    if cell["device_kind"] != "cpu" or name is None or cell["threads"] is None:
        return name
    return f"{cell['device_name']}, {cell['threads']} {'thread' if cell['threads'] == 1 else 'threads'}"


def _distinct(texts: Iterable[str | None]) -> list[str]:
    """The different texts in order of appearance, unknown ones left out."""
    return list(dict.fromkeys(text for text in texts if text is not None))
