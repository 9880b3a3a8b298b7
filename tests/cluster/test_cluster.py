"""Two workers score, analyse and compute features as one machine does, although one is killed on the way."""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyarrow import parquet

from molex_adapt import Registry, Run
from molex_adapt.cli.app import main
from molex_adapt.cluster import Cluster, analysis, filling, scoring
from molex_adapt.cluster.parts import PartsFolder
from molex_adapt.cluster.pool import _Batched, _load_ray
from molex_adapt.data import Failed, Table, read
from molex_adapt.data.manifest import write_manifest
from molex_adapt.decision import DecisionRule
from molex_adapt.errors import DataError, ExpertError, RecipeError
from molex_adapt.reports import ClusterScores, ScoreReport

HERE = Run(device="cpu", workers=1)


@dataclass(frozen=True)
class Made:
    """A registry, a Parquet manifest of 24 recordings of which one is no audio, and the cache of its training."""

    registry: Path
    manifest: Path
    cache: Path


@pytest.fixture(scope="module")
def made(recorded, tiny_folder_of, tiny_recipe, tmp_path_factory) -> Made:
    folder = tmp_path_factory.mktemp("cluster")
    data = recorded(folder / "data", bona_fide=12, buzz=6, hum=6)
    registry = Registry.create(folder / "registry", str(tiny_folder_of()))
    run = replace(HERE, cache=folder / "cache")
    registry.train(data, domain="noise", experts=2, recipe=tiny_recipe(joint={"draws": 1}), run=run)
    (data / "spoof" / "hum" / "hum003.wav").write_bytes(b"no audio")
    write_manifest(read(data), data / "all.parquet")
    return Made(registry.store.path, data / "all.parquet", folder / "cache")


@pytest.fixture(scope="module")
def ray_here() -> Iterator[None]:
    """One cluster of two cores for the tests of this module."""
    _load_ray(Cluster())
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


def dying(kind: type, folder: Path, features: filling.FeaturesTask) -> type:
    """A worker that is killed when its second piece is written and not yet answered for; once in all.

    It computes features as well: workers of another kind would take as long again to start.
    """

    class Dying(kind):  # type: ignore[misc, valid-type]
        def __init__(self, task: Any) -> None:
            super().__init__(task)
            self.extractor = filling.Extractor(features)
            self.taken = 0

        def __call__(self, piece: dict[str, Any]) -> Any:
            found = super().__call__(piece)
            self.extractor(piece | {"sources": piece["paths"], "draws": [0] * len(piece["paths"])})
            (folder / f"niceness-{os.getpid()}").write_text(f"{os.nice(0)}")
            self.taken += 1
            if self.taken == 2 and not (folder / "killed").exists():
                (folder / "killed").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return found

    return Dying


def rows(path: Path) -> list[dict[str, Any]]:
    return parquet.read_table(path).to_pylist()


def features_in(cache: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in cache.rglob("*.npy")}


def command_line(capsys, *words: str | Path) -> tuple[int, dict[str, Any]]:
    with pytest.raises(SystemExit) as left:
        main([*map(str, words), "--device", "cpu", "--json", "--quiet"])
    return int(left.value.code or 0), json.loads(capsys.readouterr().out)


@pytest.mark.slow
def test_two_workers_do_what_one_command_does_though_one_is_killed(
    made, ray_here, tmp_path, monkeypatch, capsys
):
    run = replace(HERE, cache=tmp_path / "cache")
    features = filling.FeaturesTask(made.registry, None, run, states=True)
    monkeypatch.setattr(scoring, "Scorer", dying(scoring.Scorer, tmp_path, features))
    out = tmp_path / "scores"
    command = ["cluster", "score", made.manifest, "--out", out, "--registry", made.registry]
    status, told = command_line(capsys, *command)
    assert status == 1  # one recording is no audio
    assert (tmp_path / "killed").exists()
    assert {path.read_text() for path in tmp_path.glob("niceness-*")} == {f"{os.nice(0)}"}
    plain = Registry.open(made.registry).score(read(made.manifest), run=HERE)
    expected = {item.path: item for item in plain.scores}
    found = rows(out / "scores.parquet")
    assert [row["path"] for row in found] == [str(item.path) for item in read(made.manifest)]
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
    # A piece that was written and not answered for is done again, and replaces its own part.
    assert sum(share["recordings"] for share in told["workers"].values()) == 24
    assert sum(len(rows(part)) for part in (out / "parts").iterdir()) == 24
    assert len(features_in(run.cache)) == 23
    assert features_in(run.cache).items() <= features_in(made.cache).items()


