"""What all figures share: their style, colours and header, axes with round numbers, and how they are saved."""

import io
import math
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from xml.sax.saxutils import escape

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.markers import CARETDOWN, CARETUP
from matplotlib.textpath import TextPath
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from trainbench.files import whole_file

LineStyle = Literal["-", "--", "-.", ":"]

STYLE_FILE: Final = Path(__file__).with_name("figures.mplstyle")

# The palette of Okabe and Ito (https://jfly.uni-koeln.de/color/), the strongest contrasts first, with grey in
# place of its yellow, which is too pale on white.
COLORS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
MARKERS: Final = ("o", "s", "^", "D", "v", "P", "<", ">")
LINE_STYLES: Final[Sequence[LineStyle]] = ("-", "--", "-.", ":")
MUTED: Final = "#666666"

# Characters that fit into an inch at one point of size: on the safe side for most texts.
CHARACTERS_PER_INCH_AND_POINT: Final = {"bold": 115.0, "normal": 118.0}
LEGEND_HANDLE_INCHES: Final = 0.75
LEGEND_TEXT_INCHES: Final = 4.2

TITLE_POINTS: Final = 12
NOTE_POINTS: Final = 9
POINTS_PER_INCH: Final = 72
HEADER_MARGIN_INCHES: Final = 0.1

LEAST_LOG_RANGE: Final = 6.0
MOST_REACH: Final = 5.0
"""How many times beyond the lowest and highest value a bar widens an axis: one of any length would squeeze the rest."""
ENOUGH_PLACES: Final = 4
CAP_POINTS: Final = 5.0
LEAST_WITH_COMMAS: Final = 10_000
ROUND_STEPS: Final = (1, 2, 2.5, 5, 10)

_TITLE, _NOTE = "title", "note"


