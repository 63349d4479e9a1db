"""Turns the config into a `Study`, or says in one sentence what is wrong with it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from trainbench.engines import ENGINES
from trainbench.errors import InputError
from trainbench.machine import clean_environment
from trainbench.networks.models import MODELS
from trainbench.networks.precision import PRECISIONS
from trainbench.plan.study import ALL_CORES, Device, ModelSettings, Study
from trainbench.plan.typed_config import WHERE_TO_SET, as_list, nearest

AUTO: Final = "auto"
DEFAULT_FRAMEWORK: Final = "tensorflow"


def study_of(config: Mapping[str, Any], gpu_found: bool | None) -> Study:
    """The study that `config`, which is typed, asks for; `devices: auto` is cpu, and gpu where `gpu_found`.

    `gpu_found` is None where runs are submitted to other machines, whose cards are not known here.

    Raises:
        InputError: a key is unknown, missing or has a value that is not allowed; the text names it.
    """
    for place in ("models", "target_accuracy"):
        for name in config[place]:
            _known(place, "model", name, MODELS)
    settings = {name: _model_settings(name, given) for name, given in config["model_settings"].items()}
    for name in config["models"]:
        if name not in settings:
            raise InputError(
                f"config key 'model_settings' has no entry for the model '{name}', expected at least its epochs; "
                f"add model_settings: {{{name}: {{epochs: 3}}}}"
            )
    series = {name: _devices(name, given) for name, given in config["device_settings"].items()}
    devices = _by_name(series)
    selected = config["devices"]
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
        models=tuple(config["models"]),
        batch_sizes=tuple(config["batch_sizes"]),
        devices=tuple(
            dict.fromkeys(device.name for name in selected for device in series.get(name) or [devices[name]])
        ),
        repeats=config["repeats"],
        seed=config["seed"],
        isolation=config["isolation"],
        monitor_interval_seconds=float(config["monitor"]["interval_seconds"]),
        dataset_path=config["dataset"]["path"],
        validation_samples=config["dataset"]["validation_samples"],
        model_settings=settings,
        device_settings=devices,
    )


def framework_for_auto(config: Mapping[str, Any]) -> str:
    """The framework of the device that `devices: auto` may add."""
    framework = config["device_settings"].get("gpu", {}).get("framework")
    return framework if framework in ENGINES else DEFAULT_FRAMEWORK  # one that is unknown is refused with the study


def _known(key: str, what: str, name: str, known: Iterable[str]) -> None:
    if name not in known:
        hint = as_list(key, name) or nearest(name, known)
        raise InputError(
            f"config key '{key}' names the {what} {name!r}, which is not known; "
            f"allowed: {', '.join(known)}{hint}; correct it in the config file or with --config"
        )


def _model_settings(name: str, given: Mapping[str, float]) -> ModelSettings:
    _known("model_settings", "model", name, MODELS)
    known = MODELS[name].hyperparameters
    chosen = {key: hyperparameter.default for key, hyperparameter in known.items()}
    for key, value in given.items():
        if key == "epochs":
            continue
        place = f"model_settings/{name}"
        _known(place, "setting", key, ["epochs", *known])
        allowed = known[key]
        if not allowed.above < value <= allowed.at_most:
            raise InputError(
                f"config key '{place}/{key}' is {value}, expected a number above {allowed.above:g} and at most "
                f"{allowed.at_most:g}; {WHERE_TO_SET}"
            )
        chosen[key] = float(value)
    if "epochs" not in given:
        raise InputError(
            f"config key 'model_settings/{name}' lacks epochs, expected a whole number of at least 1; {WHERE_TO_SET}"
        )
    return ModelSettings(epochs=int(given["epochs"]), hyperparameters=chosen)


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
    for key in ("gpus", "card"):
        if kind == "cpu" and given.get(key) is not None:
            raise InputError(f"config key '{place}/{key}' is given, but its kind is cpu; remove it or set kind: gpu")
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
            entry=name,
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
