"""Each check keeps quiet up to its bound, speaks beyond it, and says what to do."""

import dataclasses
import importlib
import itertools
import pkgutil
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from samples_file import make_samples
from trainbench.machine.canary import Timing
from trainbench.records.finding import Finding
from trainbench.run import checks, usage
from trainbench.run.checks.check import Check, Facts, check

CHECK = {check.name: check for check in checks.CHECKS}
TIMES = np.arange(0, 10.05, 0.1)
SPAN = (1.0, 9.0)

SUMMARY: dict[str, Any] = {
    "samples": 80,
    "other_cpu_percent": 1.0,
    "other_on_cores_percent": 1.0,
    "cpu_pressure_percent": 2.0,
    "steal_percent": 0.0,
    "gpus": [],
}

GPU: dict[str, Any] = {
    "samples": 80,
    "energy_source": "counter",
    "sm_clock_mhz": 1900.0,
    "sm_clock_min_mhz": 1890.0,
    "throttle_reasons": [],
    "other_processes": 0,
    "problem": None,
}


def timing(together: float, *, cpu_alone: float = 0.04, cpu_together: float = 0.04) -> Timing:
    return Timing(0.1, cpu_alone, together, cpu_together)


FactsOf = Callable[..., Facts]


@pytest.fixture
def facts(tmp_path: Path) -> FactsOf:
    """Give a function that makes up the facts of a quiet run on a CPU, or on GPUs, but for what it is told."""

    def make(
        *,
        span_summary: dict[str, Any] | None = None,
        gpu: dict[str, Any] | None = None,
        second_gpu: dict[str, Any] | None = None,
        times: np.ndarray = TIMES,
        other: np.ndarray | None = None,
        cpu: np.ndarray | None = None,
        pressure: np.ndarray | None = None,
        steal: np.ndarray | None = None,
        gpu_percent: float = 90.0,
        **changes: Any,
    ) -> Facts:
        gpus = [{**GPU, **given} for given in (gpu, second_gpu) if given is not None]
        load = np.ones_like(times) if other is None else other
        used = np.full_like(times, 190.0) if cpu is None else cpu
        of_gpus = {f"gpu{number}_utilization_percent": np.full_like(times, gpu_percent) for number in range(len(gpus))}
        of_host = {"other_cpu_percent": load, "cpu_percent": used}
        of_host |= {} if pressure is None else {"cpu_pressure_percent": pressure}
        of_host |= {} if steal is None else {"steal_percent": steal}
        samples = make_samples(tmp_path, times, len(gpus), **of_host, **of_gpus)
        quiet = {
            "threads": 2,
            "cores": (0, 1),
            "shared_cores": (),
            "quota_cores": None,
            "epoch_seconds": (epochs := (1.4, 1.0, 1.01, 1.0, 0.99, 1.0)),
            "epoch_cpu_seconds": [
                1.9 * seconds for seconds in changes.get("epoch_seconds", epochs) if isinstance(seconds, float)
            ],
            "stopped_in": (),
            "samples": samples,
            "span": SPAN,
            "over_span": {**SUMMARY, "gpus": gpus, **(span_summary or {})},
            "over_steady": {**SUMMARY, "gpus": gpus},
            "monitor_interval_seconds": 0.1,
            "monitor_end": None,
            "windows": [(1.0, 5.0), (5.0, 9.0)],
            "canary_before": timing(0.2),
            "canary_after": timing(0.201),
            "gpu_listed": True if gpus else None,
            "root": tmp_path,
        }
        return Facts(**{**quiet, **changes})

    return make


def load_for(seconds: float, percent: float) -> np.ndarray:
    """Give load of others in the middle of the span."""
    middle = (TIMES > 4.001) & (TIMES - seconds < 4.001)
    return np.where(middle, percent, 0.0)


def still_for(seconds: float, percent: float = 4.9) -> np.ndarray:
    """Give CPU use of a run that does next to nothing in the middle of the span."""
    return np.where((TIMES > 4.001) & (TIMES - seconds < 4.001), percent, 190.0)


def epochs_of(*seconds_and_cpu_seconds: tuple[float, float], **changes: Any) -> dict[str, Any]:
    """Give epochs one after the other from the span's beginning on."""
    seconds, cpu_seconds = zip(*seconds_and_cpu_seconds, strict=True)
    ends = np.cumsum((SPAN[0], *seconds)).tolist()
    return {
        "epoch_seconds": seconds,
        "epoch_cpu_seconds": cpu_seconds,
        "windows": list(itertools.pairwise(ends)),
        **changes,
    }


