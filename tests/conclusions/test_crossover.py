"""From which batch size on a device is faster, as far as intervals carry it."""

import random
from itertools import groupby

import pytest

from trainbench.conclusions.tables.crossovers import Crossover, Verdict, crossover
from trainbench.results.statistics import Outcome, Ratio, outcome


def curve(**speedups):
    """Speedups with narrow intervals by batch size: `curve(b64=0.5, b128=2.0)`."""
    return banded(*((int(batch_size[1:]), value, 1.01) for batch_size, value in speedups.items()))


def banded(*points):
    """Speedups with intervals of a factor up and down: `(batch size, speedup, factor)`."""
    return {batch_size: Ratio(value, value / factor, value * factor) for batch_size, value, factor in points}


@pytest.mark.parametrize(
    ("value", "verdict"),
    [
        (2.0, Verdict.FASTER_THROUGHOUT),
        (0.5, Verdict.SLOWER_THROUGHOUT),
        (1.0, Verdict.NO_DIFFERENCE),
    ],
)
def test_a_single_batch_size_decides_for_itself(value, verdict):
    assert crossover(banded((128, value, 1.1))).verdict is verdict


def test_a_device_that_is_always_slower_has_no_crossing():
    found = crossover(curve(b128=0.2, b256=0.4, b512=0.9))
    assert found == Crossover(Verdict.SLOWER_THROUGHOUT, certain=True)


def test_the_crossing_is_interpolated_on_logarithms():
    # From a half to two in two doublings: one halfway, at the middle doubling.
    found = crossover(curve(b64=0.5, b256=2.0))
    assert (found.verdict, found.batch_sizes) == (Verdict.FASTER_FROM, (pytest.approx(128.0),))


def test_the_crossing_lies_nearer_to_the_speedup_nearer_to_one():
    found = crossover(curve(b100=0.5, b10000=2.0**3))
    assert found.batch_sizes == (pytest.approx(100 * 100**0.25),)


def test_a_device_that_falls_behind_is_faster_up_to_the_crossing():
    found = crossover(curve(b64=2.0, b256=0.5))
    assert (found.verdict, found.batch_sizes) == (Verdict.FASTER_UP_TO, (pytest.approx(128.0),))


def test_several_crossings_are_all_named_in_ascending_order():
    found = crossover(curve(b16=0.5, b64=2.0, b256=0.5))
    assert (found.verdict, found.batch_sizes) == (Verdict.CHANGES, (pytest.approx(32.0), pytest.approx(128.0)))


def test_the_order_of_the_mapping_does_not_count():
    assert crossover(curve(b256=2.0, b64=0.5)) == crossover(curve(b64=0.5, b256=2.0))


def test_a_speedup_of_exactly_one_is_the_crossing_where_the_curve_passes_it():
    assert crossover(curve(b64=0.5, b100=1.0, b256=4.0)).batch_sizes == (pytest.approx(100.0),)


def test_neighbouring_speedups_of_one_cross_in_their_middle():
    assert crossover(curve(b32=0.5, b64=1.0, b256=1.0, b512=2.0)).batch_sizes == (pytest.approx(128.0),)


@pytest.mark.parametrize("values", [(2.0, 1.0, 2.0), (1.0, 2.0, 3.0), (3.0, 2.0, 1.0)])
def test_touching_one_without_passing_it_is_no_crossing(values):
    assert crossover(banded(*((64 * 2**place, value, 1.01) for place, value in enumerate(values)))).batch_sizes == ()


# --- what no interval carries ---


def test_a_crossing_of_speedups_whose_intervals_contain_one_is_not_claimed():
    found = crossover(banded((64, 0.9, 1.5), (128, 1.1, 1.5), (256, 1.2, 1.5)))
    assert found.verdict is Verdict.NO_DIFFERENCE


