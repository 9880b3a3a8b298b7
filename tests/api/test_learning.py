from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from molex_adapt import Registry, Run
from molex_adapt.api import outcome, training
from molex_adapt.api.known import old_domains
from molex_adapt.data import read
from molex_adapt.data.manifest import write_manifest
from molex_adapt.errors import DataError, RegistryError
from molex_adapt.registry.assemble import build_detector
from molex_adapt.train import judgement

HOW = Run(workers=1, device="cpu")


def test_the_first_expert_brings_head_and_routers_and_is_active(made, registry):
    report = made.report
    assert (report.expert, report.generation, report.activated, report.refused) == ("buzz", 1, True, [])
    assert (report.before, set(report.after), set(report.training)) == ({}, {"buzz"}, {"joint"})
    assert registry.store.active.number == 1
    assert registry.store.verify() == []
    expert = registry.store.expert("buzz")
    assert (expert.domain, expert.rank, expert.data.attacks) == ("buzz", 2, ["buzz"])
    assert sum(sum(found.values()) for found in expert.data.counts.values()) == 24
    exemplars = registry.store.exemplar_tensors("buzz")
    assert exemplars["replay.bona_fide"].tolist() == [1] * 4 + [0] * 4
    profile = registry.store.active.profile
    assert profile["usage"] == {"bonafide": {"buzz": 1.0}, "buzz": {"buzz": 1.0}}
    assert profile["usage_by_block"] == {"bonafide": [[1.0], [1.0]], "buzz": [[1.0], [1.0]]}


def test_on_an_empty_registry_what_cannot_decide_anything_is_said(made, empty, tiny_recipe, tmp_path):
    with pytest.raises(DataError, match="nowhere does not exist"):
        empty.add_expert(made.hum, domain="hum", recipe=tiny_recipe(), check=[tmp_path / "nowhere"], run=HOW)
    report = empty.add_expert(
        made.hum, domain="hum", recipe=tiny_recipe(), accept=True, if_needed=True, run=HOW
    )
    assert report.remarks[-1] == (
        "the registry was empty, and there was nothing for --accept and --if-needed to decide"
    )


def test_a_further_expert_leaves_every_old_byte_as_it_was(made, registry, tree, monkeypatch):
    before = tree(made.path)
    kept = []
    write = outcome.write_generation
    monkeypatch.setattr(
        outcome, "write_generation", lambda *given: kept.append(given[0].detector) or write(*given)
    )
    report = registry.add_expert(
        made.hum, accept=True, domain="hum", licence="cc-by-4.0", run=replace(HOW, seed=3, command="as typed")
    )
    assert (report.expert, report.generation) == ("hum", 2)
    assert set(report.before) == set(report.after) == set(report.change) == {"buzz", "hum"}
    assert set(report.as_dict()) >= {
        "expert",
        "generation",
        "activated",
        "before",
        "after",
        "seconds",
        "failed",
    }
    after = tree(made.path)
    assert {name for name in before if before[name] != after[name]} == {"registry.yaml"}
    record = registry.store.generation(2)
    assert (record.parent, record.names, record.command) == (1, ["buzz", "hum"], "as typed")
    assert record.threshold == registry.store.generation(1).threshold
    assert (registry.store.expert("hum", 2).licence, registry.store.expert("hum", 2).seed) == ("cc-by-4.0", 3)
    # What was trained and measured is what lies on disk, to the bit.
    memory, disk = kept[0], build_detector(registry.store, 2)
    for name in record.names:
        assert all(
            torch.equal(disk.mixture.weights(name)[key], value)
            for key, value in memory.mixture.weights(name).items()
        )
        rows = zip(memory.mixture.router_rows(name), disk.mixture.router_rows(name), strict=True)
        assert all(torch.equal(one, other) for one, other in rows)
    assert all(
        torch.equal(disk.head.state_dict()[key], value) for key, value in memory.head.state_dict().items()
    )
    clip = torch.randn(1, 12, 16), torch.tensor([12])
    assert torch.equal(memory.calibrate(memory.logit(*clip)), disk.calibrate(disk.logit(*clip)))


def test_the_seed_decides_to_the_byte(made, tmp_path, tree):
    trees = []
    for seed in (1, 1, 2):
        registry = Registry.create(tmp_path / f"copy{len(trees)}", str(made.path / "base"))
        torch.manual_seed(len(trees))
        registry.add_expert(
            made.hum,
            accept=True,
            domain="hum",
            recipe=Registry.open(made.path).recipe(),
            run=replace(HOW, seed=seed),
        )
        found = tree(registry.store.path)
        trees.append({name: found[name] for name in found if name.endswith(".safetensors")})
    assert len(trees[0]) == 6
    assert trees[0] == trees[1]
    assert (
        trees[0]["experts/hum/adapter_model.safetensors"] != trees[2]["experts/hum/adapter_model.safetensors"]
    )


