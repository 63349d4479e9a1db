"""Lays records out as a results folder, as runs leave them behind."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def metrics_path(folder: Path, record: Mapping[str, Any]) -> Path:
    cell = (record["model"], str(record["batch_size"]), record["device"], str(record["repeat"]))
    return folder.joinpath("runs", *cell, "metrics.json")


def write_results(folder: Path, records: Iterable[Mapping[str, Any]]) -> list[Path]:
    """Write each record, whatever is in it, to its place below `folder`; the paths of the files."""
    paths = []
    for record in records:
        path = metrics_path(folder, record)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record), encoding="utf-8")
        paths.append(path)
    return paths
