"""A checkout to run Snakemake in, and one small finished study that several tests look at."""

import signal
from collections.abc import Callable

import pytest

from checkout import Checkout, make_checkout

# A shell that starts tests in the background has Ctrl-C ignored, by them and all that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# 3 models x 2 batch sizes x 1 device x 1 repeat on 200 small images: all the ways through the code, in seconds.
STUDY = """
models: [logistic, conv, lstm]
batch_sizes: [16, 32]
devices: [cpu]
repeats: 1
dataset: {path: data, validation_samples: 40}
model_settings:
  logistic: {epochs: 3}
  conv: {epochs: 2}
  lstm: {epochs: 2}
"""


@pytest.fixture(scope="session")
def new_checkout(tmp_path_factory) -> Callable[[], Checkout]:
    def make() -> Checkout:
        return make_checkout(tmp_path_factory.mktemp("checkout"), STUDY)

    return make


@pytest.fixture(scope="session")
def finished(new_checkout) -> Checkout:
    """The small study, finished. Tests only look at it or plan on it; none changes it.

    It was given more cores and GPUs than most machines have, as the README has it.
    """
    checkout = new_checkout()
    run = checkout.study("--cores", "32", "--resources", "gpu=4")
    (checkout.folder / "stdout.txt").write_text(run.stdout, encoding="utf-8")
    (checkout.folder / "stderr.txt").write_text(run.stderr, encoding="utf-8")
    assert run.returncode == 0, run.stderr
    return checkout
