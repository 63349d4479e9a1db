"""Reads config files with every value as the text that stands there, and says in which line a value was set.

Snakemake reads them as YAML 1.1, to which 0512 is 330, 8:00:00 is 28800, 1.10 is 1.1 and 2026-05-01 is no text, and
takes a value of `--config` for a number where Python would. Here all but null is text, and the schema says what of it
is a number.
"""

import argparse
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from snakemake.cli import get_profile_dir
from snakemake.common.configfile import load_configfile
from snakemake.utils import update_config

from trainbench.errors import InputError

_MERGE = "tag:yaml.org,2002:merge"
_NUMBER = re.compile("tag:yaml.org,2002:(int|float)")
_TURNED = re.compile(r"[-+]?0[0-7_]+|.*:.*").fullmatch  # octal; to the base of 60


class _AsWritten(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML has no types
    """YAML of which only null, and `<<` for merging, are more than text; no key stands twice in a mapping."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's way to tell a loader's types

    def compose_mapping_node(self, anchor: str | None) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen: dict[str, yaml.Node] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE:
                continue
            first = seen.setdefault(key.value, key)
            if first is not key:
                raise InputError(
                    f"{_line(key)}: '{key.value}' stands twice in one mapping, first in line "
                    f"{first.start_mark.line + 1}, expected each key once; remove one of the two"
                )
        return node


_AsWritten.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"(~|null|Null|NULL|)\Z"), ["~", "n", "N", ""])
_AsWritten.add_implicit_resolver(_MERGE, re.compile(r"<<\Z"), ["<"])


@dataclass(frozen=True)
class Layer:
    """What one file, or the command line, sets: as values, and as nodes of YAML that know their lines."""

    values: Mapping[str, Any]
    root: yaml.Node | None


def read(path: Path) -> Layer:
    """The config file `path`, YAML or JSON.

    A file of templates (`__use_yte__: true`) has the values that Snakemake finds in it, without lines.

    Raises:
        InputError: the file cannot be read, is neither, sets a key twice, or has no keys at its top.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not text in UTF-8 ({error}), expected a config file; save it as UTF-8") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}), expected a config file; correct it") from error
    try:
        loader = _AsWritten(text)
        loader.name = str(path)
        root = loader.get_single_node()
        values = None if root is None else loader.construct_document(root)
    except yaml.YAMLError as error:
        # YAML allows no tabs where JSON does.
        root = values = None
        with suppress(ValueError):
            values = json.loads(text, parse_int=str, parse_float=str, parse_constant=str)
        if values is None:
            mark = getattr(error, "problem_mark", None)
            line = f" line {mark.line + 1}" if mark else ""
            problem = getattr(error, "problem", None) or " ".join(str(error).split())
            raise InputError(
                f"{path}{line} is not YAML ({problem}), expected a config file such as config/config.yaml; correct "
                "that line"
            ) from error
    if not isinstance(values, dict):
        raise InputError(
            f"{path} has no keys at its top, expected a config file such as config/config.yaml; correct or remove it"
        )
    return Layer(load_configfile(str(path)), None) if "__use_yte__" in values else Layer(values, root)


def of_command_line(values: Mapping[str, Any], arguments: Sequence[str]) -> Layer:
    """What `--config` sets: `values` as Snakemake hands them over, but numbers as they stand in its `arguments`."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config", "-C", nargs="*", action="extend", default=[])
    written = dict(pair.split("=", 1) for pair in parser.parse_known_args(arguments)[0].config if "=" in pair)
    as_written = {
        key: written.get(key, value) if isinstance(value, int | float) and not isinstance(value, bool) else value
        for key, value in values.items()
    }
    return Layer(as_written, yaml.representer.SafeRepresenter().represent_data(as_written))


def merged(layers: Iterable[Layer]) -> dict[str, Any]:
    """What all `layers` say together, the later over the earlier: mappings merge, all else is replaced."""
    config: dict[str, Any] = {}
    for layer in layers:
        update_config(config, layer.values)
    return config


def line_of(layers: Sequence[Layer], path: Sequence[str | int]) -> str | None:
    """The file and line that set what lies at `path` in the merged layers; None where no line of a file did."""
    for layer in reversed(layers):
        found = _at(layer.root, path)
        if found is not None:
            return _line(found) if found.start_mark else None
    return None


def profiles(arguments: Sequence[str], environment: Mapping[str, str], folder: Path) -> list[Path]:
    """The files of the profiles that Snakemake was called with, in `folder`; of the workflow only one that is named."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--profile", action="append")
    parser.add_argument("--workflow-profile")
    given, _ = parser.parse_known_args(arguments)
    names = given.profile or [environment.get("SNAKEMAKE_PROFILE", "none")]
    if given.workflow_profile:
        own = given.workflow_profile
        names = [*names, own if (folder / own).exists() else f"profiles/{own}"]
    found = [get_profile_dir(str(folder / name) if (folder / name).exists() else name) for name in names]
    return [file for _, file in filter(None, found)]


def refuse_turned(profile: Path) -> None:
    """Refuse a profile with a number that is another one to YAML 1.1, as which Snakemake has read it already.

    Raises:
        InputError: the text names the line, the number and what has become of it.
    """
    to_come = [yaml.compose(profile.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)]
    while to_come:
        match to_come.pop():
            case yaml.MappingNode(value=pairs):
                to_come += [node for pair in pairs for node in pair]
            case yaml.SequenceNode(value=items):
                to_come += items
            case yaml.ScalarNode(value=text, style=None, tag=tag) as node if _NUMBER.fullmatch(tag) and _TURNED(text):
                raise InputError(
                    f"{profile} line {node.start_mark.line + 1} has the number {text}, which Snakemake takes for "
                    f"{yaml.safe_load(text)}, as YAML 1.1 does; write it without colons and leading zeros, a time with "
                    "its unit, such as 8h"
                )


def _at(node: yaml.Node | None, path: Sequence[str | int]) -> yaml.Node | None:
    """The key or the item at `path`, or what stands there in the place of a mapping or list."""
    place = node
    for step in path:
        match node:
            case yaml.MappingNode():
                # What << merges comes first, and what a mapping says itself wins.
                same = ((key, value) for key, value in reversed(node.value) if key.value == step)
                place, node = next(same, (None, None))
            case yaml.SequenceNode() if isinstance(step, int):
                place = node = node.value[step] if step < len(node.value) else None
            case _:
                break
    return place


def _line(node: yaml.Node) -> str:
    return f"{node.start_mark.name} line {node.start_mark.line + 1}"