@dataclass(frozen=True)
class Look:
    """How one device of one host is drawn, in every figure alike.

    Where hosts are several, the colour is the device's, and marker and line style are the host's.
    """

    color: str
    marker: str
    line_style: LineStyle


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
    devices = list(dict.fromkeys(device for device, _ in places))
    hosts = list(dict.fromkeys(host for _, host in places))
    if len(hosts) == 1:
        looks = device_looks(devices)
        return {(device, host): looks[device] for device, host in places}
    # The eighth device on is told from the first by markers, which begin where those of the hosts end.
    return {
        (device, host): Look(
            color=color,
            marker=MARKERS[(hosts.index(host) + index // len(COLORS) * len(hosts)) % len(MARKERS)],
            line_style=LINE_STYLES[hosts.index(host) % len(LINE_STYLES)],
        )
        for index, (device, color) in enumerate(device_colors(devices).items())
        for host in hosts
    }


@dataclass(frozen=True)
class Room:
    """From where to where the bars of a panel are drawn to their ends; a bar that goes on ends in an arrow."""

    lowest: float
    highest: float

    @classmethod
    def around(cls, values: Iterable[float], *, logarithmic: bool) -> "Room":
        """Room beyond what has to be shown: `values`, all positive for a logarithmic axis."""
        shown = list(values)
        if not shown:
            return cls(0.0, math.inf)
        # A linear axis begins at 0. On a logarithmic one there is no such place.
        return cls(min(shown) / MOST_REACH if logarithmic else 0.0, max(shown) * MOST_REACH)

    def holds(self, end: float) -> bool:
        """Whether an end of a bar is drawn where it is."""
        return self.lowest <= end <= self.highest


# On matplotlib's own defaults: a user's matplotlibrc changes nothing.
styled: Final = style.context(STYLE_FILE, after_reset=True)


@dataclass(frozen=True)
class Header:
    """Title and note of a figure, wrapped to its width."""

    title: str
    note: str

    @classmethod
    def wrap(cls, title: str, note: str, width_inches: float) -> "Header":
        """Break both into lines that fit."""
        room_inches = width_inches - 2 * HEADER_MARGIN_INCHES
        return cls(fitting(title, room_inches, TITLE_POINTS, "bold"), fitting(note, room_inches, NOTE_POINTS))

    @property
    def _title_inches(self) -> float:
        return 0.2 * (self.title.count("\n") + 1)

    @property
    def inches(self) -> float:
        """Height of both."""
        return 0.14 + self._title_inches + 0.17 * (self.note.count("\n") + 1)

    def write(self, figure: Figure) -> None:
        """Write both at the top of `figure`; `save` finds them there."""
        width, height = figure.get_size_inches()
        title = figure.text(
            HEADER_MARGIN_INCHES / width,
            1 - HEADER_MARGIN_INCHES / height,
            self.title,
            fontsize=TITLE_POINTS,
            fontweight="bold",
            verticalalignment="top",
            linespacing=1.15,
        )
        below = 1 - (0.14 + self._title_inches) / height
        note = figure.text(
            HEADER_MARGIN_INCHES / width, below, self.note, color=MUTED, fontsize=NOTE_POINTS, verticalalignment="top"
        )
        for text, name in ((title, _TITLE), (note, _NOTE)):
            text.set_label(name)
            # The id of its group in the SVG: the page writes title and note as text of its own.
            text.set_gid(name)


@styled
def save(figure: Figure, svg_path: Path, png_path: Path) -> None:
    """Write a figure as SVG and as PNG (150 dots per inch), each in one atomic step.

    The same figure gives the same bytes: no date is written, and ids in the SVG come from a fixed salt. The SVG has a
    title and a description, for those who cannot see it.
    """
    svg, png = io.StringIO(), io.BytesIO()
    title, description = texts(figure)
    figure.savefig(svg, format="svg", metadata={"Date": None, "Title": title})
    figure.savefig(png, format="png")
    whole_file.write(_described(svg.getvalue(), title, description), svg_path)
    whole_file.write(png.getvalue(), png_path)


def texts(figure: Figure) -> tuple[str, str]:
    """A figure's title, and its description in words: its note, panels, axes and legend."""
    header = {text.get_label(): " ".join(text.get_text().split()) for text in figure.texts}
    panels = _distinct(" ".join(axes.get_title(loc="left").split()) for axes in figure.axes)
    axes = _distinct(label for axes in figure.axes for label in (axes.get_xlabel(), axes.get_ylabel()))
    entries = _distinct(" ".join(text.get_text().split()) for legend in figure.legends for text in legend.get_texts())
    parts = {"Panels": panels, "Axes": axes, "Shown": entries}
    lists = [f"{name}: {'; '.join(words)}." for name, words in parts.items() if words]
    return header.get(_TITLE, ""), " ".join(filter(None, [header.get(_NOTE, ""), *lists]))


def _distinct(words: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(filter(None, words)))


def _described(svg: str, title: str, description: str) -> str:
    """Give matplotlib's SVG the role of an image, and a description after the title that it writes."""
    element = f"<title>{escape(title)}</title>"
    described = svg.replace(element, f"{element}\n <desc>{escape(description)}</desc>", 1)
    return described.replace("<svg ", '<svg role="img" ', 1)


def wrapped(text: str, characters: int) -> str:
    """Break a text into lines of at most so many characters; longer words are broken too."""
    return textwrap.fill(text, characters)


def fitting(text: str, width_inches: float, points: float, weight: Literal["normal", "bold"] = "normal") -> str:
    """Break a text into lines that fit: by what letters take on average, or where they are wide, by what they take."""
    font = FontProperties(size=points, weight=weight)
    # Letters put on pixels are a little wider.
    room = 0.95 * POINTS_PER_INCH * width_inches
    characters = max(1, int(width_inches * CHARACTERS_PER_INCH_AND_POINT[weight] / points))
    while True:
        lines = wrapped(text, characters)
        widest = _widest_points(lines, font)
        if widest <= room or characters == 1:
            return lines
        characters = max(1, min(characters - 1, int(characters * room / widest) + 1))


def _widest_points(lines: str, font: FontProperties) -> float:
    return max(
        (float(TextPath((0, 0), line, prop=font).get_extents().width) for line in lines.split("\n")), default=0.0
    )


def legend_text(label: str) -> str:
    """Break a label into lines that fit into a legend, whatever the width of its figure."""
    return fitting(label, LEGEND_TEXT_INCHES, NOTE_POINTS)


def fitting_columns(labels: Sequence[str], width_inches: float) -> int:
    """How many entries of a legend fit side by side."""
    font = FontProperties(size=NOTE_POINTS)
    widest = max(_widest_points(label, font) for label in labels) / POINTS_PER_INCH
    entry_inches = LEGEND_HANDLE_INCHES + 1.05 * widest
    return min(len(labels), max(1, int(width_inches / entry_inches)))


def log_axis(axes: Axes, which: Literal["x", "y"], values: np.ndarray, margin: float) -> None:
    """A logarithmic axis over `values` with plain numbers at round places, at least two of them."""
    low, high = values.min() / margin, values.max() * margin
    widening = max(1.0, math.sqrt(LEAST_LOG_RANGE / (high / low)))
    low, high = low / widening, high * widening
    axis = axes.xaxis if which == "x" else axes.yaxis
    axes.set(**{f"{which}scale": "log", f"{which}lim": (low, high)})
    axis.set_major_locator(FixedLocator(_round_places(low, high)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: plain(value)))


def linear_y(axes: Axes, values: Sequence[float]) -> None:
    """A linear axis from 0 on, with room above the highest of `values`."""
    axes.set_ylim(0, max(values) * 1.18 or 1.0)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=ROUND_STEPS))


