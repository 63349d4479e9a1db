"""Trains one cell once, in a process of its own, and leaves what it measured as JSON.

Started by `trainbench.launch` as `python -m trainbench.training REQUEST ANSWER`. Nothing here knows of Snakemake, of
the monitor or of NVML: this process computes and reads clocks.
"""

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from trainbench import dataset, engines, lifetime, parameters, record, whole_file
from trainbench.models import MODELS, ImageShape


@dataclass(frozen=True)
class Request:
    """What the launcher asks for."""

    settings: Mapping[str, Any]
    dataset: Path
    threads: int
    cores: Sequence[int]
    """Logical CPUs to run on."""
    launcher_pid: int
    launched_at: float
    """`time.monotonic()` of the launcher just before it started this process."""


def main(arguments: list[str]) -> int:
    """Read the request, train, write the answer."""
    request_path, answer_path = (Path(argument) for argument in arguments)
    fields = json.loads(request_path.read_text(encoding="utf-8"))
    request = Request(**{**fields, "dataset": Path(fields["dataset"])})
    lifetime.end_with(request.launcher_pid)
    # Before the framework is imported: its threads inherit these cores.
    os.sched_setaffinity(0, request.cores)
    try:
        answer = {"status": "completed", "message": None, **train(request)}
    except engines.OutOfMemory as error:
        answer = {"status": "out_of_memory", "message": str(error)}
    except engines.WrongDevice as error:
        answer = {"status": "wrong_device", "message": str(error)}
    whole_file.write(json.dumps(answer), answer_path)
    return 0


def train(request: Request) -> dict[str, Any]:
    """Train one cell once; the answer has the fields of the metrics file that this process knows."""
    settings = request.settings
    device = settings["device"]
    engine = engines.start(device["framework"], device["kind"], request.threads)
    started = time.monotonic()

    data = dataset.load(request.dataset)
    train_images, train_labels = dataset.training_split(data, settings["validation_samples"])
    engine.place(engines.Images(train_images, train_labels, data.test_images, data.test_labels))
    placed = time.monotonic()

    _, height, width = train_images.shape
    spec = MODELS[settings["model"]].specify(ImageShape(height, width, data.classes), settings["hyperparameters"])
    batch_size, seed = settings["batch_size"], settings["seed"]
    engine.build(spec, parameters.draw(spec.parameters, seed), batch_size, seed)
    proof = engine.prove_device()
    compiled = time.monotonic()

    samples = len(train_images) // batch_size * batch_size
    epochs = []
    for epoch in range(1, settings["epochs"] + 1):
        measured = _epoch(engine, epoch, samples, len(data.test_images))
        epochs.append(measured)
        _report_progress(epochs, settings["epochs"])
    ended = time.monotonic()
    peak_memory_mib = _peak_memory_mib()
    # The last thing of all: no clock, no window of the monitor's and no peak of memory includes it.
    ceilings = _ceilings(engine)

    return {
        "dataset": {
            "sha256": data.sha256,
            "train_samples": len(train_images),
            "test_samples": len(data.test_images),
            "height": height,
            "width": width,
            "classes": data.classes,
        },
        "software": {
            "framework": device["framework"],
            "versions": dict(engine.versions()),
            "flags": dict(engine.flags()),
        },
        "launched_at": request.launched_at,
        "proof": asdict(proof),
        "threads": asdict(engine.threads()),
        "clock": {
            "startup_seconds": started - request.launched_at,
            "data_seconds": placed - started,
            "compile_seconds": compiled - placed,
            "train_seconds": sum(epoch["train_seconds"] for epoch in epochs),
            "eval_seconds": sum(epoch["eval_seconds"] for epoch in epochs),
            "total_seconds": ended - request.launched_at,
        },
        "epochs": epochs,
        "samples_trained": samples * len(epochs),
        "peak_memory_mib": peak_memory_mib,
        "arithmetic": {
            "train_flop_per_example": spec.train_flop_per_example,
            "train_bytes_per_example": spec.train_bytes_per_example(batch_size),
        },
        "ceilings": ceilings,
    }


def _epoch(engine: engines.Engine, epoch: int, samples: int, test_samples: int) -> dict[str, Any]:
    """Train and evaluate one epoch; nothing but the engine's call lies between two readings of a clock."""
    # Descendants are looked for outside of what is counted: that reads all of /proc.
    descendants_before = _descendants_cpu_seconds()
    cpu_before = time.process_time()
    train_begin = time.monotonic()
    loss = engine.train_epoch()
    train_end = time.monotonic()
    cpu_after = time.process_time()
    descendants_after = _descendants_cpu_seconds()
    eval_begin = time.monotonic()
    right = engine.evaluate()
    eval_end = time.monotonic()
    return {
        "epoch": epoch,
        "train_seconds": train_end - train_begin,
        "eval_seconds": eval_end - eval_begin,
        "loss": record.finite_or_none(loss),
        "accuracy": right / test_samples,
        "samples": samples,
        "cpu_seconds": cpu_after - cpu_before + max(0.0, descendants_after - descendants_before),
        "train_window_monotonic_seconds": [train_begin, train_end],
        "eval_window_monotonic_seconds": [eval_begin, eval_end],
    }


def _report_progress(epochs: list[dict[str, Any]], planned: int) -> None:
    """One line an epoch, for the run's log and the terminal."""
    last = epochs[-1]
    mean_seconds = sum(epoch["train_seconds"] + epoch["eval_seconds"] for epoch in epochs) / len(epochs)
    left = mean_seconds * (planned - len(epochs))
    loss = "not finite" if last["loss"] is None else f"{last['loss']:.4f}"
    print(
        f"epoch {last['epoch']}/{planned}: {last['train_seconds']:.3f} s training, "
        f"{last['eval_seconds']:.3f} s evaluation, loss {loss}, "
        f"accuracy {100 * last['accuracy']:.2f} %, {left:.0f} s left",
        flush=True,
    )


def _ceilings(engine: engines.Engine) -> dict[str, Any] | None:
    """What the device can do at most, or None where that could not be found out: the run is good without.

    Whatever goes wrong here, as too little memory, is no reason to lose a run that has ended.
    """
    try:
        measured = engine.ceilings()
    except Exception as error:
        print(f"ceilings: not measured, {type(error).__name__}: {error}", flush=True)
        return None
    print(
        f"ceilings: {measured.flop_per_second / 1e9:.4g} GFLOP/s, {measured.bytes_per_second / 1e9:.4g} GB/s, "
        f"measured in {measured.seconds:.2f} s",
        flush=True,
    )
    return asdict(measured)


def _descendants_cpu_seconds() -> float:
    """CPU time of this process' ended children and of its living descendants."""
    ended = os.times()
    seconds = ended.children_user + ended.children_system
    for descendant in psutil.Process().children(recursive=True):
        try:
            times = descendant.cpu_times()
        except psutil.NoSuchProcess:
            continue
        seconds += times.user + times.system
    return seconds


def _peak_memory_mib() -> float | None:
    """Peak resident memory of this process: VmHWM of proc(5), which unlike getrusage's starts anew with exec."""
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
