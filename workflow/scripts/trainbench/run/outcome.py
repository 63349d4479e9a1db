"""Puts the metrics file of a run together from what its training process, its monitor and its launcher saw."""

import os
import platform
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from trainbench import __version__
from trainbench.machine import clean_environment, gpu_choice, host
from trainbench.machine.canary import Timing
from trainbench.records import record
from trainbench.records.finding import Finding
from trainbench.records.steady import positions_of_last_part
from trainbench.run import checks, usage
from trainbench.run.checks.check import Facts
from trainbench.run.watched_training import Seen

Value = TypeVar("Value")


@dataclass(frozen=True)
class Observed:
    """What the launcher knows of a run.

    `samples` is the monitor's file, None where nothing watched; the canaries are None where they could not be timed.
    """

    settings: Mapping[str, Any]
    code_sha256: str | None
    started_at: str
    machine: host.Host
    environment: Mapping[str, str]
    cores_given: int
    cores: Sequence[int]
    shared_cores: Sequence[int]
    near_cores: Sequence[int] | None
    gpu_uuids: Sequence[str]
    gpu_wait_seconds: float | None
    canary_before: Timing | None
    canary_after: Timing | None
    samples: Path | None
    seen: Seen


def metrics(answer: Mapping[str, Any], observed: Observed) -> record.Metrics:
    """The metrics file's contents; what a run that was not completed did not measure is None."""
    return _fitting(record.plain(_contents(answer, observed)))


def _fitting(contents: record.Metrics) -> record.Metrics:
    """`contents` without what in `usage` and `checks` breaks the schema: nothing that watched shall cost the run."""
    lost = []
    while (place := _misfit(contents)) and place[0] in {"usage", "checks"}:
        name = "/".join(str(step) for step in place)
        lost.append(asdict(checks.not_evaluated(name, "its value is none that a metrics file can hold")))
        if place[0] == "checks":
            del contents["checks"][int(place[1])]
            continue
        # The smallest part that can be unknown.
        for length in range(len(place), 0, -1):
            part: Any = contents
            for step in place[: length - 1]:
                part = part[step]
            part[place[length - 1]] = None
            if (_misfit(contents) or ())[:length] != place[:length]:
                break
    return {**contents, "checks": [*contents["checks"], *lost]} if lost else contents


def _misfit(contents: record.Metrics) -> tuple[str | int, ...] | None:
    try:
        return record.misfit(contents)
    except ValueError:  # not even of a type that JSON has, and nobody says where
        return None if contents["usage"] is None else ("usage",)


def _contents(answer: Mapping[str, Any], observed: Observed) -> dict[str, Any]:
    settings = observed.settings
    framework = settings["device"]["framework"]
    software = answer.get("software", {"framework": framework, "versions": {}, "flags": {}})
    flags = {"tf32": None, "deterministic": None, **software["flags"]}
    environment = clean_environment.recorded(observed.environment, settings["device"].get("environment", {}))
    epochs, resumed = answer.get("epochs", []), answer.get("resumed_after_epochs", [])
    return {
        "schema_version": record.SCHEMA_VERSION,
        "run_id": uuid.uuid4().hex,
        "status": answer["status"],
        "message": answer["message"],
        "started_at": observed.started_at,
        **{key: settings[key] for key in ("model", "batch_size", "repeat", "seed")},
        "device": settings["device"]["name"],
        "settings": dict(settings),
        "dataset": answer.get("dataset"),
        # A slash is no part of a name in a network, and the schema keeps what looks like a path out of it.
        "host": asdict(observed.machine) | {"hostname": observed.machine.hostname.replace("/", "-")},
        "software": {
            "trainbench": __version__,
            "python": platform.python_version(),
            "code_sha256": observed.code_sha256,
            **software,
            "flags": {**flags, "environment": environment},
        },
        "device_used": _device_used(answer, observed) if "proof" in answer else None,
        "clock": answer.get("clock"),
        "epochs": epochs,
        "resumed_after_epochs": resumed,
        **{
            name: answer.get(name)
            for name in ("samples_trained", "peak_memory_mib", "arithmetic", "loss_scaling", "ceilings")
        },
        "canary": {
            "cores": len(observed.cores),
            "before": observed.canary_before and asdict(observed.canary_before),
            "after": observed.canary_after and asdict(observed.canary_after),
        },
        **_watched(answer, observed, [epochs[position] for position in positions_of_last_part(len(epochs), resumed)]),
    }


