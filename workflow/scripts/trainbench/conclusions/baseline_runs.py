"""Reduces metrics records to what the comparison with a baseline needs of each run."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from trainbench.results.columns import Row
from trainbench.results.comparability import canary_before, decisive_settings, other_variables, threads_in_use
from trainbench.results.measured import measured
from trainbench.results.sources import FOLDER_KEY
from trainbench.results.tables import rows_of

UNKNOWN: Final = "unknown"


def measured_runs(records: Iterable[Mapping[str, Any]]) -> list[Row]:
    """The rows of records in the table of runs, each with what two sets of results are compared by.

    That are its `settings`, `surroundings` and `environment`, all by name, the `threads` that it used, as text, and its
    `canary`. Each record is let go before the next is taken.
    """
    facts: dict[str, Row] = {}

    def noted() -> Iterator[Mapping[str, Any]]:
        for record in records:
            used = record["device_used"]
            facts[record["run_id"]] = {
                "settings": decisive_settings(record),
                "surroundings": _surroundings(record),
                "environment": other_variables(record),
                "threads": None if used is None else _text(threads_in_use(used["threads"])),
                "canary": canary_before(record),
            }
            # A set counts as one folder, wherever its runs lie.
            yield {**record, FOLDER_KEY: None}

    rows = {row["run_id"]: row for row in rows_of(measured(noted()).runs)}
    return [{**rows[run_id], **of_run} for run_id, of_run in facts.items()]


def _surroundings(record: Mapping[str, Any]) -> dict[str, str]:
    """The software and the machine under a run, each fact by its name."""
    software, host, device = record["software"], record["host"], record["device"]
    quota = host["cgroup_cpu_quota_cores"]
    facts = {
        "trainbench": software["trainbench"],
        "framework": software["framework"],
        **software["versions"],
        "Python": software["python"],
        "TF32": software["flags"]["tf32"],
        "deterministic operations": software["flags"]["deterministic"],
        "host name": host["hostname"],
        "kernel": host["kernel"],
        "usable threads": host["usable_threads"],
        "CPU time limit (cores)": "none" if quota is None else quota,
    }
    if record["settings"]["device"]["kind"] == "gpu":
        facts["GPU driver"] = host["gpu_driver_version"]
    if record["device_used"] is not None:
        facts[f"hardware of {device}"] = record["device_used"]["name"]
    return {name: _text(value) for name, value in facts.items()}


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return UNKNOWN if value is None else str(value)
