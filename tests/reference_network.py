"""A model's forward pass in plain float64 numpy, written from the specification, to hold engines against."""

import math

import numpy as np

from trainbench.models import Conv2D, Dense, Dropout, Lstm, MaxPool2D, ModelSpec, Reshape


def logits(spec: ModelSpec, parameters: dict[str, np.ndarray], pixels: np.ndarray) -> np.ndarray:
    """Logits [batch, classes] of `pixels` [batch, height, width] in 0..1, dropout left out."""
    x = np.asarray(pixels, np.float64)
    for layer in spec.layers:
        match layer:
            case Reshape(shape):
                x = x.reshape(len(x), *shape)
            case Dense(weights, bias, relu):
                x = x @ parameters[weights]
                x = x if bias is None else x + parameters[bias]
                x = np.maximum(x, 0) if relu else x
            case Conv2D(kernel, relu):
                x = _convolved(x, parameters[kernel])
                x = np.maximum(x, 0) if relu else x
            case MaxPool2D(size):
                x = _pooled(x, size)
            case Lstm():
                x = _lstm(layer, parameters, x)
            case Dropout():
                pass
    return x


def mean_loss(spec: ModelSpec, parameters: dict[str, np.ndarray], pixels: np.ndarray, labels: np.ndarray) -> float:
    """Mean softmax cross-entropy."""
    scores = logits(spec, parameters, pixels)
    log_sum = np.log(np.exp(scores - scores.max(1, keepdims=True)).sum(1)) + scores.max(1)
    return float(np.mean(log_sum - scores[np.arange(len(labels)), labels]))


def _convolved(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    height, width = kernel.shape[:2]
    padded = np.pad(x, ((0, 0), (height // 2,) * 2, (width // 2,) * 2, (0, 0)))
    rows, columns = x.shape[1:3]
    return sum(padded[:, i : i + rows, j : j + columns, :] @ kernel[i, j] for i in range(height) for j in range(width))


def _pooled(x: np.ndarray, size: int) -> np.ndarray:
    rows, columns = (math.ceil(length / size) for length in x.shape[1:3])
    # SAME pads the end first, which for windows of 2 is all of the padding.
    pad = ((0, 0), (0, rows * size - x.shape[1]), (0, columns * size - x.shape[2]), (0, 0))
    padded = np.pad(x, pad, constant_values=-np.inf)
    return padded.reshape(len(x), rows, size, columns, size, -1).max((2, 4))


def _lstm(layer: Lstm, parameters: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    state = output = np.zeros((len(x), layer.units))
    for step in range(x.shape[1]):
        gates = np.concatenate([x[:, step], output], 1) @ parameters[layer.kernel] + parameters[layer.bias]
        i, j, f, o = np.split(gates, 4, axis=1)
        state = state * _sigmoid(f + layer.forget_bias) + _sigmoid(i) * np.tanh(j)
        output = np.tanh(state) * _sigmoid(o)
    return output


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))
