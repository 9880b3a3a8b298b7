from __future__ import annotations

import os
import resource
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from molex_adapt.data import audio
from molex_adapt.data.audio import decode, stream
from molex_adapt.data.sniff import holds_audio
from molex_adapt.errors import AudioError


@pytest.mark.parametrize(
    "subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"]
)
def test_every_sample_format_has_the_same_scale(tmp_path, voice, write, subtype):
    wave = voice()
    found = decode(write(tmp_path / "a.wav", wave, subtype=subtype))
    assert found.dtype == np.float32 and found.shape == wave.shape
    coarse = subtype in ("PCM_U8", "ULAW", "ALAW")
    assert np.abs(found - wave).max() < (0.02 if coarse else 1e-4)


@pytest.mark.parametrize("name", ["a.flac", "a.ogg", "a.mp3", "a.aiff", "a.w64", "a.opus"])
def test_soundfile_formats_have_their_length_and_level(tmp_path, voice, name):
    wave = voice()
    format = "OGG" if name == "a.opus" else None
    soundfile.write(tmp_path / name, wave, 16_000, format=format, subtype="OPUS" if format else None)
    found = decode(tmp_path / name)
    assert abs(len(found) - len(wave)) <= 1200
    assert np.std(found[:15_000]) == pytest.approx(np.std(wave), rel=0.1)


def test_gsm_in_wav(tmp_path, voice, write):
    wave = voice(rate=8_000)
    found = decode(write(tmp_path / "a.wav", wave, 8_000, "GSM610"))
    assert abs(len(found) - 2 * len(wave)) <= 640
    assert np.std(found[:15_500]) == pytest.approx(
        np.std(wave), rel=0.1
    )  # its last block is padded with noise


@pytest.mark.parametrize(
    ("name", "codec", "rate", "container"),
    [
        ("a.g722", "g722", 16_000, None),
        ("a.amr", "libopencore_amrnb", 8_000, None),
        ("a.aac", "aac", 16_000, None),
        ("a.m4a", "aac", 44_100, "ipod"),
        ("a.mp4", "aac", 16_000, None),
        ("a.webm", "libopus", 48_000, None),
    ],
)
def test_what_soundfile_cannot_read_goes_to_pyav(tmp_path, voice, encode, name, codec, rate, container):
    wave = voice(2.0)
    path = encode(tmp_path / name, codec, wave, rate, container)
    with pytest.raises(soundfile.SoundFileError):
        soundfile.read(path)
    found = decode(path)
    assert abs(len(found) - len(wave)) <= 2500
    assert np.std(found) == pytest.approx(np.std(wave), rel=0.2)


def test_a_raw_file_read_by_pyav_has_the_scale_of_soundfile(tmp_path, voice, encode):
    wave = voice()
    found = decode(encode(tmp_path / "a.g722", "g722", wave))
    lag = int(np.argmax(np.correlate(found[:4000], wave[:3900], "valid")))
    kept = min(len(found) - lag, len(wave))
    assert np.corrcoef(found[lag : lag + kept], wave[:kept])[0, 1] > 0.98


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000])
def test_any_rate_becomes_16_khz(tmp_path, write, rate):
    time = np.arange(rate) / rate
    found = decode(write(tmp_path / "a.wav", (0.5 * np.sin(2 * np.pi * 440 * time)).astype(np.float32), rate))
    assert abs(len(found) - 16_000) <= 1
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(len(found)) / 16_000)
    assert np.abs(found - expected)[200:-200].max() < 2e-3


def test_eight_channels_at_96_khz_are_averaged(tmp_path, write):
    wave = np.zeros((96_000, 8), np.float32)
    wave[:, 0], wave[:, 3] = 0.8, 0.4
    found = decode(write(tmp_path / "a.wav", wave, 96_000))
    assert found[500:-500] == pytest.approx(0.15, abs=1e-3)


@pytest.mark.parametrize("rate", [16_000, 44_100, 44_099])
def test_a_stretch_is_that_part_of_the_whole(tmp_path, voice, write, rate):
    path = write(tmp_path / "a.flac", voice(3.0, rate=rate), rate)
    whole = decode(path)
    part = decode(path, start=1.2345, duration=0.5)
    first = round(1.2345 * 16_000)
    assert len(part) == 8_000
    assert np.abs(part - whole[first : first + 8_000]).max() < 1e-6
    assert decode(path, start=2.9) == pytest.approx(whole[46_400:], abs=1e-6)


