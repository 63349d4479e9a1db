"""The one style of all figures, on matplotlib's own defaults: a user's matplotlibrc changes nothing."""

from pathlib import Path
from typing import Any, Final

from matplotlib import style

STYLE_FILE: Final = Path(__file__).with_name("figures.mplstyle")
MUTED: Final = "#666666"
GUIDE_LINE: Final[dict[str, Any]] = {"color": "black", "linewidth": 0.9, "linestyle": (0, (5, 3)), "zorder": 1.5}
"""How a line is drawn that values are read against."""

styled: Final = style.context(STYLE_FILE, after_reset=True)
