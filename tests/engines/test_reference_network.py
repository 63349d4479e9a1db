"""The reference that engines are held against: its gradients are those of its own loss."""

import numpy as np
import pytest

import reference_network
from trainbench.networks import parameters
from trainbench.networks.models import MODELS, ImageShape, ModelSpec, RmsProp, Sgd

SHAPE = ImageShape(height=6, width=7, classes=3)
BATCH_SIZE = 4
DISTANCE = 1e-5


def specification(model: str) -> ModelSpec:
    chosen = {name: hyperparameter.default for name, hyperparameter in MODELS[model].hyperparameters.items()}
    return MODELS[model].specify(SHAPE, chosen)


@pytest.mark.parametrize("model", list(MODELS))
def test_its_gradients_are_the_differences_of_its_loss(model: str) -> None:
    spec, generator = specification(model), np.random.default_rng(5)
    pixels = generator.uniform(0, 1, (BATCH_SIZE, SHAPE.height, SHAPE.width))
    labels = generator.integers(0, SHAPE.classes, BATCH_SIZE)
    exact = {name: generator.normal(0, 0.2, value.shape) for name, value in parameters.draw(spec.parameters, 3).items()}

    def factors(number: int, shape: tuple[int, ...]) -> np.ndarray:
        return (np.random.default_rng(number).random(shape) < 0.8) / 0.8

    _, gradients = reference_network.loss_and_gradients(spec, exact, pixels, labels, factors)
    for name, gradient in gradients.items():
        direction = generator.normal(size=gradient.shape)
        forth, back = (
            reference_network.loss_and_gradients(
                spec, {**exact, name: exact[name] + sign * DISTANCE * direction}, pixels, labels, factors
            )[0]
            for sign in (1, -1)
        )
        assert (gradient * direction).sum() == pytest.approx((forth - back) / (2 * DISTANCE), rel=1e-5), name


@pytest.mark.parametrize("model", list(MODELS))
def test_it_has_a_gradient_for_every_parameter(model: str) -> None:
    spec = specification(model)
    initial = parameters.draw(spec.parameters, 3)
    pixels = np.ones((2, SHAPE.height, SHAPE.width))
    _, gradients = reference_network.loss_and_gradients(spec, initial, pixels, np.array([0, 1]))
    assert {name: gradient.shape for name, gradient in gradients.items()} == {
        parameter.name: parameter.shape for parameter in spec.parameters
    }


def test_gradient_descent_goes_down_the_gradient() -> None:
    change, _ = reference_network.step(Sgd(learning_rate=0.5), np.array([2.0, -4.0]))
    np.testing.assert_array_equal(change, [1.0, -2.0])


def test_rmsprop_divides_by_the_root_of_a_mean_that_begins_with_ones() -> None:
    change, mean_square = reference_network.step(RmsProp(0.1, decay=0.9, epsilon=0.0), np.array([2.0]))
    # 0.9 * 1 + 0.1 * 2 ** 2 = 1.3
    np.testing.assert_allclose(mean_square, [1.3])
    np.testing.assert_allclose(change, [0.1 * 2 / np.sqrt(1.3)])
