"""Pickled NumPy files of others, read without running anything that they name.

`numpy.load(allow_pickle=True)` calls whatever a file asks for. Here it gets stand-ins: an array is its type, its shape
and its bytes, or a list; no code of NumPy or of any other module runs by its order.
"""

from __future__ import annotations

import io
import pickle  # noqa: TID251 - nothing that a file names is called
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from molex_adapt.errors import DataError
from molex_adapt.text import short

_TYPE = re.compile(r"([USibuf])(\d{1,9})")
"""Text, bytes and numbers."""


def load_pickled(path: Path) -> dict[str, Any]:
    """A dictionary that `numpy.save` wrote: from text to arrays, or lists, of text or numbers.

    Raises:
        DataError: it cannot be read, or holds or names anything else; the message says what.
    """
    try:
        file = io.BytesIO(path.read_bytes())  # so that no length that it states is believed
        version = npy.read_magic(file)
        header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, kind = header(file)
        if not kind.hasobject or shape != ():
            raise ValueError(f"an array of {kind} with the shape {shape}, not one object")
        return _real(_Reader(file).load())
    except _RefusedError as error:
        raise DataError(
            f"{path} names {short(error)}, which is not loaded: only dictionaries, lists, text, numbers and arrays of "
            "these are. It may be made to run something. Download it again from its publishers."
        ) from error
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror}). Check the path and its permissions."
        ) from error
    except Exception as error:  # a pickle can be broken in any way
        raise DataError(
            f"{path} is no dictionary from names to labels as numpy.save writes it ({short(error, 200)}). Download it "
            "again."
        ) from error


class _RefusedError(Exception):
    """A global that is not admitted."""


class _Reader(pickle._Unpickler):
    # The one in Python: that in C makes room up to whatever place of its memory a file names.
    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        # A new function at each call: a pickle can set attributes of what it is given.
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            return lambda *_: _Array()
        if (module, name) == ("numpy", "ndarray"):
            return lambda *_: _Array()
        if (module, name) == ("numpy", "dtype"):
            return lambda kind, *_: _Type(kind)
        if (module, name) == ("_codecs", "encode"):
            return lambda text, _: text.encode("latin1")
        raise _RefusedError(f"{module}.{name}")


class _Type:
    """A type of numbers, text or bytes; None stands for that of objects."""

    __slots__ = ("kind", "order")

    def __init__(self, kind: str) -> None:
        if not isinstance(kind, str):
            raise TypeError("a type that is no text")
        self.kind, self.order = kind, "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, order, parts, names, fields, *_ = state
        if (parts, names, fields) != (None, None, None):
            raise ValueError("an array of structures")
        self.order = "=" if order == "|" else order

    def real(self) -> np.dtype[Any] | None:
        if self.kind in ("O", "O8"):
            return None
        if not _TYPE.fullmatch(self.kind) or self.order not in ("<", ">", "="):
            raise ValueError(f"an array of the type {short(self.kind)}")
        return np.dtype(self.order + self.kind)


class _Array:
    """An array, which its state makes: NumPy's own, or a list of objects, or the one object of an array of none."""

    __slots__ = ("found",)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, by_column, held = state
        real = kind.real()
        if real is not None:
            self.found = np.frombuffer(held, real).reshape(shape, order="F" if by_column else "C")
        elif shape == (len(held),):
            self.found = held
        elif shape == () and len(held) == 1:
            self.found = held[0]
        else:
            raise ValueError("an array of objects with another shape than (), or than one of its length")


def _real(whole: Any) -> dict[str, Any]:
    """The dictionary with arrays in place of their stand-ins."""
    whole = whole.found if isinstance(whole, _Array) else whole
    if not isinstance(whole, dict) or not all(isinstance(name, str) for name in whole):
        raise ValueError(f"a {type(whole).__name__}, or one of other names than text")
    found = {name: item.found if isinstance(item, _Array) else item for name, item in whole.items()}
    for item in found.values():
        if isinstance(item, list):
            if not all(isinstance(value, str | bytes | int | float) for value in item):
                raise ValueError("a list of other things than text and numbers")
        elif not isinstance(item, np.ndarray):
            raise ValueError(f"a {type(item).__name__} for labels")
    return found
