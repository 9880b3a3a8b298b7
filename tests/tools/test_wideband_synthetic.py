"""Prompts by synthesisers, Kokoro's text front end, and voices converted by nearest neighbours."""

from __future__ import annotations

import importlib.util
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from molex_adapt.base import load_base
from molex_adapt.data import Utterance, read
from molex_adapt.data.table import Table
from molex_adapt.errors import AudioError, DataError
from tools.wideband import conversion, domains, kokoro, spoken_prompts
from tools.wideband.corpus import Stretch, write_speech
from tools.wideband.forging import HifiGan
from tools.wideband.spectra import RATE

CPU = torch.device("cpu")
ESPEAK = pytest.mark.skipif(
    importlib.util.find_spec("espeakng_loader") is None, reason="needs the extra simulate"
)


def speechlike(seconds: float, seed: int = 0) -> np.ndarray:
    """(T,) noise that swells, so that `cut` finds one stretch of speech."""
    time = np.arange(int(seconds * RATE)) / RATE
    noise = np.random.default_rng(seed).standard_normal(len(time))
    return (0.1 * noise * (1 + 0.5 * np.sin(2 * np.pi * 4 * time))).astype(np.float32)


@pytest.fixture
def texts(monkeypatch):
    """Twenty prompts in English, ten of them in French too, one of them too long, and one without a text."""
    found = [
        Utterance(
            Path(f"{name}.g722"),
            "bonafide",
            source=f"{folder}/{name}",
            text=text,
            seconds=9.0 if at == 3 else 2.0,
        )
        for folder, count in (("en_US_f_Allison", 20), ("fr_CA_f_June", 10))
        for at in range(count)
        for name, text in [(f"menu/p{at}", None if at == 2 else f"Say {at}.")]
    ]
    monkeypatch.setattr(spoken_prompts, "prompts", lambda folder, **_: Table(tuple(found), str(folder)))
    return spoken_prompts.real_prompts()


def test_a_prompt_is_in_one_part_in_every_language(texts):
    assert len(texts) == 18 + 8  # without the long one and the one without a text
    parts = {}
    for item in texts:
        assert parts.setdefault(item.name.split("-", 1)[1], item.part) == item.part
    assert set(parts.values()) == {"train", "dev", "test"}
    assert {item.language for item in texts} == {"en", "fr"}


def test_prompts_without_transcripts_are_refused(monkeypatch):
    bare = Table((Utterance(Path("a.g722"), "bonafide", source="en_US_f_Allison/a", seconds=2.0),), "x")
    monkeypatch.setattr(spoken_prompts, "prompts", lambda folder, **_: bare)
    with pytest.raises(DataError, match="without texts"):
        spoken_prompts.real_prompts()


def test_languages_take_turns_and_texts_come_again_only_after_all(texts):
    known = [item for item in texts if item.part == "train"]
    drawn = list(islice(spoken_prompts.in_turns(known, np.random.default_rng(0)), 30))
    assert [item.language for item in drawn[:6]] == ["en", "en", "fr", "en", "en", "fr"]
    english = [item.name for item in drawn if item.language == "en"]
    count = len({item.name for item in known if item.language == "en"})
    assert len(set(english[:count])) == count < len(english)
    assert list(spoken_prompts.in_turns([], np.random.default_rng(0))) == []


def test_utterances_are_cut_like_recordings(texts, capsys):
    def speak(prompt, rng):
        seconds = float(rng.choice([0.5, 2.0, 5.0]))
        if prompt.text == "Say 0.":
            raise AudioError("it is mute")
        pause = np.zeros(RATE, np.float32)
        return "", np.concatenate([pause, speechlike(seconds), pause])

    counts = {"train": 5, "dev": 3, "test": 4}
    made = list(spoken_prompts.utterances("espeak", speak, texts, counts, np.random.default_rng(1)))
    assert {part: sum(clip.part == part for clip in made) for part in counts} == counts
    assert len({clip.name for clip in made}) == len(made)
    assert {clip.wave.size for clip in made} <= {*range(31_000, 36_000), domains.LONGEST}
    assert {clip.voice for clip in made if clip.part == "test"} == {"espeak-test0", "espeak-test1"}
    for clip in made:
        assert next(text.part for text in texts if clip.name.endswith(text.name)) == clip.part
    list(spoken_prompts.utterances("espeak", speak, texts, {"train": 40}, np.random.default_rng(1)))
    assert "espeak passed over" in capsys.readouterr().out


