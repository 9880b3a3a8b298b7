"""Reading the registry's files without trusting them: no links, no surprises in YAML or safetensors."""

from __future__ import annotations

import json
import re
import stat
import struct
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from pydantic import TypeAdapter, ValidationError

from molex_adapt.digest import sha256
from molex_adapt.errors import RegistryError
from molex_adapt.plain import dump_yaml, load_json, load_yaml
from molex_adapt.registry.records import FORMAT, ExpertSummary, Record
from molex_adapt.text import short, shown
from molex_adapt.version import __version__

if TYPE_CHECKING:
    from numpy.typing import NDArray

Arrays: TypeAlias = "dict[str, NDArray[Any]]"
"""Tensors of a safetensors file by name. Numpy comes with the first of them: records are read without it."""

R = TypeVar("R", bound=Record)

_MOST_YAML_BYTES = 16 * 2**20
_MOST_HEADER_BYTES = 16 * 2**20
_NUMPY_TYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "U8": "|u1",
    "BOOL": "|b1",
}
RESTORE = "Run molex-adapt verify, then restore the file from a copy or roll back to a whole generation."


class NewerError(RegistryError):
    """A record of a newer version of molex-adapt than this one."""


def read_bytes(path: Path, root: Path, most: int | None = None) -> bytes:
    """A regular file inside `root`, at most so large, reached through no symbolic link; else RegistryError."""
    require_plain(path, root)
    try:
        if most is not None and path.stat().st_size > most:
            raise RegistryError(
                f"{path} has {path.stat().st_size} bytes; at most {most} are believable there. {RESTORE}"
            )
        return path.read_bytes()
    except OSError as error:
        raise RegistryError(f"{path} cannot be read: {error.strerror}. {RESTORE}") from None


def require_plain(path: Path, root: Path) -> None:
    """Refuse a missing file, and a link or special file anywhere between `root` and `path`."""
    part = root
    for name in path.relative_to(root).parts:
        part = part / name
        try:
            mode = part.lstat().st_mode
        except OSError as error:
            raise RegistryError(
                f"{path} is missing or unreachable ({error.strerror} at {part}); the registry names it. {RESTORE}"
            ) from None
        if stat.S_ISLNK(mode):
            raise RegistryError(
                f"{part} is a symbolic link; a registry holds its own files. Replace it by what it points to."
            )
    if not stat.S_ISREG(mode):
        raise RegistryError(f"{path} is not a regular file. {RESTORE}")


def read_record(kind: type[R], path: Path, root: Path) -> R:
    """One YAML file, validated; RegistryError for another format version, unknown keys or wrong values."""
    return parse_record(kind, read_bytes(path, root, _MOST_YAML_BYTES), path)


def parse_record(kind: type[R], content: bytes, path: Path) -> R:
    """`read_record` of bytes; `path` names them in messages."""
    return validate_record(kind, parse_yaml(content, path), path)


def validate_record(kind: type[R], content: dict[str, Any], path: Path) -> R:
    """`read_record` of what YAML held."""
    if "format" in kind.model_fields and content.get("format") != FORMAT:
        raise RegistryError(
            f"{path} has format {shown(content.get('format'), 40)}; this version of molex-adapt reads format {FORMAT}. "
            "Install the release that wrote it, or start a new registry with molex-adapt init."
        )
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        newer = _newer(content)
        if newer is not None and any(fault["type"] == "extra_forbidden" for fault in error.errors()):
            unknown = next(fault for fault in error.errors() if fault["type"] == "extra_forbidden")
            raise NewerError(
                f"{path} was written by molex-adapt {newer} and holds {_place(unknown['loc'])}, which this one "
                f"({__version__}) does not know. Take a newer one: pip install --upgrade molex-adapt"
            ) from None
        faults = [
            f"  {_place(fault['loc'])} = {short(fault['input'])}: {short(fault['msg'], 300)}"
            for fault in error.errors()[:10]
        ]
        raise RegistryError(
            f"{path} has {error.error_count()} wrong value(s):\n" + "\n".join(faults) + f"\n{RESTORE}"
        ) from None


def _newer(content: dict[str, Any]) -> str | None:
    """The version of molex-adapt that a record says it was written by, where that is newer than this one."""
    for part in (content, content.get("expert"), content.get("generation")):
        versions = part.get("versions") if isinstance(part, dict) else None
        said = versions.get("molex-adapt") if isinstance(versions, dict) else None
        if isinstance(said, str) and _ordered(said) > _ordered(__version__):
            return short(said, 40)
    return None


def _ordered(version: str) -> tuple[int, ...]:
    """Of 1.2.3 the three numbers; of what is none, nothing, which is older than everything."""
    found = re.match(r"\d{1,6}(\.\d{1,6}){0,3}", version)
    return tuple(map(int, found[0].split("."))) if found else ()


