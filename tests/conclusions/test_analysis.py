"""From metrics files on disk to every table, with sources, absent runs and questions."""

import itertools
import shutil
from pathlib import Path

import pandas as pd
import pytest

from metrics_builder import HOST, absent_run, make_record
from trainbench.conclusions.all_tables import Question
from trainbench.conclusions.analysis import write_all
from trainbench.conclusions.table_files import FILES
from trainbench.conclusions.tables.speedups import Reference
from trainbench.errors import InputError
from trainbench.records import record
from trainbench.results import sources
from trainbench.results.tables import TableOrder

PUBLISHED = Path(__file__).parents[2] / "resources" / "published"
ORDER = TableOrder(devices=("cpu", "gpu"))


def written(results, *records):
    """The records as metrics files of a results folder."""
    paths = []
    for built in records:
        path = results / "runs" / built["model"] / str(built["batch_size"]) / built["device"] / str(built["repeat"])
        path.mkdir(parents=True)
        record.write(built, path / "metrics.json")
        paths.append(path / "metrics.json")
    return paths


def tables_of(folder, own=(), source=(), **settings):
    question = settings.pop("question", Question(order=ORDER))
    write_all(own, sources.find([str(path) for path in source]), question, folder, **settings)
    return folder


def table(folder, name):
    return pd.read_csv(folder / f"{name}.csv", keep_default_na=False)


def test_every_table_is_written_and_nothing_else(tmp_path):
    own = written(tmp_path / "results", make_record(), make_record(device="gpu"))
    folder = tables_of(tmp_path / "tables", own)
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)


def test_runs_of_a_source_enter_under_their_host(tmp_path):
    own = written(tmp_path / "results", make_record(host="ours"))
    written(tmp_path / "theirs", make_record(host="theirs", device="gpu"))
    folder = tables_of(tmp_path / "tables", own, [tmp_path / "theirs"])
    assert table(folder, "runs")[["device", "host"]].values.tolist() == [["cpu", "ours"], ["gpu", "theirs"]]
    assert table(folder, "hosts")["host"].tolist() == ["ours", "theirs"]


def before_and_after_an_update_of_the_kernel(**settings):
    """Two runs on a machine whose memory is at an edge of the rounding that is part of a host's id."""
    records = [make_record(repeat=number, **settings) for number in (1, 2)]
    for found, host_id, memory_gib in zip(records, (HOST, "amd-epyc-2t-9f8e7d6c"), (23.501, 23.499), strict=True):
        found["host"] |= {"id": host_id, "memory_mib": memory_gib * 1024}
    return records


def test_runs_before_and_after_an_update_of_the_kernel_are_of_one_host(tmp_path):
    own = written(tmp_path / "results", *before_and_after_an_update_of_the_kernel())
    folder = tables_of(tmp_path / "tables", own)
    cells = table(folder, "cells")
    assert (cells["host"].tolist(), cells["n"].tolist()) == ([HOST], [2])
    assert cells["train_seconds_per_epoch_low"].notna().all()
    assert table(folder, "hosts")[["host", "runs"]].to_numpy().tolist() == [[HOST, 2]]


def test_they_are_where_one_of_them_comes_from_a_source(tmp_path):
    before, after = before_and_after_an_update_of_the_kernel()
    written(tmp_path / "server", before)
    folder = tables_of(tmp_path / "tables", written(tmp_path / "results", after), [str(tmp_path / "server")])
    cells = table(folder, "cells")
    assert (cells["host"].tolist(), cells["n"].tolist()) == ([after["host"]["id"]], [2])


@pytest.mark.parametrize("place", ["{}", "{}/cpu"])
def test_either_id_of_such_a_host_is_understood_in_the_config(place, tmp_path):
    records = before_and_after_an_update_of_the_kernel()
    own = written(tmp_path / "results", *records)
    for record_ in records:
        host_id = record_["host"]["id"]
        question = Question(ORDER, Reference("cpu", host_id), {}, {place.format(host_id): 3.0})
        folder = tables_of(tmp_path / "tables", own, question=question)
        assert table(folder, "costs")["price_per_hour"].tolist() == [3.0]
        assert table(folder, "speedups")["reference_host"].tolist() == [HOST]


def test_the_published_results_give_the_speedups_of_the_post(tmp_path):
    folder = tables_of(tmp_path / "tables", source=[PUBLISHED])
    speedups = table(folder, "speedups")
    of_gpu = speedups[speedups["device"] == "gpu"].set_index(["model", "batch_size"])["speedup"]
    assert of_gpu["conv", 512] == pytest.approx(32.6 / 2.63)
    assert of_gpu["logistic", 128] == pytest.approx(1.014248 / 0.689136)


def test_the_published_results_stand_beside_ours_each_with_its_own_reference(tmp_path):
    own = written(tmp_path / "results", make_record(train_seconds=(9.0, 10.0), host="ours"))
    folder = tables_of(tmp_path / "tables", own, [PUBLISHED])
    speedups = table(folder, "speedups").set_index(["model", "batch_size", "device", "host"])
    assert speedups.loc[("conv", 512, "gpu", "published-2017"), "reference_host"] == "published-2017"
    assert speedups.loc[("conv", 512, "cpu", "ours"), "speedup"] == 1.0


