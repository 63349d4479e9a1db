"""The cheap part of benchmarks/fidelity_2017.py: logistic regression ends where it ended in 2017."""

import pytest

import fidelity_2017


@pytest.mark.parametrize("batch_size", [128, 256, 512])
def test_logistic_regression_ends_within_a_fifth_of_a_point_of_2017(batch_size):
    ours, published, agrees = fidelity_2017.logistic_ends_as_published(batch_size)
    assert agrees, f"{ours} is not within 0.002 of the published {published}"


def test_the_first_epochs_of_the_lstm_lie_where_256_images_of_2017_showed_them():
    epochs = 4
    runs = [fidelity_2017.train("lstm", 512, epochs, repeat) for repeat in (1, 2, 3)]
    published = fidelity_2017.read_published()["lstm", 512]
    outside = []
    for epoch in range(1, epochs + 1):
        low, high = fidelity_2017.band([run[epoch - 1] for run in runs])
        outside += [(epoch, low, high, value) for value in published[epoch] if not low <= value <= high]
    # Each band leaves out 5 %: some of the values may lie outside, but only so many.
    assert len(outside) <= fidelity_2017.most_by_chance(2 * epochs, confidence=0.999), outside