EIGHT_SLOW_THREADS = [(2.0, 2.4)] * 3
TWO_CORES = (2.0, 3.8)
STOPPED_IN_TURN = epochs_of((1.86, 1.86), (10.5, 1.01), times=np.arange(0.0, 15.0, 0.1))
"""By SIGSTOP and SIGCONT, 0.38 s and 0.12 s in turn."""

KILLED = {"monitor_end": "ended with signal 9"}


def ramp(change: float, noise: float = 0.0) -> tuple[float, ...]:
    """Give epochs of which the steady ones, 1 s in the mean, change by a share from the first to the last."""
    steady = np.linspace(1 - change / 2, 1 + change / 2, 8) + noise * np.array([1, -1] * 4)
    return (2.0, *steady.tolist())


BOUNDS: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]]]] = {
    "other_load": (
        [
            {"span_summary": {"other_cpu_percent": 15.0}},
            {"span_summary": {"other_cpu_percent": None}},
            {"other": load_for(1.0, 39.9)},
            {"other": load_for(1.0, 40.0)},
            {"other": load_for(0.5, 79.9)},
            {"other": np.where(TIMES < 1.0, 100.0, 0.0)},
            {"gpu": {}, "span_summary": {"other_cpu_percent": 150.0}},
        ],
        [
            {"span_summary": {"other_cpu_percent": 15.1}},
            {"other": load_for(1.0, 40.1)},
            {"other": load_for(0.5, 80.1)},
            {"span_summary": {"other_cpu_percent": None}, "other": load_for(1.0, 100.0)},
            {"span_summary": {"other_cpu_percent": 50.0}, "span": (4.0, 4.5)},
            {"gpu": {}, "span_summary": {"other_on_cores_percent": 15.1}},
        ],
    ),
    "monitor_gap": (
        [
            {"span": (1.0, 10.9)},
            {"span": (-0.9, 9.0)},
            {"times": TIMES[(TIMES < 4.05) | (TIMES > 4.95)]},
            {"times": TIMES[::20], "monitor_interval_seconds": 1.0},
            {"times": TIMES[TIMES > 4.0], "span": (5.0, 9.0)},
            {"times": TIMES[(TIMES < 1.05) | (TIMES > 2.95)], "span": (5.0, 9.0)},
            {"times": TIMES[::20], "monitor_interval_seconds": 1.0, "span": (5.0, 9.0)},
            KILLED,
        ],
        [
            {"times": TIMES[(TIMES < 1.05) | (TIMES > 3.15)], "span": (5.0, 9.0)},
            {"span": (1.0, 11.1)},
            {"span": (-1.1, 9.0)},
            {"times": TIMES[(TIMES < 4.05) | (TIMES > 5.15)]},
            {"times": TIMES[::40], "monitor_interval_seconds": 1.0},
            {"times": TIMES[:0]},
            {**KILLED, "span": (9.5, 10.2)},
            {**KILLED, "span": (9.5, 9.6), "times": TIMES[:0]},
        ],
    ),
    "stood_still": (
        [
            {"cpu": still_for(0.4)},
            {"cpu": still_for(4.0, percent=5.1)},
            {"cpu": still_for(4.0, percent=np.nan)},
            {"cpu": still_for(4.0), "windows": [(1.0, 4.0), (8.0, 9.0)]},
            {"gpu": {}, "cpu": still_for(4.0)},
            {"gpu": {}, "cpu": still_for(1.9), "gpu_percent": 0.0},
            {"gpu": {}, "cpu": still_for(4.0), "gpu_percent": np.nan},
        ],
        [
            {"cpu": still_for(0.6)},
            {"cpu": still_for(4.0), "windows": [(1.0, 4.0), (7.0, 9.0)]},
            {"gpu": {}, "cpu": still_for(2.1), "gpu_percent": 0.0},
            {"stopped_in": (0,)},
            {"stopped_in": (1, 2)},
            {"gpu": {}, "gpu_percent": np.nan, "stopped_in": (1,)},
        ],
    ),
    "held_up": (
        [
            epochs_of(*EIGHT_SLOW_THREADS, threads=8),
            epochs_of((2.0, 1.51)),
            epochs_of((0.6, 0.11)),
            epochs_of((8.0, 6.1)),
            epochs_of((2.0, 2.2), TWO_CORES, TWO_CORES),
            epochs_of(TWO_CORES, (2.0, 2.86), TWO_CORES),
            epochs_of(TWO_CORES, (2.0, 1.0), other=np.full_like(TIMES, 50.0)),
            epochs_of(TWO_CORES, (2.0, 1.0), pressure=np.full_like(TIMES, 50.0)),
            epochs_of(TWO_CORES, (2.0, 1.0), steal=np.full_like(TIMES, 50.0)),
            epochs_of((2.0, 1.0), threads=1, quota_cores=0.5),
            epochs_of((2.0, 1.9), (2.0, 0.1), gpu={}),
            epochs_of(TWO_CORES, (2.0, 1.0), times=TIMES[:0]),
            epochs_of(TWO_CORES, (2.0, 1.0), times=TIMES[TIMES < 4.0]),
        ],
        [
            epochs_of((2.0, 1.47)),
            epochs_of((0.6, 0.09)),
            epochs_of((8.0, 5.9)),
            STOPPED_IN_TURN,
            epochs_of((1.81, 1.81), (3.19, 0.99), times=np.arange(0.0, 61.0, 60.0), monitor_interval_seconds=60.0),
            epochs_of(TWO_CORES, (2.0, 2.81), TWO_CORES),
            epochs_of(TWO_CORES, (2.0, 1.0), other=np.full_like(TIMES, 20.0)),
        ],
    ),
    "readings_refused": ([{"other": np.full_like(TIMES, -10.0)}], [{"other": load_for(0.1, -1e9)}]),
    "cpu_pressure": (
        [{"span_summary": {"cpu_pressure_percent": 25.0}}, {"span_summary": {"cpu_pressure_percent": None}}],
        [{"span_summary": {"cpu_pressure_percent": 25.1}}],
    ),
    "cpu_steal": (
        [{"span_summary": {"steal_percent": 5.0}}, {"span_summary": {"steal_percent": None}}],
        [{"span_summary": {"steal_percent": 5.1}}],
    ),
    "cores_shared": ([{"shared_cores": ()}], [{"shared_cores": (1,)}]),
    "cpu_quota": ([{"quota_cores": 2.0}, {"quota_cores": None}], [{"quota_cores": 1.9}]),
    "threads_and_cores": ([{"threads": 2}], [{"threads": 1}, {"threads": 3}]),
    "epochs_scatter": (
        [
            {"epoch_seconds": (9.0, 0.901, 1.0, 1.099)},
            {"epoch_seconds": (9.0, 9.0, 10.0, 11.0)},
            {"epoch_seconds": (9.0, 0.5, 1.5)},
            {"epoch_seconds": (9.0,)},
        ],
        [{"epoch_seconds": (9.0, 0.899, 1.0, 1.101)}, {"epoch_seconds": (9.0, 8.99, 10.0, 11.01)}],
    ),
    "epochs_drift": (
        [
            {"epoch_seconds": ramp(0.049)},
            {"epoch_seconds": ramp(-0.049)},
            {"epoch_seconds": ramp(0.5)[:5]},
            {"epoch_seconds": ramp(0.06, noise=0.03)},
            {"epoch_seconds": ramp(0.2, noise=0.0365)},
        ],
        [
            {"epoch_seconds": ramp(0.051)},
            {"epoch_seconds": ramp(-0.051)},
            {"epoch_seconds": ramp(0.5)[:6]},
            {"epoch_seconds": ramp(0.2, noise=0.0359)},
        ],
    ),
    "machine_speed": (
        [{"canary_after": timing(0.2199)}, {"canary_after": timing(0.1801)}],
        [{"canary_after": timing(0.2201)}, {"canary_after": timing(0.1799)}],
    ),
    "too_short": ([{"span": (1.0, 2.0)}], [{"span": (1.0, 1.99)}]),
    "gpu_shared": (
        [{"gpu": {"other_processes": 0}}, {"gpu": {"other_processes": None}}, {"gpu": None}],
        [{"gpu": {"other_processes": 1}}],
    ),
    "gpu_throttled": (
        [{"gpu": {"throttle_reasons": reasons}} for reasons in ([], ["application_clocks"], ["display_clocks"])],
        [{"gpu": {"throttle_reasons": ["software_power_cap", "sync_boost"]}}],
    ),
    "gpu_clocks_set": (
        [{"gpu": {"throttle_reasons": ["software_power_cap"]}}],
        [
            {"gpu": {"throttle_reasons": [setting]}}
            for setting in ("application_clocks", "display_clocks", "sync_boost")
        ],
    ),
    "gpu_clocks": (
        [
            {"gpu": {"sm_clock_mhz": 1000.0, "sm_clock_min_mhz": 900.0}},
            {"gpu": {"sm_clock_mhz": None, "sm_clock_min_mhz": None}},
            {"gpu": {"sm_clock_mhz": 1000.0, "sm_clock_min_mhz": 100.0}, "over_steady": None},
        ],
        [{"gpu": {"sm_clock_mhz": 1000.0, "sm_clock_min_mhz": 899.0}}],
    ),
    "gpu_few_samples": (
        [
            {"gpu": {"samples": 10}},
            {"gpu": None},
            {"gpu": {"samples": 9}, "over_steady": None},
            {"over_steady": {**SUMMARY, "samples": 10, "gpus": [{**GPU, "samples": 0}]}},
        ],
        [{"gpu": {"samples": 9}}, {"over_steady": {**SUMMARY, "samples": 9, "gpus": [{**GPU, "samples": 0}]}}],
    ),
    "gpu_unread": ([{"gpu": {"problem": None}}], [{"gpu": {"problem": "GPU-1 is lost"}}]),
    "gpu_energy": (
        [{"gpu": {"energy_source": "counter"}}, {"gpu": None}],
        [
            {"gpu": {"energy_source": "power"}},
            {"gpu": {"energy_source": None}},
            {"gpu": {"energy_source": None}, "over_steady": None},
        ],
    ),
    "gpu_unlisted": (
        [{"gpu": {}, "gpu_listed": True}, {"gpu": None, "gpu_listed": None}],
        [{"gpu": {}, "gpu_listed": None}],
    ),
}
"""For each check, facts at its bound and facts beyond it; those that read files have tests of their own."""

