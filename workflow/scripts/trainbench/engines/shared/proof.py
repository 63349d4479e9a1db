"""Finds out in which precision an engine really computes."""

from typing import Final

import numpy as np

from trainbench.engines.shared.engine import Engine
from trainbench.engines.shared.interface import Refused
from trainbench.networks.precision import PRECISIONS

_PROBE_ROWS: Final = 256


def product_error(engine: Engine) -> float:
    """Error of the engine's product of two random matrices, relative to the exact one (Frobenius norms)."""
    generator = np.random.default_rng(2017)
    left, right = (generator.uniform(-1, 1, (_PROBE_ROWS, _PROBE_ROWS)).astype(np.float32) for _ in range(2))
    exact = left.astype(np.float64) @ right.astype(np.float64)
    found = np.asarray(engine.multiply(left, right)).astype(np.float64)
    return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))


def prove(engine: Engine, precision: str) -> dict[str, object]:
    """What the engine really computes in, ready for JSON.

    Raises:
        Refused: it is not the precision that was asked for.
    """
    asked = PRECISIONS[precision]
    types, error = engine.product_types(), product_error(engine)
    least, most = asked.product_errors
    if types != {asked.compute_type} or not least <= error <= most:
        raise Refused(
            f"{precision} was asked for, but products multiply {', '.join(sorted(types)) or 'nothing'} and err by "
            f"{error:.1e}, expected {asked.compute_type} and {least:.0e} to {most:.0e}; this device may not have "
            f"{precision}, or its environment changes precision (NVIDIA_TF32_OVERRIDE, ONEDNN_DEFAULT_FPMATH_MODE): "
            f"leave that out or choose another precision"
        )
    return {"product_types": sorted(types), "product_error": error}
