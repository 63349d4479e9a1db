"""The monitor runs as a process of its own, as in a study; its samples are compared with what the kernel counted."""

import math
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import psutil
import pytest

from finished_run import completed_between, observed
from nvml_library import compiled_nvml_library, replay_environment  # noqa: F401  # the first is a fixture
from trainbench.records import record
from trainbench.run import counters, outcome, usage
from trainbench.run.checks import gpu
from trainbench.run.checks.check import Facts

PATIENCE_SECONDS = 20.0
INTERVAL_SECONDS = 0.02

BUSY_WITH_THREADS = """
import threading, time
for _ in range(3):
    threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
memory = b"x" * (64 * 2**20)
while True:
    pass
"""
BUSY_SHELL = ("sh", "-c", "while :; do :; done")
SHORT_CHILDREN = ("sh", "-c", "while :; do head -c 20000000 /dev/zero | md5sum; done >/dev/null")
LATE_CHILD = ("sh", "-c", "read go; sh -c 'while :; do :; done'; :")
"""Has a busy child from the moment its input says so."""

WITHOUT_NVML = """
import sys, pynvml
def missing(name):
    raise OSError(name)
pynvml.CDLL = missing
from trainbench.run import monitor
sys.exit(monitor.main(sys.argv[1:]))
"""

Process = subprocess.Popen[bytes]
Start = Callable[..., Process]


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come about within {PATIENCE_SECONDS:.0f} s"
        time.sleep(0.005)


