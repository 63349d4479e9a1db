"""Brings each value of the config to the type that the schema wants, or says in one sentence what is wrong with it."""

import difflib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import jsonschema_rs

from trainbench.errors import InputError
from trainbench.plan import config_files

SCHEMA_FILE: Final = Path(__file__).with_name("config.schema.json")
WHERE_TO_SET: Final = "set it in the config file or with --config (config/README.md explains every key)"

Schema = Mapping[str, Any]


@cache
def _schema() -> dict[str, Any]:
    schema: dict[str, Any] = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    return schema


def typed(layers: Sequence[config_files.Layer]) -> dict[str, Any]:
    """What `layers` say together, each value of the type that the schema wants.

    Raises:
        InputError: a key is unknown or missing, or a value is of another type or out of its range; the text names it
            and, where a file set it, the line.
    """
    config: dict[str, Any] = _to_schema_types(config_files.merged(layers), _schema())
    _refuse_violations(config, layers)
    return config


def _to_schema_types(value: Any, schema: Schema) -> Any:
    """`value` with every text that stands for a number or a list brought to the type that `schema` wants.

    Files are read as texts, Snakemake's `--config` hands over all that is inside a list or mapping as such, and one
    name where a list is wanted as a single value. What cannot be converted stays as it is, for the schema to refuse.
    What YAML knows and JSON does not becomes text: keys that are numbers, dates, NaN and infinity.
    """
    schema = _resolved(schema)
    if "anyOf" in schema:
        for alternative in schema["anyOf"]:
            candidate = _to_schema_types(value, alternative)
            if _validator(json.dumps(_resolved(alternative))).is_valid(candidate):
                return candidate
        return _to_schema_types(value, {})
    is_json = isinstance(value, Mapping | list | tuple | str | int | float | None)
    if not is_json or (isinstance(value, float) and not math.isfinite(value)):
        value = str(value)
    match schema.get("type"), value:
        case _, Mapping():
            properties, rest = schema.get("properties", {}), schema.get("additionalProperties")
            rest = rest if isinstance(rest, dict) else {}
            return {str(key): _to_schema_types(item, properties.get(str(key), rest)) for key, item in value.items()}
        case _, list() | tuple():
            return [_to_schema_types(item, schema.get("items", {})) for item in value]
        case "array", str() | int() | float():
            return [_to_schema_types(value, schema["items"])]
        case "integer", str() | float():
            number = _number(str(value))
            return int(number) if isinstance(number, float) and number.is_integer() else number
        case "number", str():
            return _number(value)
        case "boolean", str():
            return {"true": True, "false": False}.get(value.lower(), value)
        case "null", "null" | "~" | "None":  # None: as Snakemake tells its jobs of `--config baseline=`
            return None
        case "string", int() | float() if not isinstance(value, bool):
            return str(value)
    return value


def _resolved(schema: Schema) -> Schema:
    reference = schema.get("$ref")
    return schema if reference is None else _schema()["$defs"][reference.rpartition("/")[2]]


@cache
def _validator(schema_text: str) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator({**json.loads(schema_text), "$defs": _schema()["$defs"]})


def _number(text: str) -> int | float | str:
    """The finite number that `text` stands for, or `text` itself."""
    for convert in (int, float):
        try:
            number = convert(text)
        except ValueError:
            continue
        return text if isinstance(number, float) and not math.isfinite(number) else number
    return text


def _refuse_violations(config: Mapping[str, Any], layers: Sequence[config_files.Layer]) -> None:
    errors = list(_validator(json.dumps(_schema())).iter_errors(config))
    if errors:
        # A misspelt key is both unknown and missing: naming the unknown one helps.
        unknown_first = min(errors, key=lambda error: error.kind.name != "additionalProperties")
        path = _as_keys(unknown_first.instance_path, config)
        place = "/".join(str(step) if isinstance(step, str) else f"item {step + 1}" for step in path)
        wrong_key, sentence = _sentence(unknown_first, place)
        line = config_files.line_of(layers, [*path, *wrong_key])
        raise InputError(f"{line}: {sentence}" if line else sentence)


