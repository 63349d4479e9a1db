import json
import os
import subprocess
import sys
from dataclasses import asdict

import numpy as np
import pytest

jax = pytest.importorskip("jax")

import jax.numpy as jnp  # noqa: E402

from small_training import BATCH_SIZE, BATCHES, built, images, larger, specification, start  # noqa: E402
from trainbench.engines.jax.engine import JaxEngine, dropout_factors, is_one_call, max_pool  # noqa: E402
from trainbench.engines.shared import interface, proof  # noqa: E402
from trainbench.engines.shared.interface import Images  # noqa: E402
from trainbench.networks import parameters, precision  # noqa: E402
from trainbench.networks.models import MODELS  # noqa: E402


def engine_on_cpu(precision_name="float32"):
    return start("jax", precision_name)


def test_a_second_step_goes_on_from_the_mean_squares_of_the_first():
    spec = specification("lstm")
    data = images(train=BATCH_SIZE)
    engine = built(engine_on_cpu(), spec, data, larger(parameters.draw(spec.parameters, 3)))
    engine.train_epoch()
    state = engine.state()
    slots = {parameter.name: f"slot/{number}" for number, parameter in enumerate(spec.parameters)}
    before = {name: state[slot].astype(np.float64) for name, slot in slots.items()}
    engine.train_epoch()
    after = engine.state()
    for name, slot in slots.items():
        moved = state[f"parameter/{name}"].astype(np.float64) - after[f"parameter/{name}"]
        square = np.maximum(0, (after[slot] - spec.optimiser.decay * before[name]) / (1 - spec.optimiser.decay))
        expected = spec.optimiser.learning_rate * np.sqrt(square) / np.sqrt(after[slot] + spec.optimiser.epsilon)
        np.testing.assert_allclose(np.abs(moved), expected, rtol=0.02, atol=2e-6)


def test_the_gradient_of_pooling_goes_to_the_first_of_equal_values():
    image = jnp.array([[1.0, 1.0, 0.0, 2.0], [1.0, 1.0, 2.0, 2.0]]).reshape(1, 2, 4, 1)
    gradient = jax.grad(lambda x: (max_pool(x, 2) * jnp.array([3.0, 5.0]).reshape(1, 1, 2, 1)).sum())(image)
    np.testing.assert_array_equal(gradient[0, :, :, 0], [[3, 0, 0, 5], [0, 0, 0, 0]])


@pytest.mark.parametrize("size", [2, 3])
def test_pooling_finds_each_windows_maximum(size):
    image = np.random.default_rng(0).normal(size=(2, 6, 12, 3)).astype(np.float32)
    found = max_pool(jnp.asarray(image), size)
    windows = image.reshape(2, 6 // size, size, 12 // size, size, 3)
    np.testing.assert_array_equal(found, windows.max((2, 4)))


@pytest.mark.parametrize(
    ("kind", "model", "expected"),
    [("cpu", "logistic", True), ("cpu", "lstm", True), ("cpu", "conv", False), ("gpu", "conv", True)],
)
def test_an_epoch_is_one_call_but_for_convolutions_on_a_cpu(kind, model, expected):
    assert is_one_call(kind, specification(model).layers) is expected


@pytest.mark.parametrize("model", list(MODELS))
def test_the_programs_for_gpus_train_and_classify_as_those_for_cpus(model):
    spec, data = specification(model, keep_conv=0.8, keep_hidden=0.5), images()
    initial = larger(parameters.draw(spec.parameters, 3))
    ours = built(engine_on_cpu(), spec, data, initial)
    theirs = built(JaxEngine("gpu", jax.devices("cpu")[:1]), spec, data, initial)
    for _ in range(2):
        assert theirs.train_epoch() == pytest.approx(ours.train_epoch(), rel=1e-5)
    assert theirs.evaluate() == ours.evaluate()
    assert theirs.product_types() == {"float32"}


@pytest.mark.parametrize("keep", [0.8, 0.5, 1e-9])
@pytest.mark.parametrize("shape", [(200_001,), (1001, 3, 67)])
def test_dropout_keeps_the_share_asked_for_and_the_expected_value(keep, shape):
    engine_on_cpu()
    dropped = np.asarray(dropout_factors(jnp.ones(shape), keep, 7, jnp.int32(1)))
    # Four standard errors; a share that 16 random bits cannot tell from 0 is the least that they can.
    share = max(keep, 2**-16)
    assert (dropped > 0).mean() == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / dropped.size))
    assert dropped.max(initial=0) in (0, pytest.approx(1 / share, rel=1e-4))


