"""Trains logistic regression with numpy alone: the smallest engine, to show what one has to do.

tests/workflow/test_new_engine.py puts it into a checkout as `engines/toy.py`; docs/how-to/new-engine.md explains it.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainbench.engines.shared.engine import PARAMETER, Engine
from trainbench.engines.shared.framework import Framework
from trainbench.engines.shared.interface import Execution, Images, Refused, State, Threads
from trainbench.networks.models import Dense, ModelSpec, Reshape, Sgd
from trainbench.networks.parameters import Parameters


def start(execution: Execution) -> "ToyEngine":
    """Take the one device that numpy has.

    Raises:
        Refused: a GPU, several devices or another precision than float32 is asked for.
    """
    if execution.kind != "cpu" or execution.replicas > 1:
        raise Refused("toy computes on one CPU; choose a device of kind cpu")
    if execution.precision != "float32":
        raise Refused(f"toy computes in float32 alone, {execution.precision} was asked for; choose float32")
    return ToyEngine(execution)


class ToyEngine(Engine):
    """Logistic regression by gradient descent."""

    def __init__(self, execution: Execution) -> None:
        """The launcher has told numpy's BLAS by OMP_NUM_THREADS to use so many threads."""
        super().__init__(Framework("toy", "1.0"), execution)
        self._images: Images
        self._train: NDArray[np.float32]
        self._test: NDArray[np.float32]
        self._name = ""
        self._weights: NDArray[np.float32]
        self._learning_rate = 0.0

    def threads(self) -> Threads:
        """BLAS shares each product among its threads."""
        return Threads(intra_op=self._execution.threads, inter_op=1)

    def versions(self) -> Mapping[str, str | None]:
        """The framework's own version, and numpy's."""
        return {"toy": "1.0", "numpy": np.__version__}

    def flags(self) -> Mapping[str, bool | None]:
        """A CPU has no TF32; whether BLAS adds up in the same order every time is not known."""
        return {"tf32": False, "deterministic": None}

    def _place(self, images: Images) -> None:
        self._images = images
        self._train, self._test = (
            pixels.reshape(len(pixels), -1).astype(np.float32) / np.float32(255)
            for pixels in (images.train_images, images.test_images)
        )

    def _build(self, spec: ModelSpec, parameters: Parameters, seed: int) -> None:  # noqa: ARG002
        """Take the weights, run a step and undo it; nothing is drawn, so the seed decides nothing.

        Raises:
            Refused: the model is another than logistic regression.
        """
        match spec.layers, spec.optimiser:
            case (Reshape(), Dense(weights, bias=None, relu=False)), Sgd(learning_rate):
                self._name, self._learning_rate = weights, learning_rate
            case _:
                raise Refused(f"toy trains logistic regression alone, {spec.name} was asked for; choose logistic")
        self._weights = parameters[weights].copy()
        self._step(0)
        self._weights = parameters[weights].copy()

    def _lies_on(self) -> tuple[Iterable[str], Iterable[str], Iterable[str]]:
        """Arrays of numpy lie in the memory of the host and nowhere else."""
        return ["cpu"], ["cpu"], ["cpu"]

    def product_types(self) -> frozenset[str]:
        """Of both operands of the step's product."""
        return frozenset({self._train.dtype.name, self._weights.dtype.name})

    def multiply(self, left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[Any]:
        """As the step multiplies."""
        product: NDArray[Any] = left @ right
        return product

    def _train_epoch(self) -> float:
        return float(np.mean([self._step(batch) for batch in range(self._batches)]))

    def _step(self, batch: int) -> float:
        """Train on one batch; its mean softmax cross-entropy."""
        batch_size = self._execution.batch_size
        chosen = slice(batch * batch_size, (batch + 1) * batch_size)
        x, y = self._train[chosen], self._images.train_labels[chosen]
        logits = x @ self._weights
        logits -= logits.max(axis=1, keepdims=True)
        log_sums = np.log(np.exp(logits).sum(axis=1, keepdims=True))
        slopes = np.exp(logits - log_sums)
        rows = np.arange(len(y))
        loss = float((log_sums[:, 0] - logits[rows, y]).mean())
        slopes[rows, y] -= 1
        self._weights -= np.float32(self._learning_rate / batch_size) * (x.T @ slopes)
        return loss

    def _evaluate(self) -> int:
        """The highest logit is that of the image's own class."""
        return int(((self._test @ self._weights).argmax(axis=1) == self._images.test_labels).sum())

    def _kept(self) -> dict[str, NDArray[Any]]:
        """A copy: what an engine hands out changes no more."""
        return {PARAMETER + self._name: self._weights.copy()}

    def _restore(self, state: State) -> None:
        self._weights = np.array(state[PARAMETER + self._name])

    def _probes(self) -> "_Probes":
        return _Probes()


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
