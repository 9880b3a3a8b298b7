"""The command line with `--device`: a registry learns, scores and is analysed as on the CPU."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from molex_adapt.cli.app import main
from molex_adapt.data import read
from molex_adapt.features import extract


@pytest.fixture
def typed(capsys):
    """Run a command with `--json`; its answer."""

    def run(*arguments: object) -> dict:
        with pytest.raises(SystemExit) as leaving:
            main([str(argument) for argument in (*arguments, "--json")])
        captured = capsys.readouterr()
        assert not leaving.value.code, captured.err
        return json.loads(captured.out)

    return run


@pytest.fixture
def data(recorded, tmp_path):
    return recorded(tmp_path / "data", bona_fide=12, buzz=12)


SHIPPED = Path(__file__).parents[2] / "registry"
SMALL = [
    *("lora.rank=2", "head.width=8", "data.crop_seconds=0.4", "training.batch_size=8", "precision=fp32"),
    *("exemplars.replay=4", "exemplars.check=4", "gate.tolerance=1"),
    *(f"{stage}.{key}" for stage in ("joint", "expert") for key in ("steps=6", "evaluate_every=3")),
]


def test_a_registry_learns_and_scores_on_the_device(
    device, typed, data, recorded, tiny_base_folder, tmp_path
):
    registry = tmp_path / "registry"
    where = ("--registry", registry)
    there = (*where, "--device", device.type)
    overrides = [part for item in SMALL for part in ("--set", item)]
    typed("init", tiny_base_folder, *where)
    first = typed("add-expert", "--domain", "buzz", data, *overrides, *there)
    hum = recorded(tmp_path / "hum", bona_fide=12, first=300, a=1, hum=12)
    second = typed("add-expert", "--accept", "--domain", "hum", hum, *there)
    assert (first["generation"], second["generation"]) == (1, 2)
    assert set(second["after"]) == {"buzz", "hum"}
    assert typed("verify", *where)["ok"]
    here = (*where, "--device", "cpu")
    scores = [typed("score", hum, *options, "--precision", "fp32")["scores"] for options in (here, there)]
    assert len(scores[0]) == 25
    for one, other in zip(*scores, strict=True):
        assert other["path"] == one["path"]
        assert other["score"] == pytest.approx(one["score"], abs=2e-4)
    expected, found = (typed("analyze", hum, *options, "--precision", "fp32") for options in (here, there))
    for attack, usage in expected["usage"].items():
        assert found["usage"][attack] == pytest.approx(usage, abs=1e-3)
    overall = [typed("evaluate", hum, *options)["overall"]["eer"] for options in (here, there)]
    assert overall[1] == pytest.approx(overall[0], abs=0.05)


def test_kept_features_serve_wherever_they_were_computed(device, detector_on, data, cached):
    there, table = detector_on(device), read(data)
    computed, _ = extract(there, table)
    files = sorted(cached.rglob("*.npy"))
    assert len(files) == len(table)
    again, _ = extract(detector_on("cpu"), table)
    assert again.digest() == computed.digest(), "the CPU did not take what the device left"
    for file in files:
        file.unlink()
    own, _ = extract(detector_on("cpu"), table)
    for one, other in zip(own.clips, computed.clips, strict=True):
        assert one.dtype == torch.float16 and one.device.type == "cpu"
        torch.testing.assert_close(other.float(), one.float(), atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize("command", [["score"], ["analyze"], ["add-expert", "--domain", "buzz"]])
def test_without_a_card_the_error_says_so(monkeypatch, capsys, data, command):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit) as leaving:
        main([*command, str(data), "--registry", str(SHIPPED), "--device", "cuda"])
    assert leaving.value.code == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "device 'cuda' is not available here; use --device auto, or cpu" in said
