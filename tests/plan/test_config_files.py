"""Config files are taken as they are written; what no config can be is told with its file and line.

Snakemake reads the same files as YAML 1.1 before, to which much of what is tried here is something else.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainbench.errors import InputError
from trainbench.plan import config_files
from trainbench.plan.configuration import study_of
from trainbench.plan.study import Study
from trainbench.plan.typed_config import typed

DEFAULT = Path(__file__).parents[2] / "config" / "config.yaml"


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str], Path]:
    """Write a config file of this text, a further one at each call."""

    def write(text: str) -> Path:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def config_of(*files: Path, command_line: dict[str, Any] | None = None, arguments: str = "") -> dict[str, Any]:
    layers = [config_files.read(path) for path in (DEFAULT, *files)]
    return typed([*layers, config_files.of_command_line(command_line or {}, arguments.split())])


def study_in(*files: Path) -> Study:
    return study_of(config_of(*files), gpu_found=False)


def refusal_of(*files: Path, command_line: dict[str, Any] | None = None) -> str:
    with pytest.raises(InputError) as caught:
        config_of(*files, command_line=command_line)
    return str(caught.value)


@pytest.mark.parametrize(
    ("written", "meant"), [("0128", 128), ("0256", 256), ("0512", 512), ("1e3", 1000), ("1_000", 1000), ("+64", 64)]
)
def test_a_whole_number_in_a_file_is_the_decimal_one_that_is_written(
    file: Callable[[str], Path], written: str, meant: int
) -> None:
    assert study_in(file(f"batch_sizes: [{written}]")).batch_sizes == (meant,)


@pytest.mark.parametrize("written", ["1:00", "0x10", "0o17", "0b11", "yes", ".inf", ".nan", "2026-05-01", "1:30.5"])
def test_what_is_a_number_to_yaml_1_1_alone_is_refused_where_a_number_is_wanted(
    file: Callable[[str], Path], written: str
) -> None:
    path = file(f"models: [conv]\nrepeats: {written}")
    refusal = refusal_of(path)
    assert refusal.startswith(f"{path} line 2: config key 'repeats'")
    assert f'is "{written}", expected a whole number' in refusal


@pytest.mark.parametrize("written", ["8:00:00", "8:00", "1d 12h", "soon"])
def test_a_runtime_that_snakemake_has_no_minutes_for_is_refused_with_its_line(
    file: Callable[[str], Path], written: str
) -> None:
    path = file(f"device_settings:\n  cpu:\n    resources:\n      runtime: {written}")
    refusal = refusal_of(path)
    assert refusal.startswith(f"{path} line 4: config key 'device_settings/cpu/resources/runtime'")
    assert "a time with its unit, such as 8h" in refusal


@pytest.mark.parametrize(("written", "asked"), [("480", 480), ("8h", "8h"), ("1.5h", "1.5h"), ("2 days", "2 days")])
def test_a_runtime_is_minutes_or_has_a_unit(file: Callable[[str], Path], written: str, asked: int | str) -> None:
    study = study_in(file(f"device_settings: {{cpu: {{resources: {{runtime: {written}}}}}}}"))
    assert study.device("cpu").resources == {"runtime": asked}


FOLDERS = ["2026-05-01", "2026-05-01 10:00:00", "2026-05-01T10:00:00Z", "2026-13-45", "2026", "1.10", "1e3", "0512"]


@pytest.mark.parametrize("folder", [*FOLDERS, "12:30", "on", "true", "=", "café"])
def test_a_folder_is_named_by_what_is_written_whatever_that_could_mean(
    file: Callable[[str], Path], folder: str
) -> None:
    found = config_of(file(f"sources: [{folder}]\nbaseline: {folder}"))
    assert (found["sources"], found["baseline"]) == ([folder], folder)


@pytest.mark.parametrize("name", ["on", "1.10", "010", "true", "2026-05-01"])
def test_a_device_and_its_price_are_named_by_what_is_written(file: Callable[[str], Path], name: str) -> None:
    path = file(f"devices: [{name}]\ndevice_settings: {{{name}: {{kind: cpu}}}}\nprices: {{{name}: 2}}")
    assert (study_in(path).devices, config_of(path)["prices"]) == ((name,), {name: 2.0})


@pytest.mark.parametrize("written", ["null", "~", "", "Null"])
def test_null_in_a_file_is_null(file: Callable[[str], Path], written: str) -> None:
    assert config_of(file("baseline: x"), file(f"baseline: {written}"))["baseline"] is None


@pytest.mark.parametrize("written", ["null", "~", "None"])
def test_null_in_a_mapping_of_the_command_line_is_null(written: str) -> None:
    assert config_of(command_line={"reference": {"host": written}})["reference"]["host"] is None


@pytest.mark.parametrize(("written", "meant"), [("true", True), ("True", True), ("false", False), ("FALSE", False)])
def test_yes_or_no_is_true_or_false_in_any_case(file: Callable[[str], Path], written: str, meant: bool) -> None:
    assert config_of(file(f"skip_bad_sources: {written}"))["skip_bad_sources"] is meant


@pytest.mark.parametrize(
    ("text", "key", "lines"),
    [
        ("seed: 1\nrepeats: 1\nseed: 2", "seed", (3, 1)),
        ("device_settings:\n  cpu: {kind: cpu}\n  cpu: {kind: gpu}", "cpu", (3, 2)),
        ('{"prices": {"8": 1,\n"8": 2}}', "8", (2, 1)),
        ("a: &a {k: 1}\nb:\n  <<: *a\n  k: 1\n  k: 2", "k", (5, 4)),
    ],
)
def test_a_key_that_stands_twice_is_refused_with_both_lines(
    file: Callable[[str], Path], text: str, key: str, lines: tuple[int, int]
) -> None:
    path = file(text)
    told = f"{path} line {lines[0]}: '{key}' stands twice in one mapping, first in line {lines[1]}"
    assert told in refusal_of(path)


def test_a_mapping_may_say_itself_what_it_merges_from_another(file: Callable[[str], Path]) -> None:
    study = study_in(file("device_settings:\n  cpu: &all {kind: cpu, threads: 4}\n  one: {<<: *all, threads: 1}"))
    assert [study.device(name).threads for name in ("cpu", "one")] == [4, 1]


@pytest.mark.parametrize(
    ("value", "written"), [(1.1, "1.10"), (1000.0, "1e3"), (128, "0128"), (20260501, "2026_05_01")]
)
def test_a_folder_that_the_command_line_names_by_a_number_is_that_of_the_text(value: Any, written: str) -> None:
    arguments = f"compare --cores 2 -C seed=1 --config repeats=2 baseline={written} --quiet"
    given = {"seed": 1, "repeats": 2, "baseline": value}
    config = config_of(command_line=given, arguments=arguments)
    assert config["baseline"] == written
    assert (config["seed"], config["repeats"]) == (1, 2)


def test_every_config_option_of_a_call_is_looked_at() -> None:
    given = {"sources": [1.1], "baseline": 1.1, "seed": 1}
    config = config_of(command_line=given, arguments="-C baseline=1.10 sources=a=b --cores 1 --config seed=1")
    assert config["baseline"] == "1.10"


def test_a_text_of_the_command_line_is_what_snakemake_made_of_it() -> None:
    config = config_of(
        command_line={"baseline": "x", "skip_bad_sources": True}, arguments="-C baseline='x' skip_bad_sources=yes"
    )
    assert (config["baseline"], config["skip_bad_sources"]) == ("x", True)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("models: [conv]\nbatch_sizes: [1,\n  x]", "line 3: config key 'batch_sizes/item 2'"),
        ("models: [conv]\nmodles: [conv]", "line 2: unknown config key 'modles'"),
        ("device_settings:\n  a/b: {kind: cpu}", "line 2: config key 'device_settings' has an entry \"a/b\""),
        ("device_settings:\n  mine:\n    threads: 1", "line 2: config key 'kind' is missing"),
        ("seed: 1\nbatch_sizes: x", "line 2: config key 'batch_sizes/item 1'"),
        ("device_settings:\n  012: {kind: cpu,\n    threads: 0}", "line 3: config key 'device_settings/012/threads'"),
        ("seed: 1\nprices: {cpu: 1,5}", "line 2: config key 'prices/5'"),
    ],
)
def test_a_refusal_begins_with_the_file_and_the_line(file: Callable[[str], Path], text: str, told: str) -> None:
    path = file(text)
    assert refusal_of(path).startswith(f"{path} {told}")


def test_the_line_is_that_of_the_last_file_that_sets_the_value(file: Callable[[str], Path]) -> None:
    files = [file("monitor: {interval_seconds: 1}"), file("\nmonitor: {interval_seconds: 0}"), file("seed: 1")]
    assert refusal_of(*files).startswith(f"{files[1]} line 2: config key 'monitor/interval_seconds'")


def test_what_the_command_line_sets_has_no_line(file: Callable[[str], Path]) -> None:
    refusal = refusal_of(file("repeats: 1"), command_line={"repeats": 0})
    assert refusal.startswith("config key 'repeats'")
    assert " is 0, expected" in refusal


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("repeats: 1\n\tseed: 3", "line 2 is not YAML (found character '\\t'"),
        ("repeats: 1\n---\nseed: 3", "line 2 is not YAML (but found another document)"),
        ("- repeats", "has no keys at its top"),
        ("", "has no keys at its top"),
        ("repeats: \x00", "is not YAML (unacceptable character #x0000"),
        ("? [a, b]\n: 1", "line 1 is not YAML (found unhashable key)"),
    ],
)
def test_a_file_that_is_no_config_is_refused_by_name_and_line(
    file: Callable[[str], Path], text: str, told: str
) -> None:
    path = file(text)
    assert f"{path} {told}" in refusal_of(path)


def test_a_file_that_is_not_utf_8_is_refused_by_name(file: Callable[[str], Path]) -> None:
    path = file("")
    path.write_bytes("sources: [café]".encode("latin-1"))
    assert f"{path} is not text in UTF-8" in refusal_of(path)


def test_a_file_that_cannot_be_read_is_refused_by_name(tmp_path: Path) -> None:
    told = f"{tmp_path} cannot be read (Is a directory), expected a config file; correct it"
    assert refusal_of(tmp_path) == told


def test_a_json_file_may_be_indented_by_tabs(file: Callable[[str], Path]) -> None:
    path = file('{\n\t"sources": [1.10, -0, NaN],\n\t"baseline": null,\n\t"seed": 7\n}')
    assert (config_of(path)["sources"], study_in(path).seed) == (["1.10", "-0", "NaN"], 7)


def test_a_file_of_templates_has_the_values_that_snakemake_finds(file: Callable[[str], Path]) -> None:
    assert study_in(file("__use_yte__: true\nrepeats: ?2 + 3")).repeats == 5


# --- profiles, which Snakemake has read before ---


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("default-resources: {runtime: 8:00:00}", "has the number 8:00:00, which Snakemake takes for 28800"),
        ("resources: {gpu: 010}", "has the number 010, which Snakemake takes for 8"),
        ("set-resources: {train: {runtime: 1:30.5}}", "has the number 1:30.5, which Snakemake takes for 90.5"),
        ("default-resources: [mem_mb=1, 0o8, 010]", "has the number 010"),
        ("x: {a: 010, b: {c: 1}}", "has the number 010"),
        ("x: {a: 010, b: [1]}", "has the number 010"),
    ],
)
def test_a_number_that_snakemake_takes_for_another_in_a_profile_is_refused_with_its_line(
    file: Callable[[str], Path], line: str, told: str
) -> None:
    path = file(f"jobs: 100\n{line}")
    with pytest.raises(InputError, match=re.escape(f"{path} line 2 {told}")):
        config_files.refuse_turned(path)


def test_a_number_that_is_refused_is_told_with_what_to_write_instead(file: Callable[[str], Path]) -> None:
    path = file("runtime: 8:00:00")
    with pytest.raises(InputError) as caught:
        config_files.refuse_turned(path)
    assert str(caught.value) == (
        f"{path} line 1 has the number 8:00:00, which Snakemake takes for 28800, as YAML 1.1 does; write it without "
        "colons and leading zeros, a time with its unit, such as 8h"
    )


def test_numbers_and_texts_as_profiles_have_them_are_accepted(file: Callable[[str], Path]) -> None:
    config_files.refuse_turned(file("a: [0, 0.5, 1e3, 8h, '8:00', s3://bucket, 0755x, 2026-05-01]\nb: 100"))


@pytest.mark.parametrize(
    ("arguments", "environment", "names"),
    [
        (["--profile", "mine"], {}, ["mine"]),
        (["--profile=mine", "--profile", "other", "all"], {"SNAKEMAKE_PROFILE": "third"}, ["mine", "other"]),
        (["--cores", "1"], {"SNAKEMAKE_PROFILE": "third"}, ["third"]),
        (["--workflow-profile", "own"], {}, ["profiles/own"]),
        (["--workflow-profile", "mine", "--profile", "other"], {}, ["other", "mine"]),
        (["--profile", "none", "--workflow-profile", "none"], {}, []),
        (["--cores", "all", "-n"], {}, []),
    ],
)
def test_the_profiles_of_a_call_are_found_where_it_was_given(
    tmp_path: Path, arguments: list[str], environment: dict[str, str], names: list[str]
) -> None:
    for name in ("mine", "other", "third", "profiles/own"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "profile.yaml").touch()
    found = config_files.profiles(arguments, environment, tmp_path)
    assert found == [tmp_path / name / "profile.yaml" for name in names]
