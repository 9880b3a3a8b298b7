"""Data sets in the form that the Hub has, read through `datasets` from a folder; nothing is downloaded."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet as parquet
import pytest
import soundfile

from molex_adapt.data import assign_splits, audit, hub_set, read
from molex_adapt.data.hub_set import HubReference, hub_reference
from molex_adapt.errors import DataError

datasets = pytest.importorskip("datasets")


def sound(seed: int) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, np.random.default_rng(seed).normal(0, 0.1, 16_000), 16_000, format="FLAC")
    return out.getvalue()


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    return tmp_path / "cache"


def shard(folder: Path, split: str, labels: list, feature: object, **more: tuple[list, object]) -> None:
    """One Parquet file as `push_to_hub` writes it."""
    rows = [
        {"bytes": sound(len(split) * 100 + at), "path": f"{split}_{at}.flac"} for at in range(len(labels))
    ]
    columns = {"audio": rows, "label": labels} | {name: values for name, (values, _) in more.items()}
    features = {"audio": datasets.Audio(16_000), "label": feature} | {
        name: kind for name, (_, kind) in more.items()
    }
    schema = datasets.Features(features).arrow_schema  # `datasets` itself encodes with torchcodec alone
    (folder / "data").mkdir(parents=True, exist_ok=True)
    parquet.write_table(
        pyarrow.table(columns, schema=schema), folder / "data" / f"{split}-00000-of-00001.parquet"
    )


@pytest.fixture
def folder(tmp_path, cache) -> Path:
    """Class 0 is spoof here: names decide, not numbers."""
    root = tmp_path / "hub"
    words = datasets.ClassLabel(names=["spoof", "bona-fide"])
    text = datasets.Value("string")
    for split in ("train", "validation", "test"):
        attacks = (["A07", "A08", "", ""], text)
        shard(root, split, [0, 0, 1, 1], words, system_id=attacks, speaker_id=(list("abcd"), text))
    return root


def test_names_of_classes_decide_and_audio_is_read_by_our_own_reader(folder, cache):
    table = read(folder)
    assert [(i.label, i.attack, i.speaker, i.source, i.split) for i in table][:3] == [
        ("spoof", "A07", "a", "train/train_0", "train"),
        ("spoof", "A08", "b", "train/train_1", "train"),
        ("bonafide", None, "c", "train/train_2", "train"),
    ]
    assert [item.split for item in table][4::4] == ["dev", "test"]
    assert table[0].path.suffix == ".flac" and table[0].path.is_relative_to(cache)
    assert table[0].path.read_bytes() == sound(500)
    assert audit(table).failed == () and audit(table).table[0].seconds == 1.0
    assert assign_splits(table, seed=1).utterances == table.utterances


def test_it_is_unpacked_once(folder, monkeypatch):
    first = read(folder)
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: pytest.fail("loaded again"))
    assert read(folder).utterances == first.utterances
    assert len(read(f"{folder}#dev")) == 4 and read(f"{folder}#validation")[0].split is None


def test_of_two_that_unpack_it_at_once_the_slower_one_reads_what_is_there(folder, cache, monkeypatch):
    plain = hub_set._unpack

    def slow(library, reference, place):
        plain(library, reference, place)
        monkeypatch.setattr(hub_set, "_unpack", plain)
        read(folder)

    monkeypatch.setattr(hub_set, "_unpack", slow)
    assert len(read(folder)) == 12
    (unpacked,) = (cache / "molex-adapt").iterdir()
    (unpacked / "manifest.jsonl").unlink()
    with pytest.raises(OSError, match="not empty"):
        read(folder)


def test_one_split_divides_nothing(tmp_path, cache):
    shard(tmp_path / "hub", "train", ["real", "fake"], datasets.Value("string"))
    assert [(item.label, item.split) for item in read(tmp_path / "hub")] == [
        ("bonafide", None),
        ("spoof", None),
    ]


@pytest.mark.parametrize(
    ("labels", "feature", "message"),
    [
        ([0, 1], datasets.Value("int64"), "labels of the column 'label' are int64 without names"),
        (
            [0, 1],
            datasets.ClassLabel(names=["0", "1"]),
            r"the label '0' of the column 'label' \(0, 1\) names no class",
        ),
        (
            ["real", "foke"],
            datasets.Value("string"),
            "hub, train, line 2: label 'foke' .*did you mean 'fake'",
        ),
    ],
)
def test_labels_that_name_no_class(tmp_path, cache, labels, feature, message):
    shard(tmp_path / "hub", "train", labels, feature)
    with pytest.raises(DataError, match=message):
        read(tmp_path / "hub")
    assert not list(cache.rglob("manifest.jsonl"))


def test_data_without_audio(tmp_path, cache):
    (tmp_path / "hub/data").mkdir(parents=True)
    datasets.Dataset.from_dict({"label": ["real"]}).to_parquet(
        tmp_path / "hub/data/train-00000-of-00001.parquet"
    )
    with pytest.raises(DataError, match=r"has 0 columns of audio \(label\)"):
        read(tmp_path / "hub")


def test_addresses():
    assert hub_reference("data/") is None
    assert hub_reference("hf://datasets/a/b") == HubReference("a/b")
    assert hub_reference(Path("hf://datasets/a/b@main/large#train,test")) == HubReference(
        "a/b", "main", "large", ("train", "test")
    )
    with pytest.raises(DataError, match="hf:/models/a/b is no data set of the Hub"):
        hub_reference(Path("hf://models/a/b"))


def test_without_the_library(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(DataError, match=r"pip install 'molex-adapt\[datasets\]'"):
        read("hf://datasets/a/b")


def test_what_the_hub_does_not_have_is_told(cache, monkeypatch):
    def refused(self: object, name: str, revision: str | None) -> None:
        raise OSError(f"no {name}")

    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", refused)
    with pytest.raises(DataError, match=r"a/b cannot be loaded .*\(no a/b\)|a/b cannot be loaded.*no a/b"):
        read("hf://datasets/a/b")
