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

from trainbench.machine import nvml
from trainbench.machine.canary import Timing
from trainbench.records.finding import Finding
from trainbench.run import usage

OTHER_LOAD_MEAN_PERCENT: Final = 15.0
OTHER_LOAD_STRETCH_PERCENT: Final = 40.0
STRETCH_SECONDS: Final = 1.0
PRESSURE_PERCENT: Final = 25.0
STEAL_PERCENT: Final = 5.0
CLOCK_DROP: Final = 0.10
CANARY_DIFFERENCE: Final = 0.10
CONTENTION: Final = 1.25
SCATTER: Final = 0.10
DRIFT: Final = 0.05
DRIFT_T_VALUE: Final = 4.0
GPU_SAMPLES: Final = 10
SPAN_SECONDS: Final = 1.0
MONITOR_GAP_SECONDS: Final = 1.0
START_UP_GAP_SECONDS: Final = 2.0
"""As long as that a machine with nothing but work to do may keep the monitor waiting while a framework is imported."""
MONITOR_GAP_INTERVALS: Final = 3
HELD_UP_SHARE: Final = 0.25
HELD_UP_SECONDS: Final = 0.5
STILL_PERCENT: Final = 5.0
STILL_SECONDS: Final = 0.5
GPU_STILL_SECONDS: Final = 2.0
"""NVML's utilisation is a mean over up to the last second: a card looks idle for as long after it began to compute."""
MOST_REFUSED: Final = 8


@dataclass(frozen=True)
class Facts:
    """What is known of one run when it has ended.

    `threads` are those it trained with, `cores` those it was bound to, of which `shared_cores` are other runs' too;
    `windows` are those of training, then of evaluation, of all epochs, `span` the time from the first epoch's start to
    the last one's end; `over_...` are made by `usage.over_windows`. `stopped_in` are the epochs, counted from 0, in
    which the process was stopped and continued, 0 for all since its start. `monitor_end` is how the monitor ended
    ("ended with signal 9"), None where it ended with the run; the canaries are None where they could not be timed.
    """

    threads: int
    cores: Sequence[int]
    shared_cores: Sequence[int]
    quota_cores: float | None
    epoch_seconds: Sequence[float]
    epoch_cpu_seconds: Sequence[float]
    stopped_in: Sequence[int]
    samples: usage.Samples
    monitor_interval_seconds: float
    monitor_end: str | None
    windows: Sequence[usage.Window]
    span: usage.Window
    over_span: Mapping[str, Any]
    over_steady: Mapping[str, Any] | None
    canary_before: Timing | None
    canary_after: Timing | None
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
        f"other runs of trainbench shared {len(facts.shared_cores)} of the run's {len(facts.cores)} cores ({listed})",
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
    if facts.canary_before is None or facts.canary_after is None:
        return None
    before, after = facts.canary_before.together_seconds, facts.canary_after.together_seconds
    change = after / before - 1
    if abs(change) <= CANARY_DIFFERENCE:
        return None
    where = "on its core" if len(facts.cores) == 1 else f"on all its {len(facts.cores)} cores at once"
    return Finding(
        "machine_speed",
        "warning",
        f"a fixed computation took {before:.3f} s before the run and {after:.3f} s after it ({100 * change:+.0f} %), "
        f"{where}",
        "look for other load, heat or a hypervisor that shares the cores, and measure this run again",
    )


def cores_contend(facts: Facts) -> Finding | None:
    """Cores that the hypervisor calls separate slow each other down, as two threads of one physical core do.

    Where the machine itself tells that cores share a physical core, they do so by nature. Without a hypervisor it tells
    the truth, and all cores at once are slower for another reason: their clock is lower than that of one alone.
    """
    timings = [timing for timing in (facts.canary_before, facts.canary_after) if timing is not None]
    if not timings or not _in_virtual_machine(facts.root) or _share_physical_cores(facts.cores, facts.root):
        return None
    worst = max(timings, key=lambda timing: timing.together_cpu_seconds / timing.alone_cpu_seconds)
    alone, together = worst.alone_cpu_seconds, worst.together_cpu_seconds
    if together <= CONTENTION * alone:
        return None
    return Finding(
        "cores_contend",
        "warning",
        f"a fixed computation took {alone:.3f} s of a core's time alone and {together:.3f} s on {len(facts.cores)} "
        f"cores at once ({together / alone:.2f} times), {'before' if worst is facts.canary_before else 'after'} the "
        "run: the hypervisor lets them share what computes",
        "measure this run again; where every run says so, take a kind of virtual machine with whole cores",
    )


