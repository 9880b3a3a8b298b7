from __future__ import annotations

import pytest
import torch

from molex_adapt.data import Table, Utterance, find_audio
from molex_adapt.features import OnlineFeatures, large, source_id
from molex_adapt.recipe import ExemplarOptions
from molex_adapt.train.exemplars import choose_exemplars, divide_replay


def choose(train, test, seed=0, seconds=0.4, **options):
    return choose_exemplars(
        train, test, ExemplarOptions(**{"replay": 5, "check": 3, **options}), seconds, seed
    )


def test_so_many_of_each_class_cut_to_length(features_of):
    train, test = features_of(9), features_of(9, 1)
    found = choose(train, test, seconds=0.3)
    assert (len(found.replay), len(found.check)) == (10, 6)
    assert found.replay.bona_fide.sum() == 5
    assert {len(clip) for clip in found.replay.clips} <= set(range(10, 16))
    assert max(len(clip) for clip in found.replay.clips) == 15
    place = {source: at for at, source in enumerate(train.sources[:9])}
    for clip, source, real in zip(
        found.replay.clips, found.replay.sources, found.replay.bona_fide, strict=True
    ):
        whole = train.clips[place[source] + (0 if real else 9)]
        assert torch.equal(clip, whole[:15])
    assert set(found.replay.sources) <= set(train.sources)
    assert set(found.check.sources) <= set(test.sources)


def test_the_seed_decides_and_no_more_than_there_are(features_of):
    train, test = features_of(9), features_of(2, 1)
    first, again, other = (choose(train, test, seed) for seed in (0, 0, 1))
    assert first.replay.sources == again.replay.sources != other.replay.sources
    assert len(first.check) == 4


def test_none_may_be_kept(features_of):
    found = choose(features_of(3), features_of(3), replay=0, check=0)
    assert (len(found.replay), len(found.check)) == (0, 0)


@pytest.mark.parametrize("count", [1, 4, 9])
def test_replay_is_divided_without_overlap_and_always_the_same(features_of, count):
    replay = features_of(count)
    train, development = divide_replay(replay)
    assert len(train) + len(development) == 2 * count
    assert sorted(map(id, (*train.clips, *development.clips))) == sorted(map(id, replay.clips))
    every_fourth = -(-count // 4)
    assert [len(item.of_class(label)) for item in (train, development) for label in (True, False)] == [
        count - every_fourth
    ] * 2 + [every_fourth] * 2
    again = divide_replay(replay)
    assert [item.sources for item in again] == [train.sources, development.sources]


def test_twins_are_kept_together_and_no_source_is_on_both_sides(features_of):
    train = features_of(40)
    shuffled = train.pick(
        [*range(40), *torch.randperm(40, generator=torch.Generator().manual_seed(1)).add(40)]
    )
    replay = choose(shuffled, features_of(3), replay=12).replay
    real, forged = ({replay.sources[at] for at in replay.of_class(label)} for label in (True, False))
    assert real == forged
    heard, measured = divide_replay(replay)
    assert not set(heard.sources) & set(measured.sources)
    assert [len(item.of_class(False)) for item in (heard, measured)] == [9, 3]
    alone = choose(train.pick([*range(40), *range(70, 80)]), features_of(3), replay=20).replay
    assert len(alone.of_class(False)) == 10


def test_exemplars_of_what_does_not_fit_into_memory(
    detector_of, features_of, tiny_recipe, recorded, tmp_path
):
    detector = detector_of(tiny_recipe())
    folder = recorded(tmp_path / "data", bona_fide=3, buzz=3)
    utterances = tuple(
        Utterance(path, "spoof" if "buzz" in str(path) else "bonafide", None, path.name, seconds=0.6)
        for path in find_audio(folder)
    )
    online = OnlineFeatures(detector, Table(utterances, str(folder)).utterances)
    found = choose(online, features_of(3), replay=2)
    assert [len(found.replay.of_class(label)) for label in (True, False)] == [2, 2]
    assert all(clip.dtype == torch.float16 and clip.shape == (20, 16) for clip in found.replay.clips)
    assert set(found.replay.sources) <= {source_id(item.source) for item in utterances}
    assert len(choose(online, features_of(3), replay=0).replay) == 0


def test_of_what_is_computed_anew_the_exemplars_alone_are_read(
    detector_of, features_of, tiny_recipe, recorded, tmp_path, monkeypatch
):
    detector = detector_of(tiny_recipe(head={"readout": True}))
    folder = recorded(tmp_path / "data", bona_fide=6, buzz=6)
    utterances = tuple(
        Utterance(path, "spoof" if "buzz" in str(path) else "bonafide", None, path.name, seconds=0.6)
        for path in find_audio(folder)
    )
    heard, plain = [], large.hear
    monkeypatch.setattr(large, "hear", lambda item, **more: heard.append(item.path) or plain(item, **more))
    found = choose(OnlineFeatures(detector, utterances), features_of(3), replay=2)
    assert len(found.replay) == len(found.replay.statistics) == 4
    assert len(set(heard)) == 4