def test_a_synthesiser_that_never_speaks_is_no_endless_loop(texts):
    def mute(prompt, rng):
        return "", np.zeros(RATE, np.float32)

    with pytest.raises(DataError, match="spoke 0 of 2 prompts for train in 49 tries"):
        list(spoken_prompts.utterances("pico", mute, texts, {"train": 2}, np.random.default_rng(0)))


def test_a_set_is_written_like_the_other_domains(tmp_path, texts, monkeypatch):
    write_speech(
        tmp_path / "speech", [((speechlike(1.5, 3) * 20_000).astype(np.int16), Stretch("a", "train", 0, 0))]
    )
    fake = SimpleNamespace(
        voices=lambda language: [f"{language[0]}f_one", f"{language[0]}m_two"],
        speak=lambda text, voice, speed: speechlike(1.5 * speed),
    )
    monkeypatch.setattr(spoken_prompts, "Kokoro", lambda model, styles: fake)
    monkeypatch.setitem(spoken_prompts.COUNTS, "kokoro", {"train": 0, "dev": 0, "test": 4})
    words = ["spoken_prompts", str(tmp_path / "speech"), "--out", str(tmp_path), "--attacks", "kokoro"]
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(DataError, match="--styles"):
        spoken_prompts.main()
    monkeypatch.setattr("sys.argv", [*words, "--kokoro", "m.onnx", "--styles", "voices"])
    spoken_prompts.main()
    found = list(read(tmp_path / "kokoro.csv"))
    assert [item.condition for item in found] == ["none", "drawn"] * 4
    assert {(item.attack, item.split) for item in found} == {("kokoro", "test")}
    assert [item.speaker for item in found[::2]] == [
        f"kokoro-{v}" for v in ("ef_one", "em_two", "ff_one", "ef_one")
    ]
    content = found[0].path.read_bytes()
    spoken_prompts.main()
    assert found[0].path.read_bytes() == content


def test_only_synthesisers_speak():
    with pytest.raises(DataError, match="lpc speaks no texts"):
        spoken_prompts.by_attack("lpc")


@ESPEAK
def test_phonemes_are_what_kokoro_was_taught():
    phonemes = kokoro.Phonemes()
    assert phonemes("Please wait; my name is Joe!", "a") == "plˈiz wˈAt; mI nˈAm ɪz ʤˈO!"
    assert phonemes("...ha dejado la conferencia.", "e") == "…ˈa ðexˈaðo la kˌonfeɾˈɛnθja."
    said = phonemes("La conferenza è sbloccata (grazie)", "i")
    assert "ʦa" in said and "^" not in said and set(said) <= set(kokoro.SYMBOLS)


