"""From which batch size on a device is faster."""

import pytest

from trainbench.crossover import Crossover, Verdict, crossover
from trainbench.statistics import Ratio


def curve(**speedups):
    """Speedups without intervals by batch size: `curve(b64=0.5, b128=2.0)`."""
    return {int(batch_size[1:]): Ratio(value) for batch_size, value in speedups.items()}


def banded(*points):
    """Speedups with intervals of a factor up and down: `(batch size, speedup, factor)`."""
    return {batch_size: Ratio(value, value / factor, value * factor) for batch_size, value, factor in points}


def test_without_speedups_there_is_no_crossover():
    assert crossover({}) is None


@pytest.mark.parametrize(
    ("value", "verdict"),
    [
        (2.0, Verdict.FASTER_THROUGHOUT),
        (0.5, Verdict.SLOWER_THROUGHOUT),
        (1.0, Verdict.EQUAL_THROUGHOUT),
    ],
)
def test_a_single_batch_size_decides_for_itself(value, verdict):
    assert crossover({128: Ratio(value)}) == Crossover(verdict)


def test_a_device_that_is_always_slower_has_no_crossing():
    assert crossover(curve(b128=0.2, b256=0.4, b512=0.9)) == Crossover(Verdict.SLOWER_THROUGHOUT)


def test_the_crossing_is_interpolated_on_logarithms():
    # From a half to two in two doublings: one halfway, at the middle doubling.
    assert crossover(curve(b64=0.5, b256=2.0)) == Crossover(Verdict.FASTER_FROM, (pytest.approx(128.0),))


def test_the_crossing_lies_nearer_to_the_speedup_nearer_to_one():
    found = crossover(curve(b100=0.5, b10000=2.0**3))
    assert found.batch_sizes == (pytest.approx(100 * 100**0.25),)


def test_a_device_that_falls_behind_is_faster_up_to_the_crossing():
    assert crossover(curve(b64=2.0, b256=0.5)) == Crossover(Verdict.FASTER_UP_TO, (pytest.approx(128.0),))


def test_several_crossings_are_all_named_in_ascending_order():
    found = crossover(curve(b16=0.5, b64=2.0, b256=0.5))
    assert found == Crossover(Verdict.CHANGES, (pytest.approx(32.0), pytest.approx(128.0)))


def test_the_order_of_the_mapping_does_not_count():
    assert crossover(curve(b256=2.0, b64=0.5)) == crossover(curve(b64=0.5, b256=2.0))


def test_a_speedup_of_exactly_one_is_the_crossing_where_the_curve_passes_it():
    assert crossover(curve(b64=0.5, b100=1.0, b256=4.0)).batch_sizes == (pytest.approx(100.0),)


def test_neighbouring_speedups_of_one_cross_in_their_middle():
    assert crossover(curve(b32=0.5, b64=1.0, b256=1.0, b512=2.0)).batch_sizes == (pytest.approx(128.0),)


@pytest.mark.parametrize("values", [(2.0, 1.0, 2.0), (1.0, 2.0, 3.0), (3.0, 2.0, 1.0)])
def test_touching_one_without_passing_it_changes_nothing(values):
    found = crossover(dict(zip((64, 128, 256), map(Ratio, values), strict=True)))
    assert found == Crossover(Verdict.FASTER_THROUGHOUT)


def test_the_interval_of_the_crossing_is_where_the_bounds_pass_one():
    # The bounds lie a factor of 2 away, and the speedup doubles with the batch size.
    found = crossover(banded((16, 0.125, 2.0), (1024, 8.0, 2.0)))
    assert (found.low, found.high) == (pytest.approx(64.0), pytest.approx(256.0))


def test_the_interval_of_a_falling_speedup_is_ascending_too():
    found = crossover(banded((16, 8.0, 2.0), (1024, 0.125, 2.0)))
    assert (found.low, found.high) == (pytest.approx(64.0), pytest.approx(256.0))


def test_an_interval_is_open_where_a_bound_stays_on_its_side_of_one():
    found = crossover(banded((16, 0.9, 2.0), (1024, 8.0, 2.0)))
    assert (found.low, found.low_open, found.high_open) == (None, True, False)


def test_an_interval_without_width_is_the_crossing_itself():
    found = crossover(banded((64, 0.5, 1.0), (256, 2.0, 1.0)))
    assert (found.low, found.high) == (pytest.approx(128.0), pytest.approx(128.0))


def test_without_all_intervals_the_crossing_has_none():
    found = crossover({64: Ratio(0.5, 0.4, 0.6), 256: Ratio(2.0)})
    assert (found.low, found.high, found.low_open, found.high_open) == (None, None, False, False)


def test_a_verdict_is_certain_when_every_interval_leaves_one_out():
    assert crossover(banded((64, 0.5, 1.5), (256, 2.0, 1.5))).certain is True


def test_a_verdict_is_not_certain_when_an_interval_contains_one():
    assert crossover(banded((64, 1.2, 1.5), (256, 2.0, 1.5))).certain is False


def test_whether_a_verdict_is_certain_is_unknown_without_intervals():
    assert crossover({64: Ratio(1.2, 1.1, 1.3), 256: Ratio(2.0)}).certain is None


def test_a_speedup_of_exactly_one_makes_no_verdict_certain():
    assert crossover(banded((64, 0.5, 1.0), (128, 1.0, 1.0), (256, 2.0, 1.0))).certain is False


def test_a_speedup_that_is_not_positive_is_refused():
    with pytest.raises(ValueError, match=r"math domain|positive"):
        crossover({64: Ratio(0.0)})
