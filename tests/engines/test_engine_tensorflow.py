import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import reference_network
from small_training import BATCH_SIZE, BATCHES, built, images, larger, specification, start
from trainbench import engines
from trainbench.engines.shared import interface, proof
from trainbench.engines.shared.interface import Execution, Images
from trainbench.engines.tensorflow import engine as tensorflow_engine
from trainbench.engines.tensorflow.engine import TensorFlowEngine, dropout_factors, parts_of_a_batch
from trainbench.networks import parameters, precision
from trainbench.networks.models import MODELS


@pytest.fixture(scope="module")
def engine_on_cpu():
    return lambda: start("tensorflow")


@pytest.mark.parametrize("parts", [2, 3])
@pytest.mark.parametrize("model", list(MODELS))
def test_batches_taken_in_parts_train_as_whole_ones_do(engine_on_cpu, model, parts):
    spec, data = specification(model), images()
    initial = larger(parameters.draw(spec.parameters, 3))
    whole = built(engine_on_cpu(), spec, data, initial)
    in_parts = built(TensorFlowEngine("cpu", ["/device:CPU:0"], parts=parts), spec, data, initial)
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
    in_parts = built(TensorFlowEngine("cpu", ["/device:CPU:0"], parts=2), spec, twice, initial)
    assert in_parts.train_epoch() != pytest.approx(alone.train_epoch(), rel=1e-3)


@pytest.mark.parametrize(
    ("kind", "threads", "batch_size", "parts"),
    [
        ("cpu", 1, 512, 1),
        ("cpu", 2, 128, 2),
        ("cpu", 2, 127, 1),
        ("cpu", 3, 256, 3),
        ("cpu", 64, 512, 1),
        ("gpu", 2, 512, 1),
    ],
)
def test_each_thread_has_a_part_of_the_batch_where_it_is_large_enough(kind, threads, batch_size, parts):
    assert parts_of_a_batch(kind, threads, batch_size) == parts


def test_the_ceilings_of_parts_are_found_as_those_of_one(engine_on_cpu):
    engine_on_cpu()
    assert TensorFlowEngine("cpu", ["/device:CPU:0"], parts=2).ceilings().flop_per_second > 1e9


@pytest.mark.parametrize("keep", [0.8, 0.5, 1e-9])
def test_dropout_keeps_the_share_asked_for_and_the_expected_value(engine_on_cpu, keep):
    engine_on_cpu()
    values = 200_001
    dropped = dropout_factors(tf.ones(values), keep, 7, tf.constant(1)).numpy()
    # Four standard errors; a share that 16 random bits cannot tell from 0 is the least that they can.
    share = max(keep, 2**-16)
    assert (dropped > 0).mean() == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / values))
    assert dropped.max(initial=0) in (0, pytest.approx(1 / share, rel=1e-4))


def test_threads_in_force_are_those_asked_for(engine_on_cpu):
    assert engine_on_cpu().threads() == interface.Threads(intra_op=1, inter_op=1)


# --- precisions ---


@pytest.fixture
def small_first_scale(monkeypatch):
    """With the real one the first steps of the conv net, whose gradients are large here, would be left out."""
    monkeypatch.setattr(precision, "FIRST_LOSS_SCALE", 2.0**8)


def engine_in(name, parts=1):
    engines.start("tensorflow", Execution("cpu", threads=1, batch_size=BATCH_SIZE, precision=name))
    return TensorFlowEngine("cpu", ["/device:CPU:0"], name, parts)


@pytest.mark.usefixtures("small_first_scale")
@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize(("name", "least", "most"), [("bfloat16", 1e-4, 5e-2), ("float16", 1e-5, 5e-3)])
@pytest.mark.parametrize("model", list(MODELS))
def test_a_step_in_mixed_precision_goes_down_the_gradient_as_far_as_its_digits_reach(model, name, least, most, parts):
    """Seen at the last layer, whose gradient no window's highest and no ReLU is behind, told otherwise by rounding."""
    spec, data = specification(model, learning_rate=10.0), images(train=BATCH_SIZE)
    initial = larger(parameters.draw(spec.parameters, 3))
    engine = built(engine_in(name, parts), spec, data, initial)
    engine.train_epoch()
    _, gradients = reference_network.loss_and_gradients(spec, initial, data.train_images / 255, data.train_labels)
    weights = "weights" if model == "logistic" else "output_weights"
    change, _ = reference_network.step(spec.optimiser, gradients[weights])
    moved = initial[weights].astype(np.float64) - engine.parameters()[weights]
    assert least < np.linalg.norm(moved - change) / np.linalg.norm(change) < most


