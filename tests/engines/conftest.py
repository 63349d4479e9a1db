"""The tests of engines are for each framework that is installed."""

import pytest

from trainbench import engines


@pytest.fixture(scope="session", params=engines.ENGINES)
def framework(request):
    pytest.importorskip(engines.ENGINES[request.param].package)
    return request.param
