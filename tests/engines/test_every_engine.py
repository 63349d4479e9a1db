"""What the engines of all frameworks do alike; each one's own is in its own file."""

import os

import numpy as np
import pytest

import reference_network
from small_training import (
    BATCH_SIZE,
    BATCHES,
    ONE_THREAD,
    SHAPE,
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
from trainbench.machine import host
from trainbench.networks import parameters
from trainbench.networks.models import MODELS

DEVICE_NAMES = {"tensorflow": "/device:CPU:0"}
"""What frameworks call the CPU; the others: cpu:0."""

DROPOUT = {"keep_conv": 0.8, "keep_hidden": 0.5}


@pytest.mark.parametrize("model", list(MODELS))
def test_building_runs_a_step_and_leaves_the_parameters_as_they_were(framework, model):
    spec = specification(model)
    for name, value in parameters_of(ready(framework, spec)).items():
        np.testing.assert_array_equal(value, initial(spec)[name])


@pytest.mark.parametrize("model", list(MODELS))
def test_training_leaves_the_arrays_that_it_began_with_as_they_were(framework, model):
    spec = specification(model)
    engine, given = start(framework), initial(spec)
    built(engine, spec, images(), given)
    between = parameters_of(engine)
    engine.train_epoch()
    for name, value in initial(spec).items():
        np.testing.assert_array_equal(given[name], value)
        np.testing.assert_array_equal(between[name], value)


@pytest.mark.parametrize("model", list(MODELS))
def test_the_state_names_parameters_in_the_shapes_of_the_specification(framework, model):
    spec = specification(model)
    state = ready(framework, spec).state()
    arrays = {name: value.shape for name, value in state.items() if not name.startswith(("slot/", "generator/"))}
    named = {f"parameter/{parameter.name}": parameter.shape for parameter in spec.parameters}
    assert arrays == {**named, "steps_done": (1,)}


@pytest.mark.parametrize("model", list(MODELS))
@pytest.mark.parametrize(
    ("changes", "sizes"),
    [({}, {"test": 1003}), ({}, {"test": 2000, "train": BATCH_SIZE}), (DROPOUT, {"test": 3})],
    ids=["1003 images", "2000 images", "3 images, trained with dropout"],
)
def test_the_evaluation_counts_what_the_reference_classifies_rightly(framework, model, changes, sizes):
    spec, data = specification(model, **changes), images(**sizes)
    predicted = reference_network.logits(spec, initial(spec), data.test_images / 255).argmax(1)
    assert ready(framework, spec, **sizes).evaluate() == (predicted == data.test_labels).sum()


@pytest.mark.parametrize("model", list(MODELS))
def test_a_step_moves_each_parameter_as_the_optimiser_of_2017_does(framework, model):
    spec, data = specification(model), images(train=BATCH_SIZE, test=2000)
    engine = ready(framework, spec, train=BATCH_SIZE, test=2000)
    loss = engine.train_epoch()
    pixels, labels = data.train_images / 255, data.train_labels
    exact_loss, gradients = reference_network.loss_and_gradients(spec, initial(spec), pixels, labels)
    assert loss == pytest.approx(exact_loss, rel=1e-5)
    for name, value in parameters_of(engine).items():
        change, _ = reference_network.step(spec.optimiser, gradients[name])
        np.testing.assert_allclose(initial(spec)[name].astype(np.float64) - value, change, rtol=1e-3, atol=1e-7)


def test_an_epoch_takes_full_batches_in_file_order_and_drops_the_rest(framework):
    spec, data = specification("logistic"), images()
    engine = ready(framework, spec)
    loss = engine.train_epoch()
    weights, losses = initial(spec)["weights"].astype(np.float64), []
    for batch in range(BATCHES):
        chosen = slice(batch * BATCH_SIZE, (batch + 1) * BATCH_SIZE)
        x, y = data.train_images[chosen].reshape(BATCH_SIZE, -1) / 255, data.train_labels[chosen]
        losses.append(reference_network.mean_loss(spec, {"weights": weights}, data.train_images[chosen] / 255, y))
        exponentials = np.exp(x @ weights)
        shares = exponentials / exponentials.sum(1, keepdims=True)
        weights = weights - 0.05 * x.T @ (shares - np.eye(SHAPE.classes)[y]) / BATCH_SIZE
    np.testing.assert_allclose(parameters_of(engine)["weights"], weights, rtol=1e-4, atol=1e-7)
    assert loss == pytest.approx(np.mean(losses), rel=1e-5)


def test_training_lowers_the_loss(framework):
    engine = ready(framework, specification("logistic"))
    first = engine.train_epoch()
    for _ in range(50):
        last = engine.train_epoch()
    assert last < first


# --- random numbers, going on ---


@pytest.fixture(scope="session")
def twin(framework):
    """Gives another engine than `ready` does for the same, with other parameters to begin with."""
    twins = {}

    def of(spec, precision="float32"):
        if (spec, precision) not in twins:
            begin = parameters.draw(spec.parameters, 4)
            engine = built(start(framework, precision), spec, images(test=3), begin)
            twins[spec, precision] = engine, engine.state()
        engine, begun = twins[spec, precision]
        engine.restore(begun)
        return engine

    return of


def test_the_same_seed_gives_the_same_epoch_and_another_seed_other_dropout(framework, twin):
    spec = specification("conv", **DROPOUT)
    engine = ready(framework, spec, test=3)
    begin = engine.state()
    first = engine.train_epoch()
    own = {name: value for name, value in begin.items() if not name.startswith("generator/")}
    # Where random numbers are part of the state, those are left as the twin's own seed has made them.
    same = twin(spec)
    same.restore({**same.state(), **own})
    other = built(start(framework), spec, images(test=3), initial(spec), seed=8)
    assert first == same.train_epoch() != other.train_epoch()


def test_dropout_draws_anew_in_every_step(framework):
    spec = specification("conv", **DROPOUT, learning_rate=1e-30)
    engine = built(start(framework), spec, images(train=BATCH_SIZE), initial(spec))
    assert engine.train_epoch() != engine.train_epoch()


@pytest.mark.parametrize(("model", "precision"), [*((model, "float32") for model in MODELS), ("logistic", "float16")])
def test_an_engine_that_goes_on_from_anothers_state_trains_as_that_one_would_have(framework, twin, model, precision):
    spec = specification(model, **DROPOUT)
    whole = ready(framework, spec, precision, test=3)
    first_losses = [whole.train_epoch(), whole.train_epoch()]
    kept = whole.state()
    resumed = twin(spec, precision)
    resumed.restore(kept)
    assert first_losses[1] != first_losses[0]
    assert resumed.loss_scaling() == whole.loss_scaling()
    assert resumed.state().keys() == kept.keys()
    assert resumed.train_epoch() == pytest.approx(whole.train_epoch(), rel=1e-6)
    for name, value in parameters_of(whole).items():
        np.testing.assert_allclose(parameters_of(resumed)[name], value, rtol=1e-5, atol=1e-7)


# --- devices, threads, ceilings ---


def test_parameters_and_a_result_are_proven_to_lie_on_the_cpu(framework):
    cpu = (DEVICE_NAMES.get(framework, "cpu:0"),)
    found = ready(framework, specification("logistic")).prove_device()
    assert found == {"kind": "cpu", "parameters_on": cpu, "computation_on": cpu}


def test_threads_in_force_are_those_asked_for(framework):
    assert start(framework).threads() == interface.Threads(intra_op=1, inter_op=1)


@pytest.fixture(scope="session")
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
    engine = ready(framework, specification("logistic"))
    engine.train_epoch()
    before = parameters_of(engine)["weights"]
    engine.ceilings()
    np.testing.assert_array_equal(parameters_of(engine)["weights"], before)


def test_too_little_memory_for_the_ceilings_is_said_as_such(framework, monkeypatch):
    monkeypatch.setattr(host, "available_memory_mib", lambda: 1.0)
    with pytest.raises(interface.OutOfMemory, match="all that the free memory allows"):
        start(framework).ceilings()


def test_float32_is_not_lowered_to_tf32(framework):
    assert start(framework).flags()["tf32"] is False


def test_a_gpu_that_the_framework_cannot_see_is_refused_with_the_reason_and_the_remedy(framework):
    with pytest.raises(interface.Refused, match=r"GPU was asked for.*sees none.*make setup BUILD=cuda"):
        engines.start(framework, interface.Execution("gpu", threads=1, batch_size=ONE_THREAD.batch_size))