@pytest.mark.usefixtures("small_first_scale")
@pytest.mark.parametrize("name", ["bfloat16", "float16"])
@pytest.mark.parametrize("model", list(MODELS))
def test_every_parameter_goes_the_way_of_its_gradient_in_mixed_precision(model, name):
    spec, data = specification(model, learning_rate=10.0), images(train=BATCH_SIZE)
    initial = larger(parameters.draw(spec.parameters, 3))
    engine = built(engine_in(name), spec, data, initial)
    engine.train_epoch()
    _, gradients = reference_network.loss_and_gradients(spec, initial, data.train_images / 255, data.train_labels)
    cosines = {}
    for key, value in engine.parameters().items():
        change, _ = reference_network.step(spec.optimiser, gradients[key])
        moved = initial[key].astype(np.float64) - value
        cosines[key] = (moved * change).sum() / np.linalg.norm(moved) / np.linalg.norm(change)
    assert min(cosines.values()) > 0.95, cosines


@pytest.mark.parametrize("name", ["bfloat16", "float16"])
@pytest.mark.parametrize("model", list(MODELS))
def test_mixed_precision_multiplies_its_type_alone_and_keeps_parameters_in_float32(model, name):
    spec = specification(model)
    engine = built(engine_in(name), spec, images(), parameters.draw(spec.parameters, 3))
    assert proof.prove(engine, name)["product_types"] == [name]
    kept = engine.state()
    assert {value.dtype for key, value in kept.items() if key.startswith(("parameter/", "slot/"))} == {
        np.dtype(np.float32)
    }


@pytest.mark.parametrize("name", ["bfloat16", "float16"])
def test_the_ceiling_of_products_is_found_in_the_precision_of_the_run(name, monkeypatch):
    multiplied = []

    def noting(left, right):
        multiplied.append((left.dtype.name, right.dtype.name))
        return tf.raw_ops.MatMul(a=left, b=right)

    monkeypatch.setattr(tf, "matmul", noting)
    engine_in(name).ceilings()
    assert set(multiplied) == {(name, name)}


@pytest.mark.parametrize(("asked", "given"), [("bfloat16", "float32"), ("float32", "bfloat16"), ("float16", "float32")])
def test_an_engine_that_computes_in_another_precision_than_asked_for_is_refused(asked, given):
    spec = specification("logistic")
    engine = built(engine_in(given), spec, images(), parameters.draw(spec.parameters, 3))
    with pytest.raises(interface.WrongPrecision, match=f"{asked} was asked for, but products multiply {given} "):
        proof.prove(engine, asked)


def test_tf32_on_a_cpu_is_refused_for_its_products_are_exact():
    spec = specification("logistic")
    engine = built(engine_in("tf32"), spec, images(), parameters.draw(spec.parameters, 3))
    with pytest.raises(interface.WrongPrecision, match="tf32 was asked for, but products multiply float32 and err by"):
        proof.prove(engine, "tf32")


@pytest.mark.parametrize(
    "operation",
    [
        pytest.param(lambda x: tf.raw_ops.LRN(input=x[:, :, None, None])[:, :, 0, 0], id="no kernel"),
        pytest.param(lambda x: tf.math.betainc(x, x, x), id="no such type"),
    ],
)
def test_an_operation_that_is_not_there_for_a_precision_is_a_sentence(operation, monkeypatch):
    spec = specification("logistic")
    forward = tensorflow_engine._forward
    monkeypatch.setattr(tensorflow_engine, "_forward", lambda *args, **named: operation(forward(*args, **named)))
    words = r"^TensorFlow [\d.]+ cannot train this model in bfloat16 on a CPU: .*(LRN|bfloat16).*; choose another"
    with pytest.raises(interface.WrongPrecision, match=words) as raised:
        built(engine_in("bfloat16"), spec, images(), parameters.draw(spec.parameters, 3))
    assert "\n" not in str(raised.value)


def test_another_error_of_tensorflow_is_not_taken_for_a_precision_that_is_not_there(monkeypatch):
    spec = specification("logistic")
    monkeypatch.setattr(tensorflow_engine, "_forward", lambda *_, **__: tf.reshape(tf.range(5.0), (2, 2)))
    with pytest.raises(ValueError, match="reshape"):
        built(engine_in("bfloat16"), spec, images(), parameters.draw(spec.parameters, 3))


def test_a_variable_that_lowers_the_precision_of_float32_does_not_go_unseen():
    """oneDNN may compute float32 products in bfloat16 where this is set; not every CPU and build does."""
    shown = in_process(
        """
        initial = larger(parameters.draw(specification("conv").parameters, 3))
        engine = built(engine_in("float32"), specification("conv"), images(train=BATCH_SIZE), initial)
        error = proof.product_error(engine)
        data, spec = images(train=BATCH_SIZE), specification("conv")
        loss = engine.train_epoch()
        exact, _ = reference_network.loss_and_gradients(spec, initial, data.train_images / 255, data.train_labels)
        print(json.dumps([error, abs(loss - exact) / exact]))
        """,
        ONEDNN_DEFAULT_FPMATH_MODE="BF16",
    )
    product_error, loss_error = shown
    assert product_error > 1e-5 or loss_error < 1e-5


