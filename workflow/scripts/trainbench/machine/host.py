"""Says what machine this is: its CPU, memory, limits and cards, and a stable id made of its hardware.

What cannot be read is None. Functions that read files take the root of the tree, so that a recorded machine
can be read like this one.
"""

import hashlib
import json
import math
import os
import platform
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from trainbench.machine import control_groups
from trainbench.machine.kernel_files import CPUS, cpu_list, number, text

if TYPE_CHECKING:
    from trainbench.machine.gpu_cards import Gpu

BYTES_PER_KIB = 2**10
BYTES_PER_MIB = 2**20
MIB_PER_GIB = 1024
SLUG_LENGTH = 24
ROOT = Path("/")

# 64-bit ARM kernels give numbers (register MIDR_EL1) instead of a name: implementer and part. Names as in
# util-linux, sys-utils/lscpu-arm.c, here for the cores of machines that people train on. lscpu itself is not
# asked: which names it knows depends on its version, and the host's id would change with it.
ARM_CORES = {
    ("0x41", "0xd07"): "Cortex-A57",
    ("0x41", "0xd08"): "Cortex-A72",
    ("0x41", "0xd0b"): "Cortex-A76",
    ("0x41", "0xd0c"): "Neoverse-N1",
    ("0x41", "0xd40"): "Neoverse-V1",
    ("0x41", "0xd41"): "Cortex-A78",
    ("0x41", "0xd42"): "Cortex-A78AE",
    ("0x41", "0xd49"): "Neoverse-N2",
    ("0x41", "0xd4f"): "Neoverse-V2",
    ("0x41", "0xd84"): "Neoverse-V3",
    ("0x41", "0xd85"): "Cortex-X925",
    ("0x41", "0xd87"): "Cortex-A725",
    ("0x41", "0xd8e"): "Neoverse-N3",
    ("0x43", "0x0af"): "ThunderX2-99xx",
    ("0x46", "0x001"): "A64FX",
    ("0x48", "0xd01"): "TaiShan-v110",
    ("0x4e", "0x004"): "Carmel",
    ("0xc0", "0xac3"): "Ampere-1",
    ("0xc0", "0xac4"): "Ampere-1a",
}

# What a vendor adds to a model's name and nobody says.
NOISE = re.compile(
    r"""\((?:r|tm|c)\)          # trade marks
    | \b\d+th\sgen\b            # Intel
    | @.*                       # Intel: the nominal clock
    | \b(?:with|w/)\s+radeon.*  # AMD: the graphics on the same chip
    | \b\d+-cores?\b            # AMD
    | \b(?:cpu|processor)\b""",
    re.IGNORECASE | re.VERBOSE,
)


@dataclass(frozen=True)
class Cache:
    """One kind of CPU cache ("data", "instruction" or "unified"), the size of one, and how many online CPUs use."""

    level: int
    type: str
    size_kib: int | None
    instances: int


@dataclass(frozen=True)
class Cpu:
    """The machine's CPUs, counting what is online: physical cores, and logical CPUs as threads.

    `model` is the name the CPU gives itself, kinds of cores joined by " + " where they differ; `architecture` is as
    `uname -m` has it, `max_mhz` the highest clock that the kernel's frequency driver names.
    """

    model: str | None
    architecture: str
    sockets: int | None
    cores: int | None
    threads: int
    numa_nodes: int | None
    max_mhz: float | None
    caches: tuple[Cache, ...] | None


@dataclass(frozen=True)
class Host:
    """The machine, as the metrics file's "host" has it (`dataclasses.asdict`): `id` names the hardware (`host_id`).

    What control groups allow is None without a limit; `usable_threads` are logical CPUs that the process may keep busy.
    """

    id: str
    hostname: str
    system: str
    kernel: str
    cpu: Cpu
    memory_mib: float
    cgroup_cpu_quota_cores: float | None
    cgroup_memory_limit_mib: float | None
    usable_threads: int
    gpu_driver_version: str | None
    gpus: "tuple[Gpu, ...]"


def inventory(root: Path = ROOT) -> Host:
    """Take stock of the machine, as far as this process can see it."""
    # Imported late: what trains asks for caches and memory alone, and shall not need pynvml.
    from trainbench.machine import gpu_cards

    cards = gpu_cards.inventory()
    cpu = read_cpu(root)
    memory_mib = psutil.virtual_memory().total / BYTES_PER_MIB
    quota = control_groups.cpu_quota(root)
    quota_cores = None if quota is None else quota.cores
    memory_limit_bytes = min((limit for limit, _ in control_groups.memory_limits(root)), default=None)
    name = platform.uname()
    return Host(
        id=host_id(cpu, memory_mib),
        hostname=name.node,
        system=f"{name.system}-{name.release.partition('-')[0]}-{name.machine}",
        kernel=name.release,
        cpu=cpu,
        memory_mib=memory_mib,
        cgroup_cpu_quota_cores=quota_cores,
        cgroup_memory_limit_mib=None if memory_limit_bytes is None else memory_limit_bytes / BYTES_PER_MIB,
        usable_threads=usable_threads(len(os.sched_getaffinity(0)), quota_cores),
        gpu_driver_version=cards.driver_version,
        gpus=cards.gpus,
    )


