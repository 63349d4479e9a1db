"""Says what each host is: the inventory that `lscpu` and `nvidia-smi` gave in 2017."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

import pandas as pd

from trainbench.results.columns import chosen, real, text, whole
from trainbench.results.tables import TableOrder, frame

HOST_COLUMNS: Final = (
    text("host", "hostnames", "cpu_model")
    | whole("sockets", "cores", "threads")
    | text("usable_threads")
    | whole("numa_nodes")
    | real("cpu_max_mhz")
    | text("caches")
    | real("memory_mib")
    | text("cpu_quota_cores", "gpus", "gpu_memory_mib", "gpu_driver_version", "system", "kernel", "software")
    | whole("runs")
)

# What may differ from run to run stands side by side, in order of appearance.
_JOINED: Final = ("hostnames", "usable_threads", "cpu_quota_cores", "gpu_driver_version", "system", "kernel")


class Inventory:
    """Collects the hosts of metrics records one by one; `table` gives a row a host."""

    def __init__(self) -> None:
        self._hosts: dict[str, dict[str, Any]] = {}
        self._published: list[Mapping[str, Any]] = []

    def add(self, record: Mapping[str, Any]) -> None:
        """Take note of the host of one metrics record."""
        host, software = record["host"], record["software"]
        joined = {column: dict[str, None]() for column in (*_JOINED, "frameworks", "pythons")}
        new = {**chosen(host, ("cpu", "memory_mib")), "gpus": {}, "runs": 0, **joined}
        known = self._hosts.setdefault(host["id"], new)
        known["runs"] += 1
        # A scheduler may show a job some of the cards only: all that any run saw count, machine by machine.
        cards = known["gpus"].setdefault(host["hostname"], {})
        for gpu in host["gpus"]:
            cards.setdefault(gpu["uuid"] or gpu["index"], gpu)
        framework, version = software["framework"], software["versions"].get(software["framework"])
        for column, value in (
            ("hostnames", host["hostname"]),
            ("cpu_quota_cores", host["cgroup_cpu_quota_cores"]),
            *chosen(host, ("usable_threads", "gpu_driver_version", "system", "kernel")).items(),
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
    software = [*sorted(known["frameworks"]), *sorted(known["pythons"])]
    return {
        "host": host,
        **{column: ", ".join(known[column]) or None for column in _JOINED},
        "cpu_model": cpu["model"],
        **chosen(cpu, ("sockets", "cores", "threads", "numa_nodes")),
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
    counts = Counter(names)
    return ", ".join(name if count == 1 else f"{count} x {name}" for name, count in counts.items()) or None
