"""The cheap part of benchmarks/fidelity_2017.py: logistic regression ends where it ended in 2017."""

import importlib.util
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "fidelity_2017.py"


@pytest.fixture(scope="module")
def fidelity():
    specification = importlib.util.spec_from_file_location("fidelity_2017", SCRIPT)
    module = importlib.util.module_from_spec(specification)
    sys.modules["fidelity_2017"] = module
    specification.loader.exec_module(module)
    return module


@pytest.mark.parametrize("batch_size", [128, 256, 512])
def test_logistic_regression_ends_within_a_fifth_of_a_point_of_2017(fidelity, batch_size):
    ours, published, agrees = fidelity.logistic_ends_as_published(batch_size)
    assert agrees, f"{ours} is not within 0.002 of the published {published}"


def test_the_first_epochs_of_the_lstm_lie_within_what_256_images_of_2017_showed(fidelity):
    epochs = 4
    runs = [fidelity.train("lstm", 512, epochs, repeat) for repeat in (1, 2, 3)]
    published = fidelity.read_published()["lstm", 512]
    for epoch in range(2, epochs + 1):
        low, high = fidelity.band([run[epoch - 1] for run in runs])
        assert all(low <= value <= high for value in published[epoch]), (epoch, low, high, published[epoch])
