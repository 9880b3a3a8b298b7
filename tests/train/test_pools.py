from __future__ import annotations

from collections import Counter

import pytest
import torch

from molex_adapt.errors import DataError
from molex_adapt.train.pools import Pool, Sampler

CPU = torch.device("cpu")


class Noted:
    """Clips whose only channel is their index, and that remember what was asked of them."""

    def __init__(self, bona_fide: int, spoof: int, twins: int = 0) -> None:
        self.bona_fide = torch.arange(bona_fide + spoof) < bona_fide
        forged = [f"{at}" if at < twins else f"forged {at}" for at in range(spoof)]
        self.sources = (*map(str, range(bona_fide)), *forged)
        self.takes: tuple[str, ...] = ()
        self.places: list[float] = []
        self.asked: list[int] = []
        self.crops: list[int] = []

    def __len__(self) -> int:
        return len(self.bona_fide)

    def batch(self, indices, crop, places):
        self.asked += indices
        self.places += places
        self.crops.append(crop)
        frames = torch.tensor([1 + index % crop for index in indices])
        clips = torch.zeros(len(indices), int(frames.max()), 1)
        for row, (index, count) in enumerate(zip(indices, frames.tolist(), strict=True)):
            clips[row, :count] = index + 1
        return clips, frames


def test_pools_by_share_and_classes_half_and_half():
    large, small = Noted(5, 70), Noted(9, 3)
    sampler = Sampler([Pool(large, 3.0), Pool(small, 1.0)], 16, 4, seed=0)
    for _ in range(20):
        batch = sampler.draw(CPU)
        assert (len(batch.bona_fide), float(batch.bona_fide.sum())) == (16, 8)
    assert (len(large.asked), len(small.asked)) == (240, 80)


def test_fractions_of_an_utterance_are_carried_over():
    clips = [Noted(4, 4) for _ in range(3)]
    sampler = Sampler(
        [Pool(item, share) for item, share in zip(clips, (5, 2, 1), strict=True)], 10, 4, seed=0
    )
    for _ in range(80):
        sampler.draw(CPU)
    assert [len(item.asked) for item in clips] == [500, 200, 100]


def test_every_utterance_once_before_any_comes_again():
    clips = Noted(5, 7)
    sampler = Sampler([Pool(clips, 1.0)], 4, 4, seed=3)
    for _ in range(35):
        sampler.draw(CPU)
    counts = Counter(clips.asked)
    assert {counts[index] for index in range(5)} == {14}
    assert {counts[index] for index in range(5, 12)} == {10}
    first = [index for index in clips.asked if index >= 5]
    assert sorted(first[:7]) == list(range(5, 12))
    assert first[:7] != first[7:14]


def test_a_forged_copy_comes_with_its_recording_cropped_at_the_same_place():
    clips = Noted(6, 6, twins=6)
    sampler = Sampler([Pool(clips, 1.0)], 4, 4, seed=0)
    for _ in range(30):
        batch = sampler.draw(CPU)
        assert float(batch.bona_fide.mean()) == 0.5
        drawn, places = clips.asked[-4:], clips.places[-4:]
        assert [at + 6 for at in drawn[:2]] == drawn[2:]
        assert places[:2] == places[2:]
        assert batch.twin.tolist() == [-1, -1, 0, 1]
    assert set(Counter(clips.asked).values()) == {10}


def test_rows_of_twins_are_those_of_the_whole_batch():
    apart, twins = Noted(6, 6), Noted(6, 6, twins=6)
    batch = Sampler([Pool(apart, 1.0), Pool(twins, 1.0)], 8, 4, seed=0).draw(CPU)
    assert batch.twin.tolist() == [-1] * 6 + [4, 5]
    assert batch.features[6:, 0, 0].tolist() == [at + 6 for at in batch.features[4:6, 0, 0].tolist()]


@pytest.mark.parametrize(("real", "forged", "twins"), [(8, 4, 4), (4, 8, 4), (8, 8, 2)])
def test_with_few_twins_every_utterance_of_a_class_still_comes_alike(real, forged, twins):
    clips = Noted(real, forged, twins)
    sampler = Sampler([Pool(clips, 1.0)], 8, 4, seed=0)
    for _ in range(400):
        assert float(sampler.draw(CPU).bona_fide.mean()) == 0.5
    counts = Counter(clips.asked)
    for members in (range(real), range(real, real + forged)):
        expected = 1600 / len(members)
        assert all(0.95 * expected < counts[at] < 1.05 * expected for at in members)


