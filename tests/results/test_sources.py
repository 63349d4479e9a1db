"""Runs of other results folders are read like our own, and whatever cannot be used is named."""

import copy
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from metrics_builder import make_record
from results_folder import write_results
from trainbench.errors import InputError
from trainbench.files.bounded_file import Unusable, printable
from trainbench.records import record
from trainbench.records.same_host import Hosts
from trainbench.results import sources

OWN = "amd-epyc-2t-1a2b3c4d"
OTHER = "intel-xeon-8t-5e6f7a8b"
GOOD = make_record(host=OTHER)


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def read_all(*patterns: str, own: tuple[Path, ...] = ()) -> tuple[list[dict[str, Any]], list[str]]:
    """The records of our own runs and those of sources, as their files have them, and what was refused."""
    refused: list[sources.Refusal] = []
    records = list(sources.read(own, sources.find(patterns), refused, Hosts()))
    for metrics in records:
        del metrics["runs_folder"]
    return records, [str(refusal) for refusal in refused]


def changed(*place: str | int, value: object) -> dict[str, Any]:
    """A record, whole but for one place."""
    metrics = copy.deepcopy(make_record(device="gpu", host=OTHER, flags=["other_load"]))
    where: Any = metrics
    for step in place[:-1]:
        where = where[step]
    where[place[-1]] = value
    return metrics


def refusal_of(content: bytes) -> str:
    """Why a file with this content is refused, in a source with a good run beside it."""
    write_results(Path("source"), [GOOD])
    path = Path("source/runs/conv/512/cpu/2/metrics.json")
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    records, refused = read_all("source")
    assert [metrics["run_id"] for metrics in records] == [GOOD["run_id"]]
    (refusal,) = refused
    assert refusal.startswith(f"{path} ")
    return refusal


# --- what is found ---


@pytest.mark.parametrize("pattern", ["server/results", "server/results/runs", "server", "server/results/runs/conv"])
def test_a_source_is_a_results_folder_or_any_folder_above_or_below_its_runs(pattern: str) -> None:
    write_results(Path("server/results"), [GOOD])
    assert read_all(pattern) == ([GOOD], [])


def test_wildcards_name_several_folders() -> None:
    write_results(Path("archive/a"), [GOOD])
    write_results(Path("archive/b"), [make_record(host=OWN)])
    Path("archive/notes.txt").touch()
    assert [metrics["host"]["id"] for metrics in read_all("archive/*")[0]] == [OTHER, OWN]


def test_a_folder_whose_name_holds_a_wildcard_is_found() -> None:
    write_results(Path("results[1]"), [GOOD])
    assert read_all("results[1]") == ([GOOD], [])


@pytest.mark.parametrize("pattern", ["nowhere", "nowhere/*", "file", "fil*"])
def test_a_pattern_that_matches_no_folder_is_named(pattern: str) -> None:
    Path("file").touch()
    with pytest.raises(InputError) as caught:
        sources.find([pattern])
    assert f"'sources' names '{pattern}', which matches no" in str(caught.value)


def test_a_folder_without_results_is_refused_by_name() -> None:
    Path("empty/runs").mkdir(parents=True)
    assert read_all("empty")[1] == [
        "empty holds no results, expected MODEL/BATCH_SIZE/DEVICE/REPEAT/metrics.json below it or below runs/"
    ]


def test_a_folder_with_a_descriptor_is_one_of_published_results() -> None:
    Path("published").mkdir()
    Path("published/published.json").touch()
    assert sources.find(["published"]) == sources.Found(published=(Path("published"),))


def test_a_file_that_two_patterns_find_is_read_once() -> None:
    write_results(Path("server"), [GOOD])
    assert read_all("server", "serv*", "server/runs/conv") == ([GOOD], [])


def test_our_own_results_as_a_source_are_read_once() -> None:
    own = write_results(Path("results"), [make_record()])
    assert read_all("results", own=tuple(own)) == ([make_record()], [])


def test_a_link_to_a_folder_of_runs_may_be_the_source_itself() -> None:
    write_results(Path("disk"), [GOOD])
    Path("server").mkdir()
    Path("server/runs").symlink_to("../disk/runs")
    assert read_all("server") == ([GOOD], [])


def test_records_come_one_at_a_time() -> None:
    write_results(Path("server"), [make_record(repeat=1), make_record(repeat=2)])
    refused: list[sources.Refusal] = []
    reader = sources.read([], sources.find(["server"]), refused, Hosts())
    next(reader)
    shutil.rmtree("server/runs/conv/512/cpu/2")
    assert (list(reader), len(refused)) == ([], 1)


