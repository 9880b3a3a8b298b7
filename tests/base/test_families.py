from __future__ import annotations

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from molex_adapt.base import load_base
from molex_adapt.base.families import FAMILIES, SUPPORTED, family_of
from molex_adapt.cli.app import program
from tests.families import KINDS, SIZES

ROOT = Path(__file__).parents[2]
NAMES = [name for family in FAMILIES for called in family.called for name in called.split(" / ")]


def test_every_kind_is_of_one_family_and_has_a_tiny_model():
    assert len(set(SUPPORTED)) == len(SUPPORTED)
    assert set(SUPPORTED) <= SIZES.keys()


@pytest.mark.parametrize("kind", KINDS)
def test_a_drawn_model_has_the_weights_that_are_read(tiny_folder_of, kind):
    """By them a pulled mixture's base is checked before it is loaded."""
    read = load_base(tiny_folder_of(kind)).model
    with torch.device("meta"):
        drawn = family_of(read.config.model_type).draw(read.config)
    shapes = [{name: w.shape for name, w in model.state_dict().items()} for model in (drawn, read)]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("place", ["README.md", "docs/registry.md", "init --help"])
def test_every_family_is_named_where_a_user_looks(place):
    if place.endswith(".md"):
        text = (ROOT / place).read_text(encoding="utf-8")
    else:
        text = CliRunner().invoke(program(), place.split()).stdout
    said = " ".join(text.split())
    assert [name for name in NAMES if name not in said] == []
