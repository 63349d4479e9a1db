"""What engines share: how a batch is shared out, and the order of layers that they compute in."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from trainbench.networks.models import Conv2D, Layer, MaxPool2D

EVALUATION_BATCH: Final = 1000
"""Test images a step of the evaluation loop: bounds its memory, 0.1 GiB for conv's first layer."""

STEPS_DONE: Final = "steps_done"
"""The name in an engine's state of how many steps it has done, from which dropout's random numbers follow."""


def sizes(whole: int, parts: int) -> list[int]:
    """`whole` in so many parts that differ by one at most."""
    least, larger = divmod(whole, parts)
    return [least + 1] * larger + [least] * (parts - larger)


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