def _as_keys(path: Sequence[str | int], config: Any) -> list[str | int]:
    """`path` with the keys that it passes: jsonschema_rs tells of a key of digits as of a place in a list."""
    steps: list[str | int] = []
    for step in path:
        if isinstance(config, Mapping):
            steps.append(next(key for key in config if key == str(step) or (key.isdecimal() and int(key) == step)))
        else:
            steps.append(step)
        config = config[steps[-1]]
    return steps


def _sentence(error: jsonschema_rs.ValidationError, key: str) -> tuple[list[str], str]:
    """The key that is wrong in itself, whatever its value, if any, and what is wrong with what stands at `key`."""
    schema, place = _at(error.schema_path[:-1]), f" in '{key}'" if key else ""
    match error.kind.name, error.kind.as_dict():
        case "additionalProperties", {"unexpected": [str(found), *_]}:
            allowed = list(schema["properties"])
            given: Any = error.instance
            hint = _with_space(found, given[found]) or nearest(found, allowed)
            return [found], (
                f"unknown config key {found!r}{place}; allowed: {', '.join(allowed)}{hint}; "
                "correct or remove it in the config file or on the command line"
            )
        case "propertyNames", {"error": named}:
            shown = _shown(named.instance)
            return [named.instance], f"config key '{key}' has an entry {shown}, expected {_expected(schema)}; rename it"
        case "required", {"property": missing}:
            return [], f"config key '{missing}' is missing{place}; {WHERE_TO_SET}"
    meaning = f" ({schema['description']})" if "description" in schema else ""
    hint = as_list(key, error.instance) or _with_space(key.rpartition("/")[2], error.instance)
    found = _shown(error.instance)
    return [], f"config key '{key}'{meaning} is {found}, expected {_expected(schema)}{hint}; {WHERE_TO_SET}"


def _at(path: Sequence[str | int]) -> Schema:
    """The part of the schema at `path`, which jsonschema_rs lets begin at `$defs` where a reference leads there."""
    schema: Any = _schema()
    for step in path:
        schema = schema[step]
    checked: Schema = schema
    return checked


def _shown(value: object, limit: int = 80) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= limit else f"{text[:limit]}…"


def _expected(schema: Schema) -> str:
    """What `schema` allows, in words."""
    schema = _resolved(schema)
    if "anyOf" in schema:
        return " or ".join(_expected(alternative) for alternative in schema["anyOf"])
    if "const" in schema:
        return f"'{schema['const']}'"
    if "enum" in schema:
        return f"one of {', '.join(schema['enum'])}"
    if "pattern" in schema:
        return str(schema["description"])
    match schema.get("type"):
        case "integer":
            most = f" and at most {schema['maximum']}" if "maximum" in schema else ""
            return f"a whole number of at least {schema['minimum']}{most}"
        case "array":
            count = "one or more of" if schema.get("minItems") else "any number of"
            return f"a list, without repetition, of {count}: {_expected(schema['items'])}"
        case "object":
            return "a mapping"
        case "number" if "minimum" in schema:
            return f"a number from {schema['minimum']:g} to {schema['maximum']:g}"
    words = {"number": "a number", "string": "a text that is not empty", "boolean": "true or false", "null": "null"}
    return words[schema["type"]]


def nearest(name: str, known: Iterable[str]) -> str:
    """Which of the known names was perhaps meant."""
    close = difflib.get_close_matches(name, list(known))
    return f" (did you mean '{close[0]}'?)" if close else ""


def as_list(key: str, value: object) -> str:
    """How to write a list, where `value` is one without its brackets."""
    items = [item.strip() for item in value.split(",")] if isinstance(value, str) else []
    if len(items) < 2 or not all(items):  # noqa: PLR2004 - one item is no list
        return ""
    return f" (a list is written in brackets: {key.partition('/')[0]}='[{', '.join(items)}]')"


def _with_space(key: str, value: object) -> str:
    """How to write a key and its value, where they were taken for one key because no space follows the colon."""
    name, colon, rest = key.partition(":")
    return f" (a space must follow the colon: {{{name}: {rest}}})" if colon and rest and value in (None, "") else ""