def _in_virtual_machine(root: Path) -> bool:
    try:
        text = (root / "proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    flags = next((line for line in text.splitlines() if line.startswith("flags")), "")
    return "hypervisor" in flags.split()


def _share_physical_cores(cores: Sequence[int], root: Path) -> bool:
    """Whether the machine tells of two of `cores` that they are threads of one physical core."""
    try:
        siblings = {
            (root / f"sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list").read_text(encoding="ascii")
            for core in cores
        }
    except OSError:
        return False
    return len(siblings) < len(cores)


def monitor_gap(facts: Facts) -> Finding | None:
    """The monitor did not watch all of the run: it ended early, began late, or was held up."""
    times = facts.samples.times
    ended_early = facts.monitor_end is not None and (len(times) == 0 or times[-1] < facts.span[1])
    start_up = (min([facts.span[0], *times[:1]]), facts.span[0])
    for window, least, where in (
        (facts.span, MONITOR_GAP_SECONDS, "from the first epoch to the last"),
        (start_up, START_UP_GAP_SECONDS, "from the monitor's first sample to the first epoch"),
    ):
        begin, end = usage.longest_hole(facts.samples, window)
        if ended_early or end - begin > max(least, MONITOR_GAP_INTERVALS * facts.monitor_interval_seconds):
            how = f"the monitor {facts.monitor_end}: " if ended_early else ""
            return Finding(
                "monitor_gap",
                "error",
                f"{how}{end - begin:.1f} s of the {window[1] - window[0]:.1f} s {where} were not watched, from "
                f"{begin - window[0]:.1f} s on",
                "look for the monitor's message in the run's log, do not stop the run or the machine, and measure it "
                "again",
            )
    return None


def stood_still(facts: Facts) -> Finding | None:
    """Time passed in which nothing was computed: the run, or the whole machine, was stopped."""
    gpus = len(facts.over_span["gpus"])
    least = GPU_STILL_SECONDS if gpus else STILL_SECONDS
    still = usage.still_seconds(facts.samples, facts.windows, gpus, STILL_PERCENT, least)
    later = sum(epoch > 0 for epoch in facts.stopped_in)
    found = []
    if still:
        whole = sum(end - begin for begin, end in facts.windows)
        found.append(
            f"in {still:.1f} s of the {whole:.1f} s that the epochs took, the run used "
            f"{'neither its processors nor its GPUs' if gpus else 'no processor'}"
        )
    if 0 in facts.stopped_in:
        found.append("the run was stopped and continued before its first epoch had ended")
    if later:
        found.append(f"the run was stopped and continued in {later} of its {len(facts.epoch_seconds) - 1} later epochs")
    if not found:
        return None
    return Finding(
        "stood_still",
        "warning",
        "; ".join(found),
        "do not stop the run or its machine (Ctrl-Z, cpulimit, a paused virtual machine, sleep), and measure it again",
    )


def held_up(facts: Facts) -> Finding | None:
    """Epochs took longer than the CPU time in them and what others can have taken explain.

    In a run on CPUs something is always computed: one thread is at work, however many there are, and after the first
    epoch as many as in most epochs. A thread that waits for a GPU may use CPU time or not.
    """
    if facts.over_span["gpus"] or cpu_quota(facts) is not None:
        return None
    in_use = [cpu / seconds for cpu, seconds in zip(facts.epoch_cpu_seconds, facts.epoch_seconds, strict=True)]
    usual = max(1.0, statistics.median_high(in_use))
    lost: dict[int, float] = {}
    for epoch, seconds in enumerate(facts.epoch_seconds):
        least = max(HELD_UP_SECONDS, HELD_UP_SHARE * seconds)
        missing = seconds * (1 - in_use[epoch] / (usual if epoch else 1.0))
        if missing >= least:
            missing -= seconds * _share_of_others(facts.samples, facts.windows[epoch])
        if missing >= least:
            lost[epoch] = missing
    if not lost:
        return None
    worst = max(lost, key=lost.__getitem__)
    return Finding(
        "held_up",
        "warning",
        f"in {sum(lost.values()):.1f} s of the {sum(facts.epoch_seconds):.1f} s that training took, the run was kept "
        f"from its processors, and not by other programs: an epoch of {facts.epoch_seconds[worst]:.1f} s used "
        f"{in_use[worst]:.2f} cores, {usual if worst else 1.0:.2f} are usual",
        "look for what stops or limits the run (cpulimit, a paused container or virtual machine, memory that is "
        "swapped) and measure it again",
    )


def _share_of_others(samples: usage.Samples, window: usage.Window) -> float:
    """How much of the time in `window` others can have taken; what nobody watched counts as theirs."""
    over, times = usage.over_windows(samples, [window], 0) or {}, samples.times
    taken = [over[name] for name in ("cpu_pressure_percent", "other_cpu_percent", "steal_percent")]
    known = [percent / 100 for percent in taken if percent is not None]
    if not known:
        return 1.0
    watched = (min(window[1], times[-1]) - max(window[0], times[0])) / (window[1] - window[0])
    return float(1 - watched * (1 - max(known)))


def readings_refused(facts: Facts) -> Finding | None:
    """The monitor was told what cannot be; such readings count as unknown."""
    refused = facts.samples.refused
    if not refused:
        return None
    told = [f"{one.column} said {one.said[:60]!r} ({one.count} times)" for one in refused[:MOST_REFUSED]]
    more = [f"{len(refused) - MOST_REFUSED} columns more"] if len(refused) > MOST_REFUSED else []
    return Finding(
        "readings_refused",
        "info",
        f"readings that cannot be count as unknown: {', '.join([*told, *more])}",
        "look at samples.csv beside the run's metrics file; drivers and kernels are known to say such things",
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
    cores_contend,
    monitor_gap,
    stood_still,
    held_up,
    readings_refused,
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
    """What all checks find, in their order; one that fails costs itself alone, and is found."""
    found = []
    for check in CHECKS:
        try:
            found.append(check(facts))
        except Exception as error:
            found.append(not_evaluated(f"the check {check.__name__}", f"{type(error).__name__}: {error}"))
    return [finding for finding in found if finding is not None]


def not_evaluated(what: str, why: str) -> Finding:
    """Finding of a part of what the monitor saw that nothing could be made of."""
    return Finding(
        "not_evaluated",
        "warning",
        f"{what} could not be made from what the monitor saw ({why})",
        "the run itself is whole; please report this as a bug of trainbench, with the run's samples.csv",
    )