def parse_summaries(content: bytes, path: Path) -> list[ExpertSummary]:
    """A generation's experts.json; else RegistryError."""
    try:
        return _summaries().validate_json(content)
    except ValidationError as error:
        raise RegistryError(f"{path} is no list of experts: {error.errors()[0]['msg']}. {RESTORE}") from None


@cache
def _summaries() -> TypeAdapter[list[ExpertSummary]]:
    return TypeAdapter(list[ExpertSummary])


def parse_yaml(content: bytes, path: Path) -> dict[str, Any]:
    """A mapping of plain YAML, see `load_yaml`; else RegistryError."""
    return _parse(content, path, load_yaml, "YAML")


def parse_json(content: bytes, path: Path) -> dict[str, Any]:
    """A JSON object, see `load_json`; else RegistryError."""
    return _parse(content, path, load_json, "JSON")


def _parse(content: bytes, path: Path, load: Callable[[str], Any], kind: str) -> dict[str, Any]:
    try:
        found = load(content.decode("utf-8"))
    except ValueError as error:
        raise RegistryError(f"{path} is not plain {kind}: {short(error, 300)}. {RESTORE}") from None
    if not isinstance(found, dict):
        raise RegistryError(f"{path} holds {type(found).__name__}; a mapping of keys is expected. {RESTORE}")
    return found


def _place(location: tuple[Any, ...]) -> str:
    return ".".join(shown(part).strip("'") for part in location) or "(file)"


def dump_record(record: Record) -> bytes:
    """YAML in the order of the fields, for people to read."""
    content = json.loads(record.model_dump_json())  # a copy of everything: YAML would mark what is shared
    return dump_yaml(content, width=100).encode()


def parse_tensors(content: bytes, path: Path) -> Arrays:
    """Tensors of a safetensors file, bfloat16 as float32; RegistryError where it is damaged or of other types."""
    from safetensors import SafetensorError, deserialize

    _check_header(content, path)
    try:
        return {name: _array(name, view, path) for name, view in deserialize(content)}  # type: ignore[no-untyped-call]
    except (SafetensorError, ValueError, OverflowError) as error:
        raise RegistryError(
            f"{path} is not a whole safetensors file: {short(error, 300)}. {RESTORE}"
        ) from None


def read_tensors(path: Path, root: Path) -> Arrays:
    """`parse_tensors` of a file inside `root`."""
    return parse_tensors(read_bytes(path, root), path)


def dump_tensors(arrays: Arrays) -> bytes:
    """A safetensors file; little-endian, in the arrays' own precision."""
    import numpy as np
    from safetensors.numpy import save

    whole = {name: np.array(array, order="C", copy=True) for name, array in arrays.items()}
    return bytes(save(whole, metadata={"format": "pt"}))


def _check_header(content: bytes, path: Path) -> None:
    length = struct.unpack("<Q", content[:8])[0] if len(content) >= 8 else 0
    if not 2 <= length <= min(len(content) - 8, _MOST_HEADER_BYTES):
        raise RegistryError(
            f"{path} is not a safetensors file: it has {len(content)} bytes and claims a header of {length}. {RESTORE}"
        )
    try:
        load_json(content[8 : 8 + length])
    except ValueError as error:
        raise RegistryError(f"{path} has a broken safetensors header: {error}. {RESTORE}") from None


def _array(name: str, view: Any, path: Path) -> NDArray[Any]:
    import numpy as np

    kind, shape = view["dtype"], view["shape"]
    if kind == "BF16":
        wide = np.frombuffer(view["data"], "<u2").astype("<u4") << 16
        return wide.view("<f4").reshape(shape)
    if kind not in _NUMPY_TYPES:
        raise RegistryError(
            f"{path}: {name!r} has number type {kind}; the registry uses {', '.join(_NUMPY_TYPES)}. {RESTORE}"
        )
    return np.frombuffer(view["data"], _NUMPY_TYPES[kind]).reshape(shape)


def parse_hashed(content: bytes, digest: str, path: Path) -> Arrays:
    """Tensors of a file that has not changed since it was written; errors as `require_digest` and `parse_tensors`."""
    require_digest(content, digest, path)
    return parse_tensors(content, path)


def require_digest(content: bytes, expected: str, path: Path) -> None:
    """Refuse, by a RegistryError, content that changed since it was written."""
    found = sha256(content)
    if found != expected:
        raise RegistryError(
            f"{path} has sha256 {found[:12]}…, but {expected[:12]}… was recorded when it was written: it changed. "
            f"{RESTORE}"
        )