def travelled(item: Any) -> Any:
    """What arrives elsewhere; through Ray where a test has it."""
    import ray

    return ray.get(ray.put(item)) if ray.is_initialized() else item


@pytest.fixture
def alone(monkeypatch) -> list[dict[str, Any]]:
    """The pieces that are handed out, to one worker in this process."""
    given: list[dict[str, Any]] = []

    def answers(worker: type, task: Any, pieces: list[dict[str, Any]], *_: Any) -> Iterator[dict[str, Any]]:
        given.extend(pieces)
        there = worker(travelled(task))
        yield from (travelled(there(piece)) for piece in pieces)

    monkeypatch.setattr(scoring, "answers", answers)
    monkeypatch.setattr(analysis, "answers", answers)
    monkeypatch.setattr(filling, "answers", answers)
    return given


def test_parts_of_an_analysis_become_what_one_command_says(made, ray_here, alone, capsys, monkeypatch):
    monkeypatch.setattr(analysis, "on_length", lambda longer, window: [f"{longer} go on after {window:g} s"])
    status, told = command_line(
        capsys, "cluster", "analyze", made.manifest, "--registry", made.registry, "--ablate"
    )
    assert [piece["part"] for piece in alone] == list(range(8)) and status == 1
    _, plain = command_line(capsys, "analyze", made.manifest, "--registry", made.registry, "--ablate")
    assert told["utterances"] == plain["utterances"] and told["failed"] == plain["failed"]
    assert sum(told["utterances"].values()) == 23
    assert any(line.startswith("0 go on after") for line in told["remarks"])
    for attack, shares in plain["usage"].items():
        assert told["usage"][attack] == pytest.approx(shares, abs=1e-6)
    ablated = [(item["attack"], item["expert"]) for item in plain["findings"]["ablation"]]
    assert ablated == [(item["attack"], item["expert"]) for item in told["findings"]["ablation"]]


def score(made: Made, out: Path, **options: Any) -> ClusterScores:
    return scoring.score_manifest(made.registry, made.manifest, out, Cluster(), run=HERE, **options)


def test_what_is_scored_is_not_scored_again_and_what_failed_is(made, alone, tmp_path):
    first = score(made, tmp_path / "out")
    before = rows(tmp_path / "out" / "scores.parquet")
    lost = sorted((tmp_path / "out" / "parts").iterdir())[0]
    missing = [row["path"] for row in rows(lost) if row["score"] is not None]
    lost.unlink()
    alone.clear()
    second = score(made, tmp_path / "out")
    again = {os.fsdecode(path) for piece in alone for path in piece["paths"]}
    assert again == {*missing, first.failed[0].path}
    assert second.failed == first.failed and second.taken_over == 24 - len(again)
    found = rows(tmp_path / "out" / "scores.parquet")
    assert [row["path"] for row in found] == [row["path"] for row in before]
    assert [row["score"] for row in found] == pytest.approx([row["score"] for row in before], abs=1e-6)


def test_a_folder_of_other_scores_is_not_gone_on_with(made, alone, tmp_path):
    score(made, tmp_path / "out")
    with pytest.raises(DataError, match="another --prior"):
        score(made, tmp_path / "out", prior=0.9)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("text")
    with pytest.raises(DataError, match="is not empty"):
        score(made, tmp_path / "mine")


def test_a_kill_while_the_folder_is_made_leaves_one_to_go_on_with(tmp_path, monkeypatch):
    plain = Path.mkdir

    def killed(path, *how, **more):
        plain(path, *how, **more)
        if path.name == "parts":
            raise KeyboardInterrupt

    with monkeypatch.context() as kill:
        kill.setattr(Path, "mkdir", killed)
        with pytest.raises(KeyboardInterrupt):
            PartsFolder.open(tmp_path / "out", "detector", DecisionRule(None), [])
    PartsFolder.open(tmp_path / "out", "detector", DecisionRule(None), [])


