"""Lists of a corpus as delimited text with a heading."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from molex_adapt.data.corpora.corpus import PartListing
from molex_adapt.data.formats import read_text


def starts_with(path: Path, columns: Sequence[str], delimiter: str = ",") -> bool:
    """Whether a file is there whose first line begins with these columns."""
    try:
        with path.open("rb") as file:
            first = file.readline(4096).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError, ValueError):
        return False
    named = [name.strip().strip('"').casefold() for name in first.split(delimiter)]
    return named[: len(columns)] == list(columns)


def rows_of(
    path: Path, columns: Sequence[str], listing: PartListing, delimiter: str = ","
) -> Iterator[tuple[int, Mapping[str, str]]]:
    """The rows below the heading by column, with the line of each; those of another width are faults of the listing.

    Between bars, quotation marks mean nothing and rows may have any width: the sentences that MLAAD lists hold single
    marks, and what else a text may hold. What is not there is empty.

    Raises:
        DataError: it cannot be read.
    """
    text = io.StringIO(read_text(path), newline="")
    if delimiter == "|":
        reader = csv.reader(text, delimiter=delimiter, quoting=csv.QUOTE_NONE)
    else:
        reader = csv.reader(text, delimiter=delimiter)
    names: list[str] = []
    try:
        for fields in reader:
            if not any(field.strip() for field in fields):
                continue
            if not names:
                names = [name.strip().casefold() for name in fields]
            elif delimiter == "|":
                yield reader.line_num, dict.fromkeys(columns, "") | dict(zip(names, fields, strict=False))
            elif len(fields) != len(names):
                listing.fault(
                    reader.line_num,
                    "line",
                    f"{len(fields)} columns; expected the {len(names)} of the heading, {delimiter.join(names)}",
                )
            else:
                yield reader.line_num, dict(zip(names, fields, strict=True))
    except csv.Error as error:
        listing.fault(reader.line_num, "line", f"{error}; expected delimited text")