def lines_of(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def monitor_arguments(
    pid: object, parent_pid: object, path: Path, *uuids: str, interval_seconds: float = INTERVAL_SECONDS
) -> list[str]:
    return [str(pid), str(parent_pid), str(interval_seconds), str(path), "0,1", *uuids]


@pytest.fixture(scope="module", name="start_shared")
def started_for_all() -> Iterator[Start]:
    yield from _started()


@pytest.fixture
def start() -> Iterator[Start]:
    yield from _started()


def _started() -> Iterator[Start]:
    """Give a function that starts a process, in a group of its own that is killed in the end."""
    with ExitStack() as stack:

        def start_one(*arguments: str, **options: Any) -> Process:
            process: Process = subprocess.Popen(arguments, start_new_session=True, **options)
            stack.callback(process.wait)
            stack.callback(_kill_group, process.pid)
            return process

        yield start_one


def _kill_group(leader: int) -> None:
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        return


def watch(
    start: Start,
    pid: int,
    path: Path,
    *uuids: str,
    environment: dict[str, str] | None = None,
    interval_seconds: float = INTERVAL_SECONDS,
) -> Process:
    """Start a monitor of `pid` and wait for its first two samples."""
    arguments = monitor_arguments(pid, os.getpid(), path, *uuids, interval_seconds=interval_seconds)
    process = start(
        sys.executable, "-m", "trainbench.run.monitor", *arguments, env=environment or replay_environment(None, None)
    )
    wait_until(lambda: lines_of(path) > 2 or process.poll() is not None, "the monitor's first samples")
    return process


def end(watched: Process, watching: Process) -> int:
    """End the watched process; give the monitor's exit code."""
    watched.kill()
    code = watching.wait(PATIENCE_SECONDS)
    watched.wait()
    return code


# --- what it says of processes, against what the kernel counted ---


@dataclass(frozen=True)
class Counted:
    """CPU seconds between two moments as the test itself read them, and the monitor's samples around these moments."""

    samples: usage.Samples
    window: usage.Window
    watched_seconds: float
    foreign_seconds: float
    host_seconds: float

    def sampled_seconds(self, column: str) -> float:
        """CPU seconds in the same time as the samples have it."""
        summary = usage.over_windows(self.samples, [self.window], 0)
        assert summary is not None
        return float(summary[column]) / 100 * (self.window[1] - self.window[0])


def tree_seconds(pid: int) -> float:
    """CPU seconds of a process, of its children that have ended and of those that live."""
    root = psutil.Process(pid)
    seconds = 0.0
    for process in [root, *root.children(recursive=True)]:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        seconds += times.user + times.system + times.children_user + times.children_system
    return seconds


def host_seconds() -> float:
    times = psutil.cpu_times()
    return times.user + times.nice + times.system + times.irq + times.softirq


def count(start: Start, folder: Path, watched: Process, foreign: Process | None = None, needed: float = 1.0) -> Counted:
    """Watch until the watched tree has used `needed` seconds of CPU time, and the foreign process half of that."""
    path = folder / "samples.csv"
    watching = watch(start, watched.pid, path)

    def read() -> tuple[float, float, float, float]:
        others = tree_seconds(foreign.pid) if foreign else 0.0
        return time.monotonic(), tree_seconds(watched.pid), others, host_seconds()

    before = after = read()
    if watched.stdin:
        watched.stdin.write(b"go\n")
        watched.stdin.close()
    while after[1] - before[1] < needed or (foreign and after[2] - before[2] < needed / 2):
        assert after[0] - before[0] < PATIENCE_SECONDS, "this machine has no CPU time for the test"
        time.sleep(0.05)
        after = read()
    assert watching.poll() is None, "the monitor ended before the watched process did"
    lines = lines_of(path)
    wait_until(lambda: lines_of(path) > lines + 1, "samples after the last reading")
    _kill_group(watched.pid)
    assert watching.wait(PATIENCE_SECONDS) == 0
    differences = [b - a for a, b in zip(before, after, strict=True)]
    return Counted(usage.read_samples(path), (before[0], after[0]), *differences[1:])


@pytest.fixture(scope="module")
def busy(start_shared: Start, tmp_path_factory: pytest.TempPathFactory) -> Counted:
    """Watch a busy process with four threads beside another busy one."""
    foreign = start_shared(*BUSY_SHELL)
    watched = start_shared(sys.executable, "-c", BUSY_WITH_THREADS)
    counted = count(start_shared, tmp_path_factory.mktemp("busy"), watched, foreign)
    _kill_group(foreign.pid)
    return counted


def near(seconds: float) -> Any:
    """Allow for clocks that tick every 10 ms and for pauses between two readings on a busy machine."""
    return pytest.approx(seconds, rel=0.15, abs=0.15)


def test_cpu_percent_adds_up_to_the_cpu_time_of_the_process(busy: Counted) -> None:
    assert busy.sampled_seconds("cpu_percent") == near(busy.watched_seconds)


def test_load_of_others_holds_that_of_another_process(busy: Counted) -> None:
    assert busy.sampled_seconds("other_cpu_percent") > 0.85 * busy.foreign_seconds - 0.15


def test_load_of_others_does_not_hold_that_of_the_watched_process(busy: Counted) -> None:
    rest = busy.host_seconds - busy.watched_seconds
    assert busy.sampled_seconds("other_cpu_percent") < rest + 0.15 * busy.watched_seconds + 0.15


def test_memory_and_threads_are_those_of_the_process(busy: Counted) -> None:
    summary = usage.over_windows(busy.samples, [busy.window], 0)
    assert summary is not None
    assert (64 < summary["resident_memory_mib"] < 200, summary["process_threads"]) == (True, 4)


def test_the_first_sample_has_no_percentage_for_there_is_none_before_it(busy: Counted) -> None:
    percentages = ("cpu_percent", "other_cpu_percent", "cpu_pressure_percent", "steal_percent")
    assert [math.isnan(busy.samples.numbers[name][0]) for name in percentages] == [True] * 4


def test_samples_are_on_the_clock_of_the_processes_that_train(busy: Counted) -> None:
    assert busy.samples.times[0] < busy.window[0] < busy.window[1] < busy.samples.times[-1]


def test_pressure_is_unknown_or_a_share_of_time(busy: Counted) -> None:
    summary = usage.over_windows(busy.samples, [busy.window], 0)
    assert summary is not None
    assert 0 <= (summary["cpu_pressure_percent"] or 0) <= 100


def test_children_that_live_too_short_to_be_found_are_counted(start: Start, tmp_path: Path) -> None:
    counted = count(start, tmp_path, start(*SHORT_CHILDREN), needed=0.7)
    assert counted.sampled_seconds("cpu_percent") == near(counted.watched_seconds)


def test_the_time_of_a_child_found_late_is_not_left_with_the_others(start: Start, tmp_path: Path) -> None:
    counted = count(start, tmp_path, start(*LATE_CHILD, stdin=subprocess.PIPE), needed=1.5)
    rest = counted.host_seconds - counted.watched_seconds
    assert counted.sampled_seconds("other_cpu_percent") < rest + 0.15 * counted.watched_seconds + 0.15


# --- when it ends ---


def test_it_writes_as_it_goes(start: Start, tmp_path: Path) -> None:
    """At two samples a second a full buffer would take a minute."""
    path = tmp_path / "samples.csv"
    watching = watch(start, start("sleep", "1000").pid, path, interval_seconds=0.5)
    lines = lines_of(path)
    wait_until(lambda: lines_of(path) > lines, "another sample")
    assert watching.poll() is None


def test_a_process_that_does_not_exist_is_not_watched(start: Start, tmp_path: Path) -> None:
    ended = start("true")
    ended.wait()
    path = tmp_path / "samples.csv"
    watching = watch(start, ended.pid, path)
    assert (watching.wait(PATIENCE_SECONDS), lines_of(path)) == (0, 1)


def test_it_ends_with_the_watched_process_whenever_that_is_killed(start: Start, tmp_path: Path) -> None:
    """Ten at once, the first killed before the monitor began; nobody waits for the killed ones meanwhile."""
    pairs = []
    for number in range(10):
        watched = start("sleep", "1000")
        arguments = monitor_arguments(watched.pid, os.getpid(), tmp_path / f"{number}.csv")
        environment = replay_environment(None, None)
        watching = start(sys.executable, "-m", "trainbench.run.monitor", *arguments, env=environment)
        pairs.append((watched, watching))
    for watched, _ in pairs:
        watched.kill()
        time.sleep(0.1)
    assert [watching.wait(PATIENCE_SECONDS) for _, watching in pairs] == [0] * 10


def test_it_ends_with_its_parent_whenever_that_is_killed(start: Start, tmp_path: Path) -> None:
    """Ten at once, the first killed before the monitor began; the watched process lives on."""
    watched = start("sleep", "1000")
    parents = []
    for number in range(10):
        arguments = monitor_arguments(watched.pid, "$$", tmp_path / f"{number}.csv")
        command = shlex.join([sys.executable, "-m", "trainbench.run.monitor", *arguments]).replace("'$$'", "$$")
        parent = start(
            "sh", "-c", f"{command} & echo $!; wait", env=replay_environment(None, None), stdout=subprocess.PIPE
        )
        parents.append(parent)
    monitors = [psutil.Process(int(parent.stdout.readline())) for parent in parents if parent.stdout]
    for parent in parents:
        parent.kill()
        time.sleep(0.1)
    _, alive = psutil.wait_procs(monitors, timeout=PATIENCE_SECONDS)
    assert (alive, watched.poll()) == ([], None)


# --- cards, replayed ---

CARDS = [f"GPU-00000000-0000-0000-0000-00000000000{index}" for index in range(4)]

FOUR_CARDS = f"""
driver 580.65.06
cuda 13000
gpu 0 {CARDS[0]} 12806258688 00000000:02:00.0 NVIDIA TITAN X (Pascal)
gpu 1 {CARDS[1]} 34359738368 00000000:03:00.0 Tesla V100-SXM2-32GB
gpu 2 {CARDS[2]} 85899345920 00000000:82:00.0 NVIDIA A100-SXM4-80GB
gpu 3 {CARDS[3]} - - NVIDIA H200
sample 0 0 10 1048576 71500 - 50 1911 1
sample 0 1 20 2097152 250000 1000000 60 1380 36
sample 0 2 30 3145728 300000 2000000 70 1410 0
sample 0 3 40 - - - - - -
"""


Watched = Callable[..., tuple[usage.Samples, dict[str, Any]]]


@pytest.fixture
def watch_card(nvml_library: Path, start: Start, tmp_path: Path) -> Watched:
    """Give a function that watches a process on a replayed card until its samples hold what is waited for.

    In more lines of the trace, WATCHED is the watched process. The samples come with their sum from the first sample to
    the last.
    """

    def watch_one(
        card: str,
        lines: Sequence[str] = (),
        until: Callable[[usage.Samples], bool] = lambda samples: len(samples.times) > 3,
        environment: dict[str, str] | None = None,
    ) -> tuple[usage.Samples, dict[str, Any]]:
        watched = start("sleep", "1000")
        trace, path = tmp_path / "trace.txt", tmp_path / "samples.csv"
        trace.write_text(FOUR_CARDS + "\n".join(lines).replace("WATCHED", str(watched.pid)) + "\n", encoding="utf-8")
        variables = replay_environment(nvml_library, trace) | (environment or {})
        watching = watch(start, watched.pid, path, card, environment=variables)
        wait_until(lambda: watching.poll() is not None or until(usage.read_samples(path)), "the sample waited for")
        assert end(watched, watching) == 0
        samples = usage.read_samples(path)
        summary = usage.over_windows(samples, [(samples.times[0], samples.times[-1])], 1)
        assert summary is not None
        return samples, summary

    return watch_one


def has_a_problem(samples: usage.Samples) -> bool:
    return samples.texts["gpu0_problem"][-1] != ""


def facts_of(samples: usage.Samples, summary: dict[str, Any]) -> Facts:
    return Facts(
        threads=2,
        cores=(0, 1),
        shared_cores=(),
        quota_cores=None,
        epoch_seconds=(1.0, 1.0),
        epoch_cpu_seconds=(2.0, 2.0),
        stopped_in=(),
        samples=samples,
        span=(samples.times[0], samples.times[-1]),
        over_span=summary,
        over_steady=summary,
        monitor_interval_seconds=INTERVAL_SECONDS,
        monitor_end=None,
        windows=[(samples.times[0], samples.times[-1])],
        canary_before=None,
        canary_after=None,
        gpu_listed=True,
    )


@pytest.mark.parametrize(("card", "utilization"), [(CARDS[0], 10), (CARDS[2], 30)])
def test_a_card_is_followed_by_its_uuid_whatever_number_cuda_gives_it(
    watch_card: Watched, card: str, utilization: int
) -> None:
    """To CUDA the run's card is number 0, the only one visible and the fastest; to NVML it keeps its place."""
    order = {"CUDA_VISIBLE_DEVICES": card, "CUDA_DEVICE_ORDER": "FASTEST_FIRST"}
    _, summary = watch_card(card, environment=order)
    found = summary["gpus"][0]
    assert (found["uuid"], found["utilization_percent"], found["memory_used_mib"]) == (
        card,
        utilization,
        utilization / 10,
    )


def test_two_cards_are_told_apart(nvml_library: Path, start: Start, tmp_path: Path) -> None:
    trace, path = tmp_path / "trace.txt", tmp_path / "samples.csv"
    trace.write_text(FOUR_CARDS, encoding="utf-8")
    watched = start("sleep", "1000")
    watching = watch(start, watched.pid, path, CARDS[2], CARDS[1], environment=replay_environment(nvml_library, trace))
    end(watched, watching)
    samples = usage.read_samples(path)
    assert [samples.numbers[f"gpu{number}_utilization_percent"][0] for number in (0, 1)] == [30, 20]


def test_a_sample_has_every_value_of_the_card_in_the_unit_of_its_name(watch_card: Watched) -> None:
    samples, _ = watch_card(CARDS[1], [f"process 1 WATCHED {2**20}"])
    found = {name: samples.numbers[f"gpu0_{name}"][0] for name in ("power_watts", "energy_joules", "sm_clock_mhz")}
    assert found == {"power_watts": 250, "energy_joules": 1000, "sm_clock_mhz": 1380}


def test_what_holds_the_clocks_down_is_named_and_found(watch_card: Watched) -> None:
    finding = gpu.gpu_throttled(facts_of(*watch_card(CARDS[1])))
    assert finding is not None
    assert "software power cap, software thermal slowdown" in finding.finding


def test_energy_comes_from_the_counter_where_there_is_one(watch_card: Watched) -> None:
    _, summary = watch_card(
        CARDS[1],
        ["sample 200 1 20 2097152 250000 1050000 60 1380 36"],
        lambda samples: bool((samples.numbers["gpu0_energy_joules"] == 1050).any()),
    )
    card = summary["gpus"][0]
    assert (card["energy_joules"], card["energy_source"]) == (pytest.approx(50), "counter")


def test_energy_of_a_card_without_a_counter_comes_from_its_power(watch_card: Watched) -> None:
    _, summary = watch_card(CARDS[0])
    card = summary["gpus"][0]
    assert (card["energy_joules"], card["energy_source"]) == (pytest.approx(71.5 * summary["seconds"]), "power")


def test_energy_of_a_card_without_counter_and_power_is_unknown(watch_card: Watched) -> None:
    _, summary = watch_card(CARDS[3])
    card = summary["gpus"][0]
    assert (card["energy_joules"], card["energy_source"], card["power_watts"]) == (None, None, None)


@pytest.mark.parametrize("how", ["", "unknown"])
def test_a_card_that_vanishes_leaves_its_reason_and_is_found(watch_card: Watched, how: str) -> None:
    samples, summary = watch_card(CARDS[1], [f"lost 200 1 {how}"], has_a_problem)
    finding = gpu.gpu_unread(facts_of(samples, summary))
    assert finding is not None
    assert (samples.texts["gpu0_problem"][0], CARDS[1] in finding.finding, finding.level) == ("", True, "error")


def test_energy_of_a_card_that_vanished_is_unknown_not_what_it_was_until_then(watch_card: Watched) -> None:
    _, summary = watch_card(CARDS[1], ["lost 200 1"], has_a_problem)
    assert summary["gpus"][0]["energy_joules"] is None


def test_another_process_on_the_card_is_counted_and_found(watch_card: Watched) -> None:
    samples, summary = watch_card(CARDS[1], [f"process 1 WATCHED {50 * 2**20}", f"process 1 {os.getpid()} {2**30}"])
    card = summary["gpus"][0]
    assert (card["other_processes"], card["process_memory_mib"]) == (1, 50)
    assert gpu.gpu_shared(facts_of(samples, summary)) is not None


def test_a_run_alone_on_its_card_is_not_found_to_share_it(watch_card: Watched) -> None:
    samples, summary = watch_card(CARDS[1], ["process 1 WATCHED 1048576", f"process 2 {os.getpid()} 1048576"])
    assert summary["gpus"][0]["other_processes"] == 0
    assert gpu.gpu_shared(facts_of(samples, summary)) is None


def test_a_list_of_processes_that_lacks_the_watched_one_says_nothing_of_others(watch_card: Watched) -> None:
    """As in a container that numbers its own processes."""
    _, summary = watch_card(CARDS[1], [f"process 1 {os.getpid()} 1048576"])
    assert summary["gpus"][0]["other_processes"] is None


def test_without_nvml_the_rest_is_sampled_and_the_card_has_a_problem(start: Start, tmp_path: Path) -> None:
    watched, path = start("sleep", "1000"), tmp_path / "samples.csv"
    arguments = monitor_arguments(watched.pid, os.getpid(), path, CARDS[0])
    watching = start(sys.executable, "-c", WITHOUT_NVML, *arguments, env=replay_environment(None, None))
    wait_until(lambda: lines_of(path) > 3 or watching.poll() is not None, "samples")
    end(watched, watching)
    header, _, second, *_ = path.read_text(encoding="utf-8").splitlines()
    values = dict(zip(header.split(","), second.split(","), strict=True))
    of_card = {name: value for name, value in values.items() if name.startswith("gpu0_") and value}
    assert of_card == {"gpu0_uuid": CARDS[0], "gpu0_problem": "NVML cannot be used: NVML Shared Library Not Found"}
    assert values["cpu_percent"]


VALUES = ("utilization", "memory", "power", "energy", "temperature", "clock", "reasons")
HEALTHY = (40, 2097152, 250000, 1000000, 60, 1380, 0)
VALUE_FAULTS: dict[str, Callable[[int], object]] = {
    "missing": lambda _: "-",
    "negative": lambda value: 2**32 - 1 - value,
    "jumping back": lambda value: value // 2,
    "ten times too large": lambda value: 10 * value,
    "all bits set": lambda _: 2**63 - 1,
}
MOMENTS_MS = {"start": 0, "middle": 400, "end": 800}
FAULT_MS = 200


def sample_line(begin_ms: int, values: Iterable[object]) -> str:
    return " ".join(["sample", str(begin_ms), "CARD", *map(str, values)])


def cards_with_faults() -> tuple[list[str], list[str]]:
    """UUIDs of cards of which each has another fault at another time, and the trace that tells of them."""
    faults = []
    for value, (change, begin) in product(range(len(VALUES)), product(VALUE_FAULTS.values(), MOMENTS_MS.values())):
        odd: list[object] = [*HEALTHY]
        odd[value] = change(HEALTHY[value])
        faults.append(f"{sample_line(begin, odd)}\n{sample_line(begin + FAULT_MS, HEALTHY)}")
    faults += [f"lost {begin} CARD {how}" for begin in MOMENTS_MS.values() for how in ("", "unknown")]
    faults += [f"process CARD {pid} 1048576" for pid in (0, 1, 4294967295, 2**22 + 1)]
    faults += ["process CARD WATCHED 1048576\nprocess CARD 4294967295 -"]
    traces = [f"{sample_line(0, HEALTHY)}\n{fault}".replace("CARD", str(card)) for card, fault in enumerate(faults)]
    uuids = [f"GPU-{card:08x}" for card in range(len(traces))]
    cards = [f"gpu {card} {uuid} 34359738368 00000000:03:00.0 Card" for card, uuid in enumerate(uuids)]
    return uuids, [*cards, *traces]


def test_no_reading_of_a_card_costs_the_run(nvml_library: Path, start: Start, tmp_path: Path) -> None:
    uuids, lines = cards_with_faults()
    watched, trace, path = start("sleep", "1000"), tmp_path / "trace.txt", tmp_path / "samples.csv"
    trace.write_text("driver 580\n" + "\n".join(lines).replace("WATCHED", str(watched.pid)) + "\n", encoding="utf-8")
    watching = watch(start, watched.pid, path, *uuids, environment=replay_environment(nvml_library, trace))
    begin = time.monotonic()
    wait_until(lambda: time.monotonic() > begin + (max(MOMENTS_MS.values()) + FAULT_MS) / 1000, "the last fault")
    assert end(watched, watching) == 0
    times = usage.read_samples(path).times.tolist()
    metrics = outcome.metrics(completed_between(times[0], times[-1], "gpu"), observed(path, uuids))
    record.write(metrics, tmp_path / "metrics.json")
    found = {finding["name"] for finding in record.read(tmp_path / "metrics.json")["checks"]}
    assert ("readings_refused" in found, "not_evaluated" in found) == (True, False)


def test_a_process_number_that_no_process_has_leaves_the_number_of_others_unknown_and_is_said(
    watch_card: Watched,
) -> None:
    samples, summary = watch_card(CARDS[1], ["process 1 WATCHED 1048576", "process 1 4294967295 1048576"])
    (refused,) = samples.refused
    assert (summary["gpus"][0]["other_processes"], refused.column) == (None, "gpu0_unreadable")
    assert refused.said == "list of processes: process number 4294967295"


# --- the kernel's files ---


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="ascii")


