"""Every engine computes what the reference does: the same losses and parameters, so one framework's are another's.

All begin with the same parameters, take the same real images and drop out the same values. A new engine joins by being
registered, and by an entry in `DROPOUT_FROM_TABLE` that puts the table's factors in the place of its random ones.
"""

import functools
import gzip
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import reference_network
from small_training import parameters_of
from trainbench import engines
from trainbench.engines.shared.interface import Execution, Images
from trainbench.engines.shared.layers import with_pooling_before_relu
from trainbench.networks import parameters
from trainbench.networks.models import MODELS, Dropout, ImageShape, ModelSpec

MNIST = Path(__file__).parents[2] / "resources" / "mnist"
SHAPE = ImageShape(height=14, width=14, classes=10)
BATCH_SIZE = 8
STEPS = 50

TOLERANCE = 1e-4
"""Error of a loss, and of an array relative to the exact one in the Euclidean norm."""


@dataclass(frozen=True)
class Trained:
    """What training came to: the mean loss and the parameters."""

    loss: float
    parameters: Mapping[str, np.ndarray]


def specification(model: str, **changes: float) -> ModelSpec:
    known = MODELS[model].hyperparameters
    chosen = {name: hyperparameter.default for name, hyperparameter in known.items()}
    return MODELS[model].specify(SHAPE, chosen | {name: value for name, value in changes.items() if name in known})


