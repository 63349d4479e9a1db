"""Figures as the page has them: within it with their words beside them, or as pictures where they are too large."""

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from markupsafe import Markup

from trainbench.figures import of_study
from trainbench.figures.drawn_study import DrawnStudy
from trainbench.page import inline_svg
from trainbench.results.tables import batch_sizes_of, models_of
from trainbench.words.wording import few

# A figure of more elements makes a page heavy; as PNG it is none, and beyond that only its name is on the page.
MOST_FIGURE_BYTES: Final = 2_000_000
MOST_INLINE_CHARACTERS: Final = 900_000
MOST_PNG_BYTES: Final = 900_000


@dataclass(frozen=True)
class Drawn:
    """A figure as the page has it: inline, or as PNG in base64, or too large for either.

    `heading` and `note` stand above an inline one, which has them no more itself: as text they wrap on a narrow screen.
    """

    title: str
    caption: str
    description: str
    heading: str = ""
    note: str = ""
    svg: Markup | None = None
    png: str | None = None


def figures(paths: Iterable[Path], study: DrawnStudy) -> dict[str, Drawn]:
    """Figures of the whole study by name.

    Raises:
        InputError: a figure is not SVG.
    """
    sizes = [str(size) for size in batch_sizes_of(study.tables["cells"], study.order)]
    models, devices = models_of(study.tables["cells"], study.order), [one.label for one in study.executors]
    # For those who do not see it.
    shown = (
        f"for {few(models, f'{len(models)} models')}, {'batch size' if len(sizes) == 1 else 'batch sizes'} "
        f"{few(sizes, f'{len(sizes)} of them')}, {few(devices, f'{len(devices)} devices')}. "
        "The numbers are in the tables of this page."
    )
    words = {path: of_study.figure(path.stem) for path in paths}
    return {
        path.stem: _fitting(path, Drawn(of.TITLE, of.CAPTION, f"{of.TITLE}, {shown}")) for path, of in words.items()
    }


def timelines(paths: Sequence[Path], study: DrawnStudy) -> dict[str, Drawn]:
    """Figures of single runs, in the order of the table of runs, in which everything else on the page stands.

    Raises:
        InputError: a figure is not SVG.
    """
    runs = study.tables["runs"][["model", "batch_size", "device", "repeat"]].astype(str).agg("_".join, axis="columns")
    places = {name: place for place, name in enumerate(dict.fromkeys(runs))}
    in_order = sorted(paths, key=lambda path: places.get(path.stem, len(places)))
    words = {path: inline_svg.words(inline_svg.read(path)) for path in in_order}
    return {path.stem: _fitting(path, Drawn(title, "", description)) for path, (title, description) in words.items()}


def _fitting(path: Path, found: Drawn) -> Drawn:
    """A figure in the best shape that it is not too large for."""
    if path.stat().st_size <= MOST_FIGURE_BYTES:
        root = inline_svg.read(path)
        heading, note = inline_svg.lift_header(root)
        svg = inline_svg.inline(root, path.stem, found.title, found.description)
        if len(svg) <= MOST_INLINE_CHARACTERS:
            return replace(found, svg=svg, heading=heading, note=note)
    png = path.with_suffix(".png")
    if png.exists() and png.stat().st_size <= MOST_PNG_BYTES:
        return replace(found, png=base64.b64encode(png.read_bytes()).decode())
    return found