def rapl_zone(root: Path, zone: str, name: str, microjoules: int | None, limit: int = 1_000_000_000) -> None:
    folder = root / "sys/class/powercap" / zone
    write(folder / "name", f"{name}\n")
    write(folder / "max_energy_range_uj", f"{limit}\n")
    (folder / "energy_uj").unlink(missing_ok=True)
    if microjoules is not None:
        write(folder / "energy_uj", f"{microjoules}\n")


def test_energy_of_the_cpu_counts_from_the_start(tmp_path: Path) -> None:
    rapl_zone(tmp_path, "intel-rapl:0", "package-0", 700_000_000)
    rapl = counters.Rapl(tmp_path)
    rapl_zone(tmp_path, "intel-rapl:0", "package-0", 702_500_000)
    assert rapl.joules() == pytest.approx(2.5)


def test_energy_is_added_up_over_packages_but_not_over_their_parts_or_the_platform(tmp_path: Path) -> None:
    zones = {
        "intel-rapl:0": "package-0",
        "intel-rapl:0:0": "core",
        "intel-rapl:0:1": "dram",
        "intel-rapl:1": "package-1",
        "intel-rapl:2": "psys",
        "intel-rapl-mmio:0": "package-0",
    }
    for zone, name in zones.items():
        rapl_zone(tmp_path, zone, name, 0)
    rapl = counters.Rapl(tmp_path)
    for zone, name in zones.items():
        rapl_zone(tmp_path, zone, name, 3_000_000)
    assert rapl.joules() == pytest.approx(6)


