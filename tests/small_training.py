"""A small training for tests of engines: images, networks and parameters that take no time, in any framework."""

import functools
from dataclasses import replace

import numpy as np

from trainbench import engines
from trainbench.engines.shared.engine import PARAMETER, Engine
from trainbench.engines.shared.interface import Execution, Images, State
from trainbench.networks.models import MODELS, ImageShape, ModelSpec
from trainbench.networks.parameters import Parameters, draw

SHAPE = ImageShape(height=6, width=7, classes=3)
BATCH_SIZE = 4
BATCHES = 3
ONE_THREAD = Execution("cpu", threads=1, batch_size=BATCH_SIZE)
NO_DROPOUT = {"keep_conv": 1.0, "keep_hidden": 1.0}


def images(seed: int = 0, train: int = BATCH_SIZE * BATCHES + 1, test: int = 1003) -> Images:
    generator = np.random.default_rng(seed)
    pixels = generator.integers(0, 256, (train + test, SHAPE.height, SHAPE.width), dtype=np.uint8)
    labels = generator.integers(0, SHAPE.classes, train + test).astype(np.uint8)
    return Images(pixels[:train], labels[:train], pixels[train:], labels[train:])


def specification(model: str, **changes: float) -> ModelSpec:
    chosen = {name: hyperparameter.default for name, hyperparameter in MODELS[model].hyperparameters.items()}
    known = {name: value for name, value in {**NO_DROPOUT, **changes}.items() if name in chosen}
    return MODELS[model].specify(SHAPE, {**chosen, **known})


def larger(initial: Parameters, seed: int = 1, factor: float = 20.0) -> Parameters:
    """Parameters far enough from zero for gradients to be well above float32's rounding."""
    generator = np.random.default_rng(seed)
    return {
        name: (generator.normal(0, 0.01, value.shape) * factor).astype(np.float32) for name, value in initial.items()
    }


def start(framework: str, precision: str = "float32") -> Engine:
    """An engine on one thread of the CPU."""
    return engines.start(framework, replace(ONE_THREAD, precision=precision))


def built(engine: Engine, spec: ModelSpec, data: Images, initial: Parameters, seed: int = 7) -> Engine:
    engine.place(data)
    engine.build(spec, initial, seed)
    return engine


def parameters_of(engine: Engine) -> Parameters:
    """The parameters in an engine's state, by their own names."""
    state = engine.state()
    return {name.removeprefix(PARAMETER): value for name, value in state.items() if name.startswith(PARAMETER)}


def initial(spec: ModelSpec) -> Parameters:
    """What `ready` engines begin with."""
    return larger(draw(spec.parameters, 3))


@functools.cache
def _ready(framework: str, spec: ModelSpec, precision: str, train: int, test: int) -> tuple[Engine, State]:
    engine = built(start(framework, precision), spec, images(train=train, test=test), initial(spec))
    return engine, engine.state()


def ready(
    framework: str,
    spec: ModelSpec,
    precision: str = "float32",
    train: int = BATCH_SIZE * BATCHES + 1,
    test: int = 1003,
) -> Engine:
    """An engine as it was when it had been built: the same for all tests that want one alike, for building is slow."""
    engine, state = _ready(framework, spec, precision, train, test)
    engine.restore(state)
    return engine


IN_PARTS = ("tensorflow", "torch")
"""The frameworks whose engines can take a batch in parts."""


def in_parts(framework: str, parts: int, precision: str = "float32") -> Engine:
    """An engine that takes each batch in so many parts, on one thread: threads are set once for a process."""
    start(framework, precision)
    execution = replace(ONE_THREAD, precision=precision)
    if framework == "torch":
        from trainbench.engines.torch.engine import TorchEngine

        return TorchEngine(execution, parts)
    from trainbench.engines.tensorflow.engine import TensorFlowEngine

    return TensorFlowEngine(execution, ["/device:CPU:0"], parts)