def test_one_of_several_recordings_with_the_same_source_is_the_twin():
    clips = Noted(4, 1, twins=1)
    clips.sources = ("0",) * 4 + ("0",)
    sampler = Sampler([Pool(clips, 1.0)], 2, 4, seed=0)
    for _ in range(60):
        sampler.draw(CPU)
    assert {clips.asked.count(at) > 5 for at in range(4)} == {True}


def test_the_seed_decides():
    def drawn(seed: int) -> list[int]:
        clips = Noted(20, 20)
        sampler = Sampler([Pool(clips, 1.0)], 8, 4, seed)
        sampler.draw(CPU)
        return clips.asked

    assert drawn(1) == drawn(1) != drawn(2)


def test_batches_have_a_crop_of_their_own_and_all_pools_the_same():
    new, old = Noted(9, 9), Noted(9, 9)
    sampler = Sampler([Pool(new, 1.0), Pool(old, 1.0)], 8, 40, seed=0, shortest=20)
    for _ in range(200):
        sampler.draw(CPU)
    assert set(new.crops) == set(range(20, 41))
    assert new.crops[::2] == old.crops[::2]  # asked once per class


def test_without_a_shortest_crop_all_are_whole():
    clips = Noted(9, 9)
    sampler = Sampler([Pool(clips, 1.0)], 8, 40, seed=0)
    for _ in range(9):
        sampler.draw(CPU)
    assert set(clips.crops) == {40}


def test_more_pools_than_places_make_no_empty_batch():
    clips = [Noted(3, 3) for _ in range(7)]
    sampler = Sampler([Pool(item, 1.0) for item in clips], 2, 4, seed=0)
    assert all(len(sampler.draw(CPU).frames) > 0 for _ in range(30))
    assert len({len(item.asked) for item in clips}) == 1


def test_a_batch_says_whose_each_row_is():
    new, old = Noted(4, 4), Noted(4, 4)
    batch = Sampler([Pool(new, 1.0, expert=2), Pool(old, 1.0, expert=0)], 16, 4, 0).draw(CPU)
    assert batch.expert.tolist() == [-1] * 4 + [2] * 4 + [-1] * 4 + [0] * 4
    index = batch.features[8:, 0, 0].long() - 1
    assert torch.equal(batch.bona_fide[8:], (index < 4).float())
    beyond = torch.arange(batch.features.shape[1])[None] >= batch.frames[:, None]
    assert not batch.features[beyond].any()
    assert Sampler([Pool(new, 1.0)], 8, 4, 0).draw(CPU).expert.tolist() == [-1] * 8


def test_what_the_readout_says_of_an_utterance_comes_with_it():
    clips, silent = Noted(4, 4, twins=4), Noted(2, 2)
    told = torch.arange(8) + 0.5
    batch = Sampler([Pool(clips, 3.0, told=told), Pool(silent, 1.0)], 16, 99, seed=0).draw(CPU)
    spoken = batch.told > 0
    assert int(spoken.sum()) == 12
    assert (batch.told[~spoken] == 0).all()
    # The only channel of a clip is its index and one.
    torch.testing.assert_close(batch.told[spoken], batch.features[spoken, 0, 0] - 0.5)


def test_empty_pools_are_passed_over_and_a_missing_class_is_refused():
    sampler = Sampler([Pool(Noted(0, 0), 1.0), Pool(Noted(3, 0), 1.0), Pool(Noted(0, 3), 1.0)], 8, 4, 0)
    assert float(sampler.draw(CPU).bona_fide.mean()) == 0.5
    for pools in ([], [Pool(Noted(3, 0), 1.0)], [Pool(Noted(3, 0), 1.0), Pool(Noted(0, 3), 0.0)]):
        with pytest.raises(DataError, match="one class is missing"):
            Sampler(pools, 8, 4, 0)


def test_the_twin_went_through_the_same_where_there_is_one():
    clips = Noted(4, 2, twins=0)  # one recording as it is and through three chains, two copies
    clips.sources = ("one",) * 6
    clips.takes = ("one 0", "one 1", "one 2", "one 3", "one 2", "one 5")
    sampler = Sampler([Pool(clips, 1.0)], 4, 4, seed=0)
    pairs = Counter()
    for _ in range(60):
        sampler.draw(CPU)
        pairs.update(zip(clips.asked[-4:-2], clips.asked[-2:], strict=True))
    assert {real for real, forged in pairs if forged == 4} == {2}
    assert {real for real, forged in pairs if forged == 5} == {0, 1, 2, 3}