def test_two_scores_of_a_recording_and_a_missing_one_are_found(made, alone, tmp_path):
    score(made, tmp_path / "out")
    folder = PartsFolder(tmp_path / "out")
    names = [row["path"] for row in rows(tmp_path / "out" / "scores.parquet")]
    with pytest.raises(DataError, match=r"no row for 1 of 25 .* nowhere.wav"):
        folder.merge([*names, "nowhere.wav"])
    part = sorted((tmp_path / "out" / "parts").iterdir())[0]
    part.with_name("part-twice.parquet").write_bytes(part.read_bytes())
    with pytest.raises(DataError, match="two scores of"):
        folder.merge(names)


@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")])
def test_the_latest_reason_of_a_failure_counts(tmp_path, names):
    (tmp_path / "parts").mkdir()
    folder = PartsFolder(tmp_path)
    for at, (name, why) in enumerate(zip(names, ("not found", "damaged"), strict=True)):
        folder.write(ScoreReport((), (Failed("x.wav", why),)))
        (part,) = (
            item for item in (tmp_path / "parts").iterdir() if item.stem not in {f"part-{n}" for n in "ab"}
        )
        part.rename(part.with_name(f"part-{name}.parquet"))
        os.utime(part.with_name(f"part-{name}.parquet"), (at + 1, at + 1))
    assert folder.merge(["x.wav"]) == (Failed("x.wav", "damaged"),)


def test_a_reason_that_is_not_utf_8_costs_no_part(tmp_path):
    (tmp_path / "parts").mkdir()
    folder = PartsFolder(tmp_path)
    folder.write(ScoreReport((), (Failed("\udcff.wav", "\udcff.wav is silent"),)))
    assert folder.merge(["\\udcff.wav"]) == (Failed("\\udcff.wav", "\\udcff.wav is silent"),)


def test_a_piece_that_kills_every_worker_is_given_up(made, alone, tmp_path, monkeypatch):
    plain = PartsFolder.begin
    monkeypatch.setattr(PartsFolder, "begin", lambda self, paths: plain(self, paths) + scoring._MOST_BEGUN)
    found = score(made, tmp_path / "out")
    assert len(found.failed) == 24 and "workers died" in found.failed[0].reason
    monkeypatch.undo()
    assert not list((tmp_path / "out" / "parts").glob("begun-*"))
    assert PartsFolder(tmp_path / "out").begin(["a"]) == 0
    assert PartsFolder(tmp_path / "out").begin(["a"]) == 1


def test_recordings_are_fetched_from_a_store(made, alone, tmp_path):
    (tmp_path / "list").mkdir()
    folder = made.manifest.parent
    names = [item.path.relative_to(folder).as_posix() for item in read(made.manifest)]
    manifest = tmp_path / "list" / "all.csv"
    lines = [f"{name},{'spoof' if 'spoof' in name else 'bonafide'}" for name in [*names, "gone.wav"]]
    manifest.write_text("\n".join(["path,label", *lines]) + "\n")
    fetched = scoring.score_manifest(
        made.registry, manifest, tmp_path / "out", audio_root=f"file://{folder}", run=HERE
    )
    found = rows(tmp_path / "out" / "scores.parquet")
    assert [row["path"] for row in found] == [*names, "gone.wav"]
    plain = {
        item.path: item.score
        for item in Registry.open(made.registry).score(read(made.manifest), run=HERE).scores
    }
    for row in found[:-1]:
        expected = plain.get(str(folder / row["path"]))
        assert row["score"] == (None if expected is None else pytest.approx(expected, abs=1e-6))
    assert [item.path for item in fetched.failed] == ["spoof/hum/hum003.wav", "gone.wav"]
    assert "cannot be fetched from file://" in fetched.failed[1].reason
    with pytest.raises(DataError, match=r"no address of a store"):
        scoring.score_manifest(made.registry, manifest, tmp_path / "out2", audio_root="ftp2://x", run=HERE)