QUIET = [pytest.param(name, case, id=f"{name}-{i}") for name, (q, _) in BOUNDS.items() for i, case in enumerate(q)]
LOUD = [pytest.param(name, case, id=f"{name}-{i}") for name, (_, b) in BOUNDS.items() for i, case in enumerate(b)]


@pytest.mark.parametrize(("name", "case"), QUIET)
def test_a_check_keeps_quiet_up_to_its_bound(name: str, case: dict[str, Any], facts: FactsOf) -> None:
    assert CHECK[name](facts(**case)) is None


@pytest.mark.parametrize(("name", "case"), LOUD)
def test_a_check_speaks_beyond_its_bound(name: str, case: dict[str, Any], facts: FactsOf) -> None:
    assert CHECK[name](facts(**case)) is not None


# --- checks that read files ---


def write(root: Path, name: str, text: str) -> None:
    path = root / "sys/devices/system/cpu" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n", encoding="ascii")


@pytest.mark.parametrize(
    ("governors", "found"),
    [
        (["performance", "performance"], None),
        (["performance", "powersave"], "performance, powersave"),
        (["schedutil", "schedutil"], "schedutil"),
        (["powersave"], None),
        ([], None),
    ],
    ids=["fastest", "one_core_slower", "all_slower", "one_core_unknown", "all_unknown"],
)
def test_a_governor_that_may_lower_the_clocks_is_named(
    governors: list[str], found: str | None, tmp_path: Path, facts: FactsOf
) -> None:
    for core, governor in enumerate(governors):
        write(tmp_path, f"cpu{core}/cpufreq/scaling_governor", governor)
    finding = CHECK["frequency_governor"](facts())
    assert (finding and finding.finding.rpartition(" is ")[2]) == found


