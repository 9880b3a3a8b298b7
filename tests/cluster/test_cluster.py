"""Two workers score and analyse a manifest as one machine does, although one of them is killed on the way."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyarrow import parquet

from molex_adapt import Registry, Run
from molex_adapt.cli.app import main
from molex_adapt.cluster import Cluster, analyse_manifest, analysis, scoring
from molex_adapt.data import read
from molex_adapt.data.manifest import write_manifest

HERE = Run(device="cpu", workers=1)
TWO = Cluster(workers=2)


@pytest.fixture(scope="module")
def corpus(recorded, tiny_folder_of, tiny_recipe, tmp_path_factory) -> tuple[Path, Path]:
    """A registry, and a Parquet manifest of 24 recordings of which one is no audio."""
    folder = tmp_path_factory.mktemp("cluster")
    data = recorded(folder / "data", bona_fide=12, buzz=6, hum=6)
    registry = Registry.create(folder / "registry", str(tiny_folder_of()))
    registry.train(data, domain="noise", experts=2, recipe=tiny_recipe(), run=HERE)
    (data / "spoof" / "hum" / "hum003.wav").write_bytes(b"no audio")
    write_manifest(read(data), data / "all.parquet")
    return registry.store.path, data / "all.parquet"


def dying(kind: type, folder: Path, after: bool) -> type:
    """A worker that is killed over its second piece, before or after it is done; once in all."""

    class Dying(kind):  # type: ignore[misc, valid-type]
        def __init__(self, task: Any) -> None:
            super().__init__(task)
            self.taken = 0

        def __call__(self, piece: dict[str, Any]) -> Any:
            self.taken += 1
            found = super().__call__(piece) if after else None
            if self.taken == 2:
                try:
                    (folder / "killed").touch(exist_ok=False)
                except FileExistsError:
                    pass
                else:
                    os.kill(os.getpid(), signal.SIGKILL)
            return found if after else super().__call__(piece)

    return Dying


def rows(path: Path) -> list[dict[str, Any]]:
    return parquet.read_table(path).to_pylist()


def test_two_workers_score_what_one_command_does_though_one_is_killed(corpus, tmp_path, monkeypatch, capsys):
    registry, manifest = corpus
    monkeypatch.setattr(scoring, "Scorer", dying(scoring.Scorer, tmp_path, after=True))
    out = tmp_path / "scores"
    command = ["cluster", "score", str(manifest), "--out", str(out), "--registry", str(registry)]
    command += ["--device", "cpu", "--json", "--quiet"]
    with pytest.raises(SystemExit) as left:
        main(command)
    assert left.value.code == 1  # one recording is no audio
    told = json.loads(capsys.readouterr().out)
    assert (tmp_path / "killed").exists()
    plain = Registry.open(registry).score(read(manifest), run=HERE)
    expected = {item.path: item for item in plain.scores}
    found = rows(out / "scores.parquet")
    assert [row["path"] for row in found] == [str(item.path) for item in read(manifest)]
    assert len(found) == 24 and len(expected) == 23
    for row in found:
        if row["path"] in expected:
            item = expected[row["path"]]
            np.testing.assert_allclose(row["score"], item.score, atol=1e-6)
            np.testing.assert_allclose(row["probability"], item.probability, atol=1e-6)
            assert row["decision"] == item.decision and row["reason"] is None
        else:
            assert row["score"] is None and row["reason"] == plain.failed[0].reason
    assert [item["path"] for item in told["failed"]] == [item.path for item in plain.failed]
    # A piece that was done and not answered for is done again: nothing but its own part is written over.
    assert sum(share["recordings"] for share in told["workers"].values()) == 24
    assert sum(len(rows(part)) for part in (out / "parts").iterdir()) == 24