def host_id(cpu: Cpu, memory_mib: float) -> str:
    """Name the hardware: CPU model, threads, and eight hexadecimal digits of all that makes up the id.

    Two machines built alike have the same id, and their runs are replications of each other.
    """
    # Hardware only, and only what every job on the machine sees alike. Left out on purpose: cards (a
    # scheduler hides those that a job did not ask for), the hostname (random in containers), affinity and
    # quota (they differ from job to job on one machine), clocks and caches (virtual machines report them
    # unreliably). Memory in whole GiB, because kernels differ in how much they keep for themselves.
    hardware = {
        "model": cpu.model,
        "architecture": cpu.architecture,
        "sockets": cpu.sockets,
        "cores": cpu.cores,
        "threads": cpu.threads,
        "numa_nodes": cpu.numa_nodes,
        "memory_gib": round(memory_mib / MIB_PER_GIB),
    }
    digest = hashlib.sha256(json.dumps(hardware, sort_keys=True).encode()).hexdigest()
    return f"{model_slug(cpu.model or cpu.architecture)}-{cpu.threads}t-{digest[:8]}"


def model_slug(model: str) -> str:
    """Shorten a CPU's name to lower-case words joined by hyphens, whole words as far as they fit."""
    words = re.findall(r"[a-z0-9]+", NOISE.sub(" ", model).lower())
    slug = ""
    for word in words:
        longer = f"{slug}-{word}" if slug else word[:SLUG_LENGTH]
        if len(longer) > SLUG_LENGTH:
            break
        slug = longer
    return slug or "cpu"


def usable_threads(allowed_threads: int, quota_cores: float | None) -> int:
    """Count what can run at once: the CPUs allowed, or a smaller quota's whole cores (1 at least)."""
    return allowed_threads if quota_cores is None else min(allowed_threads, max(1, math.floor(quota_cores)))


def available_memory_mib(root: Path = ROOT) -> float:
    """Tell how much memory can still be taken: of the machine's, and of every limit above this process."""
    headrooms_bytes = [limit - used for limit, used in control_groups.memory_limits(root) if used is not None]
    return max(0, min([psutil.virtual_memory().available, *headrooms_bytes])) / BYTES_PER_MIB


def read_cpu(root: Path = ROOT) -> Cpu:
    """Read the CPUs from /proc/cpuinfo and /sys/devices/system."""
    processors = parse_cpuinfo(text(root / "proc/cpuinfo") or "")
    online = cpu_list(text(root / CPUS / "online"))
    directories = [root / CPUS / f"cpu{cpu}" for cpu in online]
    clocks_khz = [number(directory / "cpufreq/cpuinfo_max_freq") for directory in directories]
    return Cpu(
        model=cpu_model(processors),
        architecture=platform.machine(),
        sockets=_distinct(directories, "topology/physical_package_id"),
        cores=_distinct(directories, "topology/core_cpus_list")
        or _distinct(directories, "topology/thread_siblings_list"),
        threads=len(online) or len(processors) or os.cpu_count() or 1,
        numa_nodes=len(cpu_list(text(root / "sys/devices/system/node/has_cpu"))) or None,
        max_mhz=max((khz / 1000 for khz in clocks_khz if khz is not None), default=None),
        caches=_caches(directories),
    )


def last_level_cache_bytes(cpus: Iterable[int], root: Path = ROOT) -> int | None:
    """Add up the caches of the highest level that these logical CPUs use; None where the kernel does not tell."""
    caches = _caches(root / CPUS / f"cpu{cpu}" for cpu in cpus) or ()
    highest = max((cache.level for cache in caches), default=None)
    sizes_kib = [(cache.size_kib, cache.instances) for cache in caches if cache.level == highest]
    total_kib = sum(size_kib * instances for size_kib, instances in sizes_kib if size_kib is not None)
    return total_kib * BYTES_PER_KIB or None


def parse_cpuinfo(told: str) -> list[dict[str, str]]:
    """Split /proc/cpuinfo into one mapping for each logical CPU, keys in lower case."""
    blocks = (
        {key.strip().lower(): value.strip() for key, _, value in (line.partition(":") for line in block.splitlines())}
        for block in told.split("\n\n")
    )
    return [block for block in blocks if "processor" in block]


def cpu_model(processors: Iterable[dict[str, str]]) -> str | None:
    """Name the CPU, or the kinds of cores joined by " + " where they differ."""
    return " + ".join(dict.fromkeys(filter(None, map(_processor_name, processors)))) or None


def _processor_name(processor: dict[str, str]) -> str | None:
    # "model name" on x86, LoongArch and 32-bit ARM, "cpu" on POWER.
    name = processor.get("model name") or processor.get("cpu")
    if name is not None or "cpu part" not in processor:
        return name
    implementer, part = processor.get("cpu implementer", "?"), processor["cpu part"]
    return ARM_CORES.get((implementer, part), f"ARM {implementer} {part}")


def _distinct(directories: Iterable[Path], file: str) -> int | None:
    """How many different texts the directories have in `file`; -1 stands for what the kernel does not know."""
    return len({text(directory / file) for directory in directories} - {None, "-1"}) or None


def _caches(directories: Iterable[Path]) -> tuple[Cache, ...] | None:
    users: dict[tuple[int, str, int | None], set[str]] = {}
    for directory in directories:
        for cache in sorted(directory.glob("cache/index*")):
            level, size_kib = number(cache / "level"), number(cache / "size")
            kind, shared = text(cache / "type"), text(cache / "shared_cpu_list")
            if level and kind and shared:
                users.setdefault((level, kind.lower(), size_kib), set()).add(shared)
    ordered = sorted(users.items(), key=lambda item: (item[0][0], item[0][1], item[0][2] or 0))
    return tuple(Cache(*cache, instances=len(shared)) for cache, shared in ordered) or None
