"""Says what sets a run apart from the other runs of its host, cell or folder: findings that no run can make alone.

A check is one function that takes the records of a group, those of one host, cell or results folder, and yields a
finding for each run that it concerns, by `run_id`, registered in `CHECKS`.
"""

import statistics
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

from trainbench.records.finding import Finding
from trainbench.results.columns import chosen
from trainbench.results.comparability import (
    canary_before,
    decisive_settings,
    other_variables,
    own_variables,
    threads_in_use,
)
from trainbench.results.sources import FOLDER_KEY

CANARY_DIFFERENCE: Final = 0.15
CANARY_RUNS: Final = 4

Record = Mapping[str, Any]
Findings = Iterator[tuple[str, Finding]]
_Member = TypeVar("_Member")


def speed_differs(runs: Sequence[Record]) -> Findings:
    """The machine computed slower or faster before this run than before the host's other runs on as many cores."""
    timed = [(run["run_id"], *canary) for run in runs if (canary := canary_before(run)) is not None]
    for alike in _together(timed, lambda canary: canary[1]):
        usual = statistics.median(seconds for *_, seconds in alike)
        for run_id, where, seconds in alike if len(alike) >= CANARY_RUNS else ():
            difference = seconds / usual - 1
            if abs(difference) > CANARY_DIFFERENCE:
                yield (
                    run_id,
                    Finding(
                        "speed_differs",
                        "warning",
                        f"a fixed computation on {where} took {seconds:.3f} s before the run, {usual:.3f} s in the "
                        f"median of the host's {len(alike)} runs ({100 * difference:+.0f} %)",
                        "look for other load, heat or a changed power setting, and measure this run again",
                    ),
                )


def versions_differ(runs: Sequence[Record]) -> Findings:
    """Runs of one cell and framework were measured with different software or different settings of it."""
    for of_framework in _together(runs, _framework):
        # What devices set are settings, which `settings_differ` compares.
        own = {name for run in of_framework for name in own_variables(run)}
        variables = sorted({name for run in of_framework for name in other_variables(run)} - own)
        installed = [_software(run, variables) for run in of_framework]
        yield from _other_software(of_framework, installed, _values(installed), "the cell's runs")


def other_versions(runs: Sequence[Record]) -> Findings:
    """Other versions than most runs of their framework in a results folder: its cells are compared with each other."""
    for of_framework in _together(runs, _framework):
        installed = [_versions(run) for run in of_framework]
        yield from _other_software(of_framework, installed, _usual_values(installed), "runs of these results")


def settings_differ(runs: Sequence[Record]) -> Findings:
    """Runs of one cell were measured with different settings, as runs of another study on the same machine can be."""
    settings = [decisive_settings(run) for run in runs]
    for run_id, differences in _differences(runs, settings, _values(settings)):
        finding = f"the cell's runs were measured with different settings: {differences}"
        advice = "take the source whose settings are not the wanted ones out of sources, or measure it with these"
        yield run_id, Finding("settings_differ", "warning", finding, advice)


def threads_differ(runs: Sequence[Record]) -> Findings:
    """Runs of one cell trained with different numbers of threads."""
    for run_id, count, others in _apart(runs, lambda used: threads_in_use(used["threads"])):
        finding = f"the run trained with {count} threads, others of its cell with {others}"
        advice = "set the device's threads to a number, or give every run the same --cores, and measure the cell again"
        yield run_id, Finding("threads_differ", "warning", finding, advice)


def hardware_differs(runs: Sequence[Record]) -> Findings:
    """Runs of one cell trained on different models of GPU or CPU, as on a machine with two kinds of card."""
    for run_id, name, others in _apart(runs, lambda used: used["name"]):
        finding = f"the run trained on {name}, others of its cell on {others}"
        advice = (
            "name the card in device_settings and measure the cell again, or take the source with the other card out"
        )
        yield run_id, Finding("hardware_differs", "warning", finding, advice)


def _framework(run: Record) -> str:
    """Which brings its own Python and packages where it has an environment of its own."""
    return str(run["software"]["framework"])


CHECKS: Final[Sequence[tuple[Callable[[Record], object], Sequence[Callable[[Sequence[Record]], Findings]]]]] = (
    (lambda run: run["host"]["id"], (speed_differs,)),
    (
        lambda run: (run["host"]["id"], run["model"], run["batch_size"], run["device"]),
        (settings_differ, versions_differ, threads_differ, hardware_differs),
    ),
    (lambda run: run.get(FOLDER_KEY), (other_versions,)),
)
"""What the runs of a group have in common, and what is looked for in it."""


