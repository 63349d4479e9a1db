"""Says what two runs must have in common for their speeds to be compared."""

from collections.abc import Mapping
from typing import Any, Final

# Name the run, its cell or its random numbers, or stand for the data by the bytes of its files, which another
# compression changes: the contents count, `dataset.sha256`.
NO_DIFFERENCE: Final = frozenset(
    {"model", "batch_size", "repeat", "seed", "study_seed", "device.name", "dataset_files_sha256"}
)
SHOWN_DIGITS: Final = 12
_ENVIRONMENT: Final = "device.environment"

# These follow from which card the run leased and from its threads.
NOT_COMPARED: Final = frozenset({"CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS"})


def decisive_settings(record: Mapping[str, Any]) -> dict[str, str]:
    """The settings of a run that its speed may depend on, by their dotted names, as text.

    All settings count but those of `NO_DIFFERENCE`. The number of epochs does, because the steady figure of a longer
    run covers later epochs, which can be slower; so do isolation and the monitor's interval. The data set counts by
    its contents, where the run got as far as to load it. The variables that a device sets are one setting, "none" where
    it sets none.
    """
    settings = {name: value for name, value in _leaves(record["settings"]) if not name.startswith(f"{_ENVIRONMENT}.")}
    settings[_ENVIRONMENT] = variables_text(own_variables(record)) or "none"
    if record["dataset"] is not None:
        settings["dataset.sha256"] = record["dataset"]["sha256"][:SHOWN_DIGITS]
    return {name: value for name, value in settings.items() if name not in NO_DIFFERENCE}


def own_variables(record: Mapping[str, Any]) -> Mapping[str, str]:
    """The variables of the environment that a run's device sets."""
    variables: Mapping[str, str] = record["settings"]["device"].get("environment", {})
    return variables


def variables_text(variables: Mapping[str, str]) -> str:
    """Variables as a shell has them, by name: `LD_PRELOAD=a.so OMP_WAIT_POLICY=active`."""
    return " ".join(f"{name}={value}" for name, value in sorted(variables.items()))


def other_variables(record: Mapping[str, Any]) -> dict[str, str]:
    """The other variables that a run had and its speed may depend on: those of its card and its threads left out."""
    left_out = NOT_COMPARED | own_variables(record).keys()
    recorded: Mapping[str, str] = record["software"]["flags"]["environment"]
    return {name: value for name, value in recorded.items() if name not in left_out}


def threads_in_use(pools: Mapping[str, int | None]) -> int | None:
    """With how many threads a run computed: `device_used.threads` of its metrics file has those of both pools.

    Either each operation is shared among the threads, or as many operations go side by side; the other pool has one.
    """
    return max((threads for threads in pools.values() if threads is not None), default=None)


def canary_before(record: Mapping[str, Any]) -> tuple[str, float] | None:
    """On what the fixed computation ran before a run, and what it took in seconds: only like is compared with like.

    Older versions of trainbench timed it on one core, newer ones on all cores of the run at once; None where it could
    not be timed.
    """
    canary = record["canary"]
    if "before_seconds" in canary:
        return "one core", canary["before_seconds"]
    seconds = canary["before"] and canary["before"]["together_seconds"]
    cores = canary["cores"]
    return None if seconds is None else ("its core" if cores == 1 else f"all {cores} cores at once", seconds)


def _leaves(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    leaves: list[tuple[str, str]] = []
    for name, value in settings.items():
        if isinstance(value, Mapping):
            leaves += _leaves(value, f"{prefix}{name}.")
        else:
            leaves.append((f"{prefix}{name}", f"{value:g}" if isinstance(value, float) else str(value)))
    return leaves