@pytest.mark.parametrize(
    ("name", "text", "speaks"),
    [
        ("intel_pstate/no_turbo", "0", True),
        ("intel_pstate/no_turbo", "1", False),
        ("cpufreq/boost", "1", True),
        ("cpufreq/boost", "0", False),
        ("neither", "", False),
    ],
)
def test_turbo_is_reported_where_it_is_on(
    name: str, text: str, *, speaks: bool, tmp_path: Path, facts: FactsOf
) -> None:
    write(tmp_path, name, text)
    assert (CHECK["turbo"](facts()) is not None) is speaks


def write_machine(root: Path, flags: str, siblings: tuple[str, ...]) -> None:
    (root / "proc").mkdir(exist_ok=True)
    (root / "proc/cpuinfo").write_text(f"processor\t: 0\nflags\t\t: fpu {flags} sse\nbugs\t\t:\n", encoding="ascii")
    for core, text in enumerate(siblings):
        write(root, f"cpu{core}/topology/thread_siblings_list", text)


CONTENDING = timing(0.2, cpu_alone=0.04, cpu_together=0.0501)


@pytest.mark.parametrize(
    ("flags", "siblings", "speaks"),
    [
        ("hypervisor", ("0", "1"), True),
        ("hypervisor", (), True),
        ("hypervisor", ("0-1", "0-1"), False),
        ("sse", ("0", "1"), False),
    ],
    ids=["separate cores", "nothing known of cores", "threads of one core by nature", "no hypervisor"],
)
@pytest.mark.parametrize("when", ["canary_before", "canary_after"])
def test_cores_that_slow_each_other_down_are_found_where_they_are_said_to_be_separate(
    flags: str, siblings: tuple[str, ...], when: str, *, speaks: bool, tmp_path: Path, facts: FactsOf
) -> None:
    write_machine(tmp_path, flags, siblings)
    assert (CHECK["cores_contend"](facts(**{when: CONTENDING})) is not None) is speaks


