"""Runs that only wait in the place of those that train, and say when they did and what they were given."""

import json
from typing import Any

from checkout import Checkout

NOTHING_BUT_WAITING = """
import json, time
from pathlib import Path

begin = time.monotonic()
time.sleep(0.5)
shown = {"begin": begin, "end": time.monotonic(), "cores": snakemake.threads, "gpus": snakemake.resources.gpu}
Path(snakemake.output.metrics).write_text(json.dumps(shown))
Path(snakemake.output.samples).touch()
"""


def have_runs_wait(checkout: Checkout) -> Checkout:
    """Have the runs of a checkout wait half a second each."""
    (checkout.folder / "workflow/scripts/train.py").write_text(NOTHING_BUT_WAITING, encoding="utf-8")
    return checkout


def waited(checkout: Checkout) -> list[dict[str, Any]]:
    """What the runs said."""
    paths = checkout.folder.glob("results/runs/**/metrics.json")
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


def most_at_once(runs: list[dict[str, Any]]) -> int:
    """How many of these runs waited at the same time."""
    return max(sum(other["begin"] <= run["begin"] < other["end"] for other in runs) for run in runs)
