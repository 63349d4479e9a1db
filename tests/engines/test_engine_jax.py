import json
import os
import subprocess
import sys
from dataclasses import asdict, replace

import numpy as np
import pytest

jax = pytest.importorskip("jax")

import jax.numpy as jnp  # noqa: E402

from small_training import ONE_THREAD, built, images, initial, ready, specification, start  # noqa: E402
from trainbench.engines.jax.engine import JaxEngine, is_one_call  # noqa: E402
from trainbench.engines.jax.layers import dropout_factors, max_pool  # noqa: E402
from trainbench.engines.shared import interface  # noqa: E402
from trainbench.engines.shared.interface import Images  # noqa: E402
from trainbench.networks.models import MODELS  # noqa: E402


@pytest.fixture(autouse=True, scope="module")
def on_a_cpu():
    """JAX has begun on one thread of the CPU."""
    start("jax")


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
    spec, data = specification(model, keep_conv=0.8, keep_hidden=0.5), images(test=3)
    ours = ready("jax", spec, test=3)
    theirs = built(JaxEngine(replace(ONE_THREAD, kind="gpu"), jax.devices("cpu")[:1]), spec, data, initial(spec))
    for _ in range(2):
        assert theirs.train_epoch() == pytest.approx(ours.train_epoch(), rel=1e-5)
    assert theirs.evaluate() == ours.evaluate()
    assert theirs.product_types() == {"float32"}


@pytest.mark.parametrize("keep", [0.8, 0.5, 1e-9])
@pytest.mark.parametrize("shape", [(200_001,), (1001, 3, 67)])
def test_dropout_keeps_the_share_asked_for_and_the_expected_value(keep, shape):
    dropped = np.asarray(dropout_factors(jnp.ones(shape), keep, 7, jnp.int32(1)))
    # Four standard errors; a share that 16 random bits cannot tell from 0 is the least that they can.
    share = max(keep, 2**-16)
    assert (dropped > 0).mean() == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / dropped.size))
    assert dropped.max(initial=0) in (0, pytest.approx(1 / share, rel=1e-4))


def test_neighbouring_values_are_dropped_independently():
    kept = np.asarray(dropout_factors(jnp.ones(200_000), 0.5, 7, jnp.int32(1))) > 0
    assert (kept[::2] == kept[1::2]).mean() == pytest.approx(0.5, abs=0.01)


def test_images_that_memory_cannot_hold_are_out_of_memory():
    engine = start("jax")
    one = np.zeros((1, 2**13, 2**13), np.uint8)
    huge = np.broadcast_to(one, (2**14, 2**13, 2**13))  # 4 TiB as float32
    labels = np.zeros(1, np.uint8)
    with pytest.raises((interface.OutOfMemory, MemoryError)):
        engine.place(Images(huge, labels, one, labels))


THREADS = """
import dataclasses, json
from trainbench import engines
from trainbench.engines.shared.interface import Execution
print(json.dumps(dataclasses.asdict(engines.start("jax", Execution("cpu", 3, 4)).threads())))
"""


def test_threads_in_force_are_those_asked_for():
    """In another process: threads are fixed once JAX has started."""
    ran = subprocess.run(
        [sys.executable, "-c", THREADS],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout.splitlines()[-1]) == asdict(interface.Threads(intra_op=3, inter_op=1))
