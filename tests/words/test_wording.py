"""Numbers are shown with the digits that matter."""

import pytest

from trainbench.words.wording import format_estimate, format_mean, format_number, format_ratio


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0"),
        (0.00001234, "0.00001234"),
        (0.99996, "1.000"),
        (12.154, "12.15"),
        (9999.6, "10000"),
        (55213.0, "55210"),
        (1.2e9, "1200000000"),
    ],
)
def test_numbers_have_four_digits_and_no_exponent(value, shown):
    assert format_number(value) == shown


def test_a_ratio_has_three_digits():
    assert format_ratio(12.3954) == "12.4\N{MULTIPLICATION SIGN}"


DASH = "\N{EN DASH}"


def test_the_bounds_of_a_narrow_interval_have_the_places_of_their_figure():
    assert format_estimate(12.146, 11.946, 12.353) == f"12.15 (11.95{DASH}12.35)"


@pytest.mark.parametrize(
    ("numbers", "shown"),
    [
        ((0.0837, 0.00119, 5.90357), f"0.0837 (0.00119{DASH}5.90)"),
        ((22040.0, 1350.0, 358570.0), f"22000 (1350{DASH}359000)"),
    ],
)
def test_the_numbers_of_a_wide_interval_have_three_digits_each(numbers, shown):
    assert format_estimate(*numbers) == shown


def test_the_unit_of_a_figure_stands_before_its_interval():
    assert format_estimate(12.15, 11.9, 12.4, unit=" s") == f"12.15 s (11.90{DASH}12.40)"
    assert format_ratio(12.3954, 11.6, 13.2) == f"12.4\N{MULTIPLICATION SIGN} (11.6{DASH}13.2)"


def test_an_unknown_interval_is_not_shown():
    assert format_estimate(12.15) == "12.15"


@pytest.mark.parametrize(
    ("mean", "sd", "shown"),
    [
        (92.341, 0.2134, "92.34 ± 0.21"),
        (99.912, 0.0041, "99.91 ± 0.004"),
        (84.49, 95.24, "84.5 ± 95.2"),
        (198.24, 15.85, "198 ± 16"),
        (40123.0, 3.2, "40120 ± 3"),
        (0.0, 0.0, "0 ± 0"),
        (75.0, None, "75.00"),
    ],
)
def test_a_mean_has_no_digits_that_its_deviation_drowns(mean, sd, shown):
    assert format_mean(mean, sd) == shown
