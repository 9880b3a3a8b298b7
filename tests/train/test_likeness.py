"""A domain that is nearly an old one is told before training."""

from __future__ import annotations

from dataclasses import replace

import pytest

from molex_adapt import Run
from molex_adapt.progress import Silent
from molex_adapt.train import likeness as module
from molex_adapt.train.adapt import add_expert, train_first
from molex_adapt.train.likeness import Likeness, likeness
from molex_adapt.train.old import OldDomain


class Notes(Silent):
    """Keeps what was noted, and how much had been trained by then."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.trained = False

    def start(self, label: str, total: int) -> None:
        self.trained = self.trained or "stage" in label

    def note(self, text: str) -> None:
        assert not self.trained
        self.notes.append(text)


@pytest.fixture
def trained(detector_of, domain_of, tiny_recipe):
    recipe = tiny_recipe(joint={"steps": 60, "evaluate_every": 20})
    detector = detector_of(recipe)
    domains = {"buzz": domain_of("buzz", 0, 1), "hum": domain_of("hum", 5, 2)}
    result = train_first(detector, domains, recipe, Run())
    return detector, {name: OldDomain(name, item) for name, item in result.exemplars.items()}


def test_a_known_domain_is_found_and_its_expert_named(trained, domain_of, tiny_recipe, monkeypatch):
    detector, old = trained
    recipe = tiny_recipe(gate={"known": 0.2})
    dev = domain_of("buzz", 0, 7).dev
    count = len(dev.of_class(True))
    assert likeness(detector, dev, 0.0) is None  # an EER of so few tells nothing
    monkeypatch.setattr(module, "FEWEST_FOR_INTERVAL", count)
    found = likeness(detector, domain_of("buzz", 0, 7).dev, 0.0)
    assert likeness(detector, dev, 0.0, known=found.eer - 0.001) is None  # not as good as it has to be
    assert found.eer < 0.2
    assert found.expert == "buzz"
    assert 0.5 < found.share <= 1
    for offset in (1e6, -1e6):  # the threshold is one of calibrated scores
        moved = replace(detector.calibration, offset=offset)
        with monkeypatch.context() as patch:
            patch.setattr(detector, "calibration", moved)
            assert likeness(detector, domain_of("buzz", 0, 7).dev, 0.0).accepted == (offset > 0)
    notes = Notes()
    result = add_expert(
        detector, "buzz-2", "buzz again", domain_of("buzz", 0, 7), old, -1e9, recipe, Run(progress=notes)
    )
    assert result.remarks[0] == notes.notes[0]
    assert "expert buzz (" in notes.notes[0] and "threshold accepts 100 %" in notes.notes[0]


def test_where_hardly_a_gate_opens_the_readout_does_the_work():
    said = [Likeness(0.02, (0.0, 0.04), "buzz", share, 0.5).remark("new") for share in (0.4, 0.01)]
    assert "by expert buzz (40 % of the gates)" in said[0]
    assert "by the readout" in said[1] and "buzz" not in said[1]


def test_what_ranks_low_and_is_accepted_is_not_called_usable():
    remarks = [Likeness(0.02, (0.0, 0.04), "buzz", 0.4, share).remark("new") for share in (0.5, 0.75)]
    assert remarks[0].endswith("the mixture can be used as it is")
    assert "its threshold accepts 75 % of its spoofed speech" in remarks[1] and "used" not in remarks[1]


def test_of_an_unknown_domain_nothing_is_said(trained, domain_of, tiny_recipe):
    detector, old = trained
    notes = Notes()
    recipe = tiny_recipe()
    add_expert(detector, "new", "new", domain_of("new", 11, 5), old, 0.0, recipe, Run(progress=notes))
    assert notes.notes == []