def draw_bars(axes: Axes, bars: Iterable[tuple[float, float, float]], room: Room, color: str) -> None:
    """Bars with caps at their ends, each an x, a low and a high end; an arrow at the edge where there is no room.

    The y axis has to have its limits already.
    """
    foot, top = axes.get_ylim()
    spans: list[tuple[float, float, float]] = []
    marks: dict[str | int, list[tuple[float, float]]] = {"_": [], CARETDOWN: [], CARETUP: []}
    for x, low, high in bars:
        ends = []
        for end, edge, arrow in ((low, foot, CARETDOWN), (high, top, CARETUP)):
            held = room.holds(end)
            ends.append(end if held else edge)
            marks["_" if held else arrow].append((x, ends[-1]))
        spans.append((x, ends[0], ends[1]))
    if spans:
        xs, foots, tops = zip(*spans, strict=True)
        axes.vlines(xs, foots, tops, colors=color, linewidth=1.1, zorder=3)
    for mark, places in marks.items():
        if places:
            axes.plot(
                *zip(*places, strict=True),
                marker=mark,
                linestyle="none",
                markersize=CAP_POINTS,
                markeredgewidth=1.1 if mark == "_" else 0.0,
                color=color,
                zorder=3,
            )


def _round_places(low: float, high: float) -> list[float]:
    """1, 2, 5, 10, ... between two limits; 1, 3, 10, ... or 1, 10, ... where that gives enough."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1,), (1, 3), (1, 2, 5)):
        places = [step * 10.0**decade for decade in decades for step in steps]
        inside = [place for place in places if low <= place <= high]
        if len(inside) >= ENOUGH_PLACES:
            break
    return inside


def plain(value: float) -> str:
    """A number without an exponent and without needless zeros: 0.02, 500, 2,000,000."""
    if value >= LEAST_WITH_COMMAS:
        return f"{value:,.0f}"
    return np.format_float_positional(value, precision=9, trim="-")


def say_empty(axes: Axes, text: str, *, keep_x: bool = False) -> None:
    """Say in the middle of a panel why nothing is in it."""
    axes.set_yticks([])
    if not keep_x:
        axes.set_xticks([])
    axes.text(
        0.5,
        0.5,
        text,
        transform=axes.transAxes,
        horizontalalignment="center",
        verticalalignment="center",
        color=MUTED,
        fontsize=8,
    )
