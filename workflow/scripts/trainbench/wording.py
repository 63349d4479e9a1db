"""Says numbers and statuses in the words of tables and figures."""

import math
from typing import Final

UNKNOWN: Final = "\N{EN DASH}"
TIMES: Final = "\N{MULTIPLICATION SIGN}"
FLAGGED: Final = "\N{DAGGER}"

_FRAMEWORKS: Final = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}


def format_number(value: float, significant: int = 4) -> str:
    """A number with so many significant digits, never in scientific notation: 12.15, 0.0412, 55210."""
    return format_fixed(value, decimals_of(value, significant))


def format_ratio(ratio: float) -> str:
    """How many times, with three significant digits: 15.3 followed by the multiplication sign."""
    return f"{format_number(ratio, significant=3)}{TIMES}"


def format_interval(low: float | None, high: float | None, decimals: int) -> str:
    """An interval in brackets with so many decimal places, or nothing where it is unknown."""
    if low is None or high is None:
        return ""
    return f" ({format_fixed(low, decimals)}{UNKNOWN}{format_fixed(high, decimals)})"


def decimals_of(value: float, significant: int = 4) -> int:
    """Decimal places that show `value` with so many significant digits; negative before the point."""
    if value == 0 or not math.isfinite(value):
        return 0
    exponent = int(f"{value:.{significant - 1}e}".partition("e")[2])
    return significant - 1 - exponent


def format_fixed(value: float, decimals: int) -> str:
    """A number rounded to so many decimal places, which may be negative."""
    return f"{round(value, decimals):.{max(decimals, 0)}f}"


def framework_words(framework: str) -> str:
    """What a framework calls itself: "torch" as "PyTorch"; one that is not known here keeps its name."""
    return _FRAMEWORKS.get(framework, framework)


def status_words(status: str) -> str:
    """How a status is shown to a reader: "out_of_memory" as "out of memory"."""
    return status.replace("_", " ")
