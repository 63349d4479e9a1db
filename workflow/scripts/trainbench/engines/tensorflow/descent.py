"""The optimisers' steps as TensorFlow's operations."""

from collections.abc import Mapping
from dataclasses import replace

import tensorflow as tf

from trainbench.engines.shared.loss_scale import LossScale
from trainbench.networks.models import Optimiser, RmsProp, Sgd

Variables = Mapping[str, tf.Variable]


def slots_of(optimiser: Optimiser, variables: Variables) -> dict[str, tf.Variable]:
    """The optimiser's state: for RMSProp a mean square and a (here unused) momentum for each variable."""
    if not isinstance(optimiser, RmsProp):
        return {}
    initial = {"mean_square": optimiser.initial_mean_square, "momentum": 0.0}
    return {
        f"{name}/{kind}": tf.Variable(tf.fill(variable.shape, value))
        for name, variable in variables.items()
        for kind, value in initial.items()
    }


def descend(optimiser: Optimiser, variables: Variables, slots: Variables, gradients: list[tf.Tensor]) -> None:
    """One step of the optimiser, by the very operations that TensorFlow 1's optimisers called."""
    for (name, variable), gradient in zip(variables.items(), gradients, strict=True):
        match optimiser:
            case Sgd(learning_rate):
                tf.raw_ops.ResourceApplyGradientDescent(var=variable.handle, alpha=learning_rate, delta=gradient)
            case RmsProp(learning_rate, decay, epsilon):
                tf.raw_ops.ResourceApplyRMSProp(
                    var=variable.handle,
                    ms=slots[f"{name}/mean_square"].handle,
                    mom=slots[f"{name}/momentum"].handle,
                    lr=learning_rate,
                    rho=decay,
                    momentum=0.0,
                    epsilon=epsilon,
                    grad=gradient,
                )


def descend_scaled(
    optimiser: Optimiser, variables: Variables, slots: Variables, loss_scale: LossScale, gradients: list[tf.Tensor]
) -> None:
    """One step of the optimiser if all of the scaled gradients are finite; then the scale's change.

    A condition would make the host wait for the GPU in every step. So the step is always taken: where a gradient is
    not finite, with gradients of zero and a mean square that is kept whole, which changes nothing.
    """
    before = LossScale(*(variable.read_value() for variable in loss_scale))
    are_finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(gradient)) for gradient in gradients])
    if isinstance(optimiser, RmsProp):
        optimiser = replace(optimiser, decay=tf.where(are_finite, optimiser.decay, 1.0))
    unscaled = [tf.where(are_finite, gradient / before.scale, 0.0) for gradient in gradients]
    descend(optimiser, variables, slots, unscaled)
    for variable, value in zip(loss_scale, before.after(are_finite, tf.where), strict=True):
        # Each device its own copy: `assign` would want to be told how to make one value of these, which are equal.
        tf.raw_ops.AssignVariableOp(resource=variable.handle, value=value)