@pytest.mark.parametrize("together", [0.0499, 0.05])
def test_cores_that_are_a_little_slower_together_are_no_finding(
    together: float, tmp_path: Path, facts: FactsOf
) -> None:
    write_machine(tmp_path, "hypervisor", ("0", "1"))
    assert CHECK["cores_contend"](facts(canary_after=timing(0.2, cpu_alone=0.04, cpu_together=together))) is None


@pytest.mark.parametrize(
    ("canaries", "told"),
    [
        (
            {"canary_after": timing(0.2, cpu_alone=0.04, cpu_together=0.07)},
            "0.040 s of a core's time alone and 0.070 s on 2 cores at once (1.75 times), after the run",
        ),
        (
            {
                "canary_before": timing(0.2, cpu_alone=0.04, cpu_together=0.08),
                "canary_after": timing(0.2, cpu_alone=0.07, cpu_together=0.09),
            },
            "0.040 s of a core's time alone and 0.080 s on 2 cores at once (2.00 times), before the run",
        ),
    ],
    ids=["after", "before"],
)
def test_the_finding_of_contending_cores_has_both_times_where_they_contended_most(
    canaries: dict[str, Timing], told: str, tmp_path: Path, facts: FactsOf
) -> None:
    write_machine(tmp_path, "hypervisor", ("0", "1"))
    finding = CHECK["cores_contend"](facts(**canaries))
    assert finding == Finding(
        "cores_contend",
        "warning",
        f"a fixed computation took {told}: the hypervisor lets them share what computes",
        "measure this run again; where every run says so, take a kind of virtual machine with whole cores",
    )


@pytest.mark.parametrize("name", ["machine_speed", "cores_contend"])
@pytest.mark.parametrize("untimed", [("canary_before", "canary_after"), ("canary_before",), ("canary_after",)])
def test_a_fixed_computation_that_could_not_be_timed_is_no_finding(
    name: str, untimed: tuple[str, ...], facts: FactsOf
) -> None:
    assert CHECK[name](facts(**dict.fromkeys(untimed))) is None


# --- what findings say ---


@pytest.fixture
def all_findings(tmp_path: Path, facts: FactsOf) -> list[Finding]:
    """Give a finding of every check, and of every way to come to it."""
    loud = [CHECK[name](facts(**case)) for name, (_, beyond) in BOUNDS.items() for case in beyond]
    for core in (0, 1):
        write(tmp_path, f"cpu{core}/cpufreq/scaling_governor", "powersave")
    write(tmp_path, "cpufreq/boost", "1")
    write_machine(tmp_path, "hypervisor", ("0", "1"))
    of_files = (CHECK["frequency_governor"], CHECK["turbo"], CHECK["cores_contend"])
    return [*loud, *(check(facts(canary_after=CONTENDING)) for check in of_files)]


def test_every_check_has_been_made_to_speak(all_findings: list[Finding]) -> None:
    assert {finding.name for finding in all_findings} == CHECK.keys()


def test_every_finding_has_a_sentence_and_an_advice(all_findings: list[Finding]) -> None:
    texts = [text for finding in all_findings for text in (finding.finding, finding.advice)]
    assert [text for text in texts if len(text.split()) < 4] == []


def test_no_finding_shows_a_value_that_is_not_one(all_findings: list[Finding]) -> None:
    texts = [text for finding in all_findings for text in (finding.finding, finding.advice)]
    assert [text for text in texts if re.search(r"\b(None|nan|inf)\b|[{}\[\]]", text)] == []


