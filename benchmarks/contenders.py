"""Trains one cell in one of several ways in this process and prints the seconds of each epoch as JSON.

    .venv/bin/python benchmarks/contenders.py ours logistic 128 DATASET --images 55000 --epochs 8 --threads 2

DATASET is a prepared data set (`one_run.prepared_dataset`). Every way trains the same network on the same batches, with
its images as float32 in memory before the first epoch; an epoch's seconds include no evaluation. `training_loops.py`
starts these processes and compares them.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

import one_run  # noqa: F401 - knows where the package is
from trainbench import engines
from trainbench.datasets import dataset
from trainbench.engines.shared import interface
from trainbench.networks import parameters
from trainbench.networks.models import (
    MODELS,
    Conv2D,
    Dense,
    Dropout,
    ImageShape,
    Lstm,
    MaxPool2D,
    ModelSpec,
    Reshape,
    RmsProp,
    Sgd,
)

SEED: Final = 2017
VALIDATION_SAMPLES: Final = 5000


@dataclass(frozen=True, eq=False)
class Cell:
    """What is trained: a network, whole batches of images, and with how many threads."""

    spec: ModelSpec
    images: interface.Images
    batch_size: int
    epochs: int
    threads: int

    @property
    def initial(self) -> Mapping[str, NDArray[np.float32]]:
        """The parameters to begin with."""
        return parameters.draw(self.spec.parameters, SEED)


@dataclass(frozen=True)
class Outcome:
    """Seconds of each epoch, and the share of test images classified rightly after the last."""

    train_seconds: list[float]
    accuracy: float
    ceilings: interface.Ceilings | None = None


def ours(cell: Cell) -> Outcome:
    """The engine that runs train with, through its public interface."""
    engine = engines.start("tensorflow", interface.Execution("cpu", cell.threads, cell.batch_size))
    engine.place(cell.images)
    engine.build(cell.spec, cell.initial, SEED)
    seconds = []
    for _ in range(cell.epochs):
        begin = time.monotonic()
        engine.train_epoch()
        seconds.append(time.monotonic() - begin)
    return Outcome(seconds, engine.evaluate() / len(cell.images.test_images), engine.ceilings())


def undivided(cell: Cell) -> Outcome:
    """The same with each operation shared among all threads, as for batches that are too small for parts."""
    from trainbench.engines.shared import batches

    batches.SMALLEST_PART = cell.batch_size + 1  # type: ignore[misc]
    return ours(cell)


def loop_of_2017(cell: Cell) -> Outcome:
    """The loop of the 2017 tutorials: Python slices a batch, feeds it, and runs one step, over and over.

    Source of the loop and of its parts (placeholders, one-hot labels, keep_prob, unrolled LSTM): the structure of
    N. Lintz's TensorFlow-Tutorials, `02_logistic_regression.py`, `05_convolutional_net.py`, `07_lstm.py`.
    """
    import tensorflow as tf

    v1 = tf.compat.v1
    v1.disable_eager_execution()
    pixels, one_hot = _floats(cell.images.train_images), np.eye(10, dtype=np.float32)[cell.images.train_labels]
    test_pixels = _floats(cell.images.test_images)
    x, y = v1.placeholder(tf.float32, [None, pixels.shape[1]]), v1.placeholder(tf.float32, [None, one_hot.shape[1]])
    variables = {name: v1.get_variable(name, initializer=value) for name, value in cell.initial.items()}
    kept = {
        position: v1.placeholder(tf.float32, [])
        for position, layer in enumerate(cell.spec.layers)
        if isinstance(layer, Dropout)
    }
    logits = _graph_of_2017(tf, cell.spec, variables, kept, x)
    cost = tf.reduce_mean(v1.nn.softmax_cross_entropy_with_logits_v2(logits=logits, labels=y))
    match cell.spec.optimiser:
        case Sgd(learning_rate):
            optimiser = v1.train.GradientDescentOptimizer(learning_rate)
        case RmsProp(learning_rate, decay):
            optimiser = v1.train.RMSPropOptimizer(learning_rate, decay)
    train_op, predict_op = optimiser.minimize(cost), tf.argmax(logits, 1)
    keep_while_training = {kept[position]: cell.spec.layers[position].keep for position in kept}
    keep_all = dict.fromkeys(kept.values(), 1.0)
    size, seconds = cell.batch_size, []
    with v1.Session(config=v1.ConfigProto(intra_op_parallelism_threads=cell.threads)) as session:
        session.run(v1.global_variables_initializer())
        for _ in range(cell.epochs):
            begin = time.monotonic()
            for start, end in zip(range(0, len(pixels), size), range(size, len(pixels) + 1, size), strict=True):
                session.run(train_op, {x: pixels[start:end], y: one_hot[start:end], **keep_while_training})
            seconds.append(time.monotonic() - begin)
        predicted = session.run(predict_op, {x: test_pixels, **keep_all})
    return Outcome(seconds, float(np.mean(predicted == cell.images.test_labels)))


def _graph_of_2017(tf: Any, spec: ModelSpec, variables: Mapping[str, Any], kept: Mapping[int, Any], x: Any) -> Any:
    """Logits of the network, operation by operation as the tutorials had them."""
    for position, layer in enumerate(spec.layers):
        match layer:
            case Reshape(shape):
                x = tf.reshape(x, [-1, *shape])
            case Dense(weights, bias, relu):
                x = tf.matmul(x, variables[weights])
                x = x if bias is None else x + variables[bias]
                x = tf.nn.relu(x) if relu else x
            case Conv2D(kernel, relu):
                x = tf.nn.conv2d(x, variables[kernel], strides=[1, 1, 1, 1], padding="SAME")
                x = tf.nn.relu(x) if relu else x
            case MaxPool2D(window):
                x = tf.nn.max_pool2d(x, window, window, padding="SAME")
            case Dropout():
                x = tf.compat.v1.nn.dropout(x, keep_prob=kept[position])
            case Lstm():
                x = _lstm_of_2017(tf, layer, variables, x)
    return x


def _lstm_of_2017(tf: Any, layer: Lstm, variables: Mapping[str, Any], x: Any) -> Any:
    """static_rnn over a BasicLSTMCell: TensorFlow has neither any more without an old Keras."""
    rows = tf.split(tf.reshape(tf.transpose(x, [1, 0, 2]), [-1, x.shape[2]]), x.shape[1], 0)
    state = output = tf.zeros([tf.shape(x)[0], layer.units])
    for row in rows:
        gates = tf.nn.bias_add(tf.matmul(tf.concat([row, output], 1), variables[layer.kernel]), variables[layer.bias])
        i, j, f, o = tf.split(gates, 4, 1)
        state = state * tf.sigmoid(f + layer.forget_bias) + tf.sigmoid(i) * tf.tanh(j)
        output = tf.tanh(state) * tf.sigmoid(o)
    return output


def keras_fit(cell: Cell) -> Outcome:
    """Keras' `fit` with its defaults but for shuffling, which 2017 did not do.

    The optimiser's mean square starts at zeros, as Keras has it: the arithmetic is the same, the accuracy is not.
    """
    import keras
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(cell.threads)
    keras.utils.set_random_seed(SEED)
    pixels, labels = _floats(cell.images.train_images), cell.images.train_labels.astype(np.int64)
    model = keras.Sequential([keras.Input((pixels.shape[1],)), *_keras_layers(keras, cell.spec)])
    match cell.spec.optimiser:
        case Sgd(learning_rate):
            optimiser = keras.optimizers.SGD(learning_rate)
        case RmsProp(learning_rate, decay, epsilon):
            optimiser = keras.optimizers.RMSprop(learning_rate, rho=decay, epsilon=epsilon)
    model.compile(optimiser, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    seconds: list[float] = []
    begins: list[float] = []
    clock = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda *_: begins.append(time.monotonic()),
        on_epoch_end=lambda *_: seconds.append(time.monotonic() - begins[-1]),
    )
    model.fit(
        pixels,
        labels,
        batch_size=cell.batch_size,
        epochs=cell.epochs,
        shuffle=False,
        verbose=0,
        callbacks=[clock],
    )
    predicted = model.predict(_floats(cell.images.test_images), verbose=0).argmax(1)
    return Outcome(seconds, float(np.mean(predicted == cell.images.test_labels)))


def _keras_layers(keras: Any, spec: ModelSpec) -> Iterator[Any]:
    shapes = {parameter.name: parameter.shape for parameter in spec.parameters}
    normal = keras.initializers.RandomNormal(stddev=0.01, seed=SEED)
    for layer in spec.layers:
        match layer:
            case Reshape(shape):
                yield keras.layers.Reshape(shape)
            case Dense(weights, bias, relu):
                yield keras.layers.Dense(
                    shapes[weights][1],
                    activation="relu" if relu else None,
                    use_bias=bias is not None,
                    kernel_initializer=normal,
                )
            case Conv2D(kernel, relu):
                height, width, _, filters = shapes[kernel]
                yield keras.layers.Conv2D(
                    filters,
                    (height, width),
                    padding="same",
                    activation="relu" if relu else None,
                    use_bias=False,
                    kernel_initializer=normal,
                )
            case MaxPool2D(window):
                yield keras.layers.MaxPooling2D(window, padding="same")
            case Dropout(keep):
                yield keras.layers.Dropout(1 - keep)
            case Lstm(units=units):
                yield keras.layers.LSTM(units)


CONTENDERS: Final[Mapping[str, Callable[[Cell], Outcome]]] = {
    "ours": ours,
    "undivided": undivided,
    "2017": loop_of_2017,
    "keras": keras_fit,
}


def specification(model: str, data: dataset.Dataset) -> ModelSpec:
    """The network with the settings of 2017, which are those of the default study."""
    _, height, width = data.train_images.shape
    hyperparameters = {name: found.default for name, found in MODELS[model].hyperparameters.items()}
    return MODELS[model].specify(ImageShape(height, width, data.classes), hyperparameters)


def _floats(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """uint8 [samples, height, width] -> float32 [samples, pixels] in 0..1."""
    return images.reshape(len(images), -1).astype(np.float32) / np.float32(255)


def main(arguments: list[str]) -> int:
    """Train as asked for, print a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("contender", choices=CONTENDERS)
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("batch_size", type=int)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--images", type=int, help="train on the first ones of the training images only")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args(arguments)
    data = dataset.load(asked.dataset)
    train_images, train_labels = dataset.training_split(data, VALIDATION_SAMPLES)
    images = min(asked.images or len(train_images), len(train_images)) // asked.batch_size * asked.batch_size
    cell = Cell(
        spec=specification(asked.model, data),
        images=interface.Images(train_images[:images], train_labels[:images], data.test_images, data.test_labels),
        batch_size=asked.batch_size,
        epochs=asked.epochs,
        threads=asked.threads,
    )
    outcome = CONTENDERS[asked.contender](cell)
    facts = {
        **asdict(outcome),
        "images": images,
        "flop_per_example": cell.spec.train_flop_per_example,
        "bytes_per_example": cell.spec.train_bytes_per_example(asked.batch_size),
    }
    print(json.dumps(facts))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