def test_a_host_has_one_id_in_all_that_is_read_with_the_same_hosts() -> None:
    after = make_record()
    after["host"] |= {"id": "amd-epyc-2t-9f8e7d6c", "memory_mib": after["host"]["memory_mib"] - 2}
    write_results(Path("before"), [make_record()])
    write_results(Path("after"), [after])
    hosts = Hosts()
    read = [next(sources.read([], sources.find([folder]), [], hosts)) for folder in ("after", "before")]
    assert {found["host"]["id"] for found in read} == {"amd-epyc-2t-9f8e7d6c"}


def test_a_record_says_in_which_folder_of_runs_it_was_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = write_results(tmp_path / "own", [make_record()])
    write_results(tmp_path / "server", [make_record(host=OTHER), make_record(batch_size=128, host=OTHER)])
    found = sources.read(own, sources.find(["server"]), [], Hosts())
    folders = [str(tmp_path / name / "runs") for name in ("own", "server", "server")]
    assert [metrics["runs_folder"] for metrics in found] == folders


# --- what is refused ---


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(json.dumps(GOOD).encode()[:-9], "is not valid JSON", id="half a file"),
        pytest.param(json.dumps(GOOD | {"schema_version": 99}).encode(), "has schema_version 99", id="another version"),
        pytest.param(b'{"schema_version": ' + b"9" * 10_000 + b"}", "of 10000 characters", id="a huge whole number"),
        pytest.param(b'{"schema_version": 1, "seed": 12345678901234567}', "of 17 characters", id="beyond 2**53"),
        pytest.param(b'{"schema_version": 1, "seed": 1e999}', "1e999 is too large a number", id="1e999"),
        pytest.param(b'{"schema_version": 1, "seed": NaN}', "NaN is not a JSON number", id="NaN"),
        pytest.param(b'{"schema_version": 1, "seed": Infinity}', "Infinity is not a JSON number", id="infinity"),
        pytest.param(b"[" * 100_000, "nested too deeply", id="deep nesting"),
        pytest.param(
            b'{"schema_version": 1, "epochs": ' + b"[" * 500 + b"]" * 500 + b"}", "its schema", id="much nesting"
        ),
        pytest.param(b'{"schema_version": ' + b"[" * 500 + b"]" * 500 + b"}", "schema_version no number", id="a list"),
        pytest.param(b"\xff\xfe{}", "is not a text in UTF-8", id="not UTF-8"),
        pytest.param(json.dumps(GOOD | {"message": "\ud800"}).encode(), "does not match its schema", id="no Unicode"),
        pytest.param(b"", "is not valid JSON", id="nothing"),
    ],
)
def test_a_file_that_is_no_metrics_file_is_refused_by_name_and_reason(content: bytes, reason: str) -> None:
    assert reason in refusal_of(content)


HOSTILE = ("../../etc/passwd", "<script>alert(1)</script>", "two\nlines", "\x1b[2J", "\u202etxt", "x" * 10_000)


@pytest.mark.parametrize("text", HOSTILE, ids=["path", "HTML", "lines", "terminal", "direction", "length"])
@pytest.mark.parametrize(
    "place",
    [
        ("host", "id"),
        ("host", "hostname"),
        ("host", "gpu_driver_version"),
        ("host", "cpu", "model"),
        ("host", "gpus", 0, "name"),
        ("device_used", "name"),
        ("software", "versions", "tensorflow"),
        ("usage", "steady", "gpus", 0, "throttle_reasons", 0),
        ("checks", 0, "name"),
        ("model",),
        ("device",),
        ("settings", "device", "name"),
        ("run_id",),
    ],
    ids=lambda place: ".".join(map(str, place)),
)
def test_a_hostile_name_is_refused_wherever_it_stands(place: tuple[str | int, ...], text: str, tmp_path: Path) -> None:
    metrics = changed(*place[:-1], value=[text]) if place[-1] == 0 else changed(*place, value=text)
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps(metrics), encoding="utf-8")
    with pytest.raises(Unusable, match="does not match its schema, at " + "/".join(map(str, place[:3]))):
        record.read(path)


