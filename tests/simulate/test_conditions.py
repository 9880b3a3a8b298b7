from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from scipy.signal import correlate, stft, welch

from molex_adapt.data.manifest import read_manifest
from molex_adapt.errors import MolexError, RecipeError
from molex_adapt.run import Run
from molex_adapt.simulate import CONDITIONS, Finish, make_attack, make_condition, read_condition, simulate
from molex_adapt.simulate.condition import joined, settle
from molex_adapt.simulate.drawn import POOL
from molex_adapt.simulate.shaping import active_level, frame_power
from tests.simulate.test_attacks import distance

CODECS = ("opus", "mp3", "aac", "vorbis", "amr_nb", "gsm", "g722", "mu_law", "a_law")


def through(text, wave, seed=0):
    return read_condition(text).apply(wave, np.random.default_rng(seed))


def power_db(wave, low, high):
    hertz, power = welch(wave, 16_000, nperseg=1024)
    return 10 * np.log10(power[(hertz > low) & (hertz < high)].mean() + 1e-20)


@pytest.mark.parametrize("name", CONDITIONS)
def test_every_condition_keeps_the_speech_and_depends_on_chance_alone(name, speech):
    wave, condition = speech(1, 1.6), make_condition(name)
    condition.check()
    recorded = condition.apply(wave, np.random.default_rng(0))
    assert recorded.dtype == np.float32 and recorded.ndim == 1
    assert recorded.size == pytest.approx(wave.size, abs=9_600 if name == "finish" else 3_200)
    condition.apply(speech(9, 0.7), np.random.default_rng(4))
    assert np.array_equal(recorded, condition.apply(wave, np.random.default_rng(0)))
    finish = Finish(codec="none")
    assert distance(finish.apply(recorded), finish.apply(wave)) < distance(
        finish.apply(speech(9, 1.6)), finish.apply(wave)
    )


@pytest.mark.parametrize("name", CODECS)
def test_codecs_leave_traces_and_lose_no_speech(name, speech):
    """A burst right at the end of the recording must still be there."""
    finish = Finish(codec="none")
    real = finish.apply(speech(1, 1.6))
    assert distance(finish.apply(through(name, speech(1, 1.6))), real) > 0.1
    wave = np.concatenate([np.zeros(8000, np.float32), speech(7)[3200:6400]])
    assert finish.apply(through(name, wave)).size > 0.8 * finish.apply(wave).size


@pytest.mark.parametrize("name", CODECS)
def test_codecs_leave_speech_where_it_is(name, speech):
    """Within 5 ms, or times of a manifest would not hold, and a delay would tell the codec."""
    gentle = {
        "opus": ":bit_rate=32000",
        "mp3": ":bit_rate=64000",
        "aac": ":bit_rate=48000",
        "amr_nb": ":bit_rate=12200",
    }
    wave = speech(1, 1.6)
    coded = through(name + gentle.get(name, ""), wave)
    lag = int(np.abs(correlate(coded, wave)).argmax()) - (wave.size - 1)
    assert abs(lag) <= 80


@pytest.mark.parametrize("name", CONDITIONS)
@pytest.mark.parametrize("size", [1, 200, 1500])
def test_tiny_recordings_pass_or_are_refused(name, size, speech):
    try:
        recorded = make_condition(name).apply(speech(3)[:size], np.random.default_rng(0))
    except (MolexError, ValueError, RuntimeError):
        return
    assert recorded.ndim == 1


@pytest.mark.parametrize(
    ("gentle", "harsh"),
    [
        ("opus:bit_rate=32000", "opus:bit_rate=6000"),
        ("mp3:bit_rate=64000", "mp3:bit_rate=8000"),
        ("aac:bit_rate=48000", "aac:bit_rate=8000"),
        ("vorbis:quality=0.9", "vorbis:quality=0"),
        ("amr_nb:bit_rate=12200", "amr_nb:bit_rate=4750"),
        ("gsm", "gsm:passes=4"),
        ("noise:snr=40", "noise:snr=5"),
        ("room:decay=0.1,direct=20", "room:decay=0.5,direct=0"),
        ("clip:headroom=5", "clip:headroom=0.7"),
        ("resample:rate=8000", "resample:rate=4000"),
    ],
)
def test_parameters_act(gentle, harsh, speech):
    wave, finish = speech(4, 1.6), Finish(codec="none")
    near, far = (distance(finish.apply(through(text, wave)), finish.apply(wave)) for text in (gentle, harsh))
    assert near < far


@pytest.mark.parametrize("rate", [8000, 12000])
def test_low_rates_do_not_cut_the_band(rate, speech):
    wave, finish = speech(4, 1.6), Finish(codec="none")
    coded = through(f"aac:bit_rate={rate}", wave)
    real, fake = (
        np.abs(stft(finish.apply(each), 16_000, nperseg=512)[2])[97:106].mean() for each in (wave, coded)
    )
    assert 20 * np.log10(fake / real) > -5


