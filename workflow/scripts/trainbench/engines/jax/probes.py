"""The products and additions in JAX by which a device's ceilings are found."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


class Probes:
    """`engines.shared.ceilings.Probes` on one device."""

    def __init__(self, device: Any, compute_type: Any) -> None:
        self._device = device
        self._type = compute_type
        self._multiply = jax.jit(jnp.matmul)
        # One call for all additions, so that starting it is no part of an addition. XLA does not know how many there
        # will be, and so cannot make one of several.
        self._add = jax.jit(
            lambda target, source, times: lax.fori_loop(0, times, lambda _, target: target + source, target),
            donate_argnums=0,
        )

    def product(self, size: int) -> Callable[[], None]:
        """Random matrices: a GPU draws less power, and clocks higher, for constant ones."""
        generator = np.random.default_rng(size)
        left, right = (
            jax.device_put(generator.uniform(-1, 1, (size, size)).astype(self._type), self._device) for _ in range(2)
        )

        def multiply() -> None:
            jax.block_until_ready(self._multiply(left, right))

        return multiply

    def addition(self, values: int) -> Callable[[int], None]:
        """The target is given away with each call, so that the sum takes its place."""
        target, source = (jax.device_put(jnp.ones(values, jnp.float32), self._device) for _ in range(2))

        def add(times: int) -> None:
            nonlocal target
            target = jax.block_until_ready(self._add(target, source, np.int32(times)))

        return add
