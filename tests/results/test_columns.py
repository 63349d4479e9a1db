"""Columns have names and types, and figures stand in several of them."""

import pytest

from trainbench.results import columns
from trainbench.results.statistics import Estimate, Ratio, Summary

CELL = {"model": "conv", "batch_size": 512, "device": "cpu", "host": "h", "n": 3}
SECONDS = {"seconds": 2.0, "seconds_low": 1.0, "seconds_high": 4.0, "seconds_spread_percent": 5.0}


@pytest.mark.parametrize(
    ("declare", "declared"),
    [
        (columns.text, {"a": "str", "b": "str"}),
        (columns.whole, {"a": "Int64", "b": "Int64"}),
        (columns.real, {"a": "float64", "b": "float64"}),
        (columns.yes_or_no, {"a": "boolean", "b": "boolean"}),
    ],
    ids=["text", "whole", "real", "yes_or_no"],
)
def test_columns_of_a_type_are_declared_by_their_names(declare, declared):
    assert declare("a", "b") == declared


def test_each_name_has_each_ending():
    assert list(columns.ended(("a", "b"), ("", "_max"))) == ["a", "a_max", "b", "b_max"]


def test_a_ratio_has_a_column_for_its_value_and_one_for_each_bound():
    assert columns.interval("a") == dict.fromkeys(("a", "a_low", "a_high"), "float64")


def test_a_figure_has_a_column_for_its_spread_too():
    assert columns.estimate("a") == dict.fromkeys(("a", "a_low", "a_high", "a_spread_percent"), "float64")


def test_the_key_of_a_cell_is_its_model_batch_size_device_and_host():
    assert columns.cell_key(CELL) == ("conv", 512, "cpu", "h")


def test_rows_of_one_cell_are_grouped_in_order_of_appearance():
    rows = [CELL | change for change in ({"host": "b"}, {"host": "a"}, {"host": "b", "n": 1})]
    assert columns.grouped(rows) == {
        ("conv", 512, "cpu", "b"): [rows[0], rows[2]],
        ("conv", 512, "cpu", "a"): [rows[1]],
    }


def test_rows_are_grouped_by_the_columns_that_are_named():
    assert columns.grouped([CELL], iter(["n"])) == {(3,): [CELL]}


def test_chosen_columns_can_have_names_that_tell_them_apart():
    assert columns.chosen(CELL, ("device", "n")) == {"device": "cpu", "n": 3}
    assert columns.chosen(CELL, ("device",), "reference_") == {"reference_device": "cpu"}


def test_a_figure_is_spread_out_over_its_columns_and_read_back():
    figure = Estimate(3, 2.0, 1.0, 4.0, 5.0)
    assert columns.spread_out("seconds", figure) == SECONDS
    assert columns.estimate_in(CELL | SECONDS, "seconds") == figure


def test_a_figure_that_no_run_knows_rests_on_none():
    unknown = dict.fromkeys(SECONDS)
    assert columns.spread_out("seconds", None) == unknown
    assert columns.estimate_in(CELL | unknown, "seconds") == Estimate(0, None)


def test_a_ratio_is_spread_out_and_read_back():
    ratio = Ratio(2.0, 1.0, 4.0)
    row = columns.spread_out("speedup", ratio, columns.INTERVAL)
    assert row == {"speedup": 2.0, "speedup_low": 1.0, "speedup_high": 4.0}
    assert columns.ratio_in(row) == ratio
    assert columns.ratio_in(SECONDS, "seconds") == ratio


def test_a_share_is_spread_out_over_its_own_columns():
    summary = Summary(n=2, mean=1.0, sd=0.5, minimum=0.5, maximum=1.5)
    assert columns.spread_out("a", summary, columns.SUMMARY) == {
        "a_mean": 1.0,
        "a_sd": 0.5,
        "a_min": 0.5,
        "a_max": 1.5,
    }
