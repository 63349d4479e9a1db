"""Says a study's answers in sentences, the most important first, each with its interval and what limits it."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from trainbench.conclusions.caveats import all_flagged, caveats
from trainbench.conclusions.fastest import fastest, speeds
from trainbench.conclusions.pair_headlines import pairs, several_gpus, side_by_side
from trainbench.results.executors import executors_of
from trainbench.results.tables import TableOrder, rows_of


@dataclass(frozen=True)
class Answers:
    """The first lines of a page: what was found, and what limits it."""

    headlines: tuple[str, ...]
    caveats: tuple[str, ...]


def answers(tables: Mapping[str, pd.DataFrame], order: TableOrder, reference: str = "") -> Answers:
    """The headlines and caveats of a study.

    With one device there are its speeds, with two the greatest difference between them and where the other one wins,
    with more the fastest of each model as well. Devices that differ in framework or precision alone are called by
    these, and what several GPUs gain over the fewest is told. `reference` is the name of the reference device, where it
    is known.
    """
    cells, frameworks = tables["cells"], tables["frameworks"]
    with_results = {(cell["device"], cell["host"]) for cell in rows_of(cells) if cell["n"]}
    executors = [one for one in executors_of(cells, order) if one.key in with_results]
    found: list[str] = []
    if not executors:
        found.append("No run has completed, so there is nothing to compare.")
    elif len(executors) == 1:
        found += speeds(cells, executors[0], order)
    else:
        if len(executors) > 2:  # noqa: PLR2004 - of two the pair says it
            found += fastest(cells, executors, order)
        found += side_by_side(frameworks, cells)
        found += several_gpus(tables["gpu_scaling"])
        found += pairs(tables["speedups"], frameworks, executors)
        if tables["speedups"].empty:
            named = f" {reference}" if reference else ""
            found += [f"No completed run of the reference device{named}: there are no speedups."]
            found += [] if len(executors) > 2 else fastest(cells, executors, order)  # noqa: PLR2004 - as above
    return Answers((*all_flagged(tables["runs"]), *found), tuple(caveats(tables["runs"], cells)))
