"""A part of each batch, computed by itself from its images to its gradients."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from trainbench.engines.torch.descent import LossScaling
from trainbench.engines.torch.layers import Network, Number

_PRODUCTS: Final = frozenset(
    f"aten::{name}{form}"
    for name in ("mm", "addmm", "bmm", "baddbmm", "convolution", "mkldnn_rnn_layer", "_cudnn_rnn")
    for form in ("", "_backward")
)
"""Operations that multiply: those which PyTorch's layers and their gradients come down to on CPUs and on GPUs."""


@dataclass(frozen=True, eq=False)
class Part:
    """What a part needs: `train` are images and labels by batch, `test` batches; `slope` is 1 / (images in a batch)."""

    network: Network
    train: Sequence[Any]
    test: Sequence[tuple[Any, Any]]
    generator: Any
    slope: Any
    loss: Any
    """The sum of the batches' losses since it was set to zero."""
    scaling: LossScaling | None

    def gradient(self, batch: Number, step: Number, out: Any = None) -> Any:
        """The gradient of the batch's mean loss as far as this part goes, as one vector; adds to the sum of losses."""
        images, labels = (_taken(values, batch) for values in self.train)
        logits = self.network.logits(images, (self.generator, step)).to(torch.float32)
        loss = functional.cross_entropy(logits, labels, reduction="sum")
        slope = self.slope if self.scaling is None else self.scaling.now.scale * self.slope
        gradients = torch.autograd.grad(loss, self.network.leaves, slope)
        self.loss.add_(loss.detach())
        if len(gradients) == 1 and out is None:
            return gradients[0].reshape(-1)
        return torch.cat([gradient.reshape(-1) for gradient in gradients], out=out)

    def right(self, batches: int | None = None) -> Any:
        """How many test images are classified rightly, in all batches or in the first ones."""
        right = torch.zeros((), dtype=torch.int64, device=self.loss.device)
        with torch.no_grad():
            for images, labels in self.test[:batches]:
                right += (self.network.logits(images, None).argmax(1) == labels).sum()
        return right


def _taken(values: Any, batch: Number) -> Any:
    """One batch of [batches, ...]: a slice where its number is known, else a copy."""
    return values[batch] if isinstance(batch, int) else values.index_select(0, batch)[0]


class _Products(TorchDispatchMode):  # type: ignore[misc]
    """Notes the types of what operations multiply while it is on, in numpy's names."""

    def __init__(self) -> None:
        super().__init__()
        self.types: set[str] = set()

    def __torch_dispatch__(self, operation: Any, types: Any, arguments: Any = (), keywords: Any = None) -> Any:
        if operation._schema.name in _PRODUCTS:
            arrays = (leaf for leaf in tree_leaves(arguments) if isinstance(leaf, torch.Tensor))
            self.types |= {str(array.dtype).removeprefix("torch.") for array in arrays if array.is_floating_point()}
        return operation(*arguments, **(keywords or {}))


def product_types(part: Part) -> frozenset[str]:
    """What a training step multiplies, found out by computing its gradient."""
    first = torch.zeros(1, dtype=torch.int64, device=part.loss.device)
    with _Products() as products:
        part.gradient(first, first)
    return frozenset(products.types)
