"""Tells which hosts of metrics records are one machine, although its kernel keeps more memory for itself at times.

A host's id is made of its memory in whole GiB, among others, and rounding has edges: an update of the kernel, or one of
its settings, gives a machine near an edge another id. Standard library only: rules import this module.
"""

from collections.abc import Mapping
from typing import Any, Final

_CPU: Final = ("model", "architecture", "sockets", "cores", "threads", "numa_nodes")

MEMORY_RATIO: Final = 1.08
"""With the same CPUs and at most so many times the memory of the other, a host is the same machine.

What a kernel keeps or not, by far the most of it, is for a second one that writes down why the first crashed: 512 MiB
from 8 GiB on and less than that share of more (Ubuntu's kdump-tools 1.10, /etc/default/grub.d/kdump-tools.cfg:
crashkernel=2G-4G:320M,4G-32G:512M,32G-64G:1024M,64G-128G:2048M,128G-:4096M). Memory that is built in adds more.
"""


def are_one(host: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two hosts, as "host" of metrics records has them, are one."""
    if host["id"] == other["id"]:
        return True
    less_mib, more_mib = sorted((host["memory_mib"], other["memory_mib"]))
    return more_mib <= less_mib * MEMORY_RATIO and all(host["cpu"][part] == other["cpu"][part] for part in _CPU)


class Hosts:
    """Gives all ids of one machine the first of them that was met."""

    def __init__(self) -> None:
        self._first: list[Mapping[str, Any]] = []
        self.names: dict[str, str] = {}
        """What each id that was met is called."""

    def name(self, host: Mapping[str, Any]) -> str:
        """What to call a host, as "host" of a metrics record has it."""
        if host["id"] not in self.names:
            first = next((known for known in self._first if are_one(known, host)), host)
            if first is host:
                self._first.append(host)
            self.names[host["id"]] = first["id"]
        return self.names[host["id"]]
