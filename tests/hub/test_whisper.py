"""Experts and a mixture on Whisper go to a hub and come back, and stock PEFT takes what was pushed."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForAudioClassification, WhisperFeatureExtractor

from molex_adapt import Registry, Run
from tests.hub.repositories import CPU

pytestmark = pytest.mark.hub


def test_a_mixture_on_whisper_travels(hub, recorded, tiny_folder_of, tiny_recipe, tmp_path):
    from peft import PeftModel

    data = recorded(tmp_path / "buzz", bona_fide=16, buzz=16)
    ours = Registry.create(tmp_path / "ours", str(tiny_folder_of("whisper")))
    ours.add_expert(
        data,
        accept=True,
        domain="buzz",
        recipe=tiny_recipe(gate={"tolerance": 1.0}),
        run=CPU,
    )
    single, whole = hub.name("buzz"), hub.name("mixture")
    ours.hub.push("buzz", single)
    ours.hub.push(None, whole)

    theirs = Registry.create(tmp_path / "theirs", str(ours.store.base_folder))
    assert theirs.store.base.sha256 == ours.store.base.sha256
    assert theirs.pull(single, run=CPU).activated
    mixture = Registry.pull_mixture(whole, tmp_path / "pulled")
    detectors = [
        registry.detector(run=Run(device="cpu", precision="fp32")) for registry in (ours, theirs, mixture)
    ]
    wave, lengths = torch.randn(1, 32_000), torch.tensor([32_000])
    first, *others = [detector.score(wave, lengths) for detector in detectors]
    assert all(torch.equal(first, score) for score in others)

    # The embedded base holds no decoder; of transformers' classes, this one asks for none.
    plain = AutoModelForAudioClassification.from_pretrained(ours.store.base_folder)
    plain = PeftModel.from_pretrained(plain, hub.api.snapshot_download(single)).eval()
    mel = WhisperFeatureExtractor(feature_size=8, chunk_length=2)(wave[0].numpy(), sampling_rate=16_000)
    detector = detectors[0]
    with torch.no_grad(), detector.mixture.forcing("buzz"):
        heard = plain.get_base_model().encoder(torch.from_numpy(mel["input_features"])).last_hidden_state
        states = detector.mixture.hidden_states(*detector.base.prefix(wave, lengths))
        torch.testing.assert_close(
            detector.base.model.encoder.layer_norm(states[-1]), heard, atol=1e-5, rtol=0
        )