@functools.cache
def images(count: int) -> Images:
    """The first images of MNIST, of which every second row and column is left out to save time."""
    with gzip.open(MNIST / "train-images-idx3-ubyte.gz") as file:
        pixels = np.frombuffer(file.read(16 + count * 28 * 28), np.uint8, offset=16).reshape(count, 28, 28)
    with gzip.open(MNIST / "train-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(8 + count), np.uint8, offset=8)
    pixels = np.ascontiguousarray(pixels[:, ::2, ::2])
    return Images(pixels, labels, pixels, labels)


def larger(spec: ModelSpec) -> parameters.Parameters:
    """Initial parameters far enough from zero for gradients to be well above float32's rounding."""
    generator = np.random.default_rng(1)
    return {
        parameter.name: generator.normal(0, 0.1, parameter.shape).astype(np.float32) for parameter in spec.parameters
    }


# --- dropout from a table ---


@functools.cache
def table(number: int, shape: tuple[int, ...], keep: float) -> np.ndarray:
    """What the dropout layer `number` multiplies values of `shape` by in each step: float32 [steps, *shape]."""
    kept = np.random.default_rng([2, number]).random((STEPS, *shape)) < keep
    return (kept / keep).astype(np.float32)


def numbers_by_position(spec: ModelSpec) -> dict[int, int]:
    """The number of each dropout layer by its position among the layers as engines go through them."""
    layers = enumerate(with_pooling_before_relu(spec.layers))
    positions = [position for position, layer in layers if isinstance(layer, Dropout)]
    return {position: number for number, position in enumerate(positions)}


def in_tensorflow(numbers: Mapping[int, int]) -> Callable[..., Any]:
    import tensorflow as tf

    def factors(x: Any, keep: float, seed: int, step: Any) -> Any:
        return tf.cast(tf.gather(tf.constant(table(numbers[seed], tuple(x.shape), keep)), step), x.dtype)

    return factors


def in_jax(numbers: Mapping[int, int]) -> Callable[..., Any]:
    import jax.numpy as jnp

    def factors(x: Any, keep: float, seed: int, step: Any) -> Any:
        return jnp.asarray(table(numbers[seed], tuple(x.shape), keep))[step].astype(x.dtype)

    return factors


def in_torch(numbers: Mapping[int, int]) -> Callable[..., Any]:
    import torch

    def factors(x: Any, keep: float, draw: Any) -> Any:
        steps = torch.from_numpy(table(numbers[draw.position], tuple(x.shape), keep))
        # The step is a number or a tensor that has one value.
        return steps[draw.step].reshape(x.shape).to(x.dtype)

    return factors


DROPOUT_FROM_TABLE: Mapping[str, Callable[[Mapping[int, int]], Callable[..., Any]]] = {
    "tensorflow": in_tensorflow,
    "jax": in_jax,
    "torch": in_torch,
}
"""Of each framework, what makes its engine's `dropout_factors`, given the number of a dropout layer by its position.

The runs of these tests have the seed 0, so where an engine hands on the seed of a layer, that is its position.
"""


# --- what the engines and the reference come to ---


Train = Callable[[ModelSpec, int], Trained]


@pytest.fixture(params=list(engines.ENGINES))
def train(request: pytest.FixtureRequest) -> Train:
    """Give a function that trains a network for so many steps with one of the engines."""
    pytest.importorskip(engines.ENGINES[request.param].module, reason=f"{request.param} is not installed")
    return functools.partial(trained, request.param)


@functools.cache
def trained(framework: str, spec: ModelSpec, steps: int) -> Trained:
    """What an engine comes to."""
    with pytest.MonkeyPatch.context() as patched:
        factors = DROPOUT_FROM_TABLE[framework](numbers_by_position(spec))
        patched.setattr(f"trainbench.engines.{framework}.layers.dropout_factors", factors)
        engine = engines.start(framework, Execution("cpu", threads=1, batch_size=BATCH_SIZE))
        engine.place(images(BATCH_SIZE * steps))
        engine.build(spec, larger(spec), seed=0)
        return Trained(engine.train_epoch(), parameters_of(engine))


@functools.cache
def exact(spec: ModelSpec, steps: int) -> Trained:
    """What the reference comes to."""
    keeps = [layer.keep for layer in spec.layers if isinstance(layer, Dropout)]
    data = images(BATCH_SIZE * steps)

    def batches() -> Iterator[tuple[np.ndarray, np.ndarray, reference_network.Factors]]:
        for step in range(steps):
            chosen = slice(step * BATCH_SIZE, (step + 1) * BATCH_SIZE)
            factors = functools.partial(of_step, step)
            yield data.train_images[chosen] / 255, data.train_labels[chosen], factors

    def of_step(step: int, number: int, shape: tuple[int, ...]) -> np.ndarray:
        return table(number, shape, keeps[number])[step].astype(np.float64)

    losses, parameters_then = reference_network.train(spec, larger(spec), batches())
    return Trained(float(np.mean(losses)), parameters_then)


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    """Euclidean norm of the error over that of what is expected."""
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def ways(spec: ModelSpec, after: Trained) -> dict[str, np.ndarray]:
    """How far each parameter has moved."""
    return {name: after.parameters[name] - value.astype(np.float64) for name, value in larger(spec).items()}


@pytest.mark.parametrize("model", list(MODELS))
def test_a_step_goes_down_the_exact_gradient(train: Train, model: str) -> None:
    # A rate so high that what a step adds is not lost in the rounding of what it is added to.
    spec = specification(model, learning_rate=10.0)
    found, expected = train(spec, 1), exact(spec, 1)
    assert found.loss == pytest.approx(expected.loss, rel=TOLERANCE)
    expected_ways = ways(spec, expected)
    errors = {name: relative_error(way, expected_ways[name]) for name, way in ways(spec, found).items()}
    assert {name: error for name, error in errors.items() if error > TOLERANCE} == {}


@pytest.mark.parametrize("model", list(MODELS))
def test_fifty_steps_come_to_the_loss_and_the_parameters_of_the_reference(train: Train, model: str) -> None:
    spec = specification(model)
    found, expected = train(spec, STEPS), exact(spec, STEPS)
    assert found.loss == pytest.approx(expected.loss, rel=TOLERANCE)
    errors = {name: relative_error(found.parameters[name], value) for name, value in expected.parameters.items()}
    assert {name: error for name, error in errors.items() if error > TOLERANCE} == {}


@pytest.mark.parametrize("model", list(MODELS))
def test_fifty_steps_move_parameters_the_way_of_the_reference(train: Train, model: str) -> None:
    """What parameters have gone is less than they are, so this would tell of an error that those hide."""
    spec = specification(model)
    found, expected = ways(spec, train(spec, STEPS)), ways(spec, exact(spec, STEPS))
    errors = {name: relative_error(way, expected[name]) for name, way in found.items()}
    assert {name: error for name, error in errors.items() if error > 10 * TOLERANCE} == {}


@pytest.mark.parametrize("model", list(MODELS))
@pytest.mark.parametrize(("first", "second"), list(itertools.combinations(engines.ENGINES, 2)))
def test_two_engines_come_to_the_same_loss_and_parameters(first: str, second: str, model: str) -> None:
    for framework in (first, second):
        pytest.importorskip(engines.ENGINES[framework].module, reason=f"{framework} is not installed")
    spec = specification(model)
    one, other = trained(first, spec, STEPS), trained(second, spec, STEPS)
    assert one.loss == pytest.approx(other.loss, rel=TOLERANCE)
    errors = {name: relative_error(one.parameters[name], value) for name, value in other.parameters.items()}
    assert {name: error for name, error in errors.items() if error > TOLERANCE} == {}