def test_neighbouring_values_are_dropped_independently():
    engine_on_cpu()
    kept = np.asarray(dropout_factors(jnp.ones(200_000), 0.5, 7, jnp.int32(1))) > 0
    assert (kept[::2] == kept[1::2]).mean() == pytest.approx(0.5, abs=0.01)


def test_the_state_names_parameters_slots_and_steps():
    spec = specification("lstm")
    state = built(engine_on_cpu(), spec, images(), parameters.draw(spec.parameters, 3)).state()
    names = [parameter.name for parameter in spec.parameters]
    assert set(state) == {*(f"parameter/{name}" for name in names), *(f"slot/{n}" for n in range(4)), "steps_done"}
    for number, parameter in enumerate(spec.parameters):
        assert state[f"slot/{number}"].shape == parameter.shape


@pytest.mark.parametrize("model", list(MODELS))
@pytest.mark.parametrize("precision_name", ["float32", "bfloat16", "float16"])
def test_products_are_proven_to_be_of_the_precision_asked_for(model, precision_name):
    spec = specification(model, keep_conv=0.8, keep_hidden=0.5)
    engine = built(engine_on_cpu(precision_name), spec, images(), parameters.draw(spec.parameters, 3))
    assert proof.prove(engine, precision_name)["product_types"] == [precision_name]


@pytest.mark.parametrize("model", list(MODELS))
@pytest.mark.parametrize("precision_name", ["bfloat16", "float16"])
def test_a_mixed_precision_trains_as_float32_does_but_for_its_rounding(model, precision_name):
    spec, data = specification(model), images(train=BATCH_SIZE)
    initial = larger(parameters.draw(spec.parameters, 3))
    exact = built(engine_on_cpu(), spec, data, initial)
    mixed = built(engine_on_cpu(precision_name), spec, data, initial)
    # The first scale is too large for such parameters: the step would be left out.
    mixed.restore({name: np.float32(64) if name.endswith("/scale") else value for name, value in mixed.state().items()})
    assert mixed.train_epoch() == pytest.approx(exact.train_epoch(), rel=0.02)
    for name, value in exact.parameters().items():
        moved, expected = mixed.parameters()[name] - initial[name], value - initial[name]
        assert mixed.parameters()[name].dtype == np.float32
        assert np.linalg.norm(moved - expected) < 0.25 * np.linalg.norm(expected), name


def test_only_float16_scales_the_loss():
    spec, data = specification("logistic"), images()
    initial = parameters.draw(spec.parameters, 3)
    found = {name: built(engine_on_cpu(name), spec, data, initial).loss_scaling() for name in ("bfloat16", "float16")}
    assert found == {"bfloat16": None, "float16": interface.LossScaling(precision.FIRST_LOSS_SCALE, 0)}


def test_a_step_with_a_gradient_that_is_not_finite_is_left_out_and_halves_the_scale():
    spec = specification("lstm")
    engine = built(engine_on_cpu("float16"), spec, images(train=BATCH_SIZE), parameters.draw(spec.parameters, 3))
    before = engine.state()
    engine.restore({**before, "loss_scaling/scale": np.float32(2.0**40), "loss_scaling/good_steps": np.int32(5)})
    engine.train_epoch()
    after = engine.state()
    assert engine.loss_scaling() == interface.LossScaling(2.0**39, 1)
    assert after["loss_scaling/good_steps"] == 0
    for name in before:
        if not name.startswith("loss_scaling/") and name != "steps_done":
            np.testing.assert_array_equal(after[name], before[name])


