"""A network's layers as TensorFlow's operations."""

from collections.abc import Mapping

import tensorflow as tf

from trainbench.engines.shared.layers import Relu, kept_of_65536, with_pooling_before_relu
from trainbench.networks.models import Conv2D, Dense, Dropout, Layer, Lstm, MaxPool2D, Reshape


def forward(
    layers: tuple[Layer, ...],
    variables: Mapping[str, tf.Variable],
    x: tf.Tensor,
    dropout: tuple[int, tf.Tensor] | None,
    *,
    turned: frozenset[str],
    in_parts: bool,
) -> tf.Tensor:
    """Logits [batch, classes] of pixels [batch, pixels], all computed in the type of the pixels.

    `dropout` is (seed, step), None when not training; `turned` names the weights that are [outputs, inputs].
    """
    batch = x.shape[0]
    typed = {name: tf.cast(variable, x.dtype) for name, variable in variables.items()}
    for position, layer in enumerate(with_pooling_before_relu(layers)):
        match layer:
            case Reshape(shape):
                x = tf.reshape(x, (batch, *shape))
            case Dense(weights, bias, relu):
                x = tf.matmul(x, typed[weights], transpose_b=weights in turned)
                if bias is not None:
                    x = x + typed[bias]
                x = tf.nn.relu(x) if relu else x
            case Conv2D(kernel, relu):
                x = tf.nn.conv2d(x, typed[kernel], strides=1, padding="SAME")
                x = tf.nn.relu(x) if relu else x
            case MaxPool2D(size):
                x = tf.nn.max_pool2d(x, size, size, padding="SAME")
            case Relu():
                x = tf.nn.relu(x)
            case Dropout(keep) if dropout is not None and keep < 1.0:
                seed, step = dropout
                x = x * dropout_factors(x, keep, seed + position, step)
            case Dropout():
                pass
            case Lstm():
                # The operation for the whole layer has no form for bfloat16.
                in_one = in_parts and x.dtype != tf.bfloat16
                x = _lstm_in_one(layer, typed, x) if in_one else _lstm(layer, typed, x)
    return x


def dropout_factors(x: tf.Tensor, keep: float, seed: int, step: tf.Tensor) -> tf.Tensor:
    """What dropout multiplies each value of `x` by: 0, or 1 / keep with the probability `keep`.

    `seed` is that of the layer. It takes 16 random bits a value.
    """
    steps = kept_of_65536(keep)
    values = x.shape.num_elements()
    state = tf.stack([tf.constant(seed % 2**31), step])
    pairs = tf.random.stateless_uniform((-(-values // 2),), state, None, None, tf.uint32)
    bits = tf.reshape(tf.bitcast(pairs, tf.uint16), [-1])[:values]
    kept = tf.reshape(bits, x.shape) < tf.constant(steps, tf.uint16)
    return tf.cast(kept, x.dtype) * (2**16 / steps)


def _lstm_in_one(layer: Lstm, parameters: Mapping[str, tf.Tensor], x: tf.Tensor) -> tf.Tensor:
    """What `_lstm` gives, by TensorFlow's one operation for the whole layer.

    It is as fast for a thread of its own and traced in a tenth of the time, but does not take well to several threads.
    Gates are in its order, and nothing is clipped or looked at besides.
    """
    steps, batch, units = x.shape[1], x.shape[0], layer.units
    begin, no_peephole = tf.zeros((batch, units), x.dtype), tf.zeros((units,), x.dtype)
    outputs = tf.raw_ops.BlockLSTM(
        seq_len_max=tf.constant(steps, tf.int64),
        x=tf.transpose(x, (1, 0, 2)),
        cs_prev=begin,
        h_prev=begin,
        w=parameters[layer.kernel],
        wci=no_peephole,
        wcf=no_peephole,
        wco=no_peephole,
        b=parameters[layer.bias],
        forget_bias=layer.forget_bias,
        cell_clip=-1.0,
        use_peephole=False,
    )
    return outputs.h[-1]


def _lstm(layer: Lstm, parameters: Mapping[str, tf.Tensor], x: tf.Tensor) -> tf.Tensor:
    """Last output [batch, units] of the layer over x [batch, steps, inputs], unrolled as TensorFlow 1's static_rnn."""
    kernel, bias = parameters[layer.kernel], parameters[layer.bias]
    state = output = tf.zeros((x.shape[0], layer.units), x.dtype)
    for row in tf.unstack(x, axis=1):
        gates = tf.matmul(tf.concat([row, output], axis=1), kernel) + bias
        input_gate, new_input, forget_gate, output_gate = tf.split(gates, 4, axis=1)
        state = state * tf.sigmoid(forget_gate + layer.forget_bias) + tf.sigmoid(input_gate) * tf.tanh(new_input)
        output = tf.tanh(state) * tf.sigmoid(output_gate)
    return output
