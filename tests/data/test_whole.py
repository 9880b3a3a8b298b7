"""A forgery behind what a header states: everything that a player would play is heard, or the file is refused."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from molex_adapt.data import Channels, decode, listen, remarks_on, stream
from molex_adapt.data.behind import has_recording
from molex_adapt.errors import AudioError

FRONT, BACK = 1.0, 2.5
"""Seconds of what the header states, and of what follows."""


@pytest.fixture
def halves(voice) -> tuple[np.ndarray, np.ndarray]:
    return voice(FRONT, seed=1), 2 * voice(BACK, seed=2)


def written(path: Path, wave: np.ndarray, **how: str) -> bytes:
    soundfile.write(path, wave, 16_000, **how)
    return path.read_bytes()


def heard_to_the_end(path: Path, halves: tuple[np.ndarray, np.ndarray], tolerance: float = 0.15) -> None:
    """The second half is there, at its level; and a remark says that the header did not tell."""
    wave, heard = listen(path)
    assert abs(len(wave) / 16_000 - FRONT - BACK) <= tolerance
    ratio = np.std(wave[-20_000:-8_000]) / np.std(wave[2_000:14_000])
    assert ratio == pytest.approx(np.std(halves[1]) / np.std(halves[0]), rel=0.2)
    assert "header" in [remark.kind for remark in remarks_on(heard)]
    assert np.array_equal(np.concatenate(list(stream(path, block=0.3))), wave)


@pytest.mark.parametrize(
    ("suffix", "how"),
    [
        ("mp3", {}),
        ("flac", {}),
        ("ogg", {}),
        ("opus", {"format": "OGG", "subtype": "OPUS"}),
        ("wav", {}),
        ("au", {}),
        ("caf", {}),
    ],
)
def test_files_that_were_joined_are_heard_whole(tmp_path, halves, suffix, how):
    parts = [written(tmp_path / f"part.{suffix}", half, **how) for half in halves]
    (tmp_path / f"joined.{suffix}").write_bytes(b"".join(parts))
    heard_to_the_end(tmp_path / f"joined.{suffix}", halves, 0.25)


@pytest.mark.parametrize(
    ("suffix", "codec", "rate", "container"),
    [("aac", "aac", 16_000, None), ("webm", "libopus", 48_000, None), ("mka", "flac", 16_000, "matroska")],
)
def test_so_are_those_that_pyav_reads(tmp_path, encode, halves, suffix, codec, rate, container):
    parts = [
        encode(tmp_path / f"part{at}.{suffix}", codec, half, rate, container).read_bytes()
        for at, half in enumerate(halves)
    ]
    (tmp_path / f"joined.{suffix}").write_bytes(b"".join(parts))
    assert abs(len(decode(tmp_path / f"joined.{suffix}")) / 16_000 - FRONT - BACK) < 0.25


def flac_of(content: bytes, samples: int) -> bytes:
    """A FLAC file whose header states so many samples."""
    fields = int.from_bytes(content[18:26], "big") >> 36 << 36 | samples
    return content[:18] + fields.to_bytes(8, "big") + content[26:]


def with_length(content: bytes, mark: bytes, layout: str, length: int) -> bytes:
    """A file in which another length stands behind a mark."""
    at = content.index(mark) + len(mark)
    return content[:at] + struct.pack(layout, length) + content[at + struct.calcsize(layout) :]


LIES: dict[str, Callable[[bytes, int], bytes]] = {
    "a.flac": flac_of,
    "a.wav": lambda content, samples: with_length(content, b"data", "<I", 2 * samples),
    "a.au": lambda content, samples: with_length(content, b".snd\0\0\0\x18", ">I", 2 * samples),
    "a.aiff": lambda content, samples: with_length(content, b"SSND", ">I", 2 * samples + 8),
    "a.caf": lambda content, samples: with_length(content, b"data", ">q", 2 * samples + 4),
}


@pytest.mark.parametrize("name", LIES)
def test_a_header_that_states_less_is_not_believed(tmp_path, halves, name):
    whole = written(tmp_path / name, np.concatenate(halves))
    (tmp_path / name).write_bytes(LIES[name](whole, round(16_000 * FRONT)))
    heard_to_the_end(tmp_path / name, halves, 0.01)


@pytest.mark.parametrize("name", ["a.flac", "a.wav", "a.au"])
def test_a_header_that_states_nothing_is_no_fault(tmp_path, halves, name):
    whole = written(tmp_path / name, np.concatenate(halves))
    (tmp_path / name).write_bytes(LIES[name](whole, 0))
    heard_to_the_end(tmp_path / name, halves, 0.01)


@pytest.mark.parametrize("suffix", ["wav", "aiff", "au", "caf", "w64", "rf64"])
def test_a_file_that_ends_before_its_header_says_is_refused(tmp_path, halves, suffix):
    path = tmp_path / f"a.{suffix}"
    whole = written(path, np.concatenate(halves))
    path.write_bytes(whole[: len(whole) * 6 // 10])
    with pytest.raises(
        AudioError, match=rf"a\.{suffix}.*it breaks off 4\d,\d+ bytes before the end its header"
    ):
        decode(path)
    path.write_bytes(whole[:-200])
    channels = Channels()
    assert len(decode(path, channels=channels)) == pytest.approx(16_000 * (FRONT + BACK) - 100, abs=4)
    assert channels.notes == {}  # encoders round what they state


@pytest.mark.parametrize("length", [0xFFFFFFFF, 0xFFFFFFFF - 44, 0x7FFFFFFF, 0x7FFFF000])
def test_a_stream_that_was_never_finished_is_remarked(tmp_path, halves, length):
    whole = written(tmp_path / "a.wav", np.concatenate(halves))
    (tmp_path / "a.wav").write_bytes(with_length(whole, b"data", "<I", length))
    heard_to_the_end(tmp_path / "a.wav", halves, 0.01)


def test_a_second_chunk_of_samples_is_heard(tmp_path, halves):
    first = written(tmp_path / "a.wav", halves[0])
    more = (halves[1] * 32767).astype("<i2").tobytes()
    (tmp_path / "a.wav").write_bytes(first + b"data" + struct.pack("<I", len(more)) + more)
    heard_to_the_end(tmp_path / "a.wav", halves, 0.01)


def mpeg(path: Path, wave: np.ndarray, bit_rate: int) -> bytes:
    """MP3 without a table and without a reservoir, so that frames of several files may follow each other."""
    import av

    frame = av.AudioFrame.from_ndarray((wave * 32767).astype(np.int16)[None], format="s16", layout="mono")
    frame.sample_rate = 16_000
    with av.open(str(path), "w", options={"write_xing": "0", "id3v2_version": "0"}) as out:
        stream = out.add_stream("libmp3lame", rate=16_000, options={"reservoir": "0"})
        stream.layout, stream.bit_rate = "mono", bit_rate
        resampler = av.AudioResampler(stream.format, "mono", 16_000, stream.codec_context.frame_size)
        for part in resampler.resample(frame) + resampler.resample(None):
            out.mux(stream.encode(part))
        out.mux(stream.encode(None))
    return path.read_bytes()


@pytest.mark.parametrize("rates", [(64_000, 16_000), (16_000, 64_000)])
def test_without_a_table_the_length_of_an_mp3_is_an_estimate(tmp_path, halves, rates):
    frames = [mpeg(tmp_path / "a.mp3", half, rate) for half, rate in zip(halves, rates, strict=True)]
    (tmp_path / "vbr.mp3").write_bytes(b"".join(frames))
    with soundfile.SoundFile(tmp_path / "vbr.mp3") as file:
        assert abs(file.frames / 16_000 - FRONT - BACK) > 0.5  # what libsndfile makes of it
    assert abs(len(decode(tmp_path / "vbr.mp3")) / 16_000 - FRONT - BACK) < 0.4


def test_a_cut_off_mp3_is_still_refused(tmp_path, halves):
    whole = written(tmp_path / "a.mp3", np.concatenate(halves))
    (tmp_path / "a.mp3").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(AudioError, match="breaks off"):
        decode(tmp_path / "a.mp3")


@pytest.mark.parametrize(
    ("front", "back"),
    [
        ("wav", "flac"),
        ("wav", "mp3"),
        ("aiff", "wav"),
        ("flac", "mp3"),
        ("flac", "ogg"),
        ("mp3", "flac"),
        ("mp3", "wav"),
        ("ogg", "mp3"),
    ],
)
def test_another_kind_of_recording_behind_the_end_is_refused(tmp_path, halves, front, back):
    path = tmp_path / f"a.{front}"
    content = written(path, halves[0])
    path.write_bytes(content + written(tmp_path / f"b.{back}", halves[1]))
    with pytest.raises(AudioError, match=rf"a\.{front}.*(behind its end|cannot be decoded)"):
        decode(path)


@pytest.mark.parametrize(
    ("suffix", "how"),
    [
        *((suffix, {}) for suffix in ("wav", "rf64", "aiff", "caf", "w64", "au", "flac", "ogg")),
        ("wav", {"endian": "BIG"}),
        ("wav", {"subtype": "FLOAT"}),
    ],
)
def test_recordings_are_known_wherever_they_begin(tmp_path, voice, suffix, how):
    assert has_recording(b"\0" * 99 + written(tmp_path / f"a.{suffix}", voice(0.5), **how))


@pytest.mark.parametrize(
    ("suffix", "codec", "container"),
    [
        ("mka", "flac", "matroska"),
        ("webm", "libopus", None),
        ("mp3", "libmp3lame", None),
        ("avi", "pcm_s16le", None),
    ],
)
def test_so_are_those_that_ffmpeg_writes(tmp_path, encode, voice, suffix, codec, container):
    path = encode(tmp_path / f"a.{suffix}", codec, voice(0.5), 48_000, container)
    assert has_recording(b"\0" * 99 + path.read_bytes())


@pytest.mark.parametrize(
    "mark", [b"OggS", b"fLaC", b"RIFF", b"FORM", b"caff", b".snd", b"riff", b"\x1aE\xdf\xa3"]
)
def test_a_mark_that_noise_has_by_chance_is_no_recording(tmp_path, mark):
    wave = np.random.default_rng(0).integers(-32768, 32768, 8_000, dtype=np.int16)
    wave[7_000:7_002] = np.frombuffer(mark, ">i2")  # FLAC writes noise as it is
    path = tmp_path / "noise.flac"
    assert mark in written(path, wave)
    assert len(decode(path)) == len(wave)


def test_another_rate_behind_the_end_is_refused(tmp_path, halves):
    first = written(tmp_path / "a.wav", halves[0])
    soundfile.write(tmp_path / "b.wav", halves[1], 8_000)
    (tmp_path / "a.wav").write_bytes(first + (tmp_path / "b.wav").read_bytes())
    with pytest.raises(AudioError, match="behind its end, something else follows"):
        decode(tmp_path / "a.wav")


@pytest.fixture
def movie(tmp_path, encode, halves) -> Path:
    return encode(tmp_path / "a.m4a", "aac", np.concatenate(halves), container="ipod")


def test_what_an_edit_list_hides_is_heard(movie, halves):
    content = bytearray(movie.read_bytes())
    at = content.index(b"elst") + 12  # version, flags and count of entries stand before the first duration
    content[at : at + 4] = struct.pack(">I", round(1000 * FRONT))
    movie.write_bytes(content)
    heard_to_the_end(movie, halves)


@pytest.mark.parametrize("more", ["m4a", "mp3", "wav"])
def test_something_behind_an_mp4_file_is_refused(tmp_path, movie, halves, encode, more):
    if more == "m4a":
        behind = encode(tmp_path / "b.m4a", "aac", halves[1], container="ipod").read_bytes()
    else:
        behind = written(tmp_path / f"b.{more}", halves[1])
    movie.write_bytes(movie.read_bytes() + behind)
    with pytest.raises(AudioError, match=r"a\.m4a: behind its end, something else follows"):
        decode(movie)


def tracks(path: Path, *waves: np.ndarray) -> Path:
    import av

    with av.open(str(path), "w") as out:
        streams = [out.add_stream("flac", rate=16_000, layout="mono") for _ in waves]
        for stream, wave in zip(streams, waves, strict=True):
            for start in range(0, len(wave), 4608):
                part = (wave[None, start : start + 4608] * 32767).astype(np.int16)
                frame = av.AudioFrame.from_ndarray(part, format="s16", layout="mono")
                frame.sample_rate, frame.pts = 16_000, start
                out.mux(stream.encode(frame))
            out.mux(stream.encode(None))
    return path


def test_a_dead_first_track_is_passed_over_with_a_remark(tmp_path, halves):
    path = tracks(tmp_path / "a.mka", 0 * halves[0], halves[1])
    wave, heard = listen(path)
    assert len(wave) == len(halves[1])
    assert "track 2 of 2 was heard" in heard.notes["track"]


def test_tracks_that_are_the_same_are_heard_once(tmp_path, halves):
    assert len(decode(tracks(tmp_path / "a.mka", halves[0], halves[0]))) == len(halves[0])


def test_a_forgery_in_another_track_is_not_passed_over(tmp_path, halves):
    with pytest.raises(AudioError, match="2 audio tracks of different sound.*-map 0:a:0"):
        decode(tracks(tmp_path / "a.mka", *halves))


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
@pytest.mark.parametrize(
    ("suffix", "how"),
    [("ogg", {}), ("flac", {}), ("mp3", {}), ("opus", {"format": "OGG", "subtype": "OPUS"})],
)
def test_files_of_any_length_are_ordinary(tmp_path, voice, suffix, how, rate):
    """FFmpeg takes the last packet of a Vorbis file of one page for hours long."""
    rate = 48_000 if suffix == "opus" and rate == 44_100 else rate
    for seconds in (0.1, 0.3, 0.5, 0.75, 1.0, 1.37, 2.6):
        soundfile.write(tmp_path / f"a.{suffix}", voice(seconds, rate=rate), rate, **how)
        channels = Channels()
        wave = decode(tmp_path / f"a.{suffix}", channels=channels)
        assert channels.notes == {} and abs(len(wave) / 16_000 - seconds) < 0.03


def test_ordinary_files_are_read_once_and_without_remark(tmp_path, voice, encode):
    tagged = (
        written(tmp_path / "tagged.wav", voice())
        + b"LIST"
        + struct.pack("<I", 5_000)
        + bytes(range(1, 251)) * 20
    )
    (tmp_path / "tagged.wav").write_bytes(tagged)
    padded = written(tmp_path / "padded.wav", voice()) + bytes(50_000)
    (tmp_path / "padded.wav").write_bytes(padded)
    for suffix in ("wav", "flac", "mp3", "ogg", "aiff", "au", "caf", "w64", "rf64"):
        written(tmp_path / f"a.{suffix}", voice())
    (tmp_path / "tag.mp3").write_bytes((tmp_path / "a.mp3").read_bytes() + b"TAG" + bytes(range(1, 126)))
    encode(tmp_path / "a.m4a", "aac", voice(), container="ipod")
    for path in tmp_path.iterdir():
        channels = Channels()
        assert abs(len(decode(path, channels=channels)) - 16_000) < 1_300, path
        assert channels.notes == {}, path


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_floats_beyond_full_scale_are_turned_down_not_cut(tmp_path, write, voice, subtype):
    quiet = voice() / np.abs(voice()).max()
    wave, heard = listen(write(tmp_path / "loud.wav", 3 * quiet, subtype=subtype))
    assert np.abs(wave - quiet).max() < 1e-6
    assert "samples up to 3.0 times full scale" in heard.notes["level"]
    assert {"level"} == {remark.kind for remark in remarks_on(heard)} - {"narrow"}  # as `voice` is
    assert np.array_equal(np.concatenate(list(stream(tmp_path / "loud.wav", block=0.2))), wave)


def test_and_so_are_those_in_a_container_that_pyav_reads(tmp_path, voice):
    import av

    quiet = voice() / np.abs(voice()).max()
    with av.open(str(tmp_path / "a.mka"), "w") as out:
        stream = out.add_stream("pcm_f32le", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(3 * quiet[None], format="flt", layout="mono")
        frame.sample_rate = 16_000
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    assert np.abs(decode(tmp_path / "a.mka") - quiet).max() < 1e-6


def test_the_table_of_an_mp3_may_lie(tmp_path, halves, encode):
    content = bytearray(encode(tmp_path / "a.mp3", "libmp3lame", np.concatenate(halves)).read_bytes())
    at = max(content.find(b"Xing"), content.find(b"Info")) + 8
    content[at : at + 4] = struct.pack(">I", struct.unpack(">I", content[at : at + 4])[0] // 7)
    (tmp_path / "a.mp3").write_bytes(content)
    with soundfile.SoundFile(tmp_path / "a.mp3") as file:
        assert file.frames < 16_000 * FRONT
    assert abs(len(decode(tmp_path / "a.mp3")) / 16_000 - FRONT - BACK) < 0.15


def test_tags_between_joined_mp3_files_do_no_harm(tmp_path, halves):
    first, second = (written(tmp_path / "part.mp3", half) for half in halves)
    tag = b"ID3\x04\0\0\0\0\x10\0" + bytes(2048)
    (tmp_path / "joined.mp3").write_bytes(first + tag + second)
    heard_to_the_end(tmp_path / "joined.mp3", halves, 0.25)


def test_pictures_in_tags_are_no_frames(tmp_path, voice):
    picture = np.random.default_rng(0).bytes(60_000)  # with what looks like frames
    footer = b"APETAGEX" + struct.pack("<IIII", 2000, len(picture) + 32, 1, 0) + bytes(8)
    content = written(tmp_path / "a.mp3", voice()) + picture + footer + b"TAG" + bytes(125)
    (tmp_path / "a.mp3").write_bytes(content)
    channels = Channels()
    assert abs(len(decode(tmp_path / "a.mp3", channels=channels)) - 16_000) < 1_300
    assert channels.notes == {}


@pytest.mark.parametrize("subtype", ["PCM_24", "FLOAT", "ULAW", "IMA_ADPCM", "MS_ADPCM"])
def test_so_it_is_in_every_coding_of_wav(tmp_path, halves, subtype):
    whole = written(tmp_path / "a.wav", np.concatenate(halves), subtype=subtype)
    at = whole.index(b"data") + 4
    (length,) = struct.unpack("<I", whole[at : at + 4])
    (tmp_path / "a.wav").write_bytes(with_length(whole, b"data", "<I", length // 7 // 2 * 2))
    heard_to_the_end(tmp_path / "a.wav", halves, 0.15)


def test_long_lengths_of_rf64_are_not_believed_either(tmp_path, halves):
    whole = written(tmp_path / "a.rf64", np.concatenate(halves), format="RF64")
    at = whole.index(b"ds64") + 16
    (tmp_path / "a.rf64").write_bytes(whole[:at] + struct.pack("<QQ", 32_000, 16_000) + whole[at + 16 :])
    heard_to_the_end(tmp_path / "a.rf64", halves, 0.01)


@pytest.mark.parametrize("more", ["mp3", "wav"])
def test_something_behind_a_matroska_file_is_refused(tmp_path, halves, encode, more):
    path = encode(tmp_path / "a.mka", "flac", halves[0], container="matroska")
    path.write_bytes(path.read_bytes() + written(tmp_path / f"b.{more}", halves[1]))
    with pytest.raises(AudioError, match="behind its end, something else follows"):
        decode(path)


def ogg_page_sum(page: bytes) -> int:
    """The checksum of an Ogg page (RFC 3533)."""
    found = 0
    for byte in page:
        found ^= byte << 24
        for _ in range(8):
            found = (found << 1 ^ (0x04C11DB7 if found & 0x80000000 else 0)) & 0xFFFFFFFF
    return found


def test_positions_of_ogg_pages_that_stand_still_hide_nothing(tmp_path, halves):
    content = written(tmp_path / "a.ogg", np.concatenate(halves))
    pages = bytearray()
    at = 0
    while at < len(content):
        size = 27 + content[at + 26] + sum(content[at + 27 : at + 27 + content[at + 26]])
        page = bytearray(content[at : at + size])
        (position,) = struct.unpack("<q", page[6:14])
        page[6:14], page[22:26] = struct.pack("<q", min(position, round(16_000 * FRONT))), bytes(4)
        page[22:26] = struct.pack("<I", ogg_page_sum(page))
        pages += page
        at += size
    (tmp_path / "a.ogg").write_bytes(pages)
    heard_to_the_end(tmp_path / "a.ogg", halves)
