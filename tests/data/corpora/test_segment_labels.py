"""PartialSpoof's labels of segments become stretches; pickles that ask for more are refused, and nothing runs."""

from __future__ import annotations

import io
import os
import pickle  # noqa: TID251 - writes what is refused
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from molex_adapt.data import read, write_manifest
from molex_adapt.data.pickled import load_pickled
from molex_adapt.errors import DataError
from tests.data.corpora.trees import write_labels

NAME = "CON_T_0000000"


@pytest.fixture
def root(tree) -> Path:
    return tree("PartialSpoof")


def saved(path: Path, pickled: bytes) -> Path:
    """A pickle behind the header that `numpy.save` writes before one."""
    file = io.BytesIO()
    np.save(file, {})  # type: ignore[arg-type]
    head = file.getvalue()
    path.write_bytes(head[: head.index(b"\n") + 1] + pickled)
    return path


def test_forged_stretches_come_from_the_finest_labels_and_go_through_a_manifest(root, tmp_path):
    table = read(root)
    assert [item.forged for item in table] == [((0.02, 0.04), (0.06, 0.09)), None] * 3
    assert table.remarks == ()
    for suffix in (".csv", ".parquet"):
        write_manifest(table, tmp_path / f"list{suffix}")
        again = read(tmp_path / f"list{suffix}")
        assert [item.forged for item in again] == [item.forged for item in table]
    assert "0.020-0.040 0.060-0.090" in (tmp_path / "list.csv").read_text()
    for path in root.rglob("*_0.01.npy"):
        path.unlink()
    assert [item.forged for item in read(f"{root}#train,dev")] == [((0.0, 0.16),), None] * 2


def test_one_protocol_alone_finds_its_labels_wherever_its_audio_is(root):
    protocol = next(root.rglob("PartialSpoof.LA.cm.dev.trl.txt"))
    assert read(protocol)[0].forged == ((0.02, 0.04), (0.06, 0.09))
    assert read(root / "database/dev/con_wav", key=protocol)[0].forged == ((0.02, 0.04), (0.06, 0.09))


def test_labels_that_are_missing_or_contradict_are_counted(root):
    write_labels(root / "database", "train", 0.01, {NAME: "111"})
    (root / "database/segment_labels/dev_seglab_0.01.npy").unlink()
    (root / "database/segment_labels/dev_seglab_0.16.npy").unlink()
    table = read(root)
    assert [item.forged for item in table.select(split="train")] == [None, None]
    assert [item.forged for item in table.select(split="dev")] == [None, None]
    told = "\n".join(table.remarks)
    assert "labels in train_seglab_0.01.npy contradict the protocol: 1" in told
    assert "recordings that train_seglab_0.01.npy does not have: 1" in told
    assert "no labels of segments (segment_labels/dev_seglab_*.npy)" in told


@pytest.mark.parametrize(
    "values",
    [
        np.array([1, 1, 0, 0]),
        np.array([b"1", b"1", b"0", b"0"]),
        np.array(["1", "1", "0", "0"], dtype=object),
        np.array(["1", "1", "0", "0"], dtype=">U3"),
        ["1", "1", "0", "0"],
    ],
)
@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_other_forms_of_the_same_labels(root, values, protocol):
    whole = np.empty((), dtype=object)
    whole[()] = {NAME: values, "LA_T_1138215": values[:2]}
    path = root / "database/segment_labels/train_seglab_0.01.npy"
    saved(path, pickle.dumps(whole, protocol=protocol))
    assert [item.forged for item in read(f"{root}#train")] == [((0.02, 0.04),), None]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({NAME: np.array(["2", "0"])}, "are not 0 .spoofed. and 1"),
        ({NAME: np.array([["1", "0"]])}, "labels of CON_T_0000000 are not 0"),
        ({NAME: np.array([0.5])}, "are not 0"),
        ({NAME: np.array([b"\xff", b"0"])}, "are not 0"),
        ({1: np.array(["0"])}, "a dict, or one of other names than text"),
        ({NAME: {"a": 1}}, "a dict for labels"),
        ({NAME: [["0"]]}, "a list of other things"),
        (["0", "1"], "a list, or one of other"),
    ],
)
def test_other_labels_are_refused(root, labels, message):
    path = root / "database/segment_labels/train_seglab_0.01.npy"
    whole = np.empty((), dtype=object)
    whole[()] = labels
    np.save(path, whole)
    with pytest.raises(DataError, match=rf"train_seglab_0.01.npy.*{message}"):
        read(root)


class _Calls:
    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> Any:
        return self.call[0], tuple(self.call[1:])


HOSTILE = {
    "posix.mkdir": pickle.dumps({NAME: _Calls(os.mkdir, "made")}),
    "builtins.eval": pickle.dumps(_Calls(eval, "__import__('os').mkdir('made')")),
    "collections.OrderedDict": pickle.dumps(OrderedDict(a=1)),
    "numpy.load": b"cnumpy\nload\n(S'made'\ntR.",
    "numpy.core.multiarray.fromfile": b"cnumpy.core.multiarray\nfromfile\n(S'made'\ntR.",
    "numpy.dtype.__init__": b"\x80\x04\x8c\x05numpy\x8c\x0edtype.__init__\x93.",
    "_codecs.lookup": b"c_codecs\nlookup\n(S'utf8'\ntR.",
    "copy_reg._reconstructor": b"ccopy_reg\n_reconstructor\n.",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_pickle_that_names_anything_else_is_refused_and_does_not_run(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    path = saved(tmp_path / "train_seglab_0.01.npy", HOSTILE[name])
    with pytest.raises(DataError, match=rf"train_seglab_0.01.npy names {name}, which is not loaded"):
        load_pickled(path)
    assert not (tmp_path / "made").exists()


def test_broken_pickles_and_arrays_of_structures_are_refused(tmp_path):
    structures = np.empty((), dtype=object)
    structures[()] = np.zeros(2, dtype=[("a", "O"), ("b", "i4")])
    good = pickle.dumps({NAME: np.array(["0"])})
    broken = [
        b"",
        good[:-30],
        pickle.dumps(structures),
        b"\x80\x04" + b"(" * 40,
        b"\x80\x04cnumpy\nndarray\n)R}b.",  # an array whose state is a dictionary
        b"\x80\x04cnumpy\nndarray\n}b.",  # attributes for what makes arrays
        good.replace(b"U1", b"V1"),
        b"\x80\x04Nr\xff\xff\xff\xffJ0.",  # remembers nothing, at a place that would take 32 GiB
    ]
    for number, pickled in enumerate(broken):
        with pytest.raises(DataError, match="is no dictionary from names to labels"):
            load_pickled(saved(tmp_path / f"{number}.npy", pickled))
    np.save(tmp_path / "plain.npy", np.zeros(3))
    with pytest.raises(DataError, match="an array of float64 with the shape"):
        load_pickled(tmp_path / "plain.npy")
    with pytest.raises(DataError, match="cannot be read"):
        load_pickled(tmp_path)
