"""Makes the row of a run in the table of runs from its metrics record."""

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any, Final

from trainbench.records.steady import positions, positions_of_last_part
from trainbench.results.columns import chosen, real, text, whole, yes_or_no
from trainbench.results.comparability import own_variables, threads_in_use, variables_text
from trainbench.results.statistics import steady_median

COMPLETED: Final = "completed"

FLAG_LEVELS: Final = ("warning", "error")
"""Findings of these levels flag a run; infos only inform."""

_CLOCK: Final = (
    *("startup_seconds", "data_seconds", "compile_seconds", "train_seconds", "eval_seconds", "total_seconds"),
)

RUN_COLUMNS: Final = (
    text("model")
    | whole("batch_size")
    | text("device")
    | whole("repeat")
    | text("host", "hostname", "status", "run_id", "started_at")
    | {"seed": "UInt64"}
    | text("framework", "framework_version", "precision", "environment", "device_kind", "device_name")
    | whole("gpus", "threads", "cores_given", "epochs")
    | real("train_seconds_per_epoch", "eval_seconds_per_epoch", "epoch_seconds", "first_epoch_train_seconds")
    | whole("steady_epochs")
    | real("samples_per_second", *_CLOCK, "final_loss", "final_accuracy", "best_accuracy")
    | whole("samples_trained")
    | real("cpu_percent", "peak_memory_mib", "gpu_utilization_percent", "gpu_memory_mib")
    | whole("usable_threads")
    | yes_or_no("first_epoch_only")
    | whole("cpu_samples")
    | real("other_cpu_percent")
    | whole("gpu_samples")
    | real("gpu_process_memory_mib", "power_watts", "energy_joules_per_epoch")
    | text("energy_source")
    | real("cpu_energy_joules_per_epoch", "temperature_celsius", "sm_clock_mhz", "canary_seconds")
    | real("achieved_flop_per_second", "flop_ceiling_per_second", "bytes_ceiling_per_second", "flop_per_byte")
    | text("flags")
)
"""The columns of runs.csv."""