def test_long_speech_goes_through_vorbis(speech):
    """libsndfile keeps what it is given at once on the stack, and would end the process."""
    wave = np.tile(speech(1, 1.0), 200)
    assert through("vorbis", wave).size == pytest.approx(wave.size, abs=3_200)


def test_a_band_is_empty_outside(speech):
    wave = speech(1, 1.6)
    narrow = through("band:low=500,high=2500", wave)
    assert narrow.size == wave.size
    assert power_db(narrow, 2700, 8000) < power_db(narrow, 700, 2400) - 60
    assert power_db(narrow, 50, 400) < power_db(wave, 50, 400) - 40
    assert power_db(narrow, 700, 2400) == pytest.approx(power_db(wave, 700, 2400), abs=0.5)


@pytest.mark.parametrize("wanted", [-36.0, -20.0])
def test_a_level_is_reached(wanted, speech):
    assert active_level(through(f"level:dbfs={wanted}", speech(2))) == pytest.approx(wanted, abs=0.3)


@pytest.mark.parametrize(("colour", "slope"), [(0, 0), (1, -10)])
def test_noise_has_its_level_and_colour(colour, slope, speech):
    wave = speech(3, 1.6)
    noise = through(f"noise:snr=20,colour={colour}", wave) - wave
    level = 10 * np.log10(np.square(noise.astype(np.float64)).mean())
    assert level == pytest.approx(active_level(wave) - 20, abs=0.2)
    assert power_db(noise, 3000, 5000) - power_db(noise, 300, 500) == pytest.approx(slope, abs=2.5)


def test_a_room_outlasts_the_sound(speech):
    wave = np.concatenate([speech(5)[:8000], np.zeros(8000, np.float32)])
    after = [frame_power(through(f"room:decay={decay}", wave))[27:32].mean() for decay in (0.1, 0.5)]
    assert 10 * np.log10(after[1] / after[0]) > 10
    assert frame_power(wave)[27:32].mean() == 0


def test_peaks_are_cut(speech):
    wave = speech(6)
    cut = through("clip:headroom=1.5", wave)
    assert np.abs(cut).max() == pytest.approx(10 ** (active_level(wave) / 20) * 1.5, rel=1e-4)
    assert (np.abs(cut) <= np.abs(wave) + 1e-7).all()


def test_resampling_loses_the_upper_half(speech):
    wave = speech(7)
    assert power_db(through("resample", wave), 4500, 8000) < power_db(wave, 4500, 8000) - 40


@pytest.mark.parametrize("text", ["noise", "room", "clip", "level", "band:low=[0,500],high=[3000,7000]"])
def test_spans_are_drawn_from(text, speech):
    one, two = (through(text, speech(8), seed) for seed in (0, 1))
    assert not np.array_equal(one, two)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "NAME:key=value"),
        ("opus:", "NAME:key=value"),
        ("opus:bit_rate", "NAME:key=value"),
        ("opus:bit_rate=6000,bit_rate=8000", "each key once"),
        ("opus:bit_rate=[6000", "no YAML"),
        ("ops", "Did you mean 'opus'"),
        ("opus:bit_rat=6000", "Did you mean 'bit_rate'"),
        ("amr_nb:bit_rate=6000", "bit_rate = 6000"),
        ("noise:snr=[30,3]", "lowest value comes first"),
        ("noise:snr=.nan", "snr = nan"),
        ("band:low=4000", "every low edge below"),
        ("band:high=9000", "high = 9000"),
        ("drawn:count=[1,99]", "count"),
        ("finish:band=[3000,300]", "expected 0 <= low"),
    ],
)
def test_what_cannot_be_meant_is_refused(text, told):
    with pytest.raises(RecipeError) as caught:
        read_condition(text)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        *CONDITIONS,
        "opus:bit_rate=[8000,24000],application=audio",
        "band:low=0,high=[3400,7600]",
        "finish:codec=none,band=[50,7000],trim=false",
        "vorbis:quality=0.5",
    ],
)
def test_a_condition_reads_back_from_its_name(text):
    condition = read_condition(text)
    assert str(condition) == text
    record = condition.record()
    assert make_condition(record.pop("name"), record) == condition


def test_names_of_chains():
    rng = np.random.default_rng(0)
    chain = settle([read_condition("noise:snr=20"), read_condition("gsm")], rng)
    assert chain.name == "noise:snr=20+gsm"
    assert settle([], rng).name == "none"
    assert joined([None, "none"]) == "none" and joined(["C05", "none", "gsm"]) == "C05+gsm"


