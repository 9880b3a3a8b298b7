"""Keeps every test offline: only addresses of this machine can be reached, and the Hub is not asked at all."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import cache, lru_cache
from pathlib import Path
from shutil import disk_usage
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from molex_adapt.cli.own_process import spare_the_collector
from molex_adapt.digest import sha256_of_file

spare_the_collector()
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["HF_DEACTIVATE_ASYNC_LOAD"] = "1"  # starting threads takes longer than reading a tiny base
os.environ["MOLEX_CACHE"] = "off"
MEMORY = Path("/dev/shm")
# Tests write and sync thousands of small files, and some of these are programs.
if (
    os.access(MEMORY, os.W_OK)
    and disk_usage(MEMORY).free > 2 * 2**30
    and not os.statvfs(MEMORY).f_flag & os.ST_NOEXEC
):
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))
for variable in ("MOLEX_REGISTRY", "MOLEX_DEBUG", "FORCE_COLOR"):
    os.environ.pop(variable, None)


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    connect = socket.socket.connect

    def connect_here(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in (
            "127.0.0.1",
            "::1",
            "localhost",
        ):
            raise AssertionError(f"a test reached for the network: {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect_here)


@pytest.fixture(scope="session", autouse=True)
def put_together_once() -> Iterator[None]:
    """All calls of the command line in this process share its commands: Typer takes 50 ms to make them for each."""
    import typer.main

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(typer.main, "get_command", cache(typer.main.get_command))
        yield


@pytest.fixture(scope="session", autouse=True)
def parsed_once() -> Iterator[None]:
    """Records that are alike are parsed once in this process: tests read the same few thousands of times."""
    from molex_adapt.plain import load_yaml
    from molex_adapt.registry import files

    parsed = lru_cache(512)(load_yaml)
    with pytest.MonkeyPatch.context() as patch:
        # A copy for each: what was read may be changed.
        patch.setattr(files, "load_yaml", lambda text: deepcopy(parsed(text)))
        yield


@pytest.fixture(scope="session", autouse=True)
def loaded_once() -> Iterator[None]:
    """Models of equal files are loaded once in this process: transformers takes 30 ms for a tiny one, a copy 7."""
    families = sys.modules.get("molex_adapt.base.families")  # not imported for tests that load no model
    with pytest.MonkeyPatch.context() as patch:
        for family in families.FAMILIES if families else ():
            patch.setattr(family, "read", _remembering(family.read))
        yield


def _remembering(read: Callable[..., Any]) -> Callable[..., Any]:
    import torch
    from torch.nn.utils.parametrize import is_parametrized

    loaded: dict[tuple[Any, ...], Any] = {}

    def remembered(name: str, config: Any, **options: Any) -> Any:
        # Transformers draws weights first: what is drawn afterwards must not depend on who loaded a model.
        with torch.random.fork_rng():
            if not Path(name).is_dir():
                return read(name, config, **options)
            files = [path for path in sorted(Path(name).iterdir()) if path.is_file()]
            key = (*((path.name, sha256_of_file(path)) for path in files), str(config), *options.items())
            if key not in loaded:
                loaded[key] = read(name, config, **options)
        model, report = deepcopy(loaded[key])  # experts are put into it
        for module in model.modules():
            # A class of its own, which loses its property with the parametrization.
            if is_parametrized(module):
                kind = type(module)
                module.__class__ = type(kind.__name__, kind.__bases__, dict(vars(kind)))
        return model, report

    return remembered


@pytest.fixture(scope="session")
def tiny_base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random WavLM with 2 blocks of width 32 and a layer-norm feature extractor, as save_pretrained leaves it."""
    import torch
    from transformers import WavLMConfig, WavLMModel

    config = WavLMConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        conv_dim=(16,) * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
        feat_extract_norm="layer",
        do_stable_layer_norm=True,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = WavLMModel(config)
    folder = tmp_path_factory.mktemp("base") / "tiny"
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Folders of random models of every kind in `tests/families.py`, as save_pretrained leaves them."""
    made: dict[tuple[str, str, bool], Path] = {}

    def folder_of(kind: str = "wavlm", norm: str = "layer", stable: bool = True) -> Path:
        from tests.families import draw

        if (kind, norm, stable) not in made:
            folder = tmp_path_factory.mktemp("bases") / f"{kind}-{norm}-{stable}"
            draw(kind, norm, stable).save_pretrained(folder)
            made[kind, norm, stable] = folder
        return made[kind, norm, stable]

    return folder_of


@pytest.fixture(scope="session")
def classifier_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Folders of random audio classifiers: 2 blocks of width 32, and a feature extractor that normalises.

    Each is made once: write into none of them.
    """
    made: dict[tuple[Any, ...], Path] = {}

    def folder_of(
        kind: str = "wav2vec2",
        *,
        stable: bool = True,
        weighted: bool = False,
        labels: tuple[str, ...] = ("real", "fake"),
        **more: Any,
    ) -> Path:
        import torch
        from transformers import AutoConfig, AutoModelForAudioClassification, Wav2Vec2FeatureExtractor

        key = (kind, stable, weighted, labels, *more.items())
        if key in made:
            return made[key]
        config = AutoConfig.for_model(
            kind,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            conv_dim=(16,) * 7,
            num_conv_pos_embeddings=16,
            num_conv_pos_embedding_groups=4,
            feat_extract_norm="layer" if stable else "group",
            do_stable_layer_norm=stable,
            use_weighted_layer_sum=weighted,
            classifier_proj_size=8,
            id2label=dict(enumerate(labels)),
            label2id={label: at for at, label in enumerate(labels)},
            **more,
        )
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(0)
            model = AutoModelForAudioClassification.from_config(config)
            for name, weight in model.named_parameters():
                # A head of some weight: a score that hardly moves would agree with anything.
                own = not name.startswith(model.base_model_prefix)
                weight.add_((0.5 if own else 0.05) * torch.randn_like(weight))
        folder = tmp_path_factory.mktemp("detectors") / f"{kind}-detector"
        model.save_pretrained(folder)
        Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=stable).save_pretrained(folder)
        made[key] = folder
        return folder

    return folder_of