def test_what_published_seconds_cover_is_said(tmp_path):
    text = (tables_of(tmp_path / "tables", source=[PUBLISHED]) / "comparison.md").read_text()
    assert "conv: training and an evaluation on 256 test images" in text.partition("## Published results")[2]


def test_the_same_published_results_twice_are_refused(tmp_path):
    shutil.copytree(PUBLISHED, tmp_path / "copy")
    with pytest.raises(InputError, match="has the same published cells as"):
        tables_of(tmp_path / "tables", source=[PUBLISHED, tmp_path / "copy"])


def test_broken_published_results_are_left_out_where_that_is_asked_for(tmp_path):
    shutil.copytree(PUBLISHED, tmp_path / "copy")
    (tmp_path / "copy" / "published.json").write_text("{")
    own = written(tmp_path / "results", make_record())
    folder = tables_of(tmp_path / "tables", own, [tmp_path / "copy"], skip_bad_sources=True)
    assert "published.json" in (folder / "comparison.md").read_text().partition("## Left out")[2]


def test_the_published_hosts_stand_in_the_inventory(tmp_path):
    row = table(tables_of(tmp_path / "tables", source=[PUBLISHED]), "hosts").iloc[0]
    assert (row["host"], row["runs"]) == ("published-2017", 14)
    assert "TITAN X" in row["gpus"]


def test_published_results_have_no_time_to_accuracy(tmp_path):
    question = Question(ORDER, target_accuracy={"conv": 0.9})
    assert table(tables_of(tmp_path / "tables", source=[PUBLISHED], question=question), "accuracy_times").empty


def test_flags_and_spread_stand_beside_every_conclusion_about_a_cell(tmp_path):
    runs = [make_record(repeat=number, flags=["other_load"]) for number in (1, 2)]
    folder = tables_of(tmp_path / "tables", written(tmp_path / "results", *runs))
    for name in ("speedups", "costs", "scaling", "roofline"):
        row = table(folder, name).iloc[0]
        assert row["flags"] == "other_load:2", name
        assert row["train_seconds_per_epoch_spread_percent"] == 0.0, name


def test_a_reference_that_was_not_measured_is_named(tmp_path):
    runs = [make_record(device=name) for name in ("gpu", "gpu-2")]
    folder = tables_of(tmp_path / "tables", written(tmp_path / "results", *runs))
    assert (
        "- No completed run of the reference device cpu: there are no speedups."
        in (folder / "comparison.md").read_text()
    )


def test_a_bad_source_is_named_and_ends_all(tmp_path):
    written(tmp_path / "theirs", make_record())[0].write_text("{")
    with pytest.raises(InputError, match=r"metrics\.json is not valid JSON"):
        tables_of(tmp_path / "tables", source=[tmp_path / "theirs"])


def test_the_rest_goes_on_where_it_is_asked_for_and_says_what_is_left_out(tmp_path):
    own = written(tmp_path / "results", make_record())
    written(tmp_path / "theirs", make_record(host="theirs"))[0].write_text("{")
    folder = tables_of(tmp_path / "tables", own, [tmp_path / "theirs"], skip_bad_sources=True)
    assert len(table(folder, "runs")) == 1
    assert "## Left out of the sources: 1" in (folder / "comparison.md").read_text()


def test_a_run_copied_into_a_source_is_found_by_its_id(tmp_path):
    own = written(tmp_path / "results", make_record())
    shutil.copytree(tmp_path / "results", tmp_path / "theirs")
    with pytest.raises(InputError, match="is the same run as"):
        tables_of(tmp_path / "tables", own, [tmp_path / "theirs"])


def test_runs_without_results_are_counted_and_say_why(tmp_path):
    own = written(tmp_path / "results", make_record())
    absent = [
        absent_run("conv", 512, "gpu", 1, "gpu", "failed"),
        absent_run("conv", 512, "gpu", 2, "gpu", "missing"),
        absent_run("conv", 512, "cpu", 2, "cpu", "missing"),
    ]
    text = (tables_of(tmp_path / "tables", own, absent=absent) / "comparison.md").read_text()
    assert "- 1 of 4 runs have results; 1 failed and 2 missing." in text
    assert "failed, missing |" in text
    assert "1 of 2 (missing)" in text


def test_a_study_without_any_result_yet_has_tables(tmp_path):
    absent = [absent_run("conv", 512, device, 1, device, "missing") for device in ("cpu", "gpu")]
    folder = tables_of(tmp_path / "tables", absent=absent)
    assert table(folder, "cells")["status"].tolist() == ["missing", "missing"]


def test_the_questions_of_the_config_reach_the_tables(tmp_path):
    records = [
        make_record(device=device, repeat=repeat) for device, repeat in itertools.product(("cpu", "gpu"), (1, 2))
    ]
    question = Question(ORDER, Reference("gpu"), {"conv": 0.1}, {"cpu": 1.0}, "CHF")
    folder = tables_of(tmp_path / "tables", written(tmp_path / "results", *records), question=question)
    assert set(table(folder, "speedups")["reference_device"]) == {"gpu"}
    assert set(table(folder, "accuracy_times")["target_accuracy"]) == {0.1}
    assert "(CHF)" in (folder / "comparison.md").read_text()


