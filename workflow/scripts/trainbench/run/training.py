"""Trains one cell once, in a process of its own, and leaves what it measured in a journal.

Started by `watched_training` as `python -m trainbench.run.training REQUEST JOURNAL`. Nothing here knows of Snakemake,
of the monitor or of NVML: this process computes and reads clocks. Between epochs, outside of every clock, it saves the
state from which an interrupted run goes on.
"""

import gc
import json
import math
import os
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil

from trainbench import engines
from trainbench.datasets import dataset
from trainbench.engines.shared import interface, proof
from trainbench.engines.shared.engine import Engine
from trainbench.errors import InputError
from trainbench.files import full_disk
from trainbench.machine import clean_environment, lifetime, processes
from trainbench.networks import parameters, precision
from trainbench.networks.models import MODELS, ImageShape
from trainbench.run import journal, state

SAVE_AFTER_SECONDS: Final = 2.0
"""The state is saved after an epoch when as much has been trained and evaluated since it was saved last.

An interruption costs at most the epoch it fell into, and as much of those before it; short runs save nothing.
"""


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
    state: Path
    """Where the state of an interrupted run may be, and is saved."""
    identity: Mapping[str, Any]
    """What the launcher knows of all that the rest of an interrupted run depends on."""


def main(arguments: list[str]) -> int:
    """Read the request, train, note how it ended."""
    request_path, journal_path = (Path(argument) for argument in arguments)
    fields = json.loads(request_path.read_text(encoding="utf-8"))
    request = Request(**{**fields, "dataset": Path(fields["dataset"]), "state": Path(fields["state"])})
    lifetime.end_with(request.launcher_pid)
    # Before the framework is imported: its threads inherit these cores.
    os.sched_setaffinity(0, request.cores)
    # Importing and tracing make a million objects and drop few: looking through them for garbage, again and again,
    # takes a fifth of the start. `train` switches it on again before the first epoch.
    gc.disable()
    try:
        carry_out(request, journal.Journal(journal_path))
    except OSError as error:
        if not full_disk.is_cause(error):
            raise
        print(full_disk.sentence(request.state.parent, error), flush=True)
        return full_disk.EXIT_CODE
    return 0


def carry_out(request: Request, notes: journal.Journal) -> None:
    """Train one cell once and note how it ended, for which running out of memory is one of the ways.

    What the user can mend, as a broken data set or a file without permission, is noted as the reason of a refusal.

    Raises:
        OSError: the disk is full, or something else is wrong than a file.
    """
    status, message = "completed", None
    try:
        train(request, notes)
    except interface.OutOfMemory as error:
        status, message = "out_of_memory", str(error)
    except MemoryError as error:
        status, message = "out_of_memory", f"the host has too little memory: {error}".rstrip(": ")
    except (interface.Refused, InputError) as error:
        status, message = "refused", str(error)
    except Exception as error:
        device = request.settings["device"]
        own = tuple(device.get("environment", {}))
        told = full_disk.told(error, request.state.parent) if isinstance(error, OSError) else None
        if (told is None and not own) or (isinstance(error, OSError) and full_disk.is_cause(error)):
            raise
        if told is None:
            # Frameworks take many variables with which these networks cannot be trained, and say so in their own ways.
            print(traceback.format_exc(), flush=True)
            said = (str(error).splitlines() or [""])[0]
            where = clean_environment.suspicion(device["name"], own)
            told = f"the training failed ({type(error).__name__}: {said}); {where}"
        status, message = "refused", told
    notes.note({"status": status, "message": message})


def train(request: Request, notes: journal.Journal) -> None:
    """Train one cell once; the notes have the fields of the metrics file that this process knows.

    Raises:
        OSError: notes or the state could not be written.
    """
    settings = request.settings
    device = settings["device"]
    execution = interface.Execution(
        kind=device["kind"],
        threads=request.threads,
        batch_size=settings["batch_size"],
        precision=device["precision"],
        replicas=max(1, device["gpus"]),
    )
    engine = engines.start(device["framework"], execution)
    started = time.monotonic()

    data = dataset.load(request.dataset)
    train_images, train_labels = dataset.training_split(data, settings["validation_samples"])
    engine.place(interface.Images(train_images, train_labels, data.test_images, data.test_labels))
    placed = time.monotonic()

    _, height, width = train_images.shape
    spec = MODELS[settings["model"]].specify(ImageShape(height, width, data.classes), settings["hyperparameters"])
    batch_size, seed = settings["batch_size"], settings["seed"]
    engine.build(spec, parameters.draw(spec.parameters, seed), seed)
    on_device = engine.prove_device()
    compiled = time.monotonic()
    computes_in = proof.prove(engine, device["precision"])

    versions = dict(engine.versions())
    notes.note(
        {
            "dataset": {
                "sha256": data.sha256,
                "train_samples": len(train_images),
                "test_samples": len(data.test_images),
                "height": height,
                "width": width,
                "classes": data.classes,
            },
            "software": {"framework": device["framework"], "versions": versions, "flags": dict(engine.flags())},
            "launched_at": request.launched_at,
            "proof": {**on_device, **computes_in},
            "threads": asdict(engine.threads()),
            "arithmetic": {
                "train_flop_per_example": spec.train_flop_per_example,
                "train_bytes_per_example": spec.train_bytes_per_example(
                    batch_size, precision.PRECISIONS[device["precision"]].bytes_per_value
                ),
            },
        }
    )
    run = _Run(
        engine,
        notes,
        request,
        identity={**request.identity, "dataset_sha256": data.sha256, "versions": versions},
        start_clock={
            "startup_seconds": started - request.launched_at,
            "data_seconds": placed - started,
            "compile_seconds": compiled - placed,
        },
        own_seconds=compiled - request.launched_at,
    )
    run.resume()
    # What has come to stay is no garbage: no collection between epochs needs to look at it.
    gc.freeze()
    gc.enable()
    samples = len(train_images) // batch_size * batch_size
    while len(run.epochs) < settings["epochs"]:
        measured = _epoch(engine, len(run.epochs) + 1, samples, len(data.test_images))
        run.keep(measured)
        _report_progress(run.epochs, settings["epochs"])
    # The last thing of all: no clock, no window of the monitor's and no peak of memory includes it.
    peak_memory_mib, scaling = run.peak_memory_mib(), engine.loss_scaling()
    notes.note({"peak_memory_mib": peak_memory_mib, "loss_scaling": scaling, "ceilings": _ceilings(engine)})


