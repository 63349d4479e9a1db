"""Trains on one and on several devices that a framework pretends, and prints as JSON what that comes to.

A process of its own for each framework: what devices there are is settled once.
"""

import json
import sys
from dataclasses import replace

import numpy as np

import reference_network
from small_training import BATCH_SIZE, ONE_THREAD, built, images, initial, parameters_of, specification
from trainbench import engines
from trainbench.engines.shared.interface import Images
from trainbench.networks import parameters
from trainbench.networks.models import MODELS

COUNTS = {"tensorflow": (1, 2), "jax": (1, 2, 4), "torch": (1, 2)}
"""Numbers of devices, none of them taken twice by one framework."""

DROPOUT = {"keep_conv": 0.8, "keep_hidden": 0.5}
"""With JAX: it drops out the same values wherever a batch lies."""


def pretend(framework, count):
    """Have the CPU be so many devices."""
    if framework == "jax":
        import jax

        jax.config.update("jax_num_cpu_devices", count)
    else:
        import tensorflow as tf

        (cpu,) = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)


def engines_on(framework, precision):
    """An engine for each number of devices."""
    counts = COUNTS[framework]
    executions = {count: replace(ONE_THREAD, precision=precision, replicas=count) for count in counts}
    if framework == "torch":
        return {count: engines.start(framework, execution) for count, execution in executions.items()}
    pretend(framework, counts[-1])
    # JAX's devices wait for one another in threads; with one thread each, XLA's CPU client can stop for good.
    threads = 4 * counts[-1] if framework == "jax" else 1
    most = engines.start(framework, replace(executions[counts[-1]], threads=threads))
    devices = most._devices if framework == "jax" else most._devices.names
    return {count: type(most)(execution, devices[:count]) for count, execution in executions.items()}


def trained(engine, spec, data, precision):
    """What two epochs come to, and a third one, by the engine itself and by one that goes on from its state."""
    built(engine, spec, data, initial(spec))
    if precision == "float16":
        # With the first scale the first steps, whose gradients are large here, would be left out.
        engine.restore({**engine.state(), "loss_scaling/scale": np.array(2.0**8, np.float32)})
    losses, kept = [engine.train_epoch(), engine.train_epoch()], engine.state()
    now = parameters_of(engine)
    found = {
        "losses": losses,
        "parameters": {name: value.tolist() for name, value in now.items()},
        "right": engine.evaluate(),
        "rightly": int(
            (reference_network.logits(spec, now, data.test_images / 255).argmax(1) == data.test_labels).sum()
        ),
        "proof": engine.prove_device(),
        "product_types": sorted(engine.product_types()),
        "scaling": engine.loss_scaling(),
        "next_loss": engine.train_epoch(),
    }
    built(engine, spec, data, parameters.draw(spec.parameters, 4))
    engine.restore(kept)
    return {**found, "resumed": engine.train_epoch()}


def of_one_half_twice(engine):
    """The loss of each device of TensorFlow's whose images are the same."""
    half, spec = images(train=BATCH_SIZE // 2), specification("conv", keep_conv=0.5, keep_hidden=0.5)
    pixels, labels = (np.concatenate([of_half] * 2) for of_half in (half.train_images, half.train_labels))
    built(engine, spec, Images(pixels, labels, half.test_images, half.test_labels), initial(spec))
    return {
        "losses": [float(loss) for loss in engine._first_loss],
        "images_on": [copy.backing_device[-13:] for copy in engine._devices.copies(engine._train[0])],
    }


def main(framework):
    found = {}
    for precision, models in (("float32", MODELS), ("float16", ["conv"] if framework != "jax" else [])):
        on = engines_on(framework, precision) if models else {}
        for model in models:
            spec = specification(model, **(DROPOUT if framework == "jax" else {}))
            for count, engine in on.items():
                data = images()
                if count > 2:
                    # Fewer than make up whole shares.
                    data = replace(data, test_images=data.test_images[:5], test_labels=data.test_labels[:5])
                found[f"{model} {precision} {count}"] = trained(engine, spec, data, precision)
        if framework == "tensorflow" and precision == "float32":
            found["one half twice"] = of_one_half_twice(on[2])
    print(json.dumps(found))  # noqa: T201 - its output is what it found


if __name__ == "__main__":
    main(sys.argv[1])
