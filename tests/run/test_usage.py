"""Sums over windows of a run, against sums done by hand, and unknown where nothing is known."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from samples_file import make_samples, write_samples
from trainbench.run import usage

TIMES = (0, 1, 2, 3, 4)
CPU_PERCENT = (None, 100, 200, 50, 10)
"""Each over the second before its time."""


def over(folder: Path, windows: list[usage.Window], gpus: int = 0, **columns: Any) -> dict[str, Any]:
    """Sum up samples at 0, 1, 2, 3 and 4 s."""
    result = usage.over_windows(make_samples(folder, TIMES, gpus, **columns), windows, gpus)
    assert result is not None
    return result


def gpu_over(folder: Path, windows: list[usage.Window], **columns: Any) -> dict[str, Any]:
    """Sum up samples of one GPU at 0, 1, 2, 3 and 4 s."""
    columns = {f"gpu0_{name}": values for name, values in columns.items()}
    card: dict[str, Any] = over(folder, windows, 1, gpu0_uuid=["GPU-1"] * 5, **columns)["gpus"][0]
    return card


# --- shares of time ---


@pytest.mark.parametrize(
    ("windows", "mean"),
    [
        pytest.param([(1, 3)], (200 + 50) / 2, id="two whole intervals"),
        pytest.param([(0.5, 2.25)], (100 * 0.5 + 200 * 1 + 50 * 0.25) / 1.75, id="both ends cut an interval"),
        pytest.param([(0.5, 1.5), (2, 2.5)], (100 * 0.5 + 200 * 0.5 + 50 * 0.5) / 1.5, id="two windows"),
        pytest.param([(1.25, 1.5)], 200, id="shorter than an interval"),
        pytest.param([(-5, 1.5)], (100 * 1 + 200 * 0.5) / 1.5, id="begins before the first sample"),
        pytest.param([(3.5, 9)], 10, id="ends after the last sample"),
    ],
)
def test_a_percentage_is_weighted_by_the_time_inside_the_windows(
    tmp_path: Path, windows: list[usage.Window], mean: float
) -> None:
    assert over(tmp_path, windows, cpu_percent=CPU_PERCENT)["cpu_percent"] == pytest.approx(mean)


@pytest.mark.parametrize("window", [(-2, -1), (5, 6), (-1, 0)])
def test_a_percentage_is_unknown_where_no_sample_covers_the_window(tmp_path: Path, window: usage.Window) -> None:
    assert over(tmp_path, [window], cpu_percent=CPU_PERCENT)["cpu_percent"] is None


def test_an_unknown_percentage_takes_no_part_in_the_mean(tmp_path: Path) -> None:
    mean = over(tmp_path, [(0, 3)], steal_percent=(None, 4, None, 8, 0))["steal_percent"]
    assert mean == pytest.approx((4 + 8) / 2)


def test_load_of_others_below_zero_evens_out_load_above_it(tmp_path: Path) -> None:
    mean = over(tmp_path, [(0, 4)], other_cpu_percent=(None, 10, -8, 9, -7))["other_cpu_percent"]
    assert mean == pytest.approx(1)


def test_the_mean_load_of_others_is_never_below_zero(tmp_path: Path) -> None:
    assert over(tmp_path, [(0, 2)], other_cpu_percent=(None, 1, -2, 0, 0))["other_cpu_percent"] == 0


@pytest.mark.parametrize(
    ("windows", "count"),
    [([(0.5, 2.25)], 3), ([(1.25, 1.5)], 1), ([(0.5, 0.75), (2.5, 2.75)], 2), ([(5, 6)], 0), ([(0, 4)], 4)],
)
def test_the_samples_counted_are_those_whose_time_reaches_into_the_windows(
    tmp_path: Path, windows: list[usage.Window], count: int
) -> None:
    assert over(tmp_path, windows)["samples"] == count


def test_the_seconds_are_those_of_all_windows_together(tmp_path: Path) -> None:
    assert over(tmp_path, [(0.5, 1.5), (2, 2.25)])["seconds"] == pytest.approx(1.25)


def test_no_window_gives_no_summary(tmp_path: Path) -> None:
    assert usage.over_windows(make_samples(tmp_path, TIMES), [], 0) is None


# --- values of a moment ---


def test_memory_is_the_highest_inside_the_windows_their_edges_included(tmp_path: Path) -> None:
    memory = over(tmp_path, [(0.5, 1.5), (2.5, 3)], resident_memory_mib=(90, 20, 80, 30, 70))["resident_memory_mib"]
    assert memory == 30


def test_threads_are_the_highest_count_and_a_whole_number(tmp_path: Path) -> None:
    assert repr(over(tmp_path, [(0, 2)], process_threads=(3, 12, 8, 40, 40))["process_threads"]) == "12"


def test_the_clock_is_the_mean_of_what_is_known_inside(tmp_path: Path) -> None:
    assert over(tmp_path, [(0, 3)], cpu_mhz=(3000, None, None, 3200, 1000))["cpu_mhz"] == pytest.approx(3100)


def test_a_moment_that_lies_between_two_samples_is_unknown(tmp_path: Path) -> None:
    assert over(tmp_path, [(1.25, 1.5)], resident_memory_mib=(10, 20, 30, 40, 50))["resident_memory_mib"] is None


def test_what_was_never_known_is_unknown_not_zero(tmp_path: Path) -> None:
    summary = over(tmp_path, [(0, 4)])
    numbers = {key: value for key, value in summary.items() if key not in {"seconds", "samples", "gpus"}}
    assert set(numbers.values()) == {None}


# --- a GPU ---


def test_a_gpus_utilisation_is_a_mean_and_says_how_many_samples_it_rests_on(tmp_path: Path) -> None:
    card = gpu_over(tmp_path, [(1, 4)], utilization_percent=(0, 80, None, 90, 100))
    assert (card["utilization_percent"], card["samples"]) == (pytest.approx(90), 3)


def test_a_gpus_clock_has_its_mean_and_its_lowest(tmp_path: Path) -> None:
    card = gpu_over(tmp_path, [(0, 2)], sm_clock_mhz=(1900, 1300, 1600, 100, 100))
    assert (card["sm_clock_mhz"], card["sm_clock_min_mhz"]) == (pytest.approx(1600), 1300)


def test_memory_temperature_and_other_processes_are_the_highest_inside(tmp_path: Path) -> None:
    card = gpu_over(
        tmp_path,
        [(1, 3)],
        memory_used_mib=(9000, 100, 300, 200, 9000),
        process_memory_mib=(None, 50, None, 250, 9000),
        temperature_celsius=(99, 60, 61, 59, 99),
        other_processes=(9, 0, None, 2, 9),
    )
    names = ("memory_used_mib", "process_memory_mib", "temperature_celsius", "other_processes")
    assert [card[name] for name in names] == [300, 250, 61, 2]


def test_throttle_reasons_are_those_seen_inside_each_once_without_none(tmp_path: Path) -> None:
    reasons = ("sync_boost", "none", "thermal power", "power", "display")
    assert gpu_over(tmp_path, [(1, 3)], throttle_reasons=reasons)["throttle_reasons"] == ["power", "thermal"]


@pytest.mark.parametrize(
    ("window", "problem"),
    [((0, 1), None), ((0, 2), "lost"), ((1.25, 1.5), "lost"), ((2.5, 3), "lost")],
    ids=["before", "at its edge", "until the next sample", "after"],
)
def test_a_problem_is_reported_for_the_windows_that_it_touches(
    tmp_path: Path, window: usage.Window, problem: str | None
) -> None:
    found = gpu_over(tmp_path, [window], problem=(None, None, "lost", "lost", "lost"))["problem"]
    assert found == problem


def test_each_gpu_is_summed_up_by_itself(tmp_path: Path) -> None:
    summary = over(
        tmp_path,
        [(0, 4)],
        2,
        gpu0_uuid=["GPU-1"] * 5,
        gpu1_uuid=["GPU-2"] * 5,
        gpu0_power_watts=[100] * 5,
        gpu1_power_watts=[300] * 5,
    )
    assert [(card["uuid"], card["power_watts"]) for card in summary["gpus"]] == [("GPU-1", 100), ("GPU-2", 300)]


# --- energy ---

COUNTER = (1000, 1010, 1030, 1030, 1100)
WATTS = (100, 200, 200, 100, 0)


@pytest.mark.parametrize(
    ("windows", "joules"),
    [
        pytest.param([(1, 4)], 90, id="from sample to sample"),
        pytest.param([(0.5, 2.5)], 1030 - 1005, id="between samples"),
        pytest.param([(0.5, 1), (1.5, 2)], (1010 - 1005) + (1030 - 1020), id="two windows"),
        pytest.param([(1.25, 1.5)], 20 * 0.25, id="shorter than an interval"),
    ],
)
def test_a_counters_rise_is_taken_on_straight_lines_between_samples(
    tmp_path: Path, windows: list[usage.Window], joules: float
) -> None:
    assert over(tmp_path, windows, cpu_energy_joules=COUNTER)["cpu_energy_joules"] == pytest.approx(joules)


def test_energy_of_the_cpu_names_its_source(tmp_path: Path) -> None:
    assert over(tmp_path, [(1, 2)], cpu_energy_joules=COUNTER)["cpu_energy_source"] == "rapl"


def test_a_gpus_counter_is_preferred_to_its_power(tmp_path: Path) -> None:
    card = gpu_over(tmp_path, [(1, 4)], energy_joules=COUNTER, power_watts=WATTS)
    assert (card["energy_joules"], card["energy_source"]) == (pytest.approx(90), "counter")


@pytest.mark.parametrize(
    ("windows", "joules"),
    [
        pytest.param([(0, 4)], 150 + 200 + 150 + 50, id="from sample to sample"),
        pytest.param([(0.5, 2.5)], 0.5 * (150 + 200) / 2 + 200 + 0.5 * (200 + 150) / 2, id="between samples"),
        pytest.param([(0.5, 1), (3, 4)], 0.5 * (150 + 200) / 2 + 50, id="two windows"),
        pytest.param([(0.25, 0.75)], 0.5 * (125 + 175) / 2, id="shorter than an interval"),
    ],
)
def test_without_a_counter_power_is_integrated_and_the_source_says_so(
    tmp_path: Path, windows: list[usage.Window], joules: float
) -> None:
    card = gpu_over(tmp_path, windows, power_watts=WATTS)
    assert (card["energy_joules"], card["energy_source"]) == (pytest.approx(joules), "power")


def test_a_counter_that_ends_early_gives_way_to_power(tmp_path: Path) -> None:
    card = gpu_over(tmp_path, [(0, 4)], energy_joules=(1000, 1010, None, None, None), power_watts=WATTS)
    assert (card["energy_joules"], card["energy_source"]) == (pytest.approx(550), "power")


@pytest.mark.parametrize("values", [(5, 6, 7, None, None), (None, 5, 6, 7, 8), (None, None, 7, None, None)])
def test_energy_is_unknown_where_neither_counter_nor_power_covers_the_windows(
    tmp_path: Path, values: tuple[int | None, ...]
) -> None:
    card = gpu_over(tmp_path, [(0.5, 4)], energy_joules=values, power_watts=values)
    assert (card["energy_joules"], card["energy_source"]) == (None, None)


def test_energy_is_unknown_from_the_moment_that_a_card_is(tmp_path: Path) -> None:
    card = gpu_over(tmp_path, [(0.5, 2.5)], energy_joules=(5, 6, 7, None, None))
    assert card["energy_joules"] is None


def test_windows_may_end_one_interval_after_the_last_sample(tmp_path: Path) -> None:
    card = gpu_over(tmp_path, [(0, 4.5)], power_watts=[100] * 5)
    assert card["energy_joules"] == pytest.approx(450)


# --- the worst stretch ---


def brute_force(ends: list[int], percents: list[float], window: tuple[int, int], stretch: int) -> float:
    """Try every stretch on a grid; times are whole numbers of its steps, so that no better stretch lies between."""
    steps = np.repeat(percents[1:], np.diff(ends))
    begins = range(max(window[0], ends[0]), min(window[1], ends[-1]) - stretch + 1)
    return max(float(steps[begin - ends[0] : begin - ends[0] + stretch].mean()) for begin in begins)


@pytest.mark.parametrize("seed", range(20))
def test_the_highest_stretch_is_the_one_that_trying_all_finds(tmp_path: Path, seed: int) -> None:
    random = np.random.default_rng(seed)
    ends = [int(end) for end in np.cumsum(random.integers(1, 40, 30))]
    percents = [0.0, *random.uniform(0, 100, 29).tolist()]
    window = (int(random.integers(0, 200)), int(random.integers(350, 800)))
    samples = make_samples(tmp_path, [end / 100 for end in ends], other_cpu_percent=[None, *percents[1:]])
    found = usage.highest_stretch(samples, "other_cpu_percent", (window[0] / 100, window[1] / 100), 1.0)
    assert found == pytest.approx(brute_force(ends, percents, window, 100))


def test_a_stretch_does_not_reach_out_of_its_window(tmp_path: Path) -> None:
    samples = make_samples(tmp_path, TIMES, other_cpu_percent=(None, 90, 10, 20, 90))
    assert usage.highest_stretch(samples, "other_cpu_percent", (1, 3), 1.0) == pytest.approx(20)


def test_a_window_shorter_than_the_stretch_has_none(tmp_path: Path) -> None:
    samples = make_samples(tmp_path, TIMES, other_cpu_percent=(None, 90, 10, 20, 90))
    assert usage.highest_stretch(samples, "other_cpu_percent", (1.0, 1.9), 1.0) is None


def test_the_stretch_of_an_unknown_column_is_unknown(tmp_path: Path) -> None:
    assert usage.highest_stretch(make_samples(tmp_path, TIMES), "other_cpu_percent", (0, 4), 1.0) is None


# --- what cannot be ---


@pytest.mark.parametrize(
    ("column", "possible", "impossible"),
    [
        ("cpu_percent", 100 * 2 * (1 + 2), 100 * 2 * (1 + 2) + 1),
        ("other_cpu_percent", -100 * 2 * (1 + 2), -100 * 2 * (1 + 2) - 1),
        ("steal_percent", 0, -0.1),
        ("process_threads", 1, 0),
        ("cpu_mhz", 10_000, 10_001),
    ],
)
def test_a_reading_is_known_up_to_its_bound_and_unknown_beyond(
    tmp_path: Path, column: str, possible: float, impossible: float
) -> None:
    """Of CPU time, a machine with two CPUs can have used so much in a second, and in two before it unseen."""
    path = write_samples(tmp_path / "samples.csv", TIMES, **{column: (None, possible, impossible, possible, None)})
    samples = usage.read_samples(path, cpus=2)
    assert np.isnan(samples.numbers[column]).tolist() == [True, False, True, False, True]
    assert samples.refused == [usage.Refused(column, 1, str(impossible))]


@pytest.mark.parametrize(
    ("counter", "known"),
    [
        ((1000, 1010, 5, 1030, 1040), (1, 1, 0, 1, 1)),
        ((1000, 10_000_000, 1020, 1030, 1040), (1, 0, 1, 1, 1)),
        ((9000, 1010, 1020, 1030, 1040), (0, 1, 1, 1, 1)),
        ((1000, 1010, 1020, 1030, 9_000_000), (1, 1, 1, 1, 0)),
        ((1000, 1010, 1020, 0, 10), (1, 1, 1, 0, 0)),
        ((1000, 1010, 0, 10, 20), (0, 0, 1, 1, 1)),
        ((7, 7, 7, 8, 8), (1, 1, 1, 1, 1)),
    ],
    ids=["back once", "ahead once", "wrong at first", "wrong at last", "anew late", "anew early", "at rest"],
)
def test_of_a_counter_the_longest_part_that_fits_together_is_known(
    tmp_path: Path, counter: tuple[int, ...], known: tuple[int, ...]
) -> None:
    samples = make_samples(tmp_path, TIMES, cpu_energy_joules=counter)
    assert (~np.isnan(samples.numbers["cpu_energy_joules"])).tolist() == [bool(one) for one in known]


@pytest.mark.parametrize(
    "times", [(0, 1, 0.5, 3, 4), (0, 1, 1, 3, 4), (0, 1, 30, 3, 4), (9, 1, 2, 3, 4), (0, 1, -2, 3, 4)]
)
def test_a_sample_whose_time_does_not_fit_the_others_is_left_out(tmp_path: Path, times: tuple[float, ...]) -> None:
    samples = make_samples(tmp_path, times, cpu_mhz=[3000] * 5)
    assert (len(samples.times), len(samples.numbers["cpu_mhz"]), np.diff(samples.times).min() > 0) == (4, 4, True)


# --- the file ---


def test_a_last_line_cut_anywhere_is_left_out(tmp_path: Path) -> None:
    path = write_samples(tmp_path / "samples.csv", (0, 1), cpu_percent=(None, 50), cpu_energy_joules=(0, 1.5e-05))
    whole = path.read_bytes()
    begins = whole[:-1].rfind(b"\n") + 1
    found = set()
    for end in range(begins, len(whole)):
        path.write_bytes(whole[:end])
        found.add(tuple(usage.read_samples(path).times))
    assert found == {(0.0,)}


def test_a_file_without_samples_leaves_everything_unknown(tmp_path: Path) -> None:
    samples = make_samples(tmp_path, (), gpus=1)
    summary = usage.over_windows(samples, [(0, 1)], 1)
    assert summary is not None
    assert (summary["samples"], summary["cpu_percent"], summary["gpus"][0]["uuid"]) == (0, None, None)


def test_a_single_sample_has_no_highest_stretch(tmp_path: Path) -> None:
    samples = make_samples(tmp_path, (1,), other_cpu_percent=(50,))
    assert usage.highest_stretch(samples, "other_cpu_percent", (0, 4), 1.0) is None


def test_a_problem_with_commas_and_quotes_is_read_as_it_was_written(tmp_path: Path) -> None:
    problem = 'GPU 1 is lost (NVML: "gone", they say)'
    assert make_samples(tmp_path, (0,), 1, gpu0_problem=(problem,)).texts["gpu0_problem"] == [problem]
