"""The measured process notes what it measured; an interrupted one goes on; finding the ceilings disturbs nothing."""

import errno
import math
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import toy_engine
from idx_writer import write_idx_directory
from trainbench import engines
from trainbench.datasets import dataset
from trainbench.engines.shared import interface
from trainbench.networks import precision
from trainbench.networks.models import MODELS, ImageShape
from trainbench.run import journal, state, training

BATCH_SIZE = 16
SETTINGS = {
    "model": "logistic",
    "batch_size": BATCH_SIZE,
    "epochs": 2,
    "hyperparameters": {"learning_rate": 0.05},
    "device": {"framework": "tensorflow", "kind": "cpu", "precision": "float32", "gpus": 0},
    "validation_samples": 40,
    "seed": 7,
}
CEILINGS = interface.Ceilings(4e11, 2e10, product_size=2048, array_bytes=2**27, seconds=0.9)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    dataset.prepare(write_idx_directory(folder / "idx"), folder / "dataset.safetensors")
    return folder / "dataset.safetensors"


@pytest.fixture
def answer(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Give a function that trains in this process, its ceilings found by another function."""

    def trained(ceilings: Callable[[], interface.Ceilings]) -> dict[str, Any]:
        engine = toy_engine.start(interface.Execution("cpu", threads=1, batch_size=BATCH_SIZE))
        monkeypatch.setattr(engine, "ceilings", ceilings)
        monkeypatch.setattr(engines, "start", lambda *_: engine)
        request = training.Request(
            SETTINGS, prepared, 1, [0], os.getpid(), time.monotonic(), tmp_path / "state.safetensors", {}
        )
        training.train(request, journal.Journal(tmp_path / "journal.jsonl"))
        return journal.read(tmp_path / "journal.jsonl")

    return trained


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begins in no time, and every framework's run goes the same way."""
    monkeypatch.setattr(engines, "start", lambda _, execution: toy_engine.start(execution))


def ended(data: Path, folder: Path) -> dict[str, Any]:
    """How the measured process notes that it ended, after training on the data set `data`."""
    cores = sorted(os.sched_getaffinity(0))[:1]
    request = training.Request(SETTINGS, data, 1, cores, os.getpid(), time.monotonic(), folder / "state", {})
    training.carry_out(request, journal.Journal(folder / "journal.jsonl"))
    return journal.read(folder / "journal.jsonl")


@pytest.mark.usefixtures("toy")
def test_a_broken_data_set_refuses_the_run_with_the_advice(prepared: Path, tmp_path: Path) -> None:
    (broken := tmp_path / "broken.safetensors").write_bytes(prepared.read_bytes()[:-7])
    found = ended(broken, tmp_path)
    assert found["status"] == "refused"
    assert found["message"].startswith(f"{broken} cannot be read as a prepared data set")
    assert found["message"].endswith("delete it and run snakemake again, which prepares the data set anew.")


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.EIO])
def test_a_file_that_cannot_be_used_refuses_the_run_and_is_named(
    number: int, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number), "unfinished/state.safetensors")

    monkeypatch.setattr(state, "load", refuse)
    found = ended(prepared, tmp_path)
    assert found["status"] == "refused"
    assert found["message"].startswith("unfinished/state.safetensors cannot be read or written")


def test_the_answer_has_the_ceilings_and_the_arithmetic_of_an_example(answer: Callable[..., dict[str, Any]]) -> None:
    found = answer(lambda: CEILINGS)
    assert found["ceilings"]["flop_per_second"] == CEILINGS.flop_per_second
    # 8 x 12 pixels, 4 classes: 2 x 96 x 4 FLOP forward and as many for the gradient of the weights; 96 values read,
    # 4 written and read, and 384 weights and gradients each read and written once in a step of 16 examples.
    assert found["arithmetic"] == {
        "train_flop_per_example": 2 * 2 * 96 * 4,
        "train_bytes_per_example": 4 * (96 + 2 * 4 + 4 * 384 / BATCH_SIZE),
    }


def test_too_little_memory_for_the_ceilings_does_not_spoil_a_finished_run(
    answer: Callable[..., dict[str, Any]],
) -> None:
    def refuse() -> interface.Ceilings:
        raise interface.OutOfMemory("no room")

    found = answer(refuse)
    assert found["ceilings"] is None
    assert len(found["epochs"]) == SETTINGS["epochs"]