@pytest.mark.parametrize(("name", "codec", "rate"), [("a.mp4", "aac", 16_000), ("a.webm", "libopus", 48_000)])
def test_a_stretch_of_a_container_with_index_is_sought(tmp_path, voice, encode, name, codec, rate):
    path = encode(tmp_path / name, codec, voice(12.0), rate)
    whole = decode(path)
    part = decode(path, start=9.0, duration=1.0)
    off = [np.abs(part - whole[144_000 + lag :][:16_000]).max() for lag in range(-16, 17)]
    assert min(off) < 0.01  # Matroska counts in milliseconds, so up to 16 samples off


def test_a_long_file_is_not_decoded_whole_for_a_stretch(tmp_path, voice, write, monkeypatch):
    path = write(tmp_path / "a.flac", np.tile(voice(2.0), 100))
    read = []
    original = soundfile.SoundFile.read
    monkeypatch.setattr(
        soundfile.SoundFile, "read", lambda self, n, **how: read.append(n) or original(self, n, **how)
    )
    assert len(decode(path, start=150.0, duration=1.0)) == 16_000
    assert len(read) == 1


def test_blocks_join_to_the_whole(tmp_path, voice, write):
    path = write(tmp_path / "a.wav", voice(2.1, rate=22_050), 22_050)
    blocks = list(stream(path, block=0.4))
    assert [len(block) for block in blocks[:-1]] == [6_400] * 5 and 0 < len(blocks[-1]) <= 6_400
    assert np.array_equal(np.concatenate(blocks), decode(path))


def test_too_long_for_one_piece(tmp_path, voice, write, monkeypatch):
    monkeypatch.setattr(audio, "LONGEST", 1.0)
    path = write(tmp_path / "a.wav", voice(1.5))
    with pytest.raises(AudioError, match=r"Cut it into parts\.$"):
        decode(path)
    assert len(np.concatenate(list(stream(path)))) == 24_000


def test_overshoot_is_clipped(tmp_path, write):
    found = decode(write(tmp_path / "a.wav", np.full(16_000, 1.5, np.float32), subtype="FLOAT"))
    assert found.max() == 1.0


def test_the_header_states_a_length(tmp_path, write):
    assert audio.stated_seconds(write(tmp_path / "a.wav", np.zeros((4_000, 2)), 8_000)) == 0.5


def _wav(
    path: Path, size: int, rate: int = 16_000, channels: int = 1, payload: bytes = b"\1\2" * 2_000
) -> Path:
    """A WAV file whose header says what it is told to."""
    bytes_per_second = rate * channels * 2 & 0xFFFFFFFF
    head = struct.pack("<IHHIIHH", 16, 1, channels, rate, bytes_per_second, channels * 2 & 0xFFFF, 16)
    path.write_bytes(b"RIFF\xff\xff\xff\xffWAVEfmt " + head + b"data" + struct.pack("<I", size) + payload)
    return path


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFFFFF, 100_000])
def test_a_header_of_a_stream_that_was_never_finished_is_no_fault(tmp_path, size):
    assert len(decode(_wav(tmp_path / "a.wav", size))) == 2_000