def test_kokoro_speaks_by_its_files(tmp_path, monkeypatch):
    for voice in ("af_heart", "ff_siwis", "zm_yunxi"):
        np.arange(3 * 256, dtype="<f4").tofile(tmp_path / f"{voice}.bin")
    heard = []

    class Session:
        def run(self, outputs, inputs):
            heard.append(inputs)
            return [np.full(24_000, 0.1, np.float32)]

    runtime = SimpleNamespace(SessionOptions=SimpleNamespace, InferenceSession=lambda *_, **__: Session())
    monkeypatch.setattr(kokoro, "load_optional", lambda *_: runtime)
    monkeypatch.setattr(kokoro, "Phonemes", lambda: lambda text, letter: text)
    synthesiser = kokoro.Kokoro(tmp_path / "x.onnx", tmp_path)
    assert synthesiser.voices("en") == ["af_heart"] and synthesiser.voices("it") == []
    assert synthesiser.speak("a#b", "af_heart", 1.1).shape == (RATE,)
    assert heard[0]["tokens"].tolist() == [[0, 43, 44, 0]]
    assert heard[0]["style"][0, 0] == 256  # styles are by the number of phonemes
    for text in ("##", "a" * 501):
        with pytest.raises(AudioError, match="phonemes"):
            synthesiser.speak(text, "af_heart")
    with pytest.raises(DataError, match="has no style"):
        kokoro.Kokoro(tmp_path / "x.onnx", tmp_path / "nowhere")


