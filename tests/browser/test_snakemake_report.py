"""Snakemake's own report holds the page, the figures and the tables, each with its caption."""

import zipfile
from pathlib import PurePosixPath

import pytest

REPORTED = {
    *("checks", "cells", "hosts", "speedups", "accuracy_times", "costs", "core_equivalents", "roofline"),
    *("settings", "comparison", "frameworks", "gpu_scaling"),
}


@pytest.fixture(scope="session", params=["zip", "html"])
def report(request, finished, tmp_path_factory):
    path = tmp_path_factory.mktemp("snakemake-report") / f"report.{request.param}"
    made = finished.study("--report", str(path))
    assert made.returncode == 0, made.stderr
    return path


@pytest.fixture(scope="session")
def report_page(report):
    """The report as a page, unpacked."""
    if report.suffix == ".html":
        return report
    with zipfile.ZipFile(report) as archive:
        archive.extractall(report.parent)
    return report.parent / "report/report.html"


@pytest.mark.parametrize("report", ["zip"], indirect=True)
def test_the_archive_holds_page_figures_and_tables(report, finished):
    with zipfile.ZipFile(report) as archive:
        names = {PurePosixPath(name).name for name in archive.namelist()}
    figures = {path.name for path in (finished.folder / "results/figures").glob("*.svg")}
    assert names == {"report.html", *figures, *(f"{table}.csv" for table in REPORTED)}


def test_it_opens_without_an_error(browser, report_page):
    window = browser.open(report_page)
    window.get_by_text("Figures", exact=True).wait_for()
    # Its style sheet says that it is meant for development.
    assert [text for text in window.said if "tailwindcss" not in text] == []
    assert window.asked == [report_page.as_uri()]


@pytest.mark.parametrize(
    ("category", "shown"),
    [("Page", "everything on one page"), ("Figures", "seconds_per_epoch"), ("Tables", "accuracy times")],
)
def test_every_category_lists_its_results(browser, report_page, category, shown):
    window = browser.open(report_page)
    window.get_by_text(category, exact=True).first.click()
    window.get_by_text(shown, exact=True).wait_for()
