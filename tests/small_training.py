"""A small training for tests of engines: images, networks and parameters that take no time, in any framework."""

from dataclasses import replace

import numpy as np

from trainbench import engines
from trainbench.engines.shared.interface import Engine, Execution, Images
from trainbench.networks.models import MODELS, ImageShape, ModelSpec
from trainbench.networks.parameters import Parameters

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


def built(
    engine: Engine, spec: ModelSpec, data: Images, initial: Parameters, batch_size: int = BATCH_SIZE, seed: int = 7
) -> Engine:
    engine.place(data)
    engine.build(spec, initial, batch_size, seed)
    return engine
