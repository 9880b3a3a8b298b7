"""What is new: calibrated on known speech, found where it is, and not found where it is not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from molex_adapt.analysis.left_out import _Apart, _resampled, left_out
from molex_adapt.analysis.novelty import (
    BothViews,
    KnownSpeech,
    Space,
    known_distances,
    more_than_chance,
    p_values,
)
from molex_adapt.analysis.unlabelled import known_of_table, novelty
from molex_adapt.data import Table, Utterance, read
from molex_adapt.data.read import is_unlabelled
from molex_adapt.errors import DataError
from molex_adapt.run import Run

HOW = Run(device="cpu", workers=1, cache="off")
KINDS = {"bonafide": 0, "buzz": 1, "hum": 2}


def views(rng, kind: int, count: int, offset: float = 3.0) -> BothViews:
    """Gates that lean to one expert, and spectra that are shifted along one axis for each kind."""
    logits = rng.normal(size=(count, 2, 4))
    logits[:, :, kind % 4] += offset
    gates = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    spectrum = rng.normal(size=(count, 20))
    spectrum[:, kind] += offset
    return BothViews(gates.astype(np.float32), spectrum.astype(np.float32))


def known(rng, each: int = 60, offset: float = 3.0) -> KnownSpeech:
    parts = [views(rng, kind, each, offset) for kind in KINDS.values()]
    heard = BothViews(*(np.concatenate([getattr(p, name) for p in parts]) for name in ("before", "spectrum")))
    names = tuple(name for name in KINDS for _ in range(each))
    return KnownSpeech(heard, names, tuple(str(at % each) for at in range(len(names))))


def test_known_speech_has_even_p_values_and_new_speech_small_ones():
    rng = np.random.default_rng(0)
    own = known(rng)
    space, apart = Space.of(own.heard, own.kinds), known_distances(own)
    # Even over all kinds together, as they were known; one kind alone may be wider than the others.
    more = [space.distances(views(rng, kind, 200))[0] for kind in KINDS.values()]
    same = p_values(np.concatenate(more), apart)
    new = p_values(space.distances(views(rng, 3, 100, 6.0))[0], apart)
    assert 0.02 <= (same <= 0.05).mean() <= 0.1
    assert 0.4 < same.mean() < 0.6
    assert (new <= 0.05).mean() > 0.8
    assert new.min() >= 1 / (len(own.kinds) + 1)


def test_the_nearest_kind_is_named():
    rng = np.random.default_rng(1)
    own = known(rng)
    nearest = Space.of(own.heard, own.kinds).distances(views(rng, 2, 50))[1]
    assert nearest.count("hum") > 45


def test_an_attack_that_is_left_out_is_found_only_if_it_differs():
    rng = np.random.default_rng(2)
    apart = {item.attack: item for item in left_out(known(rng, offset=4.0), "bonafide")[0]}
    alike = {item.attack: item for item in left_out(known(rng, offset=0.0), "bonafide")[0]}
    assert apart.keys() == alike.keys() == {"buzz", "hum"}
    for name, item in apart.items():
        assert item.auroc > 0.8 and item.ci[0] > 0.7
        assert alike[name].ci[0] < 0.5 < alike[name].ci[1]
        assert item.recordings == 60
    assert left_out(known(rng, each=7 + 4).pick(np.arange(33) < 18), "bonafide") == ([], None)


def test_areas_are_resampled_by_source():
    """Copies of a recording say no more than it does; recordings of ten times as many sources do."""
    rng = np.random.default_rng(5)
    own = known(rng, each=20, offset=1.0)
    novel, distances = np.array(own.kinds) == "buzz", rng.normal(size=60)
    tenfold = np.repeat(np.arange(60), 10)
    copies = own.pick(tenfold)
    others = replace(copies, sources=tuple(map(str, range(600))))
    apart = [_Apart.of("buzz", novel, distances)], [_Apart.of("buzz", novel[tenfold], distances[tenfold])]
    areas = _resampled(apart[0], own)
    assert areas.shape == (1000, 1)
    assert np.allclose(_resampled(apart[1], copies), areas, atol=1e-12)
    assert _resampled(apart[1], others).std() < 0.5 * areas.std()


def test_the_mean_of_areas_lies_in_its_interval():
    areas, interval = left_out(known(np.random.default_rng(6), offset=1.0), "bonafide")
    assert interval[0] < np.mean([item.auroc for item in areas]) < interval[1]
    assert all(item.ci[0] <= item.auroc <= item.ci[1] for item in areas)


def test_an_area_is_the_share_of_pairs_in_order():
    novel = np.array([True, False, True, False, False])
    apart = _Apart.of("buzz", novel, np.array([2.0, 2.0, 3.0, 1.0, 4.0]))
    assert apart.area == (1.5 + 2) / 6
    weights = np.array([[1, 1, 1, 1, 1], [2, 0, 0, 1, 1], [0, 3, 1, 0, 2]])
    assert apart.areas(weights).tolist() == [3.5 / 6, 0.5, 0.6]


def test_where_one_attack_is_all_that_is_known_nothing_is_left_out():
    own = known(np.random.default_rng(4), each=12)
    kinds = np.array(own.kinds)
    for others in (0, 1):
        kept = (kinds == "buzz") | ((kinds == "bonafide") & (np.arange(len(kinds)) < others))
        assert left_out(own.pick(kept), "bonafide") == ([], None)


@pytest.mark.parametrize("count", [0, 1])
def test_too_little_known_is_said_before_anything_is_heard(count, detector_of):
    few = known(np.random.default_rng(0)).pick(np.arange(180) < count)
    nothing = Table((Utterance(Path("none.wav"), "bonafide"),), "new")
    with pytest.raises(DataError, match=f"{count} known recordings are too few"):
        novelty(detector_of(), nothing, few, HOW)


def test_few_known_sources_are_refused():
    rng = np.random.default_rng(0)
    few = known(rng, each=6)
    with pytest.raises(DataError, match="18 known recordings are too few.*19 or more.*--known"):
        known_distances(few)
    many = known(rng, each=7)
    with pytest.raises(DataError, match="7 known source recordings are too few.*--known"):
        known_distances(many)


@pytest.mark.parametrize(("known_count", "count"), [(60, 1000), (400, 3000), (19, 50)])
def test_more_new_recordings_do_not_make_chance_a_finding(known_count, count):
    rng, found, trials = np.random.default_rng(0), 0, 400
    for _ in range(trials):
        p = p_values(rng.normal(size=count), rng.normal(size=known_count))
        found += more_than_chance(int((p <= 0.05).sum()), count, known_count) < 0.05
    assert found / trials < 0.08
    assert more_than_chance(count // 2, count, known_count) < 1e-3


def test_without_a_spectrum_routing_speaks_alone():
    rng = np.random.default_rng(3)
    own = known(rng)
    mute = BothViews(own.heard.before, np.full_like(own.heard.spectrum, np.nan))
    space = Space.of(mute, own.kinds)
    new = views(rng, 3, 50, 6.0)
    far = space.distances(BothViews(new.before, np.full_like(new.spectrum, np.nan)))[0]
    assert np.isfinite(far).all() and np.median(far) > np.median(space.distances(mute)[0])


def test_recordings_are_compared_whatever_their_labels(detector_of, recorded, tmp_path):
    detector = detector_of(readout=True)
    table = read(recorded(tmp_path / "known", bona_fide=30, buzz=30))
    own = known_of_table(detector, table, HOW)
    assert set(own.kinds) == {"bonafide", "buzz"} and not np.isnan(own.heard.spectrum).any()
    folder = recorded(tmp_path / "made", bona_fide=12, first=400, a=1, b=1, hum=12)
    paths = sorted((folder / "spoof" / "hum").glob("*.wav")) + sorted((folder / "bonafide").glob("*.wav"))
    new = Table(tuple(Utterance(path, "bonafide", source=str(path)) for path in paths), "new")
    found = novelty(detector, new, own, HOW)
    assert (found.recordings, found.known, len(found.most_unlike)) == (24, 60, 10)
    assert all("/hum/" in item.path for item in found.most_unlike[:8])
    assert found.unlike >= 10 and found.p < 0.01 and "add an expert" in found.sentence
    assert sum(item.recordings for item in found.families) == 24
    assert found.families[0].unlike >= found.families[-1].unlike
    real = Table(new.utterances[12:], "real")
    calm = novelty(detector, real, own, HOW, longest=20)
    assert calm.recordings == 12 and calm.unlike < found.unlike


def test_which_folders_are_unlabelled(recorded, sound, tmp_path):
    import soundfile

    assert not is_unlabelled(recorded(tmp_path / "labelled", bona_fide=1, buzz=1))
    plain = tmp_path / "plain"
    plain.mkdir()
    assert not is_unlabelled(plain)
    (plain / "calls").mkdir()
    soundfile.write(plain / "calls" / "a.wav", sound(1), 16_000)
    assert is_unlabelled(plain)
    (plain / "manifest.csv").write_text("path,label\n")
    assert not is_unlabelled(plain)
    assert not is_unlabelled(plain / "calls" / "a.wav") and not is_unlabelled(tmp_path / "nowhere")


def test_attacks_of_one_source_each_are_missed_by_many_resamples():
    rng = np.random.default_rng(0)
    kinds = [f"a{at // 8}" for at in range(160)] + ["bonafide"] * 40
    sources = [f"rec{at // 8}" for at in range(160)] + [f"real{at}" for at in range(40)]
    count = len(kinds)
    views = BothViews(
        rng.random((count, 2, 3)).astype(np.float32), rng.random((count, 10)).astype(np.float32)
    )
    apart, (low, high) = left_out(KnownSpeech(views, tuple(kinds), tuple(sources)), "bonafide")
    assert len(apart) == 20 and 0 <= low < high <= 1
