"""Says numbers and statuses in the words of tables and figures."""

import math
from collections.abc import Sequence
from typing import Final

UNKNOWN: Final = "\N{EN DASH}"
TIMES: Final = "\N{MULTIPLICATION SIGN}"
FLAGGED: Final = "\N{DAGGER}"

MOST_NAMED: Final = 3
"""A sentence with more names than these is read by nobody."""

WIDE_FROM: Final = 1.5
"""An interval whose bounds lie further apart than by this factor is too wide for a fourth digit."""

_FRAMEWORKS: Final = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}


def format_number(value: float, significant: int = 4) -> str:
    """A number with so many significant digits, never in scientific notation: 12.15, 0.0412, 55210."""
    return format_fixed(value, decimals_of(value, significant))


def format_ratio(ratio: float, low: float | None = None, high: float | None = None) -> str:
    """How many times, with three significant digits: 15.3 followed by the multiplication sign, and its interval."""
    return format_estimate(ratio, low, high, significant=3, unit=TIMES)


def format_estimate(
    value: float, low: float | None = None, high: float | None = None, *, significant: int = 4, unit: str = ""
) -> str:
    """A figure and its unit, followed by its interval in brackets where that is known.

    The bounds of a narrow interval have the decimal places of the figure: 12.15 (11.90-12.40). In a wide one these
    would be digits that nobody knows, or too few for a small bound: figure and bounds have three digits each, as in
    0.0837 (0.00119-5.90).
    """
    if low is None or high is None:
        return f"{format_number(value, significant)}{unit}"
    if high > WIDE_FROM * low:
        shown = [format_number(number, significant=3) for number in (value, low, high)]
    else:
        decimals = decimals_of(value, significant)
        shown = [format_fixed(number, decimals) for number in (value, low, high)]
    return f"{shown[0]}{unit} ({shown[1]}{UNKNOWN}{shown[2]})"


def format_mean(mean: float, sd: float | None) -> str:
    """A mean and its standard deviation, where that is known, with the digits that the deviation leaves the mean.

    The mean has four significant digits, or three where the deviation is large: 92.34 ± 0.21, 84.5 ± 95.2. Only a
    deviation that is not 0 and would read 0 has more places than the mean.
    """
    decimals = decimals_of(mean)
    if sd is None:
        return format_fixed(mean, decimals)
    if sd > 0:
        decimals = min(decimals, max(decimals_of(mean, significant=3), decimals_of(sd, significant=2)))
    of_deviation = decimals if round(sd, decimals) or sd == 0 else decimals_of(sd, significant=1)
    return f"{format_fixed(mean, decimals)} ± {format_fixed(sd, of_deviation)}"


def decimals_of(value: float, significant: int = 4) -> int:
    """Decimal places that show `value` with so many significant digits; negative before the point."""
    if value == 0 or not math.isfinite(value):
        return 0
    exponent = int(f"{value:.{significant - 1}e}".partition("e")[2])
    return significant - 1 - exponent


def format_fixed(value: float, decimals: int) -> str:
    """A number rounded to so many decimal places, which may be negative."""
    return f"{round(value, decimals):.{max(decimals, 0)}f}"


def listed(names: Sequence[str]) -> str:
    """Names in a row: "a", "a and b", "a, b and c"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def numbered(count: int, what: str) -> str:
    """As in "1 cell", "9 cells"."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def few(names: Sequence[str], count: str, most: int = MOST_NAMED) -> str:
    """All names, or in words how many there are."""
    return listed(names) if len(names) <= most else count


def more(count: int, what: str, where: str) -> list[str]:
    """A sentence on where to find what is not told; none where all is."""
    return [f"{count} more {what if count == 1 else what + 's'}: see {quoted(where)}."] if count > 0 else []


def quoted(text: str) -> str:
    """A text in quotation marks."""
    return f"\N{LEFT DOUBLE QUOTATION MARK}{text}\N{RIGHT DOUBLE QUOTATION MARK}"


def framework_words(framework: str) -> str:
    """What a framework calls itself: "torch" as "PyTorch"; one that is not known here keeps its name."""
    return _FRAMEWORKS.get(framework, framework)


def status_words(status: str) -> str:
    """How a status is shown to a reader: "out_of_memory" as "out of memory"."""
    return status.replace("_", " ")
