"""Which of a classifier's labels is bona fide speech: by its name, or by what the user says."""

from __future__ import annotations

import re
from collections.abc import Mapping

from molex_adapt.errors import RegistryError
from molex_adapt.text import shown

# fmt: off
_BONA_FIDE = frozenset(
    {
        "bonafide", "real", "genuine", "human", "authentic", "original", "natural",
        "live", "true", "realhuman", "nonfake", "notfake",
    }
)
_SPOOF = frozenset(
    {
        "spoof", "spoofed", "spoofing", "fake", "deepfake", "faked", "synthetic",
        "synthesized", "synthesised", "synthesis", "ai", "aigenerated", "generated", "machine",
        "forged", "forgery", "artificial", "cloned", "clone", "tts", "vc",
        "ttsvc", "voiceconversion", "texttospeech", "false",
    }
)
# fmt: on


def bona_fide_label(labels: Mapping[int, str], said: str | None, name: str) -> int:
    """The output that is bona fide speech.

    Args:
        labels: the model's label of every output.
        said: the label that the user named, or its number; None to go by the labels' own words.
        name: of the detector, for messages.

    Raises:
        RegistryError: there are not two labels or more, the user named none of them, or their words do not say it.
    """
    listed = ", ".join(f"{at} {shown(label, 40)}" for at, label in sorted(labels.items()))
    if len(labels) < 2:
        raise RegistryError(
            f"{name} has one output ({listed}); a detector with one for bona fide and one for spoofed speech is "
            "expected. Its encoder alone can be a base: --encoder-only"
        )
    if said is not None:
        found = [at for at, label in labels.items() if said.casefold() == label.casefold()]
        found = found or [at for at in labels if said == str(at)]
        if len(found) == 1:
            return found[0]
        raise RegistryError(
            f"{name} has no one label {shown(said)}; it has {listed}. Name one of these: --bona-fide-label LABEL"
        )
    words = {at: _word(label) for at, label in labels.items()}
    real = [at for at, word in words.items() if word in _BONA_FIDE]
    if len(real) == 1 and all(word in _SPOOF for at, word in words.items() if at != real[0]):
        return real[0]
    raise RegistryError(
        f"the labels of {name} do not say which is bona fide speech: {listed}. Say it by --bona-fide-label LABEL "
        "(its card may tell), or take its encoder alone as a base: --encoder-only"
    )


def _word(label: str) -> str:
    """A label in small letters without what says nothing: signs, and that it is about speech."""
    plain = re.sub(r"[^a-z]", "", label.lower())
    return re.sub(r"(audio|voice|speech|utterance|recording|speaker)s?$", "", plain) or plain
