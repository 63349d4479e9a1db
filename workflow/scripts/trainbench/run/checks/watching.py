"""Checks whether a run was watched all the time, and computed all the time."""

from typing import Final

from trainbench.run import usage
from trainbench.run.checks.check import Facts, Said, check

MONITOR_GAP_SECONDS: Final = 1.0
MONITOR_GAP_INTERVALS: Final = 3
STILL_PERCENT: Final = 5.0
STILL_SECONDS: Final = 0.5
GPU_STILL_SECONDS: Final = 2.0
"""NVML's utilisation is a mean over up to the last second: a card looks idle for as long after it began to compute."""
MOST_REFUSED: Final = 8
SPAN_SECONDS: Final = 1.0


@check("error")
def monitor_gap(facts: Facts) -> Said:
    """The monitor did not watch all of the run: it ended early, began late, or was held up."""
    begin, end = usage.longest_hole(facts.samples, facts.span)
    times = facts.samples.times
    ended_early = facts.monitor_end is not None and (len(times) == 0 or times[-1] < facts.span[1])
    most = max(MONITOR_GAP_SECONDS, MONITOR_GAP_INTERVALS * facts.monitor_interval_seconds)
    if not ended_early and end - begin <= most:
        return None
    how = f"the monitor {facts.monitor_end}: " if ended_early else ""
    whole = facts.span[1] - facts.span[0]
    return (
        f"{how}{end - begin:.1f} s of the {whole:.1f} s from the first epoch to the last were not watched, from "
        f"{begin - facts.span[0]:.1f} s on",
        "look for the monitor's message in the run's log, do not stop the run or the machine, and measure it again",
    )


@check("warning")
def stood_still(facts: Facts) -> Said:
    """Time passed in the epochs in which nothing was computed: the run, or the whole machine, was stopped."""
    gpus = len(facts.over_span["gpus"])
    least = GPU_STILL_SECONDS if gpus else STILL_SECONDS
    still = usage.still_seconds(facts.samples, facts.windows, gpus, STILL_PERCENT, least)
    if still == 0:
        return None
    whole = sum(end - begin for begin, end in facts.windows)
    return (
        f"in {still:.1f} s of the {whole:.1f} s that the epochs took, the run used "
        f"{'neither its processors nor its GPUs' if gpus else 'no processor'}",
        "do not stop the run or its machine (Ctrl-Z, a paused virtual machine, sleep), and measure it again",
    )


@check("info")
def readings_refused(facts: Facts) -> Said:
    """The monitor was told what cannot be; such readings count as unknown."""
    refused = facts.samples.refused
    if not refused:
        return None
    told = [f"{one.column} said {one.said[:60]!r} ({one.count} times)" for one in refused[:MOST_REFUSED]]
    more = [f"{len(refused) - MOST_REFUSED} columns more"] if len(refused) > MOST_REFUSED else []
    return (
        f"readings that cannot be count as unknown: {', '.join([*told, *more])}",
        "look at samples.csv beside the run's metrics file; drivers and kernels are known to say such things",
    )


@check("info")
def too_short(facts: Facts) -> Said:
    """The epochs passed too quickly for the monitor to see what disturbed them."""
    seconds = facts.span[1] - facts.span[0]
    if seconds >= SPAN_SECONDS:
        return None
    return (
        f"all epochs together took {seconds:.2f} s, in which the monitor saw {facts.over_span['samples']} samples",
        "train more epochs to have CPU and GPU use, and disturbances, measured well",
    )
