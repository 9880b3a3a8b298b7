"""Kokoro-82M, a neural synthesiser of many voices, from plain files: a model, styles and the phonemes of eSpeak NG.

The model is the int8 ONNX export of Kokoro 1.0, the styles are a folder of `VOICE.bin`; see README.md for where they
come from. The first letter of a voice's name tells its language. Shapes: T samples at 16 kHz, P phonemes.
"""

from __future__ import annotations

import ctypes
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from molex_adapt.errors import AudioError, DataError
from molex_adapt.simulate.attack import Wave, load_optional, resample

RATE = 24_000
"""Hz."""
_TABLE = (
    '_;:,.!?__—…"()“” \u0303ʣʥʦʨᵝꭧAI_____O_Q_ST__W_Yᵊabcdef_'
    "hijklmnopqrstuvwxyzɑɐɒæ__βɔɕç_ɖðʤə_ɚɛɜ__ɟ_ɡ______ɥ_ɨɪʝ______ɯɰŋɳ"
    "ɲɴø_ɸθœ__ɹ_ɾɻ_ʁɽʂʃʈʧ_ʊʋ_ʌɣɤ_χʎ___ʒʔ_______ˈˌː___ʰ_ʲ____↓_→↗↘___ᵻ"
)
SYMBOLS = {symbol: number for number, symbol in enumerate(_TABLE) if symbol != "_"}
"""What the model calls a phoneme or a mark; it has no use for the numbers of '_'."""
LANGUAGES = {"a": ("en", "en-us"), "b": ("en", "en"), "e": ("es", "es"), "f": ("fr", "fr"), "i": ("it", "it")}
"""First letter of a voice's name: the language, and eSpeak NG's voice for it."""
ONE_LETTER = {
    "a^ɪ": "I",
    "a^ʊ": "W",
    "e^ɪ": "A",
    "ɔ^ɪ": "Y",
    "o^ʊ": "O",
    "ə^ʊ": "Q",
    "d^z": "ʣ",
    "d^ʒ": "ʤ",
    "t^s": "ʦ",
    "t^ʃ": "ʧ",
}
"""Sounds for which eSpeak NG has two letters and the model one."""
ENGLISH = {"ə^l": "ᵊl", "ɚ": "əɹ", "r": "ɹ", "x": "k", "ɐ": "ə", "ʲ": "", "\u0303": ""}
"""What eSpeak NG writes otherwise than the English that the model was taught."""
LONGEST = 500
"""Phonemes that the model takes at once."""


class Phonemes:
    """Phonemes by eSpeak NG's library, as Kokoro's own text front end asks for them.

    Source: misaki 0.9 (its classes for eSpeak NG), rewritten for libespeak-ng's public interface.
    """

    def __init__(self) -> None:
        loader = load_optional("espeakng_loader", "Kokoro's phonemes", "espeakng-loader")
        self.library = ctypes.CDLL(loader.get_library_path())
        self.library.espeak_TextToPhonemes.restype = ctypes.c_char_p
        # 2: retrieve samples, never play them; 0x8000: do not exit where the data is missing.
        if self.library.espeak_Initialize(2, 0, loader.get_data_path().encode(), 0x8000) <= 0:
            raise DataError(
                f"eSpeak NG does not start with {loader.get_data_path()}. Install espeakng-loader."
            )

    def __call__(self, text: str, letter: str) -> str:
        """Phonemes of a text in the language that a voice's first letter stands for; its marks stay."""
        voice = LANGUAGES[letter][1]
        if self.library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise DataError(f"eSpeak NG has no voice '{voice}'. Install another espeakng-loader.")
        text = text.replace("«", "“").replace("»", "”").replace("...", "…")
        pieces = re.split(r'(\s*[;:,.!?—…"()“”¡¿]+\s*)', text)
        # Odd pieces are marks: eSpeak NG swallows them.
        said = "".join(piece if at % 2 else self._say(piece) for at, piece in enumerate(pieces))
        for old, new in (ONE_LETTER | ENGLISH if letter in "ab" else ONE_LETTER).items():
            said = said.replace(old, new)
        if letter == "a":
            said = said.replace("ɜːɹ", "ɜɹ").replace("ɜː", "ɜɹ").replace("ː", "")
        return re.sub(r"[\^\-¡¿]", "", said).strip()

    def _say(self, text: str) -> str:
        # IPA (2), with a tie (0x80) that is "^" (bits from 8) between the letters of one sound.
        mode, rest, said = 0x82 | ord("^") << 8, ctypes.c_char_p(text.encode()), []
        while rest.value:
            said.append((self.library.espeak_TextToPhonemes(ctypes.byref(rest), 1, mode) or b"").decode())
        return re.sub(r"\([a-z-]+\)", "", " ".join(said))  # it names a switch of language in brackets


class Kokoro:
    """The synthesiser. Source: hexgrad/Kokoro-82M (StyleTTS 2 with an iSTFTNet decoder)."""

    def __init__(self, model: Path, styles: Path) -> None:
        """Read the model, and what styles of its languages there are.

        Raises:
            DataError: the folder has no style of a known language.
        """
        runtime = load_optional("onnxruntime", "Kokoro", "onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = runtime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        self.styles = {
            path.stem: np.fromfile(path, "<f4").reshape(-1, 256)
            for path in sorted(styles.glob("*.bin"))
            if path.stem[0] in LANGUAGES
        }
        if not self.styles:
            raise DataError(
                f"{styles} has no style such as af_heart.bin. Name the folder voices of kokoro-js."
            )
        self.phonemes = Phonemes()

    def voices(self, language: str) -> list[str]:
        """The voices of a language, such as "en"."""
        return [voice for voice in self.styles if LANGUAGES[voice[0]][0] == language]

    def speak(self, text: str, voice: str, speed: float = 1.0) -> Wave:
        """Read a text.

        Returns:
            (T,) float32.

        Raises:
            AudioError: there is nothing to speak, or too much.
        """
        said = self.phonemes(text, voice[0])
        tokens = [SYMBOLS[symbol] for symbol in said if symbol in SYMBOLS]
        if not 0 < len(tokens) <= LONGEST:
            raise AudioError(
                f"'{text[:60]}' has {len(tokens)} phonemes. Expected 1 to {LONGEST}; divide or correct it."
            )
        style: NDArray[np.float32] = self.styles[voice]
        inputs = {
            "tokens": np.array([[0, *tokens, 0]], np.int64),
            "style": style[min(len(tokens), len(style)) - 1][None],
            "speed": np.array([speed], np.float32),
        }
        return resample(self.session.run(None, inputs)[0].reshape(-1), RATE)
