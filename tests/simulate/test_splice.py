from __future__ import annotations

import numpy as np
import pytest
import soundfile

from molex_adapt import Run
from molex_adapt.data import read
from molex_adapt.errors import AudioError, DataError, RecipeError
from molex_adapt.simulate import make_attack, simulate
from molex_adapt.simulate.conditions import make_condition


@pytest.mark.parametrize("by", ["world", "griffin_lim", "lpc", "codec2", "formant_shift"])
def test_only_the_stated_stretch_is_forged(by, speech):
    wave, attack = speech(1, 1.6), make_attack("splice", {"by": by, "share": [0.3, 0.4]})
    forged = attack.apply(wave, np.random.default_rng(5))
    first, end = attack.forged(wave.size, np.random.default_rng(5))
    assert 0.3 <= (end - first) / wave.size <= 0.4
    assert np.array_equal(forged[:first], wave[:first])
    assert np.array_equal(forged[end:], wave[end:])
    inside = slice(first + 160, end - 160)
    assert np.abs(forged[inside] - wave[inside]).max() > 0.01
    assert np.square(forged[inside]).mean() == pytest.approx(np.square(wave[inside]).mean(), rel=0.5)
    # No jump at either edge: within the fade the difference grows from nothing.
    assert np.abs(forged - wave)[[first, end - 1]].max() < 0.05 * np.abs(wave).max()


def test_manifests_say_from_when_to_when(recorded, tmp_path):
    speech = read(recorded(tmp_path / "speech", bona_fide=3, buzz=0))
    attack = make_attack("splice", {"by": "lpc"})
    noise = make_condition("level")
    made = simulate(attack, speech, tmp_path / "data", conditions=[noise], run=Run(workers=1))
    table = read(made.manifest)
    assert {item.forged for item in table if item.label == "bonafide"} == {None}
    spoofed = [item for item in table if item.label == "spoof"]
    assert len(spoofed) == 3
    for item in spoofed:
        ((first, end),) = item.forged
        assert 0 <= first < end <= soundfile.info(item.path).duration
        assert end - first > 0.15
    again = simulate(attack, speech, tmp_path / "data", conditions=[noise], run=Run(workers=1))
    assert [item.forged for item in read(again.manifest)] == [item.forged for item in table]
    with pytest.raises(DataError, match="--condition finish:trim=false"):
        simulate(attack, speech, tmp_path / "other", conditions=[make_condition("finish")])
    simulate(attack, speech, tmp_path / "other", conditions=[make_condition("finish", {"trim": False})])


@pytest.mark.parametrize("condition", ["opus", "aac", "gsm"])
def test_times_hold_whatever_a_codec_adds_at_the_end(condition, recordings, tmp_path):
    """The attack draws its stretch from the recording, which a codec makes longer afterwards."""
    attack, found = make_attack("splice", {"by": "lpc"}), []
    coding = [make_condition(condition)]
    for name, conditions in (("plain", []), ("coded", coding), ("coded", coding)):  # the last finds all there
        made = simulate(attack, recordings, tmp_path / name, conditions=conditions, run=Run(workers=1))
        found.append([item.forged for item in read(made.manifest)])
    plain, coded, resumed = found
    assert plain == coded == resumed
    assert len([times for times in plain if times is not None]) == len(recordings)


def test_too_short_a_recording_and_wrong_parameters_are_refused(speech):
    with pytest.raises(AudioError, match="0.30 s is too short to be forged in part"):
        make_attack("splice", {"by": "lpc"}).apply(speech(1)[:4800], np.random.default_rng(0))
    with pytest.raises(RecipeError, match="attack to splice from 'espeak'"):
        make_attack("splice", {"by": "espeak"})
    with pytest.raises(RecipeError, match="order"):
        make_attack("splice", {"by": "lpc", "parameters": {"order": 1000}})
    with pytest.raises(RecipeError, match="shares above 0"):
        make_attack("splice", {"share": [0.2, 1.0]})


def test_the_manifest_column_is_checked(tmp_path):
    path = tmp_path / "list.csv"
    for text, fault in (("spoof,2.0-1.0", "such as 0.84-1.62"), ("bonafide,0-1", "that is forged from")):
        path.write_text(f"path,label,forged\na.wav,{text}\n")
        with pytest.raises(DataError, match=fault):
            read(path)