def test_a_counter_that_passes_its_end_goes_on(tmp_path: Path) -> None:
    rapl_zone(tmp_path, "intel-rapl:0", "package-0", 990_000_000)
    rapl = counters.Rapl(tmp_path)
    found = []
    for microjoules in (999_000_000, 4_000_000, 998_000_000, 1_000_000):
        rapl_zone(tmp_path, "intel-rapl:0", "package-0", microjoules)
        found.append(rapl.joules())
    assert found == pytest.approx([9, 14, 1008, 1011])


def test_energy_is_unknown_while_one_package_cannot_be_read_and_right_afterwards(tmp_path: Path) -> None:
    def both(first: int | None, second: int | None) -> None:
        rapl_zone(tmp_path, "intel-rapl:0", "package-0", first)
        rapl_zone(tmp_path, "intel-rapl:1", "package-1", second)

    both(0, 0)
    rapl = counters.Rapl(tmp_path)
    found = []
    for first, second in ((1_000_000, None), (2_000_000, None), (3_000_000, 5_000_000)):
        both(first, second)
        found.append(rapl.joules())
    assert found == [None, None, pytest.approx(8)]


@pytest.mark.parametrize("readable", [False, True], ids=["no counter", "not for this user"])
def test_energy_of_a_machine_whose_counters_cannot_be_read_is_unknown(tmp_path: Path, *, readable: bool) -> None:
    if readable:
        rapl_zone(tmp_path, "intel-rapl:0", "package-0", None)
    assert counters.Rapl(tmp_path).joules() is None


