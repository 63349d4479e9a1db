"""Says what may have disturbed a run, each finding with a name, a level and what to do about it.

A check is one function that takes the facts of a run and returns a finding or None, registered in `CHECKS`. Nothing is
dropped because of a finding: it stands beside the numbers.
"""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from trainbench import nvml, usage
from trainbench.finding import Finding

OTHER_LOAD_MEAN_PERCENT: Final = 15.0
OTHER_LOAD_STRETCH_PERCENT: Final = 40.0
STRETCH_SECONDS: Final = 1.0
PRESSURE_PERCENT: Final = 25.0
STEAL_PERCENT: Final = 5.0
CLOCK_DROP: Final = 0.10
CANARY_DIFFERENCE: Final = 0.10
SCATTER: Final = 0.10
DRIFT: Final = 0.05
DRIFT_T_VALUE: Final = 4.0
GPU_SAMPLES: Final = 10
SPAN_SECONDS: Final = 1.0
MONITOR_GAP_SECONDS: Final = 5.0
MONITOR_GAP_INTERVALS: Final = 3


@dataclass(frozen=True)
class Facts:
    """What is known of one run when it has ended.

    `threads` are those it trained with, `cores` those it was bound to, of which `shared_cores` are other runs' too;
    `span` is the time from the first epoch's start to the last one's end; `over_...` are made by `usage.over_windows`.
    """

    threads: int
    cores: Sequence[int]
    shared_cores: Sequence[int]
    quota_cores: float | None
    epoch_seconds: Sequence[float]
    samples: usage.Samples
    span: usage.Window
    over_span: Mapping[str, Any]
    over_steady: Mapping[str, Any] | None
    canary_before_seconds: float
    canary_after_seconds: float
    gpu_listed: bool | None
    root: Path = Path("/")


def other_load(facts: Facts) -> Finding | None:
    """Other programs used the CPU while the run trained: the host's, or the cores of a run that shares the host."""
    column = "other_on_cores_percent" if facts.over_span["gpus"] else "other_cpu_percent"
    mean = facts.over_span[column]
    stretch = usage.highest_stretch(facts.samples, column, facts.span, STRETCH_SECONDS)
    if (mean is None or mean <= OTHER_LOAD_MEAN_PERCENT) and (stretch is None or stretch <= OTHER_LOAD_STRETCH_PERCENT):
        return None
    worst = f", up to {stretch:.0f} % for {STRETCH_SECONDS:.0f} s" if stretch is not None else ""
    return Finding(
        "other_load",
        "warning",
        f"other programs used {mean or 0:.0f} % of a core while the run trained{worst}",
        "stop other programs on the machine and measure this run again",
    )


def cpu_pressure(facts: Facts) -> Finding | None:
    """Processes, the run's own among them, waited for a core."""
    pressure = facts.over_span["cpu_pressure_percent"]
    if pressure is None or pressure <= PRESSURE_PERCENT:
        return None
    return Finding(
        "cpu_pressure",
        "warning",
        f"in {pressure:.0f} % of the time in which the run trained some process waited for a core",
        "stop other programs on the machine, or train with fewer threads than cores",
    )


def cpu_steal(facts: Facts) -> Finding | None:
    """The hypervisor gave the machine's CPU time to others."""
    steal = facts.over_span["steal_percent"]
    if steal is None or steal <= STEAL_PERCENT:
        return None
    return Finding(
        "cpu_steal",
        "warning",
        f"the hypervisor took {steal:.0f} % of a core for other virtual machines while the run trained",
        "measure on a machine, or a kind of virtual machine, that does not share its cores",
    )


def cores_shared(facts: Facts) -> Finding | None:
    """Another run of trainbench trained on the same cores."""
    if not facts.shared_cores:
        return None
    listed = ", ".join(str(core) for core in facts.shared_cores)
    return Finding(
        "cores_shared",
        "warning",
        f"other runs of trainbench held {len(facts.shared_cores)} of the run's {len(facts.cores)} cores ({listed})",
        "run one study at a time on a machine, or give each fewer cores with --cores",
    )


def cpu_quota(facts: Facts) -> Finding | None:
    """The control group allows less CPU time than the run has threads."""
    if facts.quota_cores is None or facts.quota_cores >= facts.threads:
        return None
    return Finding(
        "cpu_quota",
        "warning",
        f"the run trained with {facts.threads} threads, its control group allows {facts.quota_cores:g} cores' time",
        "raise the limit of the container or job, or set the device's threads to at most that",
    )


def threads_and_cores(facts: Facts) -> Finding | None:
    """The run has another number of threads than cores."""
    if facts.threads == len(facts.cores):
        return None
    return Finding(
        "threads_and_cores",
        "warning",
        f"the run trained with {facts.threads} threads on {len(facts.cores)} cores",
        "set the device's threads to the number of cores that a run is given",
    )