def tiny_hifigan(path: Path) -> Path:
    """A random generator of the right shape, 16 channels wide."""
    rng, arrays, width = np.random.default_rng(0), {}, 16

    def add(name: str, *shape: int, out: int) -> None:
        arrays[f"{name}.weight"] = (0.25 * rng.standard_normal(shape)).astype(np.float16)
        arrays[f"{name}.bias"] = np.zeros(out, np.float16)

    add("conv_pre", width, 80, 7, out=width)
    for block, rate in enumerate(HifiGan.rates):
        add(f"ups.{block}", width, width // 2, 2 * rate, out=width // 2)
        width //= 2
        for number, kernel in enumerate(HifiGan.kernels):
            for branch in ("convs1", "convs2"):
                for layer in range(3):
                    add(f"resblocks.{3 * block + number}.{branch}.{layer}", width, width, kernel, out=width)
    add("conv_post", 1, width, 7, out=1)
    np.savez(path, **arrays)
    return path


@pytest.fixture
def converter(tmp_path, tiny_folder_of):
    return conversion.Converter(
        load_base(tiny_folder_of()), 2, HifiGan(tiny_hifigan(tmp_path / "h.npz"), CPU)
    )


@pytest.mark.parametrize("samples", [RATE, 20_011])
def test_a_conversion_keeps_length_and_level(converter, samples):
    wave = speechlike(2)[:samples]
    made = converter.convert(wave, converter.learn([speechlike(1, 7), speechlike(1.2, 8)]))
    assert made.shape == wave.shape and made.dtype == np.float32
    np.testing.assert_allclose(np.square(made).mean(), np.square(wave).mean(), rtol=0.1)


def test_frames_are_found_again_in_their_own_recording(converter, monkeypatch):
    """A recording in its own voice, by one neighbour, is its copy by the vocoder but for the frames' times."""
    wave, spoken = speechlike(1.5, 1), []
    monkeypatch.setattr(
        converter.hifigan, "vocode", lambda mel: spoken.append(mel) or torch.zeros(1, 256 * mel.shape[2])
    )
    converter.nearest = 1
    converter.convert(wave, converter.learn([speechlike(1, 2), wave, speechlike(1, 3)]))
    other = conversion.at_times(
        converter.mel(wave),
        conversion._of_frames(len(converter.states(wave))),
        conversion._of_mel(converter._mel_frames(wave)),
    )
    again = conversion.at_times(
        other, conversion._of_mel(converter._mel_frames(wave)), conversion._of_frames(len(other))
    )
    torch.testing.assert_close(spoken[0][0].T, again)


def test_frames_are_compared_with_what_is_around_them():
    likeness = torch.arange(12.0).reshape(3, 4)
    assert torch.equal(conversion.along_diagonals(likeness, 0), likeness)
    around = conversion.along_diagonals(likeness, 1)
    assert around[1, 1] == 0 + 5 + 10 and around[0, 0] == 0 + 5 and around[2, 0] == 8
    states = conversion.centred(torch.randn(9, 4) + 100)
    torch.testing.assert_close(states.norm(dim=1), torch.ones(9))


def test_rows_between_rows():
    rows, times = torch.tensor([[0.0], [2.0], [6.0]]), torch.tensor([1.0, 2.0, 3.0])
    wanted = torch.tensor([0.0, 1.5, 2.25, 9.0])
    assert conversion.at_times(rows, wanted, times)[:, 0].tolist() == [0.0, 1.0, 3.0, 6.0]
    assert conversion.at_times(rows[:1], wanted, times[:1])[:, 0].tolist() == [0.0] * 4


def test_targets_are_other_voices_of_the_same_part():
    long = conversion.SHORTEST_VOICE // 2
    rows = [
        Stretch(voice, part, 0, length)
        for voice, part, length in (
            *(
                ("a", "train", long),
                ("b", "train", long),
                ("short", "train", long // 2),
                ("misc", "train", long),
            ),
            *(("c", "dev", long), ("d", "dev", long), ("drascula/x", "train", long), ("lone", "test", long)),
        )
        for _ in range(2)
    ]
    voices = conversion.targets(rows)
    assert set(voices) == {"a", "b", "c", "d", "drascula/x", "lone"}
    clips = [
        domains.Clip(str(at), speechlike(1), voice, part)
        for at in range(8)
        for voice, part in (("a", "train"), ("c", "dev"), ("short", "train"))
    ]
    found = {
        (item.clip.voice, item.target) for item in conversion.pair(clips, voices, np.random.default_rng(0))
    }
    assert found == {("a", "b"), ("c", "d"), ("short", "a"), ("short", "b")}
    with pytest.raises(DataError, match="test has no voice but lone"):
        conversion.pair([domains.Clip("x", speechlike(1), "lone", "test")], voices, np.random.default_rng(0))


def test_converted_sets_name_the_target_and_the_source(tmp_path, tiny_folder_of, monkeypatch, capsys):
    pieces = [
        ((20_000 * speechlike(1.5, at)).astype(np.int16), Stretch(voice, part, 0, 0, "en", voice == "b"))
        for voice, part in (
            ("a", "train"),
            ("b", "train"),
            ("c", "dev"),
            ("d", "dev"),
            ("e", "test"),
            ("f", "test"),
        )
        for at in range(3)
    ]
    write_speech(tmp_path / "speech", pieces)
    monkeypatch.setattr(domains, "PER_ATTACK", {"train": 4, "dev": 2, "test": 3})
    monkeypatch.setattr(conversion, "SHORTEST_VOICE", 3 * RATE)
    monkeypatch.setattr(conversion, "LONGEST_VOICE", 3 * RATE)
    monkeypatch.setattr(
        conversion, "Teacher", lambda device: SimpleNamespace(base=load_base(tiny_folder_of()))
    )
    monkeypatch.setattr(conversion, "SpeakerEncoder", lambda path: lambda wave: np.sign(wave[:256]))
    flags, through = [], domains.Recorder.through_conditions
    monkeypatch.setattr(
        domains.Recorder,
        "through_conditions",
        lambda self, clip: flags.append((clip.voice, clip.g722)) or through(self, clip),
    )
    words = ["conversion", str(tmp_path / "speech"), "--out", str(tmp_path / "out"), "--block", "1"]
    words += ["--hifigan", str(tiny_hifigan(tmp_path / "h.npz")), "--speakers", "x.pt"]
    monkeypatch.setattr("sys.argv", words)
    conversion.main()
    found = list(read(tmp_path / "out" / "knn_vc.csv"))
    assert len(found) == 4 + 2 + 2 * 3
    voice_of = {f"{at:05d}": row for at, (_, row) in enumerate(pieces)}
    for item in found:
        source = voice_of[item.source]
        assert item.attack == "knn_vc" and item.speaker != source.voice and item.split == source.part
    assert all(coded == (voice == "b") for voice, coded in flags)
    assert "test: cosine " in (said := capsys.readouterr().out) and "of 3" in said
