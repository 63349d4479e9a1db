"""Writes and reads the metrics file of a run, held to its schema both times."""

import json
import math
from functools import cache
from pathlib import Path
from typing import Any, Final, NoReturn

import jsonschema_rs

from trainbench import whole_file
from trainbench.errors import InputError

SCHEMA_VERSION: Final = 1
SCHEMA_FILE: Final = Path(__file__).resolve().parents[2] / "schemas" / "metrics.schema.json"

Metrics = dict[str, Any]


@cache
def _validator() -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(json.loads(SCHEMA_FILE.read_text(encoding="utf-8")))


def _first_violation(metrics: object) -> str | None:
    """One sentence on the first place where `metrics` breaks the schema, or None."""
    error = next(iter(_validator().iter_errors(metrics)), None)
    if error is None:
        return None
    place = "/".join(str(step) for step in error.instance_path) or "the top level"
    return f"at {place}: {_shortened(error.message)}"


def _shortened(message: str, limit: int = 300) -> str:
    return message if len(message) <= limit else f"{message[:limit]}…"


def write(metrics: Metrics, path: Path) -> None:
    """Write `metrics` to `path` in one atomic step.

    Raises:
        ValueError: `metrics` does not match the schema or holds NaN or infinity. This is a bug of the writer, not a
            user's mistake.
    """
    violation = _first_violation(metrics)
    if violation is not None:
        raise ValueError(f"refusing to write {path}: {violation}")
    text = json.dumps(metrics, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    whole_file.write(text, path)


def read(path: Path) -> Metrics:
    """Read one metrics file.

    Raises:
        InputError: the file is missing, is not JSON, is of another schema version or breaks the schema; the text
            names the file.
    """
    remedy = f"delete it (rm {path}) and run snakemake again to measure that run anew"
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except OSError as error:
        raise InputError(f"the metrics file {path} cannot be read ({error.strerror}); {remedy}") from error
    except ValueError as error:
        raise InputError(f"the metrics file {path} is not valid JSON ({error}); {remedy}") from error
    version = metrics.get("schema_version") if isinstance(metrics, dict) else None
    if version != SCHEMA_VERSION:
        raise InputError(
            f"the metrics file {path} has schema_version {version!r}, expected {SCHEMA_VERSION}: it was written by "
            f"another version of trainbench or is not a metrics file; {remedy}"
        )
    violation = _first_violation(metrics)
    if violation is not None:
        raise InputError(f"the metrics file {path} does not match its schema, {violation}; {remedy}")
    checked: Metrics = metrics
    return checked


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def finite_or_none(value: float | None) -> float | None:
    """`value`, or None where it is NaN or infinite: JSON knows neither (a diverged loss is unknown)."""
    return value if value is not None and math.isfinite(value) else None
