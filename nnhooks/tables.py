"""Tables: rows, CSV, parquet or a DataFrame, cut into features and label, checked cell by cell."""

from __future__ import annotations

import csv as csv_lines
import re
import warnings
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor
from torch.utils.data import TensorDataset

from nnhooks.data import Batches, DataError, held_out

if TYPE_CHECKING:
    from pandas import DataFrame, Series

Column = str | int


class Table:
    """A table of numbers, cut into features and label as `DataFrame.iloc` would.

    One of `rows`, `csv`, `parquet` and `frame` says where it comes from. `features` is a slice of
    positions (":-2") or a list of columns; unsaid, every column but the label and those in `drop`.
    `label` is a position, a name, or a list of them; `classes` turns its values, sorted, into the
    class numbers 0, 1, ... `validation` is the share of rows held out, of each class alike.

    `train` and `validation` are Batches of (features, label): float32 of shape (rows, features),
    and float32 of shape (rows,) or (rows, labels), or int64 of shape (rows,) with `classes`.
    """

    def __init__(
        self,
        *,
        rows: list[list[float]] | None = None,
        csv: Path | None = None,
        parquet: Path | None = None,
        frame: DataFrame | None = None,
        features: str | list[Column] | None = None,
        label: Column | list[Column] = -1,
        drop: Sequence[Column] = (),
        classes: bool = False,
        batch_size: Annotated[int, Ge(1)] = 32,
        shuffle: bool = False,
        validation: Annotated[float, Gt(0), Lt(1)] | None = None,
        seed: int = 0,
    ) -> None:
        self.frame, self.place = read(rows, csv, parquet, frame)
        labels = [self._column(name) for name in (label if isinstance(label, list) else [label])]
        columns = self._features(features, {*labels, *map(self._column, drop)})
        inputs = torch.stack([self._numbers(column) for column in columns], dim=1)

        self.features = [str(self.frame.columns[column]) for column in columns]
        self.num_features = len(columns)
        self.classes = self._classes(labels) if classes else None
        target = self._class_numbers(labels[0]) if classes else self._amounts(labels, label)

        def batches(rows: list[int] | None, shuffle: bool) -> Batches:
            cut = slice(None) if rows is None else rows
            return Batches(TensorDataset(inputs[cut], target[cut]), batch_size, shuffle, seed)

        kept, held = self._split(validation, seed, target.tolist() if classes else None)
        self.train = batches(kept, shuffle)
        self.validation = batches(held, shuffle=False) if held else None

    @property
    def num_classes(self) -> int:
        """How many classes the label has; it needs `classes`."""
        if self.classes is None:
            raise DataError("the labels are amounts; `classes: true` makes classes of them")
        return len(self.classes)

    def _column(self, name: Column) -> int:
        """Return the position of a column given by position or name."""
        width = self.frame.shape[1]
        if isinstance(name, int):
            if not -width <= name < width:
                raise DataError(f"{self.place()} has {width} columns, none at position {name}")
            return name % width
        names = [str(column) for column in self.frame.columns]
        if name not in names:
            near = get_close_matches(name, names, 1)
            hint = f"did you mean `{near[0]}`?" if near else f"it has: {', '.join(names)}"
            raise DataError(f"{self.place()} has no column `{name}`; {hint}")
        return names.index(name)

    def _features(self, features: str | list[Column] | None, others: set[int]) -> list[int]:
        positions = range(self.frame.shape[1])
        if features is None:
            columns = [column for column in positions if column not in others]
        elif isinstance(features, list):
            columns = [self._column(name) for name in features]
        elif parts := re.fullmatch(r"(-?\d*):(-?\d*)", features.strip()):
            start, stop = (int(part) if part else None for part in parts.groups())
            columns = list(positions[start:stop])
        else:
            raise DataError(f"`features` is a slice such as ':-2' or a list, got {features!r}")
        if not columns:
            raise DataError(f"`features` leaves no column of {self.place()}")
        return columns

    def _numbers(self, column: int, way_out: str = "`drop` leaves a column out") -> Tensor:
        """Return one column as float32, or say which cell is not a finite number."""
        import pandas as pd

        cells = self.frame.iloc[:, column]
        numbers = pd.to_numeric(cells, errors="coerce").to_numpy("float64")
        tensor = torch.tensor(numbers, dtype=torch.float32)
        if not bool(tensor.isfinite().all()):
            row = int((~tensor.isfinite()).nonzero()[0])
            self._refuse(cells, row, "a finite number", way_out)
        return tensor

    def _amounts(self, labels: list[int], said: object) -> Tensor:
        way_out = "text labels need `classes: true`"
        target = torch.stack([self._numbers(column, way_out) for column in labels], dim=1)
        return target if isinstance(said, list) else target[:, 0]

    def _classes(self, labels: list[int]) -> list[Any]:
        if len(labels) > 1:
            raise DataError("`classes` needs one label, not several")
        cells = self.frame.iloc[:, labels[0]]
        if cells.isna().any():
            self._refuse(cells, int(cells.isna().to_numpy().argmax()), "a class")
        return sorted(cells.unique().tolist())

    def _class_numbers(self, label: int) -> Tensor:
        numbers = {name: number for number, name in enumerate(self.classes or [])}
        return torch.tensor([numbers[name] for name in self.frame.iloc[:, label].tolist()])

    def _split(
        self, share: float | None, seed: int, labels: list[int] | None
    ) -> tuple[list[int] | None, list[int]]:
        if share is None:
            return None, []
        kept, held = held_out(len(self.frame), share, seed, labels)
        if not kept:
            raise DataError(f"`validation: {share}` leaves no row of {self.place()} to train on")
        return kept, held

    def _refuse(self, cells: Series[Any], row: int, wanted: str, way_out: str = "") -> None:
        value = cells.iloc[[row]].tolist()[0]  # a Python value reads better than a NumPy one
        found = "is empty" if value != value or value is None else f"holds {value!r}"
        hint = f"; {way_out}" if isinstance(value, str) else ""
        column = f"column `{cells.name}`"
        raise DataError(f"{self.place(row)}, {column} {found}, not {wanted}{hint}")