@pytest.mark.parametrize(
    ("name", "case", "finding"),
    [
        (
            "other_load",
            {"other": load_for(1.0, 87.0)},
            "other programs used 1 % of a core while the run trained, up to 87 % for 1 s",
        ),
        (
            "other_load",
            {"other": load_for(1.0, 87.0), "span_summary": {"other_cpu_percent": None}},
            "other programs used 0 % of a core while the run trained, up to 87 % for 1 s",
        ),
        (
            "other_load",
            {"span_summary": {"other_cpu_percent": 50.0}, "span": (4.0, 4.5)},
            "other programs used 50 % of a core while the run trained",
        ),
        (
            "cpu_pressure",
            {"span_summary": {"cpu_pressure_percent": 25.6}},
            "in 26 % of the time in which the run trained some process waited for a core",
        ),
        (
            "cpu_steal",
            {"span_summary": {"steal_percent": 7.4}},
            "the hypervisor took 7 % of a core for other virtual machines while the run trained",
        ),
        (
            "cores_shared",
            {"shared_cores": (0, 1)},
            "other runs of trainbench shared 2 of the run's 2 cores (0, 1)",
        ),
        (
            "cpu_quota",
            {"quota_cores": 1.5},
            "the run trained with 2 threads, its control group allows 1.5 cores' time",
        ),
        ("threads_and_cores", {"threads": 3}, "the run trained with 3 threads on 2 cores"),
        (
            "epochs_scatter",
            {"epoch_seconds": (9.0, 0.0, 2.0, 4.0)},
            "the times of 3 steady epochs scatter by 100 % (coefficient of variation)",
        ),
        (
            "epochs_drift",
            {"epoch_seconds": [2 * seconds for seconds in ramp(0.2)]},
            "epochs became 20 % slower from the second to the last",
        ),
        (
            "epochs_drift",
            {"epoch_seconds": ramp(-1.0)},
            "epochs became 100 % faster from the second to the last",
        ),
        (
            "machine_speed",
            {"canary_after": timing(0.4)},
            "a fixed computation took 0.200 s before the run and 0.400 s after it (+100 %), on all its 2 cores at once",
        ),
        (
            "machine_speed",
            {"canary_after": timing(0.15), "cores": (3,)},
            "a fixed computation took 0.200 s before the run and 0.150 s after it (-25 %), on its core",
        ),
        (
            "monitor_gap",
            {"times": TIMES[(TIMES < 4.05) | (TIMES > 5.95)]},
            "2.0 s of the 8.0 s from the first epoch to the last were not watched, from 3.0 s on",
        ),
        (
            "monitor_gap",
            {**KILLED, "span": (9.0, 12.0)},
            "the monitor ended with signal 9: 2.0 s of the 3.0 s from the first epoch to the last were not watched, "
            "from 1.0 s on",
        ),
        (
            "monitor_gap",
            {"times": TIMES[(TIMES < 1.05) | (TIMES > 3.95)], "span": (5.0, 9.0)},
            "3.0 s of the 5.0 s from the monitor's first sample to the first epoch were not watched, from 1.0 s on",
        ),
        (
            "stood_still",
            {"cpu": still_for(3.0)},
            "in 3.0 s of the 8.0 s that the epochs took, the run used no processor",
        ),
        (
            "stood_still",
            {"gpu": {}, "cpu": still_for(3.0), "gpu_percent": 0.0},
            "in 3.0 s of the 8.0 s that the epochs took, the run used neither its processors nor its GPUs",
        ),
        (
            "stood_still",
            {"stopped_in": (0, 2)},
            "the run was stopped and continued before its first epoch had ended; the run was stopped and continued in "
            "1 of its 5 later epochs",
        ),
        (
            "held_up",
            STOPPED_IN_TURN,
            "in 9.4 s of the 12.4 s that training took, the run was kept from its processors, and not by other "
            "programs: an epoch of 10.5 s used 0.10 cores, 1.00 are usual",
        ),
        (
            "held_up",
            epochs_of(TWO_CORES, (3.0, 1.0), TWO_CORES, (2.0, 1.0), TWO_CORES, times=np.arange(0.0, 15.0, 0.1)),
            "in 3.9 s of the 11.0 s that training took, the run was kept from its processors, and not by other "
            "programs: an epoch of 3.0 s used 0.33 cores, 1.90 are usual",
        ),
        (
            "held_up",
            epochs_of((3.0, 1.0), TWO_CORES, TWO_CORES),
            "in 2.0 s of the 7.0 s that training took, the run was kept from its processors, and not by other "
            "programs: an epoch of 3.0 s used 0.33 cores, 1.00 are usual",
        ),
        (
            "readings_refused",
            {"other": load_for(0.2, -1e9)},
            "readings that cannot be count as unknown: other_cpu_percent said '-1000000000.0' (2 times)",
        ),
        (
            "too_short",
            {"span": (1.0, 1.25)},
            "all epochs together took 0.25 s, in which the monitor saw 80 samples",
        ),
        (
            "gpu_throttled",
            {"gpu": {"throttle_reasons": ["software_power_cap", "hardware_slowdown"]}},
            "the GPU lowered its clocks: hardware slowdown, software power cap",
        ),
        (
            "gpu_clocks_set",
            {"gpu": {"throttle_reasons": ["sync_boost", "application_clocks"]}},
            "a setting holds the GPU's clocks: application clocks, sync boost",
        ),
        (
            "gpu_clocks",
            {"gpu": {"sm_clock_mhz": 1000.0, "sm_clock_min_mhz": 899.0}},
            "the GPU's clock fell to 899 MHz, its mean was 1000 MHz",
        ),
        ("gpu_few_samples", {"gpu": {"samples": 9}}, "the GPU's utilisation rests on 9 samples"),
        (
            "gpu_unread",
            {"gpu": {"problem": "GPU-1 is lost"}},
            "the GPU could not be read while the run trained: GPU-1 is lost",
        ),
        (
            "gpu_energy",
            {"gpu": {"energy_source": "power"}},
            "the GPU's energy counter could not be read: its energy is integrated from power readings",
        ),
        (
            "gpu_energy",
            {"gpu": {"energy_source": None}},
            "the GPU's energy counter could not be read: its energy is not known",
        ),
        (
            "gpu_unlisted",
            {"gpu": {}, "gpu_listed": None},
            "NVML lists the run's process on no GPU, as in a container with its own process numbers or under MPS",
        ),
    ],
)
def test_a_finding_says_what_was_found(name: str, case: dict[str, Any], finding: str, facts: FactsOf) -> None:
    found = CHECK[name](facts(**case))
    assert found is not None
    assert found.finding == finding