def _device_used(answer: Mapping[str, Any], observed: Observed) -> dict[str, Any]:
    proof = answer["proof"]
    cards = gpu_choice.names(observed.machine.gpus, observed.gpu_uuids)
    return {
        "kind": proof["kind"],
        "name": observed.machine.cpu.model if proof["kind"] == "cpu" else next(iter(cards), None),
        "gpu_uuids": observed.gpu_uuids,
        "gpu_wait_seconds": observed.gpu_wait_seconds,
        "gpu_lists_process": observed.seen.gpu_listed,
        **proof,
        "cores_given": observed.cores_given,
        "cores": observed.cores,
        "shared_cores": observed.shared_cores,
        "near_cores": observed.near_cores,
        "threads": answer["threads"],
    }


def _watched(answer: Mapping[str, Any], observed: Observed, epochs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """`usage` over the windows of `epochs`, those that the run's last process trained, and the findings of the checks.

    Nothing else was watched to the end: clocks of other processes may be those of a machine before it was started anew.
    """
    resumed = [asdict(finding) for finding in _resumed(answer.get("resumed_after_epochs", []), len(epochs))]
    if not epochs or observed.samples is None:
        return {"usage": None, "checks": resumed}
    gpu_count = len(observed.gpu_uuids)
    lost: list[Finding] = []
    nothing = usage.read_samples(Path(os.devnull), gpu_count)
    samples = _made("samples", partial(usage.read_samples, observed.samples, gpu_count), lost) or nothing
    train, evaluation = (
        [tuple(epoch[f"{kind}_window_monotonic_seconds"]) for epoch in epochs] for kind in ("train", "eval")
    )
    span = (train[0][0], evaluation[-1][1])
    start_up = (answer["launched_at"], span[0])

    def summary(
        name: str, windows: Sequence[usage.Window], counted: Sequence[Mapping[str, Any]] = ()
    ) -> dict[str, Any] | None:
        made = _made(f"the summary {name}", lambda: usage.over_windows(samples, windows, gpu_count), lost)
        made = made or usage.over_windows(nothing, windows, gpu_count)
        if made is None or not counted:
            return made
        # The CPU use that the training process itself counted needs no samples.
        cpu_seconds, seconds = (sum(epoch[name] for epoch in counted) for name in ("cpu_seconds", "train_seconds"))
        return {**made, "cpu_percent": 100 * cpu_seconds / seconds}

    summaries = {
        "startup": summary("startup", [start_up]),
        "first_epoch": summary("first_epoch", train[:1], epochs[:1]),
        "steady": summary("steady", train[1:], epochs[1:]),
        "span": summary("span", [span]),
    }
    facts = Facts(
        threads=max(answer["threads"].values()),
        cores=observed.cores,
        shared_cores=observed.shared_cores,
        quota_cores=observed.machine.cgroup_cpu_quota_cores,
        epoch_seconds=[epoch["train_seconds"] for epoch in epochs],
        epoch_cpu_seconds=[epoch["cpu_seconds"] for epoch in epochs],
        samples=samples,
        monitor_interval_seconds=observed.settings["monitor_interval_seconds"],
        windows=[*train, *evaluation],
        span=span,
        over_span=summaries["span"] or {},
        over_steady=summaries["steady"],
        canary_before=observed.canary_before,
        canary_after=observed.canary_after,
        **vars(observed.seen),
    )
    found = [asdict(finding) for finding in (*lost, *checks.findings(facts))]
    return {"usage": summaries, "checks": [*resumed, *found]}


def _made(what: str, make: Callable[[], Value], lost: list[Finding]) -> Value | None:
    """What `make` gives; None where it fails, which is then among what was lost: no run shall be."""
    try:
        return make()
    except Exception as error:
        lost.append(checks.not_evaluated(what, f"{type(error).__name__}: {error}"))
        return None


def _resumed(after_epochs: Sequence[int], watched_epochs: int) -> list[Finding]:
    """What is to be known of a run that was interrupted."""
    numbers = ", ".join(str(epoch) for epoch in after_epochs)
    finding = Finding(
        "resumed",
        "warning",
        f"the run was interrupted and resumed after epoch {numbers}: checks, CPU and GPU use rest on its last "
        f"{watched_epochs} {'epoch' if watched_epochs == 1 else 'epochs'} alone",
        "for figures of one piece delete its metrics.json and measure this run again",
    )
    return [finding] if after_epochs else []
