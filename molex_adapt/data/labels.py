"""The accepted words for the two classes and the three splits."""

from __future__ import annotations

import difflib
import re

from molex_adapt.conventions import BONA_FIDE, SPOOF, Label, Split
from molex_adapt.text import short

LABEL_WORDS: dict[str, Label] = {
    **dict.fromkeys(
        ("bonafide", "bona-fide", "bona_fide", "bona fide", "real", "genuine", "human"), BONA_FIDE
    ),
    **dict.fromkeys(("spoof", "fake", "deepfake", "ai"), SPOOF),
}
_WORDS_OF_SPLITS: dict[Split, str] = {
    "train": "train training trn",
    "dev": "dev development val valid validation",
    "test": "test testing eval evaluation",
}
SPLIT_WORDS = {word: split for split, words in _WORDS_OF_SPLITS.items() for word in words.split()}


def label_of(word: str) -> Label | None:
    """The class that `word` names in any accepted spelling, or None."""
    return _BY_PLAIN_LABEL.get(_plain(word))


def split_of(word: str) -> Split | None:
    """The split that `word` names ("eval" is "test"), or None."""
    return SPLIT_WORDS.get(_plain(word))


def nearest_label(word: str, cutoff: float = 0.6) -> str | None:
    """The accepted class word nearest to `word`, if one is similar."""
    return _nearest(word, [name for name in LABEL_WORDS if len(name) > 2], cutoff)


def nearest_split(word: str) -> str | None:
    """The accepted split word nearest to `word`, if one is similar."""
    return _nearest(word, list(SPLIT_WORDS), 0.6)


def label_fault(word: str) -> str:
    """The message about a wrong label: its value, the accepted words, the nearest one."""
    if re.fullmatch(r"[+-]?\d+(\.\d+)?|true|false", word.strip(), re.IGNORECASE):
        hint = "which class a number means differs from corpus to corpus: write the word"
    else:
        near = nearest_label(word)
        hint = f"did you mean '{near}'?" if near else "write 'bonafide' or 'spoof'"
    return f"label '{short(word)}' is none of {', '.join(LABEL_WORDS)}; {hint}"


def _plain(word: str) -> str:
    return re.sub(r"[\s_-]+", "", word.strip().casefold())


def _nearest(word: str, words: list[str], cutoff: float) -> str | None:
    found = difflib.get_close_matches(word.strip().casefold(), words, n=1, cutoff=cutoff)
    return found[0] if found else None


_BY_PLAIN_LABEL: dict[str, Label] = {_plain(word): label for word, label in LABEL_WORDS.items()}
