"""A checkout to submit runs from."""

import pytest

from checkout import Checkout, make_checkout


@pytest.fixture(scope="module")
def new_checkout(tmp_path_factory):
    def make(study: str) -> Checkout:
        return make_checkout(tmp_path_factory.mktemp("checkout"), study)

    return make
