"""A model in plain float64 numpy, written from the specification: the logits, gradients and training of engines."""

import itertools
import math
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from trainbench.networks.models import (
    Conv2D,
    Dense,
    Dropout,
    Lstm,
    MaxPool2D,
    ModelSpec,
    Optimiser,
    Reshape,
    RmsProp,
    Sgd,
)

Array = np.ndarray
Arrays = dict[str, Array]
Back = Callable[[Array], tuple[Array, Arrays]]
"""Gives, for the gradient by what a layer puts out, those by what goes in and by its parameters."""

Factors = Callable[[int, tuple[int, ...]], Array]
"""Gives what the dropout layer of a number, counted from 0, multiplies values of a shape by."""


def _no_dropout(_number: int, _shape: tuple[int, ...]) -> Array:
    return np.ones(())


def logits(spec: ModelSpec, parameters: Mapping[str, Array], pixels: Array) -> Array:
    """Logits [batch, classes] of `pixels` [batch, height, width] in 0..1, dropout left out."""
    return _forward(spec, parameters, pixels, _no_dropout)[0]


def mean_loss(spec: ModelSpec, parameters: Mapping[str, Array], pixels: Array, labels: Array) -> float:
    """Mean softmax cross-entropy, dropout left out."""
    return _mean_loss(logits(spec, parameters, pixels), labels)


def loss_and_gradients(
    spec: ModelSpec, parameters: Mapping[str, Array], pixels: Array, labels: Array, factors: Factors = _no_dropout
) -> tuple[float, Arrays]:
    """Mean softmax cross-entropy and its gradient by each parameter; without `factors` dropout is left out."""
    scores, backs = _forward(spec, parameters, pixels, factors)
    exponentials = np.exp(scores - scores.max(1, keepdims=True))
    slope = exponentials / exponentials.sum(1, keepdims=True)
    slope[np.arange(len(labels)), labels] -= 1
    slope /= len(labels)
    gradients: Arrays = {}
    for back in reversed(backs):
        slope, of_layer = back(slope)
        gradients |= of_layer
    return _mean_loss(scores, labels), gradients


def train(
    spec: ModelSpec, initial: Mapping[str, Array], batches: Iterable[tuple[Array, Array, Factors]]
) -> tuple[list[float], Arrays]:
    """The loss of each step and the parameters after the last; a batch is pixels, labels and dropout's factors."""
    parameters = {name: np.asarray(value, np.float64) for name, value in initial.items()}
    mean_squares = {name: np.ones_like(value) for name, value in parameters.items()}
    losses = []
    for pixels, labels, factors in batches:
        loss, gradients = loss_and_gradients(spec, parameters, pixels, labels, factors)
        losses.append(loss)
        for name, gradient in gradients.items():
            change, mean_squares[name] = step(spec.optimiser, gradient, mean_squares[name])
            parameters[name] = parameters[name] - change
    return losses, parameters


def step(optimiser: Optimiser, gradient: Array, mean_square: Array | float = 1.0) -> tuple[Array, Array | float]:
    """What the optimiser takes away from a parameter, and the new mean square of its gradients."""
    match optimiser:
        case Sgd(learning_rate):
            return learning_rate * gradient, mean_square
        case RmsProp(learning_rate, decay, epsilon):
            mean_square = decay * mean_square + (1 - decay) * gradient**2
            return learning_rate * gradient / np.sqrt(mean_square + epsilon), mean_square


def _mean_loss(scores: Array, labels: Array) -> float:
    log_sum = np.log(np.exp(scores - scores.max(1, keepdims=True)).sum(1)) + scores.max(1)
    return float(np.mean(log_sum - scores[np.arange(len(labels)), labels]))


def _forward(
    spec: ModelSpec, parameters: Mapping[str, Array], pixels: Array, factors: Factors
) -> tuple[Array, list[Back]]:
    x = np.asarray(pixels, np.float64)
    backs: list[Back] = []
    numbers = itertools.count()
    for layer in spec.layers:
        match layer:
            case Reshape(shape):
                x, back = _reshaped(x, shape)
            case Dense(weights, bias):
                x, back = _dense(x, weights, bias, parameters)
            case Conv2D(kernel):
                x, back = _convolved(x, kernel, parameters)
            case MaxPool2D(size):
                x, back = _pooled(x, size)
            case Lstm():
                x, back = _lstm(x, layer, parameters)
            case Dropout():
                x, back = _scaled(x, factors(next(numbers), x.shape))
        backs.append(back)
        if isinstance(layer, Dense | Conv2D) and layer.relu:
            x, back = _scaled(x, x > 0)
            backs.append(back)
    return x, backs


