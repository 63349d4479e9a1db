"""Says what each host is: the inventory that `lscpu` and `nvidia-smi` gave in 2017."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import pandas as pd

from trainbench.results.tables import TableOrder, frame

HOST_COLUMNS: Final[Mapping[str, str]] = {
    "host": "str",
    "hostnames": "str",
    "cpu_model": "str",
    "sockets": "Int64",
    "cores": "Int64",
    "threads": "Int64",
    "usable_threads": "str",
    "numa_nodes": "Int64",
    "cpu_max_mhz": "float64",
    "caches": "str",
    "memory_mib": "float64",
    "cpu_quota_cores": "str",
    "gpus": "str",
    "gpu_memory_mib": "str",
    "gpu_driver_version": "str",
    "system": "str",
    "kernel": "str",
    "software": "str",
    "runs": "int64",
}


class Inventory:
    """Collects the hosts of metrics records one by one; `table` gives a row a host."""

    def __init__(self) -> None:
        self._hosts: dict[str, dict[str, Any]] = {}
        self._published: list[Mapping[str, Any]] = []

    def add(self, record: Mapping[str, Any]) -> None:
        """Take note of the host of one metrics record."""
        host, software = record["host"], record["software"]
        known = self._hosts.setdefault(
            host["id"],
            {
                "cpu": host["cpu"],
                "memory_mib": host["memory_mib"],
                "gpus": {},
                "runs": 0,
                # What may differ from run to run, in order of appearance.
                "hostnames": {},
                "usable_threads": {},
                "cpu_quota_cores": {},
                "gpu_driver_version": {},
                "system": {},
                "kernel": {},
                "frameworks": {},
                "pythons": {},
            },
        )
        known["runs"] += 1
        # A scheduler may show a job some of the cards only: all that any run saw count, machine by machine.
        cards = known["gpus"].setdefault(host["hostname"], {})
        for gpu in host["gpus"]:
            cards.setdefault(gpu["uuid"] or gpu["index"], gpu)
        framework, version = software["framework"], software["versions"].get(software["framework"])
        for column, value in (
            ("hostnames", host["hostname"]),
            ("usable_threads", host["usable_threads"]),
            ("cpu_quota_cores", host["cgroup_cpu_quota_cores"]),
            ("gpu_driver_version", host["gpu_driver_version"]),
            ("system", host["system"]),
            ("kernel", host["kernel"]),
            ("frameworks", f"{framework} {version}" if version else None),
            ("pythons", f"Python {software['python']}"),
        ):
            if value is not None:
                known[column][str(value)] = None

    def add_published(self, row: Mapping[str, Any]) -> None:
        """Take note of a host of which only a description was published: a row with some of `HOST_COLUMNS`."""
        self._published.append(row)

    def table(self, order: TableOrder) -> pd.DataFrame:
        """A row a host, with the columns `HOST_COLUMNS`; values that differ between runs stand side by side."""
        measured = [_row(host, known) for host, known in self._hosts.items()]
        return frame([*measured, *self._published], HOST_COLUMNS, order)


def _row(host: str, known: Mapping[str, Any]) -> dict[str, Any]:
    cpu = known["cpu"]
    # Machines of the same hardware count as one host; their cards are those of one of them.
    gpus = list(max(known["gpus"].values(), key=len).values())
    joined = {
        column: ", ".join(known[column]) or None
        for column in (
            *("hostnames", "usable_threads", "cpu_quota_cores", "gpu_driver_version"),
            *("system", "kernel"),
        )
    }
    software = [*sorted(known["frameworks"]), *sorted(known["pythons"])]
    return {
        "host": host,
        **joined,
        "cpu_model": cpu["model"],
        **{column: cpu[column] for column in ("sockets", "cores", "threads", "numa_nodes")},
        "cpu_max_mhz": cpu["max_mhz"],
        "caches": ", ".join(_cache(cache) for cache in cpu["caches"] or ()) or None,
        "memory_mib": known["memory_mib"],
        "gpus": _counted(gpu["name"] or "unnamed GPU" for gpu in gpus),
        "software": ", ".join(software) or None,
        "gpu_memory_mib": _counted(f"{gpu['memory_mib']:.0f}" for gpu in gpus if gpu["memory_mib"]),
        "runs": known["runs"],
    }


def _cache(cache: Mapping[str, Any]) -> str:
    """A cache as lscpu words it: L1d 2 x 48 KiB."""
    kind = {"data": "d", "instruction": "i"}.get(cache["type"].lower(), "")
    size = "unknown size" if cache["size_kib"] is None else f"{cache['size_kib']:g} KiB"
    count = "" if cache["instances"] is None else f"{cache['instances']} x "
    return f"L{cache['level']}{kind} {count}{size}"


def _counted(names: Iterable[str]) -> str | None:
    """Equal names together: `4 x NVIDIA TITAN X`."""
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return ", ".join(name if count == 1 else f"{count} x {name}" for name, count in counts.items()) or None
