"""Trains logistic regression with numpy alone: the smallest engine, to show what one has to do.

tests/workflow/test_new_engine.py puts it into a checkout as `engines/toy.py`; docs/how-to/new-engine.md explains it.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainbench.engines.shared import ceilings
from trainbench.engines.shared.common import STEPS_DONE
from trainbench.engines.shared.interface import (
    Ceilings,
    DeviceProof,
    Execution,
    Images,
    LossScaling,
    Refused,
    State,
    Threads,
    WrongDevice,
    WrongPrecision,
)
from trainbench.networks.models import Dense, ModelSpec, Reshape, Sgd
from trainbench.networks.parameters import Parameters


def start(execution: Execution) -> "ToyEngine":
    """Take the one device that numpy has.

    Raises:
        WrongDevice: a GPU or several devices are asked for.
        WrongPrecision: another precision than float32 is asked for.
    """
    if execution.kind != "cpu" or execution.replicas > 1:
        raise WrongDevice("toy computes on one CPU; choose a device of kind cpu")
    if execution.precision != "float32":
        raise WrongPrecision(f"toy computes in float32 alone, {execution.precision} was asked for; choose float32")
    return ToyEngine(execution.threads)


class ToyEngine:
    """Logistic regression by gradient descent. The calls come in the order of `Engine`."""

    def __init__(self, threads: int) -> None:
        """The launcher has told numpy's BLAS by OMP_NUM_THREADS to use so many threads."""
        self._threads = threads
        self._images: Images
        self._train: NDArray[np.float32]
        self._test: NDArray[np.float32]
        self._name = ""
        self._weights: NDArray[np.float32]
        self._batch_size = 0
        self._learning_rate = 0.0
        self._steps_done = 0

    def threads(self) -> Threads:
        """BLAS shares each product among its threads."""
        return Threads(intra_op=self._threads, inter_op=1)

    def versions(self) -> Mapping[str, str | None]:
        """The framework's own version, and numpy's."""
        return {"toy": "1.0", "numpy": np.__version__}

    def flags(self) -> Mapping[str, bool | None]:
        """A CPU has no TF32; whether BLAS adds up in the same order every time is not known."""
        return {"tf32": False, "deterministic": None}

    def place(self, images: Images) -> None:
        """Pixels / 255 as float32 [samples, pixels]."""
        self._images = images
        self._train, self._test = (
            pixels.reshape(len(pixels), -1).astype(np.float32) / np.float32(255)
            for pixels in (images.train_images, images.test_images)
        )

    def build(self, spec: ModelSpec, parameters: Parameters, batch_size: int, seed: int) -> None:  # noqa: ARG002
        """Take the weights, run a step and undo it; nothing is drawn, so the seed decides nothing.

        Raises:
            Refused: the model is another than logistic regression.
        """
        match spec.layers, spec.optimiser:
            case (Reshape(), Dense(weights, bias=None, relu=False)), Sgd(learning_rate):
                self._name, self._learning_rate = weights, learning_rate
            case _:
                raise Refused(f"toy trains logistic regression alone, {spec.name} was asked for; choose logistic")
        self._batch_size = batch_size
        self._weights = parameters[weights].copy()
        self._step(0)
        self._weights = parameters[weights].copy()

    def prove_device(self) -> DeviceProof:
        """Arrays of numpy lie in the memory of the host and nowhere else."""
        return DeviceProof("cpu", parameters_on=("cpu",), computation_on=("cpu",))

    def product_types(self) -> frozenset[str]:
        """Of both operands of the step's product."""
        return frozenset({self._train.dtype.name, self._weights.dtype.name})

    def multiply(self, left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[Any]:
        """As the step multiplies."""
        product: NDArray[Any] = left @ right
        return product

    def loss_scaling(self) -> LossScaling | None:
        """float32 needs none."""
        return None

    def train_epoch(self) -> float:
        """Every full batch in file order."""
        batches = len(self._train) // self._batch_size
        losses = [self._step(batch) for batch in range(batches)]
        self._steps_done += batches
        return float(np.mean(losses))

    def _step(self, batch: int) -> float:
        """Train on one batch; its mean softmax cross-entropy."""
        chosen = slice(batch * self._batch_size, (batch + 1) * self._batch_size)
        x, y = self._train[chosen], self._images.train_labels[chosen]
        logits = x @ self._weights
        logits -= logits.max(axis=1, keepdims=True)
        log_sums = np.log(np.exp(logits).sum(axis=1, keepdims=True))
        slopes = np.exp(logits - log_sums)
        rows = np.arange(len(y))
        loss = float((log_sums[:, 0] - logits[rows, y]).mean())
        slopes[rows, y] -= 1
        self._weights -= np.float32(self._learning_rate / self._batch_size) * (x.T @ slopes)
        return loss

    def evaluate(self) -> int:
        """How many of all test images get the highest logit for their own class."""
        return int(((self._test @ self._weights).argmax(axis=1) == self._images.test_labels).sum())

    def parameters(self) -> Parameters:
        """A copy: what an engine hands out changes no more."""
        return {self._name: self._weights.copy()}

    def state(self) -> State:
        """The weights and the steps done."""
        return {f"parameter/{self._name}": self._weights.copy(), STEPS_DONE: np.array([self._steps_done])}

    def restore(self, state: State) -> None:
        """Go on from there."""
        self._weights = np.array(state[f"parameter/{self._name}"])
        self._steps_done = int(state[STEPS_DONE][0])

    def ceilings(self) -> Ceilings:
        """By the probes below, as large and as often as for every other engine."""
        return ceilings.measure(_Probes(), ceilings.room("cpu"))


class _Probes:
    """A product and an addition in place."""

    def product(self, size: int) -> Callable[[], None]:
        generator = np.random.default_rng(1)
        left, right = (generator.random((size, size), dtype=np.float32) for _ in range(2))
        out = np.empty_like(left)

        def multiply() -> None:
            np.matmul(left, right, out=out)

        return multiply

    def addition(self, values: int) -> Callable[[int], None]:
        target, source = np.ones(values, np.float32), np.ones(values, np.float32)

        def add(times: int) -> None:
            for _ in range(times):
                np.add(target, source, out=target)

        return add
