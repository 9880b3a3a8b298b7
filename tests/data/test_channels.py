from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from molex_adapt.data import Channels, Table, Utterance, audit, decode, listen
from molex_adapt.errors import AudioError


def counted(*waves: np.ndarray, block: int = 5_000) -> Channels:
    """Channels that heard these waves side by side, in blocks."""
    found, whole = Channels(), np.stack(waves, axis=1)
    for start in range(0, len(whole), block):
        found.add(whole[start : start + block])
    return found


def stereo_m4a(path: Path, left: np.ndarray, right: np.ndarray) -> Path:
    import av

    data = (np.stack([left, right]) * 32767).astype(np.int16)
    with av.open(str(path), "w", format="ipod") as out:
        stream = out.add_stream("aac", rate=16_000)
        stream.layout, stream.bit_rate = "stereo", 96_000
        for start in range(0, data.shape[1] - 1023, 1024):
            packed = np.ascontiguousarray(data[:, start : start + 1024].T).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(packed, format="s16", layout="stereo")
            frame.sample_rate, frame.pts = 16_000, start
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def stereo(path: Path, left: np.ndarray, right: np.ndarray) -> Path:
    if path.suffix == ".m4a":
        return stereo_m4a(path, left, right)
    soundfile.write(path, np.stack([left, right], axis=1), 16_000)
    return path


def test_speech_has_no_fault(voice):
    for waves in ([voice()], [voice(), voice()], [voice(), voice(seed=1)], [voice(), 0.3 * voice(seed=2)]):
        assert counted(*waves).fault() is None


@pytest.mark.parametrize("rate", [16_000, 8_000, 44_100])
@pytest.mark.parametrize(("value", "says"), [(0.0, "every sample is 0"), (0.25, "every sample is the same")])
def test_digital_silence_is_refused_whatever_its_rate(tmp_path, write, rate, value, says):
    path = write(tmp_path / "a.wav", np.full(rate, value, np.float32), rate)
    with pytest.raises(AudioError, match=rf"a\.wav: digital silence: {says}"):
        listen(path)


def test_silence_under_a_constant_offset_is_silence(voice):
    assert "silent: peak" in counted(0.3 + 1e-4 * voice()).fault()
    assert counted(0.3 + 0.5 * voice()).fault() is None


def test_a_little_noise_is_silence_but_not_digital(tmp_path, write):
    noise = (1e-4 * np.random.default_rng(0).standard_normal(16_000)).astype(np.float32)
    with pytest.raises(AudioError, match=r"a\.wav: silent: peak -6\d dB, RMS -80 dB"):
        listen(write(tmp_path / "a.wav", noise, subtype="FLOAT"))


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3", "a.m4a"])
@pytest.mark.parametrize(("dead", "alive"), [(0, 1), (1, 0)])
def test_a_dead_channel_is_refused_in_every_container(tmp_path, voice, name, dead, alive):
    waves = [voice(2.0), voice(2.0)]
    waves[dead] = np.zeros_like(waves[dead])
    with pytest.raises(AudioError, match=rf"dead channel: channel {dead + 1} of 2 .*c0=c{alive}"):
        listen(stereo(tmp_path / name, *waves))


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3", "a.m4a"])
def test_channels_in_anti_phase_are_refused_in_every_container(tmp_path, voice, name):
    with pytest.raises(
        AudioError, match="channels in anti-phase: .* in their mean|channels in anti-phase: .* dB weaker"
    ):
        listen(stereo(tmp_path / name, voice(2.0), -voice(2.0)))


@pytest.mark.parametrize(
    ("other", "refused"),
    [
        (-1.0, True),
        (-0.9, True),
        (-0.5, False),  # what is left is a fainter copy of the speech, not its difference
        (0.0, True),  # dead
        (1.0, False),
    ],
)
def test_how_much_of_the_mean_must_be_left(voice, other, refused):
    assert (counted(voice(), other * voice()).fault() is not None) == refused


def test_nearly_anti_phase_is_judged_by_what_cancels(voice):
    noise = np.random.default_rng(0).standard_normal(16_000).astype(np.float32) * np.std(voice())
    nearly = counted(voice(), -voice() + 0.1 * noise)  # correlation -0.995
    assert nearly.fault().startswith("channels in anti-phase") and nearly.lost > 20
    half = counted(voice(), -voice() + 0.5 * noise)  # correlation -0.9
    assert half.fault() is None and 10 < half.lost < 15
    assert counted(voice(), voice(seed=3)).lost == pytest.approx(3.0, abs=1.0)
    assert counted(voice()).lost == 0


def test_an_offset_does_not_hide_anti_phase(voice):
    assert "anti-phase" in counted(0.2 + voice(), 0.2 - voice()).fault()


def test_of_more_than_two_channels_silent_ones_are_usual(voice):
    none = np.zeros(16_000, np.float32)
    assert counted(voice(), voice(seed=1), voice(seed=2), none, none, none).fault() is None
    assert "the channels" not in str(counted(none, none, voice()).fault())
    assert "anti-phase" in counted(voice(), -voice(), none, none, none, none).fault()
    assert "digital silence" in counted(*[none] * 6).fault()


def test_blocks_do_not_change_what_is_counted(voice):
    waves = voice(10.0), voice(10.0, seed=1)
    whole, parts = counted(*waves, block=1 << 20), counted(*waves, block=37)
    assert parts.lost == pytest.approx(whole.lost, rel=1e-9)
    assert parts.clipped == whole.clipped


def test_memory_is_that_of_a_chunk(voice):
    found = Channels()
    for _ in range(500):
        found.add(voice(0.1)[:, None])
    assert found._held_samples < 1 << 16
    assert sum(map(len, found._held)) < 1 << 16


def test_a_codec_may_change_its_number_of_channels(voice):
    found = Channels()
    found.add(voice()[:, None])
    found.add(np.stack([voice(), voice(seed=1)], axis=1))
    found.add(voice()[:, None])
    assert found.fault() is None and found.clipped == 0


def test_clipping_of_one_channel_is_counted(voice):
    loud = np.clip(9 * voice(), -1, 1)
    share = np.mean(np.abs(loud) == 1)
    assert counted(loud, 0.5 * voice()).clipped == pytest.approx(share / 2) and share > 0.1
    assert counted(voice()).clipped == 0


def test_decoding_counts_and_returns_the_same_samples(tmp_path, voice):
    path = stereo(tmp_path / "a.m4a", voice(2.0), voice(2.0, seed=1))
    assert np.array_equal(decode(path, channels=Channels()), decode(path))


def test_training_leaves_out_what_scoring_refuses(tmp_path, voice):
    paths = [
        stereo(tmp_path / "dead.wav", voice(), 0 * voice()),
        stereo(tmp_path / "phase.wav", voice(), -voice()),
        stereo(tmp_path / "good.wav", voice(), voice(seed=1)),
    ]
    found = audit(Table(tuple(Utterance(path, "bonafide") for path in paths), "made up"))
    assert [item.path.name for item in found.table] == ["good.wav"]
    assert [item.reason.split(":")[0] for item in found.failed] == ["dead channel", "channels in anti-phase"]
    assert all(item.by_rule for item in found.failed)