def test_features_for_an_empty_registry_are_those_of_its_first_training(
    made, alone, tiny_folder_of, tmp_path, capsys
):
    empty = Registry.create(tmp_path / "empty", str(tiny_folder_of())).store.path
    cache = tmp_path / "cache"
    command = ["cluster", "features", made.manifest, "--cache", cache, "--registry", empty]
    command += ["--set", "head.readout=true"]
    status, told = command_line(capsys, *command)
    assert status == 1 and [Path(item["path"]).name for item in told["failed"]] == ["hum003.wav"]
    found = features_in(cache)
    prefixes = {name: held for name, held in found.items() if "." not in Path(name).stem}
    # All that training on the same recordings kept, but for hum003 and its draw; and draws of what it tested on.
    kept = features_in(made.cache)
    assert len(prefixes) == 2 * 23 and 1 <= len(kept.keys() - prefixes.keys()) <= 2
    assert all(held == kept[name] for name, held in prefixes.items() if name in kept)
    # Beside them what the readout asks for: statistics of the spectrum, and pooled states.
    assert len(found) == 3 * 2 * 23 and sum(".states-" in name for name in found) == 2 * 23
    assert sum(share["recordings"] for share in told["workers"].values()) == told["recordings"] == 24
    next(cache.rglob("*.npy")).unlink()
    before = {path: path.stat().st_ino for path in cache.rglob("*.npy")}
    assert command_line(capsys, *command)[1]["bytes"] == told["bytes"] > 0
    assert features_in(cache) == found
    assert before.items() <= {path: path.stat().st_ino for path in cache.rglob("*.npy")}.items()


def test_what_is_stated_to_be_for_testing_is_not_drawn(made, tiny_folder_of, tiny_recipe, tmp_path):
    empty = Registry.create(tmp_path / "empty", str(tiny_folder_of())).store.path
    splits = itertools.cycle(("train", "dev", "test"))
    rows = tuple(replace(item, split=split) for item, split in zip(read(made.manifest), splits, strict=False))
    table, first = Table(rows, ""), tiny_recipe(joint={"draws": 1})
    drawn = Counter(item.split for item in filling._heard(empty, table, first) if item.draw)
    assert drawn == {"train": 8, "dev": 8}
    assert filling._heard(made.registry, table, first) == list(rows), "it has experts already"


def test_of_very_many_recordings_no_states_are_computed(
    made, alone, tiny_folder_of, tiny_recipe, tmp_path, monkeypatch
):
    empty = Registry.create(tmp_path / "empty", str(tiny_folder_of())).store.path
    recipe = tiny_recipe(head={"readout": True}, joint={"draws": 1})
    run = replace(HERE, cache=tmp_path / "cache")
    for most, expected in ((47, 0), (48, 2 * 23)):  # of 24, each as it is and under conditions
        monkeypatch.setattr(filling, "MOST_STATES", most)
        filling.fill_cache(empty, made.manifest, recipe=recipe, run=run)
        assert sum(".states-" in name for name in features_in(run.cache)) == expected


def test_features_that_the_cache_cannot_hold_are_refused(made, alone, tmp_path, monkeypatch):
    run = replace(HERE, cache=tmp_path / "cache")
    monkeypatch.setenv("MOLEX_CACHE_GIB", "0.000001")
    with pytest.raises(DataError, match=r"more than the .* GiB .* Set MOLEX_CACHE_GIB"):
        filling.fill_cache(made.registry, made.manifest, run=run)
    with pytest.raises(RecipeError, match="cache is switched off"):
        filling.fill_cache(made.registry, made.manifest, run=replace(HERE, cache="off"))


def test_without_ray_it_is_said_what_to_install(made, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray.data", None)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(RecipeError, match=r"molex-adapt\[ray\]"):
        score(made, tmp_path / "out")


class Faulty:
    """A worker that cannot start, or cannot work."""

    def __init__(self, starts: bool) -> None:
        if not starts:
            raise ExpertError("does not start")

    def __call__(self, piece: Any) -> Any:
        raise OSError("disk full")


@pytest.mark.parametrize(("starts", "told"), [(False, "does not start"), (True, "disk full")])
def test_what_a_user_can_mend_comes_back_as_it_is(starts, told):
    found = _Batched(Faulty, starts)({"piece": [1]})["answer"][0]
    assert isinstance(found, ExpertError | OSError) and str(found) == told