def test_the_log_says_why_there_are_no_ceilings(
    answer: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> interface.Ceilings:
        raise interface.OutOfMemory("no room")

    answer(refuse)
    assert "ceilings: not measured, OutOfMemory: no room" in capsys.readouterr().out


def test_the_ceilings_are_found_when_every_clock_has_stopped(answer: Callable[..., dict[str, Any]]) -> None:
    begun = []

    def note() -> interface.Ceilings:
        begun.append(time.monotonic())
        return CEILINGS

    found = answer(note)
    assert found["launched_at"] + found["clock"]["total_seconds"] <= begun[0]
    assert found["epochs"][-1]["eval_window_monotonic_seconds"][1] <= begun[0]


def test_the_peak_of_memory_is_that_of_the_training(
    answer: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    read_before = []

    def note() -> interface.Ceilings:
        monkeypatch.setattr(training, "_peak_memory_mib", lambda: pytest.fail("read after the ceilings"))
        read_before.append(True)
        return CEILINGS

    assert answer(note)["peak_memory_mib"] > 0
    assert read_before


# --- interruptions and too little memory ---

LONG = {**SETTINGS, "epochs": 4}
CONV = {
    **LONG,
    "model": "conv",
    "hyperparameters": {"learning_rate": 0.001, "decay": 0.9, "keep_conv": 0.8, "keep_hidden": 0.5},
}


Start = Callable[[interface.Execution], Any]


class Attempts:
    """Trains the same run again and again in this process, each time with a new engine."""

    def __init__(
        self, prepared: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], start: Start
    ) -> None:
        self._settings, self._start = settings, start
        self.state = folder / "unfinished" / "state.safetensors"
        self._prepared = prepared
        self._notes = folder / "journal.jsonl"
        self._monkeypatch = monkeypatch

    def train(
        self,
        fail_in: int | None = None,
        failure: BaseException | None = None,
        computes_in: str = "float32",
        **identity: Any,
    ) -> dict[str, Any]:
        """Train; `failure` is raised instead of training the epoch that is this process' number `fail_in`."""
        settings = {**self._settings, "device": {**SETTINGS["device"], "precision": computes_in}}
        engine = self._start(interface.Execution("cpu", 1, BATCH_SIZE, computes_in))
        train_epoch, calls = engine.train_epoch, iter(range(1, 100))

        def failing() -> float:
            if next(calls) == fail_in and failure is not None:
                raise failure
            return train_epoch()

        self._monkeypatch.setattr(engine, "train_epoch", failing)
        self._monkeypatch.setattr(engine, "ceilings", lambda: CEILINGS)
        self._monkeypatch.setattr(engines, "start", lambda *_: engine)
        request = training.Request(
            settings,
            self._prepared,
            1,
            [0],
            os.getpid(),
            time.monotonic(),
            self.state,
            {"settings": settings, **identity},
        )
        try:
            training.carry_out(request, journal.Journal(self._notes))
        except KeyboardInterrupt:
            pass
        finally:
            self._monkeypatch.undo()
        return journal.read(self._notes)


@pytest.fixture
def attempts(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Attempts:
    """Of logistic regression with the toy engine: what is interrupted and noted is the same with all."""
    return Attempts(prepared, tmp_path, monkeypatch, LONG, toy_engine.start)


@pytest.fixture
def of_conv(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Attempts:
    """Of a network with dropout, an optimiser's state and low precisions."""
    return Attempts(prepared, tmp_path, monkeypatch, CONV, partial(engines.start, "tensorflow"))


@pytest.fixture
def saving_always() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(training, "SAVE_AFTER_SECONDS", 0.0)
        yield


@pytest.mark.usefixtures("saving_always")
def test_a_run_that_was_interrupted_twice_has_the_losses_and_accuracies_of_one_that_was_not(
    of_conv: Attempts,
) -> None:
    whole = of_conv.train(other="run")
    of_conv.train(3, KeyboardInterrupt())
    of_conv.train(2, KeyboardInterrupt())
    found = of_conv.train()
    assert found["resumed_after_epochs"] == [2, 3]
    assert [epoch["epoch"] for epoch in found["epochs"]] == [1, 2, 3, 4]
    for name in ("loss", "accuracy"):
        expected = [epoch[name] for epoch in whole["epochs"]]
        assert [epoch[name] for epoch in found["epochs"]] == pytest.approx(expected, rel=1e-5, abs=1e-6)


@pytest.fixture
def loss_scale_grows() -> Iterator[None]:
    """Twelve steps are an epoch; the scale doubles after nine in a row."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(precision, "FIRST_LOSS_SCALE", 2.0**8)
        patched.setattr(precision, "LOSS_SCALE_GROWS_AFTER", 9)
        yield


@pytest.mark.usefixtures("saving_always", "loss_scale_grows")
def test_a_run_in_float16_that_was_interrupted_goes_on_with_its_loss_scale(of_conv: Attempts) -> None:
    whole = of_conv.train(computes_in="float16", other="run")
    of_conv.train(3, KeyboardInterrupt(), computes_in="float16")
    found = of_conv.train(computes_in="float16")
    assert found["resumed_after_epochs"] == [2]
    assert found["loss_scaling"] == whole["loss_scaling"]
    # 48 steps, so five times: none was left out.
    assert found["loss_scaling"] == {"scale": 2.0**13, "skipped_steps": 0}


@pytest.mark.parametrize(("computes_in", "bytes_of_image"), [("float32", 4 * 96), ("bfloat16", 2 * 96)])
def test_images_and_activations_of_mixed_precision_count_half_the_bytes_and_parameters_all(
    of_conv: Attempts, computes_in: str, bytes_of_image: int
) -> None:
    spec = MODELS["conv"].specify(ImageShape(8, 12, 4), CONV["hyperparameters"])
    of_step = (2 * 2 + 2) * 4 * spec.parameter_count
    bytes_of_activations = bytes_of_image // 96 * 2 * spec.activations_per_example
    found = of_conv.train(computes_in=computes_in)["arithmetic"]["train_bytes_per_example"]
    assert found == pytest.approx(bytes_of_image + bytes_of_activations + of_step / BATCH_SIZE)


@pytest.mark.parametrize("computes_in", ["float32", "bfloat16"])
def test_what_was_proven_of_the_precision_stands_in_the_answer(of_conv: Attempts, computes_in: str) -> None:
    assert of_conv.train(computes_in=computes_in)["proof"]["product_types"] == [computes_in]


def test_a_run_that_does_not_compute_in_the_precision_asked_for_is_refused(of_conv: Attempts) -> None:
    found = of_conv.train(computes_in="tf32")
    assert found["status"] == "refused"
    assert found["message"].startswith("tf32 was asked for, but products multiply float32")


@pytest.mark.usefixtures("saving_always")
def test_a_run_that_goes_on_keeps_the_epochs_that_it_had_to_the_last_digit(attempts: Attempts) -> None:
    interrupted = attempts.train(3, KeyboardInterrupt())
    assert attempts.train()["epochs"][:2] == interrupted["epochs"]


@pytest.mark.usefixtures("saving_always")
def test_sums_cover_the_epochs_of_all_processes_and_no_time_in_between(attempts: Attempts) -> None:
    attempts.train(3, KeyboardInterrupt())
    time.sleep(0.3)
    began = time.monotonic()
    found = attempts.train()
    last_process_seconds = time.monotonic() - began
    clock, epochs = found["clock"], found["epochs"]
    assert clock["train_seconds"] == pytest.approx(sum(epoch["train_seconds"] for epoch in epochs))
    assert found["samples_trained"] == sum(epoch["samples"] for epoch in epochs)
    earlier = sum(epoch["train_seconds"] + epoch["eval_seconds"] for epoch in epochs[:2])
    assert sum(clock.values()) - clock["total_seconds"] <= clock["total_seconds"] <= last_process_seconds + earlier


@pytest.mark.usefixtures("saving_always")
def test_a_run_interrupted_after_its_last_epoch_trains_none_again(attempts: Attempts) -> None:
    attempts.train()
    found = attempts.train(1, AssertionError("trained again"))
    assert (found["status"], found["resumed_after_epochs"], len(found["epochs"])) == ("completed", [4], 4)


@pytest.mark.usefixtures("saving_always")
def test_the_state_of_another_run_is_deleted_and_everything_trained_anew(attempts: Attempts) -> None:
    attempts.train(3, KeyboardInterrupt(), code_sha256="before")
    found = attempts.train(1, KeyboardInterrupt(), code_sha256="after")
    assert found["resumed_after_epochs"] == []
    assert not attempts.state.exists()


@pytest.mark.usefixtures("saving_always")
def test_the_state_is_saved_outside_of_every_window_and_of_the_clock(attempts: Attempts) -> None:
    save, saved = state.save, []

    def slow(*arguments: Any) -> None:
        begin = time.monotonic()
        time.sleep(0.2)
        save(*arguments)
        saved.append((begin, time.monotonic()))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(state, "save", slow)
        found = attempts.train()
    windows = [epoch[f"{phase}_window_monotonic_seconds"] for epoch in found["epochs"] for phase in ("train", "eval")]
    assert len(saved) == LONG["epochs"]
    assert all(
        end <= begin_saving or begin >= end_saving for begin, end in windows for begin_saving, end_saving in saved
    )
    elapsed = found["epochs"][-1]["eval_window_monotonic_seconds"][1] - found["launched_at"]
    assert found["clock"]["total_seconds"] == pytest.approx(
        elapsed - sum(end - begin for begin, end in saved[:-1]), abs=0.1
    )


def test_a_short_run_saves_nothing(attempts: Attempts) -> None:
    attempts.train()
    assert not attempts.state.exists()


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (interface.OutOfMemory("no memory on the device"), "no memory on the device"),
        (MemoryError("Unable to allocate 8 GiB"), "the host has too little memory: Unable to allocate 8 GiB"),
        (MemoryError(), "the host has too little memory"),
    ],
)
def test_a_run_out_of_memory_keeps_the_epochs_that_it_finished(
    failure: BaseException, words: str, attempts: Attempts
) -> None:
    found = attempts.train(3, failure)
    assert (found["status"], found["message"]) == ("out_of_memory", words)
    assert [epoch["epoch"] for epoch in found["epochs"]] == [1, 2]
    assert found["samples_trained"] == sum(epoch["samples"] for epoch in found["epochs"])
    assert found["clock"]["train_seconds"] > 0


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_is_unknown(value: float) -> None:
    engine: Any = SimpleNamespace(train_epoch=lambda: value, evaluate=lambda: 1)
    assert training._epoch(engine, 1, 16, 10)["loss"] is None
