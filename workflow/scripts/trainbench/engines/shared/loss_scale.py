"""Says how the loss scale changes from step to step, whatever the framework's arrays are."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np

from trainbench.networks import precision

FACTORS: Final = (precision.LOSS_SCALE_GROWTH, 1.0, 1 / precision.LOSS_SCALE_GROWTH)
"""What the scale is multiplied by where it grows, where it stays, and after a step that is left out."""


class LossScale(NamedTuple):
    """What scaling the loss goes on from: the scale, good steps in a row since it changed, steps that were left out."""

    scale: Any
    good_steps: Any
    skipped_steps: Any

    def after(self, are_finite: Any, where: Callable[..., Any], factors: tuple[Any, ...] = FACTORS) -> "LossScale":
        """The same after a step, by the framework's own `where`; `are_finite` says whether all gradients were.

        Computed without a branch, for which a GPU would wait for the host in every step.
        """
        larger, same, smaller = factors
        good_steps = where(are_finite, self.good_steps + 1, self.good_steps * 0)
        grows = good_steps >= precision.LOSS_SCALE_GROWS_AFTER
        return LossScale(
            self.scale * where(are_finite, where(grows, larger, same), smaller),
            good_steps % precision.LOSS_SCALE_GROWS_AFTER,
            where(are_finite, self.skipped_steps, self.skipped_steps + 1),
        )


def first(integers: type[np.integer[Any]]) -> LossScale:
    """Where every run begins, counts in arrays of `integers`."""
    return LossScale(np.array(precision.FIRST_LOSS_SCALE, np.float32), integers(0), integers(0))
