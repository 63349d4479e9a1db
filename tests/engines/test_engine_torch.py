import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import psutil
import pytest

from small_training import BATCH_SIZE, BATCHES, ONE_THREAD, built, images, larger, specification, start
from trainbench import engines
from trainbench.engines.shared import interface, proof
from trainbench.engines.shared.interface import Execution, Images
from trainbench.networks import parameters
from trainbench.networks.models import MODELS

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
engine_module = pytest.importorskip("trainbench.engines.torch.engine")


@pytest.fixture(scope="module")
def engine_on_cpu():
    return lambda: start("torch")


@pytest.mark.parametrize("parts", [2, 3])
@pytest.mark.parametrize("model", list(MODELS))
def test_batches_taken_in_parts_train_as_whole_ones_do(engine_on_cpu, model, parts):
    spec, data = specification(model), images()
    initial = larger(parameters.draw(spec.parameters, 3))
    whole = built(engine_on_cpu(), spec, data, initial)
    in_parts = built(engine_module.TorchEngine(ONE_THREAD, parts=parts), spec, data, initial)
    assert in_parts.train_epoch() == pytest.approx(whole.train_epoch(), rel=1e-5)
    assert in_parts.evaluate() == whole.evaluate()
    for name, value in whole.parameters().items():
        np.testing.assert_allclose(in_parts.parameters()[name], value, rtol=1e-4, atol=1e-6)


def test_parts_of_a_batch_drop_out_values_of_their_own(engine_on_cpu):
    spec = specification("conv", keep_conv=0.5, keep_hidden=0.5)
    half = images(train=BATCH_SIZE // 2)
    twice = Images(
        np.concatenate([half.train_images] * 2),
        np.concatenate([half.train_labels] * 2),
        half.test_images,
        half.test_labels,
    )
    initial = larger(parameters.draw(spec.parameters, 3))
    alone = built(engine_on_cpu(), spec, half, initial, batch_size=BATCH_SIZE // 2)
    in_parts = built(engine_module.TorchEngine(ONE_THREAD, parts=2), spec, twice, initial)
    assert in_parts.train_epoch() != pytest.approx(alone.train_epoch(), rel=1e-3)


@pytest.mark.parametrize(
    ("execution", "parts"),
    [
        (Execution("cpu", threads=1, batch_size=512), 1),
        (Execution("cpu", threads=2, batch_size=128), 2),
        (Execution("cpu", threads=2, batch_size=127), 1),
        (Execution("cpu", threads=3, batch_size=256), 3),
        (Execution("cpu", threads=64, batch_size=512), 1),
        (Execution("cpu", threads=2, batch_size=512, precision="float16"), 1),
        (Execution("cpu", threads=2, batch_size=512, replicas=2), 1),
        (Execution("gpu", threads=2, batch_size=512), 1),
    ],
)
def test_each_thread_has_a_part_of_the_batch_where_it_is_large_enough(execution, parts):
    assert engine_module.parts_of_a_batch(execution) == parts


def test_the_ceilings_of_parts_are_found_as_those_of_one(engine_on_cpu):
    engine_on_cpu()
    assert engine_module.TorchEngine(ONE_THREAD, parts=2).ceilings().flop_per_second > 1e9


@pytest.mark.parametrize("keep", [0.8, 0.5, 1e-9])
def test_dropout_keeps_the_share_asked_for_and_the_expected_value(engine_on_cpu, keep):
    engine_on_cpu()
    values = 200_001
    draw = engine_module.Draw(position=0, step=0, generator=torch.Generator().manual_seed(7))
    dropped = engine_module.dropout_factors(torch.ones(values), keep, draw).numpy()
    # Four standard errors; a share that 16 random bits cannot tell from 0 is the least that they can.
    share = max(keep, 2**-16)
    assert (dropped > 0).mean() == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / values))
    assert dropped.max(initial=0) in (0, pytest.approx(1 / share, rel=1e-4))


def test_threads_in_force_are_those_asked_for(engine_on_cpu):
    assert engine_on_cpu().threads() == interface.Threads(intra_op=1, inter_op=1)


