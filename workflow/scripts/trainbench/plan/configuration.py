"""Turns the config into a `Study`, or says in one sentence what is wrong with it."""

import difflib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import jsonschema_rs

from trainbench.engines import ENGINES
from trainbench.errors import InputError
from trainbench.machine import clean_environment
from trainbench.networks.models import MODELS, Hyperparameter
from trainbench.networks.precision import PRECISIONS
from trainbench.plan import config_files
from trainbench.plan.question import Conclusions
from trainbench.plan.study import ALL_CORES, Device, ModelSettings, Study

SCHEMA_FILE: Final = Path(__file__).with_name("config.schema.json")
WHERE_TO_SET: Final = "set it in the config file or with --config (config/README.md explains every key)"
AUTO: Final = "auto"

DEFAULT_FRAMEWORK: Final = "tensorflow"

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
    return _typed(config_files.merged(layers), layers)


def study_of(config: Mapping[str, Any], gpu_found: bool | None) -> Study:
    """The study that `config` asks for; `devices: auto` is cpu, and gpu where `gpu_found`.

    `gpu_found` is None where runs are submitted to other machines, whose cards are not known here.

    Raises:
        InputError: a key is unknown, missing or has a value that is not allowed; the text names it.
    """
    typed = _typed(config)
    for place, model in (("models", name) for name in typed["models"]):
        _known(place, "model", model, MODELS)
    settings = {name: _model_settings(name, given) for name, given in typed["model_settings"].items()}
    for name in typed["models"]:
        if name not in settings:
            raise InputError(
                f"config key 'model_settings' has no entry for the model '{name}', expected at least its epochs; "
                f"add model_settings: {{{name}: {{epochs: 3}}}}"
            )
    series = {name: _devices(name, given) for name, given in typed["device_settings"].items()}
    devices = _by_name(series)
    selected = typed["devices"]
    if selected == AUTO and gpu_found is None:
        raise InputError(
            "config key 'devices' is 'auto', but runs are submitted to other machines, whose GPUs are not known here, "
            "expected the names of devices; name them, for example --config 'devices=[cpu, gpu]' (docs/clusters.md)"
        )
    if selected == AUTO:
        selected = ["cpu", "gpu"] if gpu_found else ["cpu"]
    for name in selected:
        _known("devices", "device", name, [*series, *(name for name in devices if name not in series)])
    return Study(
        models=tuple(typed["models"]),
        batch_sizes=tuple(typed["batch_sizes"]),
        devices=tuple(dict.fromkeys(name for chosen in selected for name in _names_of(chosen, series))),
        repeats=typed["repeats"],
        seed=typed["seed"],
        isolation=typed["isolation"],
        monitor_interval_seconds=float(typed["monitor"]["interval_seconds"]),
        dataset_path=typed["dataset"]["path"],
        validation_samples=typed["dataset"]["validation_samples"],
        model_settings=settings,
        device_settings=devices,
    )


def framework_for_auto(config: Mapping[str, Any]) -> str:
    """The framework of the device that `devices: auto` may add, as far as can be told of a config not checked yet."""
    match config.get("device_settings"):
        case {"gpu": {"framework": str(framework)}} if framework in ENGINES:
            return framework
    return DEFAULT_FRAMEWORK


def conclusions_of(config: Mapping[str, Any]) -> Conclusions:
    """What `config` wants read and concluded beyond the study's own runs.

    Raises:
        InputError: as `study_of`.
    """
    typed = _typed(config)
    for name in typed["target_accuracy"]:
        _known("target_accuracy", "model", name, MODELS)
    return Conclusions(
        reference_device=typed["reference"]["device"],
        reference_host=typed["reference"]["host"],
        target_accuracy={name: float(share) for name, share in typed["target_accuracy"].items()},
        prices={name: float(price) for name, price in typed["prices"].items()},
        currency=typed["currency"],
        sources=tuple(typed["sources"]),
        skip_bad_sources=typed["skip_bad_sources"],
        baseline=typed["baseline"],
        smallest_difference_percent=float(typed["compare"]["smallest_difference_percent"]),
    )


def _typed(config: Mapping[str, Any], layers: Sequence[config_files.Layer] = ()) -> dict[str, Any]:
    typed: dict[str, Any] = _to_schema_types(_to_json_types(config), _schema())
    _refuse_violations(typed, layers)
    return typed


def _known(key: str, what: str, name: str, known: Iterable[str]) -> None:
    if name not in known:
        hint = _as_list(key, name) or _nearest(name, known)
        raise InputError(
            f"config key '{key}' names the {what} {name!r}, which is not known; "
            f"allowed: {', '.join(known)}{hint}; correct it in the config file or with --config"
        )


def _nearest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean '{close[0]}'?)" if close else ""


