"""What is refused before any training, what an interrupted run says, and names that are not plain."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace

import pytest

from molex_adapt import Registry, Run
from molex_adapt.errors import DataError, ExpertError, RecipeError, RegistryError
from molex_adapt.train import pools

HOW = Run(workers=1, device="cpu")


def test_what_cannot_be_measured_is_said_before_training(made, empty, tiny_recipe, monkeypatch):
    empty.add_expert(
        made.buzz, accept=True, domain="buzz", recipe=tiny_recipe(exemplars={"check": 0}), run=HOW
    )
    with monkeypatch.context() as patch:
        patch.setattr(pools.Sampler, "draw", lambda *_: pytest.fail("trained"))
        with pytest.raises(
            DataError, match="measure the retrained routers on: of buzz, too few check .*DATA"
        ):
            empty.retrain_router(run=HOW)
    report = empty.retrain_router(made.hum, run=HOW)
    assert (set(report.after), report.not_measured) == ({"hum"}, ["buzz"])


def test_a_mixture_without_experts_has_nothing_to_retrain_or_to_look_at(made, registry):
    registry.store.remove("buzz")
    for work in (registry.retrain_router, registry.analyze):
        with pytest.raises(ExpertError, match="the mixture has no experts .* molex-adapt add-expert"):
            work(made.buzz, run=HOW)


def test_names_that_are_not_utf_8_are_recorded(made, empty, tiny_recipe, tmp_path):
    data = shutil.copytree(made.buzz, tmp_path / "data")
    odd = os.fsdecode(b"b\xff")
    (data / "spoof" / "buzz").rename(data / "spoof" / odd)
    how = replace(HOW, command=f"molex-adapt add-expert {odd}/")
    empty.add_expert(data, accept=True, domain="buzz", recipe=tiny_recipe(), licence=odd, run=how)
    assert empty.store.verify() == []
    expert, generation = empty.store.expert("buzz"), empty.store.generation()
    assert (expert.data.attacks, expert.licence) == (["b\\udcff"], "b\\udcff")
    assert generation.command == "molex-adapt add-expert b\\udcff/"
    assert set(generation.profile["usage"]) == {"bonafide", "b\\udcff"}
    assert set(empty.retrain_router(run=HOW).after) == {"buzz"}


def test_the_structure_of_a_mixture_is_not_for_a_recipe_to_change(made, registry, tiny_recipe):
    with pytest.raises(RecipeError, match=r"head.width = 16; the mixture has 8"):
        registry.add_expert(
            made.hum, accept=True, domain="hum", recipe=tiny_recipe(head={"width": 16}), run=HOW
        )
    report = registry.add_expert(
        made.hum, accept=True, domain="hum", recipe=tiny_recipe(lora={"rank": 3}), run=HOW
    )
    assert report.generation == 2
    assert [item.rank for item in registry.store.experts(2)] == [2, 3]


@pytest.mark.parametrize("name", ["../x", "UPPER", "", ".hidden", "a/b", "x" * 65])
def test_names_that_cannot_be_folders_are_refused(made, registry, name):
    with pytest.raises(DataError, match="domain name .* cannot be used|expert name .* cannot be used"):
        registry.add_expert(made.hum, accept=True, domain=name or " ", run=HOW)
    with pytest.raises(DataError, match="cannot be used"):
        registry.add_expert(made.hum, accept=True, domain="hum", name=name or " ", run=HOW)


def test_a_first_mixture_is_one_expert_of_its_domain_unless_more_are_asked_for(made, empty, tiny_recipe):
    report = empty.train(made.both, domain="all", recipe=tiny_recipe(), run=HOW)
    assert (report.expert, set(report.after)) == ("all", {"all"})
    (expert,) = empty.store.experts()
    assert (expert.domain, expert.data.attacks) == ("all", ["A07", "b"])


def test_a_readout_learns_attacks_without_an_expert_and_one_that_is_trained_later_works(
    made, empty, tiny_recipe, tree
):
    plain = tiny_recipe()
    assert not plain.head.readout
    report = empty.train(made.both, experts="per-attack", recipe=plain, readout_only=True, run=HOW)
    assert (report.expert, report.training, report.withdrawn) == (["a07", "b"], {}, True)
    assert report.activated and set(report.after) == {"a07", "b"}
    assert empty.store.verify() == []
    before = tree(empty.store.path / "experts")
    scores = {item.path: item.score for item in empty.score(made.both, run=HOW).scores}
    again = Registry.open(empty.store.path).score(made.both, run=HOW).scores
    assert scores == {item.path: item.score for item in again}
    added = empty.add_expert(made.hum, domain="hum", accept=True, readout_only=True, run=HOW)
    assert (added.training, added.withdrawn, added.activated) == ({}, True, True)
    trained = empty.add_expert(made.buzz, domain="buzz", accept=True, run=HOW)
    assert set(trained.training) == {"expert", "router"}
    assert added.gain is None and trained.gain is not None
    assert trained.withdrawn != trained.gain.is_certain
    assert before.items() <= tree(empty.store.path / "experts").items()
    assert [each.name for each in empty.store.experts()] == ["a07", "b", "hum", "buzz"]


def test_the_readout_alone_takes_one_name_a_domain_and_a_readout(made, empty, registry):
    with pytest.raises(RecipeError, match="2 experts cannot share buzz where none is trained"):
        empty.train(made.buzz, domain="buzz", experts=2, readout_only=True, run=HOW)
    assert empty.store.active is None
    with pytest.raises(DataError, match="this mixture has none. Train an expert, or begin a registry"):
        registry.add_expert(made.hum, domain="hum", readout_only=True, run=HOW)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"domain": "buzz", "experts": 0}, "0 experts cannot be trained"),
        (
            {"domain": "buzz", "experts": "per-attack"},
            "domain 'buzz' was given for experts per attack.*Leave",
        ),
        ({}, "no domain was given.*--experts per-attack"),
    ],
)
def test_domain_and_experts_that_do_not_go_together_are_refused(made, empty, how, said):
    with pytest.raises(RecipeError, match=said):
        empty.train(made.buzz, run=HOW, **how)
    assert empty.store.active is None


def test_an_interrupted_run_says_how_to_go_on_and_does(made, registry, monkeypatch, tmp_path):
    from molex_adapt.progress import Silent
    from molex_adapt.train import checkpoints, loop

    notes: list[str] = []

    class Ear(Silent):
        def note(self, text):
            notes.append(text)

    whole = Registry.create(tmp_path / "whole", str(made.path / "base"))
    whole.add_expert(made.hum, accept=True, domain="hum", recipe=registry.recipe(), run=replace(HOW, seed=1))
    broken = Registry.create(tmp_path / "broken", str(made.path / "base"))
    monkeypatch.setattr(checkpoints, "CHECKPOINT_SECONDS", 0.0)
    step, taken = loop._differentiate, []

    def stopped(*given):
        taken.append(1)
        if len(taken) == 4:
            raise KeyboardInterrupt
        step(*given)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "_differentiate", stopped)
        with pytest.raises(KeyboardInterrupt):
            broken.add_expert(
                made.hum,
                accept=True,
                domain="hum",
                recipe=registry.recipe(),
                run=replace(HOW, seed=1, progress=Ear()),
            )
    assert notes[-1].endswith("the same command with --resume goes on from there")
    assert broken.store.verify() == []
    with pytest.raises(RegistryError, match="licence"):
        broken.add_expert(
            made.hum,
            domain="hum",
            recipe=registry.recipe(),
            licence="mit",
            run=replace(HOW, seed=1, resume=True),
        )
    broken.add_expert(
        made.hum,
        accept=True,
        domain="hum",
        recipe=registry.recipe(),
        run=replace(HOW, seed=1, resume=True, progress=Ear()),
    )
    assert "joint stage: resumed after step 3" in notes
    assert broken.store.expert("hum").weights_sha256 == whole.store.expert("hum").weights_sha256
    for name in ("router.safetensors", "head.safetensors"):
        assert broken.store.generation().files[name] == whole.store.generation().files[name]
    assert not (broken.store.path / ".checkpoints").exists()


@pytest.mark.parametrize("change", ["train", "add_expert", "retrain_router", "set_threshold"])
def test_a_registry_that_may_only_be_read_is_refused_before_any_features(made, registry, monkeypatch, change):
    """Root may write where nobody else may, so the answer of the system is made up."""
    may = os.access
    only_read = registry.store.path
    monkeypatch.setattr(
        os, "access", lambda path, mode, **rest: path != only_read and may(path, mode, **rest)
    )
    monkeypatch.setattr("molex_adapt.train.prepare.extract", None)
    monkeypatch.setattr("molex_adapt.api.thresholding.score_table", None)
    named = {"domain": "new"} if change in ("train", "add_expert") else {}
    with pytest.raises(RegistryError, match="may only be read. Copy it to a folder that you may write to"):
        getattr(registry, change)(made.hum, **named)