def test_the_hosts_of_the_study_come_before_those_of_sources(tmp_path):
    own = written(tmp_path / "results", make_record(host="z"), make_record(host="y", device="gpu"))
    written(tmp_path / "theirs", make_record(host="a", device="gpu"))
    folder = tables_of(tmp_path / "tables", own, [tmp_path / "theirs"], question=Question())
    assert table(folder, "hosts")["host"].tolist() == ["y", "z", "a"]
    assert table(folder, "runs")[["device", "host"]].to_numpy().tolist() == [["cpu", "z"], ["gpu", "y"], ["gpu", "a"]]


def test_an_order_of_hosts_that_is_given_counts(tmp_path):
    own = written(tmp_path / "results", make_record(host="a"), make_record(host="b", device="gpu"))
    folder = tables_of(tmp_path / "tables", own, question=Question(TableOrder(hosts=("b", "a"))))
    assert table(folder, "hosts")["host"].tolist() == ["b", "a"]


def test_what_was_read_beside_the_runs_and_what_was_left_out_stand_among_the_settings(tmp_path):
    shutil.copytree(PUBLISHED, tmp_path / "copy")
    shutil.copytree(PUBLISHED, tmp_path / "broken")
    (tmp_path / "broken" / "published.json").write_text("{")
    sources_of = [PUBLISHED, tmp_path / "copy", tmp_path / "broken"]
    folder = tables_of(tmp_path / "tables", source=sources_of, skip_bad_sources=True)
    told = table(folder, "settings").query("part in ('published', 'left out')")
    rows = told[["part", "of", "framework", "name", "runs"]].to_numpy().tolist()
    assert rows == [
        ["published", "published-2017", "", "provenance", ""],
        ["left out", "", "", "file", ""],
        ["left out", "", "", "file", ""],
    ]
    provenance, copy, broken = told["value"]
    assert provenance.startswith("published-2017: measured in 2017 for a blog post")
    assert copy == f"{tmp_path}/copy has the same published cells as {PUBLISHED}"
    assert broken.startswith(
        f"{tmp_path}/broken cannot be used: the published results {tmp_path}/broken/published.json"
    )


def test_published_results_are_told_at_the_end_of_the_text(tmp_path):
    text = (tables_of(tmp_path / "tables", source=[PUBLISHED]) / "comparison.md").read_text()
    told = text.partition("\n## Published results\n")[2]
    assert told.startswith("\n- published-2017: measured in 2017 ")
    assert told.endswith(" lstm: training and an evaluation on 256 test images.\n")


def test_without_published_results_nothing_is_told_of_them(tmp_path):
    own = written(tmp_path / "results", make_record())
    text = (tables_of(tmp_path / "tables", own) / "comparison.md").read_text()
    assert "## Published results" not in text
    assert "## Left out" not in text


ABSENT = [
    absent_run("conv", 512, "gpu", 1, "gpu", "failed"),
    absent_run("conv", 512, "gpu", 2, "gpu", "outdated"),
]


@pytest.mark.parametrize(("hosts", "host"), [((), "unknown"), (("a",), "a"), (("a", "b"), "unknown")])
def test_runs_without_results_are_rows_of_the_studys_only_host(tmp_path, hosts, host):
    own = written(tmp_path / "results", *(make_record(host=name, model=name) for name in hosts))
    runs = table(tables_of(tmp_path / "tables", own, absent=ABSENT), "runs")
    rows = runs[runs["device"] == "gpu"]
    known = ["model", "batch_size", "device", "repeat", "host", "device_kind", "status", "run_id", "flags"]
    assert rows[known].to_numpy().tolist() == [
        ["conv", 512, "gpu", 1, host, "gpu", "failed", "failed-0", ""],
        ["conv", 512, "gpu", 2, host, "gpu", "outdated", "outdated-1", ""],
    ]
    assert set(rows[runs.columns.difference(known)].to_numpy().ravel()) == {""}


def test_a_price_of_another_place_is_left_as_it_is(tmp_path):
    own = written(tmp_path / "results", *before_and_after_an_update_of_the_kernel())
    prices = {"amd-epyc-2t-9f8e7d6c/cpu": 3.0, f"{HOST}/cpu": 4.0, "gpu": 5.0}
    folder = tables_of(tmp_path / "tables", own, question=Question(ORDER, prices=prices))
    assert table(folder, "costs")[["priced_by", "price_per_hour"]].to_numpy().tolist() == [[f"{HOST}/cpu", 4.0]]


def test_tables_are_written_into_a_folder_that_is_there_already_or_not(tmp_path):
    own = written(tmp_path / "results", make_record())
    for _ in range(2):
        tables_of(tmp_path / "new" / "tables", own)
    assert len(table(tmp_path / "new" / "tables", "runs")) == 1