def _as_list(key: str, value: object) -> str:
    """How to write a list, where `value` is one without its brackets."""
    items = [item.strip() for item in value.split(",")] if isinstance(value, str) else []
    if len(items) < 2 or not all(items):  # noqa: PLR2004 - one item is no list
        return ""
    return f" (a list is written in brackets: {key.partition('/')[0]}='[{', '.join(items)}]')"


def _with_space(key: str, value: object) -> str:
    """How to write a key and its value, where they were taken for one key because no space follows the colon."""
    name, colon, rest = key.partition(":")
    return f" (a space must follow the colon: {{{name}: {rest}}})" if colon and rest and value in (None, "") else ""


def _model_settings(name: str, given: Mapping[str, float]) -> ModelSettings:
    _known("model_settings", "model", name, MODELS)
    known = MODELS[name].hyperparameters
    chosen = {key: hyperparameter.default for key, hyperparameter in known.items()}
    for key, value in given.items():
        if key == "epochs":
            continue
        place = f"model_settings/{name}"
        _known(place, "setting", key, ["epochs", *known])
        _in_range(f"{place}/{key}", value, known[key])
        chosen[key] = float(value)
    if "epochs" not in given:
        raise InputError(
            f"config key 'model_settings/{name}' lacks epochs, expected a whole number of at least 1; {WHERE_TO_SET}"
        )
    return ModelSettings(epochs=int(given["epochs"]), hyperparameters=chosen)


def _in_range(key: str, value: float, allowed: Hyperparameter) -> None:
    if not allowed.above < value <= allowed.at_most:
        raise InputError(
            f"config key '{key}' is {value}, expected a number above {allowed.above:g} and at most "
            f"{allowed.at_most:g}; {WHERE_TO_SET}"
        )


def _devices(name: str, given: Mapping[str, Any]) -> tuple[Device, ...]:
    """The devices that an entry of device_settings describes: several where its threads or its gpus are a list.

    Of the threads [1, 2, all] for `cpu` the devices are cpu-1t, cpu-2t and, with all threads, cpu itself. Of the gpus
    [1, 2] for `gpu` they are gpu-1g and gpu-2g.
    """
    place, kind = f"device_settings/{name}", given["kind"]
    framework, precision = given.get("framework", DEFAULT_FRAMEWORK), given.get("precision", "float32")
    _known(f"{place}/framework", "framework", framework, ENGINES)
    if kind == "cpu" and not PRECISIONS[precision].on_cpus:
        on_cpus = [name for name, known in PRECISIONS.items() if known.on_cpus]
        raise InputError(
            f"config key '{place}/precision' is {precision}, which NVIDIA's GPUs alone have, but its kind is cpu; "
            f"expected one of {', '.join(on_cpus)}"
        )
    if kind == "cpu" and "gpus" in given:
        raise InputError(f"config key '{place}/gpus' is given, but its kind is cpu; remove it or set kind: gpu")
    if kind == "cpu" and given.get("card") is not None:
        raise InputError(f"config key '{place}/card' is given, but its kind is cpu; remove it or set kind: gpu")
    environment = given.get("environment", {})
    for variable in environment:
        if variable in clean_environment.SET_BY_TRAINBENCH:
            raise InputError(
                f"config key '{place}/environment' has {variable}, which trainbench sets itself: "
                f"{clean_environment.SET_BY_TRAINBENCH[variable]}; remove it"
            )
    threads, gpus = given.get("threads", ALL_CORES), given.get("gpus", 1 if kind == "gpu" else 0)
    return tuple(
        Device(
            name=name + _suffix(threads, "t", thread_count) + _suffix(gpus, "g", gpu_count),
            kind=kind,
            threads=thread_count,
            gpus=gpu_count,
            framework=framework,
            precision=precision,
            card=given.get("card"),
            environment=environment,
            resources=given.get("resources", {}),
        )
        for thread_count in (threads if isinstance(threads, list) else [threads])
        for gpu_count in (gpus if isinstance(gpus, list) else [gpus])
    )


def _suffix(given: Any, letter: str, count: int | str) -> str:
    """What tells the devices of a list apart."""
    return f"-{count}{letter}" if isinstance(given, list) and count != ALL_CORES else ""


def _by_name(series: Mapping[str, Sequence[Device]]) -> dict[str, Device]:
    devices: dict[str, Device] = {}
    for name, members in series.items():
        for device in members:
            if device.name in devices or (device.name != name and device.name in series):
                raise InputError(
                    f"config key 'device_settings' describes the device '{device.name}' twice, once by a list in "
                    f"'{name}'; rename one of the two"
                )
            devices[device.name] = device
    return devices