@pytest.fixture(scope="session")
def sound() -> Callable[..., NDArray[np.float32]]:
    """Noise in the rhythm of syllables; forged noise buzzes as well. Each seed is another recording."""

    def make(seed: int, seconds: float = 0.7, buzz: float = 0.0) -> NDArray[np.float32]:
        rng = np.random.default_rng(seed)
        time = np.arange(int(seconds * 16_000)) / 16_000
        rhythm = 0.6 + 0.4 * np.sin(2 * np.pi * rng.uniform(3, 5) * time + rng.uniform(0, 6))
        wave = 0.1 * rhythm * np.convolve(rng.standard_normal(len(time)), np.ones(6) / 6, "same")
        return np.asarray(wave + 0.2 * np.sign(np.sin(2 * np.pi * buzz * time)), dtype=np.float32)

    return make


@pytest.fixture(scope="session")
def recorded(sound: Callable[..., NDArray[np.float32]]) -> Callable[..., Path]:
    """Write a data set in the folder layout: so many bona fide recordings, and so many of each attack."""

    def write(folder: Path, bona_fide: int = 24, first: int = 0, **attacks: int) -> Path:
        import soundfile

        pitches = {attack: 900.0 * (1 + at) for at, attack in enumerate(sorted(attacks))}
        counts = {"bonafide": bona_fide} | {f"spoof/{attack}": count for attack, count in attacks.items()}
        for number, (place, count) in enumerate(counts.items()):
            (folder / place).mkdir(parents=True, exist_ok=True)
            for at in range(count):
                wave = sound(first + 1000 * number + at, 0.6 + 0.02 * (at % 5), pitches.get(place[6:], 0.0))
                soundfile.write(folder / place / f"{place.split('/')[-1]}{at:03}.wav", wave, 16_000)
        return folder

    return write


@pytest.fixture(scope="session")
def tiny_recipe() -> Callable[..., Any]:
    """A recipe that trains in seconds; sections are overridden by keyword."""

    def make(**sections: dict[str, object]) -> Any:
        from molex_adapt.recipe import Recipe

        stage = {"steps": 6, "evaluate_every": 3}
        content: dict[str, Any] = {
            "precision": "fp32",
            "lora": {"rank": 2, "alpha": 4.0},
            "head": {"width": 8},
            "data": {"crop_seconds": 0.4},
            "training": {"batch_size": 8},
            "joint": {**stage, "draws": 0},
            "expert": {**stage},
            "router_stage": {**stage, "steps": 3},
            "exemplars": {"replay": 4, "check": 4},
        }
        for name, values in sections.items():
            content[name] = content.get(name, {}) | values
        return Recipe.model_validate(content)

    return make


@pytest.fixture
def recipe_reads(monkeypatch: pytest.MonkeyPatch) -> set[tuple[type, str]]:
    """Grows by (section, key) whenever code outside of the recipe's own validation reads an option."""
    from molex_adapt.recipe import Options, reading

    found: set[tuple[type, str]] = set()
    plain = Options.__getattribute__

    def recorded(self: Any, name: str) -> Any:
        kind = type(self)
        if name in kind.model_fields:
            caller = sys._getframe(1).f_code
            validates = caller.co_name in kind.__pydantic_decorators__.model_validators
            if not validates and caller.co_filename != reading.__file__:
                found.add((kind, name))
        return plain(self, name)

    monkeypatch.setattr(Options, "__getattribute__", recorded)
    return found
