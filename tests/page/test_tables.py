"""What the page's tables say of a cell: whether it is the best, and what stands beside a value."""

import re

import pytest

from metrics_builder import make_record
from page_builder import write_tables
from trainbench.conclusions.all_tables import Question
from trainbench.conclusions.tables.roofline import OVERHEAD_BELOW
from trainbench.figures.drawn_study import DrawnStudy
from trainbench.page import report, run_tables
from trainbench.page.table import CELL, exact, listing
from trainbench.results.tables import TableOrder

ORDER = TableOrder(models=("conv",), batch_sizes=(512,), devices=("cpu", "gpu"))


def study_of(folder, records, **asked):
    return DrawnStudy.read(write_tables(folder, records, Question(order=ORDER, **asked)), ORDER)


def shown_by(study, table, row=0):
    """The fields of a row of a table by their headings."""
    found = report.tables_of(study)[table]
    return dict(zip([column.heading for column in found.columns], found.rows[row], strict=True))


def glance_of(folder, records, **asked):
    return shown_by(study_of(folder, records, **asked), "glance")


@pytest.mark.parametrize(
    ("flags", "fields"),
    [((), ("", "(overhead) one run")), (["other_load"], ("\N{DAGGER}", "(disturbed)"))],
    ids=["quiet", "disturbed"],
)
def test_a_slow_cell_is_put_down_to_overhead_only_where_others_kept_quiet(tmp_path, flags, fields):
    slow = make_record(train_seconds=[900.0] * 3, flags=flags)
    shown = shown_by(study_of(tmp_path, [slow]), "roofline")
    assert (shown["Achieved (GFLOP/s)"].detail, shown["Nearest roof"].detail) == fields


def cell_of(device, seconds, **settings):
    return [
        make_record(device=device, repeat=repeat, train_seconds=[each] * 3, **settings)
        for repeat, each in enumerate(seconds, start=1)
    ]


def test_the_device_with_the_least_mean_stands_alone_where_it_is_shown_to_have_the_least(tmp_path):
    field = glance_of(tmp_path, [*cell_of("cpu", (12.0, 12.1)), *cell_of("gpu", (1.0, 1.01))])["Least seconds an epoch"]
    assert (field.text, field.detail.rpartition(") ")[2]) == ("gpu", "at batch size 512")


def test_devices_that_are_not_shown_to_have_more_stand_beside_the_one_with_the_least_mean(tmp_path):
    records = [*cell_of("cpu", (1.0, 1.3)), *cell_of("gpu", (0.95, 1.2)), *cell_of("slow", (9.0,))]
    shown = glance_of(tmp_path, records, prices={"cpu": 1.0, "gpu": 1.0, "slow": 1.0})
    for heading in ("Least seconds an epoch", "Least price of an epoch"):
        assert shown[heading].text == "gpu"
        assert shown[heading].detail.endswith("; no difference shown from cpu; no interval beside slow")


def test_a_device_of_which_not_all_runs_reached_the_target_may_have_been_sooner(tmp_path):
    records = [*cell_of("cpu", (2.0, 2.02)), *cell_of("gpu", (1.0, 1.01))]
    records[1]["epochs"][-1]["accuracy"] = 0.5
    asked = {"target_accuracy": {"conv": records[0]["epochs"][-1]["accuracy"]}, "prices": {"cpu": 1.0, "gpu": 1.0}}
    shown = glance_of(tmp_path, records, **asked)
    for heading in ("Least seconds to the target accuracy", "Least price to the target accuracy"):
        assert shown[heading].text == "gpu"
        assert shown[heading].detail.endswith("; not reached by all runs of cpu")


def test_a_price_of_nothing_is_the_least_whatever_the_others_are(tmp_path):
    records = [*cell_of("cpu", (12.0, 12.1)), *cell_of("gpu", (1.0, 1.01))]
    field = glance_of(tmp_path, records, prices={"cpu": 0.0, "gpu": 1.0})["Least price of an epoch"]
    assert (field.text, field.detail.endswith(" EUR at batch size 512")) == ("cpu", True)


def scaled(*seconds, gpu=()):
    """Runs of a CPU with 1, 2, 4 and 8 threads, two of each, and of a GPU."""
    records = [
        record
        for threads, each in zip((1, 2, 4, 8), seconds, strict=True)
        for record in cell_of(f"cpu-{threads}t", (each * 0.99, each / 0.99), usable_threads=threads)
    ]
    return [*records, *cell_of("gpu", gpu)]


def test_the_best_number_of_threads_stands_beside_those_over_which_that_is_not_shown(tmp_path):
    shown = shown_by(study_of(tmp_path, scaled(8.0, 4.1, 2.5, 2.48)), "best_threads")
    assert (shown["Best threads"].text, shown["Best threads"].detail) == ("8", "(not shown over 4)")


def test_how_many_cores_match_a_gpu_has_its_interval_beside_it(tmp_path):
    study = study_of(tmp_path, scaled(8.0, 4.1, 2.2, 1.4, gpu=(2.0, 2.02)))
    detail = shown_by(study, "core_equivalents")["Cores"].detail
    assert re.fullmatch(r"\([\d.]+\u2013[\d.]+\)", detail)


def test_how_many_cores_match_a_gpu_of_a_single_run_has_no_interval(tmp_path):
    study = study_of(tmp_path, scaled(8.0, 4.1, 2.2, 1.4, gpu=(2.0,)))
    assert shown_by(study, "core_equivalents")["Cores"].detail == "no interval"


def test_an_efficiency_of_several_gpus_has_its_interval_beside_it(tmp_path):
    records = [
        record
        for gpus, each in ((1, 8.0), (4, 2.5))
        for record in cell_of(f"gpu-{gpus}g", (each, each * 1.01), gpus=gpus)
    ]
    study = study_of(tmp_path, records)
    details = [shown_by(study, "gpu_scaling", row)["Efficiency (%)"].detail for row in (0, 1)]
    assert details[0] == ""
    assert re.fullmatch(r"\([\d.]+\u2013[\d.]+\)", details[1])


def test_a_cell_that_may_lie_on_either_side_of_overhead_is_put_down_to_neither(tmp_path):
    quick = study_of(tmp_path / "one", cell_of("cpu", (10.0,))).tables["roofline"].iloc[0]
    seconds = 10.0 * quick["fraction_of_attainable"] / OVERHEAD_BELOW
    study = study_of(tmp_path / "two", cell_of("cpu", (seconds * 0.9, seconds * 1.1)))
    assert shown_by(study, "roofline")["Nearest roof"].detail == "(overhead: not shown)"


def test_another_table_is_one_entry_of_a_list_and_a_column_of_it_one_line(tmp_path, monkeypatch):
    another = listing("cells", "How often each cell ran", (*CELL, exact("Completed runs", "n")), name="how-often")
    monkeypatch.setattr(run_tables, "TABLES", (*run_tables.TABLES, another))
    shown = shown_by(study_of(tmp_path, cell_of("cpu", (1.0, 1.1))), "how_often")
    assert {heading: field.text for heading, field in shown.items()} == {
        "Model": "conv",
        "Batch size": "512",
        "Device": "cpu",
        "Completed runs": "2",
    }
