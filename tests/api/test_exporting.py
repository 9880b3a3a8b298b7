"""What a registry says of a generation that it exports."""

from __future__ import annotations

import pytest

from molex_adapt import Run
from molex_adapt.api import Exported, Registry, exporting, open_to_score
from molex_adapt.errors import DataError, RecipeError, RegistryError
from molex_adapt.exported.description import DESCRIPTION
from molex_adapt.registry import layout


def test_an_export_says_which_generation_it_is(made, registry, tmp_path, monkeypatch):
    seen = {}
    monkeypatch.setattr(
        exporting, "write_export", lambda detector, origin, *rest: seen.update(at=origin, rest=rest)
    )
    registry.export(tmp_path / "out", formats=("torch",))
    record = registry.store.generation()
    origin = seen["at"]
    assert seen["rest"][:2] == (tmp_path / "out", ("torch",))
    assert (origin.generation, origin.threshold) == (record.number, record.threshold)
    assert [(item.name, item.licence) for item in origin.experts] == [("buzz", "other")]
    files = [
        *(made.path / "base").glob("*.safetensors"),
        layout.expert_folder(made.path, "buzz") / layout.ADAPTER,
        *(layout.generation_folder(made.path, record.number) / name for name in (layout.ROUTER, layout.HEAD)),
    ]
    assert origin.source_bytes == sum(path.stat().st_size for path in files)
    with pytest.raises(DataError, match="no format"):
        registry.export(tmp_path / "out", formats=())
    with pytest.raises(RegistryError, match="no generation 77"):
        registry.export(tmp_path / "out", generation=77)


def test_what_scores_is_seen_by_what_a_folder_holds(made, tmp_path):
    assert isinstance(open_to_score(made.path), Registry)
    with pytest.raises(RegistryError):
        open_to_score(tmp_path / "nothing")
    (tmp_path / DESCRIPTION).write_text("{}")
    found = open_to_score(tmp_path)
    assert isinstance(found, Exported)
    with pytest.raises(RecipeError, match="computes in float32"):
        found.score("a.wav", run=Run(precision="bf16"))
    with pytest.raises(RegistryError, match="describes no detector"):
        found.score("a.wav")
