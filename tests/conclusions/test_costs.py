"""Costs follow from prices per hour, the most specific first; what has no price has no cost."""

import pandas as pd
import pytest

from metrics_builder import make_record
from trainbench.conclusions.tables.accuracy_times import accuracy_times_table
from trainbench.conclusions.tables.costs import costs_table
from trainbench.results.cells_table import cells_table
from trainbench.results.measured import measured
from trainbench.results.tables import TableOrder


def costs_of(*records, prices, targets=None):
    found, order = measured(records), TableOrder()
    times = accuracy_times_table(found.runs, found.epochs, targets or {}, order)
    return costs_table(cells_table(found.runs), times, prices, "EUR", order)


def one_hour_an_epoch(**settings):
    return make_record(train_seconds=(1.0, 3599.0), eval_seconds=1.0, host="h", hostname="server", **settings)


def test_an_epoch_costs_its_training_and_evaluation():
    row = costs_of(one_hour_an_epoch(), prices={"cpu": 2.5}).iloc[0]
    assert (row["price_per_epoch"], row["currency"]) == (2.5, "EUR")


@pytest.mark.parametrize("missing", range(4))
def test_the_most_specific_price_counts(missing):
    prices = {"h/cpu": 1.0, "cpu": 2.0, "h": 3.0, "server": 4.0}
    left = dict(list(prices.items())[missing:])
    assert costs_of(one_hour_an_epoch(), prices=left).iloc[0]["priced_by"] == next(iter(left))


@pytest.mark.parametrize(("price_of_second", "priced_by"), [(1.0, "n1"), (2.0, None)])
def test_machines_that_are_one_host_are_priced_where_they_cost_the_same(price_of_second, priced_by):
    twins = [make_record(repeat=number, host="a", hostname=name) for number, name in ((1, "n1"), (2, "n2"))]
    found = costs_of(*twins, prices={"n1": 1.0, "n2": price_of_second}).iloc[0]["priced_by"]
    assert found == priced_by if priced_by else pd.isna(found)


def test_without_a_price_there_is_no_cost():
    assert (
        costs_of(one_hour_an_epoch(), prices={"gpu": 2.0}).iloc[0][["price_per_hour", "price_per_epoch"]].isna().all()
    )


def test_a_price_of_zero_is_a_price():
    assert costs_of(one_hour_an_epoch(), prices={"cpu": 0.0}).iloc[0]["price_per_epoch"] == 0.0


def test_the_price_to_the_target_is_that_of_all_time_since_the_start():
    record = make_record(train_seconds=(1800.0, 900.0), eval_seconds=0.5, accuracies=(0.1, 0.9))
    record["clock"] |= {"startup_seconds": 800.0, "data_seconds": 90.0, "compile_seconds": 9.0}
    row = costs_of(record, prices={"cpu": 1.0}, targets={"conv": 0.9}).iloc[0]
    assert row["price_to_accuracy"] == pytest.approx(1.0)


def test_a_target_that_was_not_reached_has_no_price_and_says_so():
    row = costs_of(make_record(accuracies=(0.1, 0.2)), prices={"cpu": 1.0}, targets={"conv": 0.9}).iloc[0]
    assert pd.isna(row["price_to_accuracy"])
    assert row["price_to_accuracy_note"] == "not in 2 epochs"


def test_energy_stands_beside_the_price():
    assert costs_of(make_record(device="gpu"), prices={}).iloc[0]["energy_joules_per_epoch"] > 0