# --- what a GPU records, on a CPU ---


@pytest.mark.parametrize("model", list(MODELS))
def test_a_step_that_counts_batches_on_the_device_trains_as_one_that_is_told_their_numbers(model):
    spec, data = specification(model, keep_conv=0.8, keep_hidden=0.5), images()
    initial = larger(parameters.draw(spec.parameters, 3))
    told = built(engine_module.TorchEngine(ONE_THREAD), spec, data, initial)
    counting = engine_module._Replica(ONE_THREAD, rank=0, parts=1)
    counting.place(data)
    counting.build(spec, initial, BATCH_SIZE, 7)
    told.train_epoch()
    counting.begin_epoch(0)
    for _ in range(BATCHES):
        counting.next_step()
    for name, value in told.parameters().items():
        np.testing.assert_array_equal(counting.parameters()[name], value)


# --- dropout's seam ---


def test_dropout_is_told_the_layers_position_and_the_step_since_the_run_began(engine_on_cpu, monkeypatch):
    spec = specification("conv", keep_conv=0.8, keep_hidden=0.5)
    engine = built(engine_on_cpu(), spec, images(), parameters.draw(spec.parameters, 3))
    seen = []
    monkeypatch.setattr(engine_module, "dropout_factors", lambda x, _, draw: seen.append(draw) or torch.ones_like(x))
    engine.train_epoch()
    engine.train_epoch()
    places = {draw.position for draw in seen}
    assert sorted({(draw.position, draw.step) for draw in seen}) == [
        (place, step) for place in sorted(places) for step in range(2 * BATCHES)
    ]
    assert len(places) == 4


def test_dropout_has_images_with_their_channels_last(engine_on_cpu, monkeypatch):
    spec = specification("conv", keep_conv=0.8)
    engine = built(engine_on_cpu(), spec, images(), parameters.draw(spec.parameters, 3))
    shapes = []
    monkeypatch.setattr(
        engine_module, "dropout_factors", lambda x, *_: shapes.append(tuple(x.shape)) or torch.ones_like(x)
    )
    engine.train_epoch()
    assert shapes[0] == (BATCH_SIZE, 3, 4, 32)


# --- precision ---


@pytest.fixture
def engine_in():
    return lambda precision: engines.start("torch", Execution("cpu", 1, BATCH_SIZE, precision))


@pytest.mark.parametrize("model", list(MODELS))
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_products_are_proven_to_be_of_the_precision_asked_for(engine_in, precision, model):
    spec = specification(model)
    engine = built(engine_in(precision), spec, images(), parameters.draw(spec.parameters, 3))
    assert proof.prove(engine, precision)["product_types"] == [precision]


@pytest.mark.parametrize("model", list(MODELS))
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_a_lower_precision_trains_nearly_as_float32_does(engine_in, precision, model):
    spec, data = specification(model), images()
    initial = larger(parameters.draw(spec.parameters, 3), factor=5.0)
    exact, lower = (built(engine_in(name), spec, data, initial) for name in ("float32", precision))
    for _ in range(3):
        losses = exact.train_epoch(), lower.train_epoch()
    assert losses[1] == pytest.approx(losses[0], rel=0.05)
    assert losses[1] != losses[0]


def test_parameters_are_float32_in_a_lower_precision(engine_in):
    spec = specification("logistic")
    engine = built(engine_in("bfloat16"), spec, images(), parameters.draw(spec.parameters, 3))
    engine.train_epoch()
    weights = engine.parameters()["weights"]
    assert weights.dtype == np.float32
    assert (weights != torch.tensor(weights).to(torch.bfloat16).to(torch.float32).numpy()).any()


def test_an_operation_that_a_type_does_not_have_is_said_as_such(engine_in, monkeypatch):
    def missing(*_):
        raise NotImplementedError("\"addmm_impl_cpu_\" not implemented for 'Half'")

    monkeypatch.setattr(torch.nn.functional, "linear", missing)
    spec = specification("logistic")
    with pytest.raises(
        interface.WrongPrecision, match=r"cannot train this model in float16 on a CPU: .*choose another"
    ):
        built(engine_in("float16"), spec, images(), parameters.draw(spec.parameters, 3))


