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
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import psutil

from trainbench.machine import nvml

BYTES_PER_KIB = 2**10
BYTES_PER_MIB = 2**20
MIB_PER_GIB = 1024
SLUG_LENGTH = 24
ROOT = Path("/")

# cgroup v1 writes "no limit" as the largest signed 64-bit number, rounded down to a page.
NO_MEMORY_LIMIT_BYTES = 2**62

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
    """One kind of CPU cache and how often the machine has it.

    Attributes:
        level: 1, 2, 3 ...
        type: "data", "instruction" or "unified".
        size_kib: Size of one instance.
        instances: Distinct caches of this kind that online CPUs use.
    """

    level: int
    type: str
    size_kib: int | None
    instances: int


@dataclass(frozen=True)
class CpuQuota:
    """CPU time, in cores, that all processes in the control group whose directory is `group` have together."""

    cores: float
    group: Path


@dataclass(frozen=True)
class Cpu:
    """The machine's CPUs, counting what is online.

    Attributes:
        model: The name the CPU gives itself; kinds of cores joined by " + " where they differ.
        architecture: As `uname -m` has it.
        sockets: CPU packages.
        cores: Physical cores.
        threads: Logical CPUs.
        numa_nodes: Memory nodes that have CPUs.
        max_mhz: The highest clock that the kernel's frequency driver names.
        caches: By level and type.
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
    """The machine, as the metrics file's "host" has it (`dataclasses.asdict`).

    Attributes:
        id: Names the hardware; see `host_id`.
        hostname: The name in the network, which in a container means little.
        system: Operating system, version and architecture.
        kernel: The kernel's release.
        cpu: The CPUs.
        memory_mib: All of the machine's memory.
        cgroup_cpu_quota_cores: CPU time allowed, in cores; None without a limit.
        cgroup_memory_limit_mib: Memory allowed; None without a limit.
        usable_threads: Logical CPUs that this process may keep busy.
        gpu_driver_version: The NVIDIA driver.
        gpus: The NVIDIA cards that NVML sees.
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
    gpus: tuple[nvml.Gpu, ...]


