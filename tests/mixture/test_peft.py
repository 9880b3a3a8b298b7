"""One forced expert against plain PEFT, through the files that the registry writes."""

from __future__ import annotations

import pytest
import torch
from peft import PeftModel
from transformers import AutoModel

from molex_adapt.base import load_base
from molex_adapt.detector import Detector
from molex_adapt.mixture import ExpertSpec
from molex_adapt.recipe import FEED_FORWARD, Recipe, dump
from molex_adapt.registry import BaseRecord, DataRecord, ExpertRecord, GenerationDraft, NewExpert, Store
from molex_adapt.registry.assemble import embeddable, expert_arrays, head_arrays, router_arrays
from tests.families import ATTENTION, KINDS, VARIANTS, hear, tolerance

FIRST = {kind: next(variant for variant in VARIANTS if variant[0] == kind) for kind in KINDS}
CASES = [(*FIRST[kind], FEED_FORWARD) for kind in KINDS]
CASES += [(*FIRST[kind], ATTENTION[kind]) for kind in ("wav2vec2-bert", "whisper")]
CASES += [
    ("wav2vec2", "group", False, (*FEED_FORWARD, "attention.q_proj", "attention.v_proj")),
    ("hubert", "group", False, ("attention.k_proj", "attention.out_proj")),
    ("mms", "layer", True, ("adapter_layer.linear_1", "adapter_layer.linear_2")),
]


@pytest.mark.parametrize(("kind", "norm", "stable", "targets"), CASES)
def test_a_forced_expert_is_plain_peft(tiny_folder_of, tmp_path, kind, norm, stable, targets):
    folder = tiny_folder_of(kind, norm, stable)
    recipe = Recipe.model_validate({"lora": {"targets": targets}, "head": {"width": 8}})
    base = load_base(folder)
    record = BaseRecord(id="tiny", revision="local", sha256=base.identity.sha256, embedded=True)
    with embeddable(folder, base) as source:
        store = Store.create(tmp_path / "registry", record, source)
    detector = Detector(base, recipe)
    torch.manual_seed(0)
    for name, rank in (("other", 3), ("mine", 2)):
        detector.mixture.add(ExpertSpec(name, rank, 4.0))
        for weight in detector.mixture.expert_parameters(name):
            weight.data.copy_((torch.randn_like(weight) * 0.3).half())
    draft = GenerationDraft(
        parent=None,
        experts=["other", "mine"],
        new_experts=[
            NewExpert(written(detector, name, record), expert_arrays(detector, name))
            for name in ("other", "mine")
        ],
        router=router_arrays(detector),
        head=head_arrays(detector),
        recipe=dump(recipe),
    )
    store.add_generation(draft, activate=True)

    plain = PeftModel.from_pretrained(AutoModel.from_pretrained(folder), store.expert_folder("mine")).eval()
    samples = (
        32_000 if kind == "whisper" else 8_000
    )  # transformers pads Whisper's to all that it has positions for
    wave, lengths = torch.randn(2, samples), torch.tensor([samples, samples])
    with torch.no_grad(), detector.mixture.forcing("mine"):
        theirs = hear(plain.get_base_model(), wave, lengths)
        bare = hear(AutoModel.from_pretrained(folder).eval(), wave, lengths).last_hidden_state
        ours = detector.mixture.hidden_states(*base.prefix(wave, lengths))
    last = base.model.encoder.layer_norm(ours[-1]) if stable else ours[-1]
    atol = tolerance(kind)
    torch.testing.assert_close(last, theirs.last_hidden_state, atol=atol, rtol=0)
    for left, right in zip(ours[:-1], theirs.hidden_states[:-1], strict=True):
        torch.testing.assert_close(left, right, atol=atol, rtol=0)
    assert float((last - bare).abs().max()) > 1e-2


def written(detector: Detector, name: str, base: BaseRecord) -> ExpertRecord:
    spec = detector.mixture.specs[detector.mixture.index(name)]
    return ExpertRecord(
        name=name,
        domain=name,
        rank=spec.rank,
        alpha=spec.alpha,
        targets=list(detector.recipe.lora.targets),
        blocks=2,
        base=base,
        data=DataRecord(digest="00", counts={}),
        recipe="",
        seed=0,
    )