@dataclass
class _Run:
    """What a run has measured so far, in this process and in earlier ones, and how it is kept.

    `own_seconds` are those of this process up to its last epoch's end, without those that keeping took (`aside`).
    """

    engine: Engine
    notes: journal.Journal
    request: Request
    identity: Mapping[str, Any]
    start_clock: Mapping[str, float]
    own_seconds: float
    aside_seconds: float = 0.0
    epochs: list[Mapping[str, Any]] = field(default_factory=list)
    resumed_after_epochs: list[int] = field(default_factory=list)
    earlier_peak_mib: float | None = None
    unsaved_seconds: float = 0.0

    def resume(self) -> None:
        """Go on from where an interrupted process of the same run had come to; a state that fits no more is deleted."""
        begin = time.monotonic()
        kept = state.load(self.identity, self.request.state)
        if kept is None:
            self.request.state.unlink(missing_ok=True)
        else:
            self.engine.restore(kept.arrays)
            self.epochs = list(kept.epochs)
            self.resumed_after_epochs = [*kept.resumed_after_epochs, len(kept.epochs)]
            self.earlier_peak_mib = kept.peak_memory_mib
            print(f"resumed after epoch {len(kept.epochs)}", flush=True)
        self._note(self.epochs)
        self.aside_seconds += time.monotonic() - begin

    def keep(self, measured: Mapping[str, Any]) -> None:
        """Note an epoch, and save the state if enough has been trained since it was saved last."""
        self.epochs.append(measured)
        self.own_seconds = measured["eval_window_monotonic_seconds"][1] - self.request.launched_at - self.aside_seconds
        self._note([measured])
        self.unsaved_seconds += measured["train_seconds"] + measured["eval_seconds"]
        if self.unsaved_seconds >= SAVE_AFTER_SECONDS:
            begin = time.monotonic()
            between = state.State(self.engine.state(), self.epochs, self.resumed_after_epochs, self.peak_memory_mib())
            state.save(between, self.identity, self.request.state)
            self.unsaved_seconds = 0.0
            self.aside_seconds += time.monotonic() - begin

    def peak_memory_mib(self) -> float | None:
        """The highest of this and of earlier processes."""
        return max(filter(None, [_peak_memory_mib(), self.earlier_peak_mib]), default=None)

    def _note(self, epochs: Sequence[Mapping[str, Any]]) -> None:
        """Note these epochs, and what has been measured of all of them together."""
        train_seconds, eval_seconds = _seconds(self.epochs)
        # What was lost, and the time until the run went on, are no part of what it takes.
        earlier_seconds = sum(_seconds(self.epochs[: max(self.resumed_after_epochs, default=0)]))
        self.notes.note(
            {
                "epochs": list(epochs),
                "resumed_after_epochs": self.resumed_after_epochs,
                "samples_trained": sum(epoch["samples"] for epoch in self.epochs),
                "clock": {
                    **self.start_clock,
                    "train_seconds": train_seconds,
                    "eval_seconds": eval_seconds,
                    "total_seconds": self.own_seconds + earlier_seconds,
                },
            }
        )


def _seconds(epochs: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """Seconds of training and of evaluation."""
    return sum(epoch["train_seconds"] for epoch in epochs), sum(epoch["eval_seconds"] for epoch in epochs)


def _epoch(engine: Engine, epoch: int, samples: int, test_samples: int) -> dict[str, Any]:
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
        "loss": loss if math.isfinite(loss) else None,  # JSON knows neither NaN nor infinity
        "accuracy": right / test_samples,
        "samples": samples,
        "cpu_seconds": cpu_after - cpu_before + max(0.0, descendants_after - descendants_before),
        "train_window_monotonic_seconds": [train_begin, train_end],
        "eval_window_monotonic_seconds": [eval_begin, eval_end],
    }


def _report_progress(epochs: Sequence[Mapping[str, Any]], planned: int) -> None:
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


def _ceilings(engine: Engine) -> dict[str, Any] | None:
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
    for descendant in processes.descendants(os.getpid()):
        try:
            times = psutil.Process(descendant).cpu_times()
        except (psutil.NoSuchProcess, psutil.AccessDenied):
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
    code = main(sys.argv[1:])
    # All is written: the journal as it was noted, the output here. Taking the framework apart piece by piece would only
    # keep the run waiting; the kernel takes back memory, threads and card at once.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
