"""Reads published results, of which there are cells but no metrics files, as rows of the tables of runs and epochs."""

import csv
import hashlib
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

import jsonschema_rs
import pandas as pd

from trainbench.errors import InputError
from trainbench.files.bounded_file import Unusable, printable, read_text
from trainbench.results.columns import chosen
from trainbench.results.measured import EPOCH_COLUMNS
from trainbench.results.runs_table import COMPLETED, RUN_COLUMNS
from trainbench.results.sources import DESCRIPTOR
from trainbench.results.tables import frame

SCHEMA_FILE: Final = Path(__file__).with_name("published.schema.json")

# The tables of 2017 have 5 kB; this leaves room for thousands of cells.
MOST_BYTES: Final = 2**20

# Of seconds 30 years; of batch sizes and percent more than any machine's. Not a number is not below it either.
LARGEST: Final = 10**9

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class _Kind:
    """What a column holds: how its text is read, which values it may have, and how to say that."""

    convert: Callable[[str], Any]
    allowed: Callable[[Any], bool]
    expected: str


def _whole(least: int) -> _Kind:
    return _Kind(int, lambda number: least <= number <= LARGEST, f"a whole number from {least} to {LARGEST}")


_NAME: Final = _Kind(str, lambda text: NAME.fullmatch(text) is not None, "a name of letters, digits, '.', '_' and '-'")
_SECONDS: Final = _Kind(float, lambda number: 0 < number <= LARGEST, f"a number above 0 and at most {LARGEST}")
_SHARE: Final = _Kind(float, lambda number: 0 <= number <= 1, "a number from 0 to 1")
_PERCENT: Final = _Kind(float, lambda number: 0 <= number <= LARGEST, "a percentage of at least 0")

_CELL: Final = {"model": _NAME, "batch_size": _whole(1), "device": _NAME}
CELL_FIELDS: Final = _CELL | {
    "seconds_per_epoch": _SECONDS,
    "total_seconds": _SECONDS,
    "epochs_shown": _whole(1),
    "final_accuracy": _SHARE,
    "cpu_percent": _PERCENT,
    "gpu_utilization_percent": _PERCENT,
}
EPOCH_FIELDS: Final = _CELL | {"epoch": _whole(0), "accuracy": _SHARE, "elapsed_seconds": _SECONDS}
MAY_BE_UNKNOWN: Final = frozenset({"total_seconds", "final_accuracy", "cpu_percent", "gpu_utilization_percent"})
"""Columns of the file of cells that may be empty."""

Misfit = Callable[[str, str, str], InputError]
"""Says of a line of a CSV file what in which column was found, and what was expected."""


@dataclass(frozen=True)
class Published:
    """Published results as rows with the columns `RUN_COLUMNS` and `EPOCH_COLUMNS`: a run a cell.

    `note` says for readers where they come from and what their seconds cover; `host` is a row of the table of hosts.
    """

    runs: pd.DataFrame
    epochs: pd.DataFrame
    note: str
    host: Mapping[str, Any]


def read_published(folder: Path) -> Published:
    """Read a folder that a descriptor says to hold published results.

    Each cell counts as one completed run, its `run_id` made of host and cell. `train_seconds_per_epoch` are the
    published seconds, whatever the descriptor says that they cover; `samples_per_second` follow from them where the
    number of training images is stated. Everything else that was not published is unknown.

    Raises:
        InputError: the descriptor or a CSV file is broken; the text names file, line and column.
    """
    descriptor = _descriptor(folder / DESCRIPTOR)
    cells_path = folder / descriptor["cells"]
    runs: dict[str, dict[str, Any]] = {}
    for misfit, cell in _rows(cells_path, CELL_FIELDS, descriptor):
        if cell["run_id"] in runs:
            repeated = f"repeats the cell {cell['model']} {cell['batch_size']} {cell['device']}"
            raise misfit("model", repeated, "each cell once")
        runs[cell["run_id"]] = _run(cell, descriptor)
    epochs = []
    if descriptor["epochs"] is not None:
        for misfit, epoch in _rows(folder / descriptor["epochs"], EPOCH_FIELDS, descriptor):
            if epoch["run_id"] not in runs:
                raise misfit("model", "belongs to no cell", f"one of the cells in {cells_path.name}")
            epochs.append(epoch | {"epoch": epoch["epoch"] + 1})  # published counted from 0, ours from 1
    return Published(
        runs=frame(runs.values(), RUN_COLUMNS),
        epochs=frame(epochs, EPOCH_COLUMNS),
        note=_note(descriptor),
        host=_host(descriptor, len(runs)),
    )


