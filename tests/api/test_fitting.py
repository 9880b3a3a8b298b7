"""Which rows a pulled expert gets in a mixture that it was not trained in."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from molex_adapt.api.fitting import choose_rows
from molex_adapt.base import load_base
from molex_adapt.detector import Detector
from molex_adapt.mixture import ExpertSpec
from molex_adapt.registry.assemble import head_arrays, router_arrays


def detector(folder, recipe, *experts: str) -> Detector:
    made = Detector(load_base(folder), recipe)
    for name in experts:
        made.mixture.add(ExpertSpec(name, 2, 4.0))
        for row in made.mixture.router_rows(name):
            torch.nn.init.normal_(row.data)
    return made.requires_grad_(False).eval()


@pytest.mark.parametrize(("here", "there"), [(True, True), (True, False), (False, True), (False, False)])
def test_rows_are_carried_where_the_frozen_base_takes_a_share_in_both(
    tiny_folder_of, tiny_recipe, here, there
):
    """Nothing is shared and nothing was heard: without a rest in both, the level of a row is not known."""
    torch.manual_seed(0)
    own, sent = (
        detector(tiny_folder_of(), tiny_recipe(head={"readout": readout}), *names)
        for readout, names in ((here, "xy"), (there, "abc"))
    )
    pulled = SimpleNamespace(
        router=router_arrays(sent),
        head=head_arrays(sent),
        mixture=SimpleNamespace(experts=["a", "b", "c"]),
        new=SimpleNamespace(routing=None),
    )
    rows = choose_rows(pulled, None, own, router_arrays(own), ["x", "y"])
    assert rows.source == ("carried" if here and there else "centred")
    same = np.array_equal(rows.values[0], router_arrays(sent)["blocks.0.rows"][0])
    assert same == (here and there)
