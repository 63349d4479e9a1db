"""A metrics file is written whole and valid or not at all, and a broken one is refused with the reason."""

import copy
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metrics_builder import as_older_versions_timed, make_record
from trainbench.files import whole_file
from trainbench.files.bounded_file import Unusable
from trainbench.records import record

METRICS = make_record()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "conv" / "metrics.json"


def changed(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """Give valid metrics to which `change` was applied."""
    metrics = copy.deepcopy(METRICS)
    change(metrics)
    return metrics


def with_(**entries: object) -> bytes:
    """Give the contents of a metrics file, valid but for these entries."""
    return json.dumps({**METRICS, **entries}).encode()


def refusal_of(path: Path, content: bytes) -> str:
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(Unusable) as caught:
        record.read(path)
    return str(caught.value)


# --- writing ---


@pytest.mark.parametrize("metrics", [METRICS, make_record(device="gpu"), make_record(status="out_of_memory")])
def test_what_is_written_is_read_again(metrics: record.Metrics, path: Path) -> None:
    record.write(metrics, path)
    assert record.read(path) == metrics


def test_a_file_of_a_version_that_timed_one_core_can_be_read(path: Path) -> None:
    record.write(as_older_versions_timed(make_record(), 0.2), path)
    assert record.read(path)["canary"] == {"before_seconds": 0.2, "after_seconds": 0.2}


def test_a_file_whose_cores_could_not_be_timed_can_be_read(path: Path) -> None:
    record.write(make_record(canary={"before": None, "after": None}), path)
    assert record.read(path)["canary"]["before"] is None


def test_an_earlier_file_is_replaced(path: Path) -> None:
    record.write(METRICS, path)
    record.write(make_record(repeat=2), path)
    assert record.read(path)["repeat"] == 2


def test_letters_beyond_ascii_stay_readable(path: Path) -> None:
    record.write(make_record(hostname="rechner-ä"), path)
    assert "rechner-ä" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda metrics: metrics.pop("seed"), id="a missing key"),
        pytest.param(lambda metrics: metrics.update(extra=1), id="an unknown key"),
        pytest.param(lambda metrics: metrics["clock"].update(extra=1), id="an unknown key further down"),
        pytest.param(lambda metrics: metrics.update(repeat="1"), id="another type"),
        pytest.param(lambda metrics: metrics.update(schema_version=2), id="another version"),
        pytest.param(lambda metrics: metrics.update(status="fine"), id="an unknown status"),
        pytest.param(lambda metrics: metrics["usage"]["steady"].update(cpu_percent=math.nan), id="NaN"),
        pytest.param(lambda metrics: metrics["epochs"][0].update(loss=math.inf), id="infinity"),
    ],
)
def test_invalid_metrics_are_not_written(change: Callable[[dict[str, Any]], object], path: Path) -> None:
    with pytest.raises(ValueError, match="refusing to write"):
        record.write(changed(change), path)
    assert not path.exists()


def test_a_refusal_to_write_says_where_the_metrics_are_wrong(path: Path) -> None:
    with pytest.raises(ValueError, match="at clock: "):
        record.write(changed(lambda metrics: metrics["clock"].update(extra=1)), path)


def test_invalid_metrics_leave_an_earlier_file_as_it_was(path: Path) -> None:
    record.write(METRICS, path)
    with pytest.raises(ValueError, match="refusing to write"):
        record.write({}, path)
    assert record.read(path) == METRICS


def test_writing_leaves_nothing_beside_the_file(path: Path) -> None:
    record.write(METRICS, path)
    assert list(path.parent.iterdir()) == [path]


def test_writing_that_fails_leaves_nothing_behind(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        whole_file.write("text", path)
    assert list(path.parent.iterdir()) == [path]


def test_others_may_read_what_is_written(path: Path) -> None:
    whole_file.write("text", path)
    assert path.stat().st_mode & 0o777 == 0o644


# --- reading ---


def test_a_missing_file_is_refused(path: Path) -> None:
    with pytest.raises(Unusable) as caught:
        record.read(path)
    assert str(caught.value) == "cannot be read (No such file or directory)"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(b"", "is not valid JSON", id="an empty file"),
        pytest.param(with_()[:500], "is not valid JSON", id="half a file"),
        pytest.param(b"\xff\xfe", "is not a text in UTF-8 (byte 1)", id="not text"),
        pytest.param(b'{"schema_version": 1, "seed": NaN}', "NaN is not a JSON number", id="NaN"),
        pytest.param(b'{"schema_version": 1, "seed": -Infinity}', "-Infinity is not a JSON number", id="infinity"),
        pytest.param(b"{}", "has schema_version None, expected 1", id="no version"),
        pytest.param(b"[]", "has schema_version None, expected 1", id="not a mapping"),
        pytest.param(with_(schema_version=2), "has schema_version 2, expected 1", id="a newer version"),
        pytest.param(with_(schema_version="1"), "has schema_version '1', expected 1", id="a version of text"),
        pytest.param(with_(extra=1), "'extra' was unexpected", id="an unknown key"),
        pytest.param(with_(epochs=[{}]), "does not match its schema, at epochs/0: ", id="an empty epoch"),
        pytest.param(with_(seed=None), "does not match its schema, at seed: ", id="a value that must be known"),
    ],
)
def test_a_broken_file_is_refused_by_its_reason(content: bytes, reason: str, path: Path) -> None:
    assert reason in refusal_of(path, content)


def test_a_refusal_stays_short_however_large_the_file(path: Path) -> None:
    assert len(refusal_of(path, with_(epochs={"x" * 10_000: 1}))) < 1000


# --- texts of others ---


@pytest.mark.parametrize("text", ["two\nlines", "<b>", "\x1b[2J", "\u202etxt", "x" * 10_000, "\ud800"])
def test_what_others_call_themselves_is_made_plain_enough_to_be_written(text: str, path: Path) -> None:
    record.write(make_record(message=record.plain(text)), path)
    assert record.read(path)["message"] == record.plain(text)


def test_plain_text_stays_as_it_is_at_every_depth() -> None:
    value = {"a": ["rechner-ä, 2 x 3.5 GHz (R)", None, 1.5, True], "b": {"c": "x"}}
    assert record.plain(value) == value


def test_a_list_that_was_a_tuple_is_still_made_plain() -> None:
    assert record.plain({"gpus": ({"name": "a\tb"},)}) == {"gpus": [{"name": "a b"}]}