@pytest.mark.parametrize("text", HOSTILE[1:], ids=["HTML", "lines", "terminal", "direction", "length"])
@pytest.mark.parametrize(
    "place",
    [
        ("message",),
        ("checks", 0, "finding"),
        ("checks", 0, "advice"),
        ("software", "flags", "environment", "OMP_NUM_THREADS"),
        ("usage", "span", "gpus", 0, "problem"),
    ],
    ids=lambda place: ".".join(map(str, place)),
)
def test_hostile_text_is_refused_wherever_it_stands(place: tuple[str | int, ...], text: str, tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps(changed(*place, value=text)), encoding="utf-8")
    with pytest.raises(Unusable, match="does not match its schema, at " + "/".join(map(str, place))):
        record.read(path)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("epochs", 0, "train_seconds"), 5e-324),
        (("epochs", 0, "train_seconds"), 1e300),
        (("epochs",), []),
        (("epochs",), [make_record()["epochs"][0]] * 10_001),
        (("batch_size",), 2**53),
        (("canary", "before", "together_seconds"), 1e-300),
        (("device_used",), None),
        (("clock",), None),
        (("usage", "steady", "gpus", 0, "energy_source"), None),
        (("software", "flags", "environment"), {"<b>": "1"}),
        (("settings", "hyperparameters", "../x"), 1.0),
    ],
    ids=lambda part: str(part)[:40],
)
def test_a_value_that_no_run_leaves_behind_is_refused(place: tuple[str | int, ...], value: object) -> None:
    assert "does not match its schema, at " in refusal_of(json.dumps(changed(*place, value=value)).encode())


def test_a_refusal_shows_nothing_that_a_terminal_obeys() -> None:
    assert refusal_of(json.dumps(GOOD | {"\x1b[2J\u202e": 1}).encode()).isprintable()


def test_a_file_larger_than_any_metrics_file_is_refused_unread() -> None:
    (path,) = write_results(Path("source"), [GOOD])
    os.truncate(path, 2**40)  # takes no disk: the file is one hole
    assert read_all("source")[1] == [f"{path} is larger than 16 MiB, more than any such file of ours"]


def test_a_pipe_is_refused_without_waiting_for_it() -> None:
    (path,) = write_results(Path("source"), [GOOD])
    path.unlink()
    os.mkfifo(path)
    assert read_all("source")[1] == [f"{path} is not a regular file"]


def test_a_device_is_refused_unopened() -> None:
    (path,) = write_results(Path("source"), [GOOD])
    path.unlink()
    path.symlink_to("/dev/zero")
    assert read_all("source")[1] == [f"{path} is not a regular file"]


def test_a_folder_in_place_of_a_file_is_refused() -> None:
    (path,) = write_results(Path("source"), [GOOD])
    path.unlink()
    path.mkdir()
    assert read_all("source")[1] == [f"{path} is not a regular file"]


def test_a_link_to_itself_in_place_of_a_file_is_refused() -> None:
    (path,) = write_results(Path("source"), [GOOD])
    path.unlink()
    path.symlink_to(path.name)
    assert read_all("source")[1] == [f"{path} cannot be read (Too many levels of symbolic links)"]


@pytest.mark.parametrize("target", ["..", "again", "nowhere"])
def test_a_link_that_could_lead_in_circles_is_refused_and_not_followed(target: str) -> None:
    write_results(Path("source"), [GOOD])
    link = Path("source/runs/again")
    link.symlink_to(target)
    records, refused = read_all("source")
    assert (len(records), refused) == (
        1,
        [f"{link} is a link to a folder or to nothing: name what it leads to as a source"],
    )


@pytest.mark.parametrize("copy_of", ["conv/512/cpu/2", "conv/256/cpu/1", "lstm/512/cpu/1", "conv/512/cpu-1t/1"])
def test_a_file_that_contradicts_its_folder_is_refused(copy_of: str) -> None:
    (path,) = write_results(Path("source"), [GOOD])
    moved = Path("source/runs") / copy_of / "metrics.json"
    moved.parent.mkdir(parents=True, exist_ok=True)
    path.rename(moved)
    assert read_all("source")[1] == [f"{moved} is the record of conv/512/cpu/1, but lies in {copy_of}"]


def test_a_file_that_contradicts_itself_is_refused() -> None:
    (path,) = write_results(Path("source"), [make_record(settings={"batch_size": 256})])
    assert read_all("source")[1] == [
        f"{path} is the record of conv/512/cpu/1 with the settings of conv/256/cpu/1",
    ]


def test_a_copy_of_our_own_run_is_refused_naming_both_files() -> None:
    (own,) = write_results(Path("results"), [make_record()])
    (other,) = write_results(Path("source"), [make_record()])
    records, refused = read_all("source", own=(own,))
    assert (len(records), refused) == (1, [f"{other} is the same run as {own} (run_id {make_record()['run_id']})"])


