"""How everything looks that is drawn, on matplotlib's own defaults: a user's matplotlibrc changes nothing.

A device of a host has one colour, marker and line style in all figures.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from matplotlib import style

STYLE_FILE: Final = Path(__file__).with_name("figures.mplstyle")
MUTED: Final = "#666666"
GUIDE_LINE: Final[dict[str, Any]] = {"color": "black", "linewidth": 0.9, "linestyle": (0, (5, 3)), "zorder": 1.5}
"""How a line is drawn that values are read against."""

styled: Final = style.context(STYLE_FILE, after_reset=True)

LineStyle = Literal["-", "--", "-.", ":", "none"]

# The palette of Okabe and Ito (https://jfly.uni-koeln.de/color/), the strongest contrasts first, with grey in
# place of its yellow, which is too pale on white.
COLORS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
MARKERS: Final = ("o", "s", "^", "D", "v", "P", "<", ">")
LINE_STYLES: Final[Sequence[LineStyle]] = ("-", "--", "-.", ":")


@dataclass(frozen=True)
class Look:
    """How one device of one host is drawn.

    Where hosts are several, the colour is the device's, and marker and line style are the host's.
    """

    color: str
    marker: str
    line_style: LineStyle

    @property
    def of_line(self) -> dict[str, Any]:
        """The same, as matplotlib names it."""
        return {"color": self.color, "marker": self.marker, "linestyle": self.line_style}


def device_colors(devices: Sequence[str]) -> dict[str, str]:
    """The colour of each device, by its place in order; colours repeat after eight, markers then differ."""
    return {device: COLORS[index % len(COLORS)] for index, device in enumerate(dict.fromkeys(devices))}


def device_looks(devices: Sequence[str]) -> dict[str, Look]:
    """Colour, marker and line style of each device, by its place in order: different without colour too."""
    return {
        device: Look(
            color=color,
            # Shifted by one each time the colours start anew, so that the pair stays unique for 64 devices.
            marker=MARKERS[(index + index // len(COLORS)) % len(MARKERS)],
            # Shifted likewise, so that the pale grey, the eighth, gets a whole line.
            line_style=LINE_STYLES[(index + index // len(LINE_STYLES)) % len(LINE_STYLES)],
        )
        for index, (device, color) in enumerate(device_colors(devices).items())
    }


def looks_of_hosts(places: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Look]:
    """How each device of each host is drawn; `places` are pairs of device and host, in order."""
    devices = [device for device, _ in places]
    hosts = list(dict.fromkeys(host for _, host in places))
    if len(hosts) == 1:
        looks = device_looks(devices)
        return {place: looks[place[0]] for place in places}
    # The eighth device on is told from the first by markers, which begin where those of the hosts end.
    return {
        (device, host): Look(
            color=color,
            marker=MARKERS[(rank + index // len(COLORS) * len(hosts)) % len(MARKERS)],
            line_style=LINE_STYLES[rank % len(LINE_STYLES)],
        )
        for index, (device, color) in enumerate(device_colors(devices).items())
        for rank, host in enumerate(hosts)
    }
