import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from small_training import ONE_THREAD, built, images, initial, specification, start
from trainbench import engines
from trainbench.engines.shared import interface
from trainbench.engines.tensorflow import engine as tensorflow_engine
from trainbench.engines.tensorflow.layers import dropout_factors


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """TensorFlow keeps the number of threads with which it computes first in a process."""
    start("tensorflow")


@pytest.mark.parametrize("keep", [0.8, 0.5, 1e-9])
def test_dropout_keeps_the_share_asked_for_and_the_expected_value(keep):
    values = 200_001
    dropped = dropout_factors(tf.ones(values), keep, 7, tf.constant(1)).numpy()
    # Four standard errors; a share that 16 random bits cannot tell from 0 is the least that they can.
    share = max(keep, 2**-16)
    assert (dropped > 0).mean() == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / values))
    assert dropped.max(initial=0) in (0, pytest.approx(1 / share, rel=1e-4))


@pytest.mark.parametrize("name", ["bfloat16", "float16"])
def test_the_ceiling_of_products_is_found_in_the_precision_of_the_run(name, monkeypatch):
    multiplied = []

    def noting(left, right):
        multiplied.append((left.dtype.name, right.dtype.name))
        return tf.raw_ops.MatMul(a=left, b=right)

    monkeypatch.setattr(tf, "matmul", noting)
    start("tensorflow", name).ceilings()
    assert set(multiplied) == {(name, name)}


@pytest.mark.parametrize(
    "operation",
    [
        pytest.param(lambda x: tf.raw_ops.LRN(input=x[:, :, None, None])[:, :, 0, 0], id="no kernel"),
        pytest.param(lambda x: tf.math.betainc(x, x, x), id="no such type"),
    ],
)
def test_an_operation_that_is_not_there_for_a_precision_is_a_sentence(operation, monkeypatch):
    spec = specification("logistic")
    forward = tensorflow_engine.forward
    monkeypatch.setattr(tensorflow_engine, "forward", lambda *args, **named: operation(forward(*args, **named)))
    words = r"^TensorFlow [\d.]+ cannot train this model in bfloat16 on a CPU: .*(LRN|bfloat16).*; choose another"
    with pytest.raises(interface.Refused, match=words) as raised:
        built(start("tensorflow", "bfloat16"), spec, images(), initial(spec))
    assert "\n" not in str(raised.value)


def test_another_error_of_tensorflow_is_not_taken_for_a_precision_that_is_not_there(monkeypatch):
    spec = specification("logistic")
    monkeypatch.setattr(tensorflow_engine, "forward", lambda *_, **__: tf.reshape(tf.range(5.0), (2, 2)))
    with pytest.raises(ValueError, match="reshape"):
        built(start("tensorflow", "bfloat16"), spec, images(), initial(spec))


LOWERED = """
import json
import reference_network
from small_training import BATCH_SIZE, built, images, initial, specification, start
from trainbench.engines.shared import proof
data, spec = images(train=BATCH_SIZE), specification("conv")
engine = built(start("tensorflow"), spec, data, initial(spec))
error, loss = proof.product_error(engine), engine.train_epoch()
exact, _ = reference_network.loss_and_gradients(spec, initial(spec), data.train_images / 255, data.train_labels)
print(json.dumps([error, abs(loss - exact) / exact]))
"""


def test_a_variable_that_lowers_the_precision_of_float32_does_not_go_unseen():
    """oneDNN may compute float32 products in bfloat16 where this is set; not every CPU and build does."""
    done = subprocess.run(
        [sys.executable, "-c", LOWERED],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "ONEDNN_DEFAULT_FPMATH_MODE": "BF16"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    product_error, loss_error = json.loads(done.stdout.splitlines()[-1])
    assert product_error > 1e-5 or loss_error < 1e-5


def test_more_gpus_than_tensorflow_sees_are_refused(monkeypatch):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: ["one"] if kind == "GPU" else [])
    # Of a TensorFlow that has begun, as by the other tests, it cannot be changed any more.
    monkeypatch.setattr(tf.config.threading, "set_inter_op_parallelism_threads", lambda _: None)
    with pytest.raises(interface.Refused, match=r"2 GPUs were asked for, but TensorFlow .* sees 1"):
        engines.start("tensorflow", replace(ONE_THREAD, kind="gpu", replicas=2))
