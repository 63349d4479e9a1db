"""One copy of the model on one device, with its share of each batch and of the test images."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from trainbench.engines.shared.batches import EVALUATION_BATCH
from trainbench.engines.shared.engine import LOSS_SCALE, PARAMETER, SLOT
from trainbench.engines.shared.interface import Execution, Images, State
from trainbench.engines.shared.layers import with_pooling_before_relu
from trainbench.engines.torch.arrangement import Arrangement
from trainbench.engines.torch.descent import Descent, LossScaling, mean_squares_of
from trainbench.engines.torch.devices import FRAMEWORK, device_of
from trainbench.engines.torch.layers import Network, Number
from trainbench.engines.torch.part import Part, product_types
from trainbench.engines.torch.probes import Probes
from trainbench.engines.torch.team import Team, nothing
from trainbench.networks.models import ModelSpec
from trainbench.networks.parameters import Parameters
from trainbench.networks.precision import PRECISIONS

_WARM_UPS: Final = 3
"""Steps before one is recorded, as PyTorch's notes on CUDA graphs have it: libraries set themselves up in them."""


class Replica:
    """One copy of the model on one device, with its share of each batch and of the test images."""

    def __init__(self, execution: Execution, rank: int, parts: int) -> None:
        self._execution = execution
        self._rank = rank
        self._device = device_of(execution, rank)
        self._precision = PRECISIONS[execution.precision]
        self._type = getattr(torch, self._precision.compute_type)
        self._team = Team(parts)
        self._training_graph: Any = None
        self._evaluation_graph: Any = None
        self.product_types: frozenset[str] = frozenset()

    def carry_out(self, name: str, arguments: tuple[Any, ...]) -> Any:
        """What the method `name` gives, when the device has finished."""
        return self.finish(getattr(self, name)(*arguments))

    def finish(self, begun: Any) -> Any:
        """Wait for the device, and for the number in a tensor."""
        self._wait()
        return begun.item() if isinstance(begun, torch.Tensor) else begun

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    def place(self, images: Images) -> None:
        """Put the data on the device."""
        self._images = (
            self._placed(images.train_images, images.train_labels),
            self._placed(images.test_images, images.test_labels),
        )

    def _placed(self, images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> tuple[Any, Any]:
        pixels = torch.tensor(images.reshape(len(images), -1)).to(self._device)
        return (
            pixels.to(torch.float32).div_(255).to(self._type),
            torch.tensor(labels.astype(np.int64)).to(self._device),
        )

    def build(self, spec: ModelSpec, parameters: Parameters, seed: int) -> None:
        """Make everything, try it and undo what trying has changed."""
        self._arrangement = Arrangement(spec)
        self._values = torch.tensor(self._arrangement.vector(parameters)).to(self._device)
        self._mean_squares = mean_squares_of(spec.optimiser, self._values)
        self._scaling = LossScaling(self._device) if self._precision.is_scaled else None
        self._batch, self._step_number = (
            torch.zeros(1, dtype=torch.int64, device=self._device) for _ in ("batch", "step")
        )
        self._right = torch.zeros((), dtype=torch.int64, device=self._device)
        self._batches = len(self._images[0][0]) // self._execution.batch_size
        self._parts = list(self._make_parts(spec, seed))
        self._gradients = torch.empty(len(self._parts), len(self._values), device=self._device)
        count = len(self._parts)
        self._looked_after = self._gradients.tensor_split(count, 1)
        looked_after = zip(self._values.tensor_split(count), self._mean_squares.tensor_split(count), strict=True)
        self._descents = [Descent(spec.optimiser, *tensors) for tensors in looked_after]
        changed = [self._values, self._mean_squares, *self._scale().values()]
        before = [tensor.clone() for tensor in changed]
        generators_before = self.generator_states()
        with FRAMEWORK.naming_missing_operations(self._execution):
            if self._device.type == "cuda":
                self._record()
            else:
                self.product_types = product_types(self._parts[0])
                self._train(batches=1, steps_done=0)
                self._parts[0].right(batches=1)
        for tensor, value in zip(changed, before, strict=True):
            tensor.copy_(value)
        self._set_generators(generators_before)

    def _make_parts(self, spec: ModelSpec, seed: int) -> Iterator[Part]:
        replicas, parts, batch_size = self._execution.replicas, self._team.members, self._execution.batch_size
        network = Network(tuple(with_pooling_before_relu(spec.layers)), self._arrangement.leaves(self._values))
        # [batches, images of a batch, ...]: a batch of a part is a slice.
        batches = [
            values[: self._batches * batch_size].unflatten(0, (self._batches, batch_size)) for values in self._images[0]
        ]

        def shares(values: Any, axis: int) -> Any:
            return values.tensor_split(replicas, axis)[self._rank].tensor_split(parts, axis)

        train = zip(*(shares(values, 1) for values in batches), strict=True)
        test_batch = -(-EVALUATION_BATCH // (replicas * parts))
        test = zip(*([part.split(test_batch) for part in shares(values, 0)] for values in self._images[1]), strict=True)
        for number, (train_share, (images, labels)) in enumerate(zip(train, test, strict=True)):
            generator = torch.Generator(self._device)
            # numpy's sequences make the seeds of neighbours unlike those of neighbouring runs.
            generator.manual_seed(int(np.random.SeedSequence((seed, self._rank, number)).generate_state(1)[0]))
            yield Part(
                network,
                train_share,
                list(zip(images, labels, strict=True)),
                generator=generator,
                slope=torch.tensor(1 / batch_size, device=self._device),
                loss=torch.zeros((), device=self._device),
                scaling=self._scaling,
            )

    def _record(self) -> None:
        """Try a step and an evaluation on the GPU, then record each as a CUDA graph.

        As https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs has it: first on a stream at the side.
        """
        part = self._parts[0]

        def evaluate() -> None:
            self._right.copy_(part.right())

        side = torch.cuda.Stream(self._device)
        side.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(side):
            self.product_types = product_types(part)
            for _ in range(_WARM_UPS):
                self.begin_epoch(0)
                self.next_step()
                evaluate()
        torch.cuda.current_stream(self._device).wait_stream(side)
        self._training_graph, self._evaluation_graph = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
        self._training_graph.register_generator_state(part.generator)
        for graph, recorded in ((self._training_graph, self.next_step), (self._evaluation_graph, evaluate)):
            # Not "global", the default: NCCL's own thread, which looks after the gradients' sums, would be an error.
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                recorded()

    def begin_epoch(self, steps_done: int) -> None:
        """Let the device count batches from the first on, and steps from those done."""
        self._parts[0].loss.zero_()
        self._batch.zero_()
        self._step_number.fill_(steps_done)

    def next_step(self) -> None:
        """The step of the batch that the device has come to: what is recorded on a GPU."""
        self._step(0, self._batch, self._step_number, nothing)
        self._batch.add_(1)
        self._step_number.add_(1)

    def lies_on(self) -> tuple[str, str]:
        """The names of the devices on which the parameters and computed losses lie."""
        return self._named(self._values.device), self._named(self._parts[0].loss.device)

    def _named(self, device: Any) -> str:
        return f"{device.type}:{self._rank if device.index is None else device.index}"

    def multiply(self, left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[Any]:
        """The product of two matrices as the layers compute theirs."""
        operands = (torch.tensor(side).to(self._device, self._type) for side in (left, right))
        return np.asarray(torch.mm(*operands).to(torch.float32).cpu().numpy())

    def train_epoch(self, steps_done: int) -> Any:
        """Train on every full batch; this replica's share of the sum of the batches' mean losses."""
        if self._training_graph is None:
            self._train(self._batches, steps_done)
        else:
            self.begin_epoch(steps_done)
            for _ in range(self._batches):
                self._training_graph.replay()
        return sum(part.loss * part.slope for part in self._parts)

    def _train(self, batches: int, steps_done: int) -> None:
        def member(number: int, meet: Callable[[], object]) -> None:
            self._parts[number].loss.zero_()
            for batch in range(batches):
                self._step(number, batch, steps_done + batch, meet)

        self._team.run(member)

    def _step(self, number: int, batch: Number, step: Number, meet: Callable[[], object]) -> None:
        """A thread's part of a training step; `meet` waits for all threads."""
        part, descent = self._parts[number], self._descents[number]
        if len(self._parts) == 1:
            gradient = part.gradient(batch, step)
            if self._execution.replicas > 1:
                torch.distributed.all_reduce(gradient)
            if self._scaling is None:
                descent.step(gradient)
            else:
                self._scaling.descend(descent, gradient)
            return
        part.gradient(batch, step, out=self._gradients[number])
        meet()
        descent.step(self._looked_after[number].sum(0))
        meet()

    def evaluate(self) -> Any:
        """How many of this replica's share of the test images are classified rightly."""
        if self._evaluation_graph is not None:
            self._evaluation_graph.replay()
            return self._right
        return sum(self._team.run(lambda number, _: self._parts[number].right()))

    def kept(self) -> dict[str, NDArray[Any]]:
        """What training goes on from but for random numbers and the steps done, by names of its own."""
        kept: dict[str, NDArray[Any]] = {name: tensor.cpu().numpy().copy() for name, tensor in self._scale().items()}
        for prefix, vector in self._vectors().items():
            kept |= {prefix + name: value for name, value in self._arrangement.arrays(vector).items()}
        return kept

    def _vectors(self) -> dict[str, Any]:
        return {PARAMETER: self._values} | ({SLOT: self._mean_squares} if len(self._mean_squares) else {})

    def _scale(self) -> dict[str, Any]:
        scale = {} if self._scaling is None else self._scaling.now._asdict()
        return {LOSS_SCALE + name: tensor for name, tensor in scale.items()}

    def generator_states(self) -> list[NDArray[np.uint8]]:
        """The states of dropout's generators, one for each part."""
        return [part.generator.get_state().numpy() for part in self._parts]

    def _set_generators(self, states: Sequence[NDArray[np.uint8]]) -> None:
        for part, state in zip(self._parts, states, strict=True):
            part.generator.set_state(torch.tensor(state))

    def restore(self, state: State) -> None:
        """Go on from what `TorchEngine.state` gave."""
        for prefix, vector in self._vectors().items():
            vector.copy_(torch.tensor(self._arrangement.vector(state, prefix)))
        for name, tensor in self._scale().items():
            tensor.copy_(torch.tensor(state[name]))
        self._set_generators([state[f"generator/{self._rank}/{part}"] for part in range(len(self._parts))])

    def probes(self) -> Probes:
        """The probes for the ceilings of this replica's device."""
        return Probes(self._device, self._type, self._team, self._wait)
