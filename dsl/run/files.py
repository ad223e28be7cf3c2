"""A user's data file as the streams of a cell: a text, a CSV table, or NumPy arrays.

Every mistake in a file is a ValueError naming the file, the place and the fix. Knows what a system's streams look like,
nothing of models or training.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsl.run.data import Text, read_text
from dsl.system.system import Stream

Array = NDArray[Any]


def read_streams(
    path: str | Path, streams: Mapping[str, Stream], columns: Mapping[str, str]
) -> tuple[dict[str, Array], Text | None]:
    """Arrays by stream, and the Text when the file is one.

    path      `.npz`: arrays whose names are streams · `.csv`, or any file when `columns` is given: numbers under a
              header · anything else: a UTF-8 text for the one stream of categories
    streams   what the cell can be fed, by name
    columns   stream -> "open,close": which columns of the table it is made of, in this order
    """
    path = Path(path)
    if path.suffix == ".npz":
        return _arrays(path, streams), None
    if columns or path.suffix == ".csv":
        return _table(path, streams, columns), None
    text = Text(path)
    return {_symbols(path, streams): text.ids}, text


def _symbols(path: Path, streams: Mapping[str, Stream]) -> str:
    """The stream a text is for."""
    categories = [n for n, s in streams.items() if s.dtype == "category"]
    if len(streams) == 1 and categories:
        return categories[0]
    listed = ", ".join(streams) or "none"
    raise ValueError(
        f"{path} is a text, and a text feeds a cell whose one stream is one_hot; this cell reads {listed}. "
        f"Give a .npz with arrays of these names, or a table: --stream {next(iter(streams), 'x')}=COLUMN,COLUMN"
    )


def _arrays(path: Path, streams: Mapping[str, Stream]) -> dict[str, Array]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            found = {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise ValueError(f"there is no file {path}") from None
    except Exception as error:  # zipfile, zlib and numpy each have their own words for a broken archive
        raise ValueError(f"{path} is not a NumPy archive that can be read: {error}") from None
    for name in found:
        if name not in streams:
            raise ValueError(f"{path} has an array {name!r}; the cell reads {', '.join(streams) or 'nothing'}")
    for name in streams:
        if name not in found:
            raise ValueError(f"{path} has no array {name!r}, which the cell reads; it has {', '.join(found) or 'none'}")
    return found


def _table(path: Path, streams: Mapping[str, Stream], columns: Mapping[str, str]) -> dict[str, Array]:
    rows = _records(path)
    header, body = [cell.strip() for cell in rows[0]], rows[1:]
    for name in columns:
        if name not in streams:
            raise ValueError(
                f"--stream {name}=...: the cell has no such stream; it reads {', '.join(streams) or 'none'}"
            )
    for name in streams:
        if name not in columns:
            raise ValueError(f"which columns are {name}? --stream {name}=COLUMN; {path} has {', '.join(header)}")
    return {name: _columns(path, header, body, name, columns[name], streams[name]) for name in columns}


def _records(path: Path) -> list[list[str]]:
    """The rows of a CSV file as they stand there."""
    try:
        return list(csv.reader(io.StringIO(read_text(path))))
    except csv.Error as error:
        raise ValueError(f"{path} is no CSV table: {error}; is a quotation mark left open?") from None


def _columns(path: Path, header: list[str], body: list[list[str]], name: str, wanted: str, stream: Stream) -> Array:
    columns = [part.strip() for part in wanted.split(",")]
    for column in columns:
        if column not in header:
            raise ValueError(f"{path} has no column {column!r} for {name}; it has {', '.join(header)}")
    values = _numbers(path, header, body, columns, stream.dtype == "category")
    is_scalar = stream.dtype == "category" or not stream.shape
    return values[:, 0] if is_scalar and len(columns) == 1 else values


def _numbers(path: Path, header: list[str], body: list[list[str]], columns: list[str], whole: bool = False) -> Array:
    """The cells of columns, (rows, columns): integers when `whole`."""
    read = int if whole else float
    places = [header.index(column) for column in columns]
    values = np.empty((len(body), len(places)), np.int64 if whole else np.float64)
    for row, cells in enumerate(body):
        for at, place in enumerate(places):
            try:
                values[row, at] = read(cells[place])
            except (ValueError, IndexError):
                given = repr(cells[place]) if place < len(cells) else "nothing"
                raise ValueError(f"{path}:{row + 2}: column {header[place]} holds {given}, not a number") from None
    return values


def read_columns(path: str | Path, wanted: str | None = None, *, least: int = 1) -> tuple[list[str], Array]:
    """Columns of a CSV table with a header as a series: their names and numbers (T, columns).

    wanted   "open,close"; without it, all whose first row holds a number
    least    rows that are needed

    Errors: ValueError for a file that cannot be read or is empty, a header of numbers, a column that is not there or
    there twice, a cell that is no finite number, and too few rows.
    """
    path = Path(path)
    rows = _records(path)
    while rows and not any(cell.strip() for cell in rows[-1]):
        rows.pop()
    if not rows:
        raise ValueError(f"{path} is empty: nothing to learn from")
    header, body = [cell.strip() for cell in rows[0]], rows[1:]
    if all(_is_number(cell) for cell in header):
        raise ValueError(f"{path} begins with numbers; its first line has to name the columns")
    if len(body) < least:
        raise ValueError(f"{path} has {len(body)} rows below its header; {least} are needed")
    if wanted is None:
        columns = [name for name, cell in zip(header, body[0] if body else [], strict=False) if _is_number(cell)]
        if not columns:
            hint = "; are its columns separated by commas?" if len(header) == 1 else ""
            raise ValueError(f"{path} has no column of numbers; it has {', '.join(header)}{hint}")
    else:
        columns = [part.strip() for part in wanted.split(",")]
        for column in columns:
            if column not in header:
                raise ValueError(f"{path} has no column {column!r}; it has {', '.join(header)}")
    for column in columns:
        if header.count(column) > 1:
            raise ValueError(f"{path} has two columns {column!r}")
        if columns.count(column) > 1:
            raise ValueError(f"column {column!r} is asked for twice")
    values = _numbers(path, header, body, columns)
    if not np.isfinite(values).all():
        row, at = np.argwhere(~np.isfinite(values))[0]
        raise ValueError(f"{path}:{row + 2}: column {columns[at]} holds {values[row, at]}, not a finite number")
    return columns, values


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
