"""The networks are those of 2017 at MNIST's size, fit other sizes, and start from the parameters they say."""

import dataclasses
import math
from collections.abc import Mapping

import numpy as np
import pytest

from trainbench.networks import parameters
from trainbench.networks.models import (
    MODELS,
    Conv2D,
    Dense,
    Dropout,
    GlorotUniform,
    ImageShape,
    Layer,
    Lstm,
    ModelSpec,
    Normal,
    Parameter,
    RmsProp,
    Sgd,
    Zeros,
)

MNIST = ImageShape(height=28, width=28, classes=10)
ODD = ImageShape(height=9, width=13, classes=4)


def specify(model: str, shape: ImageShape = MNIST, hyperparameters: Mapping[str, float] | None = None) -> ModelSpec:
    """Specify a model with 2017's hyperparameters, some of them replaced."""
    registered = MODELS[model]
    defaults = {key: hyperparameter.default for key, hyperparameter in registered.hyperparameters.items()}
    return registered.specify(shape, {**defaults, **(hyperparameters or {})})


def shapes(spec: ModelSpec) -> dict[str, tuple[int, ...]]:
    return {parameter.name: parameter.shape for parameter in spec.parameters}


def names_of_parameters(layer: Layer) -> list[str]:
    match layer:
        case Dense(weights, bias):
            return [weights] if bias is None else [weights, bias]
        case Conv2D(kernel):
            return [kernel]
        case Lstm(kernel, bias):
            return [kernel, bias]
    return []


# --- shapes ---


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("logistic", [(784, 10)]),
        ("conv", [(3, 3, 1, 32), (3, 3, 32, 64), (3, 3, 64, 128), (2048, 625), (625, 10)]),
        ("lstm", [(56, 112), (112,), (28, 10), (10,)]),
    ],
)
def test_on_mnist_a_model_has_the_shapes_of_2017(model: str, expected: list[tuple[int, ...]]) -> None:
    assert list(shapes(specify(model)).values()) == expected


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("logistic", [(117, 4)]),
        # Pooled three times, odd lengths rounded up: 9 x 13, 5 x 7, 3 x 4, 2 x 2.
        ("conv", [(3, 3, 1, 32), (3, 3, 32, 64), (3, 3, 64, 128), (2 * 2 * 128, 625), (625, 4)]),
        ("lstm", [(13 + 28, 112), (112,), (28, 4), (4,)]),
    ],
)
def test_a_model_takes_its_shapes_from_the_data(model: str, expected: list[tuple[int, ...]]) -> None:
    assert list(shapes(specify(model, ODD)).values()) == expected


@pytest.mark.parametrize("model", MODELS)
def test_a_model_specifies_an_image_of_one_pixel(model: str) -> None:
    assert all(math.prod(shape) > 0 for shape in shapes(specify(model, ImageShape(1, 1, 2))).values())


@pytest.mark.parametrize("model", MODELS)
def test_a_model_is_registered_under_its_own_name(model: str) -> None:
    assert specify(model).name == model


@pytest.mark.parametrize("model", MODELS)
def test_every_parameter_belongs_to_exactly_one_layer(model: str) -> None:
    spec = specify(model)
    used = [name for layer in spec.layers for name in names_of_parameters(layer)]
    assert used == list(shapes(spec))


@pytest.mark.parametrize(("model", "count"), [("logistic", 7840), ("conv", 1_378_698), ("lstm", 6674)])
def test_the_parameters_are_counted(model: str, count: int) -> None:
    assert specify(model).parameter_count == count


# --- arithmetic: a multiplication and an addition count 2, worked out by hand ---


def flop(products: int, first: int) -> int:
    """Of training: three times forward without the gradient of the images, which the first product would give."""
    return 2 * (3 * products - first)


def test_the_flop_of_logistic_regression_are_those_of_one_product() -> None:
    assert specify("logistic").train_flop_per_example == flop(784 * 10, 784 * 10)


def test_the_flop_of_the_conv_net_are_those_of_its_five_products() -> None:
    products = 225_792 + 3_612_672 + 3_612_672 + 1_280_000 + 6_250
    assert products == 28 * 28 * 9 * 32 + 14 * 14 * 9 * 32 * 64 + 7 * 7 * 9 * 64 * 128 + 2048 * 625 + 625 * 10
    assert specify("conv").train_flop_per_example == flop(products, 225_792)


def test_the_flop_of_the_conv_net_follow_odd_sizes() -> None:
    products = 9 * 13 * 9 * 32 + 5 * 7 * 9 * 32 * 64 + 3 * 4 * 9 * 64 * 128 + 512 * 625 + 625 * 4
    assert specify("conv", ODD).train_flop_per_example == flop(products, 9 * 13 * 9 * 32)


def test_the_flop_of_the_lstm_are_28_steps_of_row_and_state_and_the_output() -> None:
    products = 28 * 28 * 112 + 28 * 28 * 112 + 28 * 10
    assert specify("lstm").train_flop_per_example == flop(products, 28 * 28 * 112)


@pytest.mark.parametrize(
    ("model", "values"),
    [
        ("logistic", 10),
        ("conv", 28 * 28 * 32 + 14 * 14 * 64 + 7 * 7 * 128 + 625 + 10),
        ("lstm", 28 * 112 + 10),
    ],
)
def test_activations_are_the_outputs_of_the_layers_with_parameters(model: str, values: int) -> None:
    assert specify(model).activations_per_example == values