def test_a_refused_generation_is_kept_but_not_in_force(made, registry, monkeypatch):
    monkeypatch.setattr(judgement, "refusals", lambda *_: ["buzz: EER rose by 9.0 points"])
    monkeypatch.setattr(judgement, "unproven", lambda *_: [])
    before = registry.score(made.hum / "bonafide", run=HOW)
    report = registry.add_expert(made.hum, domain="hum", run=HOW)
    assert (report.activated, report.generation, report.refused) == (
        False,
        2,
        ["buzz: EER rose by 9.0 points"],
    )
    assert registry.store.active.number == 1
    assert "buzz: EER rose by 9.0 points" in registry.store.generation(2).remarks
    after = registry.score(made.hum / "bonafide", run=HOW)
    assert [item.score for item in after.scores] == [item.score for item in before.scores]
    with pytest.raises(
        RegistryError, match="'hum' is already in registry .* remove hum --purge --registry /"
    ):
        registry.add_expert(made.hum, accept=True, domain="hum", run=HOW)
    registry.store.activate(2)
    assert registry.detector(run=HOW).mixture.names == ["buzz", "hum"]


def test_another_writer_in_the_meantime_is_noticed(made, registry, tree, monkeypatch):
    prepare = training.prepare
    other = Registry.open(made.path)

    def and_meanwhile(*given):
        monkeypatch.setattr(training, "prepare", prepare)
        other.retrain_router(run=HOW)
        return prepare(*given)

    monkeypatch.setattr(training, "prepare", and_meanwhile)
    with pytest.raises(RegistryError, match="another writer was first"):
        registry.add_expert(made.hum, accept=True, domain="hum", run=HOW)
    assert registry.store.active.number == 2
    assert not (made.path / "experts" / "hum").exists()
    assert registry.store.verify() == []


def test_two_experts_share_a_domain(made, empty, tiny_recipe):
    report = empty.train(made.buzz, domain="buzz", experts=2, recipe=tiny_recipe(), run=HOW)
    assert report.expert == ["buzz-1", "buzz-2"]
    assert set(report.after) == {"buzz"}
    assert [item.domain for item in empty.store.experts()] == ["buzz", "buzz"]
    report = empty.add_expert(made.hum, accept=True, domain="hum", run=HOW)
    assert set(report.after) == {"buzz", "hum"}
    with pytest.raises(RegistryError, match="has a mixture already"):
        empty.train(made.hum, domain="x", run=HOW)


def test_one_expert_per_attack(made, empty, tiny_recipe):
    report = empty.train(made.both, experts="per-attack", recipe=tiny_recipe(), run=HOW)
    assert report.expert == ["a07", "b"]
    assert [(item.domain, item.data.attacks) for item in empty.store.experts()] == [
        ("a07", ["A07"]),
        ("b", ["b"]),
    ]
    assert set(report.after) == {"a07", "b"}
    assert report.after["b"].bona_fide == report.after["a07"].bona_fide
    report = empty.retrain_router(made.both, run=HOW)
    assert set(report.after) == {"a07", "b"}
    assert report.expert == []


def test_attacks_of_one_domain_share_an_expert(made, empty, tiny_recipe):
    table = read(made.both)
    grouped = table.with_utterances(replace(item, domain="Both") if item.attack else item for item in table)
    manifest = made.both.parent / "grouped.csv"
    write_manifest(grouped, manifest)
    report = empty.train(manifest, experts="per-attack", recipe=tiny_recipe(), run=HOW)
    assert (report.expert, set(report.after)) == ("both", {"both"})
    assert [item.data.attacks for item in empty.store.experts()] == [["A07", "b"]]


def test_the_name_may_differ_from_the_domain(made, empty, tiny_recipe):
    report = empty.add_expert(
        made.buzz, accept=True, domain="buzz", name="first", recipe=tiny_recipe(), run=HOW
    )
    assert report.expert == "first"
    report = empty.add_expert(made.hum, accept=True, domain="buzz", name="second", run=HOW)
    assert set(report.after) == {"buzz", "buzz (first)"}
    assert [item.name for item in empty.store.experts()] == ["first", "second"]


