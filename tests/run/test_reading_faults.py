"""Whatever a reading of the monitor says, at whatever time, the finished run that it watched is not lost.

Faults are put into every column of the samples, found from the monitor's own dataclasses, and into every file of the
kernel that the monitor reads. Cards with faults are in `test_monitor.py`, through a library that replays them.
"""

import csv
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from finished_run import CARDS, COMPLETED, completed_between, completed_on, observed
from samples_file import write_samples
from trainbench.records import record
from trainbench.run import checks, counters, monitor, outcome, sample, usage
from trainbench.run.checks.check import Check

TIMES = [100.5 + 0.5 * number for number in range(52)]
"""From before the first epoch to after the last one."""

PLACES = {"start": 0, "middle": len(TIMES) // 2, "end": len(TIMES) - 1}


@pytest.fixture(autouse=True)
def written_without_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a metrics file outlives a failure of power is not the question here, and the disk takes long."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


Fault = Callable[[Any], str]

IMPOSSIBLE: dict[str, Fault] = {
    "far below zero": lambda _: "-1e9",
    "not a number": lambda _: "nan",
    "infinite": lambda _: "inf",
    "beyond all": lambda _: "1e300",
    "a word": lambda _: "N/A",
}
POSSIBLE: dict[str, Fault] = {
    "missing": lambda _: "",
    "negative": lambda value: f"-{value}",
    "a little back": lambda value: f"{0.5 * float(value)}" if is_number(value) else f"{value}",
    "ten times too large": lambda value: f"{10 * float(value)}" if is_number(value) else f"{value}" * 10,
    "all bits set": lambda _: "4294967295",
    "nothing that a terminal should see": lambda _: "../<b>\x1b[2J" * 1000,
}


def is_number(value: object) -> bool:
    return isinstance(value, int | float)


def healthy(column: str, bounds: sample.Bounds | None) -> list[Any]:
    """Values that a column can have; all that are no counters can be 50."""
    if bounds is None:
        return [CARDS[0].uuid if column.endswith("uuid") else "none" if column.endswith("reasons") else None] * len(
            TIMES
        )
    return [50.0 if bounds.rises_by is None else 10.0 * time for time in TIMES]


def write_with(path: Path, column: str, fault: Fault, place: int) -> Path:
    columns = {name: healthy(name, bounds) for name, bounds in sample.bounds(1).items()} | {"monotonic_seconds": TIMES}
    columns[column] = [fault(value) if at == place else value for at, value in enumerate(columns[column])]
    times = columns.pop("monotonic_seconds")
    return write_samples(path, times, 1, **columns)


def kept(samples: Path, answer: dict[str, Any], folder: Path, *uuids: str) -> dict[str, Any]:
    """The metrics file of a run with these samples, written and read again."""
    record.write(outcome.metrics(answer, observed(samples, uuids)), folder / "metrics.json")
    return record.read(folder / "metrics.json")


def names(metrics: dict[str, Any]) -> list[str]:
    return [finding["name"] for finding in metrics["checks"]]


NUMBERS = [name for name, bounds in sample.bounds(1).items() if bounds is not None]


@pytest.mark.parametrize("fault", {**POSSIBLE, **IMPOSSIBLE})
@pytest.mark.parametrize("column", sample.columns(1))
def test_no_value_in_the_samples_costs_the_run(column: str, fault: str, tmp_path: Path) -> None:
    for place in PLACES.values():
        samples = write_with(tmp_path / "samples.csv", column, {**POSSIBLE, **IMPOSSIBLE}[fault], place)
        metrics = kept(samples, completed_on("gpu"), tmp_path, CARDS[0].uuid)
        assert len(metrics["epochs"]) == len(COMPLETED["epochs"])


@pytest.mark.parametrize("fault", IMPOSSIBLE)
@pytest.mark.parametrize("column", NUMBERS)
def test_a_value_that_cannot_be_is_unknown_and_said(column: str, fault: str, tmp_path: Path) -> None:
    for place in PLACES.values():
        samples = write_with(tmp_path / "samples.csv", column, IMPOSSIBLE[fault], place)
        metrics = outcome.metrics(completed_on("gpu"), observed(samples, (CARDS[0].uuid,)))
        (finding,) = (finding for finding in metrics["checks"] if finding["name"] == "readings_refused")
        assert f"{column} said '{IMPOSSIBLE[fault](None)}' (1 times)" in finding["finding"]


@pytest.mark.parametrize("fault", IMPOSSIBLE)
@pytest.mark.parametrize("column", NUMBERS)
def test_a_value_that_cannot_be_alters_no_sum_but_by_its_absence(column: str, fault: str, tmp_path: Path) -> None:
    """All values but the counters' are 50; the counters rise by 10 a second, or energy is the 50 W of the card."""
    for place in PLACES.values():
        samples = usage.read_samples(write_with(tmp_path / "samples.csv", column, IMPOSSIBLE[fault], place))
        span = usage.over_windows(samples, [(105.0, 125.5)], 1) or {}
        figures = {name: value for name, value in {**span, **span["gpus"][0]}.items() if isinstance(value, int | float)}
        energies = [figures.pop(name) for name in ("energy_joules", "cpu_energy_joules") if name in figures]
        assert {value for name, value in figures.items() if name not in {"seconds", "samples"}} == {50}
        assert [joules for joules in energies if joules not in (pytest.approx(205), pytest.approx(1025))] == []


def test_a_counter_that_steps_back_for_good_gives_no_sum_over_the_step(tmp_path: Path) -> None:
    counter = [10.0 * time if time < 113 else 10.0 * (time - 113) for time in TIMES]
    samples = usage.read_samples(
        write_samples(
            tmp_path / "samples.csv", TIMES, 1, gpu0_energy_joules=counter, gpu0_power_watts=[10.0] * len(TIMES)
        )
    )
    summary = usage.over_windows(samples, [(105.0, 125.5)], 1)
    assert summary is not None
    assert (summary["gpus"][0]["energy_source"], summary["gpus"][0]["energy_joules"]) == ("power", pytest.approx(205))


@pytest.mark.parametrize(
    "text",
    ["", "\n", "monotonic_seconds\n", "no,header\n1,2\n", "\x00\x01\xff\n" * 9, '"' * 99 + "\n", "1,2,3\n4\n" * 9],
    ids=["empty", "a line", "one column", "other columns", "binary", "quotes", "lines of different lengths"],
)
def test_a_samples_file_of_another_shape_costs_no_run(text: str, tmp_path: Path) -> None:
    samples = tmp_path / "samples.csv"
    samples.write_text(text, encoding="latin-1")
    metrics = kept(samples, completed_on("gpu"), tmp_path, CARDS[0].uuid)
    assert (metrics["usage"]["span"]["cpu_percent"], "monitor_gap" in names(metrics)) == (None, True)


def test_a_samples_file_that_cannot_be_read_costs_no_run_and_is_said(tmp_path: Path) -> None:
    samples = tmp_path / "samples.csv"
    samples.mkdir()
    metrics = kept(samples, completed_on("cpu"), tmp_path)
    assert {"not_evaluated", "monitor_gap"} <= set(names(metrics))


def test_a_summary_that_fails_costs_itself_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some window that the summary was never tried with."""
    honest = usage.over_windows

    def failing(samples: usage.Samples, windows: list[usage.Window], gpu_count: int) -> dict[str, Any] | None:
        if len(samples.times) and len(windows) == len(COMPLETED["epochs"]) - 1:
            raise ZeroDivisionError("division by zero")
        return honest(samples, windows, gpu_count)

    monkeypatch.setattr(usage, "over_windows", failing)
    samples = write_with(tmp_path / "samples.csv", "cpu_mhz", str, 0)
    metrics = kept(samples, completed_on("cpu"), tmp_path)
    assert (metrics["usage"]["steady"]["resident_memory_mib"], metrics["usage"]["span"]["resident_memory_mib"]) == (
        None,
        50,
    )
    finding = next(finding for finding in metrics["checks"] if finding["name"] == "not_evaluated")
    assert "the summary steady could not be made" in finding["finding"]


@pytest.mark.parametrize(
    ("broken", "place"),
    [
        ({"steal_percent": -414.0}, "usage/span/steal_percent"),
        ({"samples": -1}, "usage/span"),
        ({"gpus": [{"uuid": "GPU-1"}]}, "usage/span"),
        ({"cpu_mhz": float("nan")}, "usage/span/cpu_mhz"),
        ({"cpu_mhz": np.float64(50)}, "usage"),
    ],
    ids=["a figure", "one that is never unknown", "a part that lacks fields", "no number", "of another type"],
)
def test_a_summary_that_breaks_the_schema_costs_the_part_that_breaks_it(
    broken: dict[str, Any], place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = usage.over_windows

    def breaking(samples: usage.Samples, windows: list[usage.Window], gpu_count: int) -> dict[str, Any] | None:
        summary = honest(samples, windows, gpu_count)
        return summary if summary is None or windows[0][1] < 125 else {**summary, **broken}

    monkeypatch.setattr(usage, "over_windows", breaking)
    samples = write_with(tmp_path / "samples.csv", "cpu_mhz", str, 0)
    metrics = kept(samples, completed_on("cpu"), tmp_path)
    part: Any = metrics
    for step in place.split("/"):
        part = part[step]
    assert part is None
    assert metrics["usage"] is None or metrics["usage"]["startup"]["steal_percent"] == 50
    assert any(finding["finding"].startswith(place) for finding in metrics["checks"])


def test_a_finding_that_breaks_the_schema_costs_itself_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = Check("No Name", "info", "look at it", lambda _: "something was found")
    monkeypatch.setattr(checks, "CHECKS", (odd, *checks.CHECKS))
    samples = write_with(tmp_path / "samples.csv", "cpu_mhz", str, 0)
    found = names(kept(samples, completed_on("cpu"), tmp_path))
    assert [name for name in found if name in {"No Name", "not_evaluated"}] == ["not_evaluated"]


# --- the kernel's files ---

ROOT_PID, CHILD_PID = 400_100, 400_101
SAMPLES = 4
FILE_PLACES = {"start": 0, "middle": SAMPLES // 2, "end": SAMPLES - 1}
INTERVAL_SECONDS = 9.0


def digits(change: Callable[[int], object]) -> Callable[[Path], None]:
    def alter(path: Path) -> None:
        text = path.read_text(encoding="ascii")
        path.write_text(re.sub(r"\b\d+\b", lambda found: str(change(int(found[0]))), text), encoding="ascii")

    return alter


def rewrite(change: Callable[[str], str]) -> Callable[[Path], None]:
    return lambda path: path.write_text(change(path.read_text(encoding="ascii")), encoding="latin-1") and None


def to_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


FILE_FAULTS: dict[str, Callable[[Path], None]] = {
    "missing": Path.unlink,
    "a folder": to_folder,
    "empty": rewrite(lambda _: ""),
    "binary": rewrite(lambda _: "\x00\xff\xfe" * 50),
    "cut in the middle": rewrite(lambda text: text[: len(text) // 2]),
    "other fields": rewrite(lambda text: re.sub(r"(\S+)( +|\t+)(\S+)", r"\3\2\1", text)),
    "negative": digits(lambda number: -number),
    "jumping back": digits(lambda number: number // 2),
    "no numbers": digits(lambda _: "nan"),
    "ten times too large": digits(lambda number: 10 * number),
    "all bits set": digits(lambda _: 2**64 - 1),
}


@dataclass
class Clock:
    """The time that the monitor sees, which passes while it sleeps."""

    now: float = 100.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def process_time(self) -> float:
        return 0.001 * self.now


def write_file(path: Path, text: str) -> None:
    if path.is_file() and path.read_bytes() == text.encode("ascii"):
        return
    if path.is_dir():
        path.rmdir()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="ascii")


def write_machine(root: Path, seconds: float) -> None:
    """What the kernel of a machine with two cores tells so long after the start, of a run with one child."""
    ticks = int(seconds * os.sysconf("SC_CLK_TCK"))
    cpus = "".join(
        f"cpu{core} {share * ticks} 0 {share * ticks // 20} 9000 10 0 {ticks // 50} {ticks // 90} 0 0\n"
        for core, share in (("", 4), (0, 2), (1, 2))
    )
    write_file(root / "proc/stat", f"{cpus}intr 5\nctxt 6\nbtime 1700000000\n")
    write_file(root / "proc/pressure/cpu", f"some avg10=0.00 avg60=0.00 avg300=0.00 total={int(1e5 * seconds)}\n")
    for core in (0, 1):
        write_file(root / f"sys/devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq", "2600000\n")
    zone = root / "sys/class/powercap/intel-rapl:0"
    write_file(zone / "name", "package-0\n")
    write_file(zone / "max_energy_range_uj", "262143328850\n")
    write_file(zone / "energy_uj", f"{int(9e7 * seconds)}\n")
    for pid, parent in ((ROOT_PID, 1), (CHILD_PID, ROOT_PID)):
        of_process = root / f"proc/{pid}"
        counters = f"{ticks} {ticks // 20} 0 0 20 0 4 0 12345 1000000 20000"
        write_file(
            of_process / "stat", f"{pid} (python) S {parent} {pid} {pid} 0 -1 4194560 9 0 0 0 {counters}{' 0' * 28}\n"
        )
        write_file(of_process / "statm", "250000 20000 5000 1 0 30000 0\n")
        write_file(
            of_process / "status", f"Name:\tpython\nState:\tS (sleeping)\nTgid:\t{pid}\nPid:\t{pid}\nThreads:\t4\n"
        )


def files_of(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def watch(
    root: Path, path: Path, monkeypatch: pytest.MonkeyPatch, fault: Callable[[Path], None], name: str, place: int
) -> int:
    """Sample a machine of which one file has a fault at one moment; give the number of samples."""
    clock = Clock()
    monkeypatch.setattr(monitor, "time", clock)
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(root / "proc"))
    write_machine(root, 1.0)
    tree = counters.ProcessTree(ROOT_PID)
    sampling = monitor.samples(tree, (0, 1), "no GPU to read", (), INTERVAL_SECONDS, root=root)
    count = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(sample.columns(0))
        for at in range(SAMPLES):
            write_machine(root, 1.0 + INTERVAL_SECONDS * at)
            if at == place:
                fault(root / name)
            taken = next(sampling, None)
            if taken is None:
                break
            writer.writerow(["" if value is None else value for value in astuple(taken[0])])
            count += 1
    return count


@pytest.fixture(scope="module")
def all_files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    root = tmp_path_factory.mktemp("machine")
    write_machine(root, 1.0)
    return files_of(root)


@pytest.mark.parametrize("place", FILE_PLACES)
@pytest.mark.parametrize("fault", FILE_FAULTS)
def test_no_file_of_the_kernel_costs_the_run(
    fault: str, place: str, all_files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = len(COMPLETED["epochs"])
    lost = []
    for name in all_files:
        samples = tmp_path / "samples.csv"
        watch(tmp_path / "root", samples, monkeypatch, FILE_FAULTS[fault], name, FILE_PLACES[place])
        try:
            metrics = kept(samples, completed_between(101.0, 100.0 + INTERVAL_SECONDS * (SAMPLES - 1)), tmp_path)
        except Exception as error:
            lost.append((name, repr(error)))
            continue
        if len(metrics["epochs"]) != whole or "not_evaluated" in names(metrics):
            lost.append((name, metrics["checks"]))
    assert lost == []


def test_a_machine_without_faults_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = tmp_path / "samples.csv"
    assert watch(tmp_path / "root", samples, monkeypatch, lambda _: None, "", 0) == SAMPLES
    read = usage.read_samples(samples)
    assert (read.refused, [name for name, values in read.numbers.items() if not (values[1:] >= 0).any()]) == ([], [])


@pytest.mark.parametrize("fault", [fault for fault in FILE_FAULTS if fault not in {"missing"}])
@pytest.mark.parametrize("name", ["proc/stat", "proc/pressure/cpu", f"proc/{CHILD_PID}/stat"])
def test_a_file_that_cannot_be_understood_does_not_end_the_monitor(
    name: str, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = tmp_path / "samples.csv"
    assert watch(tmp_path / "root", samples, monkeypatch, FILE_FAULTS[fault], name, SAMPLES // 2) == SAMPLES


def test_steal_that_steps_back_is_unknown_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = tmp_path / "samples.csv"
    back = rewrite(lambda text: re.sub(r"^(cpu (?: \d+){0}.*?)\d+ 0 0$", r"\g<1>0 0 0", text, flags=re.MULTILINE))
    watch(tmp_path / "root", samples, monkeypatch, back, "proc/stat", SAMPLES - 1)
    (refused,) = usage.read_samples(samples).refused
    assert (refused.column, refused.count, float(refused.said) < 0) == ("steal_percent", 1, True)


def test_fields_that_are_none_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = tmp_path / "samples.csv"
    watch(tmp_path / "root", samples, monkeypatch, FILE_FAULTS["no numbers"], "proc/stat", SAMPLES // 2)
    said = {refused.column: refused.said for refused in usage.read_samples(samples).refused}
    assert said["unreadable"].startswith("/proc/stat: invalid literal for int()")


def test_a_descendant_that_vanishes_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = tmp_path / "samples.csv"
    gone = f"proc/{CHILD_PID}"
    assert watch(tmp_path / "root", samples, monkeypatch, shutil.rmtree, gone, SAMPLES // 2) == SAMPLES
