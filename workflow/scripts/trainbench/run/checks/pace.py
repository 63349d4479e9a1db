"""Checks whether a run's epochs, and the machine itself, went on at one pace."""

import math
import statistics
from typing import Final

from trainbench.machine import kernel_files
from trainbench.run.checks.check import Facts, check

SCATTER: Final = 0.10
DRIFT: Final = 0.05
DRIFT_T_VALUE: Final = 4.0
CANARY_DIFFERENCE: Final = 0.10
CONTENTION: Final = 1.25


@check("warning", "look for other load; where epochs are shorter than 0.1 s, train more of them")
def epochs_scatter(facts: Facts) -> str | None:
    """Steady epochs of one run took very different times."""
    steady = facts.epoch_seconds[1:]
    if len(steady) < 3:  # noqa: PLR2004 - two values have no spread to speak of
        return None
    variation = statistics.stdev(steady) / statistics.mean(steady)
    if variation <= SCATTER:
        return None
    return f"the times of {len(steady)} steady epochs scatter by {100 * variation:.0f} % (coefficient of variation)"


@check(
    "warning",
    "look at temperatures and clocks in samples.csv; on a CPU, denormal numbers late in training slow it down",
)
def epochs_drift(facts: Facts) -> str | None:
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
    return f"epochs became {100 * abs(drift):.0f} % {'slower' if drift > 0 else 'faster'} from the second to the last"


@check("warning", "look for other load, heat or a hypervisor that shares the cores, and measure this run again")
def machine_speed(facts: Facts) -> str | None:
    """The machine itself was faster before the run than after it, or the other way round."""
    if facts.canary_before is None or facts.canary_after is None:
        return None
    before, after = facts.canary_before.together_seconds, facts.canary_after.together_seconds
    change = after / before - 1
    if abs(change) <= CANARY_DIFFERENCE:
        return None
    where = "on its core" if len(facts.cores) == 1 else f"on all its {len(facts.cores)} cores at once"
    return (
        f"a fixed computation took {before:.3f} s before the run and {after:.3f} s after it ({100 * change:+.0f} %), "
        f"{where}"
    )


@check("warning", "measure this run again; where every run says so, take a kind of virtual machine with whole cores")
def cores_contend(facts: Facts) -> str | None:
    """Cores that the hypervisor calls separate slow each other down, as two threads of one physical core do.

    Where the machine itself tells that cores share a physical core, they do so by nature. Without a hypervisor it tells
    the truth, and all cores at once are slower for another reason: their clock is lower than that of one alone.
    """
    timings = [timing for timing in (facts.canary_before, facts.canary_after) if timing is not None]
    cpu_info = (kernel_files.text(facts.root / "proc/cpuinfo") or "").splitlines()
    is_virtual = "hypervisor" in next((line for line in cpu_info if line.startswith("flags")), "").split()
    siblings = {kernel_files.siblings(core, facts.root) for core in facts.cores}
    share_by_nature = () not in siblings and len(siblings) < len(facts.cores)
    if not timings or not is_virtual or share_by_nature:
        return None
    worst = max(timings, key=lambda timing: timing.together_cpu_seconds / timing.alone_cpu_seconds)
    alone, together = worst.alone_cpu_seconds, worst.together_cpu_seconds
    if together <= CONTENTION * alone:
        return None
    return (
        f"a fixed computation took {alone:.3f} s of a core's time alone and {together:.3f} s on {len(facts.cores)} "
        f"cores at once ({together / alone:.2f} times), {'before' if worst is facts.canary_before else 'after'} the "
        "run: the hypervisor lets them share what computes"
    )
