"""Manifest files as plain rows: CSV, TSV, JSON Lines and Parquet, in the variants that common programs write."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from molex_adapt.errors import DataError
from molex_adapt.plain import load_json
from molex_adapt.text import short, shown

Row = tuple[int, Mapping[str, Any]]
"""A row's place in its file (a line or, in Parquet, a row number, from 1) and its fields."""

FORMATS = (".csv", ".tsv", ".jsonl", ".parquet")


ABSENT = frozenset(("", "-", "na", "nan", "nat", "n/a", "#n/a", "<na>"))
"""How programs write a cell that is not there. "none" and "null" are names here, of no condition and of the control."""


def cell(value: Any) -> str | None:
    """What stands in a cell, as text; None for one that is not there, in whatever way that is written."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # a column of whole numbers of which some are missing is one of floats
    word = "" if value is None else str(value).strip()
    return None if word.casefold() in ABSENT else word


def read_rows(path: Path) -> tuple[list[str], Iterator[Row]]:
    """The columns of a manifest and its rows, by the file's suffix; JSON Lines may vary in their keys.

    Raises:
        DataError: unknown suffix, not text, a broken line (named by its number), a row of another width.
    """
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return _read_parquet(path)
    if suffix == ".jsonl":
        return _read_json_lines(path)
    if suffix in (".csv", ".tsv"):
        return _read_delimited(path)
    raise DataError(
        f"{path}: '{suffix}' is no manifest format. Expected {', '.join(FORMATS)}. Rename or convert it."
    )


def write_rows(path: Path, columns: list[str], rows: Iterable[list[Any]]) -> None:
    """Write rows in the format of `path`'s suffix; None is an empty field, or null."""
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        _write_parquet(path, columns, rows)
    elif suffix == ".jsonl":
        kept = (
            {name: value for name, value in zip(columns, row, strict=True) if value is not None}
            for row in rows
        )
        with path.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in kept)
    elif suffix in (".csv", ".tsv"):
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, delimiter="\t" if suffix == ".tsv" else ",", lineterminator="\n")
            writer.writerow(columns)
            writer.writerows(rows)
    else:
        raise DataError(
            f"{path}: '{suffix}' is no manifest format. Expected {', '.join(FORMATS)}. Choose one."
        )


def has_parquet() -> bool:
    """Whether Parquet can be written here."""
    from importlib.util import find_spec

    return find_spec("pyarrow") is not None


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, or in UTF-16 with a byte-order mark as spreadsheets write it.

    Raises:
        DataError: unreadable, or in another encoding; the line of the first wrong byte is named.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror}). Check the path and its permissions."
        ) from error
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}, line {line}: byte 0x{data[error.start]:02x} is not {encoding.removesuffix('-sig').upper()} text. "
            "Expected a text file in UTF-8. Save it as UTF-8 (iconv -f latin1 -t utf-8 IN > OUT)."
        ) from error


def _read_delimited(path: Path) -> tuple[list[str], Iterator[Row]]:
    text = read_text(path)
    first = text.lstrip("\r\n").partition("\n")[0]
    fallback = "\t" if path.suffix.lower() == ".tsv" else ","
    delimiter = fallback if fallback in first else max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    lines = _non_empty(path, reader)
    columns = next(lines, (0, []))[1]
    return columns, _as_rows(path, columns, lines)


def _non_empty(path: Path, reader: Any) -> Iterator[tuple[int, list[str]]]:
    try:
        for fields in reader:
            if any(field.strip() for field in fields):
                yield reader.line_num, fields
    except csv.Error as error:
        raise DataError(
            f"{path}, line {reader.line_num}: {error}. Expected delimited text with balanced quotes. Mend that line."
        ) from error


def _as_rows(path: Path, columns: list[str], lines: Iterator[tuple[int, list[str]]]) -> Iterator[Row]:
    for number, fields in lines:
        if len(fields) < len(columns) or any(field.strip() for field in fields[len(columns) :]):
            raise DataError(
                f"{path}, line {number}: {len(fields)} fields, but the header has {len(columns)} "
                f"({short(', '.join(columns), 400)}). Every row needs as many fields as the header. Mend that line; "
                "quote fields that hold the delimiter."
            )
        yield number, dict(zip(columns, fields, strict=False))


def _read_json_lines(path: Path) -> tuple[list[str], Iterator[Row]]:
    rows: list[Row] = []
    columns: dict[str, None] = {}
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = load_json(line)
            fault = None if isinstance(row, dict) else f"a {type(row).__name__}, not an object"
        except ValueError as error:
            fault = f"not JSON ({error}): {shown(line.strip(), 60)}"
        if fault is not None:
            raise DataError(
                f"{path}, line {number}: {fault}. Expected one object a line, e.g. "
                '{"path": "a.wav", "label": "bonafide"}. Mend that line.'
            )
        columns.update(dict.fromkeys(row))
        rows.append((number, row))
    return list(columns), iter(rows)


def _read_parquet(path: Path) -> tuple[list[str], Iterator[Row]]:
    pyarrow = _load_pyarrow(path)
    try:
        file = pyarrow.parquet.ParquetFile(path)
        columns = list(file.schema_arrow.names)
        flat = [name for name in columns if not pyarrow.types.is_nested(file.schema_arrow.field(name).type)]
        rows = file.read(columns=flat).to_pylist()
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError, TypeError, KeyError) as error:
        raise DataError(
            f"{path} is not a whole Parquet file ({short(str(error), 200)}). Expected one with the columns path and "
            "label. Write it again, or use CSV."
        ) from error
    return flat, iter(list(enumerate(rows, 1)))


def _write_parquet(path: Path, columns: list[str], rows: Iterable[list[Any]]) -> None:
    pyarrow = _load_pyarrow(path)
    filled = list(rows)
    table = pyarrow.table({name: [row[i] for row in filled] for i, name in enumerate(columns)})
    with path.open("wb") as file:  # pyarrow takes no path that is not UTF-8
        pyarrow.parquet.write_table(table, file)


def _load_pyarrow(path: Path) -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise DataError(
            f"{path} needs pyarrow, which is not installed. Install it (pip install pyarrow), or write the manifest as "
            "CSV."
        ) from error
    return pyarrow