ADVICE = {
    "other_load": "stop other programs on the machine and measure this run again",
    "cpu_pressure": "stop other programs on the machine, or train with fewer threads than cores",
    "cpu_steal": "measure on a machine, or a kind of virtual machine, that does not share its cores",
    "cores_shared": "run one study at a time on a machine, or give each fewer cores with --cores",
    "cpu_quota": "raise the limit of the container or job, or set the device's threads to at most that",
    "threads_and_cores": "set the device's threads to the number of cores that a run is given",
    "frequency_governor": "for steadier numbers: cpupower frequency-set --governor performance",
    "turbo": "leave it on to measure what users get; switch it off to compare small differences",
    "epochs_scatter": "look for other load; where epochs are shorter than 0.1 s, train more of them",
    "epochs_drift": "look at temperatures and clocks in samples.csv; on a CPU, denormal numbers late in training slow "
    "it down",
    "machine_speed": "look for other load, heat or a hypervisor that shares the cores, and measure this run again",
    "cores_contend": "measure this run again; where every run says so, take a kind of virtual machine with whole cores",
    "monitor_gap": "look for the monitor's message in the run's log, do not stop the run or the machine, and measure "
    "it again",
    "stood_still": "do not stop the run or its machine (Ctrl-Z, cpulimit, a paused virtual machine, sleep), and "
    "measure it again",
    "held_up": "look for what stops or limits the run (cpulimit, a paused container or virtual machine, memory that is "
    "swapped) and measure it again",
    "readings_refused": "look at samples.csv beside the run's metrics file; drivers and kernels are known to say such "
    "things",
    "too_short": "train more epochs to have CPU and GPU use, and disturbances, measured well",
    "gpu_shared": "end them (nvidia-smi lists them), or keep the card for trainbench through CUDA_VISIBLE_DEVICES",
    "gpu_throttled": "look at its cooling and its power limit (nvidia-smi -q -d PERFORMANCE,POWER)",
    "gpu_clocks_set": "measure what is compared with the same setting (nvidia-smi -q -d CLOCK,PERFORMANCE shows it)",
    "gpu_clocks": "lock the clocks (nvidia-smi --lock-gpu-clocks) to compare small differences",
    "gpu_few_samples": "train more epochs: NVML's utilisation is itself a mean over up to a second",
    "gpu_unread": "look at the card (nvidia-smi, dmesg) and measure this run again",
    "gpu_energy": "cards before Volta have no energy counter and MIG slices none of their own; power readings of short "
    "runs are rough",
    "gpu_unlisted": "the framework's own word on where parameters and results lie stands alone; share the host's "
    "process numbers (docker run --pid=host) for NVML's",
}


def test_every_finding_of_a_check_says_the_same_to_do(all_findings: list[Finding]) -> None:
    assert {(finding.name, finding.advice) for finding in all_findings} == set(ADVICE.items())


@pytest.mark.parametrize(("columns", "told"), [(8, ""), (9, ", 1 columns more")])
def test_of_refused_readings_eight_columns_are_named_and_the_others_counted(
    columns: int, told: str, tmp_path: Path, facts: FactsOf
) -> None:
    refused = [usage.Refused(f"column{number}", number, "x" * 70) for number in range(columns)]
    samples = dataclasses.replace(make_samples(tmp_path, TIMES), refused=refused)
    finding = CHECK["readings_refused"](facts(samples=samples))
    assert finding is not None
    named = ", ".join(f"column{number} said '{'x' * 60}' ({number} times)" for number in range(8))
    assert finding.finding == f"readings that cannot be count as unknown: {named}{told}"


def test_a_slice_of_which_nvml_tells_no_utilisation_is_not_asked_for_more_epochs(facts: FactsOf) -> None:
    assert CHECK["gpu_few_samples"](facts(gpu={"samples": 0, "utilization_percent": None})) is None


