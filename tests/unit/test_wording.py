"""Numbers are shown with the digits that matter."""

import pytest

from trainbench.wording import format_interval, format_number, format_ratio


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


def test_an_interval_stands_in_brackets_with_the_places_of_its_figure():
    assert format_interval(11.946, 12.353, 2) == " (11.95\N{EN DASH}12.35)"


def test_an_unknown_interval_is_not_shown():
    assert format_interval(None, None, 2) == ""
