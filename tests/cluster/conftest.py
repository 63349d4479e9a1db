"""A checkout to submit runs from."""

import pytest

from checkout import Checkout, make_checkout


@pytest.fixture(scope="module")
def new_checkout(tmp_path_factory):
    def make(study: str) -> Checkout:
        return make_checkout(tmp_path_factory.mktemp("checkout"), study)

    return make


def pytest_terminal_summary(terminalreporter):
    """Tell how long the tests of this folder took: they start a Slurm, or are skipped."""
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    ours = [report for report in reports if getattr(report, "nodeid", "").startswith("tests/cluster/")]
    if ours:
        seconds = sum(getattr(report, "duration", 0.0) for report in ours)
        terminalreporter.write_line(f"tests/cluster took {seconds:.0f} s")
