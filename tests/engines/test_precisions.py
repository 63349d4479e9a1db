"""Every engine computes in the precision that it is asked for, and nothing else than products suffers from it."""

import functools

import numpy as np
import pytest

import reference_network
from small_training import (
    BATCH_SIZE,
    BATCHES,
    built,
    images,
    in_parts,
    initial,
    larger,
    parameters_of,
    ready,
    specification,
    start,
)
from trainbench import engines
from trainbench.engines.shared import interface, proof
from trainbench.networks import precision
from trainbench.networks.models import MODELS

MIXED = ["bfloat16", "float16"]


def with_scale(state, scale):
    return {
        name: np.array(scale, value.dtype) if name == "loss_scaling/scale" else value for name, value in state.items()
    }


# --- what is multiplied ---


@pytest.mark.parametrize("model", list(MODELS))
@pytest.mark.parametrize("name", ["float32", *MIXED])
def test_products_are_proven_to_be_of_the_precision_asked_for(framework, name, model):
    spec = specification(model, keep_conv=0.8, keep_hidden=0.5)
    assert proof.prove(ready(framework, spec, name, test=3), name)["product_types"] == [name]


@pytest.mark.parametrize(("asked", "given"), [("bfloat16", "float32"), ("float32", "bfloat16"), ("float16", "float32")])
def test_an_engine_that_computes_in_another_precision_than_asked_for_is_refused(framework, asked, given):
    engine = ready(framework, specification("logistic"), given, test=3)
    with pytest.raises(interface.Refused, match=f"{asked} was asked for, but products multiply {given} "):
        proof.prove(engine, asked)


def test_tf32_on_a_cpu_is_refused_for_its_products_are_exact(framework):
    engine = ready(framework, specification("logistic"), "tf32", test=3)
    with pytest.raises(interface.Refused, match="tf32 was asked for, but products multiply float32 and err by"):
        proof.prove(engine, "tf32")


# --- how it trains ---


WAYS = [
    *((framework, 1, name) for framework in engines.ENGINES for name in MIXED),
    # PyTorch's takes batches whole where the loss is scaled.
    *[("tensorflow", 2, "bfloat16"), ("tensorflow", 2, "float16"), ("torch", 2, "bfloat16")],
]


@pytest.fixture(
    scope="session",
    params=[(*way, model) for way in WAYS for model in MODELS],
    ids=lambda way: "{} in {} {} {}".format(*way),
)
def mixed(request):
    """A step in mixed precision: the network, the precision, the loss, and the state after it."""
    framework, parts, name, model = request.param
    pytest.importorskip(engines.ENGINES[framework].package)
    spec, data = specification(model, learning_rate=10.0), images(train=BATCH_SIZE, test=3)
    engine = start(framework, name) if parts == 1 else in_parts(framework, parts, name)
    built(engine, spec, data, initial(spec))
    # With the first scale the steps of such large gradients would be left out.
    engine.restore(with_scale(engine.state(), 2.0**6))
    return spec, name, engine.train_epoch(), engine.state()


@functools.cache
def exact(spec):
    """The reference's loss, and what its step takes away from each parameter."""
    data = images(train=BATCH_SIZE, test=3)
    loss, gradients = reference_network.loss_and_gradients(
        spec, initial(spec), data.train_images / 255, data.train_labels
    )
    return loss, {name: reference_network.step(spec.optimiser, gradient)[0] for name, gradient in gradients.items()}


def taken_away(spec, state):
    return {name: value.astype(np.float64) - state[f"parameter/{name}"] for name, value in initial(spec).items()}


def test_the_loss_of_a_mixed_precision_is_that_of_the_reference_but_for_rounding(mixed):
    spec, _, loss, _ = mixed
    assert loss == pytest.approx(exact(spec)[0], rel=0.02)


def test_a_step_in_mixed_precision_goes_down_the_gradient_as_far_as_its_digits_reach(mixed):
    """Seen at the last layer, whose gradient no window's highest and no ReLU is behind, told otherwise by rounding."""
    spec, name, _, state = mixed
    least, most = {"bfloat16": (1e-4, 5e-2), "float16": (1e-5, 5e-3)}[name]
    weights = "weights" if spec.name == "logistic" else "output_weights"
    change = exact(spec)[1][weights]
    assert least < np.linalg.norm(taken_away(spec, state)[weights] - change) / np.linalg.norm(change) < most