def scaled(engine_in, scale):
    spec = specification("conv")
    engine = built(engine_in("float16"), spec, images(train=BATCH_SIZE), larger(parameters.draw(spec.parameters, 3)))
    engine.restore({**engine.state(), "loss_scaling/scale": np.array(scale, np.float32)})
    return engine


def test_a_step_whose_gradient_is_not_finite_is_left_out_and_halves_the_scale(engine_in):
    engine = scaled(engine_in, 2.0**60)
    before = engine.state()
    engine.train_epoch()
    after = engine.state()
    assert engine.loss_scaling() == interface.LossScaling(2.0**59, skipped_steps=1)
    kept = [name for name in before if name.startswith(("parameter/", "slot/"))]
    assert all((after[name] == before[name]).all() for name in kept)


def test_the_scale_doubles_after_as_many_good_steps_as_named(engine_in, monkeypatch):
    monkeypatch.setattr(engine_module.precision, "LOSS_SCALE_GROWS_AFTER", 2)
    engine = scaled(engine_in, 4.0)
    scales = []
    for _ in range(4):
        engine.train_epoch()
        scales.append(engine.loss_scaling().scale)
    assert scales == [4.0, 8.0, 8.0, 16.0]


def test_tf32_is_switched_on_where_it_is_asked_for_and_off_again(engine_in):
    assert engine_in("tf32").flags()["tf32"] is True
    assert engine_in("float32").flags()["tf32"] is False
    assert torch.backends.cudnn.conv.fp32_precision == torch.backends.cudnn.rnn.fp32_precision == "ieee"


# --- forms, threads, memory ---


def test_windows_that_stand_over_are_padded_as_tensorflow_does():
    # SAME for 4 values and windows of 3: one to pad before, one behind.
    row = torch.tensor([-4.0, -3.0, -2.0, -1.0]).reshape(1, 1, 4, 1).expand(1, 4, 4, 1)
    assert engine_module._pooled(row, 3)[0, 0, :, 0].tolist() == [-3.0, -1.0]


def test_what_one_thread_fails_with_is_raised_and_the_others_do_not_wait_for_it():
    def work(number, meet):
        if number == 1:
            raise ZeroDivisionError
        meet()

    with pytest.raises(ZeroDivisionError):
        engine_module._Team(3).run(work)


def test_too_little_memory_for_an_array_is_out_of_memory():
    with pytest.raises(interface.OutOfMemory, match="can't allocate memory"), engine_module._naming_out_of_memory():
        torch.empty(2**52, dtype=torch.uint8)


# --- several replicas, each in a process of its own ---

REPLICATED = Execution("cpu", threads=2, batch_size=BATCH_SIZE, replicas=2)


@pytest.mark.parametrize("model", list(MODELS))
def test_replicas_train_and_evaluate_as_one_does(engine_on_cpu, model):
    spec, data = specification(model), images()
    initial = larger(parameters.draw(spec.parameters, 3))
    one = built(engine_on_cpu(), spec, data, initial)
    two = built(engines.start("torch", REPLICATED), spec, data, initial)
    assert two.train_epoch() == pytest.approx(one.train_epoch(), rel=1e-5)
    assert two.evaluate() == one.evaluate()
    for name, value in one.parameters().items():
        np.testing.assert_allclose(two.parameters()[name], value, rtol=1e-4, atol=1e-6)


@pytest.fixture(scope="module")
def replicated():
    """Two replicas that drop out, after an epoch."""
    spec = specification("conv", keep_conv=0.5, keep_hidden=0.5)
    engine = engines.start("torch", REPLICATED)
    built(engine, spec, images(), larger(parameters.draw(spec.parameters, 3)))
    engine.train_epoch()
    return engine


def test_the_proof_names_each_replica(replicated):
    assert replicated.prove_device() == interface.DeviceProof("cpu", ("cpu:0", "cpu:1"), ("cpu:0", "cpu:1"))


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
    engine = built(engines.start("torch", REPLICATED), spec, images(), parameters.draw(spec.parameters, 3))
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
