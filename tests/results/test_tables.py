"""Tables have their rows in the order of the study, and come back from files as they were."""

import pandas as pd
import pytest

from trainbench.results import tables
from trainbench.results.columns import text, whole
from trainbench.results.tables import TableOrder

ORDER = TableOrder(models=("lstm", "conv"), batch_sizes=(512, 128), devices=("gpu", "cpu"), hosts=("z", "a"))
KEYS = ("model", "batch_size", "device", "host")
ROWS = [
    dict(zip(KEYS, key, strict=True))
    for key in (
        ("conv", 128, "cpu", "a"),
        ("lstm", 128, "tpu", "m"),
        ("conv", 512, "gpu", "a"),
        ("lstm", 128, "gpu", "z"),
    )
]
COLUMNS = text("model") | whole("batch_size") | text("device", "host", "flags")


@pytest.fixture
def cells():
    return tables.frame(ROWS, COLUMNS)


@pytest.mark.parametrize(
    ("present", "named", "expected"),
    [
        (["b", "c", "a", "b"], ["c", "x"], ["c", "a", "b"]),
        (["a", "b"], ["b", "a", "b"], ["b", "a"]),
        ([3, 1, 2], [3, 1, 2], [3, 1, 2]),
        ([3, 1, 2], [3], [1, 2, 3]),
        ([], ["a"], []),
    ],
    ids=["others last", "all named", "numbers, all named", "numbers, one not named", "nothing"],
)
def test_what_is_named_comes_first_and_a_number_that_is_not_makes_all_a_scale(present, named, expected):
    assert tables.ranked(present, named) == expected


@pytest.mark.parametrize(
    ("column", "ranks"),
    [("model", {"lstm": 0, "conv": 1}), ("device", {"gpu": 0, "cpu": 1, "tpu": 2}), ("host", {"z": 0, "a": 1, "m": 2})],
)
def test_ranks_are_those_of_the_column(column, ranks):
    assert ORDER.ranks(column, [row[column] for row in ROWS]) == ranks


def test_models_batch_sizes_and_groups_are_those_of_the_table_in_order(cells):
    assert tables.models_of(cells, ORDER) == ["lstm", "conv"]
    assert tables.batch_sizes_of(cells, ORDER) == [512, 128]
    assert tables.groups_of(cells, ORDER) == [("lstm", 128), ("conv", 512), ("conv", 128)]


def test_keys_are_sorted_column_by_column_and_each_once():
    keys = [("conv", "cpu"), ("lstm", "cpu"), ("conv", "gpu"), ("conv", "cpu")]
    assert tables.sorted_keys(keys, ("model", "device"), ORDER) == [("lstm", "cpu"), ("conv", "gpu"), ("conv", "cpu")]


def test_a_table_without_an_order_has_its_rows_as_they_come(cells):
    assert cells["model"].tolist() == ["conv", "lstm", "conv", "lstm"]


def test_a_table_with_an_order_is_sorted_by_cells():
    found = tables.frame(ROWS, COLUMNS, ORDER)
    assert tables.rows_of(found[list(KEYS)]) == [ROWS[3], ROWS[1], ROWS[2], ROWS[0]]
    assert found.index.tolist() == [0, 1, 2, 3]


def test_a_table_is_sorted_by_the_columns_that_are_named_as_far_as_it_has_them(cells):
    found = tables.sorted_table(cells, ORDER, ("device", "repeat", "model"))
    assert found["device"].tolist() == ["gpu", "gpu", "cpu", "tpu"]
    assert found["model"].tolist() == ["lstm", "conv", "conv", "lstm"]


def test_what_is_unknown_goes_first_and_equals_keep_their_order():
    rows = [{"model": "conv", "repeat": repeat, "device": name} for repeat, name in ((2, "c"), (None, "b"), (2, "a"))]
    table = tables.frame(rows, COLUMNS | whole("repeat"))
    found = tables.sorted_table(table, TableOrder(), ("model", "repeat"))
    assert found["device"].tolist() == ["b", "c", "a"]


def test_columns_have_their_types_and_what_a_row_lacks_is_unknown(cells):
    assert {name: str(dtype) for name, dtype in cells.dtypes.items()} == COLUMNS
    assert tables.rows_of(cells)[0] == ROWS[0] | {"flags": None}


def test_the_rows_of_a_table_have_pythons_own_values():
    table = pd.DataFrame({"a": pd.Series([1, None], dtype="Int64"), "b": [0.5, float("nan")], "c": [True, False]})
    assert tables.rows_of(table) == [{"a": 1, "b": 0.5, "c": True}, {"a": None, "b": None, "c": False}]
    assert type(tables.rows_of(table)[0]["a"]) is int


def test_cells_are_found_by_their_key(cells):
    found = tables.cells_by_key(cells)
    assert list(found) == [tuple(row.values()) for row in ROWS]
    assert found["lstm", 128, "tpu", "m"] == ROWS[1] | {"flags": None}


def test_a_table_is_written_as_csv_without_an_index(cells, tmp_path):
    tables.write_csv(cells, tmp_path / "cells.csv")
    header, first, *_ = (tmp_path / "cells.csv").read_bytes().split(b"\n")
    assert (header, first) == (b"model,batch_size,device,host,flags", b"conv,128,cpu,a,")


def test_only_an_empty_field_is_unknown_and_flags_never_are(tmp_path):
    (tmp_path / "t.csv").write_text("model,batch_size,device,host,flags,beside\nNA,1,null,,,2\n", encoding="utf-8")
    assert tables.rows_of(tables.read_csv(tmp_path / "t.csv", COLUMNS)) == [
        {"model": "NA", "batch_size": 1, "device": "null", "host": None, "flags": "", "beside": 2}
    ]


def test_flags_that_a_table_does_not_declare_are_text(tmp_path):
    (tmp_path / "t.csv").write_text("model,flags\nconv,\n", encoding="utf-8")
    assert tables.rows_of(tables.read_csv(tmp_path / "t.csv", text("model"))) == [{"model": "conv", "flags": ""}]


def test_a_table_without_flags_is_read_as_it_is(tmp_path):
    (tmp_path / "t.csv").write_text("model\nconv\n", encoding="utf-8")
    assert tables.rows_of(tables.read_csv(tmp_path / "t.csv", text("model"))) == [{"model": "conv"}]