def _reshaped(x: Array, shape: tuple[int, ...]) -> tuple[Array, Back]:
    return x.reshape(len(x), *shape), lambda slope: (slope.reshape(x.shape), {})


def _scaled(x: Array, factors: Array) -> tuple[Array, Back]:
    return x * factors, lambda slope: (slope * factors, {})


def _dense(x: Array, weights: str, bias: str | None, parameters: Mapping[str, Array]) -> tuple[Array, Back]:
    matrix = parameters[weights]

    def back(slope: Array) -> tuple[Array, Arrays]:
        gradients = {weights: x.T @ slope} | ({} if bias is None else {bias: slope.sum(0)})
        return slope @ matrix.T, gradients

    return x @ matrix + (0 if bias is None else parameters[bias]), back


def _convolved(x: Array, name: str, parameters: Mapping[str, Array]) -> tuple[Array, Back]:
    kernel = parameters[name]
    height, width = kernel.shape[:2]
    top, left = height // 2, width // 2
    padded = np.pad(x, ((0, 0), (top, top), (left, left), (0, 0)))
    rows, columns = x.shape[1:3]
    places = [(i, j) for i in range(height) for j in range(width)]

    def back(slope: Array) -> tuple[Array, Arrays]:
        by_padded, by_kernel = np.zeros_like(padded), np.zeros(kernel.shape)
        for i, j in places:
            seen = padded[:, i : i + rows, j : j + columns, :]
            by_kernel[i, j] = seen.reshape(-1, seen.shape[-1]).T @ slope.reshape(-1, slope.shape[-1])
            by_padded[:, i : i + rows, j : j + columns, :] += slope @ kernel[i, j].T
        return by_padded[:, top : top + rows, left : left + columns, :], {name: by_kernel}

    return sum(padded[:, i : i + rows, j : j + columns, :] @ kernel[i, j] for i, j in places), back


def _pooled(x: Array, size: int) -> tuple[Array, Back]:
    batch, height, width, channels = x.shape
    rows, columns = (math.ceil(length / size) for length in (height, width))
    # SAME pads the end first, which for windows of 2 is all of the padding.
    pad = ((0, 0), (0, rows * size - height), (0, columns * size - width), (0, 0))
    padded = np.pad(x, pad, constant_values=-np.inf)
    windows = padded.reshape(batch, rows, size, columns, size, channels).transpose(0, 1, 3, 5, 2, 4)
    windows = windows.reshape(batch, rows, columns, channels, size * size)
    highest = windows.argmax(-1)

    def back(slope: Array) -> tuple[Array, Arrays]:
        # Of equal values the first gets all.
        chosen = np.arange(size * size) == highest[..., np.newaxis]
        shared = (chosen * slope[..., np.newaxis]).reshape(batch, rows, columns, channels, size, size)
        by_padded = shared.transpose(0, 1, 4, 2, 5, 3).reshape(padded.shape)
        return by_padded[:, :height, :width, :], {}

    return windows.max(-1), back


def _lstm(x: Array, layer: Lstm, parameters: Mapping[str, Array]) -> tuple[Array, Back]:
    kernel, bias = parameters[layer.kernel], parameters[layer.bias]
    steps, inputs = x.shape[1:]
    state = output = np.zeros((len(x), layer.units))
    kept = []
    for number in range(steps):
        joined = np.concatenate([x[:, number], output], 1)
        i, j, f, o = np.split(joined @ kernel + bias, 4, axis=1)
        i, j, f, o = _sigmoid(i), np.tanh(j), _sigmoid(f + layer.forget_bias), _sigmoid(o)
        before, state = state, state * f + i * j
        output = np.tanh(state) * o
        kept.append((joined, i, j, f, o, before, state))

    def back(slope: Array) -> tuple[Array, Arrays]:
        by_x, by_kernel, by_bias = np.zeros_like(x), np.zeros_like(kernel), np.zeros_like(bias)
        by_output, by_state = slope, np.zeros_like(state)
        for number, (joined, i, j, f, o, before, after) in reversed(list(enumerate(kept))):
            squashed = np.tanh(after)
            by_state = by_state + by_output * o * (1 - squashed**2)
            by_gates = np.concatenate(
                [
                    by_state * j * i * (1 - i),
                    by_state * i * (1 - j**2),
                    by_state * before * f * (1 - f),
                    by_output * squashed * o * (1 - o),
                ],
                axis=1,
            )
            by_kernel += joined.T @ by_gates
            by_bias += by_gates.sum(0)
            by_joined = by_gates @ kernel.T
            by_x[:, number], by_output = by_joined[:, :inputs], by_joined[:, inputs:]
            by_state = by_state * f
        return by_x, {layer.kernel: by_kernel, layer.bias: by_bias}

    return output, back


def _sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))