def run_row(record: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of a run by itself, its flags left out.

    A run's seconds per epoch are the median over its steady epochs; `epoch_seconds` count training and evaluation. CPU
    and GPU use are those of the steady epochs too, or of the first where there is no other; over several GPUs,
    utilisation and clock are means, memory, power and energy sums, the temperature is the highest.
    `energy_joules_per_epoch` is the GPUs'. Of a run that was not completed, all that is measured of its training is
    unknown.
    """
    device, host, software = record["settings"]["device"], record["host"], record["software"]
    row = {
        **chosen(record, ("model", "batch_size", "device", "repeat", "status", "run_id", "started_at", "seed")),
        **chosen(device, ("precision", "gpus")),
        **chosen(host, ("hostname", "usable_threads")),
        "host": host["id"],
        "framework": software["framework"],
        "framework_version": software["versions"].get(software["framework"]),
        "environment": variables_text(own_variables(record)) or None,
        "device_kind": device["kind"],
        "epochs": len(record["epochs"]),
        # Of older versions it means something else.
        "canary_seconds": (record["canary"].get("before") or {}).get("together_seconds"),
    }
    return row | _figures(record) if record["status"] == COMPLETED else row


def _figures(record: Mapping[str, Any]) -> dict[str, Any]:
    epochs, resumed, used = record["epochs"], record["resumed_after_epochs"], record["device_used"]
    train_seconds = [epoch["train_seconds"] for epoch in epochs]
    eval_seconds = [epoch["eval_seconds"] for epoch in epochs]
    steady = positions(len(epochs), resumed)
    seconds_per_epoch = steady_median(train_seconds, resumed)
    samples = steady_median([epoch["samples"] for epoch in epochs], resumed)
    samples_per_second = samples / seconds_per_epoch if samples and seconds_per_epoch else None
    return {
        "device_name": used["name"],
        "threads": threads_in_use(used["threads"]),
        "cores_given": used["cores_given"],
        "train_seconds_per_epoch": seconds_per_epoch,
        "eval_seconds_per_epoch": steady_median(eval_seconds, resumed),
        "epoch_seconds": steady_median([sum(both) for both in zip(train_seconds, eval_seconds, strict=True)], resumed),
        "first_epoch_train_seconds": train_seconds[0] if train_seconds else None,
        "steady_epochs": len(steady),
        "first_epoch_only": bool(epochs) and not steady,
        "samples_per_second": samples_per_second,
        "final_loss": epochs[-1]["loss"] if epochs else None,
        "final_accuracy": epochs[-1]["accuracy"] if epochs else None,
        "best_accuracy": max((epoch["accuracy"] for epoch in epochs), default=None),
        **chosen(record, ("samples_trained", "peak_memory_mib")),
        **record["clock"],
        **_usage(record["usage"], len(positions_of_last_part(len(epochs), resumed)) - 1),
        **_arithmetic(record, samples_per_second),
    }


def _arithmetic(record: Mapping[str, Any], samples_per_second: float | None) -> dict[str, Any]:
    """The run's arithmetic, its intensity and what its device can do at most, as far as known."""
    arithmetic, ceilings = record["arithmetic"] or {}, record["ceilings"] or {}
    flop, bytes_moved = (arithmetic.get(f"train_{what}_per_example") for what in ("flop", "bytes"))
    return {
        "achieved_flop_per_second": flop * samples_per_second if flop and samples_per_second else None,
        "flop_per_byte": flop / bytes_moved if flop and bytes_moved else None,
        "flop_ceiling_per_second": ceilings.get("flop_per_second"),
        "bytes_ceiling_per_second": ceilings.get("bytes_per_second"),
    }


def _usage(usage: Mapping[str, Any] | None, steady_epochs: int) -> dict[str, Any]:
    """CPU and GPU use over the steady epochs of the run's last process, or over its first where there is no other.

    Nothing if nothing watched.
    """
    if usage is None:
        return {}
    window, epochs = (usage["steady"], steady_epochs) if usage["steady"] else (usage["first_epoch"], 1)
    row = chosen(usage["span"] or {"other_cpu_percent": None}, ["other_cpu_percent"])
    if window is None:
        return row
    return row | {
        "cpu_percent": window["cpu_percent"],
        "cpu_samples": window["samples"],
        "cpu_energy_joules_per_epoch": _shared_out(window["cpu_energy_joules"], epochs),
        **_gpus(window["gpus"], epochs),
    }


def _gpus(gpus: Sequence[Mapping[str, Any]], epochs: int) -> dict[str, Any]:
    """The use of all GPUs of a run together, of a window of so many epochs; what one does not know stays unknown."""

    def over_gpus(name: str, combine: Callable[[list[float]], float]) -> float | None:
        values = [gpu[name] for gpu in gpus]
        return combine(values) if values and None not in values else None

    energy_joules = over_gpus("energy_joules", sum)
    return {
        "gpu_utilization_percent": over_gpus("utilization_percent", fmean),
        # The fewest: a mean is worth what its weakest part is.
        "gpu_samples": over_gpus("samples", min),
        "gpu_memory_mib": over_gpus("memory_used_mib", sum),
        "gpu_process_memory_mib": over_gpus("process_memory_mib", sum),
        "power_watts": over_gpus("power_watts", sum),
        "energy_joules_per_epoch": _shared_out(energy_joules, epochs),
        "energy_source": None if energy_joules is None else " ".join(sorted({gpu["energy_source"] for gpu in gpus})),
        "temperature_celsius": over_gpus("temperature_celsius", max),
        "sm_clock_mhz": over_gpus("sm_clock_mhz", fmean),
    }


def _shared_out(joules: float | None, epochs: int) -> float | None:
    """Energy an epoch; a counter that has not moved says nothing."""
    return joules / epochs if joules else None