def _names_of(chosen: str, series: Mapping[str, Sequence[Device]]) -> list[str]:
    """The devices that a name in `devices` asks for: all of a list, or the one of that name."""
    return [device.name for device in series[chosen]] if chosen in series else [chosen]


def _to_json_types(value: Any) -> Any:
    """`value` with what YAML knows and JSON does not as text: keys that are numbers, dates, NaN and infinity."""
    match value:
        case Mapping():
            return {str(key): _to_json_types(item) for key, item in value.items()}
        case list() | tuple():
            return [_to_json_types(item) for item in value]
        case float() if not math.isfinite(value):
            return str(value)
        case str() | int() | float() | None:
            return value
    return str(value)


def _to_schema_types(value: Any, schema: Schema) -> Any:
    """`value` with every text that stands for a number or a list brought to the type that `schema` wants.

    Files are read as texts, Snakemake's `--config` hands over all that is inside a list or mapping as such, and one
    name where a list is wanted as a single value. What cannot be converted stays as it is, for the schema to refuse.
    """
    schema = _resolved(schema)
    if "anyOf" in schema:
        for alternative in schema["anyOf"]:
            candidate = _to_schema_types(value, alternative)
            if _validator(json.dumps(_resolved(alternative))).is_valid(candidate):
                return candidate
        return value
    match schema.get("type"):
        case "object" if isinstance(value, Mapping):
            properties = schema.get("properties", {})
            rest = schema.get("additionalProperties")
            return {
                key: _to_schema_types(item, properties.get(key, rest if isinstance(rest, dict) else {}))
                for key, item in value.items()
            }
        case "array" if isinstance(value, list):
            return [_to_schema_types(item, schema["items"]) for item in value]
        case "array" if isinstance(value, str | int | float):
            return [_to_schema_types(value, schema["items"])]
        case "integer":
            number = _number(value) if isinstance(value, str) else value
            return int(number) if isinstance(number, float) and number.is_integer() else number
        case "number" if isinstance(value, str):
            return _number(value)
        case "boolean" if isinstance(value, str):
            return {"true": True, "false": False}.get(value.lower(), value)
        case "null" if value in ("null", "~", "None"):  # None: as Snakemake tells its jobs of `--config baseline=`
            return None
        case "string" if isinstance(value, int | float) and not isinstance(value, bool):
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
        line = config_files.line_of(layers, [*unknown_first.instance_path, *_found_key(unknown_first)])
        raise InputError(f"{line}: {_sentence(unknown_first)}" if line else _sentence(unknown_first))


def _found_key(error: jsonschema_rs.ValidationError) -> list[str]:
    """The key that is wrong in itself, whatever its value."""
    match error.kind.name, error.kind.as_dict():
        case "additionalProperties", {"unexpected": [str(key), *_]}:
            return [key]
        case "propertyNames", {"error": named}:
            return [named.instance]
    return []


def _sentence(error: jsonschema_rs.ValidationError) -> str:
    key = _key(error.instance_path)
    schema = _at(error.schema_path[:-1])
    if error.kind.name == "additionalProperties":
        found = error.kind.as_dict()["unexpected"][0]
        allowed = list(schema["properties"])
        place = f" in '{key}'" if key else ""
        given: Any = error.instance
        hint = _with_space(found, given[found]) or _nearest(found, allowed)
        return (
            f"unknown config key {found!r}{place}; allowed: {', '.join(allowed)}{hint}; "
            "correct or remove it in the config file or on the command line"
        )
    if error.kind.name == "propertyNames":
        found = error.kind.as_dict()["error"].instance
        return f"config key '{key}' has an entry {_shown(found)}, expected {_expected(schema)}; rename it"
    if error.kind.name == "required":
        missing = error.kind.as_dict()["property"]
        place = f" in '{key}'" if key else ""
        return f"config key '{missing}' is missing{place}; {WHERE_TO_SET}"
    meaning = f" ({schema['description']})" if "description" in schema else ""
    hint = _as_list(key, error.instance) or _with_space(key.rpartition("/")[2], error.instance)
    found = _shown(error.instance)
    return f"config key '{key}'{meaning} is {found}, expected {_expected(schema)}{hint}; {WHERE_TO_SET}"


def _key(path: Sequence[str | int]) -> str:
    return "/".join(str(step) if isinstance(step, str) else f"item {step + 1}" for step in path)


def _at(path: Sequence[str | int]) -> Schema:
    """The part of the schema at `path`, references followed."""
    schema: Any = _schema()
    for step in path:
        schema = _schema()["$defs"] if step == "$defs" else schema if step == "$ref" else schema[step]
        if isinstance(schema, dict):
            schema = _resolved(schema)
    checked: Schema = schema
    return checked


def _shown(value: object, limit: int = 80) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
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
