"""Describes the three networks of the 2017 study, without any framework.

A `ModelSpec` holds shapes, initialisers, layers and optimiser, from which its arithmetic follows; an engine turns it
into its framework's code. The networks are those of the TensorFlow tutorials that the study trained (N. Lintz,
"TensorFlow-Tutorials": `02_logistic_regression.py`, `05_convolutional_net.py`, `07_lstm.py`), with every shape taken
from the data set, so that 28 x 28 images of 10 classes give exactly those networks.

To add a model: write one function that returns a `ModelSpec` and register it in `MODELS`.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

BYTES_PER_FLOAT32: Final = 4


@dataclass(frozen=True)
class Normal:
    """Normal distribution around 0."""

    standard_deviation: float


@dataclass(frozen=True)
class GlorotUniform:
    """Uniform in +-sqrt(6 / (fan_in + fan_out)): TensorFlow 1's default, used by its LSTM cell.

    Source: X. Glorot and Y. Bengio, "Understanding the difficulty of training deep feedforward neural networks"
    (AISTATS 2010), equation 16.
    """


@dataclass(frozen=True)
class Zeros:
    """All zeros."""


Initialiser = Normal | GlorotUniform | Zeros


@dataclass(frozen=True)
class Parameter:
    """One trained array."""

    name: str
    shape: tuple[int, ...]
    initialiser: Initialiser


@dataclass(frozen=True)
class Reshape:
    """Give each example another shape; `shape` is that of one example."""

    shape: tuple[int, ...]


@dataclass(frozen=True)
class Dense:
    """`x @ weights (+ bias)`; x is [batch, inputs], weights [inputs, outputs]."""

    weights: str
    bias: str | None = None
    relu: bool = False


@dataclass(frozen=True)
class Conv2D:
    """Convolution with stride 1, padding SAME; x is [batch, height, width, channels], kernel [h, w, in, out]."""

    kernel: str
    relu: bool = False


@dataclass(frozen=True)
class MaxPool2D:
    """Maximum over `size` x `size` windows with stride `size`, padding SAME."""

    size: int


@dataclass(frozen=True)
class Dropout:
    """While training, keep each value with probability `keep` and divide what is kept by `keep`."""

    keep: float


@dataclass(frozen=True)
class Lstm:
    """LSTM over [batch, steps, inputs] that gives its last output, [batch, units].

    TensorFlow 1's BasicLSTMCell: `[x, h] @ kernel + bias` splits into input gate, new input, forget gate and output
    gate, in this order; `c = c * sigmoid(f + forget_bias) + sigmoid(i) * tanh(j)`; `h = tanh(c) * sigmoid(o)`.
    kernel is [inputs + units, 4 * units], bias [4 * units]; c and h start at zeros.
    """

    kernel: str
    bias: str
    units: int
    forget_bias: float


Layer = Reshape | Dense | Conv2D | MaxPool2D | Dropout | Lstm


@dataclass(frozen=True)
class Sgd:
    """Gradient descent: `parameter -= learning_rate * gradient`."""

    learning_rate: float
    values_per_parameter: ClassVar[int] = 0


@dataclass(frozen=True)
class RmsProp:
    """RMSProp as TensorFlow 1 had it.

    `ms = decay * ms + (1 - decay) * gradient ** 2` with ms starting at **ones**, then
    `parameter -= learning_rate * gradient / sqrt(ms + epsilon)`. Keras' RMSprop starts at zeros and learns visibly
    faster in the first epochs, so its accuracies cannot be compared with those of 2017.
    Source: tf.compat.v1.train.RMSPropOptimizer (TensorFlow, `python/training/rmsprop.py`).
    """

    learning_rate: float
    decay: float
    epsilon: float = 1e-10
    initial_mean_square: float = 1.0
    values_per_parameter: ClassVar[int] = 1
    """Numbers that the optimiser keeps for each parameter from step to step: the mean square."""


Optimiser = Sgd | RmsProp


@dataclass(frozen=True)
class ImageShape:
    """What a model takes from the data set: image size in pixels and number of classes."""

    height: int
    width: int
    classes: int


@dataclass(frozen=True)
class ModelSpec:
    """A network for images of one shape, and its optimiser; the loss is the batch's mean softmax cross-entropy."""

    name: str
    images: ImageShape
    parameters: tuple[Parameter, ...]
    layers: tuple[Layer, ...]
    optimiser: Optimiser

    @property
    def parameter_count(self) -> int:
        """Trained numbers."""
        return sum(math.prod(parameter.shape) for parameter in self.parameters)

    @property
    def train_flop_per_example(self) -> int:
        """FLOP of training on one example, products alone; a multiplication and an addition count 2.

        Backward costs once forward for the weights' gradient and once for the inputs'; the first layer's inputs are
        images and need none. Element-wise work (activations, pooling, dropout, the optimiser) is left out.
        Source: D. Amodei and D. Hernandez, "AI and Compute" (OpenAI, 2018), appendix "Methods".
        """
        forward = [flop for flop, _ in self._products()]
        return 3 * sum(forward) - forward[0]

    @property
    def activations_per_example(self) -> int:
        """Values that the layers with parameters put out, kept for the backward pass: a lower bound."""
        return sum(values for _, values in self._products())

    def _products(self) -> Iterator[tuple[int, int]]:
        """Of each product in the order of layers: forward FLOP of one example, and values that it puts out."""
        shapes = {parameter.name: parameter.shape for parameter in self.parameters}
        shape: tuple[int, ...] = (self.images.height, self.images.width)
        for layer in self.layers:
            match layer:
                case Reshape(of_example):
                    shape = of_example
                case Dense(weights):
                    yield 2 * math.prod(shapes[weights]), shapes[weights][1]
                    shape = shapes[weights][1:]
                case Conv2D(kernel):
                    shape = (*shape[:2], shapes[kernel][3])
                    yield 2 * math.prod(shape[:2]) * math.prod(shapes[kernel]), math.prod(shape)
                case MaxPool2D(size):
                    shape = (*(-(-length // size) for length in shape[:2]), shape[2])
                case Lstm(units=units):
                    steps, inputs = shape
                    yield 2 * steps * inputs * 4 * units, steps * 4 * units  # rows into the gates
                    yield 2 * steps * units * 4 * units, 0  # state into the gates
                    shape = (units,)

    def train_bytes_per_example(self, batch_size: int, bytes_per_activation: int = BYTES_PER_FLOAT32) -> float:
        """The least bytes that training on one example moves from and to memory, at a batch size.

        Images and activations have so many bytes a value; parameters, gradients and the optimiser's are float32.
        Each array that a step cannot do without moves once in each direction that it must. For each example: its image
        is read; what the layers put out is written by the forward pass and read by the backward pass. For each step,
        shared out among its examples: parameters and the optimiser's numbers are read and written, gradients are
        written and read. Left out is whatever cleverer code could avoid: what is read a second time, activation
        functions, pooling, dropout and all gradients but the parameters'. So a framework that carries out operation
        after operation moves several times as much. A device whose caches hold a whole step can move less.
        Source of the notion, arithmetic intensity: S. Williams, A. Waterman and D. Patterson, "Roofline: an insightful
        visual performance model for multicore architectures" (Communications of the ACM 52(4), 2009).
        """
        of_example = self.images.height * self.images.width + 2 * self.activations_per_example
        kept = self.parameter_count * (1 + self.optimiser.values_per_parameter)
        of_step = 2 * kept + 2 * self.parameter_count
        return bytes_per_activation * of_example + BYTES_PER_FLOAT32 * of_step / batch_size


@dataclass(frozen=True)
class Hyperparameter:
    """A number that `model_settings` may set, its value in 2017 and its half-open range; shares go up to 1."""

    default: float
    at_most: float = 1.0
    above: float = 0.0


STANDARD_DEVIATION: Final = 0.01


def logistic(shape: ImageShape, hyperparameters: Mapping[str, float]) -> ModelSpec:
    """Logistic regression without bias, gradient descent."""
    pixels = shape.height * shape.width
    return ModelSpec(
        name="logistic",
        images=shape,
        parameters=(Parameter("weights", (pixels, shape.classes), Normal(STANDARD_DEVIATION)),),
        layers=(Reshape((pixels,)), Dense("weights")),
        optimiser=Sgd(hyperparameters["learning_rate"]),
    )


def conv(shape: ImageShape, hyperparameters: Mapping[str, float]) -> ModelSpec:
    """Three convolutions with pooling and dropout, one hidden layer, no biases, RMSProp."""
    kernel_size, hidden = 3, 625
    parameters: list[Parameter] = []
    layers: list[Layer] = [Reshape((shape.height, shape.width, 1))]
    channels = 1
    for number, filters in enumerate((32, 64, 128), start=1):
        name = f"kernel_{number}"
        parameters.append(Parameter(name, (kernel_size, kernel_size, channels, filters), Normal(STANDARD_DEVIATION)))
        layers += [Conv2D(name, relu=True), MaxPool2D(2), Dropout(hyperparameters["keep_conv"])]
        channels = filters
    # Halves, three times rounded up, are an eighth rounded up.
    flat = math.ceil(shape.height / 8) * math.ceil(shape.width / 8) * channels
    parameters += [
        Parameter("hidden_weights", (flat, hidden), Normal(STANDARD_DEVIATION)),
        Parameter("output_weights", (hidden, shape.classes), Normal(STANDARD_DEVIATION)),
    ]
    layers += [
        Reshape((flat,)),
        Dense("hidden_weights", relu=True),
        Dropout(hyperparameters["keep_hidden"]),
        Dense("output_weights"),
    ]
    return ModelSpec(
        name="conv",
        images=shape,
        parameters=tuple(parameters),
        layers=tuple(layers),
        optimiser=RmsProp(hyperparameters["learning_rate"], hyperparameters["decay"]),
    )


def lstm(shape: ImageShape, hyperparameters: Mapping[str, float]) -> ModelSpec:
    """One LSTM that reads an image row by row and has as many units as a 28-pixel row has pixels, RMSProp."""
    units = 28
    gates = 4 * units
    return ModelSpec(
        name="lstm",
        images=shape,
        parameters=(
            Parameter("lstm_kernel", (shape.width + units, gates), GlorotUniform()),
            Parameter("lstm_bias", (gates,), Zeros()),
            Parameter("output_weights", (units, shape.classes), Normal(STANDARD_DEVIATION)),
            Parameter("output_bias", (shape.classes,), Normal(STANDARD_DEVIATION)),
        ),
        layers=(
            Reshape((shape.height, shape.width)),
            Lstm("lstm_kernel", "lstm_bias", units, forget_bias=1.0),
            Dense("output_weights", "output_bias"),
        ),
        optimiser=RmsProp(hyperparameters["learning_rate"], hyperparameters["decay"]),
    )


@dataclass(frozen=True)
class Model:
    """A registered model: how to build its specification and what `model_settings` may set."""

    specify: Callable[[ImageShape, Mapping[str, float]], ModelSpec]
    hyperparameters: Mapping[str, Hyperparameter]


_RMSPROP: Final = {"learning_rate": Hyperparameter(0.001, at_most=100.0), "decay": Hyperparameter(0.9)}

MODELS: Final[Mapping[str, Model]] = {
    "logistic": Model(logistic, {"learning_rate": Hyperparameter(0.05, at_most=100.0)}),
    "conv": Model(conv, {**_RMSPROP, "keep_conv": Hyperparameter(0.8), "keep_hidden": Hyperparameter(0.5)}),
    "lstm": Model(lstm, _RMSPROP),
}