# --- the loss scale ---


def scaled(monkeypatch, first=2.0**8, grows_after=2000):
    """A logistic regression in float16, its parameters drawn, and its engine."""
    monkeypatch.setattr(precision, "FIRST_LOSS_SCALE", first)
    monkeypatch.setattr(precision, "LOSS_SCALE_GROWS_AFTER", grows_after)
    spec = specification("conv")
    initial = larger(parameters.draw(spec.parameters, 3))
    return built(engine_in("float16"), spec, images(), initial), initial


TOO_LARGE = 2.0**120
"""A loss scale with which every gradient is infinite in float16, also when it has been halved a few times."""


def test_a_step_with_an_infinite_gradient_changes_nothing_that_is_trained(monkeypatch):
    engine, _ = scaled(monkeypatch, TOO_LARGE)
    before = engine.state()
    engine.train_epoch()
    after = engine.state()
    changed = {name for name, value in before.items() if not np.array_equal(value, after[name])}
    assert changed == {"loss_scaling/scale", "loss_scaling/skipped_steps", "steps_done"}


def test_each_step_with_an_infinite_gradient_is_counted_and_halves_the_scale(monkeypatch):
    engine, _ = scaled(monkeypatch, TOO_LARGE)
    engine.train_epoch()
    assert engine.loss_scaling() == interface.LossScaling(TOO_LARGE / 2**BATCHES, skipped_steps=BATCHES)


def test_the_scale_doubles_after_so_many_good_steps_in_a_row(monkeypatch):
    engine, _ = scaled(monkeypatch, 2.0**4, grows_after=2)
    engine.train_epoch()
    assert BATCHES == 3
    assert engine.loss_scaling() == interface.LossScaling(2.0**5, skipped_steps=0)
    engine.train_epoch()
    assert engine.loss_scaling() == interface.LossScaling(2.0**7, skipped_steps=0)


def test_good_steps_are_counted_anew_after_one_that_was_left_out(monkeypatch):
    engine, _ = scaled(monkeypatch, 2.0**4, grows_after=BATCHES + 1)
    engine.train_epoch()
    assert engine.state()["loss_scaling/good_steps"] == BATCHES
    engine.restore({**engine.state(), "loss_scaling/scale": np.array(TOO_LARGE, np.float32)})
    engine.train_epoch()
    assert engine.state()["loss_scaling/good_steps"] == 0


def test_the_scale_is_taken_out_of_the_gradients_again(monkeypatch):
    ways = []
    for first in (2.0**4, 2.0**8):
        engine, initial = scaled(monkeypatch, first)
        engine.train_epoch()
        ways.append(engine.parameters()["output_weights"] - initial["output_weights"])
    assert np.linalg.norm(ways[1] - ways[0]) < 0.01 * np.linalg.norm(ways[0])


def test_an_engine_that_goes_on_goes_on_with_the_loss_scale(monkeypatch):
    engine, _ = scaled(monkeypatch, TOO_LARGE, grows_after=2)
    engine.train_epoch()
    resumed, _ = scaled(monkeypatch, 1.0, grows_after=2)
    resumed.restore(engine.state())
    assert resumed.loss_scaling() == engine.loss_scaling()
    assert resumed.state().keys() == engine.state().keys()


def test_building_leaves_the_loss_scale_as_it_begins(monkeypatch):
    engine, _ = scaled(monkeypatch, TOO_LARGE)
    assert engine.loss_scaling() == interface.LossScaling(TOO_LARGE, skipped_steps=0)


@pytest.mark.parametrize("name", ["float32", "bfloat16"])
def test_a_type_with_the_range_of_float32_needs_no_loss_scale(name):
    assert engine_in(name).loss_scaling() is None


# --- several devices ---


