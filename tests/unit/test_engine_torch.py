import os

import numpy as np
import pytest

import reference_network
from trainbench import engines, host, parameters
from trainbench.engines import interface
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