def frequency_governor(facts: Facts) -> Finding | None:
    """The kernel may lower the clocks of the run's cores."""
    governors = set()
    for core in facts.cores:
        path = facts.root / f"sys/devices/system/cpu/cpu{core}/cpufreq/scaling_governor"
        try:
            governors.add(path.read_text(encoding="ascii").strip())
        except OSError:
            return None
    if governors <= {"performance"}:
        return None
    return Finding(
        "frequency_governor",
        "info",
        f"the frequency governor of the run's cores is {', '.join(sorted(governors))}",
        "for steadier numbers: cpupower frequency-set --governor performance",
    )


def turbo(facts: Facts) -> Finding | None:
    """Clocks above the nominal one depend on temperature and on how many cores are busy."""
    cpu = facts.root / "sys/devices/system/cpu"
    for path, on in ((cpu / "intel_pstate/no_turbo", "0"), (cpu / "cpufreq/boost", "1")):
        try:
            if path.read_text(encoding="ascii").strip() == on:
                return Finding(
                    "turbo",
                    "info",
                    f"turbo is on ({path.relative_to(facts.root)})",
                    "leave it on to measure what users get; switch it off to compare small differences",
                )
        except OSError:
            continue
    return None


def epochs_scatter(facts: Facts) -> Finding | None:
    """Steady epochs of one run took very different times."""
    steady = facts.epoch_seconds[1:]
    if len(steady) < 3:  # noqa: PLR2004 - two values have no spread to speak of
        return None
    variation = statistics.stdev(steady) / statistics.mean(steady)
    if variation <= SCATTER:
        return None
    return Finding(
        "epochs_scatter",
        "warning",
        f"the times of {len(steady)} steady epochs scatter by {100 * variation:.0f} % (coefficient of variation)",
        "look for other load; where epochs are shorter than 0.1 s, train more of them",
    )


def epochs_drift(facts: Facts) -> Finding | None:
    """Epochs became steadily slower or faster (heat, denormal numbers, memory)."""
    steady = facts.epoch_seconds[1:]
    if len(steady) < 5:  # noqa: PLR2004 - a slope of fewer is noise
        return None
    n, mean = len(steady), statistics.mean(steady)
    slope, intercept = statistics.linear_regression(range(n), steady)
    residual = math.sqrt(sum((y - intercept - slope * x) ** 2 for x, y in enumerate(steady)) / (n - 2))
    error = residual / math.sqrt(sum((x - (n - 1) / 2) ** 2 for x in range(n)))
    drift = slope * (n - 1) / mean
    if abs(drift) <= DRIFT or abs(slope) <= DRIFT_T_VALUE * error:
        return None
    return Finding(
        "epochs_drift",
        "warning",
        f"epochs became {100 * abs(drift):.0f} % {'slower' if drift > 0 else 'faster'} from the second to the last",
        "look at temperatures and clocks in samples.csv; on a CPU, denormal numbers late in training slow it down",
    )


def machine_speed(facts: Facts) -> Finding | None:
    """The machine itself was faster before the run than after it, or the other way round."""
    before, after = facts.canary_before_seconds, facts.canary_after_seconds
    change = after / before - 1
    if abs(change) <= CANARY_DIFFERENCE:
        return None
    return Finding(
        "machine_speed",
        "warning",
        f"a fixed computation took {before:.3f} s before the run and {after:.3f} s after it ({100 * change:+.0f} %)",
        "look for other load, heat or a hypervisor that shares the cores, and measure this run again",
    )


def monitor_gap(facts: Facts) -> Finding | None:
    """The monitor did not watch the run to its end."""
    times = facts.samples.times
    missing = facts.span[1] - (float(times[-1]) if len(times) else facts.span[0])
    interval = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
    if missing <= max(MONITOR_GAP_SECONDS, MONITOR_GAP_INTERVALS * interval):
        return None
    return Finding(
        "monitor_gap",
        "error",
        f"the monitor's last sample lies {missing:.1f} s before the end of the run",
        "look for the monitor's message in the run's log, and measure this run again",
    )


def too_short(facts: Facts) -> Finding | None:
    """The epochs passed too quickly for the monitor to see what disturbed them."""
    seconds = facts.span[1] - facts.span[0]
    if seconds >= SPAN_SECONDS:
        return None
    return Finding(
        "too_short",
        "info",
        f"all epochs together took {seconds:.2f} s, in which the monitor saw {facts.over_span['samples']} samples",
        "train more epochs to have CPU and GPU use, and disturbances, measured well",
    )


def gpu_shared(facts: Facts) -> Finding | None:
    """Another process computed on the run's GPU."""
    others = max((gpu["other_processes"] or 0 for gpu in facts.over_span["gpus"]), default=0)
    if others == 0:
        return None
    return Finding(
        "gpu_shared",
        "warning",
        f"{others} other {'process' if others == 1 else 'processes'} computed on the run's GPU",
        "end them (nvidia-smi lists them), or keep the card for trainbench through CUDA_VISIBLE_DEVICES",
    )


