"""The profile in a generation's record: whole or not at all, and shown without torch in no time."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest
import yaml

from molex_adapt import Registry, Run
from molex_adapt.analysis import analyse_table
from molex_adapt.api import profile
from molex_adapt.api.known import analyse_known, old_domains
from molex_adapt.api.profile import profile_of, stored_analysis
from molex_adapt.data import read
from molex_adapt.recipe import ExemplarOptions
from molex_adapt.registry import GenerationRecord
from molex_adapt.train.old import OldDomain
from tests.analysis.reports import analysed

HOW = Run(workers=1, device="cpu")


@pytest.fixture
def kept() -> dict:
    return profile_of(analysed(3, 2, tested=False))


def record(content: dict, names: str = "expert_00 expert_01 expert_02") -> GenerationRecord:
    return GenerationRecord.model_validate(
        {
            "number": 7,
            "parent": None,
            "experts": [{"name": name, "sha256": "ab" * 32} for name in names.split()],
            "calibration": {"scale": 1.0, "offset": 0.0},
            "threshold": 0.25,
            "profile": content,
            "files": {},
        }
    )


def test_what_a_record_keeps_is_what_was_analysed(kept):
    plain = analysed(3, 2, tested=False)
    found = stored_analysis(record(yaml.safe_load(yaml.safe_dump(kept))))
    assert (found.experts, found.attacks, found.blocks) == (plain.experts, plain.attacks, plain.blocks)
    assert (found.generation, found.threshold, found.utterances) == (7, 0.25, plain.utterances)
    for name in plain.attacks:
        assert found.usage[name] == pytest.approx(plain.usage[name], abs=1e-4)
        assert found.usage_by_block[name][0] == pytest.approx(plain.usage_by_block[name][0], abs=1e-4)


@pytest.mark.parametrize("lacking", ["usage_by_block", "usage", "top_1", "utterances"])
def test_a_record_that_lacks_a_part_keeps_nothing(kept, lacking):
    assert stored_analysis(record({name: part for name, part in kept.items() if name != lacking})) is None


def test_a_record_of_other_experts_or_of_another_form_keeps_nothing(kept):
    assert stored_analysis(record(kept, "expert_00 expert_01")) is None
    assert stored_analysis(record({"attack_00": {"expert_00": 1.0}})) is None
    assert stored_analysis(record({})) is None
    odd = kept["usage_by_block"] | {"null": [[1.0]]}
    assert stored_analysis(record(kept | {"usage_by_block": odd})) is None


def test_a_record_keeps_how_many_were_drawn_and_needs_not(kept):
    assert "drawn" not in kept and stored_analysis(record(kept)).drawn == {}
    drawn = {"attack_00": 64}
    found = stored_analysis(record(profile_of(replace(analysed(3, 2, tested=False), drawn=drawn))))
    assert found.drawn == drawn
    assert stored_analysis(record(kept | {"drawn": {"attack_00": "many"}})).drawn == {}


def test_a_record_of_very_many_keeps_no_blocks(monkeypatch):
    report = analysed(3, 2, tested=False)
    monkeypatch.setattr(profile, "MOST_FIGURES", 4 * 2 * 3)
    assert "usage_by_block" in profile_of(report)
    monkeypatch.setattr(profile, "MOST_FIGURES", 4 * 2 * 3 - 1)
    assert "usage_by_block" not in profile_of(report)
    assert profile_of(replace(report, blocks=1)) == profile_of(report) | {
        "usage_by_block": profile_of(replace(report, blocks=1))["usage_by_block"]
    }


_COMMAND = """
import sys
from molex_adapt.cli.app import main
sys.argv[1:] = ["analyze", "--json", "--registry", sys.argv[1]]
try:
    main()
except SystemExit as end:
    assert not end.code
assert not {"torch", "transformers", "altair"} & set(sys.modules)
"""


def test_analyze_without_data_loads_no_torch(registry):
    """The command itself, in a process of its own."""
    command = [sys.executable, "-c", _COMMAND, str(registry.store.path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["usage"]["buzz"] == {"buzz": 1.0}


def test_a_domain_without_recordings_is_shown_by_what_routers_read_of_it(made):
    registry = Registry.open(made.path)
    recipe = registry.recipe().model_copy(update={"exemplars": ExemplarOptions()})
    registry.add_expert(made.hum, accept=True, domain="hum", recipe=recipe, run=HOW)
    profile = registry.store.active.profile["usage"]
    assert set(profile) == {"bonafide", "buzz", "hum"}  # hum by its own test split
    detector = registry.detector(run=HOW)
    known = old_domains(registry.store, 2)
    assert known["hum"].exemplars is None
    recalled = analyse_known(detector, {"hum": known["hum"]})
    heard = analyse_table(detector, read(made.hum), HOW)
    assert recalled.utterances == {"hum": 0, "bonafide": 0}
    assert recalled.drawn == {"hum": 64, "bonafide": 64}
    for attack in ("hum", "bonafide"):
        assert sum(recalled.usage[attack].values()) == pytest.approx(1.0)
        assert recalled.usage[attack]["hum"] == pytest.approx(heard.usage[attack]["hum"], abs=0.15)
    assert analyse_known(detector, {"none": OldDomain("hum", None)}) is None
