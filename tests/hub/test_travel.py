"""Experts and mixtures there and back again, through the real client."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from molex_adapt import Registry, Run
from molex_adapt.errors import ExpertError, HubError, RegistryError
from molex_adapt.hub.contents import MIXTURE
from molex_adapt.registry import GenerationDraft, files, layout
from molex_adapt.registry.records import UnheardRecord
from tests.hub.forging import ADAPTER, arrays, changed, recorded
from tests.hub.repositories import CPU

pytestmark = pytest.mark.hub


def listed(hub, name, revision=None):
    return set(hub.files(name, revision)) - {".gitattributes"}


def test_an_expert_goes_back_to_where_it_was(hub, lab):
    ours = lab("ours")
    name = hub.name("hum")
    pushed = ours.hub.push("hum", name)
    before = {path: path.read_bytes() for path in (ours.store.path / "experts").rglob("*") if path.is_file()}
    rows = ours.store.router_tensors()
    ours.store.remove("hum", purge=True)
    report = ours.pull(name, run=CPU)
    assert (report.activated, report.rows, report.commit) == (True, "carried", pushed.commit)
    after = ours.store.router_tensors()
    for key, array in rows.items():
        assert np.array_equal(after[key], array), key
    folder = ours.store.expert_folder("hum")
    for file in (layout.ADAPTER, layout.EXEMPLARS, layout.ROUTING, layout.ADAPTER_CONFIG):
        assert (folder / file).read_bytes() == before[folder / file]
    record = ours.store.expert("hum")
    assert (record.origin.repository, record.origin.commit) == (name, pushed.commit)
    assert set(report.before) == set(report.after) == {"buzz", "hum"}
    assert ours.store.verify() == []


def test_a_push_is_one_commit_and_can_be_repeated(hub, lab):
    ours, name = lab("ours"), hub.name("buzz")
    first = ours.hub.push("buzz", name)
    assert listed(hub, name) == {
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "exemplars.safetensors",
        "expert.yaml",
        "head.safetensors",
        "router.safetensors",
        "routing.safetensors",
    }
    assert {path: item.size for path, item in hub.files(name).items() if path in first.files} == first.files
    again = ours.hub.push("buzz", name)
    assert (again.changed, again.commit) == (False, first.commit)
    without = ours.hub.push("buzz", name, exemplars=False)
    assert without.changed
    kept = yaml.safe_load(Path(hub.api.hf_hub_download(name, "expert.yaml")).read_bytes())
    assert "exemplars.safetensors" not in kept["files"]
    assert "exemplars.safetensors" not in hub.files(name)
    assert "routing.safetensors" in hub.files(name)  # no recording is in it


def test_a_push_takes_away_what_is_no_longer_there(hub, lab):
    ours, name = lab("ours"), hub.name("mixture")
    ours.hub.push(None, name)
    assert "experts/hum/expert.yaml" in listed(hub, name)
    ours.store.remove("hum")
    ours.hub.push(None, name)
    assert not any(path.startswith("experts/hum/") for path in listed(hub, name))
    assert "experts/buzz/expert.yaml" in listed(hub, name)


def test_revisions(hub, lab):
    ours, name = lab("ours"), hub.name("buzz")
    main = ours.hub.push("buzz", name)
    branch = ours.hub.push("buzz", name, revision="careful", exemplars=False)
    assert branch.commit != main.commit
    report = lab("bare").pull(f"{name}@careful", run=CPU)
    assert report.commit == branch.commit
    theirs = lab("theirs")
    report = theirs.pull(f"{name}@{main.commit}", name="other", run=CPU)
    assert report.commit == main.commit
    assert theirs.store.expert("other").origin.revision == main.commit
    with pytest.raises(HubError, match="no revision 'nowhere'"):
        theirs.pull(f"{name}@nowhere", name="third")


def test_private(hub, lab, monkeypatch, tmp_path, unchanged):
    ours, bare = lab("ours"), lab("bare")
    name = hub.name("secret")
    ours.hub.push("buzz", name, private=True)
    assert hub.api.model_info(name).private
    monkeypatch.delenv("HF_TOKEN")
    check = unchanged(bare)
    with pytest.raises(HubError, match=r"private.*hf auth login.*HF_TOKEN"):
        bare.pull(name)
    check()
    assert bare.pull(name, token=hub.token, run=CPU).activated
    public = hub.name("public")
    ours.hub.push("buzz", public, token=hub.token)
    with pytest.raises(HubError, match="is public, and --private does not hide"):
        ours.hub.push("hum", public, private=True, token=hub.token)


def test_a_token_that_was_left_by_logging_in(hub, lab, monkeypatch):
    from huggingface_hub import constants

    ours, name = lab("ours"), hub.name("secret")
    ours.hub.push("buzz", name, private=True)
    monkeypatch.delenv("HF_TOKEN")
    left = Path(constants.HF_TOKEN_PATH)
    left.parent.mkdir(parents=True, exist_ok=True)
    left.write_text(hub.token)
    assert lab("bare").pull(name, run=CPU).activated


def test_the_card(hub, lab, tmp_path):
    from huggingface_hub import ModelCard

    ours, name = lab("ours"), hub.name("buzz")
    ours.hub.push("buzz", name)
    card = ModelCard.load(hub.api.hf_hub_download(name, "README.md"))
    fields = card.data.to_dict()
    assert (fields["library_name"], fields["license"]) == ("peft", "cc-by-4.0")
    assert {"molex-adapt", "lora", "buzz"} <= set(fields["tags"])
    result = next(item for item in card.data.eval_results if item.metric_type == "eer")
    measured = ours.store.expert("buzz").metrics["buzz"]
    assert result.metric_value == measured["eer"]
    assert measured["spoof"] < 10 and result.metric_args is None  # too few for an interval
    text = card.text
    for line in (f"molex-adapt pull {name}", f'PeftModel.from_pretrained(base, "{name}")', "registry.pull("):
        assert line in text
    assert "## Limits" in text
    assert ours.store.expert("buzz").data.digest in text
    for path in hub.files(name):
        content = Path(hub.api.hf_hub_download(name, path)).read_bytes()
        assert str(tmp_path).encode() not in content
        assert b"/tmp/" not in content


def test_a_card_has_the_interval_of_enough_recordings(lab):
    from molex_adapt.hub.cards import expert_card
    from molex_adapt.hub.leaving import Leaving

    store = lab("ours").store
    record = store.expert("buzz")
    measured = {**record.metrics["buzz"], "bona_fide": 10, "spoof": 10}
    record = record.model_copy(update={"metrics": {"buzz": measured}})
    card = expert_card(Leaving(record, None, None, None), "lab/buzz", store.generation(), {})
    (model,) = yaml.safe_load(card.split("---")[1])["model-index"]
    assert model["results"][0]["metrics"][0]["args"] == {"interval": measured["eer_ci"]}


def test_the_base_of_an_adapter_is_named_where_it_is_on_a_hub(lab, tmp_path):
    from molex_adapt.hub.cards import expert_card
    from molex_adapt.hub.leaving import Leaving
    from molex_adapt.registry.draft import adapter_config

    store = lab("ours").store
    record = store.expert("buzz")
    base = record.base.model_copy(update={"id": "lab/speech", "revision": "c1423ed0", "embedded": False})
    record = record.model_copy(update={"base": base})
    fields = yaml.safe_load(
        expert_card(Leaving(record, None, None, None), "lab/buzz", store.generation(), {}).split("---")[1]
    )
    assert (fields["base_model"], fields["base_model_relation"]) == ("lab/speech", "adapter")
    assert b'"base_model_name_or_path": "lab/speech"' in adapter_config(record)


@pytest.mark.parametrize("exemplars", [True, False])
def test_an_expert_joins_another_mixture(hub, lab, data, exemplars):
    ours, theirs, name = lab("ours"), lab("theirs"), hub.name("buzz")
    ours.hub.push("buzz", name, exemplars=exemplars)
    old = {path: path.read_bytes() for path in theirs.store.expert_folder("tick").iterdir()}
    report = theirs.pull(name, run=CPU)
    assert (report.rows, report.activated) == ("heard", True)
    assert any("another head" in line for line in report.remarks)
    assert any("retrain-router" in line for line in report.remarks)
    assert set(report.before) == ({"tick", "buzz"} if exemplars else {"tick"})
    assert report.not_measured == ([] if exemplars else ["buzz"])
    assert {path: path.read_bytes() for path in theirs.store.expert_folder("tick").iterdir()} == old
    assert theirs.store.generation().names == ["tick", "buzz"]
    shares = theirs.analyze(data("buzz"), run=Run(device="cpu", workers=1)).usage["buzz"]
    assert shares["buzz"] > 0.5  # it acts where it should, before any training
    if exemplars:
        retrained = theirs.retrain_router(run=CPU)
        assert retrained.generation == 3


def test_a_mixture_there_and_back_scores_bit_for_bit(hub, lab, data, tmp_path):
    ours, name = lab("ours"), hub.name("mixture")
    pushed = ours.hub.push(None, name)
    made = Registry.pull_mixture(name, tmp_path / "new registry", run=Run(command="molex-adapt pull"))
    recordings = [path for domain in ("buzz", "hum") for path in sorted(data(domain).rglob("*.wav"))][:50]
    assert len(recordings) == 50
    left, right = (item.score(recordings, run=CPU).scores for item in (ours, made))
    assert [item.score for item in left] == [item.score for item in right]
    assert made.store.verify() == []
    origin = made.store.generation().origin
    assert (origin.repository, origin.commit) == (name, pushed.commit)
    former, later = ours.store.generation(), made.store.generation()
    assert (later.experts, later.metrics, later.calibration) == (
        former.experts,
        former.metrics,
        former.calibration,
    )
    with pytest.raises(RegistryError, match="already holds a registry"):
        Registry.pull_mixture(name, made.store.path)


def test_a_mixture_takes_along_what_a_former_generation_tried_its_threshold_on(hub, lab, tmp_path):
    ours, name, tried = lab("ours"), hub.name("mixture"), UnheardRecord(refused=0.1, recordings=30, voices=3)
    for unheard in (tried, None):
        record = ours.store.generation()
        again = GenerationDraft(
            parent=record.number,
            experts=record.names,
            router=ours.store.router_tensors(),
            head=ours.store.head_tensors(),
            recipe=ours.store.recipe() or "",
            calibration=(record.calibration.scale, record.calibration.offset),
            threshold=record.threshold,
            unheard=unheard,
            command="",
        )
        ours.store.add_generation(again, activate=True)
    ours.hub.push(None, name)
    made = Registry.pull_mixture(name, tmp_path / "new", run=CPU)
    assert made.store.generation().unheard == tried
    assert made.store.raised() == ours.store.raised()


def test_what_is_outdated(hub, lab):
    ours, theirs, name = lab("ours"), lab("theirs"), hub.name("buzz")
    assert theirs.hub.outdated() == []
    ours.hub.push("buzz", name)
    theirs.pull(name, run=CPU)
    (item,) = theirs.hub.outdated()
    assert (item.what, item.repository, item.outdated) == ("buzz", name, False)
    newer = ours.hub.push("buzz", name, exemplars=False)
    (item,) = theirs.hub.outdated()
    assert (item.outdated, item.newest) == (True, newer.commit)


def test_dry_run_asks_nobody(lab, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    report = lab("ours").hub.push("buzz", "lab/buzz", dry_run=True)
    assert (report.commit, report.changed) == (None, False)
    assert report.files["adapter_model.safetensors"] > 1000
    assert any("somebody's voice" in line for line in report.remarks)


def test_progress_counts_every_byte_once(hub, lab):
    class Counting:
        total = seen = 0

        def start(self, label, total):
            self.total = total

        def advance(self, steps=1):
            self.seen += steps

        def note(self, text): ...

        def stop(self): ...

    ours, bare, name, progress = lab("ours"), lab("bare"), hub.name("buzz"), Counting()
    report = ours.hub.push("buzz", name, run=Run(progress=progress))
    assert progress.total == progress.seen == sum(report.files.values())
    progress = Counting()
    bare.pull(name, run=Run(device="cpu", progress=progress))
    assert progress.seen == sum(size for path, size in report.files.items() if path != "README.md")


def test_what_is_here_already_and_names_that_are_taken(hub, lab, unchanged):
    ours, theirs, name = lab("ours"), lab("theirs"), hub.name("buzz")
    ours.hub.push("buzz", name)
    check = unchanged(ours)
    with pytest.raises(RegistryError, match="is here already: expert 'buzz' has the same weights"):
        ours.pull(name)
    check()
    check = unchanged(theirs)
    with pytest.raises(RegistryError, match="--as NAME"):
        theirs.pull(name, name="tick")
    check()


def test_wrong_kinds_of_repository(hub, lab, tmp_path, unchanged):
    ours, theirs = lab("ours"), lab("theirs")
    single, whole, model = hub.name("single"), hub.name("whole"), hub.name("model")
    ours.hub.push("buzz", single)
    ours.hub.push(None, whole)
    hub.upload(model, {"config.json": b"{}", "model.safetensors": b"12345678"})
    check = unchanged(theirs)
    for name, words in ((whole, "pull --mixture"), (model, "holds no expert")):
        with pytest.raises(HubError, match=words):
            theirs.pull(name)
    check()
    with pytest.raises(HubError, match="leave --mixture out"):
        Registry.pull_mixture(single, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    for push, words in (
        (lambda: ours.hub.push("buzz", whole), "holds a whole mixture"),
        (lambda: ours.hub.push("hum", single), "for domain 'buzz', not one for 'hum'"),
        (lambda: ours.hub.push("buzz", model), "holds a whole model"),
        (lambda: ours.hub.push(None, single), "holds a single expert"),
        (lambda: ours.hub.push("nobody", single), "no expert 'nobody'"),
        (lambda: ours.hub.push("buzz", "not a name"), "names no repository"),
    ):
        with pytest.raises((HubError, ExpertError), match=words):
            push()


@pytest.mark.parametrize("task", [None, "wavlm"])
def test_a_stock_adapter(hub, lab, tiny_folder_of, tmp_path, task):
    """As PEFT's own save_pretrained leaves it; saved from a model with a task, its names have one more part."""
    name = hub.name("Stock_LoRA")
    base = made_by_peft(tiny_folder_of(), tmp_path / "adapter", task)
    hub.upload(name, {path.name: path.read_bytes() for path in (tmp_path / "adapter").iterdir()})
    ours = lab("ours")
    with pytest.raises(ExpertError, match="--assume-base"):
        ours.pull(name)
    report = ours.pull(name, name="stock", assume_base=True, run=CPU)
    assert (report.rows, report.activated) == ("mean", True)
    assert any("taken for one of" in line for line in report.remarks)
    assert "stock" in report.not_measured
    with pytest.raises(RegistryError, match="is here already: expert 'stock' has the same weights"):
        ours.pull(name, name="again", assume_base=True, run=CPU)
    hub.upload(name, {"README.md": b"edited"})
    with pytest.raises(RegistryError, match="is here already: expert 'stock' has the same weights"):
        ours.pull(name, name="again", assume_base=True, run=CPU)
    detector = ours.detector(run=Run(device="cpu", precision="fp32"))
    wave, lengths = torch.randn(1, 8_000), torch.tensor([8_000])
    with torch.no_grad(), detector.mixture.forcing("stock"):
        states = detector.mixture.hidden_states(*detector.base.prefix(wave, lengths))
        last = detector.base.model.encoder.layer_norm(states[-1])
        torch.testing.assert_close(last, base(wave), atol=1e-5, rtol=0)


