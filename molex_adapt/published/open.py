"""Whether a folder or a repository of the Hub holds a detector, a bare encoder, or what cannot be adapted."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from molex_adapt.base.load import loading
from molex_adapt.errors import RegistryError
from molex_adapt.published.antideepfake import HEAD, read_antideepfake
from molex_adapt.published.classifier import read_classifier
from molex_adapt.published.detector import PublishedDetector

_CLASSIFIER = re.compile(r"For(Sequence|Audio)Classification$")
_TEXTS = ["*.json", "*.md", "LICENSE*"]
_NO_ADAPTING = (
    "{name} holds an ONNX model and no safetensors. An ONNX graph can be run, but it has no layers that LoRA could be "
    "attached to, so it cannot be adapted. Give the safetensors copy of the same detector, which its publisher mostly "
    "has beside it, or the model that it was exported from"
)


@contextmanager
def open_published(
    name: str, revision: str | None = None, bona_fide: str | None = None
) -> Iterator[PublishedDetector | None]:
    """The detector of a local folder or of the Hub; None where it is none: a bare encoder, or nothing at all.

    Args:
        name: a folder, or a Hub model id.
        revision: branch, tag or commit on the Hub.
        bona_fide: the label of bona fide speech, or its number; None to go by the labels' own words.

    Raises:
        RegistryError: it is a detector that cannot be taken in.
    """
    local = Path(name)
    _refuse_onnx(local, name)
    folder = local if local.exists() else _download(name, revision, ["config.json", "README.md"])
    if folder is None or not folder.is_dir():
        yield None
        return
    config = _config(folder)
    if not local.exists() and "model_type" not in config:
        # Not of transformers: whether it is one of ours is told by its weights alone.
        folder = _download(name, revision, [*_TEXTS, "*.safetensors"]) or folder
    if f"{HEAD}.weight" in _names(folder):
        identity = (local.resolve().name, "local") if local.exists() else (name, folder.name)
        with read_antideepfake(folder, identity, config, bona_fide) as found:
            yield found
    elif any(_CLASSIFIER.search(str(kind)) for kind in config.get("architectures") or ()):
        commit = None if local.exists() else folder.name
        yield read_classifier(name, commit, config, folder / "README.md", bona_fide)
    else:
        yield None


def _download(name: str, revision: str | None, patterns: list[str]) -> Path | None:
    """Files of a repository in the client's cache, in a folder named by the commit; None where nothing can be had."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # httpx's or httpx2's, as it is built

    try:
        with loading(name):
            return Path(snapshot_download(name, revision=revision, allow_patterns=patterns))
    except (HTTPError, RegistryError):
        return None  # loading it as a base says what is wrong


@contextmanager
def onnx_refused(name: str, revision: str | None = None) -> Iterator[None]:
    """Where loading fails since a repository of the Hub holds ONNX alone, say that; arguments as `open_published`."""
    try:
        yield
    except RegistryError:
        if Path(name).exists() or not _is_onnx_alone(name, revision):
            raise
        raise RegistryError(_NO_ADAPTING.format(name=name)) from None


def _refuse_onnx(local: Path, name: str) -> None:
    if local.is_dir():
        onnx = any(local.rglob("*.onnx")) and not any(local.rglob("*.safetensors"))
    else:
        onnx = local.suffix == ".onnx" and local.is_file()
    if onnx:
        raise RegistryError(_NO_ADAPTING.format(name=name))


def _is_onnx_alone(name: str, revision: str | None) -> bool:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

    try:
        files = HfApi().list_repo_files(name, revision=revision)
    except (HTTPError, OSError, ValueError):
        return False
    return any(path.endswith(".onnx") for path in files) and not any(
        path.endswith(".safetensors") for path in files
    )


def _config(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _names(folder: Path) -> set[str]:
    """The names of all tensors; none of files that are damaged, which loading speaks of."""
    found: set[str] = set()
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, "pt") as file:
                found |= set(file.keys())
        except (OSError, SafetensorError):
            continue
    return found