def in_process(program, **variables):
    """What a program in a process of its own prints last, from JSON; it finds all that this module has."""
    folders = [str(Path(__file__).parent), str(Path(__file__).parents[1]), *sys.path]
    begin = f"import sys; sys.path[:0] = {folders!r}; from {Path(__file__).stem} import *; import json"
    done = subprocess.run(
        [sys.executable, "-c", begin + "\n" + textwrap.dedent(program)],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def on_one_and_two_devices():
    """What two epochs on one and on two devices come to, for each model; the CPU pretends to be several."""
    return in_process(
        """
        precision.FIRST_LOSS_SCALE = 2.0**8
        engines.start("tensorflow", Execution("cpu", threads=1, batch_size=BATCH_SIZE, replicas=2))
        names, found = ["/device:CPU:0", "/device:CPU:1"], {}
        for model, name in (*((model, "float32") for model in MODELS), ("conv", "float16")):
            spec, data = specification(model), images()
            initial = larger(parameters.draw(spec.parameters, 3))
            for devices in (names[:1], names):
                engine = built(TensorFlowEngine("cpu", devices, name), spec, data, initial)
                losses = [engine.train_epoch(), engine.train_epoch()]
                kept = engine.state()
                found[f"{model} {name} {len(devices)}"] = {
                    "losses": losses,
                    "parameters": {key: value.tolist() for key, value in engine.parameters().items()},
                    "right": engine.evaluate(),
                    "parameters_on": engine.prove_device().parameters_on,
                    "computation_on": engine.prove_device().computation_on,
                    "images_on": [copy.backing_device[-13:] for copy in engine._devices.copies(engine._train[0])],
                    "product_types": proof.prove(engine, name)["product_types"],
                    "scaling": None if name == "float32" else engine.loss_scaling().scale,
                    "next_loss": engine.train_epoch(),
                }
            resumed = built(TensorFlowEngine("cpu", names, name), spec, data, parameters.draw(spec.parameters, 4))
            resumed.restore(kept)
            found[f"{model} {name} resumed"] = resumed.train_epoch()
        half, spec = images(train=BATCH_SIZE // 2), specification("conv", keep_conv=0.5, keep_hidden=0.5)
        pixels, labels = (np.concatenate([of_half] * 2) for of_half in (half.train_images, half.train_labels))
        initial = larger(parameters.draw(spec.parameters, 3))
        twice = Images(pixels, labels, half.test_images, half.test_labels)
        engine = built(TensorFlowEngine("cpu", names), spec, twice, initial)
        found["losses of each with dropout"] = [float(loss) for loss in engine._first_loss]
        print(json.dumps(found))
        """
    )


@pytest.mark.parametrize("model", list(MODELS))
def test_two_devices_train_as_one_does(on_one_and_two_devices, model):
    one, two = (on_one_and_two_devices[f"{model} float32 {count}"] for count in (1, 2))
    assert two["losses"] == pytest.approx(one["losses"], rel=1e-5)
    for name, value in one["parameters"].items():
        np.testing.assert_allclose(two["parameters"][name], value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("model", list(MODELS))
def test_two_devices_classify_as_many_images_rightly_as_one(on_one_and_two_devices, model):
    one, two = (on_one_and_two_devices[f"{model} float32 {count}"] for count in (1, 2))
    assert two["right"] == one["right"]


@pytest.mark.parametrize("model", list(MODELS))
def test_parameters_and_losses_are_proven_to_lie_on_both_devices(on_one_and_two_devices, model):
    two = on_one_and_two_devices[f"{model} float32 2"]
    assert two["parameters_on"] == two["computation_on"] == ["/device:CPU:0", "/device:CPU:1"]


def test_each_device_has_its_own_copy_of_the_images(on_one_and_two_devices):
    assert on_one_and_two_devices["logistic float32 2"]["images_on"] == ["/device:CPU:0", "/device:CPU:1"]


@pytest.mark.parametrize("model", list(MODELS))
def test_training_on_two_devices_goes_on_from_a_state(on_one_and_two_devices, model):
    whole = on_one_and_two_devices[f"{model} float32 2"]["next_loss"]
    assert on_one_and_two_devices[f"{model} float32 resumed"] == pytest.approx(whole, rel=1e-6)


def test_two_devices_scale_their_loss_alike(on_one_and_two_devices):
    one, two = (on_one_and_two_devices[f"conv float16 {count}"] for count in (1, 2))
    assert two["product_types"] == ["float16"]
    assert two["scaling"] == one["scaling"]
    assert two["losses"] == pytest.approx(one["losses"], rel=1e-2)
    assert on_one_and_two_devices["conv float16 resumed"] == pytest.approx(two["next_loss"], rel=1e-6)


def test_each_device_drops_out_values_of_its_own(on_one_and_two_devices):
    """Both devices have the same images: with the same values dropped out, their losses would be one another's."""
    first, second = on_one_and_two_devices["losses of each with dropout"]
    assert first != pytest.approx(second, rel=1e-3)


def test_more_gpus_than_tensorflow_sees_are_refused(monkeypatch):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: ["one"] if kind == "GPU" else [])
    # Of a TensorFlow that has begun, as by the other tests, it cannot be changed any more.
    monkeypatch.setattr(tf.config.threading, "set_inter_op_parallelism_threads", lambda _: None)
    with pytest.raises(interface.WrongDevice, match=r"2 GPUs were asked for, but TensorFlow .* sees 1"):
        engines.start("tensorflow", Execution("gpu", threads=1, batch_size=BATCH_SIZE, replicas=2))
