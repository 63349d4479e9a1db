"""Says how engines go through a network's layers."""

from collections.abc import Iterator
from dataclasses import dataclass

from trainbench.networks.models import Conv2D, Layer, MaxPool2D


@dataclass(frozen=True)
class Relu:
    """ReLU on its own, after the layer that it was a part of."""


def with_pooling_before_relu(layers: tuple[Layer, ...]) -> Iterator[Layer | Relu]:
    """The layers, with each convolution's ReLU moved behind the pooling that follows it.

    The maximum of a window is the same before and after ReLU, and so is the value that the gradient goes to, unless the
    maximum is not positive: then ReLU passes none on. After pooling there is a quarter of the work.
    """
    waiting = False
    for layer, following in zip(layers, (*layers[1:], None), strict=True):
        match layer:
            case Conv2D(kernel, relu=True) if isinstance(following, MaxPool2D):
                yield Conv2D(kernel)
                waiting = True
            case MaxPool2D() if waiting:
                yield layer
                yield Relu()
                waiting = False
            case _:
                yield layer


def kept_of_65536(keep: float) -> int:
    """How many of the 2**16 values of 16 random bits let dropout keep a value with the probability `keep`.

    That is `keep` rounded; dividing by what it is rounded to leaves the expected value as it is. Random float32 would
    take twice the time.
    """
    return min(max(round(keep * 2**16), 1), 2**16 - 1)
