"""Sentences for the notes of figures on what their marks are."""

from typing import Final

from trainbench.figures.drawn_study import DrawnStudy

MOST_DOTS: Final = 20
"""Of so many runs at most a cell has a dot each: more are a bar themselves."""


def runs_note(study: DrawnStudy, *, of_several: str, of_one: str) -> str:
    """What markers, bars and dots are, in studies of several runs a cell and of one, and what hollow ones are."""
    most = study.tables["cells"]["n"].max()
    if most > 1:
        dots = "." if most > MOST_DOTS else "; faint dots are single runs."
        return of_several + dots + flagged_note(study, "a run")
    return of_one + flagged_note(study, "the run")


def flagged_note(study: DrawnStudy, flagged: str) -> str:
    """What hollow markers are, if there are any."""
    return f" Hollow: a check flagged {flagged} (checks.csv)." if study.tables["cells"]["flagged_runs"].any() else ""
