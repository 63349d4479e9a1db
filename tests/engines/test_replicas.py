"""Several devices, pretended by each framework on a CPU, train as one does."""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import replicas
from trainbench import engines
from trainbench.networks.models import MODELS


@functools.cache
def in_process(framework):
    """What `replicas` prints."""
    ran = subprocess.run(
        [sys.executable, Path(replicas.__file__), framework],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])


SEVERAL = [(framework, count) for framework, counts in replicas.COUNTS.items() for count in counts[1:]]


@pytest.fixture(scope="module", params=SEVERAL, ids="{0[0]} on {0[1]}".format)
def several(request):
    """The framework, how many devices, and what training on them came to."""
    framework, count = request.param
    pytest.importorskip(engines.ENGINES[framework].package)
    return framework, count, in_process(framework)


@pytest.mark.parametrize("model", list(MODELS))
def test_several_devices_train_as_one_does(several, model):
    _, count, found = several
    one, spread = (found[f"{model} float32 {number}"] for number in (1, count))
    assert spread["losses"] == pytest.approx(one["losses"], rel=1e-5)
    for name, value in one["parameters"].items():
        np.testing.assert_allclose(spread["parameters"][name], value, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(spread["parameters"][name], value, rtol=0, atol=1e-5)


@pytest.mark.parametrize("model", list(MODELS))
def test_several_devices_classify_as_many_images_rightly_as_the_reference(several, model):
    _, count, found = several
    spread = found[f"{model} float32 {count}"]
    assert spread["right"] == spread["rightly"]


@pytest.mark.parametrize("model", list(MODELS))
def test_every_replica_is_proven_to_compute_on_a_device_of_its_own(several, model):
    framework, count, found = several
    prefix = "/device:CPU:" if framework == "tensorflow" else "cpu:"
    names = [f"{prefix}{number}" for number in range(count)]
    proof = {"kind": "cpu", "parameters_on": names, "computation_on": names}
    assert found[f"{model} float32 {count}"]["proof"] == proof


@pytest.mark.parametrize("model", list(MODELS))
def test_training_on_several_devices_goes_on_from_a_state(several, model):
    _, count, found = several
    spread = found[f"{model} float32 {count}"]
    assert spread["resumed"] == pytest.approx(spread["next_loss"], rel=1e-6)


@pytest.mark.parametrize("framework", ["tensorflow", "torch"])
def test_two_devices_scale_their_loss_alike(framework):
    pytest.importorskip(engines.ENGINES[framework].package)
    one, two = (in_process(framework)[f"conv float16 {count}"] for count in (1, 2))
    assert two["product_types"] == ["float16"]
    assert two["scaling"] == one["scaling"]
    assert two["losses"] == pytest.approx(one["losses"], rel=1e-2)
    assert two["resumed"] == pytest.approx(two["next_loss"], rel=1e-6)


def test_each_device_of_tensorflow_has_its_own_copy_of_the_images():
    assert in_process("tensorflow")["one half twice"]["images_on"] == ["/device:CPU:0", "/device:CPU:1"]


def test_each_device_of_tensorflow_drops_out_values_of_its_own():
    """Both have the same images: with the same values dropped out, their losses would be one another's."""
    first, second = in_process("tensorflow")["one half twice"]["losses"]
    assert first != pytest.approx(second, rel=1e-3)