def made_by_peft(folder, out, task):
    """An adapter on one of the two layers, and what its base makes of a waveform with it."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModel, AutoModelForAudioClassification

    torch.manual_seed(3)
    kind = AutoModel if task is None else AutoModelForAudioClassification
    config = LoraConfig(r=3, lora_alpha=6, target_modules=["output_dense"], use_rslora=True)
    model = get_peft_model(kind.from_pretrained(folder), config).eval()
    for key, weight in model.named_parameters():
        if "lora_" in key:
            weight.data = torch.randn_like(weight) * 0.1
    model.save_pretrained(out)
    inner = model.base_model.model if task is None else getattr(model.base_model.model, task)
    return lambda wave: inner(wave).last_hidden_state


def test_another_expert_is_replaced_only_where_that_is_asked_for(hub, lab, put, good):
    ours, name = lab("ours"), hub.name("buzz")
    other = {key: array + np.float16(0.01) for key, array in arrays(good, ADAPTER).items()}
    put(name, changed(good, ADAPTER, files.dump_tensors(other)))
    former = hub.api.model_info(name).sha
    with pytest.raises(HubError, match=r"holds expert 'buzz' .*, which is not the one here .*--replace"):
        ours.hub.push("buzz", name)
    assert hub.api.model_info(name).sha == former
    report = ours.hub.push("buzz", name, replace=True)
    assert report.replaced.commit == former != report.commit
    assert report.as_dict()["replaced"]["expert"] == "buzz"
    assert any("this replaces expert 'buzz'" in line for line in report.remarks)
    again = ours.hub.push("buzz", name)
    assert (again.changed, again.replaced) == (False, None)


def test_another_commit_with_the_same_expert_is_nothing_to_pull(hub, lab, good):
    ours, theirs, name = lab("ours"), lab("theirs"), hub.name("buzz")
    ours.hub.push("buzz", name)
    theirs.pull(name, run=CPU)
    hub.upload(name, {"README.md": b"---\nlicense: mit\n---\n"})
    (item,) = theirs.hub.outdated()
    assert (item.outdated, item.another_expert) == (True, False)
    other = {key: array + np.float16(0.01) for key, array in arrays(good, ADAPTER).items()}
    hub.upload(name, changed(good, ADAPTER, files.dump_tensors(other)))
    (item,) = theirs.hub.outdated()
    assert (item.outdated, item.another_expert) == (True, True)


def test_two_experts_of_one_domain_that_came_without_exemplars_are_not_one(hub, lab, data, tiny_recipe):
    from molex_adapt.api.known import old_domains

    ours, theirs, bare = lab("ours"), lab("theirs"), lab("bare")
    recipe = tiny_recipe(gate={"tolerance": 1.0})
    theirs.add_expert(data("hum"), accept=True, domain="buzz", name="buzz_too", recipe=recipe, run=CPU)
    for registry, expert in ((ours, "buzz"), (theirs, "buzz_too")):
        name = hub.name(expert.replace("_", "-"))
        registry.hub.push(expert, name, exemplars=False)
        bare.pull(name, run=CPU)
    found = old_domains(bare.store, bare.store.generation().number)
    assert {key: item.expert for key, item in found.items()} == {
        "buzz": "buzz",
        "buzz (buzz_too)": "buzz_too",
    }


@pytest.mark.parametrize("exemplars", [True, False])
def test_what_a_pulled_expert_heard_in_training_is_told(hub, lab, data, exemplars, tmp_path):
    ours, theirs, name, whole = lab("ours"), lab("theirs"), hub.name("buzz"), hub.name("whole")
    ours.hub.push("buzz", name, exemplars=exemplars)
    theirs.pull(name, run=CPU)
    learnt = sum(ours.store.expert("buzz").data.counts["train"].values())
    report = theirs.evaluate(data("buzz"), run=CPU)
    assert (report.heard_in_training.recordings, report.heard_in_training.by_expert) == (
        learnt,
        {"buzz": learnt},
    )
    report = theirs.evaluate(data("hum"), run=CPU)
    assert report.heard_in_training is None
    assert any("heard in training by: buzz" in line for line in report.remarks) == (not exemplars)
    ours.hub.push(None, whole, exemplars=exemplars)
    made = Registry.pull_mixture(whole, tmp_path / "new", run=CPU)
    report = made.evaluate(data("hum"), run=CPU)
    assert list(report.heard_in_training.by_expert) == ["hum"]
    assert any("heard in training by: buzz" in line for line in report.remarks) == (not exemplars)


def test_a_registry_that_may_only_be_read_downloads_nothing(hub, loopback, lab, monkeypatch):
    ours, bare, name = lab("ours"), lab("bare"), hub.name("buzz")
    ours.hub.push("buzz", name)
    loopback.asked.clear()
    monkeypatch.setattr("os.access", lambda *_arguments: False)
    with pytest.raises(RegistryError, match="may only be read"):
        bare.pull(name, run=CPU)
    assert loopback.asked == []


def test_what_the_calibration_was_raised_for_an_expert_travels_with_a_mixture(hub, put, whole, tmp_path):
    put(hub.name("risen"), recorded(whole, MIXTURE, generation__raised={"buzz": 0.0, "hum": 0.5}))
    store = Registry.pull_mixture(hub.made[-1], tmp_path / "new", run=CPU).store
    before = store.generation().calibration
    store.remove("hum")
    assert store.generation().calibration.offset == pytest.approx(before.offset - 0.5)
    put(hub.name("far"), recorded(whole, MIXTURE, generation__raised={"hum": 1e300}))
    with pytest.raises(HubError, match="is believable there"):
        Registry.pull_mixture(hub.made[-1], tmp_path / "other", run=CPU)
