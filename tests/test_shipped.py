from __future__ import annotations

import pytest

from molex_adapt import shipped
from molex_adapt.errors import RecipeError, RegistryError


@pytest.fixture
def places(tmp_path, monkeypatch):
    """An empty installation: neither a wheel nor a checkout."""
    monkeypatch.setattr(shipped, "_WHEEL", tmp_path / "site" / "molex_adapt" / "_shipped")
    monkeypatch.setattr(shipped, "_CHECKOUT", tmp_path / "site")
    return tmp_path / "site"


def fill(folder):
    (folder / "recipes").mkdir(parents=True)
    (folder / "recipes" / "demo.yaml").write_text("novel: codec2\n")
    (folder / "registry").mkdir()
    (folder / "registry" / "registry.yaml").write_text("format: 1\n")
    return folder


def test_a_checkout_is_one_by_its_pyproject(places):
    fill(places)
    with pytest.raises(RegistryError, match="no shipped registry"):
        shipped.registry_path()
    (places / "pyproject.toml").touch()
    assert shipped.registry_path() == places / "registry"
    assert shipped.recipe_path("demo") == shipped.recipe_path("demo.yaml") == places / "recipes" / "demo.yaml"


def test_the_wheel_comes_first(places):
    fill(places)
    (places / "pyproject.toml").touch()
    inside = fill(places / "molex_adapt" / "_shipped")
    assert shipped.registry_path() == inside / "registry"
    assert shipped.recipe_path("demo") == inside / "recipes" / "demo.yaml"
    assert shipped.recipe_names() == ["demo"]


def test_an_unknown_recipe_lists_those_there_are(places):
    with pytest.raises(RecipeError, match="none: the installation is incomplete"):
        shipped.recipe_path("demo")
    fill(places / "molex_adapt" / "_shipped")
    with pytest.raises(RecipeError, match="Did you mean 'demo'"):
        shipped.recipe_path("demos")