def test_clocks_that_somebody_has_set_leave_no_mark_on_a_number(facts: FactsOf) -> None:
    found = checks.findings(facts(gpu={"throttle_reasons": ["application_clocks"]}))
    assert [(finding.name, finding.level) for finding in found] == [("gpu_clocks_set", "info")]


@pytest.mark.parametrize(("count", "words"), [(1, "1 other process"), (2, "2 other processes")])
def test_other_processes_on_the_gpu_are_counted_in_english(count: int, words: str, facts: FactsOf) -> None:
    finding = CHECK["gpu_shared"](facts(gpu={"other_processes": count}))
    assert finding is not None
    assert finding.finding == f"{words} computed on the run's GPU"


# --- all of them ---


def test_a_check_that_is_written_beside_the_others_is_one_of_them() -> None:
    names = [module.name for module in pkgutil.iter_modules(checks.__path__, f"{checks.__name__}.")]
    modules = [importlib.import_module(name) for name in names]
    written = {found.name for module in modules for found in vars(module).values() if isinstance(found, Check)}
    assert written == CHECK.keys()


@pytest.mark.parametrize(
    ("name", "of_second"),
    [
        ("gpu_shared", {"other_processes": 1}),
        ("gpu_throttled", {"throttle_reasons": ["thermal"]}),
        ("gpu_clocks_set", {"throttle_reasons": ["application_clocks"]}),
        ("gpu_clocks", {"sm_clock_min_mhz": 1000.0}),
        ("gpu_few_samples", {"samples": 2}),
        ("gpu_unread", {"problem": "GPU is lost"}),
        ("gpu_energy", {"energy_source": "power"}),
    ],
)
def test_what_disturbs_the_second_of_two_gpus_is_found(name: str, of_second: dict[str, Any], facts: FactsOf) -> None:
    found = checks.findings(facts(gpu={}, second_gpu=of_second))
    assert [finding.name for finding in found] == [name]


def test_two_quiet_gpus_have_no_findings(facts: FactsOf) -> None:
    assert checks.findings(facts(gpu={}, second_gpu={})) == []


@pytest.mark.parametrize("gpu", [None, {}], ids=["cpu", "gpu"])
def test_a_quiet_run_has_no_findings(gpu: dict[str, Any] | None, facts: FactsOf) -> None:
    assert checks.findings(facts(gpu=gpu)) == []


def test_a_check_that_fails_costs_itself_alone_and_is_found(facts: FactsOf) -> None:
    """Something that no check expects."""
    found = checks.findings(facts(epoch_seconds="a word", shared_cores=(1,)))
    assert [(finding.name, finding.level) for finding in found] == [
        ("cores_shared", "warning"),
        *[("not_evaluated", "warning")] * 3,
    ]
    beginnings = [finding.finding.partition(": ")[0] for finding in found[1:]]
    assert beginnings == [
        f"the check {name} could not be made from what the monitor saw ({error}"
        for name, error in (("epochs_scatter", "TypeError"), ("epochs_drift", "TypeError"), ("held_up", "ValueError"))
    ]


def test_what_could_not_be_evaluated_is_a_bug_to_report() -> None:
    assert checks.not_evaluated("the check turbo", "KeyError: 'on'") == Finding(
        "not_evaluated",
        "warning",
        "the check turbo could not be made from what the monitor saw (KeyError: 'on')",
        "the run itself is whole; please report this as a bug of trainbench, with the run's samples.csv",
    )


def test_a_finding_has_the_name_of_its_function_and_the_level_and_advice_of_its_mark(facts: FactsOf) -> None:
    @check("error", "see to it")
    def unheard_of(_: Facts) -> str:
        return "a thing was found"

    assert unheard_of(facts()) == Finding("unheard_of", "error", "a thing was found", "see to it")


def test_findings_come_in_the_order_of_the_checks(facts: FactsOf) -> None:
    found = checks.findings(facts(threads=1, shared_cores=(1,), canary_after=timing(0.3), quota_cores=0.5))
    assert [finding.name for finding in found] == ["cores_shared", "cpu_quota", "threads_and_cores", "machine_speed"]


def test_a_window_without_samples_raises_nothing_but_what_is_known(tmp_path: Path, facts: FactsOf) -> None:
    """A run that nothing could watch: the facts that need no samples are still checked."""
    nothing = make_samples(tmp_path, (), gpus=1)
    summary = usage.over_windows(nothing, [SPAN], 1)
    found = checks.findings(facts(gpu={}, samples=nothing, over_span=summary, over_steady=summary))
    assert [finding.name for finding in found] == ["monitor_gap", "gpu_few_samples", "gpu_energy"]
