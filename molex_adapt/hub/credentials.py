"""Tokens that a user names by file; HF_TOKEN and `hf auth login` are the Hub client's own business."""

from __future__ import annotations

from pathlib import Path

from molex_adapt.errors import HubError


def read_token(path: Path | None) -> str | None:
    """The token in a file; None for no file.

    Raises:
        HubError: it cannot be read, or holds no single token.
    """
    if path is None:
        return None
    try:
        words = path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise HubError(
            f"token file {path} cannot be read: {reason}. Give a file that holds the token alone"
        ) from None
    if len(words) != 1 or not words[0].isascii():
        raise HubError(
            f"token file {path} holds {len(words)} words; the token alone is expected, on one line. Copy it anew"
        )
    return words[0]
