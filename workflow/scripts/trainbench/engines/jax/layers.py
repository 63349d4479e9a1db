"""A network's layers in JAX."""

import functools
import math

import jax
import jax.numpy as jnp
from jax import lax

from trainbench.engines.shared.layers import Relu, kept_of_65536, with_pooling_before_relu
from trainbench.networks.models import Conv2D, Dense, Dropout, Layer, Lstm, MaxPool2D, Reshape

Arrays = dict[str, jax.Array]


def forward(
    layers: tuple[Layer, ...], parameters: Arrays, x: jax.Array, dropout: tuple[int, jax.Array] | None
) -> jax.Array:
    """Logits [batch, classes] of pixels [batch, pixels], all computed in the type of the pixels.

    `dropout` is (seed, step), None when not training.
    """
    batch = x.shape[0]
    typed = {name: value.astype(x.dtype) for name, value in parameters.items()}
    for position, layer in enumerate(with_pooling_before_relu(layers)):
        match layer:
            case Reshape(shape):
                x = x.reshape(batch, *shape)
            case Dense(weights, bias, relu):
                x = jnp.matmul(x, typed[weights])
                if bias is not None:
                    x = x + typed[bias]
                x = jax.nn.relu(x) if relu else x
            case Conv2D(kernel, relu):
                orders = ("NHWC", "HWIO", "NHWC")
                x = lax.conv_general_dilated(x, typed[kernel], (1, 1), "SAME", dimension_numbers=orders)
                x = jax.nn.relu(x) if relu else x
            case MaxPool2D(size):
                x = max_pool(_padded(x, size), size)
            case Relu():
                x = jax.nn.relu(x)
            case Dropout(keep) if dropout is not None and keep < 1.0:
                seed, step = dropout
                x = x * dropout_factors(x, keep, seed + position, step)
            case Dropout():
                pass
            case Lstm():
                x = _lstm(layer, typed, x)
    return x


def dropout_factors(x: jax.Array, keep: float, seed: int, step: jax.Array) -> jax.Array:
    """What dropout multiplies each value of `x` by: 0, or 1 / keep with the probability `keep`.

    `seed` is that of the layer. It takes 16 random bits a value, two values from each number: JAX draws 32 bits in the
    time of 16. They are drawn as [batch, values / 2], which XLA compiles in a third of the time of x's own shape.
    """
    steps = kept_of_65536(keep)
    batch, values = x.shape[0], math.prod(x.shape[1:])
    # Threefry's key is two numbers: `fold_in` would compute another from these, step by step.
    numbers = jnp.stack([jnp.uint32(seed % 2**32), jnp.asarray(step).astype(jnp.uint32)])
    key = jax.random.wrap_key_data(numbers, impl="threefry2x32")
    pairs = jax.random.bits(key, (batch, -(-values // 2)), jnp.uint32)
    bits = lax.bitcast_convert_type(pairs, jnp.uint16).reshape(batch, -1)[:, :values]
    return jnp.where(bits.reshape(x.shape) < steps, 2**16 / steps, 0).astype(x.dtype)


def _padded(x: jax.Array, size: int) -> jax.Array:
    """Images [batch, height, width, channels] with sides that windows of `size` divide, as padding SAME does it."""
    pads = [-length % size for length in x.shape[1:3]]
    if not any(pads):
        return x
    (top, left), (bottom, right) = ([pad // 2 for pad in pads], [pad - pad // 2 for pad in pads])
    return lax.pad(x, jnp.array(-jnp.inf, x.dtype), ((0, 0, 0), (top, bottom, 0), (left, right, 0), (0, 0, 0)))


def _largest_and_where(x: jax.Array, size: int) -> tuple[jax.Array, jax.Array]:
    """Each window's maximum [batch, rows, columns, channels], and the first such value's place in it, row by row."""
    batch, height, width, channels = x.shape
    windows = x.reshape(batch, height // size, size, width // size, size, channels)
    values = [windows[:, :, row, :, column] for row in range(size) for column in range(size)]
    largest = functools.reduce(jnp.maximum, values)
    where = jnp.full(largest.shape, len(values) - 1, jnp.int32)
    for place in reversed(range(len(values) - 1)):
        where = jnp.where(values[place] == largest, place, where)
    return largest, where.astype(jnp.uint8 if len(values) <= 2**8 else jnp.int32)


def _spread(size: int, where: jax.Array, gradient: jax.Array) -> tuple[jax.Array]:
    """The gradient of each window's maximum, at its place."""
    batch, rows, columns, channels = gradient.shape
    places = jnp.arange(size * size, dtype=where.dtype).reshape(1, 1, size, 1, size, 1)
    chosen = where[:, :, None, :, None] == places
    spread = jnp.where(chosen, gradient[:, :, None, :, None], 0)
    return (spread.reshape(batch, rows * size, columns * size, channels),)


max_pool = jax.custom_vjp(lambda x, size: _largest_and_where(x, size)[0], nondiff_argnums=(1,))
max_pool.defvjp(_largest_and_where, _spread)
"""Maximum over windows that divide the images, whose gradient goes to the first of a window's largest values.

JAX's own ways are `reduce_window`, whose gradient takes as long as all else of a step on a CPU, and `max`, whose
gradient is shared out among equal values.
"""


def _lstm(layer: Lstm, parameters: Arrays, x: jax.Array) -> jax.Array:
    """Last output [batch, units] of the layer over x [batch, steps, inputs], as a compiled loop over the steps."""
    kernel, bias = parameters[layer.kernel], parameters[layer.bias]

    def step(carry: tuple[jax.Array, jax.Array], row: jax.Array) -> tuple[tuple[jax.Array, jax.Array], None]:
        state, output = carry
        gates = jnp.matmul(jnp.concatenate([row, output], axis=1), kernel) + bias
        input_gate, new_input, forget_gate, output_gate = jnp.split(gates, 4, axis=1)
        kept = state * jax.nn.sigmoid(forget_gate + layer.forget_bias)
        state = kept + jax.nn.sigmoid(input_gate) * jnp.tanh(new_input)
        return (state, jnp.tanh(state) * jax.nn.sigmoid(output_gate)), None

    begin = jnp.zeros((x.shape[0], layer.units), x.dtype)
    (_, output), _ = lax.scan(step, (begin, begin), x.swapaxes(0, 1))
    return output
