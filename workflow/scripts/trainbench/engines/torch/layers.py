"""A network's layers as PyTorch's operations."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import torch
from torch.nn import functional

from trainbench.engines.shared.layers import Relu, kept_of_65536
from trainbench.networks.models import Conv2D, Dense, Dropout, Layer, Lstm, MaxPool2D, Reshape

Number: TypeAlias = "int | torch.Tensor"
"""The number of a batch or of a step: on a GPU an int64 tensor [1], which a recorded step reads and advances."""


class Network:
    """The layers and their parameters; arrays of images are [batch, height, width, channels] between all layers."""

    def __init__(self, layers: Sequence[Layer | Relu], parameters: Mapping[str, list[Any]]) -> None:
        self._layers = layers
        self._parameters = parameters
        self.leaves = [leaf for leaves in parameters.values() for leaf in leaves]

    def logits(self, x: Any, dropout: "tuple[Any, Number] | None") -> Any:
        """[batch, classes] of pixels [batch, pixels], in their type; `dropout` is (generator, step) in training."""
        for position, layer in enumerate(self._layers):
            match layer:
                case Reshape(shape):
                    x = x.reshape(len(x), *shape)
                case Dense(weights, bias, relu):
                    biases = [] if bias is None else self._typed(bias, x)
                    x = functional.linear(x, *self._typed(weights, x), *biases)
                    x = x.relu_() if relu else x
                case Conv2D(kernel, relu):
                    (filters,) = self._typed(kernel, x)
                    x = functional.conv2d(_channels_first(x), _channels_first(filters), padding="same")
                    x = _channels_last(x.relu_() if relu else x)
                case MaxPool2D(size):
                    x = _pooled(x, size)
                case Relu():
                    x = x.relu_()
                case Dropout(keep) if dropout is not None and keep < 1.0:
                    generator, step = dropout
                    x = x * dropout_factors(x, keep, Draw(position, step, generator))
                case Dropout():
                    pass
                case Lstm():
                    x = self._lstm(layer, x)
        return x

    def _typed(self, name: str, x: Any) -> list[Any]:
        """A parameter in the type of `x`; its gradient is float32 again."""
        return [leaf.to(x.dtype) for leaf in self._parameters[name]]

    def _lstm(self, layer: Lstm, x: Any) -> Any:
        """Last output [batch, units] of the layer over x [batch, steps, inputs], by PyTorch's one operation for it.

        That adds two biases: the second is a constant, the forget gates' own.
        """
        kernels, (bias,) = self._typed(layer.kernel, x), self._typed(layer.bias, x)
        constant = torch.zeros_like(bias)
        constant[layer.units : 2 * layer.units] = layer.forget_bias
        begin = x.new_zeros(1, len(x), layer.units)
        _, output, _ = torch.lstm(
            x,
            (begin, begin),
            [*kernels, bias, constant],
            has_biases=True,
            num_layers=1,
            dropout=0.0,
            train=True,
            bidirectional=False,
            batch_first=True,
        )
        return output[0]


def _channels_first(x: Any) -> Any:
    """[batch, height, width, channels] as PyTorch names axes; nothing moves."""
    return x.permute(0, 3, 1, 2)


def _channels_last(x: Any) -> Any:
    return x.permute(0, 2, 3, 1)


def _pooled(x: Any, size: int) -> Any:
    """Maxima of windows; padding is SAME as TensorFlow has it, the larger half at the end, with minus infinity."""
    height, width = (-length % size for length in x.shape[1:3])
    if max(height, width) > 1:
        edges = (width // 2, width - width // 2, height // 2, height - height // 2)
        x = _channels_last(functional.pad(_channels_first(x), edges, value=float("-inf")))
    # With one row or column to pad, or none, `ceil_mode` does it: it lets the last window stand over.
    return _channels_last(functional.max_pool2d(_channels_first(x), size, size, ceil_mode=True))


class Draw(NamedTuple):
    """Which random numbers are wanted: the layer's position, the step since the run began, and where to take them."""

    position: int
    step: Number
    generator: Any


def dropout_factors(x: Any, keep: float, draw: Draw) -> Any:
    """What dropout multiplies each value of `x` by: 0, or 1 / keep with the probability `keep`.

    It takes 16 random bits a value.
    """
    steps = kept_of_65536(keep)
    values = x.numel()
    fours = torch.empty(-(-values // 4), dtype=torch.int64, device=x.device)
    # Without an end, all 64 bits are random.
    fours.random_(-(2**63), None, generator=draw.generator)
    kept = fours.view(torch.int16)[:values].view(x.shape) < steps - 2**15
    return kept.to(x.dtype).mul_(2**16 / steps)
