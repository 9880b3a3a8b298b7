"""Every recipe in the folder is bound to the code that runs it; those for large models at tiny shape."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from molex_adapt.api import Registry, Run
from molex_adapt.errors import RecipeError
from molex_adapt.recipe import DemoRecipe, Options, Recipe, dump, load, with_structure_of
from molex_adapt.shipped import recipe_names, recipe_path
from molex_adapt.simulate import make_attack

KINDS: dict[str, type[Options]] = {
    "demo": DemoRecipe,
    "shipped": Recipe,
    "asvspoof5_wavlm_large": Recipe,
    "asvspoof5_xlsr_300m": Recipe,
}
LARGE = [name for name in KINDS if name.startswith("asvspoof5")]


def test_every_recipe_in_the_folder_is_known_here() -> None:
    assert recipe_names() == sorted(KINDS)


@pytest.mark.parametrize("name", KINDS)
def test_a_recipe_loads_and_its_dump_reads_back_equal(name: str, tmp_path: Path) -> None:
    recipe = load(KINDS[name], recipe_path(name))
    copy = tmp_path / "copy.yaml"
    copy.write_text(dump(recipe))
    assert load(KINDS[name], copy) == recipe


@pytest.mark.parametrize("name", KINDS)
def test_a_header_says_what_it_needs_how_to_run_it_and_one_override(name: str) -> None:
    header = [line for line in recipe_path(name).read_text().splitlines() if line.startswith("#")]
    for word in ("Needs", "Run", "Override", "Result"):
        assert any(line.startswith(f"# {word}") for line in header), word


@pytest.mark.parametrize("name", LARGE)
def test_what_was_not_measured_says_so(name: str) -> None:
    assert "NO FIGURE WAS MEASURED" in recipe_path(name).read_text()


def test_every_domain_of_the_demo_is_an_attack_with_valid_parameters() -> None:
    recipe = load(DemoRecipe, recipe_path("demo"))
    assert recipe.novel in recipe.domains
    assert "null" in recipe.domains
    for domain in recipe.domains.values():
        make_attack(domain.attack, domain.parameters)


def test_all_faults_are_reported_together_with_the_nearest_key() -> None:
    with pytest.raises(RecipeError) as caught:
        load(Recipe, None, ["lora.rnk=4", "router.top_k=0", "data.fractions=[1,1,1]"])
    message = str(caught.value)
    assert "3 wrong" in message
    assert "did you mean 'rank'" in message
    assert "router.top_k = 0" in message


def test_another_structure_than_the_mixtures_is_refused_and_silence_follows_it() -> None:
    active = load(Recipe, None, ["router.routing=frame", "head.width=32"])
    merged = with_structure_of(active, load(Recipe, None, ["lora.rank=2", "expert.steps=7"]))
    assert (merged.router.routing, merged.head.width, merged.lora.rank, merged.expert.steps) == (
        "frame",
        32,
        2,
        7,
    )
    with pytest.raises(RecipeError, match=re.escape("router.routing = 'utterance'; the mixture has 'frame'")):
        with_structure_of(active, load(Recipe, None, ["router.routing=utterance"]))


@pytest.mark.parametrize("has", [True, False])
def test_a_mixture_keeps_its_readout_or_none_whatever_a_recipe_leaves_out(has: bool) -> None:
    active = load(Recipe, None, [f"head.readout={has}"])
    for silent in (["expert.steps=7"], ["head.width=32"]):
        wide = load(Recipe, None, [f"head.readout={has}", "head.width=32"])
        assert with_structure_of(wide, load(Recipe, None, silent)).head.readout is has
    with pytest.raises(RecipeError, match=f"head.readout = {not has}; the mixture has {has}"):
        with_structure_of(active, load(Recipe, None, [f"head.readout={not has}"]))


def test_the_default_targets_mean_the_feed_forward_of_any_base_and_no_other_layers(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(dump(Recipe()))
    written = load(Recipe, tmp_path / "recipe.yaml")
    own = ("fc1", "fc2")
    active = load(Recipe, None, ["lora.targets=[fc1,fc2]"])
    assert with_structure_of(active, written, {own}).lora.targets == own
    with pytest.raises(RecipeError, match=re.escape("the mixture has ('fc2',)")):
        with_structure_of(load(Recipe, None, ["lora.targets=[fc2]"]), written, {own})
    with pytest.raises(RecipeError, match=re.escape("lora.targets = ('fc2',)")):
        with_structure_of(active, load(Recipe, None, ["lora.targets=[fc2]"]), {own})


@pytest.fixture
def asvspoof5(tmp_path: Path) -> Path:
    """A tree like ASVspoof 5's, of noise: 3 splits, 2 attacks."""
    root, generator = tmp_path / "ASVspoof5", np.random.default_rng(0)
    names = {
        "train": ("ASVspoof5.train.tsv", "flac_T"),
        "dev": ("ASVspoof5.dev.track_1.tsv", "flac_D"),
        "eval": ("ASVspoof5.eval.track_1.tsv", "flac_E_eval"),
    }
    for split, (protocol, folder) in names.items():
        (root / folder).mkdir(parents=True)
        rows = []
        for number in range(12):
            attack = ("bonafide", "A01", "A02")[number % 3]
            key = "bonafide" if attack == "bonafide" else "spoof"
            file = f"{split}_{number:04d}"
            wave = 0.1 * generator.standard_normal(14_400).astype(np.float32)
            sf.write(root / folder / f"{file}.flac", wave, 16_000)
            tag = attack if attack == "bonafide" else f"AC{attack[-1]}"
            rows.append(f"{split[0].upper()}_{number} {file} F - - - {tag} {attack} {key} -")
        (root / protocol).write_text("\n".join(rows) + "\n")
    return root