def test_the_scale_doubles_after_enough_good_steps(monkeypatch):
    monkeypatch.setattr(precision, "LOSS_SCALE_GROWS_AFTER", BATCHES)
    spec = specification("logistic")
    engine = built(engine_on_cpu("float16"), spec, images(), parameters.draw(spec.parameters, 3))
    engine.restore({**engine.state(), "loss_scaling/scale": np.float32(2.0)})
    engine.train_epoch()
    assert engine.loss_scaling() == interface.LossScaling(4.0, 0)
    assert engine.state()["loss_scaling/good_steps"] == 0


def test_images_that_memory_cannot_hold_are_out_of_memory():
    engine = engine_on_cpu()
    one = np.zeros((1, 2**13, 2**13), np.uint8)
    huge = np.broadcast_to(one, (2**14, 2**13, 2**13))  # 4 TiB as float32
    labels = np.zeros(1, np.uint8)
    with pytest.raises((interface.OutOfMemory, MemoryError)):
        engine.place(Images(huge, labels, one, labels))


def in_another_process(code, *arguments):
    """What a program prints, as JSON: threads and pretended devices are fixed once JAX has started."""
    ran = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])


THREADS = """
import dataclasses, json, sys
from trainbench import engines
from trainbench.engines.shared.interface import Execution
print(json.dumps(dataclasses.asdict(engines.start("jax", Execution("cpu", int(sys.argv[1]), 4)).threads())))
"""


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_in_force_are_those_asked_for(threads):
    assert in_another_process(THREADS, threads) == asdict(interface.Threads(intra_op=threads, inter_op=1))


REPLICAS = """
import dataclasses, json, sys
sys.path.insert(0, "tests")
import numpy as np
import small_training as shared
from trainbench import engines; from trainbench.networks import parameters
from trainbench.engines.shared.interface import Execution
from trainbench.networks.models import MODELS

replicas, test_samples = int(sys.argv[1]), int(sys.argv[2])
spread = engines.start("jax", Execution("cpu", 1, shared.BATCH_SIZE, replicas=replicas))
alone = type(spread)("cpu", spread._devices[:1])
found = {}
for model in MODELS:
    spec, data = shared.specification(model, keep_conv=0.8, keep_hidden=0.5), shared.images(test=test_samples)
    initial = shared.larger(parameters.draw(spec.parameters, 3))
    one, several = (shared.built(engine, spec, data, initial) for engine in (alone, spread))
    losses = [[engine.train_epoch() for _ in range(2)] for engine in (one, several)]
    ours, theirs = (engine.parameters() for engine in (one, several))
    found[model] = {
        "losses": losses,
        "right": [one.evaluate(), several.evaluate()],
        "difference": max(float(np.abs(ours[name] - theirs[name]).max()) for name in ours),
        "proof": dataclasses.asdict(several.prove_device()),
    }
print(json.dumps(found))
"""


@pytest.fixture(scope="module", params=[(2, 1003), (4, 5)], ids=["2 replicas", "4 replicas"])
def replicas(request):
    count, test_samples = request.param
    return count, in_another_process(REPLICAS, count, test_samples)


@pytest.mark.parametrize("model", list(MODELS))
def test_several_replicas_train_as_one_does(replicas, model):
    _, found = replicas
    alone, spread = found[model]["losses"]
    assert spread == pytest.approx(alone, rel=1e-5)
    assert found[model]["difference"] < 1e-5


@pytest.mark.parametrize("model", list(MODELS))
def test_several_replicas_classify_as_one_does(replicas, model):
    _, found = replicas
    alone, spread = found[model]["right"]
    assert spread == alone


@pytest.mark.parametrize("model", list(MODELS))
def test_every_replica_is_proven_to_compute_on_a_device_of_its_own(replicas, model):
    count, found = replicas
    names = [f"cpu:{number}" for number in range(count)]
    assert found[model]["proof"] == {"kind": "cpu", "parameters_on": names, "computation_on": names}
