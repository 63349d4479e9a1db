import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import psutil
import pytest

from small_training import (
    BATCH_SIZE,
    BATCHES,
    ONE_THREAD,
    built,
    images,
    initial,
    parameters_of,
    ready,
    specification,
    start,
)
from trainbench import engines
from trainbench.engines.shared import interface
from trainbench.engines.shared.interface import Execution
from trainbench.networks.models import MODELS

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from trainbench.engines.torch import layers  # noqa: E402
from trainbench.engines.torch.devices import FRAMEWORK  # noqa: E402
from trainbench.engines.torch.replica import Replica  # noqa: E402
from trainbench.engines.torch.team import Team  # noqa: E402


@pytest.mark.parametrize("keep", [0.8, 0.5, 1e-9])
def test_dropout_keeps_the_share_asked_for_and_the_expected_value(keep):
    values = 200_001
    draw = layers.Draw(position=0, step=0, generator=torch.Generator().manual_seed(7))
    dropped = layers.dropout_factors(torch.ones(values), keep, draw).numpy()
    # Four standard errors; a share that 16 random bits cannot tell from 0 is the least that they can.
    share = max(keep, 2**-16)
    assert (dropped > 0).mean() == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / values))
    assert dropped.max(initial=0) in (0, pytest.approx(1 / share, rel=1e-4))


# --- what a GPU records, on a CPU ---


@pytest.mark.parametrize("model", list(MODELS))
def test_a_step_that_counts_batches_on_the_device_trains_as_one_that_is_told_their_numbers(model):
    spec, data = specification(model, keep_conv=0.8, keep_hidden=0.5), images()
    told = ready("torch", spec)
    counting = Replica(ONE_THREAD, rank=0, parts=1)
    counting.place(data)
    counting.build(spec, initial(spec), 7)
    told.train_epoch()
    counting.begin_epoch(0)
    for _ in range(BATCHES):
        counting.next_step()
    for name, value in parameters_of(told).items():
        np.testing.assert_array_equal(counting.kept()[f"parameter/{name}"], value)


# --- dropout's seam ---


def test_dropout_is_told_the_layers_position_and_the_step_since_the_run_began(monkeypatch):
    spec = specification("conv", keep_conv=0.8, keep_hidden=0.5)
    engine = ready("torch", spec)
    seen = []
    monkeypatch.setattr(layers, "dropout_factors", lambda x, _, draw: seen.append(draw) or torch.ones_like(x))
    engine.train_epoch()
    engine.train_epoch()
    places = {draw.position for draw in seen}
    assert sorted({(draw.position, draw.step) for draw in seen}) == [
        (place, step) for place in sorted(places) for step in range(2 * BATCHES)
    ]
    assert len(places) == 4


def test_dropout_has_images_with_their_channels_last(monkeypatch):
    spec = specification("conv", keep_conv=0.8)
    engine = ready("torch", spec)
    shapes = []
    monkeypatch.setattr(layers, "dropout_factors", lambda x, *_: shapes.append(tuple(x.shape)) or torch.ones_like(x))
    engine.train_epoch()
    assert shapes[0] == (BATCH_SIZE, 3, 4, 32)


# --- precision ---


def test_an_operation_that_a_type_does_not_have_is_said_as_such(monkeypatch):
    def missing(*_):
        raise NotImplementedError("\"addmm_impl_cpu_\" not implemented for 'Half'")

    monkeypatch.setattr(torch.nn.functional, "linear", missing)
    spec = specification("logistic")
    with pytest.raises(interface.Refused, match=r"cannot train this model in float16 on a CPU: .*choose another"):
        built(start("torch", "float16"), spec, images(), initial(spec))


def test_tf32_is_switched_on_where_it_is_asked_for_and_off_again():
    assert start("torch", "tf32").flags()["tf32"] is True
    assert start("torch", "float32").flags()["tf32"] is False
    assert torch.backends.cudnn.conv.fp32_precision == torch.backends.cudnn.rnn.fp32_precision == "ieee"


# --- forms, threads, memory ---


def test_windows_that_stand_over_are_padded_as_tensorflow_does():
    # SAME for 4 values and windows of 3: one to pad before, one behind.
    row = torch.tensor([-4.0, -3.0, -2.0, -1.0]).reshape(1, 1, 4, 1).expand(1, 4, 4, 1)
    assert layers._pooled(row, 3)[0, 0, :, 0].tolist() == [-3.0, -1.0]


def test_what_one_thread_fails_with_is_raised_and_the_others_do_not_wait_for_it():
    def work(number, meet):
        if number == 1:
            raise ZeroDivisionError
        meet()

    with pytest.raises(ZeroDivisionError):
        Team(3).run(work)


def test_too_little_memory_for_an_array_is_out_of_memory():
    with pytest.raises(interface.OutOfMemory, match="can't allocate memory"), FRAMEWORK.naming_out_of_memory():
        torch.empty(2**52, dtype=torch.uint8)


# --- several replicas, each in a process of its own ---

REPLICATED = Execution("cpu", threads=2, batch_size=BATCH_SIZE, replicas=2)


@pytest.fixture(scope="module")
def replicated():
    """Two replicas that drop out, after an epoch."""
    spec = specification("conv", keep_conv=0.5, keep_hidden=0.5)
    engine = engines.start("torch", REPLICATED)
    built(engine, spec, images(), initial(spec))
    engine.train_epoch()
    return engine


def test_replicas_draw_random_numbers_of_their_own(replicated):
    state = replicated.state()
    assert (state["generator/0/0"] != state["generator/1/0"]).any()


def test_replicas_go_on_from_a_state_as_they_would_have(replicated):
    kept = replicated.state()
    first = replicated.train_epoch()
    replicated.restore(kept)
    assert replicated.train_epoch() == first


@pytest.fixture
def replicated_alone():
    """Two replicas of a small model, and the second one's process."""
    before = set(psutil.Process().children())
    spec = specification("logistic")
    engine = built(engines.start("torch", REPLICATED), spec, images(), initial(spec))
    (follower,) = set(psutil.Process().children()) - before
    return engine, follower


def test_a_replica_that_is_killed_is_told_of(replicated_alone):
    engine, follower = replicated_alone
    follower.kill()
    with pytest.raises(RuntimeError, match="the process of replica 1 ended with exit code -9"):
        engine.train_epoch()


def test_a_replica_that_fails_says_why(replicated_alone):
    engine, _ = replicated_alone
    engine._others.order("restore", ({},))
    with pytest.raises(RuntimeError, match=r"(?s)replica 1 failed: .*KeyError: 'parameter/weights'"):
        engine._others.answers()


def test_replicas_end_with_the_training_process_however_it_ends():
    program = textwrap.dedent("""
        import psutil, time
        from trainbench import engines
        from trainbench.engines.shared.interface import Execution
        engine = engines.start("torch", Execution("cpu", threads=1, batch_size=4, replicas=2))
        print(*(child.pid for child in psutil.Process().children()), flush=True)
        time.sleep(600)
    """)
    package = Path(engines.__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": package}
    ) as training:
        (replica,) = (psutil.Process(int(pid)) for pid in training.stdout.readline().split())
        training.send_signal(signal.SIGKILL)
    assert not psutil.wait_procs([replica], timeout=60)[1]
