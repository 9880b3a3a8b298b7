"""What RNC packed comes out again, the games' files are read, and their voices are split as they were held out."""

from __future__ import annotations

import re

import numpy as np
import pytest

from molex_adapt.errors import DataError
from tools.wideband import games, rnc, speech
from tools.wideband.games import DRASCULA, GAMES, HEDGEWARS, SKY
from tools.wideband.spectra import RATE

EVEN = [4] * 16
"""Lengths of codes: all alike, or from 1 to 15 bits."""
UNEVEN = [*range(1, 16), 15]


class Packer:
    """Writes bits in words of 16, each at the place where its first bit was needed, and plain bytes between."""

    def __init__(self) -> None:
        self.out, self.place, self.used = bytearray(), 0, 16

    def bits(self, value: int, count: int) -> None:
        for at in range(count):
            if self.used == 16:
                self.place, self.used = len(self.out), 0
                self.out += b"\0\0"
            self.out[self.place + self.used // 8] |= (value >> at & 1) << self.used % 8
            self.used += 1

    def table(self, lengths: list[int]) -> None:
        self.bits(len(lengths), 5)
        for length in lengths:
            self.bits(length, 4)

    def number(self, value: int, lengths: list[int]) -> None:
        symbol = value.bit_length()
        before = [(length, at) for at, length in enumerate(lengths) if length]
        code = sum(2 ** (15 - length) for length, at in before if (length, at) < (lengths[symbol], symbol))
        word = f"{code >> 15 - lengths[symbol]:0{lengths[symbol]}b}"
        self.bits(int(word[::-1], 2), lengths[symbol])
        if symbol > 1:
            self.bits(value - (1 << symbol - 1), symbol - 1)

    def chunk(self, pairs, lengths: list[int]) -> None:
        for _ in range(3):
            self.table(lengths)
        self.bits(len(pairs), 16)
        for plain, *copied in pairs:
            self.number(len(plain), lengths)
            self.out += plain
            for value, least in zip(copied, (1, 2), strict=False):
                self.number(value - least, lengths)


def packed(chunks, wanted: bytes) -> bytes:
    """Chunks of (plain bytes, distance, length); the last pair of each is plain bytes alone."""
    packer = Packer()
    packer.bits(0, 2)
    for pairs, lengths in chunks:
        packer.chunk(pairs, lengths)
    return around(bytes(packer.out), wanted, len(chunks))


def around(body: bytes, wanted: bytes, chunks: int) -> bytes:
    sums = rnc.checksum(wanted), rnc.checksum(body)
    return rnc.HEADER.pack(rnc.MAGIC, len(wanted), len(body), *sums, 0, chunks) + body


def test_plain_bytes_and_copies_come_out_again():
    assert rnc.checksum(b"123456789") == 0xBB3D  # of CRC-16/ARC
    assert rnc.unpack(packed([([(b"molecules",)], [0, 0, 0, 0, 1])], b"molecules")) == b"molecules"
    pairs = [(b"ab", 2, 7), (b"", 1, 3), (b"c",)]
    wanted = b"ababababa" + b"aaa" + b"c"
    assert rnc.unpack(packed([(pairs, EVEN), ([(b"!" * 300,)], UNEVEN)], wanted + b"!" * 300)) == (
        wanted + b"!" * 300
    )


@pytest.mark.parametrize("lengths", [EVEN, UNEVEN])
def test_random_files_come_out_again(lengths):
    rng = np.random.default_rng(3)
    wanted, chunks = bytearray(), []
    for _ in range(3):
        pairs = []
        for _ in range(60):
            plain = rng.bytes(int(rng.integers(1, 40)))
            distance = int(rng.integers(1, len(wanted) + len(plain) + 1))
            length = int(rng.integers(2, 80))
            wanted += plain
            for _ in range(length):
                wanted.append(wanted[-distance])
            pairs.append((plain, distance, length))
        chunks.append(([*pairs, (b"",)], lengths))
    assert rnc.unpack(packed(chunks, bytes(wanted)) + b"more") == bytes(wanted)


def test_a_damaged_file_is_refused():
    whole = packed([([(b"ab", 2, 7), (b"c",)], EVEN)], b"ababababac")
    damaged = bytearray(whole)
    damaged[-1] ^= 1
    other = bytearray(whole)
    other[13] ^= 1  # the checksum of what comes out
    for data, said in (
        (bytes(damaged), "checksum is wrong"),
        (bytes(other), "other bytes than it says"),
        (whole[:-3], "cut short"),
        (b"RNC\x02" + whole[4:], "not packed by RNC"),
        (whole[:10], "not packed by RNC"),
        (packed([([(b"ab", 9, 2), (b"",)], EVEN)], b"abab"), "before its start"),
        (packed([([(b"ab", 1, 9), (b"",)], EVEN)], b"abbb"), "past its end"),
        (packed([([(b"a",)], [1, 1, 1])], b"a"), "more codes than fit"),
        (around(b"\0" * 12, b"a", 1), "other bytes"),
    ):
        with pytest.raises(DataError, match=said):
            rnc.unpack(data)


def tone(pitch: float, seconds: float = 1.0) -> bytes:
    """Unsigned 8-bit samples."""
    time = np.arange(int(seconds * games.GAME_RATE)) / games.GAME_RATE
    return np.round(128 + 90 * np.sin(2 * np.pi * pitch * time)).astype(np.uint8).tobytes()


def entry(number: int, place: int, size: int, kind: int = 0) -> bytes:
    return (
        number.to_bytes(2, "little") + place.to_bytes(3, "little") + (size | kind << 22).to_bytes(3, "little")
    )


def test_the_index_of_sky_is_read(tmp_path):
    silent = bytes([128]) * 11_025
    rough = packed([([(tone(300),)], UNEVEN)], tone(300))
    files = [
        (51_000, tone(200), 0),  # plain
        (50_500, rough, 0),  # packed
        (52_000, tone(400), 1),  # a picture, by its kind
        (60_200, tone(500), 0),  # music, by its number
        (59_495, tone(600), 0),
        (53_000, silent, 0),
        (53_001, b"", 0),
        (53_002, tone(200), 0),  # as the first
    ]
    index, archive = [], bytearray()
    for number, data, kind in files:
        archive += bytes(-len(archive) % 16)
        index.append(entry(number, len(archive) >> 4 | 1 << 23, 22 + len(data), kind))
        archive += bytes(range(22)) + data
    index.append(entry(54_000, 3, 9))
    counted = len(index).to_bytes(4, "little") + b"".join(index)
    (tmp_path / "sky.dnr").write_bytes(counted)
    (tmp_path / "sky.dsk").write_bytes(archive)
    found = games.sky_index(counted)
    assert found[54_000] == (3, 9, 0) and found[52_000][2] == 1 and found[51_000][0] == 0
    read = dict(games.recordings(SKY, [str(tmp_path / "sky.dnr")]))
    assert list(read) == [f"{tmp_path}/sky.dsk/{number}" for number in (50_500, 51_000)]
    for wave, pitch in zip(read.values(), (300, 200), strict=True):
        assert len(wave) == RATE and abs(np.abs(np.fft.rfft(wave)).argmax() - pitch) <= 1
    with pytest.raises(DataError, match="counts 9 files"):
        games.sky_index(counted[:-1])


def test_drascula_is_read_without_its_ends(tmp_path):
    samples = b"\xff" * 32 + tone(250) + b"\xff" * 32
    for name in ("2.ALS", "10.ALS"):
        (tmp_path / name).write_bytes(samples)
    ((path, wave),) = games.recordings(DRASCULA, [str(tmp_path / name) for name in ("2.ALS", "10.ALS")])
    assert path.endswith("/10.ALS") and len(wave) == RATE and wave.dtype == np.float32
    assert abs(np.abs(wave).max() - 90 / 128) < 0.02 and abs(wave.mean()) < 1e-3
    paths = [f"/usr/share/scummvm/drascula/en/{name}.ALS" for name in ("S12", "SB3", "S", "7")]
    assert [bool(re.search(GAMES[DRASCULA], path)) for path in paths] == [False, True, True, True]


def test_hedgewars_is_read_and_its_roles_named(tmp_path):
    folder = tmp_path / "Sounds" / "voices" / "Russian_pl"
    folder.mkdir(parents=True)
    stereo = np.stack([np.sin(np.arange(44_100) / 20)] * 2, 1) * 0.5
    games.soundfile.write(folder / "Hello.ogg", stereo, 44_100)
    ((path, wave),) = games.recordings(HEDGEWARS, [str(folder / "Hello.ogg")])
    assert len(wave) == RATE and re.search(GAMES[HEDGEWARS], path)
    assert games.folder_of(path) == "Russian_pl" and games.language_of(path) == "pl"
    assert games.language_of(f"{tmp_path}/sky.dsk/50001") == "en"


def test_only_what_is_spoken_is_plain():
    rng = np.random.default_rng(0)
    time = np.arange(2 * RATE) / RATE
    voice = sum(np.sin(2 * np.pi * 150 * n * time) / n for n in range(1, 15)) * 0.2
    paused = (voice * (np.sin(2 * np.pi * 1.5 * time) > -0.5)).astype(np.float32)
    whisper = (0.1 * rng.standard_normal(2 * RATE) * (paused != 0)).astype(np.float32)
    path = "/Sounds/voices/British/Hello.ogg"
    assert games.is_plain(path, paused)
    assert not games.is_plain(path.replace("British", "Singer"), paused)
    assert not games.is_plain(path, whisper)
    assert not games.is_plain(path, voice.astype(np.float32))  # no pauses
    assert not games.is_plain(path, np.clip(9 * paused, -1, 1))


def item(package: str, path: str, wide: int, fine: int, plain: bool = True) -> speech.Utterance:
    vector = np.array([wide, fine], np.float32)
    return speech.Utterance(package, path, "en", package, np.zeros(RATE, np.int16), vector, plain)


@pytest.fixture
def told(monkeypatch):
    """Voices are told by the embedding's two numbers."""

    def find(embeddings, lengths, groups, merged_at=0.2):
        return embeddings[:, 0 if merged_at == 0.2 else 1].astype(np.int64)

    monkeypatch.setattr(speech, "find_voices", find)


def test_the_games_are_split_by_the_voices_held_out(told):
    sky = [item(SKY, f"/sky.dsk/{50_000 + at}", 1, 1 if at < 6 else 2) for at in range(8)]
    pins = [name for name in speech.HELD_OUT_OF_GAMES if name.startswith("/sky")]
    for wide, pin in enumerate(pins, 2):
        sky += [item(SKY, pin if at == 3 else f"/sky.dsk/{wide}{at}", wide, 10 * wide) for at in range(6)]
    sky += [item(SKY, "/sky.dsk/1", 1, 1, plain=False), item(SKY, "/sky.dsk/2", -1, -1)]
    sky += [item(SKY, "/sky.dsk/3", 90, 91)]
    count = len(sky)
    drascula = [
        item(DRASCULA, pin if at == 0 else f"/en/{wide}{at}.ALS", wide, 0)
        for wide, pin in ((3, "/x/en/VB31.ALS"), (4, "/x/en/L3.ALS"), (5, "/x/en/1.ALS"))
        for at in range(6)
    ]
    roles = ("British", "Pirate", "Default_es", "Default_uk", "Default_ru", "Russian_pl")
    hedgewars = [item(HEDGEWARS, f"/voices/{role}/{at}.ogg", 1, 0) for role in roles for at in range(2)]
    found = speech.split_games(sky + drascula + hedgewars)
    assert found[:6] == [(f"{SKY}/1", "train")] * 6 and found[6:8] == [(f"{SKY}/rest", "train")] * 2
    assert found[8:14] == [(f"{SKY}/20", "dev")] * 6  # all of it, by one recording
    assert found[26:32] == [("", "")] * 6  # the voice that is in no part
    assert found[32:count] == [("", "")] * 3  # whispered, near to none, of few
    assert found[count : count + 18 : 6] == [
        (f"{DRASCULA}/{voice}", part) for voice, part in ((3, "dev"), (4, "dev"), (5, "train"))
    ]
    assert found[count + 18 :: 2] == [
        (f"{HEDGEWARS}/actor", "train"),
        (f"{HEDGEWARS}/actor", "train"),
        (f"{HEDGEWARS}/Default_es", "train"),
        *((f"{HEDGEWARS}/{role}", "dev") for role in roles[3:]),
    ]
    with pytest.raises(DataError, match=r"/en/VB31\.ALS, /en/L3\.ALS were not found"):
        speech.split_games(sky + hedgewars)


def test_held_out_voices_keep_their_names_and_parts(told):
    package = "tuxpaint-stamps-default"
    readers = ("June", "Carlo")
    pins = [pin for pin in speech.HELD_OUT if pin not in readers]
    items = [item(package, f"/stamps/{pin}", at, 0) for at, pin in enumerate(pins)]
    for at, reader in enumerate(readers):
        path = f"/usr/share/asterisk/sounds/en_US_f_{reader}/a.g722"
        items.append(item("asterisk-core-sounds-en-g722", path, 100 + at, 0))
    items += [item(package, "/stamps/other.ogg", 200, 0), item(package, "/stamps/far.ogg", -1, 0)]
    items.append(item("pocketsphinx-testdata", "/a.wav", 201, 0))
    found = speech.split(items)
    parts = dict(speech.HELD_OUT.values())
    assert {voice: part for voice, part in found if voice in parts} == parts
    assert {"c59", "c16", "c38", "c13", "c52", "c46", "c85", "Carlo"} == {v for v, p in found if p == "dev"}
    assert found[-3:] == [("voice-200", "train"), ("", ""), ("voice-201", "test")]
    with pytest.raises(DataError, match="hanoi"):
        speech.split([one for one in items if "hanoi" not in one.path])