def test_a_copy_in_another_source_is_refused_naming_both_files() -> None:
    (first,) = write_results(Path("a"), [GOOD])
    (second,) = write_results(Path("b"), [GOOD])
    assert read_all("a", "b")[1] == [f"{second} is the same run as {first} (run_id {GOOD['run_id']})"]


def test_our_own_results_are_never_left_out() -> None:
    own = write_results(Path("results"), [make_record()])
    own[0].write_bytes(b"{")
    with pytest.raises(InputError, match=f"{own[0]} is not valid JSON"):
        read_all(own=tuple(own))


def test_a_refusal_of_our_own_results_says_what_to_do() -> None:
    own = write_results(Path("results"), [make_record()])
    own[0].write_bytes(b"")
    with pytest.raises(InputError, match=re.escape(f"delete it (rm {own[0]}) and run snakemake again")):
        read_all(own=tuple(own))


def test_a_run_of_ours_that_lies_in_the_wrong_folder_is_refused() -> None:
    own = write_results(Path("results"), [make_record()])
    moved = own[0].parent.rename(own[0].parent.with_name("2")) / "metrics.json"
    with pytest.raises(InputError, match="is the record of conv/512/cpu/1, but lies in conv/512/cpu/2"):
        read_all(own=(moved,))


def test_the_refusal_names_the_first_few_files_and_counts_all() -> None:
    write_results(Path("source"), [make_record(repeat=repeat) | {"seed": -1} for repeat in range(1, 10)])
    refused: list[sources.Refusal] = []
    list(sources.read([], sources.find(["source"]), refused, Hosts()))
    with pytest.raises(InputError) as caught:
        sources.demand_all_usable(refused)
    told = str(caught.value)
    assert (told.count("metrics.json"), "9 files or folders" in told, "; and 4 more;" in told) == (5, True, True)


def test_what_is_left_out_is_listed_literally() -> None:
    section = sources.left_out_markdown([sources.Refusal(Path("a/*b*/metrics.json"), "holds <b>")])
    assert section == "\n## Left out of the sources: 1\n\n- a/\\*b\\*/metrics.json holds &lt;b&gt;\n"


def test_where_nothing_is_left_out_nothing_is_said() -> None:
    assert sources.left_out_markdown([]) == ""


def test_a_baseline_of_published_cells_is_refused() -> None:
    with pytest.raises(InputError, match="'baseline' is 'x', which holds published cells and no runs"):
        sources.demand_runs(sources.Found(published=(Path("x"),)), "x")


# --- fingerprints ---


def fingerprint() -> str:
    return sources.fingerprint_of(sources.find(["source"]))


def test_the_fingerprint_stays_while_nothing_changes() -> None:
    write_results(Path("source"), [GOOD])
    assert fingerprint() == fingerprint()


def test_a_new_run_changes_the_fingerprint() -> None:
    write_results(Path("source"), [GOOD])
    before = fingerprint()
    write_results(Path("source"), [make_record(host=OTHER, repeat=2)])
    assert fingerprint() != before


def test_a_run_written_anew_changes_the_fingerprint() -> None:
    (path,) = write_results(Path("source"), [GOOD])
    before = fingerprint()
    os.utime(path, ns=(1, 1))
    assert fingerprint() != before


def test_a_changed_published_table_changes_the_fingerprint() -> None:
    Path("source").mkdir()
    Path("source/published.json").touch()
    before = fingerprint()
    Path("source/cells.csv").touch()
    assert fingerprint() != before


# --- to the letter ---


@pytest.mark.parametrize(
    ("count", "key", "told"),
    [
        (
            1,
            "sources",
            "1 file or folder that cannot be used: f0 is bad; correct or remove what is named, or go on without it "
            "with skip_bad_sources: true in the config",
        ),
        (
            5,
            "baseline",
            "5 files or folders that cannot be used: f0 is bad; f1 is bad; f2 is bad; f3 is bad; f4 is bad; correct or "
            "remove what is named",
        ),
        (
            6,
            "baseline",
            "6 files or folders that cannot be used: f0 is bad; f1 is bad; f2 is bad; f3 is bad; f4 is bad; and 1 "
            "more; correct or remove what is named",
        ),
    ],
)
def test_what_cannot_be_used_is_counted_and_the_first_few_are_named(count, key, told):
    refused = [sources.Refusal(Path(f"f{number}"), "is bad") for number in range(count)]
    with pytest.raises(InputError) as caught:
        sources.demand_all_usable(refused, key)
    assert str(caught.value) == f"config key '{key}' leads to {told}"