@pytest.mark.parametrize(
    ("far", "verdict"), [(2.0, Verdict.FASTER_IN_PART), (0.5, Verdict.SLOWER_IN_PART)], ids=["faster", "slower"]
)
def test_a_crossing_takes_a_batch_size_on_either_side_of_which_the_interval_leaves_one_out(far, verdict):
    assert crossover(banded((64, far**-0.2, 1.5), (256, far, 1.5))).verdict is verdict


def test_faster_throughout_takes_every_interval():
    assert crossover(banded((64, 1.2, 1.5), (256, 2.0, 1.5))).verdict is Verdict.FASTER_IN_PART


def test_values_that_wander_across_one_between_the_two_sides_leave_one_interval_and_no_value():
    found = crossover(banded((16, 0.25, 1.5), (64, 1.1, 1.5), (128, 0.9, 1.5), (512, 4.0, 1.5)))
    assert (found.verdict, len(found.batch_sizes)) == (Verdict.FASTER_FROM, 3)
    assert 16 < found.low < found.batch_sizes[0] < found.batch_sizes[2] < found.high < 512


def test_a_value_across_one_beyond_the_two_sides_is_no_second_crossing():
    found = crossover(banded((16, 1.05, 1.5), (64, 0.5, 1.5), (256, 2.0, 1.5)))
    assert (found.verdict, found.batch_sizes) == (Verdict.FASTER_FROM, (pytest.approx(128.0),))


def test_single_runs_show_nothing_and_keep_the_value_of_their_crossing():
    assert crossover({64: Ratio(0.5), 256: Ratio(2.0)}) == Crossover(Verdict.SINGLE_RUNS, (pytest.approx(128.0),))


def test_single_runs_beside_others_count_for_nothing():
    beside = banded((16, 0.5, 1.5), (256, 2.0, 1.5))
    found = crossover({**beside, 64: Ratio(3.0), 1024: Ratio(0.1)})
    assert (found.verdict, found.batch_sizes, found.certain) == (Verdict.FASTER_FROM, (pytest.approx(64.0),), None)


def test_no_verdict_on_any_speedups_claims_what_no_interval_carries():
    chance = random.Random(2017)
    seen = set()
    for _ in range(3000):
        ratios = {}
        for size in chance.sample((16, 32, 64, 128, 256, 512), chance.randint(1, 6)):
            value, factor = chance.lognormvariate(0.0, 0.5), chance.lognormvariate(0.0, 0.3)
            alone = chance.random() < 0.15
            ratios[size] = Ratio(value) if alone else Ratio(value, value / max(factor, 1.0), value * max(factor, 1.0))
        found = crossover(ratios)
        seen.add(found.verdict)
        said = [outcome(ratios[size]) for size in sorted(ratios)]
        sides = [side for side, _ in groupby(side for side in said if side in {Outcome.ABOVE, Outcome.BELOW})]
        match found.verdict:
            case Verdict.FASTER_THROUGHOUT | Verdict.SLOWER_THROUGHOUT:
                side = Outcome.ABOVE if found.verdict is Verdict.FASTER_THROUGHOUT else Outcome.BELOW
                assert set(said) == {side}
            case Verdict.FASTER_FROM | Verdict.FASTER_UP_TO:
                order = [Outcome.BELOW, Outcome.ABOVE]
                assert sides == (order if found.verdict is Verdict.FASTER_FROM else order[::-1])
                shown = [size for size in sorted(ratios) if outcome(ratios[size]) in {Outcome.ABOVE, Outcome.BELOW}]
                last = max(size for size in shown if outcome(ratios[size]) is sides[0])
                assert last <= found.low <= found.high <= min(size for size in shown if size > last)
            case Verdict.CHANGES:
                assert len(sides) > 2
            case Verdict.FASTER_IN_PART | Verdict.SLOWER_IN_PART:
                assert sides == [Outcome.ABOVE if found.verdict is Verdict.FASTER_IN_PART else Outcome.BELOW]
            case _:
                assert sides == []
    assert seen == set(Verdict)


# --- how sure ---


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


def test_without_intervals_the_crossing_has_none():
    found = crossover({64: Ratio(0.5), 256: Ratio(2.0)})
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