@pytest.mark.parametrize(
    ("model", "of_example", "of_step"),
    [
        # Image read, activations written and read; weights and gradients read and written, RMSProp's mean square too.
        ("logistic", 784 + 2 * 10, 4 * 7840),
        ("conv", 784 + 2 * (28 * 28 * 32 + 14 * 14 * 64 + 7 * 7 * 128 + 625 + 10), 6 * 1_378_698),
        ("lstm", 784 + 2 * (28 * 112 + 10), 6 * 6674),
    ],
)
@pytest.mark.parametrize("batch_size", [1, 128])
def test_the_least_bytes_of_an_example_are_its_own_and_its_share_of_the_steps(
    model: str, of_example: int, of_step: int, batch_size: int
) -> None:
    expected = 4 * (of_example + of_step / batch_size)
    assert specify(model).train_bytes_per_example(batch_size) == pytest.approx(expected, rel=1e-12)


def test_the_bytes_of_an_image_follow_its_size() -> None:
    # As many activations in a larger image of as many classes.
    one_pixel, larger = (specify("logistic", ImageShape(side, side, 4)) for side in (1, 10))
    weights = 4 * 4 * (100 - 1) * 4 / 100
    assert larger.train_bytes_per_example(100) - one_pixel.train_bytes_per_example(100) == 4 * 99 + weights


# --- hyperparameters ---


def test_logistic_regression_descends_the_gradient_at_2017s_rate() -> None:
    assert specify("logistic").optimiser == Sgd(0.05)


@pytest.mark.parametrize("model", ["conv", "lstm"])
def test_rmsprop_starts_its_mean_square_at_ones_as_in_2017(model: str) -> None:
    assert specify(model).optimiser == RmsProp(0.001, decay=0.9, epsilon=1e-10, initial_mean_square=1.0)


def test_the_conv_net_keeps_what_it_is_told_to_after_each_pooling_and_after_the_hidden_layer() -> None:
    spec = specify("conv", hyperparameters={"keep_conv": 0.7, "keep_hidden": 0.6})
    assert [layer.keep for layer in spec.layers if isinstance(layer, Dropout)] == [0.7, 0.7, 0.7, 0.6]


@pytest.mark.parametrize(
    ("model", "hyperparameter"), [(name, key) for name, model in MODELS.items() for key in model.hyperparameters]
)
def test_a_hyperparameter_changes_the_specification(model: str, hyperparameter: str) -> None:
    assert specify(model, hyperparameters={hyperparameter: 0.123}) != specify(model)


@pytest.mark.parametrize("model", MODELS)
def test_2017s_hyperparameters_are_in_their_own_range(model: str) -> None:
    outside = [
        key
        for key, hyperparameter in MODELS[model].hyperparameters.items()
        if not hyperparameter.above < hyperparameter.default <= hyperparameter.at_most
    ]
    assert outside == []


# --- initial parameters ---

WIDE = (400, 250)


def drawn(initialiser: Normal | GlorotUniform | Zeros) -> np.ndarray:
    return parameters.draw([Parameter("values", WIDE, initialiser)], seed=2017)["values"]


@pytest.mark.parametrize("model", MODELS)
def test_initial_parameters_have_the_specified_shapes_in_float32(model: str) -> None:
    spec = specify(model)
    initial = parameters.draw(spec.parameters, seed=1)
    assert {name: (array.shape, array.dtype) for name, array in initial.items()} == {
        name: (shape, np.dtype(np.float32)) for name, shape in shapes(spec).items()
    }


def test_the_same_seed_draws_the_same_parameters() -> None:
    spec = specify("lstm")
    first, second = (parameters.draw(spec.parameters, seed=7) for _ in range(2))
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_another_seed_draws_other_parameters() -> None:
    spec = specify("logistic")
    first, second = (parameters.draw(spec.parameters, seed=seed)["weights"] for seed in (7, 8))
    assert not np.any(first == second)


def test_parameters_of_one_shape_are_drawn_independently() -> None:
    twins = [dataclasses.replace(Parameter("first", (50,), Normal(0.01)), name=name) for name in ("first", "second")]
    initial = parameters.draw(twins, seed=7)
    assert not np.any(initial["first"] == initial["second"])


def test_normal_values_have_mean_0_and_the_given_deviation() -> None:
    values = drawn(Normal(0.01)).astype(np.float64)
    # 100,000 values: the mean's standard error is 3e-5, that of the deviation 2e-5; five of each are allowed.
    assert (values.mean(), values.std()) == (pytest.approx(0, abs=1.6e-4), pytest.approx(0.01, abs=1.1e-4))


def test_normal_values_are_not_cut_off() -> None:
    assert np.abs(drawn(Normal(0.01))).max() > 0.03


def test_glorot_values_fill_the_range_that_the_shape_gives() -> None:
    limit = math.sqrt(6 / (400 + 250))
    values = drawn(GlorotUniform())
    assert (values.min(), values.max()) == (pytest.approx(-limit, rel=1e-3), pytest.approx(limit, rel=1e-3))


def test_glorot_values_are_spread_evenly() -> None:
    limit = math.sqrt(6 / (400 + 250))
    counts, _ = np.histogram(drawn(GlorotUniform()), bins=10, range=(-limit, limit))
    # 10,000 of 100,000 values in each bin, with a standard error of 95; five of them are allowed.
    assert np.abs(counts - 10_000).max() < 475


def test_zeros_are_zeros() -> None:
    assert not drawn(Zeros()).any()