SMALL = [
    "training.batch_size=4", "joint.steps=2", "expert.steps=2", "router_stage.steps=1", "exemplars.replay=4",
    "exemplars.check=4", "head.width=8", "gate.tolerance=1.0",
]  # fmt: skip


@pytest.mark.parametrize("name", LARGE)
def test_a_recipe_for_a_large_model_runs_at_tiny_shape(
    name: str, asvspoof5: Path, tiny_base_folder: Path, tmp_path: Path
) -> None:
    registry = Registry.create(tmp_path / "registry", str(tiny_base_folder))
    recipe = load(Recipe, recipe_path(name), SMALL)
    report = registry.train(asvspoof5, domain="asvspoof5", experts=2, recipe=recipe, run=Run(workers=1))
    assert report.activated
    assert [record.name for record in registry.store.experts()] == ["asvspoof5-1", "asvspoof5-2"]
    report = registry.add_expert(asvspoof5, accept=True, domain="codec_x", recipe=recipe, run=Run(workers=1))
    assert report.expert == "codec_x"
    assert set(report.before) >= {"codec_x", "asvspoof5"}
    assert registry.store.verify() == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", "refers to an anchor"),
        ("expert: {steps: 3}\nexpert: {steps: 4}\n", "'expert' is given twice, again in line 2"),
        ("expert: {steps: 3, steps: 4}\n", "'steps' is given twice"),
        ("expert: " + "[" * 5000, "nests deeper than 60"),
        ("expert: {steps: 0x%s}\n" % ("f" * 5000), "steps is beyond 9007199254740992"),
        ("expert: {steps: %s}\n" % ("9" * 5000), "not valid YAML"),
        ("lora: {rank: 0x%s}\n" % ("f" * 5000), "lora.rank = a number too long to show"),
        ("expert: {learning_rate: .inf}\n", "learning_rate = inf: .*finite"),
        ("expert: {learning_rate: .nan}\n", "learning_rate = nan: .*finite"),
        ("expert: !!python/object/apply:os.system [x]\n", "not valid YAML"),
        ("expert: 2026-99-99\n", "not valid YAML"),
        ("{1: 2, [a]: 3}\n", "not valid YAML"),
        ("x: %s\n" % ("y" * 2**20), "larger than 1048576 bytes"),
        ("".join(f"k{at}: 1\n" for at in range(500)), "500 wrong option.*and 480 more"),
    ],
)
def test_hostile_recipes_are_refused(tmp_path, text, message):
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=f"(?s){message}") as caught:
        load(Recipe, path)
    assert len(str(caught.value)) < 5000


@pytest.mark.parametrize(
    "text", ["expert.steps=*a", "expert.steps=0x" + "f" * 5000, "lora.rank=[" + "[" * 999, "a=\0", "=", ""]
)
def test_hostile_overrides_are_refused(text):
    with pytest.raises(RecipeError):
        load(Recipe, None, [text])
