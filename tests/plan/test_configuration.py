"""The config becomes a study, or one sentence on what is wrong; config/README.md says the same as the files.

Layers are merged here by Snakemake's own functions.
"""

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from snakemake.cli import parse_config
from snakemake.common.configfile import load_configfile
from snakemake.utils import update_config

from trainbench.engines import ENGINES
from trainbench.errors import InputError
from trainbench.networks.models import MODELS
from trainbench.networks.precision import PRECISIONS
from trainbench.plan import typed_config
from trainbench.plan.config_files import Layer
from trainbench.plan.configuration import framework_for_auto, study_of
from trainbench.plan.study import ModelSettings, Run, Study

REPOSITORY = Path(__file__).parents[2]
CONFIG = REPOSITORY / "config"
DEFAULT = CONFIG / "config.yaml"
README = (CONFIG / "README.md").read_text(encoding="utf-8")
SCHEMA = json.loads(typed_config.SCHEMA_FILE.read_text(encoding="utf-8"))


def typed(config: Mapping[str, Any]) -> dict[str, Any]:
    """Bring a config as Snakemake has it to the types of the schema."""
    return typed_config.typed([Layer(config, None)])


def layered(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Layer over the default study."""
    config: dict[str, Any] = {}
    for layer in (load_configfile(str(DEFAULT)), *layers):
        update_config(config, layer)
    return typed(config)


def study_with(*layers: Mapping[str, Any], gpu_found: bool = False) -> Study:
    return study_of(layered(*layers), gpu_found)


def study_from(*arguments: str) -> Study:
    """Give the study for these arguments of --config."""
    return study_with(parse_config(arguments))


def refusal_of(*layers: Mapping[str, Any]) -> str:
    with pytest.raises(InputError) as caught:
        study_with(*layers)
    return str(caught.value)


# --- the config files ---


def test_the_default_study_is_that_of_2017_with_fewer_epochs() -> None:
    study = study_with(gpu_found=True)
    assert (study.models, study.batch_sizes, study.devices) == (
        ("logistic", "conv", "lstm"),
        (128, 256, 512),
        ("cpu", "gpu"),
    )


def test_the_default_hyperparameters_are_those_of_2017() -> None:
    chosen = {name: dict(settings.hyperparameters) for name, settings in study_with().model_settings.items()}
    assert chosen == {
        name: {key: hyperparameter.default for key, hyperparameter in model.hyperparameters.items()}
        for name, model in MODELS.items()
    }


# After the epochs of the smoke study, at its larger batch size: the lowest of ten runs.
REACHED = {"logistic": 0.8797, "lstm": 0.3631}


def test_the_smoke_study_has_targets_that_its_few_epochs_reach() -> None:
    smoke = load_configfile(str(CONFIG / "smoke.yaml"))
    targets = layered(smoke)["target_accuracy"]
    assert set(smoke["models"]) == set(REACHED)
    assert [model for model, accuracy in REACHED.items() if targets[model] > accuracy] == []
    assert (smoke["batch_sizes"], smoke["model_settings"]) == (
        [256, 512],
        {"logistic": {"epochs": 3}, "lstm": {"epochs": 2}},
    )


def test_the_smoke_study_has_eight_runs_on_a_cpu() -> None:
    assert len(study_with(load_configfile(str(CONFIG / "smoke.yaml"))).runs()) == 8


def test_the_published_study_trains_every_model_for_100_epochs_and_keeps_the_rest() -> None:
    published = study_with(load_configfile(str(CONFIG / "published-2017.yaml")))
    assert published.model_settings == {
        name: ModelSettings(100, settings.hyperparameters) for name, settings in study_with().model_settings.items()
    }


def test_the_default_reads_nothing_beside_its_own_runs() -> None:
    found = layered()
    assert (found["sources"], found["skip_bad_sources"], found["baseline"]) == ([], False, None)


def test_the_default_concludes_speedups_over_the_cpu_and_no_costs() -> None:
    found = layered()
    assert (found["reference"], found["prices"]) == ({"device": "cpu", "host": None}, {})


def test_prices_on_the_command_line_are_numbers() -> None:
    assert layered(parse_config(["prices={gpu: 2.5, server/cpu: 1}"]))["prices"] == {
        "gpu": 2.5,
        "server/cpu": 1.0,
    }


def test_a_target_of_an_unknown_model_is_refused() -> None:
    with pytest.raises(InputError, match=r"'target_accuracy' names the model 'lsmt'.*did you mean 'lstm'"):
        study_with({"target_accuracy": {"lsmt": 0.9}})


def test_the_published_study_shows_the_published_results_beside_its_own() -> None:
    published = layered(load_configfile(str(CONFIG / "published-2017.yaml")))
    assert published["sources"] == ["resources/published"]


def test_what_is_read_beside_the_runs_changes_no_run() -> None:
    assert study_with({"sources": ["x"], "skip_bad_sources": True, "baseline": "y"}) == study_with()


# --- layers and --config ---


def test_a_mapping_changes_only_the_keys_it_names() -> None:
    settings = study_with({"model_settings": {"conv": {"epochs": 7}}}).model_settings["conv"]
    assert settings == ModelSettings(7, study_with().model_settings["conv"].hyperparameters)


def test_a_list_replaces_the_earlier_one() -> None:
    assert study_with({"models": ["lstm"]}).models == ("lstm",)


def test_the_last_layer_wins() -> None:
    assert study_with({"repeats": 2}, {"repeats": 9}).repeats == 9


def test_numbers_inside_a_list_on_the_command_line_are_numbers() -> None:
    assert study_from("batch_sizes=[256,512]").batch_sizes == (256, 512)


def test_numbers_inside_a_mapping_on_the_command_line_are_numbers() -> None:
    settings = study_from("model_settings={logistic: {epochs: 5, learning_rate: 1e-2}}").model_settings["logistic"]
    assert settings == ModelSettings(5, {"learning_rate": 0.01})


@pytest.mark.parametrize(
    ("argument", "attribute", "value"),
    [
        ("batch_sizes=128", "batch_sizes", (128,)),
        ("batch_sizes=1e3", "batch_sizes", (1000,)),
        ("devices=cpu", "devices", ("cpu",)),
        ("models=conv", "models", ("conv",)),
    ],
)
def test_one_value_on_the_command_line_is_a_list_of_one(argument: str, attribute: str, value: tuple[object]) -> None:
    assert getattr(study_from(argument), attribute) == value


def test_a_device_described_and_selected_on_the_command_line_is_there() -> None:
    study = study_from("devices=[cpu-1t]", "device_settings={cpu-1t: {kind: cpu, threads: 1}}")
    (device,) = study.selected_devices()
    assert (device.name, device.kind, device.threads, device.gpus) == ("cpu-1t", "cpu", 1, 0)


def test_a_device_without_threads_takes_all_cores() -> None:
    assert study_with({"device_settings": {"mine": {"kind": "gpu"}}}).device("mine").threads == "all"


def test_a_list_of_threads_is_a_device_for_each() -> None:
    study = study_from("devices=[cpu]", "device_settings={cpu: {threads: [1, 2, all]}}")
    assert [(device.name, device.threads) for device in study.selected_devices()] == [
        ("cpu-1t", 1), ("cpu-2t", 2), ("cpu", "all"),
    ]  # fmt: skip


def test_a_device_knows_its_entry_and_asks_for_nothing_of_a_scheduler_unless_told() -> None:
    study = study_from("devices=[cpu]", "device_settings={cpu: {threads: [1, all]}}")
    assert [(device.entry, device.resources) for device in study.selected_devices()] == [("cpu", {})] * 2


def test_one_device_of_a_list_of_threads_can_be_selected() -> None:
    assert study_from("devices=[cpu-2t]", "device_settings={cpu: {threads: [1, 2, all]}}").devices == ("cpu-2t",)


def test_a_device_that_is_selected_twice_is_measured_once() -> None:
    study = study_from("devices=[cpu-2t, cpu]", "device_settings={cpu: {threads: [1, 2, all]}}")
    assert study.devices == ("cpu-2t", "cpu-1t", "cpu")


def test_a_list_of_threads_does_not_change_the_settings_of_a_run_with_all() -> None:
    run = Run("conv", 128, "cpu", 1)
    listed = study_from("device_settings={cpu: {threads: [1, all]}}")
    assert listed.settings(run, "0" * 64) == study_with().settings(run, "0" * 64)


def test_a_name_that_a_list_of_threads_takes_too_is_refused() -> None:
    listed = {"cpu": {"threads": [2, "all"]}, "cpu-2t": {"kind": "cpu"}}
    assert "describes the device 'cpu-2t' twice" in refusal_of({"device_settings": listed})


def test_what_a_device_asks_of_a_scheduler_is_a_number_or_a_text() -> None:
    study = study_from("device_settings={gpu: {resources: {slurm_partition: gpu, cpus_per_task: 8, runtime: 2h}}}")
    assert study.device("gpu").resources == {"slurm_partition": "gpu", "cpus_per_task": 8, "runtime": "2h"}


def test_every_device_of_a_list_of_threads_asks_for_the_same_resources() -> None:
    study = study_from("device_settings={cpu: {threads: [1, all], resources: {slurm_partition: cpu}}}", "devices=[cpu]")
    assert [device.resources for device in study.selected_devices()] == [{"slurm_partition": "cpu"}] * 2


def test_what_a_device_asks_of_a_scheduler_changes_no_run() -> None:
    run = Run("conv", 128, "cpu", 1)
    elsewhere = study_from("device_settings={cpu: {resources: {slurm_partition: long}}}")
    assert elsewhere.settings(run, "0" * 64) == study_with().settings(run, "0" * 64)


def test_auto_is_refused_where_runs_are_submitted_to_machines_that_are_not_known() -> None:
    with pytest.raises(InputError, match=r"'devices' is 'auto', but runs are submitted.*name them"):
        study_of(layered(), gpu_found=None)


def test_a_device_of_kind_gpu_takes_one_gpu() -> None:
    assert study_with({"device_settings": {"mine": {"kind": "gpu"}}}).device("mine").gpus == 1


@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_a_device_trains_with_tensorflow_in_float32_unless_it_says_otherwise(kind: str) -> None:
    found = study_with({"device_settings": {"mine": {"kind": kind}}}).device("mine")
    assert (found.framework, found.precision) == ("tensorflow", "float32")


@pytest.mark.parametrize("framework", list(ENGINES))
@pytest.mark.parametrize("precision", list(PRECISIONS))
def test_a_gpu_device_takes_every_framework_in_every_precision(framework: str, precision: str) -> None:
    found = study_with(device("mine", kind="gpu", framework=framework, precision=precision)).device("mine")
    assert (found.framework, found.precision) == (framework, precision)


def test_framework_precision_and_gpus_of_a_device_can_be_given_on_the_command_line() -> None:
    study = study_from("devices=[b]", "device_settings={b: {kind: gpu, framework: jax, precision: bfloat16, gpus: 4}}")
    (found,) = study.selected_devices()
    assert (found.framework, found.precision, found.gpus) == ("jax", "bfloat16", 4)


def test_the_environment_of_a_device_is_texts_also_where_they_look_like_numbers() -> None:
    written = "environment: {LD_PRELOAD: /usr/lib/libtcmalloc.so.4, MALLOC_ARENA_MAX: 1, EMPTY: ''}"
    found = study_from("devices=[tc]", f"device_settings={{tc: {{kind: cpu, {written}}}}}").device("tc")
    in_a_file = study_with(yaml.safe_load(f"device_settings: {{tc: {{kind: cpu, {written}}}}}")).device("tc")
    assert (
        found.environment
        == in_a_file.environment
        == {"LD_PRELOAD": "/usr/lib/libtcmalloc.so.4", "MALLOC_ARENA_MAX": "1", "EMPTY": ""}
    )


def test_the_environment_of_a_device_is_a_setting_of_its_runs() -> None:
    run = Run("conv", 512, "cpu", 1)
    with_one = study_with({"device_settings": {"cpu": {"environment": {"A": "1"}}}})
    assert with_one.settings(run, "f00d")["device"]["environment"] == {"A": "1"}


def test_a_device_without_an_environment_has_the_settings_that_it_had_before_there_were_any() -> None:
    assert "environment" not in study_with().settings(Run("conv", 512, "cpu", 1), "f00d")["device"]


@pytest.mark.parametrize(
    ("name", "instead"), [("OMP_NUM_THREADS", "give the device threads"), ("CUDA_VISIBLE_DEVICES", "the device gpus")]
)
def test_a_variable_that_trainbench_sets_is_refused_with_what_to_do_instead(name: str, instead: str) -> None:
    refusal = refusal_of(device("cpu", environment={name: "1"}))
    assert f"'device_settings/cpu/environment' has {name}, which trainbench sets itself" in refusal
    assert instead in refusal


def test_a_list_of_gpus_is_a_device_for_each() -> None:
    study = study_from("devices=[gpu]", "device_settings={gpu: {gpus: [1, 2, 4]}}")
    assert [(found.name, found.gpus, found.threads) for found in study.selected_devices()] == [
        ("gpu-1g", 1, "all"), ("gpu-2g", 2, "all"), ("gpu-4g", 4, "all"),
    ]  # fmt: skip


def test_lists_of_threads_and_of_gpus_are_a_device_for_each_pair() -> None:
    study = study_from("devices=[gpu]", "device_settings={gpu: {threads: [4, all], gpus: [1, 2]}}")
    assert [found.name for found in study.selected_devices()] == ["gpu-4t-1g", "gpu-4t-2g", "gpu-1g", "gpu-2g"]


def test_one_device_of_a_list_of_gpus_can_be_selected() -> None:
    assert study_from("devices=[gpu-2g]", "device_settings={gpu: {gpus: [1, 2]}}").devices == ("gpu-2g",)


def test_every_device_of_a_list_has_its_framework_and_precision() -> None:
    study = study_with(
        device("mine", kind="gpu", gpus=[1, 2], framework="torch", precision="tf32"), {"devices": ["mine"]}
    )
    assert [(found.framework, found.precision) for found in study.selected_devices()] == [("torch", "tf32")] * 2


def test_a_name_that_a_list_of_gpus_takes_too_is_refused() -> None:
    listed = {"gpu": {"gpus": [1, 2]}, "gpu-2g": {"kind": "gpu"}}
    assert "describes the device 'gpu-2g' twice" in refusal_of({"device_settings": listed})


@pytest.mark.parametrize(
    "changed", [{"framework": "torch"}, {"precision": "bfloat16"}, {"gpus": 2}, {"card": "TITAN X"}]
)
def test_framework_precision_gpus_and_card_are_settings_of_a_run(changed: dict[str, object]) -> None:
    run = Run("conv", 128, "gpu", 1)
    before, after = (
        study_with(device("gpu", **settings)).settings(run, "0" * 64)["device"] for settings in ({}, changed)
    )
    assert {key: value for key, value in after.items() if before.get(key) != value} == changed


def test_auto_asks_for_gpus_of_tensorflow_where_no_gpu_device_is_described() -> None:
    config = layered()
    del config["device_settings"]["gpu"]
    assert framework_for_auto(config) == "tensorflow"


@pytest.mark.parametrize(
    ("settings", "framework"),
    [({}, "tensorflow"), ({"framework": "jax"}, "jax"), ({"framework": "jaxx"}, "tensorflow")],
)
def test_auto_asks_for_gpus_of_the_framework_of_the_gpu_device(settings: dict[str, str], framework: str) -> None:
    assert framework_for_auto(layered(device("gpu", **settings))) == framework


def test_a_number_may_name_a_device_and_a_folder() -> None:
    study = study_with({"device_settings": {8: {"kind": "cpu"}}, "devices": [8], "dataset": {"path": date(2024, 1, 2)}})
    assert (study.devices, study.dataset_path) == (("8",), "2024-01-02")


@pytest.mark.parametrize("name", ["8", "08"])
def test_a_wrong_setting_of_a_device_named_by_digits_is_told_with_the_name_as_written(name: str) -> None:
    """jsonschema-rs 0.60.3 tells both keys as place 8 of a list (findings/jsonschema_rs_digit_keys.sh)."""
    with pytest.raises(InputError, match=f"'device_settings/{name}/threads'"):
        study_with(device(name, kind="cpu", threads=0))


@pytest.mark.parametrize(("gpu_found", "devices"), [(True, ("cpu", "gpu")), (False, ("cpu",))])
def test_auto_takes_the_gpu_where_there_is_one(gpu_found: bool, devices: tuple[str, ...]) -> None:
    assert study_with({"devices": "auto"}, gpu_found=gpu_found).devices == devices


def test_a_hyperparameter_that_is_left_out_has_the_value_of_2017() -> None:
    config = layered()
    config["model_settings"]["lstm"] = {"epochs": 1}
    lstm = study_of(config, gpu_found=False).model_settings["lstm"]
    assert lstm.hyperparameters == {"learning_rate": 0.001, "decay": 0.9}


@pytest.mark.parametrize("repeats", [2.0, "2.0", "2"])
def test_a_whole_number_is_one_however_it_is_written(repeats: object) -> None:
    assert repr(study_with({"repeats": repeats}).repeats) == "2"


# --- refusals ---

NAME = "a plain name: letters, digits, '.', '_' and '-'"
COUNT = "a whole number of at least 1"


def case(layer: Mapping[str, Any], key: str, found: str, allowed: str) -> Any:
    return pytest.param(layer, key, found, allowed, id=re.sub(r"[^\w.,:{}\[\]-]", "", str(layer)))


def setting(model: str, **settings: object) -> dict[str, Any]:
    return {"model_settings": {model: settings}}


def device(name: str, **settings: object) -> dict[str, Any]:
    return {"device_settings": {name: settings}}


@pytest.mark.parametrize(
    ("layer", "key", "found", "allowed"),
    [
        # unknown keys and names
        case({"modles": ["conv"]}, "key 'modles'", "unknown", "did you mean 'models'?"),
        case({1: 2}, "key '1'", "unknown", "models, batch_sizes, devices"),
        case({"dataset": {"pth": "x"}}, "key 'pth' in 'dataset'", "unknown", "path, validation_samples"),
        case(device("cpu", threds=1), "key 'threds' in 'device_settings/cpu'", "unknown", "did you mean 'threads'?"),
        case({"batch_sizes": [0], "dataset": {"pth": "x"}}, "key 'pth' in 'dataset'", "unknown", "validation_samples"),
        case(device("mine", knd="cpu"), "key 'knd' in 'device_settings/mine'", "unknown", "did you mean 'kind'?"),
        case({"models": ["cnov"]}, "'models'", "'cnov'", "did you mean 'conv'?"),
        case({"models": "[conv]"}, "'models'", "'[conv]'", "logistic, conv, lstm"),
        case(setting("resnet", epochs=1), "'model_settings'", "'resnet'", "logistic, conv, lstm"),
        case(setting("conv", lr=0.1), "'model_settings/conv'", "'lr'", "epochs, learning_rate, decay"),
        case(setting("logistic", decay=0.9), "'model_settings/logistic'", "'decay'", "epochs, learning_rate"),
        case({"devices": ["tpu"]}, "'devices'", "'tpu'", "cpu, gpu"),
        case({"devices": ["cpu", "auto"]}, "'devices'", "'auto'", "cpu, gpu"),
        case({"isolation": "strict"}, "'isolation'", '"strict"', "one of device, host, none"),
        case(device("mine", kind="tpu"), "'device_settings/mine/kind'", '"tpu"', "one of cpu, gpu"),
        case(device("mine", kind="gpu", framework="torhc"), "'device_settings/mine/framework'", "'torhc'", "'torch'?"),
        case(
            device("mine", kind="gpu", precision="fp16"), "/mine/precision'", '"fp16"', "one of float32, tf32, bfloat16"
        ),
        case(device("mine", kind="cpu", precision="tf32"), "/mine/precision'", "tf32", "float32, bfloat16, float16"),
        case(device("mine", kind="cpu", gpus=1), "'device_settings/mine/gpus'", "is given", "set kind: gpu"),
        case(device("mine", kind="cpu", card="H200"), "'device_settings/mine/card'", "is given", "set kind: gpu"),
        case(device("gpu", card=""), "'device_settings/gpu/card'", '""', "a text that is not empty"),
        case(device("gpu", gpus=0), "'device_settings/gpu/gpus'", "is 0", f"{COUNT} or a list"),
        case(device("gpu", gpus=[]), "'device_settings/gpu/gpus'", "is []", f"one or more of: {COUNT}"),
        case(device("gpu", gpus=[2, 2]), "'device_settings/gpu/gpus'", "[2, 2]", "without repetition"),
        case(device("gpu", gpus=[0, 1]), "'device_settings/gpu/gpus'", "[0, 1]", f"one or more of: {COUNT}"),
        case(device("gpu", gpus="all"), "'device_settings/gpu/gpus'", '"all"', COUNT),
        # what is missing
        case(device("mine", threads=1), "'kind'", "is missing", "in 'device_settings/mine'"),
        case({"models": []}, "'models'", "[]", "one or more"),
        case({"batch_sizes": []}, "'batch_sizes'", "[]", "one or more"),
        case({"devices": []}, "'devices'", "[]", "'auto' or a list, without repetition, of one or more"),
        case({"devices": None}, "'devices'", "null", "'auto' or a list"),
        case(setting("conv", epochs=None), "'model_settings/conv/epochs'", "null", COUNT),
        case({"model_settings": {"conv": None}}, "'model_settings/conv'", "null", "a mapping"),
        case({"dataset": {"path": ""}}, "'dataset/path'", '""', "a text that is not empty"),
        case({"baseline": ""}, "'baseline'", '""', "null or a text that is not empty"),
        case({"sources": [""]}, "'sources/item 1'", '""', "a text that is not empty"),
        case({"skip_bad_sources": "perhaps"}, "'skip_bad_sources'", '"perhaps"', "true or false"),
        case({"compare": {"smallest_difference_percent": -1}}, "'compare/smallest_difference_percent'", "-1", "from 0"),
        case({"sources": ["a", "a"]}, "'sources'", '["a", "a"]', "without repetition, of any number of"),
        case(setting("conv", epochs=10_001), "'model_settings/conv/epochs'", "10001", "at most 10000"),
        # repetition
        case({"models": ["conv", "conv"]}, "'models'", '["conv", "conv"]', "without repetition"),
        case({"batch_sizes": [128, "128"]}, "'batch_sizes'", "[128, 128]", "without repetition"),
        case({"devices": ["cpu", "cpu"]}, "'devices'", '["cpu", "cpu"]', "without repetition"),
        # numbers out of range
        case({"batch_sizes": [128, 0]}, "'batch_sizes/item 2'", "is 0", COUNT),
        case({"repeats": 0}, "'repeats'", "is 0", COUNT),
        case({"repeats": 10**12}, "'repeats'", "is 1000000000000", "at most 10000"),
        case({"seed": -1}, "'seed'", "is -1", "a whole number of at least 0"),
        case(setting("conv", epochs=-1), "'model_settings/conv/epochs'", "is -1", COUNT),
        case({"dataset": {"validation_samples": -1}}, "'dataset/validation_samples'", "is -1", "at least 0"),
        case(device("cpu", threads=0), "'device_settings/cpu/threads'", "is 0", f"'all' or {COUNT}"),
        case(setting("lstm", learning_rate=0), "'model_settings/lstm/learning_rate'", "is 0", "above 0 and at most 1"),
        case(setting("conv", decay=1.5), "'model_settings/conv/decay'", "is 1.5", "above 0 and at most 1"),
        case(setting("conv", keep_conv="-0.5"), "'model_settings/conv/keep_conv'", "is -0.5", "above 0 and at most 1"),
        # not a number, not finite
        case(setting("conv", decay=float("nan")), "'model_settings/conv/decay'", "nan", "a number"),
        case(setting("conv", decay="nan"), "'model_settings/conv/decay'", "nan", "a number"),
        case(setting("conv", learning_rate=float("inf")), "'model_settings/conv/learning_rate'", "inf", "a number"),
        case(setting("conv", learning_rate="-inf"), "'model_settings/conv/learning_rate'", "-inf", "a number"),
        case(setting("conv", epochs=float("inf")), "'model_settings/conv/epochs'", "inf", COUNT),
        case({"repeats": float("nan")}, "'repeats'", "nan", COUNT),
        case({"seed": "0x1"}, "'seed'", '"0x1"', "a whole number of at least 0"),
        case({"batch_sizes": "128,256"}, "'batch_sizes/item 1'", '"128,256"', COUNT),
        # booleans and fractions where whole numbers are wanted
        case({"repeats": True}, "'repeats'", "is true", COUNT),
        case({"repeats": "true"}, "'repeats'", '"true"', COUNT),
        case({"batch_sizes": [True]}, "'batch_sizes/item 1'", "is true", COUNT),
        case(setting("conv", learning_rate=True), "'model_settings/conv/learning_rate'", "is true", "a number"),
        case(device("cpu", threads=True), "'device_settings/cpu/threads'", "is true", f"'all' or {COUNT}"),
        case({"repeats": 1.5}, "'repeats'", "is 1.5", COUNT),
        case({"batch_sizes": [2.5]}, "'batch_sizes/item 1'", "is 2.5", COUNT),
        case(setting("conv", epochs="2.5"), "'model_settings/conv/epochs'", "is 2.5", COUNT),
        # another type altogether
        case({"models": {"conv": {}}}, "'models'", '{"conv": {}}', "a list"),
        case({"model_settings": [1]}, "'model_settings'", "[1]", "a mapping"),
        case({"dataset": "x"}, "'dataset'", '"x"', "a mapping"),
        case({"repeats": date(2024, 1, 2)}, "'repeats'", '"2024-01-02"', COUNT),
        # names that would lead out of the results folder
        case({"devices": ["a/b"]}, "'devices'", '["a/b"]', NAME),
        case({"devices": ".."}, "'devices'", '".."', NAME),
        case(device("a/b", kind="cpu"), "'device_settings'", '"a/b"', NAME),
        case(device("..", kind="cpu"), "'device_settings'", '".."', NAME),
        case(device("cpu\n", kind="cpu"), "'device_settings'", r'"cpu\n"', NAME),
        case(device("x" * 65, kind="cpu"), "'device_settings'", "xxx", "at most 64"),
        # what is asked of a scheduler
        case(device("cpu", environment={"A-B": "1"}), "'device_settings/cpu/environment'", '"A-B"', "no digit"),
        case(device("cpu", environment={"A": True}), "'device_settings/cpu/environment/A'", "is true", "in quotes"),
        case(device("cpu", environment={"A": None}), "'device_settings/cpu/environment/A'", "is null", "a text"),
        case(device("cpu", environment={"A": "x\ny"}), "'device_settings/cpu/environment/A'", "x", "on one line"),
        case(
            device("cpu", environment={"A": "<x>"}), "'device_settings/cpu/environment/A'", '"<x>"', "without < and >"
        ),
        case(device("cpu", environment=["A=1"]), "'device_settings/cpu/environment'", '["A=1"]', "a mapping"),
        case(device("cpu", resources={"gpu": 2}), "'device_settings/cpu/resources'", '"gpu"', "not gpu and tmpdir"),
        case(device("cpu", resources={"mem": "8GB"}), "'device_settings/cpu/resources'", '"mem"', "sizes as mem_mb"),
        case(device("cpu", resources={"Mem-mb": 1}), "'device_settings/cpu/resources'", '"Mem-mb"', "small letters"),
        case(device("cpu", resources={"a": ""}), "'device_settings/cpu/resources/a'", '""', "a text that is not empty"),
        case(device("cpu", resources={"a": None}), "'device_settings/cpu/resources/a'", "null", "a whole number"),
    ],
)
def test_a_bad_value_is_refused_by_key_finding_and_what_is_allowed(
    layer: Mapping[str, Any], key: str, found: str, allowed: str
) -> None:
    refusal = refusal_of(layer)
    assert [part for part in (key, found, allowed) if part not in refusal] == [], refusal


WHERE = "set it in the config file or with --config (config/README.md explains every key)"
CORRECT = "correct it in the config file or with --config"
ISOLATION = (
    "(device: a CPU run has the machine to itself and GPU runs share it, a card each; host: every run has the machine "
    "to itself; none: runs share cores as Snakemake packs them)"
)


@pytest.mark.parametrize(
    ("layer", "told"),
    [
        (
            {"dataset": {"pth": None}},
            "unknown config key 'pth' in 'dataset'; allowed: path, validation_samples (did you mean 'path'?); correct "
            "or remove it in the config file or on the command line",
        ),
        (
            {"dataset": {"path:c:/x": ""}},
            "unknown config key 'path:c:/x' in 'dataset'; allowed: path, validation_samples (a space must follow the "
            "colon: {path: c:/x}); correct or remove it in the config file or on the command line",
        ),
        (
            {"models": ["xyz"]},
            "config key 'models' names the model 'xyz', which is not known; allowed: logistic, conv, lstm; " + CORRECT,
        ),
        (
            {"models": "conv,"},
            "config key 'models' names the model 'conv,', which is not known; allowed: logistic, conv, lstm (did you "
            "mean 'conv'?); " + CORRECT,
        ),
        (
            {"devices": ["tpu"]},
            "config key 'devices' names the device 'tpu', which is not known; allowed: cpu, gpu (did you mean 'gpu'?); "
            + CORRECT,
        ),
        (
            setting("resnet", epochs=1),
            "config key 'model_settings' names the model 'resnet', which is not known; allowed: logistic, conv, lstm; "
            + CORRECT,
        ),
        (
            setting("conv", lr=0.1),
            "config key 'model_settings/conv' names the setting 'lr', which is not known; allowed: epochs, "
            "learning_rate, decay, keep_conv, keep_hidden; " + CORRECT,
        ),
        (
            setting("lstm", learning_rate=0),
            "config key 'model_settings/lstm/learning_rate' is 0, expected a number above 0 and at most 100; " + WHERE,
        ),
        (
            device("mine", kind="cpu", framework="torhc"),
            "config key 'device_settings/mine/framework' names the framework 'torhc', which is not known; allowed: "
            "tensorflow, jax, torch (did you mean 'torch'?); " + CORRECT,
        ),
        (
            device("mine", kind="cpu", precision="tf32"),
            "config key 'device_settings/mine/precision' is tf32, which NVIDIA's GPUs alone have, but its kind is cpu; "
            "expected one of float32, bfloat16, float16",
        ),
        (
            device("mine", kind="cpu", gpus=1, card="H200"),
            "config key 'device_settings/mine/gpus' is given, but its kind is cpu; remove it or set kind: gpu",
        ),
        (
            device("cpu", environment={"OMP_NUM_THREADS": "1"}),
            "config key 'device_settings/cpu/environment' has OMP_NUM_THREADS, which trainbench sets itself: give the "
            "device threads; remove it",
        ),
        (
            {"device_settings": {"cpu": {"threads": [2, "all"]}, "cpu-2t": {"kind": "cpu"}}},
            "config key 'device_settings' describes the device 'cpu-2t' twice, once by a list in 'cpu'; rename one of "
            "the two",
        ),
        (
            device("a/b", kind="cpu"),
            "config key 'device_settings' has an entry \"a/b\", expected a plain name: letters, digits, '.', '_' and "
            "'-', at most 64, the first a letter or digit; rename it",
        ),
        (device("mine", threads=1), "config key 'kind' is missing in 'device_settings/mine'; " + WHERE),
        ({"dataset": "x"}, "config key 'dataset' is \"x\", expected a mapping; " + WHERE),
        (
            {"sources": ["a", "a"]},
            "config key 'sources' (other results folders whose runs enter the tables, with wildcards) is [\"a\", "
            '"a"], expected a list, without repetition, of any number of: a text that is not empty; ' + WHERE,
        ),
        (
            {"models": {"conv": {}}},
            "config key 'models' (models to train, by name) is {\"conv\": {}}, expected a list, without repetition, of "
            "one or more of: a text that is not empty; " + WHERE,
        ),
        (
            {"baseline": ""},
            "config key 'baseline' (results folder that snakemake compare compares this study with) is \"\", expected "
            "null or a text that is not empty; " + WHERE,
        ),
        (
            {"skip_bad_sources": "perhaps"},
            "config key 'skip_bad_sources' (true: files in sources that cannot be used are listed and left out; false: "
            'they end the making of tables) is "perhaps", expected true or false; ' + WHERE,
        ),
        (
            {"prices": {"cpu": "x"}},
            "config key 'prices/cpu' (price per hour) is \"x\", expected a number from 0 to 1e+06; " + WHERE,
        ),
        (
            {"repeats": None},
            "config key 'repeats' (runs of each cell) is null, expected a whole number of at least 1 and at most "
            "10000; " + WHERE,
        ),
        (
            {"currency": None},
            "config key 'currency' (a text of at most 16 characters, such as EUR) is null, expected a text of at most "
            "16 characters, such as EUR; " + WHERE,
        ),
        (
            {"isolation": "é" * 78},
            f"config key 'isolation' {ISOLATION} is \"{'é' * 78}\", expected one of device, host, none; {WHERE}",
        ),
        (
            {"isolation": "é" * 80},
            f"config key 'isolation' {ISOLATION} is \"{'é' * 79}…, expected one of device, host, none; {WHERE}",
        ),
        (
            setting("conv", **{"epochs:3": ""}),
            "config key 'model_settings/conv/epochs:3' is \"\", expected a number (a space must follow the colon: "
            "{epochs: 3}); " + WHERE,
        ),
    ],
    ids=lambda value: re.sub(r"[^\w.,:{}\[\]-]", "", str(value))[:40] if isinstance(value, dict) else "",
)
def test_a_refusal_is_told_to_the_letter(layer: Mapping[str, Any], told: str) -> None:
    assert refusal_of(layer) == told


def test_auto_on_machines_that_are_not_known_is_refused_with_what_to_name_instead() -> None:
    with pytest.raises(InputError) as caught:
        study_of(layered(), gpu_found=None)
    assert str(caught.value) == (
        "config key 'devices' is 'auto', but runs are submitted to other machines, whose GPUs are not known here, "
        "expected the names of devices; name them, for example --config 'devices=[cpu, gpu]' (docs/clusters.md)"
    )


@pytest.mark.parametrize(
    ("argument", "hint"),
    [
        ("models=logistic,conv", "models='[logistic, conv]'"),
        ("devices=cpu,gpu", "devices='[cpu, gpu]'"),
        ("batch_sizes=128, 256", "batch_sizes='[128, 256]'"),
        ("dataset={path:data/mine}", "a space must follow the colon: {path: data/mine}"),
        ("prices={gpu:2.5}", "a space must follow the colon: {gpu: 2.5}"),
        ("model_settings={conv: {epochs:3}}", "a space must follow the colon: {epochs: 3}"),
        ("device_settings={cpu: {threads:2}}", "a space must follow the colon: {threads: 2}"),
    ],
)
def test_a_list_without_brackets_and_a_colon_without_a_space_are_told_as_what_they_are(
    argument: str, hint: str
) -> None:
    refusal = refusal_of(parse_config([argument]))
    assert hint in refusal
    assert "did you mean" not in refusal


@pytest.mark.parametrize(
    "layer",
    [
        *[{"modles": []}, {"repeats": 0}, device("..", kind="cpu"), setting("conv", lr=1)],
        *[{"models": ["conv\n"]}, {"models\n": []}, device("cpu", framework="a\nb")],
    ],
)
def test_a_refusal_is_one_sentence(layer: Mapping[str, Any]) -> None:
    assert not re.search(r"\n|\. ", refusal_of(layer))


@pytest.mark.parametrize("key", sorted(SCHEMA["required"]))
def test_a_missing_key_is_named(key: str) -> None:
    config = layered()
    del config[key]
    with pytest.raises(InputError) as caught:
        typed(config)
    assert str(caught.value) == f"config key '{key}' is missing; {WHERE}"


def test_an_unknown_key_is_refused_with_all_that_are_known() -> None:
    known = ", ".join(SCHEMA["properties"])
    assert refusal_of({1: 2}) == (
        f"unknown config key '1'; allowed: {known}; correct or remove it in the config file or on the command line"
    )


def test_a_key_without_a_colon_gets_no_word_on_spaces() -> None:
    refusal = refusal_of({"monitor": {"interval_seconds": None}})
    assert "is null, expected a number from 0.01 to 60; set it" in refusal


def test_a_selected_model_without_settings_is_refused() -> None:
    config = layered({"models": ["conv"]})
    del config["model_settings"]["conv"]
    with pytest.raises(InputError, match="'model_settings' has no entry for the model 'conv'"):
        study_of(config, gpu_found=False)


def test_a_model_without_epochs_is_refused() -> None:
    config = layered()
    del config["model_settings"]["conv"]["epochs"]
    with pytest.raises(InputError, match="'model_settings/conv' lacks epochs"):
        study_of(config, gpu_found=False)


# --- config/README.md ---


def readme_rows() -> list[dict[str, str]]:
    """Give the rows of every table of keys, by column."""
    rows: list[dict[str, str]] = []
    columns: Sequence[str] = ()
    for line in README.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if not line.startswith("|"):
            columns = ()
        elif not columns:
            columns = cells
        elif columns[0] == "Key" and not line.startswith("|---"):
            rows.append(dict(zip(columns, cells, strict=True)))
    return rows


def code(cell: str) -> str:
    """Give the text between the backticks of a cell that holds nothing else."""
    match = re.fullmatch(r"`([^`]+)`", cell)
    assert match, f"expected one piece of code, found: {cell}"
    return match[1]


def leaves(mapping: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in mapping.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def schema_keys(schema: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Give every key that the schema names, as a regular expression; entries that users name are `[^.]+`."""
    if schema.get("type") != "object":
        yield prefix.removesuffix(r"\.")
        return
    for key, value in schema.get("properties", {}).items():
        yield from schema_keys(value, f"{prefix}{key}\\.")
    entry = schema.get("additionalProperties")
    if isinstance(entry, Mapping) and entry.get("type") == "object":
        yield from schema_keys(entry, f"{prefix}[^.]+\\.")
    elif isinstance(entry, Mapping):
        # Explained as a whole, or an entry each.
        yield prefix.removesuffix(r"\.") + r"(\.[^.]+)?"


def readme_command_lines() -> list[str]:
    blocks = re.findall(r"^```bash\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def test_the_readme_gives_every_key_of_the_default_study_with_its_default() -> None:
    documented = {code(row["Key"]): yaml.safe_load(code(row["Default"])) for row in readme_rows()}
    assert documented == dict(leaves(yaml.safe_load(DEFAULT.read_text(encoding="utf-8"))))


def test_the_readme_explains_every_key_of_the_schema() -> None:
    documented = [code(row["Key"]) for row in readme_rows()]
    assert [key for key in schema_keys(SCHEMA) if not any(re.fullmatch(key, name) for name in documented)] == []


def test_the_readme_gives_the_range_of_every_hyperparameter() -> None:
    documented = {code(row["Key"]): row["Allowed"] for row in readme_rows() if "epochs" not in row["Key"]}
    ranges = {
        f"model_settings.{name}.{key}": f"above {allowed.above:g}, at most {allowed.at_most:g}"
        for name, model in MODELS.items()
        for key, allowed in model.hyperparameters.items()
    }
    assert {key: allowed for key, allowed in documented.items() if key.startswith("model_settings.")} == ranges


def question_in(config: Mapping[str, Any]) -> dict[str, Any]:
    """What of a config is no part of the study."""
    read = ("sources", "skip_bad_sources", "baseline", "compare")
    concluded = ("reference", "target_accuracy", "prices", "currency")
    return {key: config[key] for key in (*read, *concluded)}


@pytest.mark.parametrize("row", readme_rows(), ids=lambda row: row["Key"].strip("`"))
def test_the_example_of_a_key_asks_for_something_other_than_the_default(row: dict[str, str]) -> None:
    layer = parse_config(shlex.split(code(row["Example"])))
    assert (study_with(layer), question_in(layered(layer))) != (study_with(), question_in(layered()))


@pytest.mark.parametrize("line", readme_command_lines())
def test_a_command_line_in_the_readme_is_a_valid_study(line: str) -> None:
    options: dict[str, list[str]] = {}
    for word in shlex.split(line)[1:]:
        if word.startswith("--"):
            values = options.setdefault(word, [])
        else:
            values.append(word)
    layers = [load_configfile(str(REPOSITORY / path)) for path in options.get("--configfile", [])]
    assert study_with(*layers, parse_config(options.get("--config"))) != study_with()


def test_the_device_in_the_readme_is_the_same_in_a_file_and_on_the_command_line() -> None:
    (block,) = re.findall(r"^```yaml\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    (line,) = (line for line in readme_command_lines() if "cpu-1t" in line)
    assert study_with(yaml.safe_load(block)) == study_from(*shlex.split(line.partition("--config ")[2]))
