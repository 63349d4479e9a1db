"""Says which devices of which hosts were measured, and what each is called."""

from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from trainbench.results.tables import TableOrder, sorted_keys
from trainbench.words.wording import framework_words


@dataclass(frozen=True)
class Executor:
    """A device of a host: what one column of the comparison and one colour of the figures stand for.

    `label` names the host too where the results come from several hosts. `detail` says with what it computes, as in
    "PyTorch, bfloat16": its framework and its precision, each where there are several among all devices, else "".
    """

    device: str
    host: str
    label: str
    detail: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """Device and host."""
        return self.device, self.host


def executors_of(cells: pd.DataFrame, order: TableOrder) -> tuple[Executor, ...]:
    """The devices of each host that have at least one run, in order: by device, then by host."""
    columns = ("device", "host")
    pairs: list[tuple[str, str]] = sorted_keys(cells[[*columns]].itertuples(index=False, name=None), columns, order)
    several_hosts = len({host for _, host in pairs}) > 1
    details: dict[tuple[str, str], list[str]] = {pair: [] for pair in pairs}
    for column, words in (("framework", framework_words), ("precision", str)):
        known = cells[[*columns, column]].dropna().drop_duplicates()
        if known[column].nunique() > 1:
            for device, host, name in known.itertuples(index=False):
                details[device, host].append(words(name))
    return tuple(
        Executor(device, host, f"{device} @ {host}" if several_hosts else device, ", ".join(details[device, host]))
        for device, host in pairs
    )


def labels_of(executors: Iterable[Executor]) -> dict[tuple[str, str], str]:
    """What each is called, by device and host."""
    return {executor.key: executor.label for executor in executors}