def _host(descriptor: Mapping[str, Any], cells: int) -> dict[str, Any]:
    hardware = {
        kind: "; ".join(one["hardware"] for one in descriptor["devices"].values() if one["kind"] == kind) or None
        for kind in ("cpu", "gpu")
    }
    software = " ".join(filter(None, (descriptor["framework"], descriptor["framework_version"])))
    return {
        "host": descriptor["host"],
        "hostnames": descriptor["hostname"],
        "cpu_model": hardware["cpu"],
        "gpus": hardware["gpu"],
        "software": software,
        "runs": cells,
    }


def _note(descriptor: Mapping[str, Any]) -> str:
    covered = "; ".join(f"{model}: {what}" for model, what in descriptor["seconds_cover"].items())
    return f"{descriptor['host']}: {descriptor['provenance']}. Seconds an epoch cover, for {covered}."


@cache
def _validator() -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(json.loads(SCHEMA_FILE.read_text(encoding="utf-8")))


def _descriptor(path: Path) -> Mapping[str, Any]:
    try:
        descriptor: Mapping[str, Any] = json.loads(_text(path))
        error = next(iter(_validator().iter_errors(descriptor)), None)
    except (ValueError, RecursionError) as error:
        raise _refusal(path, f"is not valid JSON ({printable(str(error))})") from error
    if error is not None:
        place = printable("/".join(map(str, error.instance_path))) or "the top level"
        raise _refusal(path, f"does not match its schema, at {place}: {printable(error.message)}")
    return descriptor


def _text(path: Path) -> str:
    try:
        return read_text(path, MOST_BYTES)
    except Unusable as error:
        raise _refusal(path, str(error)) from error


def _refusal(path: Path, reason: str) -> InputError:
    return InputError(
        f"the published results {printable(str(path))} cannot be used: the file {reason}; correct it or take its "
        "folder out of sources"
    )


def _rows(
    path: Path, fields: Mapping[str, _Kind], descriptor: Mapping[str, Any]
) -> Iterator[tuple[Misfit, dict[str, Any]]]:
    """What each line of a CSV file holds, unknown as None, with the host and id of its cell; and how to refuse it."""
    reader = csv.reader(io.StringIO(_text(path), newline=""), strict=True)
    try:
        header = next(reader, [])
        if header != list(fields):
            raise _refusal(path, f"has the columns '{printable(','.join(header))}', expected '{','.join(fields)}'")
        for texts in reader:
            if len(texts) != len(fields):
                raise _refusal(path, f"has {len(texts)} values in line {reader.line_num}, expected {len(fields)}")
            misfit = partial(_misfit, path, reader.line_num)
            row = {
                column: _value(text, column, kind, misfit)
                for (column, kind), text in zip(fields.items(), texts, strict=True)
            }
            if row["device"] not in descriptor["devices"]:
                raise misfit("device", f"is '{row['device']}'", f"one that {DESCRIPTOR} describes")
            row |= {"repeat": 1, "host": descriptor["host"]}
            # The same for the same published cell, wherever it is found.
            identity = "/".join(str(row[key]) for key in ("host", *_CELL))
            yield misfit, row | {"run_id": hashlib.sha256(identity.encode()).hexdigest()[:32]}
    except csv.Error as error:
        raise _refusal(path, f"is not valid CSV (line {reader.line_num}: {error})") from error


def _misfit(path: Path, line: int, column: str, found: str, expected: str) -> InputError:
    return InputError(
        f"the published results {printable(str(path))} cannot be used: line {line}, column {column}, "
        f"{printable(found, 80)}, expected {expected}; correct the file or take its folder out of sources"
    )


def _value(text: str, column: str, kind: _Kind, misfit: Misfit) -> Any:  # noqa: ANN401 - what `convert` gives
    if not text and column in MAY_BE_UNKNOWN:
        return None
    try:
        value = kind.convert(text)
    except ValueError:
        raise misfit(column, f"is '{text}'", kind.expected) from None
    if not kind.allowed(value):
        raise misfit(column, f"is '{text}'", kind.expected)
    return value


def _run(cell: Mapping[str, Any], descriptor: Mapping[str, Any]) -> dict[str, Any]:
    images, batch_size, seconds = descriptor["training_images"], cell["batch_size"], cell["seconds_per_epoch"]
    return {
        **cell,
        **chosen(descriptor, ("hostname", "framework", "framework_version", "precision")),
        **chosen(descriptor["devices"][cell["device"]], ("kind", "name"), "device_"),
        "status": COMPLETED,
        "epochs": cell["epochs_shown"],
        "train_seconds_per_epoch": seconds,
        "samples_per_second": images // batch_size * batch_size / seconds if images and batch_size <= images else None,
        # That of the file covers something else. It was read because a broken file is one as a whole.
        "total_seconds": None,
        "flags": "",
    }