@pytest.mark.parametrize("header", [{"rate": 1}, {"rate": 2**31 - 1}, {"channels": 65_535}, {"channels": 0}])
def test_a_lying_header_costs_an_error_and_no_memory(tmp_path, header):
    path = _wav(tmp_path / "a.wav", 0xFFFFFFFF, **header)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(AudioError, match=r"a\.wav"):
        decode(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("rate", [16_000, 8_000])
def test_samples_that_are_not_finite(tmp_path, voice, write, value, rate):
    wave = voice()
    wave[5_000] = value
    with pytest.raises(AudioError, match=r"a\.wav has samples that are NaN or infinite"):
        decode(write(tmp_path / "a.wav", wave, rate, "FLOAT"))


def test_integers_written_as_floats(tmp_path, voice, write):
    with pytest.raises(AudioError, match="divide them by 32768"):
        decode(write(tmp_path / "a.wav", voice() * 32_768, subtype="FLOAT"))


def test_a_cut_off_file(tmp_path, voice, write, encode):
    whole = write(tmp_path / "whole.flac", voice(3.0)).read_bytes()
    (tmp_path / "cut.flac").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(AudioError, match=r"cut\.flac cannot be decoded"):
        decode(tmp_path / "cut.flac")
    whole = encode(tmp_path / "whole.m4a", "aac", voice(3.0), container="ipod").read_bytes()
    (tmp_path / "cut.m4a").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(AudioError, match=r"cut\.m4a cannot be decoded"):
        decode(tmp_path / "cut.m4a")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("zero.wav", b"", "is empty"),
        ("text.wav", b"not audio\n" * 100, "cannot be decoded"),
        ("noise.mp3", bytes(range(7, 250)) * 40, "noise.mp3"),
        ("noise.aac", bytes(range(7, 250)) * 40, "noise.aac"),
        ("half.wav", b"RIFF\x00", "cannot be decoded"),
        ("bare.raw", b"\0" * 4_000, "headerless"),
        ("page.png", b"\x89PNG\r\n\x1a\n" + b"\0" * 100, "cannot be decoded"),
    ],
)
def test_what_is_no_audio(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(AudioError, match=message):
        decode(tmp_path / name)


def test_a_play_list_opens_no_other_file(tmp_path, voice, encode):
    encode(tmp_path / "a.aac", "aac", voice())
    (tmp_path / "list.wav").write_text(
        f"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{tmp_path}/a.aac\n#EXT-X-ENDLIST\n"
    )
    with pytest.raises(AudioError, match="cannot be decoded"):
        decode(tmp_path / "list.wav")


@pytest.mark.parametrize("path", ["absent.wav", "zero\0byte.wav", "/dev/zero", "x" * 5_000 + ".wav"])
def test_what_cannot_be_opened(tmp_path, path):
    with pytest.raises(AudioError):
        decode(tmp_path / path)


@pytest.mark.parametrize(
    "fault", [PermissionError(13, "Permission denied"), OSError(5, "Input/output error")]
)
def test_what_may_not_be_read(tmp_path, voice, write, monkeypatch, fault):
    """It is a fault of that recording: the others are scored."""
    path = write(tmp_path / "locked.wav", voice())

    def refuse(*_, **__):
        raise fault

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(AudioError, match=f"locked.wav' cannot be opened .*{fault.strerror}"):
        decode(path)


def test_a_folder_is_no_recording(tmp_path):
    with pytest.raises(AudioError, match="is a folder"):
        decode(tmp_path)


def test_one_sample_is_audio_and_none_is_not(tmp_path, write):
    assert len(decode(write(tmp_path / "one.wav", np.full(1, 0.5, np.float32)))) == 1
    with pytest.raises(AudioError, match="no samples"):
        decode(write(tmp_path / "none.wav", np.zeros(0, np.float32)))


@pytest.mark.parametrize(
    "stretch", [{"start": 2.0}, {"start": -1.0}, {"start": float("nan")}, {"duration": 0.0}]
)
def test_a_stretch_that_is_not_there(tmp_path, write, stretch):
    with pytest.raises(AudioError, match=r"a\.wav"):
        decode(write(tmp_path / "a.wav"), **stretch)


def test_a_name_that_is_no_text(tmp_path, write):
    path = tmp_path / os.fsdecode(b"a\xff.wav")
    write(tmp_path / "a.wav").rename(path)
    assert len(decode(path)) == 16_000


def test_without_pyav_the_message_says_what_to_install(tmp_path, voice, encode, monkeypatch):
    path = encode(tmp_path / "a.amr", "libopencore_amrnb", voice(), 8_000)
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(AudioError, match="pip install av"):
        decode(path)


def test_a_codec_that_nobody_knows_is_damage(tmp_path, voice):
    soundfile.write(tmp_path / "a.wav", voice(1.0), 16_000)
    content = bytearray((tmp_path / "a.wav").read_bytes())
    content[20:22] = b"\x34\x12"  # the format tag
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(AudioError, match="a codec that FFmpeg does not know"):
        decode(tmp_path / "a.wav")


def test_a_sample_format_that_cannot_be_read_is_the_files_own_fault(tmp_path, voice, encode):
    path = encode(tmp_path / "a.wav", "pcm_s64le", voice(1.0), 16_000)
    with pytest.raises(AudioError, match="a.wav.*samples in the format s64 are not read"):
        decode(path)


@pytest.mark.parametrize(
    "kind", ["WAV", "WAVEX", "W64", "RF64", "AIFF", "AU", "CAF", "FLAC", "OGG", "MP3", "NIST", "VOC"]
)
def test_a_recording_is_known_by_its_beginning(tmp_path, voice, kind):
    soundfile.write(tmp_path / "take", voice(1.0), 16_000, format=kind)
    assert holds_audio(tmp_path / "take")


def test_tags_in_another_encoding_do_no_harm(tmp_path, voice, encode):
    path = encode(tmp_path / "a.m4a", "aac", voice(1.0), container="ipod")
    content = path.read_bytes()
    assert b"Lavf" in content
    path.write_bytes(content.replace(b"Lavf", b"\x80\xe9vf"))
    assert len(decode(path)) > 15_000