def compared_part(record: Record) -> Record:
    """The part of a metrics record that the checks here look at: of thousands of runs only this is kept."""
    used = record["device_used"]
    return {
        **chosen(record, ("run_id", "model", "batch_size", "device", "settings", "dataset", "software", "canary")),
        FOLDER_KEY: record.get(FOLDER_KEY),
        "host": chosen(record["host"], ("id", "gpu_driver_version")),
        "device_used": None if used is None else chosen(used, ("name", "threads")),
    }


def across_runs(records: Iterable[Record]) -> dict[str, list[Finding]]:
    """What all checks find, in their order, by `run_id`; every run has an entry, and no two findings of a name.

    The records are metrics records or the compared parts of some; those without a `runs_folder` count as one's.
    """
    runs = list(records)
    findings: dict[str, dict[str, Finding]] = {run["run_id"]: {} for run in runs}
    for in_common, checks in CHECKS:
        for group in _together(runs, in_common):
            for run_id, finding in (each for check in checks for each in check(group)):
                findings[run_id].setdefault(finding.name, finding)
    return {run_id: list(by_name.values()) for run_id, by_name in findings.items()}


def _together(members: Iterable[_Member], in_common: Callable[[_Member], object]) -> Iterable[list[_Member]]:
    """The members of each group, in order of appearance."""
    groups: dict[object, list[_Member]] = {}
    for member in members:
        groups.setdefault(in_common(member), []).append(member)
    return groups.values()


def _apart(runs: Iterable[Record], fact: Callable[[Record], Any]) -> Iterator[tuple[str, Any, str]]:
    """The runs with something else than others in a fact of the devices they used: their own, and that of others."""
    facts = {run["run_id"]: fact(run["device_used"]) for run in runs if run["device_used"] is not None}
    known = {run_id: value for run_id, value in facts.items() if value is not None}
    for run_id, value in known.items():
        others = sorted(set(known.values()) - {value})
        if others:
            yield run_id, value, " or ".join(map(str, others))


def _software(run: Record, variables: Iterable[str]) -> dict[str, str]:
    """What is known of the software under a run, each part by its name, and the environment's `variables`."""
    software, environment = run["software"], run["software"]["flags"]["environment"]
    parts: dict[str, str | None] = dict(_versions(run))
    if run["settings"]["device"]["kind"] == "gpu":
        parts["GPU driver"] = run["host"]["gpu_driver_version"]
    for name in ("tf32", "deterministic"):
        parts[name] = {True: "on", False: "off", None: None}[software["flags"][name]]
    known = {name: version for name, version in parts.items() if version is not None}
    return known | {name: environment.get(name, "not set") for name in variables}


def _versions(run: Record) -> dict[str, str]:
    """The versions that are known of Python and the packages that a run trained with."""
    versions = {"python": run["software"]["python"], **run["software"]["versions"]}
    return {name: version for name, version in versions.items() if version is not None}


def _other_software(
    runs: Sequence[Record], installed: Sequence[Mapping[str, str]], expected: Mapping[str, Collection[str]], whose: str
) -> Findings:
    for run_id, differences in _differences(runs, installed, expected):
        finding = f"{whose} were measured with different software: {differences}"
        advice = "delete the results of the runs whose software is not the wanted one and run snakemake again"
        yield run_id, Finding("versions_differ", "warning", finding, advice)


def _differences(
    runs: Sequence[Record], parts: Sequence[Mapping[str, str]], expected: Mapping[str, Collection[str]]
) -> Iterator[tuple[str, str]]:
    """In what runs differ from the expected values, by `run_id`; `parts` are what each run has, by name."""
    for run, own in zip(runs, parts, strict=True):
        others = {name: sorted(set(expected[name]) - {value}) for name, value in own.items()}
        told = [
            f"{name} is {own[name]} here, {' or '.join(values)} in others" for name, values in others.items() if values
        ]
        if told:
            yield run["run_id"], "; ".join(told)


def _values(parts: Iterable[Mapping[str, str]]) -> dict[str, Counter[str]]:
    """The values that runs have, by name, and how many have each."""
    counts: dict[str, Counter[str]] = {}
    for part in parts:
        for name, value in part.items():
            counts.setdefault(name, Counter())[value] += 1
    return counts


def _usual_values(parts: Iterable[Mapping[str, str]]) -> dict[str, Collection[str]]:
    """The value that most have, or all of those that equally many have."""
    return {
        name: [value for value, count in values.items() if count == max(values.values())]
        for name, values in _values(parts).items()
    }
