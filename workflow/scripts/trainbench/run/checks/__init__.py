"""Says what may have disturbed a run, each finding with a name, a level and what to do about it.

A check is one function marked `@check(level, advice)` in one of the modules beside this one; nothing else knows of it.
Nothing is dropped because of a finding: it stands beside the numbers.
"""

from typing import Final

from trainbench.records.finding import Finding
from trainbench.run.checks import cores, gpu, pace, watching
from trainbench.run.checks.check import Check, Facts

CHECKS: Final = tuple(
    found for module in (cores, pace, watching, gpu) for found in vars(module).values() if isinstance(found, Check)
)
"""All checks, in the order of their findings."""


def findings(facts: Facts) -> list[Finding]:
    """What all checks find, in their order; one that fails costs itself alone, and is found."""
    found = []
    for check in CHECKS:
        try:
            found.append(check(facts))
        except Exception as error:
            found.append(not_evaluated(f"the check {check.name}", f"{type(error).__name__}: {error}"))
    return [finding for finding in found if finding is not None]


def not_evaluated(what: str, why: str) -> Finding:
    """Finding of a part of what the monitor saw that nothing could be made of."""
    return Finding(
        "not_evaluated",
        "warning",
        f"{what} could not be made from what the monitor saw ({why})",
        "the run itself is whole; please report this as a bug of trainbench, with the run's samples.csv",
    )
