"""Says what rules of tables, figures and the page are told beside the files that they read."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import yaml

from trainbench.plan.study import Study
from trainbench.results import sources
from trainbench.rules.call import Call


def order(study: Study) -> dict[str, tuple[Any, ...]]:
    """The order of models, batch sizes and devices in tables and figures: that of the config."""
    return {"models": study.models, "batch_sizes": study.batch_sizes, "devices": study.devices}


def question(config: Mapping[str, Any]) -> dict[str, Any]:
    """What the tables are to answer beside the order in which they show things."""
    return {key: config[key] for key in ("reference", "target_accuracy", "prices", "currency")}


def repetition(call: Call) -> dict[str, Any]:
    """What it takes to repeat the study, as the page shows it."""
    settings = {key: value for key, value in call.config.items() if key not in {"baseline", "compare"}}
    return {
        "configuration": yaml.safe_dump(settings | {"devices": list(call.study.devices)}, sort_keys=False),
        "code_sha256": sorted({call.code_sha256[device.framework] for device in call.study.selected_devices()}),
    }


def refuse_absent(config: Mapping[str, Any]) -> None:
    """Look for what is read beside the study's runs, so that what is not there is told before anything trains.

    Raises:
        InputError: a folder is not there, or has what cannot be used.
    """
    found = _found(tuple(config["sources"]), "sources")
    if not config["skip_bad_sources"]:
        sources.demand_all_usable(found.refused)
    if config["baseline"] is not None:
        sources.demand_runs(_found((config["baseline"],), "baseline"), config["baseline"])


def read_sources(config: Mapping[str, Any]) -> dict[str, Any]:
    """The sources, and a fingerprint of what lies in them: no inputs, because Snakemake is not to make them."""
    folders = tuple(config["sources"])
    files = sources.fingerprint_of(_found(folders, "sources"))
    return {"folders": folders, "skip_bad": config["skip_bad_sources"], "files": files}


def read_baseline(folder: str) -> dict[str, Any]:
    """The baseline, and a fingerprint of what lies in it."""
    return {"folder": folder, "files": sources.fingerprint_of(_found((folder,), "baseline"))}


@cache
def _found(folders: tuple[str, ...], key: str) -> sources.Found:
    return sources.find(folders, key)