def inventory(root: Path = ROOT) -> Host:
    """Take stock of the machine, as far as this process can see it."""
    cards = nvml.inventory()
    cpu = read_cpu(root)
    memory_mib = psutil.virtual_memory().total / BYTES_PER_MIB
    quota_cores = read_cpu_quota_cores(root)
    name = platform.uname()
    return Host(
        id=host_id(cpu, memory_mib),
        hostname=name.node,
        system=f"{name.system}-{name.release.partition('-')[0]}-{name.machine}",
        kernel=name.release,
        cpu=cpu,
        memory_mib=memory_mib,
        cgroup_cpu_quota_cores=quota_cores,
        cgroup_memory_limit_mib=read_memory_limit_mib(root),
        usable_threads=usable_threads(affinity_threads(), quota_cores),
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


def affinity_threads() -> int:
    """Count the logical CPUs that this process may run on; all of them where the system has no affinity."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def available_memory_mib(root: Path = ROOT) -> float:
    """Tell how much memory can still be taken: of the machine's, and of every limit above this process."""
    headrooms_bytes = [limit - used for limit, used in _memory_limits(root) if used is not None]
    return max(0, min([psutil.virtual_memory().available, *headrooms_bytes])) / BYTES_PER_MIB


def read_cpu_quota_cores(root: Path = ROOT) -> float | None:
    """Read the smallest CPU quota above this process, in cores; None where nothing limits it."""
    quota = read_cpu_quota(root)
    return None if quota is None else quota.cores


def read_cpu_quota(root: Path = ROOT) -> CpuQuota | None:
    """Read the smallest CPU quota above this process, and whose it is; None where nothing limits it."""
    # A child's quota may exceed its parent's, and the parent's still holds: so every level counts.
    quotas = ((_cpu_quota_cores(group), group) for group in _groups(root, "cpu"))
    limits = [CpuQuota(cores, group) for cores, group in quotas if cores is not None]
    return min(limits, key=lambda quota: quota.cores, default=None)


def read_memory_limit_mib(root: Path = ROOT) -> float | None:
    """Read the smallest memory limit above this process; None where nothing limits it."""
    smallest = min((limit for limit, _ in _memory_limits(root)), default=None)
    return None if smallest is None else smallest / BYTES_PER_MIB


def read_cpu(root: Path = ROOT) -> Cpu:
    """Read the CPUs from /proc/cpuinfo and /sys/devices/system."""
    processors = parse_cpuinfo(_read(root / "proc/cpuinfo") or "")
    devices = root / "sys/devices/system/cpu"
    online = parse_cpu_list(_read(devices / "online"))
    directories = [devices / f"cpu{number}" for number in online]
    return Cpu(
        model=cpu_model(processors),
        architecture=platform.machine(),
        sockets=_distinct(directories, "topology/physical_package_id", lambda text: text != "-1"),
        cores=_distinct(directories, "topology/core_cpus_list")
        or _distinct(directories, "topology/thread_siblings_list"),
        threads=len(online) or len(processors) or os.cpu_count() or 1,
        numa_nodes=len(parse_cpu_list(_read(root / "sys/devices/system/node/has_cpu"))) or None,
        max_mhz=_max_mhz(directories),
        caches=_caches(directories),
    )


def last_level_cache_bytes(cpus: Iterable[int], root: Path = ROOT) -> int | None:
    """Add up the caches of the highest level that these logical CPUs use; None where the kernel does not tell."""
    caches = _caches(root / f"sys/devices/system/cpu/cpu{number}" for number in cpus) or ()
    highest = max((cache.level for cache in caches), default=None)
    sizes_kib = [(cache.size_kib, cache.instances) for cache in caches if cache.level == highest]
    total_kib = sum(size_kib * instances for size_kib, instances in sizes_kib if size_kib is not None)
    return total_kib * BYTES_PER_KIB or None


def parse_cpuinfo(text: str) -> list[dict[str, str]]:
    """Split /proc/cpuinfo into one mapping for each logical CPU, keys in lower case."""
    blocks = (
        {key.strip().lower(): value.strip() for key, _, value in (line.partition(":") for line in block.splitlines())}
        for block in text.split("\n\n")
    )
    return [block for block in blocks if "processor" in block]


def cpu_model(processors: Iterable[dict[str, str]]) -> str | None:
    """Name the CPU, or the kinds of cores joined by " + " where they differ."""
    names = dict.fromkeys(filter(None, map(_processor_name, processors)))
    return " + ".join(names) or None


def parse_cpu_list(text: str | None) -> list[int]:
    """Expand the kernel's list format, as in "0-3,8"; nothing for None."""
    spans = (part.partition("-") for part in (text or "").split(",") if part)
    return [number for first, _, last in spans for number in range(int(first), int(last or first) + 1)]


def _processor_name(processor: dict[str, str]) -> str | None:
    # "model name" on x86, LoongArch and 32-bit ARM, "cpu" on POWER.
    name = processor.get("model name") or processor.get("cpu")
    if name is not None or "cpu part" not in processor:
        return name
    implementer, part = processor.get("cpu implementer", "?"), processor["cpu part"]
    return ARM_CORES.get((implementer, part), f"ARM {implementer} {part}")


def _distinct(directories: Iterable[Path], file: str, is_known: Callable[[str], bool] = bool) -> int | None:
    texts = (_read(directory / file) for directory in directories)
    return len({text for text in texts if text is not None and is_known(text)}) or None


def _max_mhz(directories: Iterable[Path]) -> float | None:
    clocks_khz = (_number(directory / "cpufreq/cpuinfo_max_freq") for directory in directories)
    return max((khz / 1000 for khz in clocks_khz if khz is not None), default=None)


def _caches(directories: Iterable[Path]) -> tuple[Cache, ...] | None:
    users: dict[tuple[int, str, int | None], set[str]] = {}
    for directory in directories:
        for cache in sorted(directory.glob("cache/index*")):
            level, size_kib = _number(cache / "level"), _number(cache / "size")
            kind, shared = _read(cache / "type"), _read(cache / "shared_cpu_list")
            if level and kind and shared:
                users.setdefault((level, kind.lower(), size_kib), set()).add(shared)
    ordered = sorted(users.items(), key=lambda item: (item[0][0], item[0][1], item[0][2] or 0))
    return tuple(Cache(*cache, instances=len(shared)) for cache, shared in ordered) or None


def _cpu_quota_cores(group: Path) -> float | None:
    version_2 = (_read(group / "cpu.max") or "").split()
    if version_2 and version_2[0] != "max":
        return int(version_2[0]) / int(version_2[1])
    quota_us, period_us = _number(group / "cpu.cfs_quota_us"), _number(group / "cpu.cfs_period_us")
    # Version 1 writes "no quota" as -1.
    return quota_us / period_us if quota_us and period_us and quota_us > 0 else None


def _memory_limits(root: Path) -> Iterator[tuple[int, int | None]]:
    """Yield limit and use in bytes of every group above this process that has a limit."""
    for group in _groups(root, "memory"):
        for limit_file, use_file, cached_key in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            # Version 2 writes "no limit" as "max", which is no number.
            limit, use = _number(group / limit_file), _number(group / use_file)
            if limit is not None and limit < NO_MEMORY_LIMIT_BYTES:
                statistics = dict(line.split() for line in (_read(group / "memory.stat") or "").splitlines())
                # Cached files count as used, but the kernel drops them before it refuses memory.
                yield limit, None if use is None else use - int(statistics.get(cached_key, 0))


def read_oom_kills(root: Path = ROOT) -> int | None:
    """How many processes the kernel has killed so far for lack of memory, or None where it does not tell.

    Counted are those of this process' control group, whichever limit they met (kernel's
    Documentation/admin-guide/cgroup-v2.rst, memory.events); where no group counts, those of the whole machine.
    """
    candidates = [group / name for group in _groups(root, "memory") for name in ("memory.events", "memory.oom_control")]
    for path in [*candidates, root / "proc/vmstat"]:
        for line in (_read(path) or "").splitlines():
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
    return None


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Yield the directories of this process' control groups, its own first, then each one above it.

    Both versions are looked at: where they are mixed, a controller is in one of them.
    """
    for mount, mounted_root, controllers in _cgroup_mounts(root):
        own = _own_group(root, controllers)
        if own is None or (controllers and controller not in controllers):
            continue
        # A container may see a part of the hierarchy: mounted_root is what its mount point shows. Where the
        # process is outside of that part, directories below the mount point do not exist and say nothing.
        visible = own.relative_to(mounted_root) if own.is_relative_to(mounted_root) else PurePosixPath()
        directory = mount / visible
        yield directory
        while directory != mount:
            directory = directory.parent
            yield directory


def _cgroup_mounts(root: Path) -> Iterator[tuple[Path, PurePosixPath, frozenset[str]]]:
    """Yield mount point, the group mounted there and its controllers (version 2: none).

    The format is in proc(5), /proc/pid/mountinfo.
    """
    for line in (_read(root / "proc/self/mountinfo") or "").splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.partition(" ")
        if kind in ("cgroup", "cgroup2"):
            mounted_root, mount = before.split()[3:5]
            controllers = options.split()[-1].split(",") if kind == "cgroup" else ()
            yield root / mount.lstrip("/"), PurePosixPath(mounted_root), frozenset(controllers)


def _own_group(root: Path, controllers: frozenset[str]) -> PurePosixPath | None:
    """Find this process' group in the hierarchy that has these controllers; see cgroups(7)."""
    for line in (_read(root / "proc/self/cgroup") or "").splitlines():
        _, names, path = line.split(":", maxsplit=2)
        if (controllers and controllers.intersection(names.split(","))) or (not controllers and not names):
            return PurePosixPath(path)
    return None


def _read(path: Path) -> str | None:
    """Read a small file of the kernel's without the white space around it; None where that cannot be done."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip() or None
    except OSError:
        return None


def _number(path: Path) -> int | None:
    """Read a whole number, where a "K" behind it goes without saying; None where there is none."""
    try:
        return int((_read(path) or "").removesuffix("K"))
    except ValueError:
        return None
