"""Draws a model's initial parameters, the same for every framework."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trainbench.networks.models import GlorotUniform, Normal, Parameter, Zeros

Parameters = dict[str, NDArray[np.float32]]


def draw(parameters: Sequence[Parameter], seed: int) -> Parameters:
    """Draw each parameter's initial float32 array from its initialiser, in the order given, from one generator."""
    generator = np.random.default_rng(seed)
    return {parameter.name: _draw_one(parameter, generator) for parameter in parameters}


def _draw_one(parameter: Parameter, generator: np.random.Generator) -> NDArray[np.float32]:
    match parameter.initialiser:
        case Normal(standard_deviation):
            values = generator.normal(0.0, standard_deviation, parameter.shape)
        case GlorotUniform():
            fan_in, fan_out = parameter.shape
            limit = math.sqrt(6.0 / (fan_in + fan_out))
            values = generator.uniform(-limit, limit, parameter.shape)
        case Zeros():
            values = np.zeros(parameter.shape)
    return values.astype(np.float32)
