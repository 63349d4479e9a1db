"""The optimiser's step in PyTorch, for all trained numbers at once."""

from typing import Any

import numpy as np
import torch

from trainbench.engines.shared import loss_scale
from trainbench.networks.models import Optimiser, RmsProp, Sgd


def mean_squares_of(optimiser: Optimiser, values: Any) -> Any:
    """The optimiser's state, one number for each value, or none."""
    if isinstance(optimiser, RmsProp):
        return torch.full_like(values, optimiser.initial_mean_square)
    return values.new_empty(0)


class Descent:
    """The optimiser's step for some of the trained numbers, all at once."""

    def __init__(self, optimiser: Optimiser, values: Any, mean_squares: Any) -> None:
        self._optimiser = optimiser
        self._values = values
        self._mean_squares = mean_squares
        self._roots = torch.empty_like(mean_squares)

    def step(self, gradient: Any, is_taken: Any = None) -> None:
        """Take a step, unless the tensor `is_taken` is false; then the gradient must be all zeros."""
        match self._optimiser:
            case Sgd(learning_rate):
                self._values.add_(gradient, alpha=-learning_rate)
            case RmsProp(learning_rate, decay, epsilon):
                self._mean_squares.mul_(decay if is_taken is None else 1 - (1 - decay) * is_taken)
                self._mean_squares.addcmul_(gradient, gradient, value=1 - decay)
                torch.add(self._mean_squares, epsilon, out=self._roots).sqrt_()
                self._values.addcdiv_(gradient, self._roots, value=-learning_rate)


class LossScaling:
    """The loss scale, kept on the device so that no step waits for it."""

    def __init__(self, device: Any) -> None:
        first = loss_scale.first(np.int64)
        self.now = loss_scale.LossScale(*(torch.tensor(number, device=device) for number in first))
        self._factors = tuple(torch.tensor(factor, device=device) for factor in loss_scale.FACTORS)

    def descend(self, descent: Descent, scaled: Any) -> None:
        """One step of the optimiser if the whole gradient is finite; then the scale's change."""
        gradient = scaled / self.now.scale
        is_finite = torch.isfinite(gradient).all()
        descent.step(gradient.masked_fill_(is_finite.logical_not(), 0.0), is_finite)
        for number, value in zip(self.now, self.now.after(is_finite, torch.where, self._factors), strict=True):
            number.copy_(value)