def test_what_is_drawn_varies_in_number_and_kind_and_has_short_names():
    drawn = make_condition("drawn", {"count": [0, 2]})
    found = Counter(settle([drawn], np.random.default_rng(seed)).name for seed in range(600))
    counts = Counter(0 if name == "none" else name.count("+") + 1 for name in found.elements())
    assert set(counts) == {0, 1, 2} and min(counts.values()) > 120
    order = [condition.name for condition in POOL]
    for name in set(found) - {"none"}:
        places = [order.index(part) for part in name.split("+")]
        assert places == sorted(set(places))
    assert {part for name in found for part in name.split("+")} == {"none", *order}


def forged(recordings, out, texts, name="lpc", seed=1, **options):
    chain = [read_condition(text) for text in texts]
    done = simulate(
        make_attack(name), recordings, out, conditions=chain, run=Run(seed=seed, workers=1), **options
    )
    assert done.failed == ()
    return read_manifest(done.manifest)


def waves(table, label):
    return {row.source: soundfile.read(row.path)[0] for row in table if row.label == label}


def test_nothing_is_applied_unless_asked_for(recordings, tmp_path):
    table = forged(recordings, tmp_path / "out", [])
    assert {row.condition for row in table} == {"none"}
    for row in recordings:
        real = soundfile.read(row.path)[0]
        assert np.abs(waves(table, "bonafide")[row.source] - real).max() < 1e-4


def test_both_classes_go_through_the_chain_in_order(recordings, tmp_path):
    table = forged(recordings, tmp_path / "out", ["band:low=0,high=2000", "level:dbfs=-30"])
    assert {row.condition for row in table} == {"band:low=0,high=2000+level:dbfs=-30"}
    for label in ("bonafide", "spoof"):
        for wave in waves(table, label).values():
            assert active_level(wave) == pytest.approx(-30, abs=0.3)
            assert power_db(wave, 2300, 8000) < power_db(wave, 200, 1800) - 50


def test_the_null_control_is_bona_fide_speech_in_another_condition(recordings, tmp_path):
    table = forged(recordings, tmp_path / "out", [], "null")
    real, copies = waves(table, "bonafide"), waves(table, "spoof")
    assert {(row.label, row.condition) for row in table} == {("bonafide", "none"), ("spoof", "resample")}
    for source, wave in real.items():
        assert power_db(copies[source], 300, 3500) == pytest.approx(power_db(wave, 300, 3500), abs=0.3)
        assert power_db(copies[source], 4500, 8000) < power_db(wave, 4500, 8000) - 20


def test_chance_is_drawn_for_each_class_apart_but_from_one_distribution(recordings, tmp_path):
    """The seed alone decides; a second run, other attacks and workers change nothing of the bona fide class."""
    table = forged(recordings, tmp_path / "a", ["drawn"])
    again = forged(recordings, tmp_path / "b", ["drawn"], "null")
    named = {(row.source, row.label): row.condition for row in table}
    assert {key: value for key, value in named.items() if key[1] == "bonafide"} == {
        (row.source, row.label): row.condition for row in again if row.label == "bonafide"
    }
    for source, wave in waves(table, "bonafide").items():
        assert np.array_equal(wave, waves(again, "bonafide")[source])
    assert any(named[row.source, "bonafide"] != named[row.source, "spoof"] for row in recordings)
    found: dict[str, list[str]] = {"bonafide": [], "spoof": []}
    for seed in range(12):
        for row in forged(
            recordings, tmp_path / f"{seed}", ["drawn:count=[0,1]", "level"], seed=seed, limit=1
        ):
            found[row.label].append(row.condition)
    assert len(set(found["bonafide"])) > 2 and len(set(found["spoof"])) > 2


def test_what_was_heard_before_stands_before_what_is_added(recordings, tmp_path):
    known = recordings.with_utterances(tuple(replace(row, condition="C05") for row in recordings))
    assert {row.condition for row in forged(known, tmp_path / "a", ["gsm"])} == {"C05+gsm"}
    spoken = forged(known, tmp_path / "b", [], "espeak")
    assert {(row.label, row.condition) for row in spoken} == {("bonafide", "C05"), ("spoof", "none")}


def test_recordings_over_full_scale_are_softened_not_clipped(recordings, tmp_path, monkeypatch):
    from molex_adapt.simulate.source_filter import Lpc

    monkeypatch.setattr(Lpc, "apply", lambda self, wave, rng: wave * np.float32(8))
    table = forged(recordings, tmp_path / "out", [], limit=2)
    for source, wave in waves(table, "spoof").items():
        real = waves(table, "bonafide")[source]
        assert np.abs(wave).max() == pytest.approx(0.99, abs=1e-3)
        assert np.corrcoef(wave, real)[0, 1] > 0.99999


@pytest.mark.parametrize("given", [20, 2.5, "60"])
def test_a_frame_may_be_given_as_a_number(given):
    assert CONDITIONS["opus"].model_validate({"frame_ms": given}).frame_ms == str(given)
