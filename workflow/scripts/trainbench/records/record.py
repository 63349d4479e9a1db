"""Writes and reads the metrics file of a run, held to its schema both times."""

import json
import math
import re
from functools import cache
from pathlib import Path
from typing import Any, Final, NoReturn

import jsonschema_rs

from trainbench.files import whole_file
from trainbench.files.bounded_file import Unusable, printable, read_text

SCHEMA_VERSION: Final = 1

# The longest run that the config allows, 10,000 epochs of 600 bytes, leaves 6 MB. What is larger is no metrics file,
# and would take memory many times its size.
MOST_BYTES: Final = 16 * 2**20

# 2**53 - 1, the largest whole number that every reader of JSON understands alike, has 16.
MOST_DIGITS: Final = 16

# What the schema's `text` takes: so many characters, none that a terminal obeys, no angle brackets.
MOST_CHARACTERS: Final = 2000
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]+")
_ANGLE_BRACKETS: Final = str.maketrans({"<": "\u2039", ">": "\u203a"})
SCHEMA_FILE: Final = Path(__file__).with_name("metrics.schema.json")

Metrics = dict[str, Any]


@cache
def _validator() -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(json.loads(SCHEMA_FILE.read_text(encoding="utf-8")))


def misfit(metrics: object) -> tuple[str | int, ...] | None:
    """The keys that lead to the first place where `metrics` breaks the schema, or None."""
    error = next(iter(_validator().iter_errors(metrics)), None)
    return None if error is None else tuple(error.instance_path)


def _first_violation(metrics: object) -> str | None:
    """One sentence on the first place where `metrics` breaks the schema, or None."""
    try:
        error = next(iter(_validator().iter_errors(metrics)), None)
    except (ValueError, RecursionError) as error:
        # Texts that are no Unicode and nesting beyond what a schema describes.
        return f"which cannot even be compared with it ({printable(str(error))})"
    if error is None:
        return None
    place = "/".join(str(step) for step in error.instance_path) or "the top level"
    return f"at {printable(place)}: {printable(error.message)}"


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
    """Read one metrics file, whoever wrote it.

    Raises:
        Unusable: the file is missing, no regular file or too large, is not JSON, is of another schema version or
            breaks the schema.
    """
    text = read_text(path, MOST_BYTES)
    try:
        metrics = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite, parse_int=_short_integer)
    except RecursionError as error:
        raise Unusable("is not a metrics file: its JSON is nested too deeply") from error
    except ValueError as error:
        raise Unusable(f"is not valid JSON ({error})") from error
    version = metrics.get("schema_version") if isinstance(metrics, dict) else None
    if type(version) is not int or version != SCHEMA_VERSION:
        found = (
            printable(repr(version), 40) if version is None or isinstance(version, str | int | float) else "no number"
        )
        raise Unusable(
            f"has schema_version {found}, expected {SCHEMA_VERSION}: it was written by another "
            "version of trainbench or is not a metrics file"
        )
    violation = _first_violation(metrics)
    if violation is not None:
        raise Unusable(f"does not match its schema, {violation}")
    checked: Metrics = metrics
    return checked


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{printable(text, 20)} is too large a number")
    return number


def _short_integer(text: str) -> int:
    if len(text.lstrip("-")) > MOST_DIGITS:
        raise ValueError(f"a whole number of {len(text)} characters is too large")
    return int(text)


def plain(value: Any) -> Any:  # noqa: ANN401 - any part of a record
    """`value` with every text in it as the schema wants it.

    What machines and frameworks call themselves, and what they say when they fail, can hold line breaks, angle
    brackets and more than fits: a run must not be lost to that.
    """
    match value:
        case str():
            shown = _UNPRINTABLE.sub(" ", value).translate(_ANGLE_BRACKETS)
            return shown if len(shown) <= MOST_CHARACTERS else f"{shown[: MOST_CHARACTERS - 1]}…"
        case dict():
            return {key: plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
    return value
