"""Writes values beside their markers, where they cover nothing or least."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.patheffects import withStroke
from matplotlib.text import Annotation

CLEARANCE_PIXELS: Final = 4
TEXTS_APART_PIXELS: Final = 2
VALUE_POINTS: Final = 7.5
LINE_POINTS: Final = 10.0
MOST_LINES_BEYOND: Final = 2

# Where a value may stand beside its marker: points to the right and up, and which of its sides is put there.
Place = tuple[float, float, Literal["left", "center", "right"], Literal["bottom", "center", "top"]]
VALUE_PLACES: Final[Sequence[Place]] = (
    (0, 5, "center", "bottom"),
    (0, -5, "center", "top"),
    (4, 3, "left", "bottom"),
    (-4, -3, "right", "top"),
    (4, -3, "left", "top"),
    (-4, 3, "right", "bottom"),
    (6, 0, "left", "center"),
    (-6, 0, "right", "center"),
)
NAME_PLACES: Final[Sequence[Place]] = ((7, 0, "left", "center"), (7, 5, "left", "center"), (7, -5, "left", "center"))


@dataclass(frozen=True)
class Point:
    """A value as drawn, and the text that goes beside it where there is room: the value, or a name."""

    x: float
    y: float
    text: str
    color: str
    reach: tuple[float, float]
    """From the lowest to the highest of what is drawn there."""
    is_name: bool = False


def write_values(axes: Axes, points: Sequence[Point], *, all_or_none: bool) -> None:
    """Put each text beside its marker: where it covers nothing, or on a white ground where it covers least.

    A value that would cover another text is left out, and so is a name that would cover anything. With `all_or_none`
    nothing is written where a value is left out: some without the others would look like all that are known.
    """
    ink, panel = _ink(axes), axes.get_window_extent()
    written: list[Annotation] = []
    complete = True
    # Names last: the legend has them too.
    for point in sorted(points, key=lambda point: point.is_name):
        taken = [text.get_window_extent() for text in written]
        covered: list[tuple[int, float, Place]] = []
        for y, place in _places(point):
            text = _annotate(axes, point, y, place)
            box = text.get_window_extent()
            text.remove()
            inside = panel.x0 <= box.x0 and box.x1 <= panel.x1 and panel.y0 <= box.y0 and box.y1 <= panel.y1
            if inside and not any(box.padded(TEXTS_APART_PIXELS).overlaps(other) for other in taken):
                covered.append((box.padded(CLEARANCE_PIXELS).count_contains(ink), y, place))
                if not covered[-1][0]:
                    break
        least, y, place = min(covered, key=lambda one: one[0], default=(None, point.y, VALUE_PLACES[0]))
        if least is None or (least and point.is_name):
            complete &= point.is_name
            continue
        written.append(_annotate(axes, point, y, place))
        if least:
            written[-1].set_path_effects([withStroke(linewidth=2.0, foreground="white")])
    if all_or_none and not complete:
        for text in written:
            text.remove()


def _annotate(axes: Axes, point: Point, y: float, place: Place) -> Annotation:
    across, up, horizontal, vertical = place
    weight = "bold" if point.is_name else "normal"
    look: dict[str, Any] = {"color": point.color, "fontsize": VALUE_POINTS, "fontweight": weight, "zorder": 5}
    beside: dict[str, Any] = {"textcoords": "offset points", "ha": horizontal, "va": vertical, "in_layout": False}
    return axes.annotate(point.text, (point.x, y), (across, up), **look, **beside)


def _places(point: Point) -> Iterator[tuple[float, Place]]:
    """Where a text may stand, the best first: beside the marker, else beyond all that is drawn above or below it."""
    for place in NAME_PLACES if point.is_name else VALUE_PLACES:
        yield point.y, place
    for line in range(0 if point.is_name else MOST_LINES_BEYOND):
        for y, sign, (across, up, *_) in zip(reversed(point.reach), (1, -1), VALUE_PLACES[:2], strict=True):
            yield y, (across, up + sign * line * LINE_POINTS, "center", "bottom" if sign > 0 else "top")


def _ink(axes: Axes) -> np.ndarray:
    """Pixels on the lines, bars and markers of a panel, a few pixels apart."""
    strokes = [line.get_transform().transform(line.get_path().vertices) for line in axes.lines]
    for bars in axes.collections:
        if isinstance(bars, LineCollection):
            strokes += [bars.get_transform().transform(segment) for segment in bars.get_segments() if len(segment)]
    between = [
        np.linspace(start, end, int(np.hypot(*(end - start)) // 3) + 2)
        for stroke in strokes
        for start, end in pairwise(stroke)
        if np.isfinite([start, end]).all()
    ]
    return np.concatenate([np.empty((0, 2)), *strokes, *between])