def gpu_throttled(facts: Facts) -> Finding | None:
    """The GPU lowered its clocks."""
    reasons = sorted(_reasons(facts) - nvml.CLOCK_SETTINGS)
    if not reasons:
        return None
    return Finding(
        "gpu_throttled",
        "warning",
        f"the GPU lowered its clocks: {', '.join(reason.replace('_', ' ') for reason in reasons)}",
        "look at its cooling and its power limit (nvidia-smi -q -d PERFORMANCE,POWER)",
    )


def gpu_clocks_set(facts: Facts) -> Finding | None:
    """Somebody has limited the GPU's clocks by a setting, as whoever locks them for steady numbers does."""
    settings = sorted(_reasons(facts) & nvml.CLOCK_SETTINGS)
    if not settings:
        return None
    return Finding(
        "gpu_clocks_set",
        "info",
        f"a setting holds the GPU's clocks: {', '.join(setting.replace('_', ' ') for setting in settings)}",
        "measure what is compared with the same setting (nvidia-smi -q -d CLOCK,PERFORMANCE shows it)",
    )


def _reasons(facts: Facts) -> set[str]:
    return {reason for gpu in facts.over_span["gpus"] for reason in gpu["throttle_reasons"] or ()}


def gpu_clocks(facts: Facts) -> Finding | None:
    """The GPU's clock varied while the run trained its steady epochs."""
    gpus = facts.over_steady["gpus"] if facts.over_steady else []
    for gpu in gpus:
        mean, lowest = gpu["sm_clock_mhz"], gpu["sm_clock_min_mhz"]
        if mean is not None and lowest < (1 - CLOCK_DROP) * mean:
            return Finding(
                "gpu_clocks",
                "info",
                f"the GPU's clock fell to {lowest:.0f} MHz, its mean was {mean:.0f} MHz",
                "lock the clocks (nvidia-smi --lock-gpu-clocks) to compare small differences",
            )
    return None


def gpu_few_samples(facts: Facts) -> Finding | None:
    """The GPU's utilisation rests on few samples."""
    steady = facts.over_steady or {"gpus": [], "samples": 0}
    few = [gpu["samples"] for gpu in steady["gpus"] if gpu["samples"] < GPU_SAMPLES]
    if not any(few) and steady["samples"] >= GPU_SAMPLES:
        # NVML tells no utilisation at all, as of MIG slices: more epochs would not help.
        return None
    if not few:
        return None
    return Finding(
        "gpu_few_samples",
        "info",
        f"the GPU's utilisation rests on {few[0]} samples",
        "train more epochs: NVML's utilisation is itself a mean over up to a second",
    )


def gpu_unread(facts: Facts) -> Finding | None:
    """The GPU could not be read, or not any more."""
    problems = [gpu["problem"] for gpu in facts.over_span["gpus"] if gpu["problem"] is not None]
    if not problems:
        return None
    return Finding(
        "gpu_unread",
        "error",
        f"the GPU could not be read while the run trained: {problems[0]}",
        "look at the card (nvidia-smi, dmesg) and measure this run again",
    )


def gpu_energy(facts: Facts) -> Finding | None:
    """Energy comes from the power readings, or is not known."""
    sources = {gpu["energy_source"] for gpu in (facts.over_steady or facts.over_span)["gpus"]}
    if not sources - {"counter"}:
        return None
    found = "integrated from power readings" if "power" in sources else "not known"
    return Finding(
        "gpu_energy",
        "info",
        f"the GPU's energy counter could not be read: its energy is {found}",
        "cards before Volta have no energy counter and MIG slices none of their own; power readings of short runs are "
        "rough",
    )


def gpu_unlisted(facts: Facts) -> Finding | None:
    """NVML could not confirm that the run's process is on its GPU."""
    if facts.gpu_listed is not None or not facts.over_span["gpus"]:
        return None
    return Finding(
        "gpu_unlisted",
        "info",
        "NVML lists the run's process on no GPU, as in a container with its own process numbers or under MPS",
        "the framework's own word on where parameters and results lie stands alone; share the host's process numbers "
        "(docker run --pid=host) for NVML's",
    )


CHECKS: Final[Sequence[Callable[[Facts], Finding | None]]] = (
    other_load,
    cpu_pressure,
    cpu_steal,
    cores_shared,
    cpu_quota,
    threads_and_cores,
    frequency_governor,
    turbo,
    epochs_scatter,
    epochs_drift,
    machine_speed,
    monitor_gap,
    too_short,
    gpu_shared,
    gpu_throttled,
    gpu_clocks_set,
    gpu_clocks,
    gpu_few_samples,
    gpu_unread,
    gpu_energy,
    gpu_unlisted,
)


def findings(facts: Facts) -> list[Finding]:
    """What all checks find, in their order."""
    return [finding for check in CHECKS if (finding := check(facts)) is not None]
