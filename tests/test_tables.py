"""Tables: cut as `iloc` would, and every bad cell named."""

import re
from pathlib import Path

import pandas as pd
import pytest
import torch

from nnhooks import DataError, Table

FOUNDING = [[1, 2, 3, 4], [2, 3, 4, 5], [3, 4, 5, 6]]


@pytest.fixture
def csv(tmp_path):
    """Write text to a CSV file, and return its path."""

    def write(text):
        path = tmp_path / "table.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_rows_are_cut_by_position_as_iloc_does():
    frame = pd.DataFrame(FOUNDING)

    ((inputs, target),) = Table(rows=FOUNDING, features=":-2", label=-1).train

    assert inputs.tolist() == frame.iloc[:, :-2].values.tolist()
    assert target.tolist() == frame.iloc[:, -1].values.tolist()
    assert inputs.dtype == target.dtype == torch.float32


def test_unsaid_every_other_column_is_a_feature():
    table = Table(
        frame=pd.DataFrame({"id": [7, 8], "x": [1, 2], "y": [3, 4], "z": [5, 6]}),
        label="y",
        drop=["id"],
    )

    assert table.features == ["x", "z"]
    assert table.num_features == 2


def test_several_labels_make_a_target_with_as_many_columns():
    ((_, target),) = Table(rows=FOUNDING, features=":2", label=[2, 3]).train

    assert target.tolist() == [[3, 4], [4, 5], [5, 6]]


def test_text_labels_become_class_numbers_in_sorted_order(csv):
    table = Table(csv=csv("x,kind\n1,b\n2,a\n3,b\n"), label="kind", classes=True)

    ((_, target),) = table.train

    assert (table.classes, table.num_classes) == (["a", "b"], 2)
    assert (target.tolist(), target.dtype) == ([1, 0, 1], torch.int64)


def test_csv_and_parquet_give_the_same_batches(csv, tmp_path):
    path = csv("x,y\n1.5,2\n3,4\n")
    pd.read_csv(path).to_parquet(tmp_path / "table.parquet")

    ((from_csv, _),) = Table(csv=path).train
    ((from_parquet, _),) = Table(parquet=tmp_path / "table.parquet").train

    assert torch.equal(from_csv, from_parquet)


def test_the_validation_share_is_held_out_of_each_class_and_never_trained_on():
    rows = [[number, number % 2] for number in range(20)]

    table = Table(rows=rows, classes=True, validation=0.2, batch_size=20, shuffle=True)

    ((seen, _),), ((held, labels),) = table.train, table.validation
    assert sorted(labels.tolist()) == [0, 0, 1, 1]
    assert not set(seen[:, 0].tolist()) & set(held[:, 0].tolist())
    assert len(seen) + len(held) == 20


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", {}, "table.csv is empty"),
        ("x,y\n", {}, "table.csv has no rows"),
        ("x,y\n1,2\n3,4,5\n", {}, "table.csv:3: the row has 3 values, the header 2"),
        ("x,y\n1,2\n3\n", {}, "table.csv:3, column `y` is empty, not a finite number"),
        ("x,y\n1,2\nten,4\n", {}, "table.csv:3, column `x` holds 'ten', not a finite number"),
        ("x,y\n\n1,2\n\n,4\n", {}, "table.csv:5, column `x` is empty, not a finite number"),
        ("x,y\n1,2\n,4\n", {}, "table.csv:3, column `x` is empty, not a finite number"),
        ("x,y\n1,2\n1e999,4\n", {}, "table.csv:3, column `x` holds inf, not a finite number"),
        ("x,y\n1,cat\n2,dog\n", {}, "holds 'cat', not a finite number; text labels need `classes"),
        ("x,y\n1,a\n2,\n", {"classes": True}, "table.csv:3, column `y` is empty, not a class"),
        ("x,y\n1,2\n", {"label": "z"}, "table.csv has no column `z`; it has: x, y"),
        ("x,price\n1,2\n", {"label": "prize"}, "no column `prize`; did you mean `price`?"),
        ("x,y\n1,2\n", {"label": 2}, "table.csv has 2 columns, none at position 2"),
        ("x,y\n1,2\n", {"features": "first"}, "`features` is a slice such as ':-2' or a list"),
        ("x,y\n1,2\n", {"features": "5:"}, "`features` leaves no column of"),
        ("x,y\n1,2\n", {"validation": 0.5}, "`validation: 0.5` leaves no row of"),
        (b"x,y\n\xff\xfe,2\n", {}, "is not UTF-8 text: invalid start byte at byte"),
        ("x,y\n1,2,3\n4,5,6\n", {}, "table.csv: the rows have more values than the header"),
        ("x;y\n1;2\n", {}, "table.csv: its values are separated by `;`, not by commas"),
        ("5.1,3.5,1\n4.9,3.0,0\n", {}, "table.csv:1: the first line should name the columns"),
        ("x,y\nten,4\n", {}, "holds 'ten', not a finite number; `drop` leaves a column out"),
    ],
)
def test_a_bad_table_is_named_with_its_place(csv, text, options, message):
    with pytest.raises(DataError, match=re.escape(message)):
        Table(csv=csv(text), **options)


def test_columns_numbered_from_zero_are_names_and_a_last_comma_is_no_column(csv):
    numbered = Table(csv=csv("0,1\n5,6\n"))
    comma = Table(csv=csv("x,y\n5,6,\n7,8,\n"))

    assert numbered.features == ["0"]
    assert comma.features == ["x"]


def test_ragged_rows_are_named():
    with pytest.raises(DataError, match="row 2 of `rows` has 1 values, the first has 2"):
        Table(rows=[[1, 2], [3]])


def test_a_missing_file_gets_the_nearest(csv):
    path = csv("x,y\n1,2\n")

    with pytest.raises(FileNotFoundError, match=r"did you mean .*table\.csv\?"):
        Table(csv=path.with_name("tabel.csv"))


def test_an_address_is_refused_before_anything_is_fetched():
    for address in ("http://localhost/table.csv", "/recipes/http:/localhost/table.csv"):
        with pytest.raises(DataError, match="is an address"):
            Table(csv=Path(address))


def test_a_file_that_is_no_parquet_is_refused(csv):
    with pytest.raises(DataError, match="is no parquet file"):
        Table(parquet=csv("x,y\n1,2\n"))


def test_a_table_comes_from_one_source():
    with pytest.raises(DataError, match="one of `rows`, `csv`, `parquet` and `frame`"):
        Table()


def test_amounts_have_no_classes():
    with pytest.raises(DataError, match="`classes: true` makes classes of them"):
        _ = Table(rows=FOUNDING).num_classes
