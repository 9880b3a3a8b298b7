from __future__ import annotations

import numpy as np
import pytest

from molex_adapt.errors import AudioError, DataError
from molex_adapt.simulate import make_attack
from molex_adapt.simulate.attack import TextToSpeech
from molex_adapt.simulate.plan import choose_speakable

SENTENCE = "Please enter your number."


def speak(attack: TextToSpeech, seed: int = 0, text: str = SENTENCE, language: str | None = "en-US"):
    return attack.speak(text, language, np.random.default_rng(seed))


@pytest.fixture(params=["espeak", "hibari", "piper"])
def voice(request):
    attack = make_attack(request.param, {})
    attack.check()
    return attack


def test_a_sentence_sounds_like_speech(voice):
    wave = speak(voice)
    assert wave.dtype == np.float32
    assert 0.8 < wave.size / 16_000 < 5
    power = np.abs(np.fft.rfft(wave)) ** 2
    bins = np.fft.rfftfreq(wave.size, 1 / 16_000)
    assert power[(bins > 80) & (bins < 4000)].sum() > 0.7 * power.sum()


def test_chance_alone_decides(voice):
    first, other, again = speak(voice, 1), speak(voice, 2, "Something else, in between."), speak(voice, 1)
    assert np.array_equal(first, again)
    assert first.size != other.size
    assert speak(voice, 3).tobytes() != first.tobytes()


def test_nothing_to_say_is_refused(voice):
    with pytest.raises(AudioError):
        speak(voice, text="")


def test_espeak_speaks_with_several_voices_and_languages():
    attack = make_attack("espeak", {})
    waves = [speak(attack, seed) for seed in range(6)]
    assert len({wave.size for wave in waves}) == 6
    for language in ("es-MX", "fr-CA", "it-IT", "ru-RU", None, "de"):
        assert speak(attack, 0, "radio", language).size > 3000


def test_espeak_speed_and_voice_are_parameters():
    slow, fast = (
        speak(make_attack("espeak", {"voices": ["f2"], "words_per_minute": (w, w)})) for w in (100, 250)
    )
    assert slow.size > 1.4 * fast.size


def test_piper_draws_its_noise_by_the_seed():
    piper = make_attack("piper", {"length_scale": (1.4, 1.4)})
    assert speak(piper, 1).tobytes() != speak(piper, 2).tobytes()


def test_espeak_refuses_voices_and_languages_it_has_not():
    with pytest.raises(DataError, match="'nobody'"):
        make_attack("espeak", {"voices": ["f1", "nobody"]}).check()
    with pytest.raises(AudioError, match="tlh9"):
        speak(make_attack("espeak", {"language": "tlh9"}))


def test_one_language_voices_pass_over_the_others(recordings):
    rows = {row.source: row for row in recordings}
    rows["fr_CA_f_June/un"] = rows.pop(next(iter(rows)))
    object.__setattr__(rows["fr_CA_f_June/un"], "source", "fr_CA_f_June/un")
    chosen, skipped = choose_speakable(make_attack("hibari", {}), rows)
    assert len(chosen) == 5
    assert "'fr'" in skipped[0].reason
    assert len(choose_speakable(make_attack("espeak", {}), rows)[0]) == 6
