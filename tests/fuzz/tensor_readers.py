"""Readers of tensors: the files, what is in them, and the checkpoints of training."""

from __future__ import annotations

import io
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

from molex_adapt.data.pickled import load_pickled
from molex_adapt.errors import ExpertError, RegistryError
from molex_adapt.registry import checks, files
from molex_adapt.registry.checkpoints import RunFolder
from tests.fuzz.reader import Reader, of_file
from tests.fuzz.record_readers import content_of
from tests.fuzz.samples import EXEMPLARS, ROUTER, ROUTING, WEIGHTS, expert
from tests.fuzz.strategies import LENGTHS, TOKENS, as_json, damaged, values

KINDS = [
    "F64",
    "F32",
    "F16",
    "BF16",
    "I64",
    "I32",
    "I16",
    "I8",
    "U8",
    "BOOL",
    "F8_E4M3",
    "C64",
    "X9",
    "",
    "f32",
]


def _header() -> st.SearchStrategy[bytes]:
    number = st.one_of(st.sampled_from([*LENGTHS, -1, 2**100, 1.5, "1", None, True]), st.integers(0, 64))
    view = st.fixed_dictionaries(
        {},
        optional={
            "dtype": st.one_of(st.sampled_from(KINDS), values()),
            "shape": st.one_of(st.lists(number, max_size=5), values()),
            "data_offsets": st.one_of(st.lists(number, min_size=2, max_size=3), values()),
            "more": values(),
        },
    )
    sane = st.builds(
        lambda kind, shape: {"dtype": kind, "shape": shape, "data_offsets": [0, int(np.prod(shape)) * 4]},
        st.sampled_from(["F32", "I32", "F16"]),
        st.lists(st.integers(0, 4), max_size=3),
    )
    name = st.one_of(
        st.sampled_from(["w", "blocks.0.rows", "__metadata__", "", *TOKENS]), st.text(max_size=6)
    )
    entries = st.lists(st.tuples(name, st.one_of(view, sane, values())), max_size=4)
    length = st.one_of(st.none(), st.sampled_from(LENGTHS), st.integers(0, 300))
    return st.builds(_tensor_file, entries, st.binary(max_size=64), length)


def _tensor_file(entries: list[tuple[str, Any]], data: bytes, length: int | None) -> bytes:
    # Names may come twice, which a dictionary could not say.
    body = b"{" + b",".join(as_json(name) + b":" + as_json(view) for name, view in entries) + b"}"
    return struct.pack("<Q", len(body) if length is None else length) + body + data


def tensors(folder: Path) -> Reader:
    """Files of tensors."""
    valid = [files.dump_tensors(item) for item in (WEIGHTS, EXEMPLARS, ROUTER, ROUTING)]
    inputs = st.one_of(damaged(valid), _header())
    return of_file(folder, "w.safetensors", inputs, lambda path: files.read_tensors(path, path.parent))


def labels(folder: Path) -> Reader:
    """Pickled labels of segments."""
    seeds = []
    for held in (np.array(["0", "1"]), np.array([1, 0]), ["1", "0"], np.array(["1", "1"], dtype=object)):
        file = io.BytesIO()
        np.save(file, {"CON_T_0000000": held, "LA_T_1138215": held})  # type: ignore[arg-type]
        seeds.append(file.getvalue())
    return of_file(folder, "train_seglab_0.01.npy", damaged(seeds), load_pickled)


def _arrays() -> st.SearchStrategy[dict[str, Any]]:
    kind = st.sampled_from(["f8", "f4", "f2", "i8", "i4", "u1", "?"])
    extreme = st.sampled_from([0, 1, -1, 2, 2**31 - 1, -(2**63), 2**63 - 1, np.nan, np.inf, 65504.0])
    shape = st.lists(st.integers(0, 5), max_size=4).map(tuple)
    array = st.builds(_filled, kind, shape, st.lists(extreme, min_size=1, max_size=4))
    name = st.sampled_from(
        [*EXEMPLARS, *ROUTER, *ROUTING, *WEIGHTS, "blocks.1.rows", "reads", "replay", "", "x.y"]
    )
    change = st.tuples(name, st.one_of(st.none(), array))
    whole = st.sampled_from([EXEMPLARS, ROUTER, ROUTING, WEIGHTS])
    return st.builds(_with, whole, st.lists(change, max_size=4))


def _filled(kind: str, shape: tuple[int, ...], numbers: list[Any]) -> Any:
    with np.errstate(all="ignore"):
        if kind[0] in "iu?":
            numbers = [0 if isinstance(item, float) else item for item in numbers]
            repeated = np.resize(np.array(numbers, dtype=object), shape)
            return (
                np.array(
                    [int(item) & 0xFF if kind == "u1" else int(item) for item in repeated.flat], dtype=object
                )
                .astype("i8")
                .astype(kind)
                .reshape(shape)
            )
        return np.resize(np.array(numbers, dtype=np.float64), shape).astype(kind)


def _with(whole: dict[str, Any], changes: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(whole)
    for name, array in changes:
        if array is None:
            made.pop(name, None)
        else:
            made[name] = array
    return made


def _remembered(arrays: dict[str, Any]) -> None:
    from molex_adapt.registry.exemplars import arrays_to_remembered

    checks.check_routing(arrays, "routing")
    found = arrays_to_remembered(arrays)
    for each in found.read_by(found.centre, found.spread).classes:
        assert each.draw(2, torch.Generator()).shape == (2, *found.centre.shape)


def contents(folder: Path) -> Reader:
    """Tensors under the names that are expected."""
    from molex_adapt.registry.exemplars import arrays_to_features

    record = expert().record

    def use(arrays: dict[str, Any]) -> None:
        checked = 0
        for check in (
            lambda: checks.check_exemplars(arrays, "exemplars"),
            lambda: checks.check_router(arrays, 1, "router"),
            lambda: checks.check_expert(record, arrays, "weights"),
            lambda: checks.check_head(arrays, "head"),
            lambda: _remembered(arrays),
        ):
            try:
                check()
                checked += 1
            except (ExpertError, RegistryError):
                continue
        checks.check_exemplars(arrays, "exemplars")
        for part in ("replay", "check"):
            found = arrays_to_features(arrays, part, ["A07"])
            if found is not None:
                assert len(found.clips) == len(found.bona_fide) == len(found.sources) == len(found.attacks)

    return Reader(_arrays(), lambda _: None, use)


def checkpoint(folder: Path) -> Reader:
    """A run's folder as another user of the machine may have left it."""
    origin = {"command": "add-expert", "seed": "0"}
    (folder / "registry").mkdir()
    with RunFolder.claim(folder / "registry", origin, resume=False) as run:
        run.write("expert", {"trained.0": np.ones(3, np.float32)}, {"standing": {"step": 1}, "rates": [0.1]})
        valid = {path.name: path.read_bytes() for path in run.folder.iterdir() if path.name != ".lock"}
    inputs = st.one_of(
        *(st.tuples(st.just(name), content_of(name, content)) for name, content in sorted(valid.items())),
    )

    def place(given: tuple[str, bytes]) -> None:
        for name, content in valid.items():
            (run.folder / name).write_bytes(content)
        (run.folder / given[0]).write_bytes(given[1])

    def use(_: object) -> None:
        with RunFolder.claim(folder / "registry", origin, resume=True) as again:
            again.read("expert")
        with suppress(RegistryError):
            RunFolder.claim(folder / "registry", origin | {"seed": "1"}, resume=True).finish()

    return Reader(inputs, place, use)
