"""The state that training in JAX goes on from, and how a step of the optimiser changes it."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from numpy.typing import NDArray

from trainbench.engines.jax.layers import Arrays
from trainbench.engines.shared import loss_scale
from trainbench.engines.shared.engine import LOSS_SCALE, PARAMETER, SLOT, named
from trainbench.networks.models import ModelSpec, Optimiser, RmsProp, Sgd
from trainbench.networks.parameters import Parameters


def initial_state(optimiser: Optimiser, parameters: Parameters, *, is_scaled: bool) -> dict[str, NDArray[Any]]:
    """All that a step changes, by names of its own: parameters, RMSProp's mean squares, the loss scale's numbers."""
    slots = {}
    if isinstance(optimiser, RmsProp):
        initial = optimiser.initial_mean_square
        slots = {name: np.full(value.shape, initial, np.float32) for name, value in parameters.items()}
    return named(parameters, slots, loss_scale.first(np.int32) if is_scaled else None)


def parameters_of(state: Arrays) -> Arrays:
    """The parameters in a state, by their own names."""
    return {name.removeprefix(PARAMETER): value for name, value in state.items() if name.startswith(PARAMETER)}


def descended(spec: ModelSpec, state: Arrays, gradients: Arrays) -> Arrays:
    """The state after a step of the optimiser.

    Where the loss is scaled, gradients are scaled back; if one is not finite, nothing but the scale changes. Both
    outcomes are computed and one is chosen: a branch would have a GPU wait for the host.
    """
    if LOSS_SCALE + "scale" not in state:
        return state | _moved(spec, state, gradients)
    scale = loss_scale.LossScale(*(state[LOSS_SCALE + name] for name in loss_scale.LossScale._fields))
    gradients = {name: gradient / scale.scale for name, gradient in gradients.items()}
    are_finite = jnp.stack([jnp.isfinite(gradient).all() for gradient in gradients.values()]).all()
    moved = _moved(spec, state, gradients)
    kept = {name: jnp.where(are_finite, value, state[name]) for name, value in moved.items()}
    return state | kept | named({}, {}, scale.after(are_finite, jnp.where))


def _moved(spec: ModelSpec, state: Arrays, gradients: Arrays) -> Arrays:
    """Parameters and slots after a step of the optimiser."""
    moved: Arrays = {}
    for name, gradient in gradients.items():
        parameter = state[PARAMETER + name]
        match spec.optimiser:
            case Sgd(learning_rate):
                moved[PARAMETER + name] = parameter - learning_rate * gradient
            case RmsProp(learning_rate, decay, epsilon):
                mean_square = decay * state[SLOT + name] + (1 - decay) * gradient * gradient
                moved[SLOT + name] = mean_square
                moved[PARAMETER + name] = parameter - learning_rate * gradient * lax.rsqrt(mean_square + epsilon)
    return moved
