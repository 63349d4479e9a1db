"""Engines that compute a batch in parts, each by one thread, train as with whole batches."""

from dataclasses import replace

import numpy as np
import pytest

from small_training import (
    BATCH_SIZE,
    IN_PARTS,
    ONE_THREAD,
    built,
    images,
    in_parts,
    initial,
    parameters_of,
    ready,
    specification,
)
from trainbench import engines
from trainbench.engines.shared.batches import parts_of_a_batch
from trainbench.engines.shared.interface import Execution, Images
from trainbench.networks.models import MODELS


@pytest.fixture(scope="session", params=IN_PARTS)
def divisible(request):
    """The name of a framework whose engine can take a batch in parts."""
    pytest.importorskip(engines.ENGINES[request.param].package)
    return request.param


@pytest.mark.parametrize("parts", [2, 3])
@pytest.mark.parametrize("model", list(MODELS))
def test_batches_taken_in_parts_train_as_whole_ones_do(divisible, model, parts):
    spec = specification(model)
    whole, divided = ready(divisible, spec), built(in_parts(divisible, parts), spec, images(), initial(spec))
    assert divided.train_epoch() == pytest.approx(whole.train_epoch(), rel=1e-5)
    assert divided.evaluate() == whole.evaluate()
    for name, value in parameters_of(whole).items():
        np.testing.assert_allclose(parameters_of(divided)[name], value, rtol=1e-4, atol=1e-6)


def test_parts_of_a_batch_drop_out_values_of_their_own(divisible):
    spec, half = specification("conv", keep_conv=0.5, keep_hidden=0.5), images(train=BATCH_SIZE // 2)
    pixels, labels = (np.concatenate([of_half] * 2) for of_half in (half.train_images, half.train_labels))
    twice = Images(pixels, labels, half.test_images, half.test_labels)
    alone = built(engines.start(divisible, replace(ONE_THREAD, batch_size=BATCH_SIZE // 2)), spec, half, initial(spec))
    divided = built(in_parts(divisible, 2), spec, twice, initial(spec))
    assert divided.train_epoch() != pytest.approx(alone.train_epoch(), rel=1e-3)


def test_the_ceilings_of_parts_are_found_as_those_of_one(divisible):
    assert in_parts(divisible, 2).ceilings().flop_per_second > 1e9


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


@pytest.mark.parametrize(("changes", "parts"), [({}, 2), ({"precision": "float16"}, 1), ({"replicas": 2}, 1)])
def test_torch_takes_batches_whole_where_the_loss_is_scaled_and_where_there_are_replicas(changes, parts):
    torch_engine = pytest.importorskip("trainbench.engines.torch.engine")
    assert torch_engine.parts_of_a_batch(Execution("cpu", threads=2, batch_size=512, **changes)) == parts