def test_an_attack_that_a_split_lacks_is_refused_before_features(made, empty, tiny_recipe, monkeypatch):
    monkeypatch.setattr(
        "molex_adapt.train.prepare.extract", lambda *_, **__: pytest.fail("features were computed")
    )
    rows = [
        f"{path},{'spoof' if 'spoof' in str(path) else 'bonafide'},{path.parent.name if 'spoof' in str(path) else ''},"
        f"{'train' if path.parent.name == 'b' else ''}"
        for path in sorted(made.both.rglob("*.wav"))
    ]
    manifest = empty.store.path.parent / "manifest.csv"
    manifest.write_text("path,label,attack,split\n" + "\n".join(rows) + "\n")
    with pytest.raises(
        DataError, match="attack 'b' has no usable recordings for dev and test; .* --experts N"
    ):
        empty.train(manifest, experts="per-attack", recipe=tiny_recipe(), run=HOW)


def test_routers_retrained_on_exemplars_alone(made, registry, tree):
    before = tree(made.path)
    report = registry.retrain_router(run=replace(HOW, command="molex-adapt retrain-router"))
    assert (report.expert, report.generation, set(report.after)) == ([], 2, {"buzz"})
    after = tree(made.path)
    assert {name for name in before if before[name] != after[name]} == {"registry.yaml"}
    assert {name.split("/")[0] for name in after.keys() - before.keys()} == {"generations"}
    assert registry.store.generation(2).names == ["buzz"]


def test_routers_retrained_on_data_say_what_was_left_out(made, registry, sound, recorded, tmp_path):
    import soundfile

    data = recorded(tmp_path / "data", bona_fide=10, first=700, buzz=10)
    soundfile.write(data / "bonafide" / "short.wav", sound(1, 0.1), 16_000)
    report = registry.retrain_router([data], run=HOW)
    assert [item.reason[:9] for item in report.failed] == ["too short"]
    assert "disjoint by recording" in report.remarks[0]
    with pytest.raises(DataError, match="'buzz' comes in two of the data sets"):
        registry.retrain_router([data, made.buzz], run=HOW)


def test_the_history_of_a_domain_is_that_of_its_own_expert(made, registry, tiny_recipe):
    how = {"recipe": tiny_recipe(gate={"tolerance": 1.0}), "run": HOW}
    reports = [
        made.report,
        registry.add_expert(made.hum, accept=True, domain="buzz", name="again", **how),
        registry.retrain_router(**how),
        registry.add_expert(made.both, accept=True, domain="both", **how),
    ]
    keys = {
        "buzz": ["buzz", "buzz (buzz)", "buzz", "buzz"],
        "buzz (again)": [None, "buzz", *["buzz (again)"] * 2],
    }
    found = registry.store.forgetting()
    assert [step.added for step in found.steps] == [("buzz",), ("again",), (), ("both",)]
    assert [course.domain for course in found.courses] == [*keys, "both"]
    for course in found.courses[:2]:
        expected = [
            key and report.after[key] for key, report in zip(keys[course.domain], reports, strict=True)
        ]
        assert [item and item.eer for item in course.figures] == [item and item.eer for item in expected]
        assert [item.test_split for item in course.figures if item] == [True, *[False] * 3][
            : sum(course.known)
        ]
    known = old_domains(registry.store, registry.store.active.number)
    for course, since in zip(found.courses[:2], (1, 2), strict=True):
        path = [0.0]
        for key, report in zip(keys[course.domain][since:], reports[since:], strict=True):
            path.append(path[-1] + report.change[key].eer)
        assert course.forgetting_paired == pytest.approx(path[-1] - min(path[:-1]))
        assert known[course.domain].risen == pytest.approx(path[-1] - min(path))


def test_exemplars_may_be_switched_off(made, empty, tiny_recipe):
    recipe = tiny_recipe(exemplars={"replay": 0, "check": 0})
    empty.add_expert(made.buzz, accept=True, domain="buzz", recipe=recipe, run=HOW)
    assert set(empty.store.exemplar_tensors("buzz")) == {"heard.train", "heard.dev"}
    report = empty.add_expert(made.hum, accept=True, domain="hum", run=HOW)
    assert report.not_measured == ["buzz"]
    assert set(report.after) == {"hum"}
    assert set(empty.analyze(run=HOW).usage) == {"bonafide", "buzz", "hum"}  # by what routers read of them
    with pytest.raises(DataError, match="no data to retrain the routers on: of buzz, hum, too few replay"):
        empty.retrain_router(run=HOW)
    assert empty.store.verify() == []


def test_half_of_the_exemplars_may_be_switched_off(made, empty, tiny_recipe):
    empty.add_expert(
        made.buzz, accept=True, domain="buzz", recipe=tiny_recipe(exemplars={"replay": 0}), run=HOW
    )
    report = empty.add_expert(made.hum, accept=True, domain="hum", run=HOW)
    assert set(report.after) == {"buzz", "hum"}
    report = empty.retrain_router(made.hum, run=HOW)
    assert set(report.after) == {"buzz", "hum"}
