"""At the other end there may be nothing but torch, transformers and peft.

The other process reads base and expert from the hub, and may not import anything of ours. `MOLEX_PLAIN_PYTHON` names
the interpreter of a fresh environment with these three; without it, this one's serves, with molex_adapt barred from it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from molex_adapt import Registry, Run
from molex_adapt.hub.pack import pack_expert
from tests.families import tolerance
from tests.forking import forked
from tests.hub.repositories import CPU

pytestmark = pytest.mark.hub

PLAIN = """
import sys

class Barred:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "molex_adapt":
            raise ImportError("not here: " + name)

sys.meta_path.insert(0, Barred())
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModel

wave, out, *experts = sys.argv[1:]
for at in range(0, len(experts), 5):
    base, subfolder, expert, folder, revision = experts[at : at + 5]
    model = AutoModel.from_pretrained(base, **({"subfolder": subfolder} if subfolder else {}))
    more = {"subfolder": folder} if folder else {}
    model = PeftModel.from_pretrained(model, expert, revision=revision, **more).eval()
    with torch.no_grad():
        found = model(load_file(wave)["wave"], output_hidden_states=True)
    states = {str(at): state.contiguous() for at, state in enumerate(found.hidden_states)}
    save_file({**states, "last": found.last_hidden_state}, f"{out}{at // 5}")
assert not [name for name in sys.modules if name.startswith("molex_adapt")]
"""


@pytest.fixture
def plain(hub, tmp_path):
    """Hidden states of experts as another process has them from the hub alone, and the sound that it heard."""
    wave = torch.randn(2, 8_000, generator=torch.Generator().manual_seed(0))
    save_file({"wave": wave}, tmp_path / "wave.safetensors")

    def states(*experts):
        command = [os.environ.get("MOLEX_PLAIN_PYTHON", sys.executable), "-c", PLAIN]
        command += [str(tmp_path / "wave.safetensors"), str(tmp_path / "states")]
        done = subprocess.run(
            [*command, *(word for expert in experts for word in expert)],
            capture_output=True,
            text=True,
            check=False,
            env=hub.environment(tmp_path / "home"),
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return wave, *(load_file(tmp_path / f"states{at}") for at in range(len(experts)))

    return states


def check(registry, name, wave, theirs):
    detector = registry.detector(run=Run(device="cpu", precision="fp32"))
    lengths = torch.full((len(wave),), wave.shape[1])
    with torch.no_grad(), detector.mixture.forcing(name):
        ours = detector.mixture.hidden_states(*detector.base.prefix(wave, lengths))
        last = detector.base.model.encoder.layer_norm(ours[-1])
    torch.testing.assert_close(last, theirs["last"], atol=tolerance("wavlm"), rtol=0)
    for at, state in enumerate(ours[:-1]):
        torch.testing.assert_close(state, theirs[str(at)], atol=tolerance("wavlm"), rtol=0)
    with torch.no_grad():
        detector.mixture.detach()
        bare = detector.base.model.encoder.layer_norm(
            detector.base.hidden_states(*detector.base.prefix(wave, lengths))[-1]
        )
    assert float((last - bare).abs().max()) > 1e-4  # the expert says something


def test_experts_alone_and_of_a_mixture_in_plain_peft(hub, lab, plain, tiny_folder_of, tmp_path):
    base, name, mixture = hub.name("base"), hub.name("buzz"), hub.name("mixture")
    hub.upload(base, {path.name: path for path in tiny_folder_of().iterdir()})
    ours, theirs = lab("ours"), lab("theirs")
    pushed, whole = ours.hub.push("buzz", name).commit, ours.hub.push(None, mixture).commit
    theirs.pull(name, run=CPU)
    wave, alone, inside = plain(
        (base, "", name, "", pushed), (mixture, "base", mixture, "experts/hum", whole)
    )
    check(ours, "buzz", wave, alone)
    check(theirs, "buzz", wave, alone)
    check(Registry.pull_mixture(mixture, tmp_path / "new"), "hum", wave, inside)


def test_a_base_that_lies_on_the_hub(hub, tiny_folder_of, tmp_path, lab):
    """Then the adapter says where its base is to be had, and a registry on it says the same."""
    base, name, environment = hub.name("base"), hub.name("buzz"), hub.environment(tmp_path / "home")
    hub.upload(base, {path.name: path for path in tiny_folder_of().iterdir()})
    head = hub.api.model_info(base).sha
    status, _, err = forked(lambda: Registry.create(tmp_path / "hosted", base), tmp_path, environment)
    assert status == 0, err
    hosted = Registry.open(tmp_path / "hosted")
    assert (hosted.store.base.id, hosted.store.base.revision) == (base, head)
    lab("ours").hub.push("buzz", name)
    status, _, err = forked(lambda: hosted.pull(name, run=CPU), tmp_path, environment)
    assert status == 0, err
    package = pack_expert(Registry.open(tmp_path / "hosted").store, "buzz", name, exemplars=True)
    config = json.loads(package.files["adapter_config.json"])
    assert (config["base_model_name_or_path"], config["revision"]) == (base, head)
