"""Tables of what lies behind the results: machines, flags, runs without results, settings."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from trainbench.figures.drawn_study import DrawnStudy
from trainbench.page import table as columns
from trainbench.page.cell_tables import MOST_EXECUTORS
from trainbench.page.table import Column, Field, Table, exact, listing, number, several, words
from trainbench.results.columns import Row, grouped
from trainbench.results.runs_table import COMPLETED, FLAG_LEVELS
from trainbench.words.wording import UNKNOWN, format_number, framework_words, status_words

MIB_PER_GIB: Final = 1024

_OF_HOSTS: Final[Mapping[str, str]] = {
    "hostnames": "Names",
    "cpu_model": "CPU",
    "sockets": "Sockets",
    "cores": "Cores",
    "threads": "Threads",
    "usable_threads": "Threads usable by runs",
    "cpu_quota_cores": "CPU time limit (cores)",
    "numa_nodes": "NUMA nodes",
    "cpu_max_mhz": "Highest clock (MHz)",
    "caches": "Caches",
    "memory_mib": "Memory (GiB)",
    "gpus": "GPUs",
    "gpu_memory_mib": "GPU memory (MiB)",
    "gpu_driver_version": "GPU driver",
    "system": "System",
    "kernel": "Kernel",
    "software": "Software",
    "runs": "Runs",
}

_WHAT_TO_DO: Final[Mapping[str, str]] = {
    "out_of_memory": "a smaller batch or a device with more memory; snakemake retry measures it again",
    "failed": "see train.log in the run's folder; any call of snakemake carries it out again",
    "missing": "not begun, under way or broken off; any call of snakemake carries it out",
    "outdated": "measured with other settings; any call of snakemake measures it again",
}

_PARTS: Final[Mapping[str, str]] = {
    "study": "Study",
    "model": "Model",
    "device": "Device",
    "data": "Data",
    "software": "Software on",
}


def _hosts(study: DrawnStudy) -> Table:
    """What each machine is, a column a host; what is known of none is left out."""
    machines = study.rows("hosts")[:MOST_EXECUTORS]
    return Table(
        "hosts",
        "The machines that the runs ran on",
        "hosts",
        [quality for quality in _OF_HOSTS if any(machine[quality] is not None for machine in machines)],
        (
            Column("Host", lambda quality: Field(_OF_HOSTS[quality])),
            *(Column(machine["host"], partial(_quality, machine)) for machine in machines),
        ),
        short=True,
    )


def _quality(machine: Row, quality: str) -> Field:
    value = machine[quality]
    if isinstance(value, float):
        return Field(format_number(value / MIB_PER_GIB, 3) if quality == "memory_mib" else f"{value:g}")
    return Field(UNKNOWN if value is None else str(value))


def _flagging(study: DrawnStudy) -> list[Row]:
    """The findings that flag a run."""
    return [row for row in study.rows("checks") if row["level"] in FLAG_LEVELS]


def _flags(study: DrawnStudy) -> Sequence[Row]:
    """Each check that flagged runs: how many, and what to do."""
    by_name = grouped(_flagging(study), ["name"])
    total = (study.tables["runs"]["status"] == COMPLETED).sum()
    counts = {name: len({row["run_id"] for row in found}) for name, found in by_name.items()}
    return [
        {
            "name": name,
            "level": found[0]["level"],
            "runs": f"{counts[name,]} of {total}",
            "advice": "; or: ".join(dict.fromkeys(row["advice"] for row in found)),
        }
        for (name,), found in sorted(by_name.items(), key=lambda named: -counts[named[0]])
    ]


_CHECK: Final = words("Check", "name", "name")
_REPEAT: Final = exact("Repeat", "repeat")
_ADVICE: Final = words("What to do", "advice", "words")

TABLES: Final = (
    _hosts,
    listing(
        "checks",
        "What checks flagged, and what to do about it",
        (_CHECK, words("Level", "level"), number("Runs", lambda row: Field(row["runs"])), _ADVICE),
        _flags,
        name="flags",
        stacked=True,
    ),
    listing(
        "checks",
        "Every flagged run: what was found",
        (*columns.CELL, _REPEAT, _CHECK, words("Found", "finding", "words"), _ADVICE),
        _flagging,
        name="flagged-runs",
        stacked=True,
    ),
    listing(
        "runs",
        "Runs that were not completed",
        (
            *columns.CELL,
            _REPEAT,
            Column("Status", lambda row: Field(status_words(row["status"]))),
            Column("What to do", lambda row: Field(_WHAT_TO_DO.get(row["status"], UNKNOWN))),
        ),
        lambda study: [row for row in study.rows("runs") if row["status"] != COMPLETED],
        name="unfinished",
        stacked=True,
    ),
    listing(
        "settings",
        "Every setting and version of the runs, and how many runs had it",
        (
            Column("Of", lambda row: Field(" ".join(filter(None, (_PARTS[row["part"]], row["of"]))))),
            Column("Framework", lambda row: Field(framework_words(row["framework"] or "")), where=several("framework")),
            words("Name", "name"),
            words("Value", "value", "code"),
            exact("Runs", "runs"),
        ),
        lambda study: [row for row in study.rows("settings") if row["part"] in _PARTS],
    ),
)
