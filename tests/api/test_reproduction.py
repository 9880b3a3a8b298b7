from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from dataclasses import replace

import pytest
import torch
import yaml

from molex_adapt import Registry, Run
from molex_adapt.cli.app import main
from molex_adapt.errors import RegistryError
from molex_adapt.registry.reproduction import reproduce

HOW = Run(workers=1, device="cpu")


@pytest.fixture
def at(tmp_path, monkeypatch):
    """An empty folder to work in, without any accelerator."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (tmp_path / "at work").mkdir()
    monkeypatch.chdir(tmp_path / "at work")
    monkeypatch.setenv("COLUMNS", "60")
    return tmp_path / "at work"


def run(arguments: list[str]) -> int:
    with pytest.raises(SystemExit) as leaving:
        main(arguments)
    return int(leaving.value.code or 0)


def follow(commands: list[str]) -> None:
    """Run shell lines; ours in this process."""
    for line in commands:
        words = shlex.split(line)
        if "=" in words[0]:
            assert words.pop(0) == f"OMP_NUM_THREADS={torch.get_num_threads()}"
        if words[0] != "molex-adapt":
            subprocess.run(words, check=True)
        else:
            assert run([*words[1:], "--quiet"] if words[1] in ("train", "add-expert") else words[1:]) == 0, (
                line
            )


def weights(registry: Registry, *names: str) -> dict[str, str | None]:
    return {name: registry.store.expert(name).weights_sha256 for name in names}


def test_the_printed_commands_make_the_same_bits(made, registry, tiny_recipe, at, capsys):
    recipe = tiny_recipe(expert={"learning_rate": 0.003}, gate={"tolerance": 1.0})
    typed = f"molex-adapt add-expert {made.hum} --domain hum --name first --seed 3 --quiet --resume"
    registry.add_expert(
        made.hum,
        accept=True,
        domain="hum",
        name="first",
        recipe=recipe,
        licence="cc-by-4.0",
        run=replace(HOW, seed=3, micro_batch=5, command=typed),
    )
    registry.add_expert(made.both, accept=True, domain="late", recipe=recipe, run=replace(HOW, seed=4))
    assert run(["reproduce", "first", "--registry", str(made.path)]) == 0
    out, err = capsys.readouterr()
    commands = out.splitlines()
    assert len(commands) == 4 and str(made.hum) in commands[-1]
    assert "--micro-batch 5" in commands[-1]
    record = registry.store.expert("first")
    assert f"digest {record.data.digest}" in err and f"sha256 {record.weights_sha256}" in err
    assert "other versions" not in err
    follow(commands)
    again = Registry.open("again")
    assert weights(again, "first", "buzz") == weights(registry, "first", "buzz")
    assert again.store.expert("first").licence == "cc-by-4.0"
    for parts in ("router", "head"):
        folders = registry.store.path / "generations/2", again.store.path / "generations/2"
        one, other = ((folder / f"{parts}.safetensors").read_bytes() for folder in folders)
        assert one == other


def test_the_first_experts_are_made_again_from_the_base(made, empty, tiny_recipe, at, capsys):
    typed = f"molex-adapt train {made.both} --experts per-attack --set expert.steps=6"
    empty.train(
        made.both, experts="per-attack", recipe=tiny_recipe(), run=replace(HOW, seed=2, command=typed)
    )
    assert run(["reproduce", "b", "--registry", str(empty.store.path), "--json", "--quiet"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["expert"], told["generation"], told["parent"], told["seed"]) == ("b", 1, None, 2)
    assert told["weights_sha256"] == empty.store.expert("b").weights_sha256
    follow(told["commands"])
    assert weights(Registry.open("again"), "a07", "b") == weights(empty, "a07", "b")


def test_what_the_readout_learnt_alone_is_made_again_without_an_expert(made, empty, tiny_recipe, at, capsys):
    typed = f"molex-adapt train --readout-only {made.both} --experts per-attack"
    empty.train(
        made.both,
        experts="per-attack",
        recipe=tiny_recipe(),
        readout_only=True,
        run=replace(HOW, seed=2, command=typed),
    )
    added = f"molex-adapt add-expert --readout-only {made.hum} --domain hum"
    empty.add_expert(made.hum, domain="hum", accept=True, readout_only=True, run=replace(HOW, command=added))
    empty.add_expert(made.buzz, domain="buzz", accept=True, run=HOW)
    place = ["--registry", str(empty.store.path), "--json", "--quiet"]
    for name, flag in (("hum", True), ("buzz", False), ("b", True)):
        assert run(["reproduce", name, *place]) == 0
        told = json.loads(capsys.readouterr().out)
        assert ("--readout-only" in told["commands"][-1]) == flag
        if name == "buzz":
            continue
        follow(told["commands"])
        again = Registry.open("again")
        assert weights(again, name) == weights(empty, name)
        folder = f"generations/{told['generation']}/head.safetensors"
        assert (again.store.path / folder).read_bytes() == (empty.store.path / folder).read_bytes()
        shutil.rmtree("again")
        capsys.readouterr()


def test_a_shared_domain_is_trained_together(made, empty, tiny_recipe):
    empty.train(made.buzz, domain="buzz", experts=2, recipe=tiny_recipe(), run=HOW)
    found = reproduce(empty.store, "buzz-2")
    assert "train DATA --domain buzz --experts 2" in found.commands[-1]


def test_the_recipe_may_be_saved(registry, at, capsys):
    assert (
        run(["reproduce", "buzz", "--registry", str(registry.store.path), "--save-recipe", "kept.yaml"]) == 0
    )
    assert "--recipe kept.yaml" in capsys.readouterr().out
    assert (at / "kept.yaml").read_text() == registry.store.expert("buzz").recipe


@pytest.mark.parametrize("content", ["# my notes\n", "steps: 3\n", "my diary", "{}\n"])
def test_the_recipe_replaces_nothing_but_a_recipe(registry, at, capsys, content):
    arguments = ["reproduce", "buzz", "--registry", str(registry.store.path), "--save-recipe", "kept.yaml"]
    for _ in range(2):
        assert run(arguments) == 0
    (at / "kept.yaml").write_text(content)
    assert run(arguments) == 1
    assert "kept.yaml is there already and is a text" in capsys.readouterr().err
    assert (at / "kept.yaml").read_text() == content


def test_what_was_purged_is_not_reproduced(made, registry, tiny_recipe, at, capsys):
    registry.add_expert(made.hum, domain="hum", recipe=tiny_recipe(), accept=True, run=HOW)
    registry.store.remove("buzz", purge=True)
    assert run(["reproduce", "hum", "--registry", str(made.path)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "'hum' came with was purged" in err and "`molex-adapt remove buzz --purge`" in err
    path = made.path / "generations/3/generation.yaml"
    path.write_text(path.read_text().replace("molex-adapt remove", "remove"))
    with pytest.raises(RegistryError, match="was purged"):
        reproduce(Registry.open(made.path).store, "hum")


def test_what_differs_is_said(registry, made):
    path = made.path / "experts/buzz/expert.yaml"
    content = yaml.safe_load(path.read_text())
    content["versions"]["torch"] = "1.0"
    content["recipe"] = "lora: {rank: 2}\n"
    path.write_text(yaml.safe_dump(content))
    found = reproduce(registry.store, "buzz")
    assert any("torch 1.0 then" in remark for remark in found.remarks)
    assert any("reproduce buzz --save-recipe" in remark for remark in found.remarks)
    assert "--recipe RECIPE.yaml" in found.commands[-1]


def test_every_artefact_says_what_made_it(made, registry):
    registry.add_expert(made.hum, accept=True, domain="hum", run=replace(HOW, seed=3))
    record, generation = registry.store.expert("hum"), registry.store.generation()
    assert generation.seed == record.seed == 3
    assert generation.data == [record.data]
    assert generation.versions == record.versions
    assert {"molex-adapt", "python", "torch", "transformers"} <= set(record.versions)
    assert generation.machine == record.machine
    assert record.machine["device"] == "cpu" and record.machine["precision"] == "float32"
    assert registry.store.recipe() == record.recipe
    registry.retrain_router(made.hum, run=replace(HOW, seed=5))
    assert registry.store.generation().seed == 5
    assert registry.store.generation().data == [record.data]
    registry.store.remove("hum")
    assert registry.store.generation().seed is None
