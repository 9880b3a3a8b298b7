from __future__ import annotations

import json

import pytest

from molex_adapt.api.inputs import recordings
from molex_adapt.errors import DataError
from tests.data.corpora.trees import asvspoof2021_la, touch


def test_a_part_of_a_corpus_can_be_scored(tmp_path):
    root = asvspoof2021_la(tmp_path / "corpus")
    touch(tmp_path / "call#1" / "a.wav", tmp_path / "call#1" / "b.wav")
    assert len(recordings(root)) == 5
    assert [item.path.stem for item in recordings(f"{root}#progress,hidden")] == [
        "LA_E_8589971",
        "LA_E_1111111",
    ]
    assert len(recordings([f"{root}#eval", tmp_path / "call#1"])) == 5  # a folder that has a # in its name


@pytest.mark.parametrize("name", ["list.csv", "list.tsv", "list.jsonl"])
def test_what_a_manifest_names_can_be_scored_without_labels(tmp_path, name):
    (tmp_path / "in").mkdir()
    for file in ("in/a.wav", "in/b.wav"):
        (tmp_path / file).touch()
    gap = {"list.csv": ",", "list.tsv": "\t"}.get(name)
    named = ["in/b.wav", str(tmp_path / "in" / "a.wav"), "in/gone.wav"]
    if gap is None:
        lines = [json.dumps({"path": path, "label": "?"}) for path in named]
    else:
        lines = [f"Note{gap}File", *(f"x{gap}{path}" for path in named)]
    (tmp_path / name).write_text("\n".join(lines) + "\n")
    found = recordings([tmp_path / name, tmp_path / "in" / "b.wav"])
    assert [item.path for item in found] == [tmp_path / "in" / f"{stem}.wav" for stem in ("b", "a", "gone")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("label,who\nspoof,x\n", "has no column path.*Expected path"),
        ("path,label\nx.wav,spoof\n,spoof\n", "row 3: "),
        ("path\n", "names no recordings"),
        ("path\nelsewhere/x.wav\n", "none of its first 1 recordings exists.*Relative paths start at"),
    ],
)
def test_a_manifest_that_names_nothing_says_so(tmp_path, text, said):
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(DataError, match=said):
        recordings(tmp_path / "list.csv")
