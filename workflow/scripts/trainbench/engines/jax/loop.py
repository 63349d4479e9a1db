"""Compiles a step into a loop over batches, in the form that is fastest on a device."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import lax

from trainbench.engines.shared.interface import Execution


class Loop(NamedTuple):
    """A compiled step: for the first batch alone, and for all batches; both take what goes along and the data."""

    once: Callable[..., Any]
    whole: Callable[..., Any]
    jaxpr: Any


def compiled_loop(
    step: Callable[..., Any],
    arguments: tuple[Any, ...],
    *,
    lies: Any,
    batches: int,
    execution: Execution,
    one_call: bool,
) -> Loop:
    """Compile `step(carry, *data)`, which gives the next `carry`; `lies` says on which devices that lies.

    One call for all batches: on a CPU the number of batches is an argument, so that a single program serves the first
    step and the epoch. On a GPU it is part of a second program: where XLA does not know the number, every turn of the
    loop waits until the host has seen whether there is another.
    """

    def compiled(function: Callable[..., Any], *arguments: Any) -> tuple[Any, Any]:
        traced = jax.jit(function, donate_argnums=0, out_shardings=lies).trace(*arguments)
        return traced.lower().compile(), traced.jaxpr

    def turns(carry: Any, times: Any, *data: Any) -> Any:
        return lax.fori_loop(0, times, lambda _, carry: step(carry, *data), carry)

    if one_call and execution.kind == "cpu":
        carry, *data = arguments
        program, jaxpr = compiled(turns, carry, np.int32(1), *data)
        return Loop(
            lambda carry, *data: program(carry, np.int32(1), *data),
            lambda carry, *data: program(carry, np.int32(batches), *data),
            jaxpr,
        )
    once, jaxpr = compiled(step, *arguments)
    if one_call:
        whole, _ = compiled(lambda carry, *data: turns(carry, batches, *data), *arguments)
        return Loop(once, whole, jaxpr)

    def one_after_another(carry: Any, *data: Any) -> Any:
        for _ in range(batches):
            carry = once(carry, *data)
            if execution.replicas > 1:
                # Pretended devices that are steps apart can wait for one another for ever.
                jax.block_until_ready(carry)
        return carry

    return Loop(once, one_after_another, jaxpr)
