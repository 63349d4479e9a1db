"""Says what rules of tables, figures and the page are told beside the files that they read."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import yaml

from trainbench.plan.question import Conclusions
from trainbench.plan.study import Study
from trainbench.results import sources
from trainbench.rules.call import Call


def order(study: Study) -> dict[str, tuple[Any, ...]]:
    """The order of models, batch sizes and devices in tables and figures: that of the config."""
    return {"models": study.models, "batch_sizes": study.batch_sizes, "devices": study.devices}


def question(conclusions: Conclusions) -> dict[str, Any]:
    """What the tables are to answer beside the order in which they show things."""
    return {
        "reference": {"device": conclusions.reference_device, "host": conclusions.reference_host},
        "target_accuracy": conclusions.target_accuracy,
        "prices": conclusions.prices,
        "currency": conclusions.currency,
    }


def repetition(call: Call) -> dict[str, Any]:
    """What it takes to repeat the study, as the page shows it."""
    settings = {key: value for key, value in call.config.items() if key not in {"baseline", "compare"}}
    return {
        "configuration": yaml.safe_dump(settings | {"devices": list(call.study.devices)}, sort_keys=False),
        "code_sha256": sorted({call.code_sha256[device.framework] for device in call.study.selected_devices()}),
        "repository": str(call.repository),
    }


def refuse_absent(conclusions: Conclusions) -> None:
    """Look for what is read beside the study's runs, so that what is not there is told before anything trains.

    Raises:
        InputError: a folder is not there, or has what cannot be used.
    """
    found = _found(conclusions.sources, "sources")
    if not conclusions.skip_bad_sources:
        sources.demand_all_usable(found.refused)
    if conclusions.baseline is not None:
        sources.demand_runs(_found((conclusions.baseline,), "baseline"), conclusions.baseline)


def read_sources(conclusions: Conclusions) -> Mapping[str, Any]:
    """The sources, and a fingerprint of what lies in them: no inputs, because Snakemake is not to make them."""
    return {
        "folders": conclusions.sources,
        "skip_bad": conclusions.skip_bad_sources,
        "files": sources.fingerprint_of(_found(conclusions.sources, "sources")),
    }


def read_baseline(conclusions: Conclusions) -> Mapping[str, Any]:
    """The baseline, and a fingerprint of what lies in it."""
    folder = conclusions.baseline
    return {"folder": folder, "files": sources.fingerprint_of(_found((str(folder),), "baseline"))}


@cache
def _found(folders: tuple[str, ...], key: str) -> sources.Found:
    return sources.find(folders, key)