def test_the_clock_is_the_mean_of_the_runs_cores(tmp_path: Path) -> None:
    for core, kilohertz in enumerate((2_000_000, 3_000_000, 9_000_000)):
        write(tmp_path / f"sys/devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq", f"{kilohertz}\n")
    assert counters.cpu_mhz((0, 1), tmp_path) == pytest.approx(2500)


def test_the_clock_is_unknown_where_that_of_one_core_is(tmp_path: Path) -> None:
    write(tmp_path / "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "2000000\n")
    assert counters.cpu_mhz((0, 1), tmp_path) is None


def test_idle_waiting_and_stolen_time_is_not_busy_time(tmp_path: Path) -> None:
    write(
        tmp_path / "proc/stat",
        "cpu  100 20 30 9000 800 4 5 70 60 50\ncpu0 1 2 3 9 9 4 5 9 9 9\n"
        "cpu1 8 8 8 8 8 8 8 8 8 8\ncpu10 1 1 1 1 1 1 1 1 1 1\n",
    )
    write(
        tmp_path / "proc/pressure/cpu", "some avg10=1.00 avg60=2.00 avg300=3.00 total=2500000\nfull avg10=0 total=7\n"
    )
    ticks = os.sysconf("SC_CLK_TCK")
    expected = counters.HostCounters(
        busy=(100 + 20 + 30 + 4 + 5) / ticks,
        busy_on_cores=(1 + 2 + 3 + 4 + 5 + 5) / ticks,
        steal=70 / ticks,
        pressure=2.5,
    )
    assert counters.HostCounters.read((0, 10), tmp_path) == expected


def test_pressure_is_unknown_on_a_kernel_that_does_not_count_it(tmp_path: Path) -> None:
    write(tmp_path / "proc/stat", "cpu  100 20 30 9000 800 4 5 70 60 50\n")
    assert counters.HostCounters.read((0,), tmp_path).pressure is None
