"""Checks whether a run had its cores to itself, and as many as it has threads."""

from typing import Final

from trainbench.machine import kernel_files
from trainbench.run import usage
from trainbench.run.checks.check import Facts, check

OTHER_LOAD_MEAN_PERCENT: Final = 15.0
OTHER_LOAD_STRETCH_PERCENT: Final = 40.0
STRETCH_SECONDS: Final = 1.0
PRESSURE_PERCENT: Final = 25.0
STEAL_PERCENT: Final = 5.0


@check("warning", "stop other programs on the machine and measure this run again")
def other_load(facts: Facts) -> str | None:
    """Other programs used the CPU while the run trained: the host's, or the cores of a run that shares the host."""
    column = "other_on_cores_percent" if facts.over_span["gpus"] else "other_cpu_percent"
    mean = facts.over_span[column] or 0
    stretch = usage.highest_stretch(facts.samples, column, facts.span, STRETCH_SECONDS)
    if mean <= OTHER_LOAD_MEAN_PERCENT and (stretch is None or stretch <= OTHER_LOAD_STRETCH_PERCENT):
        return None
    worst = "" if stretch is None else f", up to {stretch:.0f} % for {STRETCH_SECONDS:.0f} s"
    return f"other programs used {mean:.0f} % of a core while the run trained{worst}"


@check("warning", "stop other programs on the machine, or train with fewer threads than cores")
def cpu_pressure(facts: Facts) -> str | None:
    """Processes, the run's own among them, waited for a core."""
    pressure = facts.over_span["cpu_pressure_percent"] or 0
    if pressure <= PRESSURE_PERCENT:
        return None
    return f"in {pressure:.0f} % of the time in which the run trained some process waited for a core"


@check("warning", "measure on a machine, or a kind of virtual machine, that does not share its cores")
def cpu_steal(facts: Facts) -> str | None:
    """The hypervisor gave the machine's CPU time to others."""
    steal = facts.over_span["steal_percent"] or 0
    if steal <= STEAL_PERCENT:
        return None
    return f"the hypervisor took {steal:.0f} % of a core for other virtual machines while the run trained"


@check("warning", "run one study at a time on a machine, or give each fewer cores with --cores")
def cores_shared(facts: Facts) -> str | None:
    """Another run of trainbench trained on the same cores."""
    if not facts.shared_cores:
        return None
    listed = ", ".join(str(core) for core in facts.shared_cores)
    return f"other runs of trainbench shared {len(facts.shared_cores)} of the run's {len(facts.cores)} cores ({listed})"


@check("warning", "raise the limit of the container or job, or set the device's threads to at most that")
def cpu_quota(facts: Facts) -> str | None:
    """The control group allows less CPU time than the run has threads."""
    if facts.quota_cores is None or facts.quota_cores >= facts.threads:
        return None
    return f"the run trained with {facts.threads} threads, its control group allows {facts.quota_cores:g} cores' time"


@check("warning", "set the device's threads to the number of cores that a run is given")
def threads_and_cores(facts: Facts) -> str | None:
    """The run has another number of threads than cores."""
    if facts.threads == len(facts.cores):
        return None
    return f"the run trained with {facts.threads} threads on {len(facts.cores)} cores"


@check("info", "for steadier numbers: cpupower frequency-set --governor performance")
def frequency_governor(facts: Facts) -> str | None:
    """The kernel may lower the clocks of the run's cores."""
    cpus = facts.root / kernel_files.CPUS
    governors = {kernel_files.text(cpus / f"cpu{core}/cpufreq/scaling_governor") for core in facts.cores}
    known = sorted(filter(None, governors))
    if len(known) < len(governors) or set(known) <= {"performance"}:
        return None
    return f"the frequency governor of the run's cores is {', '.join(known)}"


@check("info", "leave it on to measure what users get; switch it off to compare small differences")
def turbo(facts: Facts) -> str | None:
    """Clocks above the nominal one depend on temperature and on how many cores are busy."""
    for name, on in (("intel_pstate/no_turbo", 0), ("cpufreq/boost", 1)):
        if kernel_files.number(facts.root / kernel_files.CPUS / name) == on:
            return f"turbo is on ({kernel_files.CPUS}/{name})"
    return None