def test_every_parameter_goes_the_way_of_its_gradient_in_mixed_precision(mixed):
    spec, _, _, state = mixed
    for key, moved in taken_away(spec, state).items():
        change = exact(spec)[1][key]
        assert (moved * change).sum() / np.linalg.norm(moved) / np.linalg.norm(change) > 0.95, key
        assert np.linalg.norm(moved - change) < 0.25 * np.linalg.norm(change), key


def test_parameters_and_the_optimisers_numbers_are_float32_in_mixed_precision(mixed):
    _, name, _, state = mixed
    kept = {key: value for key, value in state.items() if key.startswith(("parameter/", "slot/"))}
    assert {value.dtype for value in kept.values()} == {np.dtype(np.float32)}
    digits = {"bfloat16": 8, "float16": 11}[name]
    mantissas = [np.ldexp(np.frexp(value)[0], digits) for value in kept.values()]
    assert any((mantissa != np.round(mantissa)).any() for mantissa in mantissas)


@pytest.mark.parametrize("model", list(MODELS))
@pytest.mark.parametrize("name", MIXED)
def test_a_lower_precision_trains_nearly_as_float32_does(framework, name, model):
    # With dropout, which draws the same in all precisions, as the engines of other tests have it.
    spec = specification(model, keep_conv=0.8, keep_hidden=0.5)
    begin = {f"parameter/{key}": value for key, value in larger(initial(spec), factor=5.0).items()}
    both = [ready(framework, spec, kind, test=3) for kind in ("float32", name)]
    for engine in both:
        engine.restore({**engine.state(), **begin})
    for _ in range(3):
        exact_loss, loss = (engine.train_epoch() for engine in both)
    assert loss == pytest.approx(exact_loss, rel=0.05)
    assert loss != exact_loss


# --- the loss scale ---

TOO_LARGE = 2.0**120
"""A loss scale with which every gradient is infinite in float16, also when it has been halved a few times."""


@pytest.fixture(scope="session")
def in_float16(framework):
    """An LSTM in float16 whose scale grows after two good steps, and its state as it begins."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(precision, "LOSS_SCALE_GROWS_AFTER", 2)
        engine = built(start(framework, "float16"), spec := specification("lstm"), images(test=3), initial(spec))
        yield engine, engine.state()


@pytest.fixture
def scaled(in_float16):
    """Gives the engine as it begins, but with another scale."""
    engine, begun = in_float16

    def by(scale):
        engine.restore(with_scale(begun, scale))
        return engine

    return by


def test_a_step_with_an_infinite_gradient_changes_nothing_that_is_trained(scaled):
    engine = scaled(TOO_LARGE)
    before = engine.state()
    engine.train_epoch()
    changed = {name for name, value in engine.state().items() if not np.array_equal(value, before[name])}
    assert changed == {"loss_scaling/scale", "loss_scaling/skipped_steps", "steps_done"}


def test_each_step_with_an_infinite_gradient_is_counted_and_halves_the_scale(scaled):
    engine = scaled(TOO_LARGE)
    engine.train_epoch()
    assert engine.loss_scaling() == {"scale": TOO_LARGE / 2**BATCHES, "skipped_steps": BATCHES}


def test_the_scale_doubles_after_so_many_good_steps_in_a_row(scaled):
    engine = scaled(2.0**4)
    engine.train_epoch()
    assert BATCHES == 3
    assert engine.loss_scaling() == {"scale": 2.0**5, "skipped_steps": 0}
    engine.train_epoch()
    assert engine.loss_scaling() == {"scale": 2.0**7, "skipped_steps": 0}


def test_good_steps_are_counted_anew_after_one_that_was_left_out(scaled):
    engine = scaled(2.0**4)
    engine.train_epoch()
    assert engine.state()["loss_scaling/good_steps"] == 1
    engine.restore(with_scale(engine.state(), TOO_LARGE))
    engine.train_epoch()
    assert engine.state()["loss_scaling/good_steps"] == 0


def test_the_scale_is_taken_out_of_the_gradients_again(scaled):
    ways = []
    for scale in (2.0**4, 2.0**8):
        engine = scaled(scale)
        before = parameters_of(engine)["output_weights"]
        engine.train_epoch()
        ways.append(parameters_of(engine)["output_weights"] - before)
    assert np.linalg.norm(ways[1] - ways[0]) < 0.01 * np.linalg.norm(ways[0])


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("float32", None),
        ("bfloat16", None),
        ("float16", {"scale": precision.FIRST_LOSS_SCALE, "skipped_steps": 0}),
    ],
)
def test_only_a_type_without_the_range_of_float32_scales_the_loss_and_building_leaves_it_as_it_begins(
    framework, name, begins
):
    assert ready(framework, specification("logistic"), name, test=3).loss_scaling() == begins
