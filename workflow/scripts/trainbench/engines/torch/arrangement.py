"""How all parameters lie in one vector, so that gradients are added up, and the optimiser works, in one go."""

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainbench.networks.models import Conv2D, Dense, Lstm, ModelSpec

Array = NDArray[Any]


def _swapped(gates: Array) -> Array:
    """The gates i, j, f, o of [..., 4 * units] as i, f, j, o, which is PyTorch's order."""
    by_gate = gates.reshape(*gates.shape[:-1], 4, -1)
    return by_gate[..., [0, 2, 1, 3], :].reshape(gates.shape)


def _inside(spec: ModelSpec, name: str, value: Array) -> list[Array]:
    """A parameter as the arrays that PyTorch computes with."""
    for layer in spec.layers:
        match layer:
            case Dense(weights) if weights == name:
                # [outputs, inputs], as PyTorch's own layers have it: with 10 outputs 2.5 times as fast.
                return [value.T]
            case Conv2D(kernel) if kernel == name:
                # [h, w, in, out] as [out, h, w, in], which PyTorch calls channels_last.
                return [value.transpose(3, 0, 1, 2)]
            case Lstm(kernel, units=units) if kernel == name:
                # [inputs + units, gates] as one matrix [gates, inputs] and one [gates, units].
                return [part.T for part in np.split(_swapped(value), [-units])]
            case Lstm(bias=bias) if bias == name:
                return [_swapped(value)]
    return [value]


class Arrangement:
    """Where in the vector each value of each parameter lies."""

    def __init__(self, spec: ModelSpec) -> None:
        self._outside = {parameter.name: parameter.shape for parameter in spec.parameters}
        self._ends = np.cumsum([prod(shape) for shape in self._outside.values()])
        places = self._in_shapes(np.arange(self._ends[-1]))
        inside = {name: _inside(spec, name, array) for name, array in places.items()}
        self._shapes = {name: [array.shape for array in arrays] for name, arrays in inside.items()}
        self._order = np.concatenate([array.ravel() for arrays in inside.values() for array in arrays])

    def _in_shapes(self, flat: Array) -> dict[str, Array]:
        pieces = np.split(flat, self._ends[:-1])
        return {name: piece.reshape(shape) for piece, (name, shape) in zip(pieces, self._outside.items(), strict=True)}

    def vector(self, arrays: Mapping[str, Array], prefix: str = "") -> NDArray[np.float32]:
        """Arrays in the parameters' shapes, named as these after a prefix, as one vector."""
        flat = np.concatenate([arrays[prefix + name].ravel() for name in self._outside])
        return np.asarray(flat[self._order], np.float32)

    def arrays(self, vector: Any) -> dict[str, NDArray[np.float32]]:
        """A vector, on whatever device, as copies in the parameters' shapes."""
        values = vector.cpu().numpy()
        flat = np.empty_like(values)
        flat[self._order] = values
        return self._in_shapes(flat)

    def leaves(self, vector: Any) -> dict[str, list[Any]]:
        """What lies in the vector in PyTorch's own shapes, as that for which gradients are asked."""
        pieces = iter(vector.split([prod(shape) for shapes in self._shapes.values() for shape in shapes]))
        return {
            name: [next(pieces).view(shape).detach().requires_grad_() for shape in shapes]
            for name, shapes in self._shapes.items()
        }
