import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import psutil
import pytest

import reference_network
from trainbench import engines, host, parameters
from trainbench.engines import interface, proof
from trainbench.engines.interface import Execution, Images
from trainbench.models import MODELS, ImageShape, RmsProp, Sgd

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
engine_module = pytest.importorskip("trainbench.engines.torch")

SHAPE = ImageShape(height=6, width=7, classes=3)
BATCH_SIZE = 4
BATCHES = 3
ONE_THREAD = Execution("cpu", threads=1, batch_size=BATCH_SIZE)
NO_DROPOUT = {"keep_conv": 1.0, "keep_hidden": 1.0}


def images(seed=0, train=BATCH_SIZE * BATCHES + 1, test=1003):
    generator = np.random.default_rng(seed)
    pixels = generator.integers(0, 256, (train + test, SHAPE.height, SHAPE.width), dtype=np.uint8)
    labels = generator.integers(0, SHAPE.classes, train + test).astype(np.uint8)
    return Images(pixels[:train], labels[:train], pixels[train:], labels[train:])


def specification(model, **changes):
    chosen = {name: hyperparameter.default for name, hyperparameter in MODELS[model].hyperparameters.items()}
    known = {name: value for name, value in {**NO_DROPOUT, **changes}.items() if name in chosen}
    return MODELS[model].specify(SHAPE, {**chosen, **known})


def larger(initial, seed=1, factor=20.0):
    """Parameters far enough from zero for gradients to be well above float32's rounding."""
    generator = np.random.default_rng(seed)
    return {
        name: (generator.normal(0, 0.01, value.shape) * factor).astype(np.float32) for name, value in initial.items()
    }


@pytest.fixture(scope="module")
def engine_on_cpu():
    return lambda: engines.start("torch", Execution("cpu", threads=1, batch_size=BATCH_SIZE))


def built(engine, spec, data, initial, batch_size=BATCH_SIZE, seed=7):
    engine.place(data)
    engine.build(spec, initial, batch_size, seed)
    return engine


@pytest.mark.parametrize("model", list(MODELS))
def test_building_runs_a_step_and_leaves_the_parameters_as_they_were(engine_on_cpu, model):
    spec = specification(model)
    initial = parameters.draw(spec.parameters, 3)
    engine = built(engine_on_cpu(), spec, images(), initial)
    for name, value in engine.parameters().items():
        np.testing.assert_array_equal(value, initial[name])


@pytest.mark.parametrize("model", list(MODELS))
def test_the_evaluation_counts_what_the_reference_classifies_rightly(engine_on_cpu, model):
    spec, data = specification(model), images()
    initial = larger(parameters.draw(spec.parameters, 3))
    engine = built(engine_on_cpu(), spec, data, initial)
    predicted = reference_network.logits(spec, initial, data.test_images / 255).argmax(1)
    assert engine.evaluate() == (predicted == data.test_labels).sum()


@pytest.mark.parametrize("model", list(MODELS))
def test_a_step_moves_each_parameter_as_the_optimiser_of_2017_does(engine_on_cpu, model):
    spec = specification(model)
    data = images(train=BATCH_SIZE)
    initial = larger(parameters.draw(spec.parameters, 3))
    engine = built(engine_on_cpu(), spec, data, initial)
    loss = engine.train_epoch()
    pixels, labels = data.train_images / 255, data.train_labels
    exact = {name: value.astype(np.float64) for name, value in initial.items()}
    assert loss == pytest.approx(reference_network.mean_loss(spec, exact, pixels, labels), rel=1e-5)
    generator = np.random.default_rng(5)
    for name, value in engine.parameters().items():
        for _ in range(4):
            place = tuple(generator.integers(0, length) for length in value.shape)
            gradient = finite_difference(spec, exact, name, place, pixels, labels)
            moved = float(initial[name][place]) - float(value[place])
            assert moved == pytest.approx(step_of(spec.optimiser, gradient), rel=2e-3, abs=2e-7), (name, place)


def finite_difference(spec, exact, name, place, pixels, labels, distance=1e-5):
    losses = []
    for sign in (1, -1):
        shifted = {**exact, name: exact[name].copy()}
        shifted[name][place] += sign * distance
        losses.append(reference_network.mean_loss(spec, shifted, pixels, labels))
    return (losses[0] - losses[1]) / (2 * distance)


def step_of(optimiser, gradient):
    match optimiser:
        case Sgd(learning_rate):
            return learning_rate * gradient
        case RmsProp(learning_rate, decay, epsilon, initial):
            return learning_rate * gradient / np.sqrt(decay * initial + (1 - decay) * gradient**2 + epsilon)


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