def read(
    rows: list[list[float]] | None,
    csv: Path | None,
    parquet: Path | None,
    frame: DataFrame | None,
) -> tuple[DataFrame, Callable[..., str]]:
    """Return the table, and a function that names it, or the place of one of its rows."""
    import pandas as pd

    given = [source for source in (rows, csv, parquet, frame) if source is not None]
    if len(given) != 1:
        raise DataError("a table comes from one of `rows`, `csv`, `parquet` and `frame`")

    def place(row: int | None = None) -> str:
        if csv is not None:
            return str(csv) if row is None else f"{csv}:{line_of(csv, row)}"
        name = str(parquet) if parquet is not None else "the table"
        return name if row is None else f"{name}, row {row + 1}"

    if rows is not None:
        frame = pd.DataFrame(even(rows))
    elif csv is not None:
        frame = read_csv(csv)
    elif parquet is not None:
        frame = read_parquet(parquet)
    assert frame is not None
    if frame.empty:
        raise DataError(f"{place()} has no rows")
    return frame, place


def even(rows: list[list[float]]) -> list[list[float]]:
    """Return the rows, or say which of them is longer or shorter than the first."""
    for number, row in enumerate(rows, 1):
        if len(row) != len(rows[0]):
            raise DataError(
                f"row {number} of `rows` has {len(row)} values, the first has {len(rows[0])}"
            )
    return rows


def read_csv(path: Path) -> DataFrame:
    """Read a CSV file with a header line."""
    import pandas as pd

    try:
        with warnings.catch_warnings():  # pandas only warns of values that it drops
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(local(path), index_col=False)
    except pd.errors.ParserWarning:
        raise DataError(f"{path}: the rows have more values than the header has names") from None
    except pd.errors.EmptyDataError:
        raise DataError(f"{path} is empty") from None
    except pd.errors.ParserError as error:
        found = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", str(error))
        if not found:
            raise DataError(f"{path}: {error}") from None
        wanted, line, saw = found.groups()
        raise DataError(f"{path}:{line}: the row has {saw} values, the header {wanted}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from None
    check_names(path, [str(column) for column in frame.columns])
    return frame


def check_names(path: Path, names: list[str]) -> None:
    """Refuse a first line that has all names in one, or that is a row and has none."""
    for sign, called in ((";", "`;`"), ("\t", "tabs")):
        if len(names) == 1 and sign in names[0]:
            raise DataError(f"{path}: its values are separated by {called}, not by commas")
    numbered = [str(number) for number in range(len(names))]  # as pandas writes columns unnamed
    if names != numbered and all(re.fullmatch(r"-?\d*\.?\d+", name) for name in names):
        line = ",".join(names[:3])
        raise DataError(f"{path}:1: the first line should name the columns, it begins with {line}")


def line_of(path: Path, row: int) -> int:
    """Return the line on which a row of a CSV file ends; pandas passes over blank lines."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv_lines.reader(file)
        rows = (reader.line_num for values in reader if values)
        return next(islice(rows, row + 1, None))  # row 0 follows the names


def read_parquet(path: Path) -> DataFrame:
    """Read a parquet file; it needs the package pyarrow."""
    import pandas as pd

    try:
        return pd.read_parquet(local(path))
    except ImportError:
        raise DataError(f"{path}: reading parquet needs pyarrow: pip install pyarrow") from None
    except ValueError as error:  # pyarrow's own errors are ValueErrors
        raise DataError(f"{path} is no parquet file: {error}") from None


def local(path: Path) -> Path:
    """Return a path to an existing local file; pandas would fetch an address by itself."""
    if re.search(r"(^|/)\w{2,}:/", path.as_posix()):  # a path has lost one of the two slashes
        raise DataError(f"{path} is an address; a table is read from a local file only")
    if path.is_dir():
        raise DataError(f"{path} is a folder, not a file")
    if not path.is_file():
        files = [other.name for other in path.parent.glob("*")] if path.parent.is_dir() else []
        near = get_close_matches(path.name, files, 1)
        hint = f"; did you mean {path.parent / near[0]}?" if near else ""
        raise FileNotFoundError(f"there is no file {path}{hint}")
    return path
