"""What the engines of all frameworks do alike; each one's own is in its own file."""

import os

import numpy as np
import pytest

import reference_network
from small_training import BATCH_SIZE, BATCHES, ONE_THREAD, SHAPE, built, images, larger, specification, start
from trainbench import engines
from trainbench.engines.shared import interface
from trainbench.machine import host
from trainbench.networks import parameters
from trainbench.networks.models import MODELS

DEVICE_NAMES = {"tensorflow": "/device:CPU:0"}
"""What frameworks call the CPU; the others: cpu:0."""


@pytest.fixture(scope="module", params=engines.ENGINES)
def framework(request):
    pytest.importorskip(engines.ENGINES[request.param].package)
    return request.param


@pytest.mark.parametrize("model", list(MODELS))
def test_building_runs_a_step_and_leaves_the_parameters_as_they_were(framework, model):
    spec = specification(model)
    initial = larger(parameters.draw(spec.parameters, 3))
    before = {name: value.copy() for name, value in initial.items()}
    engine = built(start(framework), spec, images(), initial)
    for name, value in engine.parameters().items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.parametrize("model", list(MODELS))
def test_training_leaves_the_arrays_that_it_began_with_as_they_were(framework, model):
    spec = specification(model)
    initial = larger(parameters.draw(spec.parameters, 3))
    before = {name: value.copy() for name, value in initial.items()}
    engine = built(start(framework), spec, images(), initial)
    between = engine.parameters()
    engine.train_epoch()
    for name, value in before.items():
        np.testing.assert_array_equal(initial[name], value)
        np.testing.assert_array_equal(between[name], value)


@pytest.mark.parametrize("model", list(MODELS))
@pytest.mark.parametrize("test_samples", [1003, 2000, 3])
def test_the_evaluation_counts_what_the_reference_classifies_rightly(framework, model, test_samples):
    spec, data = specification(model), images(test=test_samples)
    initial = larger(parameters.draw(spec.parameters, 3))
    engine = built(start(framework), spec, data, initial)
    predicted = reference_network.logits(spec, initial, data.test_images / 255).argmax(1)
    assert engine.evaluate() == (predicted == data.test_labels).sum()


@pytest.mark.parametrize("model", list(MODELS))
def test_a_step_moves_each_parameter_as_the_optimiser_of_2017_does(framework, model):
    spec = specification(model)
    data = images(train=BATCH_SIZE)
    initial = larger(parameters.draw(spec.parameters, 3))
    engine = built(start(framework), spec, data, initial)
    loss = engine.train_epoch()
    pixels, labels = data.train_images / 255, data.train_labels
    exact_loss, gradients = reference_network.loss_and_gradients(spec, initial, pixels, labels)
    assert loss == pytest.approx(exact_loss, rel=1e-5)
    for name, value in engine.parameters().items():
        change, _ = reference_network.step(spec.optimiser, gradients[name])
        np.testing.assert_allclose(initial[name].astype(np.float64) - value, change, rtol=1e-3, atol=1e-7)


def test_an_epoch_takes_full_batches_in_file_order_and_drops_the_rest(framework):
    spec, data = specification("logistic"), images()
    initial = parameters.draw(spec.parameters, 3)
    engine = built(start(framework), spec, data, initial)
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


def test_the_same_seed_gives_the_same_epoch_and_another_seed_other_dropout(framework):
    spec, data = specification("conv", keep_conv=0.8, keep_hidden=0.5), images()
    initial = larger(parameters.draw(spec.parameters, 3))
    losses = [built(start(framework), spec, data, initial, seed=seed).train_epoch() for seed in (7, 7, 8)]
    assert losses[0] == losses[1] != losses[2]


def test_dropout_draws_anew_in_every_step(framework):
    spec = specification("conv", keep_conv=0.8, keep_hidden=0.5, learning_rate=1e-30)
    engine = built(start(framework), spec, images(train=BATCH_SIZE), larger(parameters.draw(spec.parameters, 3)))
    assert engine.train_epoch() != engine.train_epoch()


def test_training_lowers_the_loss(framework):
    spec = specification("logistic")
    engine = built(start(framework), spec, images(), parameters.draw(spec.parameters, 3))
    first = engine.train_epoch()
    for _ in range(50):
        last = engine.train_epoch()
    assert last < first


@pytest.mark.parametrize(("model", "precision"), [*((model, "float32") for model in MODELS), ("logistic", "float16")])
def test_an_engine_that_goes_on_from_anothers_state_trains_as_that_one_would_have(framework, model, precision):
    spec, data = specification(model, keep_conv=0.8, keep_hidden=0.5), images()
    initial = larger(parameters.draw(spec.parameters, 3))
    whole = built(start(framework, precision), spec, data, initial)
    first_losses = [whole.train_epoch(), whole.train_epoch()]
    kept = whole.state()
    resumed = built(start(framework, precision), spec, data, parameters.draw(spec.parameters, 4))
    resumed.restore(kept)
    assert first_losses[1] != first_losses[0]
    assert resumed.train_epoch() == pytest.approx(whole.train_epoch(), rel=1e-6)
    for name, value in whole.parameters().items():
        np.testing.assert_allclose(resumed.parameters()[name], value, rtol=1e-5, atol=1e-7)


def test_parameters_and_a_result_are_proven_to_lie_on_the_cpu(framework):
    spec = specification("logistic")
    engine = built(start(framework), spec, images(), parameters.draw(spec.parameters, 3))
    cpu = (DEVICE_NAMES.get(framework, "cpu:0"),)
    assert engine.prove_device() == interface.DeviceProof("cpu", cpu, cpu)


@pytest.fixture(scope="module")
def ceilings(framework):
    return start(framework).ceilings()


def test_a_cpus_products_reach_a_speed_that_cpus_have(ceilings):
    # From a slow core without vector instructions to twice what the largest servers of 2025 do.
    assert 1e9 < ceilings.flop_per_second < 1e14


def test_a_cpus_memory_moves_as_many_bytes_as_memories_do(ceilings):
    # Far more would mean that additions were left out as of no effect; the fastest memories of CPUs move 1e12.
    assert 1e8 < ceilings.bytes_per_second < 4e12


def test_the_arrays_do_not_fit_into_the_caches(ceilings):
    caches_bytes = host.last_level_cache_bytes(os.sched_getaffinity(0)) or 0
    assert ceilings.array_bytes >= caches_bytes


def test_finding_the_ceilings_leaves_the_parameters_as_they_were(framework):
    spec = specification("logistic")
    engine = built(start(framework), spec, images(), parameters.draw(spec.parameters, 3))
    engine.train_epoch()
    before = engine.parameters()["weights"]
    engine.ceilings()
    np.testing.assert_array_equal(engine.parameters()["weights"], before)


def test_too_little_memory_for_the_ceilings_is_said_as_such(framework, monkeypatch):
    monkeypatch.setattr(host, "available_memory_mib", lambda: 1.0)
    with pytest.raises(interface.OutOfMemory, match="all that the free memory allows"):
        start(framework).ceilings()


def test_float32_is_not_lowered_to_tf32(framework):
    assert start(framework).flags()["tf32"] is False


def test_a_gpu_that_the_framework_cannot_see_is_refused_with_the_reason_and_the_remedy(framework):
    with pytest.raises(interface.WrongDevice, match=r"GPU was asked for.*sees none.*make setup BUILD=cuda"):
        engines.start(framework, interface.Execution("gpu", threads=1, batch_size=ONE_THREAD.batch_size))