def test_nothing_that_cannot_be_used_is_no_error():
    sources.demand_all_usable([])


def test_a_baseline_of_published_cells_is_refused_with_where_to_put_it():
    with pytest.raises(InputError) as caught:
        sources.demand_runs(sources.Found(published=(Path("x"),)), "../2017")
    assert str(caught.value) == (
        "config key 'baseline' is '../2017', which holds published cells and no runs, so no interval can be told; "
        "expected a results folder; put it under sources to see it beside this study"
    )


def test_a_baseline_with_files_that_cannot_be_used_is_refused_by_its_own_key():
    found = sources.Found(refused=(sources.Refusal(Path("f"), "is bad"),))
    with pytest.raises(InputError, match=r"^config key 'baseline' leads to 1 file or folder .* what is named$"):
        sources.demand_runs(found, "../before")


def test_a_baseline_of_runs_is_accepted():
    sources.demand_runs(sources.Found(metrics=(Path("m"),)), "../before")


def test_what_was_left_out_is_listed_each_on_a_line_of_its_own():
    refused = [sources.Refusal(Path("a"), "is *bad*"), sources.Refusal(Path("b"), "is bad")]
    assert sources.left_out_markdown(refused) == ("\n## Left out of the sources: 2\n\n- a is \\*bad\\*\n- b is bad\n")
    assert sources.left_out_markdown([]) == ""


def test_the_fingerprint_changes_with_what_is_refused():
    refusals = [(), (sources.Refusal(Path("a"), "is bad"),), (sources.Refusal(Path("b"), "is bad"),)]
    assert len({sources.fingerprint_of(sources.Found(refused=refused)) for refused in refusals}) == 3


def test_a_pattern_that_matches_nothing_is_refused_with_where_it_was_looked_for():
    with pytest.raises(InputError) as caught:
        sources.find(["no/such*"], "baseline")
    assert str(caught.value) == (
        f"config key 'baseline' names 'no/such*', which matches nothing, seen from {Path.cwd()}; expected a results "
        "folder; correct it in the config file or with --config"
    )


def test_a_pattern_that_matches_files_alone_is_refused_with_the_first_of_them(tmp_path):
    long_name = "a" * 100
    (tmp_path / long_name).touch()
    with pytest.raises(InputError) as caught:
        sources.find(["a*"])
    assert f"which matches no folder (but {printable(long_name, 80)}), seen from" in str(caught.value)


def test_what_comes_after_published_results_is_found_too(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "published.json").touch()
    write_results(tmp_path / "b", [GOOD])
    found = sources.find(["a", "b"])
    assert (found.published, len(found.metrics), found.refused) == ((Path("a"),), 1, ())


def test_names_that_start_with_a_dot_are_passed_over_and_what_follows_is_found(tmp_path):
    write_results(tmp_path / "results", [GOOD])
    shutil.copytree(tmp_path / "results" / "runs", tmp_path / "results" / "runs" / ".before")
    (tmp_path / "results" / "runs" / ".note").touch()
    found = sources.find(["results"])
    assert (len(found.metrics), found.refused) == (1, ())


def test_a_folder_that_cannot_be_read_is_named_and_the_others_are_found(tmp_path, monkeypatch):
    write_results(tmp_path / "results", [GOOD, GOOD | {"model": "lstm"}])
    scandir = os.scandir

    def refuse(folder):
        if Path(folder).name == "conv":
            raise PermissionError(13, "Permission denied", os.fspath(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    found = sources.find(["results"])
    assert [path.parts[-5] for path in found.metrics] == ["lstm"]
    assert [str(refusal) for refusal in found.refused] == ["results/runs/conv cannot be read (Permission denied)"]


def test_a_file_that_appears_twice_is_read_once_and_what_follows_it_too(tmp_path):
    first, second = write_results(tmp_path / "results", [GOOD, make_record("lstm", host=OTHER)])
    records = list(sources.read([first], sources.Found(metrics=(first, second)), [], Hosts()))
    assert [metrics["model"] for metrics in records] == ["conv", "lstm"]


def test_a_file_of_the_study_that_cannot_be_used_is_refused_with_how_to_measure_it_anew(tmp_path):
    (path,) = write_results(tmp_path / "results", [GOOD])
    path.write_text("{", encoding="utf-8")
    with pytest.raises(InputError) as caught:
        list(sources.read([path], sources.Found(), [], Hosts()))
    told = str(caught.value)
    assert told.startswith(f"the metrics file {path} is not valid JSON (")
    assert told.endswith(f"; delete it (rm {path}) and run snakemake again to measure that run anew")
