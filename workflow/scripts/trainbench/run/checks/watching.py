"""Checks whether a run was watched all the time, and computed all the time."""

import statistics
from typing import Final

from trainbench.run import usage
from trainbench.run.checks import cores
from trainbench.run.checks.check import Facts, check

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
SPAN_SECONDS: Final = 1.0


@check(
    "error",
    "look for the monitor's message in the run's log, do not stop the run or the machine, and measure it again",
)
def monitor_gap(facts: Facts) -> str | None:
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
            return (
                f"{how}{end - begin:.1f} s of the {window[1] - window[0]:.1f} s {where} were not watched, from "
                f"{begin - window[0]:.1f} s on"
            )
    return None


@check(
    "warning",
    "do not stop the run or its machine (Ctrl-Z, cpulimit, a paused virtual machine, sleep), and measure it again",
)
def stood_still(facts: Facts) -> str | None:
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
    return "; ".join(found)


@check(
    "warning",
    "look for what stops or limits the run (cpulimit, a paused container or virtual machine, memory that is "
    "swapped) and measure it again",
)
def held_up(facts: Facts) -> str | None:
    """Epochs took longer than the CPU time in them and what others can have taken explain.

    In a run on CPUs something is always computed: one thread is at work, however many there are, and after the first
    epoch as many as in most epochs. A thread that waits for a GPU may use CPU time or not.
    """
    if facts.over_span["gpus"] or cores.cpu_quota(facts) is not None:
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
    return (
        f"in {sum(lost.values()):.1f} s of the {sum(facts.epoch_seconds):.1f} s that training took, the run was kept "
        f"from its processors, and not by other programs: an epoch of {facts.epoch_seconds[worst]:.1f} s used "
        f"{in_use[worst]:.2f} cores, {usual if worst else 1.0:.2f} are usual"
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


@check("info", "look at samples.csv beside the run's metrics file; drivers and kernels are known to say such things")
def readings_refused(facts: Facts) -> str | None:
    """The monitor was told what cannot be; such readings count as unknown."""
    refused = facts.samples.refused
    if not refused:
        return None
    told = [f"{one.column} said {one.said[:60]!r} ({one.count} times)" for one in refused[:MOST_REFUSED]]
    more = [f"{len(refused) - MOST_REFUSED} columns more"] if len(refused) > MOST_REFUSED else []
    return f"readings that cannot be count as unknown: {', '.join([*told, *more])}"


@check("info", "train more epochs to have CPU and GPU use, and disturbances, measured well")
def too_short(facts: Facts) -> str | None:
    """The epochs passed too quickly for the monitor to see what disturbed them."""
    seconds = facts.span[1] - facts.span[0]
    if seconds >= SPAN_SECONDS:
        return None
    return f"all epochs together took {seconds:.2f} s, in which the monitor saw {facts.over_span['samples']} samples"