def test_an_epoch_takes_full_batches_in_file_order_and_drops_the_rest(engine_on_cpu):
    spec, data = specification("logistic"), images()
    initial = parameters.draw(spec.parameters, 3)
    engine = built(engine_on_cpu(), spec, data, initial)
    loss = engine.train_epoch()
    weights, losses = initial["weights"].astype(np.float64), []
    for batch in range(BATCHES):
        chosen = slice(batch * BATCH_SIZE, (batch + 1) * BATCH_SIZE)
        x, y = data.train_images[chosen].reshape(BATCH_SIZE, -1) / 255, data.train_labels[chosen]
        losses.append(reference_network.mean_loss(spec, {"weights": weights}, data.train_images[chosen] / 255, y))
        exponentials = np.exp(x @ weights)
        shares = exponentials / exponentials.sum(1, keepdims=True)
        weights = weights - 0.05 * x.T @ (shares - np.eye(SHAPE.classes)[y]) / BATCH_SIZE
    np.testing.assert_allclose(engine.parameters()["weights"], weights, rtol=1e-4, atol=1e-7)
    assert loss == pytest.approx(np.mean(losses), rel=1e-5)


def test_the_same_seed_gives_the_same_epoch_and_another_seed_other_dropout(engine_on_cpu):
    spec, data = specification("conv", keep_conv=0.8, keep_hidden=0.5), images()
    initial = larger(parameters.draw(spec.parameters, 3))
    losses = [built(engine_on_cpu(), spec, data, initial, seed=seed).train_epoch() for seed in (7, 7, 8)]
    assert losses[0] == losses[1] != losses[2]


def test_dropout_draws_anew_in_every_step(engine_on_cpu):
    spec = specification("conv", keep_conv=0.8, keep_hidden=0.5, learning_rate=1e-30)
    engine = built(engine_on_cpu(), spec, images(train=BATCH_SIZE), larger(parameters.draw(spec.parameters, 3)))
    assert engine.train_epoch() != engine.train_epoch()


def test_training_lowers_the_loss(engine_on_cpu):
    spec = specification("logistic")
    engine = built(engine_on_cpu(), spec, images(), parameters.draw(spec.parameters, 3))
    first = engine.train_epoch()
    for _ in range(50):
        last = engine.train_epoch()
    assert last < first


@pytest.mark.parametrize("model", list(MODELS))
def test_an_engine_that_goes_on_from_anothers_state_trains_as_that_one_would_have(engine_on_cpu, model):
    spec, data = specification(model, keep_conv=0.8, keep_hidden=0.5), images()
    initial = larger(parameters.draw(spec.parameters, 3))
    whole = built(engine_on_cpu(), spec, data, initial)
    first_losses = [whole.train_epoch(), whole.train_epoch()]
    kept = whole.state()
    resumed = built(engine_on_cpu(), spec, data, parameters.draw(spec.parameters, 4))
    resumed.restore(kept)
    assert first_losses[1] != first_losses[0]
    assert resumed.train_epoch() == pytest.approx(whole.train_epoch(), rel=1e-6)
    for name, value in whole.parameters().items():
        np.testing.assert_allclose(resumed.parameters()[name], value, rtol=1e-5, atol=1e-7)


def test_parameters_and_a_result_are_proven_to_lie_on_the_cpu(engine_on_cpu):
    spec = specification("logistic")
    proof = built(engine_on_cpu(), spec, images(), parameters.draw(spec.parameters, 3)).prove_device()
    assert proof == interface.DeviceProof("cpu", ("cpu:0",), ("cpu:0",))


@pytest.fixture(scope="module")
def ceilings(engine_on_cpu):
    return engine_on_cpu().ceilings()


def test_a_cpus_products_reach_a_speed_that_cpus_have(ceilings):
    # From a slow core without vector instructions to twice what the largest servers of 2025 do.
    assert 1e9 < ceilings.flop_per_second < 1e14


def test_a_cpus_memory_moves_as_many_bytes_as_memories_do(ceilings):
    # Far more would mean that additions were left out as of no effect; the fastest memories of CPUs move 1e12.
    assert 1e8 < ceilings.bytes_per_second < 4e12


def test_the_arrays_do_not_fit_into_the_caches(ceilings):
    caches_bytes = host.last_level_cache_bytes(os.sched_getaffinity(0)) or 0
    assert ceilings.array_bytes >= caches_bytes


def test_finding_the_ceilings_leaves_the_parameters_as_they_were(engine_on_cpu):
    spec = specification("logistic")
    engine = built(engine_on_cpu(), spec, images(), parameters.draw(spec.parameters, 3))
    engine.train_epoch()
    before = engine.parameters()["weights"]
    engine.ceilings()
    np.testing.assert_array_equal(engine.parameters()["weights"], before)


def test_too_little_memory_for_the_ceilings_is_said_as_such(engine_on_cpu, monkeypatch):
    monkeypatch.setattr(host, "available_memory_mib", lambda: 1.0)
    with pytest.raises(interface.OutOfMemory, match="all that the free memory allows"):
        engine_on_cpu().ceilings()


def test_threads_in_force_are_those_asked_for(engine_on_cpu):
    assert engine_on_cpu().threads() == interface.Threads(intra_op=1, inter_op=1)


def test_float32_is_not_lowered_to_tf32(engine_on_cpu):
    assert engine_on_cpu().flags()["tf32"] is False


def test_a_gpu_that_pytorch_cannot_see_is_refused_with_the_reason_and_the_remedy():
    with pytest.raises(interface.WrongDevice, match=r"GPU was asked for.*sees none.*make setup BUILD=cuda"):
        engines.start("torch", Execution("gpu", threads=1, batch_size=BATCH_SIZE))


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
        from trainbench.engines.interface import Execution
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
