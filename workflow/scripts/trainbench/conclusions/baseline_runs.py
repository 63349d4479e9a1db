"""Reduces metrics records to what the comparison with a baseline needs of each run."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from trainbench.results.comparability import canary_before, decisive_settings, other_variables, threads_in_use
from trainbench.results.cross_checks import across_runs, compared_part
from trainbench.results.runs_table import COMPLETED, FLAG_LEVELS
from trainbench.results.sources import FOLDER_KEY
from trainbench.results.statistics import steady_median

UNKNOWN: Final = "unknown"

Cell = tuple[str, int, str]


@dataclass(frozen=True)
class MeasuredRun:
    """A run, reduced to what the comparison needs; `seconds_per_epoch` is the median over its steady epochs."""

    run_id: str
    cell: Cell
    host: str
    status: str
    seconds_per_epoch: float | None
    settings: Mapping[str, str]
    threads: str | None
    surroundings: Mapping[str, str]
    environment: Mapping[str, str]
    canary: tuple[str, float] | None
    flags: tuple[str, ...]


def measured_runs(records: Iterable[Mapping[str, Any]]) -> list[MeasuredRun]:
    """Reduce records, of which each is let go before the next is taken."""
    runs, compared = [], []
    for record in records:
        runs.append(_measured_run(record))
        # A set counts as one folder, wherever its runs lie.
        compared.append({**compared_part(record), FOLDER_KEY: None})
    across = across_runs(compared)
    return [
        replace(run, flags=tuple(dict.fromkeys([*run.flags, *(one.name for one in found if one.level in FLAG_LEVELS)])))
        for run in runs
        for found in [across[run.run_id]]
    ]


def _measured_run(record: Mapping[str, Any]) -> MeasuredRun:
    used = record["device_used"]
    seconds = [epoch["train_seconds"] for epoch in record["epochs"]] if record["status"] == COMPLETED else []
    return MeasuredRun(
        run_id=record["run_id"],
        cell=(record["model"], record["batch_size"], record["device"]),
        host=record["host"]["id"],
        status=record["status"],
        seconds_per_epoch=steady_median(seconds, record["resumed_after_epochs"]),
        settings=decisive_settings(record),
        threads=None if used is None else _text(threads_in_use(used["threads"])),
        surroundings=_surroundings(record),
        environment=other_variables(record),
        canary=canary_before(record),
        flags=tuple(check["name"] for check in record["checks"] if check["level"] in FLAG_LEVELS),
    )


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
    if value is None:
        return UNKNOWN
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)
