"""Checks whether a run had its GPUs to itself, at their full clocks, and whether they told what they did."""

from typing import Final

from trainbench.machine import nvml
from trainbench.run.checks.check import Facts, check

CLOCK_DROP: Final = 0.10
GPU_SAMPLES: Final = 10


@check("warning", "end them (nvidia-smi lists them), or keep the card for trainbench through CUDA_VISIBLE_DEVICES")
def gpu_shared(facts: Facts) -> str | None:
    """Another process computed on the run's GPU."""
    others = max((gpu["other_processes"] or 0 for gpu in facts.over_span["gpus"]), default=0)
    if others == 0:
        return None
    return f"{others} other {'process' if others == 1 else 'processes'} computed on the run's GPU"


@check("warning", "look at its cooling and its power limit (nvidia-smi -q -d PERFORMANCE,POWER)")
def gpu_throttled(facts: Facts) -> str | None:
    """The GPU lowered its clocks."""
    reasons = _reasons(facts) - nvml.CLOCK_SETTINGS
    if not reasons:
        return None
    return f"the GPU lowered its clocks: {_listed(reasons)}"


@check("info", "measure what is compared with the same setting (nvidia-smi -q -d CLOCK,PERFORMANCE shows it)")
def gpu_clocks_set(facts: Facts) -> str | None:
    """Somebody has limited the GPU's clocks by a setting, as whoever locks them for steady numbers does."""
    settings = _reasons(facts) & nvml.CLOCK_SETTINGS
    if not settings:
        return None
    return f"a setting holds the GPU's clocks: {_listed(settings)}"


def _reasons(facts: Facts) -> set[str]:
    return {reason for gpu in facts.over_span["gpus"] for reason in gpu["throttle_reasons"] or ()}


def _listed(reasons: set[str]) -> str:
    return ", ".join(sorted(reasons)).replace("_", " ")


@check("info", "lock the clocks (nvidia-smi --lock-gpu-clocks) to compare small differences")
def gpu_clocks(facts: Facts) -> str | None:
    """The GPU's clock varied while the run trained its steady epochs."""
    gpus = facts.over_steady["gpus"] if facts.over_steady else []
    for gpu in gpus:
        mean, lowest = gpu["sm_clock_mhz"], gpu["sm_clock_min_mhz"]
        if mean is not None and lowest < (1 - CLOCK_DROP) * mean:
            return f"the GPU's clock fell to {lowest:.0f} MHz, its mean was {mean:.0f} MHz"
    return None


@check("info", "train more epochs: NVML's utilisation is itself a mean over up to a second")
def gpu_few_samples(facts: Facts) -> str | None:
    """The GPU's utilisation rests on few samples."""
    steady = facts.over_steady or {"gpus": [], "samples": 0}
    few = [gpu["samples"] for gpu in steady["gpus"] if gpu["samples"] < GPU_SAMPLES]
    # Where NVML tells no utilisation at all, as of MIG slices, more epochs would not help.
    if not few or (not any(few) and steady["samples"] >= GPU_SAMPLES):
        return None
    return f"the GPU's utilisation rests on {few[0]} samples"


@check("error", "look at the card (nvidia-smi, dmesg) and measure this run again")
def gpu_unread(facts: Facts) -> str | None:
    """The GPU could not be read, or not any more."""
    problem = next((gpu["problem"] for gpu in facts.over_span["gpus"] if gpu["problem"] is not None), None)
    if problem is None:
        return None
    return f"the GPU could not be read while the run trained: {problem}"


@check(
    "info",
    "cards before Volta have no energy counter and MIG slices none of their own; power readings of short runs are "
    "rough",
)
def gpu_energy(facts: Facts) -> str | None:
    """Energy comes from the power readings, or is not known."""
    sources = {gpu["energy_source"] for gpu in (facts.over_steady or facts.over_span)["gpus"]}
    if not sources - {"counter"}:
        return None
    found = "integrated from power readings" if "power" in sources else "not known"
    return f"the GPU's energy counter could not be read: its energy is {found}"


@check(
    "info",
    "the framework's own word on where parameters and results lie stands alone; share the host's process numbers "
    "(docker run --pid=host) for NVML's",
)
def gpu_unlisted(facts: Facts) -> str | None:
    """NVML could not confirm that the run's process is on its GPU."""
    if facts.gpu_listed is not None or not facts.over_span["gpus"]:
        return None
    return "NVML lists the run's process on no GPU, as in a container with its own process numbers or under MPS"
