"""A detector as one file: the same scores as its source, without torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from molex_adapt.base import load_base
from molex_adapt.calibration import Calibration
from molex_adapt.data import Table, Utterance
from molex_adapt.detector import Detector
from molex_adapt.errors import DataError, MolexError, RecipeError, RegistryError
from molex_adapt.exported import writing
from molex_adapt.exported.description import CARD, DESCRIPTION, ONNX, PROGRAM, Description
from molex_adapt.exported.graph import Graph, to_program
from molex_adapt.exported.parity import MOST_DIFFERENCE, of_source, require_parity
from molex_adapt.exported.scoring import ExportedDetector
from molex_adapt.exported.writing import Origin, check_export, write_export
from molex_adapt.features import score_table
from molex_adapt.mixture import ExpertSpec
from molex_adapt.progress import Silent
from molex_adapt.recipe import Recipe
from molex_adapt.run import Run

NAMES = ("ant", "bee", "cat")
WITHOUT_TORCH = """
import sys
class Nothing:
    def find_spec(self, name, *_):
        if name.split(".")[0] in ("torch", "transformers"):
            raise ImportError(f"{name} is not to be had")
sys.meta_path.insert(0, Nothing())
from molex_adapt.cli.app import main
main(sys.argv[1:])
"""


@pytest.fixture(scope="module")
def detector_of(tiny_recipe) -> Callable[..., Detector]:
    """Random experts, routers and witnesses, large enough to matter; windows of at most 1.5 s."""

    def make(base: Path, experts: int = 3, readout: bool = True) -> Detector:
        recipe: Recipe = tiny_recipe(
            head={"width": 8, "readout": readout}, data={"crop_seconds": 0.4, "window_seconds": 1.5}
        )
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(5)
            detector = Detector(load_base(base), recipe, Calibration(1.1, 0.3))
            for name in NAMES[:experts]:
                detector.mixture.add(ExpertSpec(name, 2, 4.0))
                for weight in detector.mixture.expert_parameters(name):
                    weight.copy_(0.3 * torch.randn_like(weight))
            for router in detector.mixture.routers:
                router.rows.table.copy_(3 * torch.randn_like(router.rows.table))
            if (own := detector.head.readout) is not None:
                own.of_states.basis.copy_(0.1 * torch.randn(own.of_states.basis.shape))
                for name in ("ant/one", "bee/two"):
                    own.add(name, 0.1 * torch.randn(own.weights.shape[1]), Calibration(0.5, 0.1))
                own.share.fill_(0.7)
        return detector.requires_grad_(False)

    return make


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """A WavLM of one block whose frames come from one convolution: it is traced in seconds."""
    return wavlm(tmp_path_factory.mktemp("one") / "base", (400,), (320,))


def wavlm(folder: Path, kernels: tuple[int, ...], strides: tuple[int, ...]) -> Path:
    from transformers import WavLMConfig, WavLMModel

    config = WavLMConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        conv_dim=(16,) * len(kernels),
        conv_kernel=kernels,
        conv_stride=strides,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
        feat_extract_norm="layer",
        do_stable_layer_norm=True,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = WavLMModel(config)
    model.save_pretrained(folder)
    return folder


def origin(**changes: object) -> Origin:
    experts = [writing.ExportedExpert(name=name, sha256="ab" * 32, licence="cc0-1.0") for name in NAMES]
    known = Origin(3, "cd" * 32, "tiny", experts, -0.25, None, {"torch": "2"}, 4_000_000)
    return replace(known, **changes)


@pytest.fixture(scope="module")
def exported(tmp_path_factory, base, detector_of):
    """Tests with it are slow: torch and onnxscript take seconds to trace and translate even the smallest graph."""
    folder = tmp_path_factory.mktemp("exported") / "new" / "folder"
    report = write_export(detector_of(base), origin(), folder, ("torch", "onnx"), Silent())
    return folder, report


@pytest.fixture
def waves(sound, tmp_path) -> list[Path]:
    """A short one, two that take several windows, silence, and one too short for any detector."""
    found = []
    for name, wave in {
        "short": sound(1, 0.6),
        "long": sound(2, 4.1, buzz=900.0),
        "longer": np.concatenate([sound(3, 2.0), sound(4, 5.003, buzz=500.0)]),
        "silent": np.zeros(16_000, np.float32),
        "click": sound(5, 0.02),
    }.items():
        found.append(tmp_path / f"{name}.wav")
        soundfile.write(found[-1], wave, 16_000)
    return found


def table_of(paths: list[Path]) -> Table:
    return Table(tuple(Utterance(path, "bonafide") for path in paths), "test")


@pytest.mark.parametrize(
    ("kind", "norm", "experts", "readout"),
    [
        ("wavlm", "layer", 1, True),
        ("wavlm", "layer", 3, False),
        ("wav2vec2", "group", 3, True),
        ("hubert", "layer", 1, False),
        ("whisper", "layer", 2, True),
        ("wav2vec2-bert", "layer", 2, True),
    ],
)
def test_the_graph_computes_what_the_detector_does(
    tiny_folder_of, detector_of, sound, kind, norm, experts, readout
):
    folder = tiny_folder_of(kind, norm, norm == "layer")
    source, graph = detector_of(folder, experts, readout), Graph(detector_of(folder, experts, readout))
    assert graph.merged == (experts == 1 and not readout)
    for seconds in (Graph.shortest_of(source) / 16_000, 0.4, 1.1):
        wave = sound(7, seconds, buzz=700.0)
        prepared = torch.from_numpy(source.base.prepare(wave))[None]
        score, shares = source.score_and_shares(prepared, torch.tensor([len(wave)]))
        found, logit, spoke = graph(torch.from_numpy(wave)[None])
        assert float(score) == pytest.approx(float(found), abs=1e-5)
        assert float(source.calibrate(logit)) == pytest.approx(float(score), abs=1e-5)
        torch.testing.assert_close(shares, spoke)


def test_where_the_readout_speaks_alone_the_mixture_is_left_out(tiny_folder_of, detector_of, sound):
    source, graph = (detector_of(tiny_folder_of(), 2) for _ in range(2))
    for each in (source, graph):
        for name in each.mixture.names:
            each.mixture.withdraw(name)
    graph = Graph(graph)
    assert graph.alone and not Graph(detector_of(tiny_folder_of(), 2)).alone
    wave = sound(7, 0.4, buzz=700.0)
    score, shares = source.score_and_shares(
        torch.from_numpy(source.base.prepare(wave))[None], torch.tensor([len(wave)])
    )
    found, _, spoke = graph(torch.from_numpy(wave)[None])
    assert float(score) == pytest.approx(float(found), abs=1e-5)
    assert torch.equal(shares, spoke) and spoke.shape == (1, 2)


def test_a_single_expert_is_in_the_weights(base, detector_of, sound):
    graph = Graph(detector_of(base, 1, readout=False))
    wave = torch.from_numpy(sound(8))[None]
    before = float(graph(wave)[0])
    with torch.no_grad():  # the matrices of the expert are not looked at any more
        for weight in graph.detector.mixture.expert_parameters("ant"):
            weight.zero_()
    assert float(graph(wave)[0]) == before
    assert float(Graph(detector_of(base, 1))(wave)[0]) != pytest.approx(before, abs=1e-3)


@pytest.mark.slow
def test_files_agree_with_their_source_and_say_so(exported):
    folder, report = exported
    assert {path.name for path in folder.iterdir()} == {ONNX, PROGRAM, DESCRIPTION, CARD}
    assert report.difference.keys() == {ONNX, PROGRAM}
    assert max(report.difference.values()) < 1e-5 < MOST_DIFFERENCE
    assert report.files[ONNX] == (folder / ONNX).stat().st_size
    assert report.seconds.keys() == {"source", ONNX, PROGRAM}
    assert report.checked == [512 / 16_000, 0.5, 1.3, 1.5]
    told = Description.read(folder)
    assert (told.generation, told.threshold, told.licence, told.merged) == (3, -0.25, "cc0-1.0", False)
    assert (told.windows.shortest_samples, told.windows.longest_samples) == (512, 24_000)
    assert "`ant`, `bee`, `cat`" in (folder / CARD).read_text()


@pytest.mark.slow
def test_files_tell_nothing_of_the_machine_that_made_them(exported):
    folder, _ = exported
    contents = [path.read_bytes() for path in folder.iterdir()]
    with zipfile.ZipFile(folder / PROGRAM) as program:
        contents += [program.read(name) for name in program.namelist()]
    for place in (writing.__file__, torch.__file__):
        assert not any(os.fsencode(Path(place).parent) in content for content in contents)


@pytest.mark.slow
def test_scoring_without_torch_is_scoring(exported, base, detector_of, waves):
    command = [sys.executable, "-c", WITHOUT_TORCH, "score", *map(str, waves)]
    done = subprocess.run(
        [*command, "--registry", str(exported[0]), "--json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr  # two are left out
    found = json.loads(done.stdout)
    source, failed = score_table(detector_of(base), table_of(waves))
    assert [item["path"] for item in found["scores"]] == [str(item.utterance.path) for item in source]
    for one, other in zip(found["scores"], source, strict=True):
        assert one["score"] == pytest.approx(other.score, abs=1e-4)
        assert one["experts"] == pytest.approx(other.experts, abs=1e-4)
        assert one["seconds"] == other.seconds
        assert (one["lowest"] is None) == (other.lowest is None)
        assert one["lowest"] is None or one["lowest"] == pytest.approx(other.lowest, abs=1e-4)
        assert one["heard"]["band_hz"] == other.heard.band_hz
    assert found["scores"][0]["remarks"][0].endswith("a score of less than 1 s tells little")
    assert [item["path"] for item in found["failed"]] == [item.path for item in failed]
    assert (found["threshold"], found["generation"]) == (-0.25, 3)


def test_a_program_says_what_it_takes_at_least(tmp_path, detector_of):
    """With the convolutions of the embedded base, torch's ranges allow one frame and its guards do not."""
    detector = detector_of(
        wavlm(tmp_path / "base", (20, 4, 4, 4, 4, 2), (10, 2, 2, 2, 2, 2)), 1, readout=False
    )
    program = to_program(Graph(detector))
    least, score = writing._least(program, detector.base), program.module()
    assert (Graph.shortest_of(detector), least) == (630, 950)
    score(torch.zeros(1, least))
    with pytest.raises(AssertionError, match="Guard failed"):
        score(torch.zeros(1, least - 1))


def test_a_source_that_disagrees_is_named():
    wave = np.zeros(16_000, np.float32)
    assert require_parity("x", lambda _: 1.00005, [wave], [1.0]) == pytest.approx(5e-5)
    for other in (1.0002, float("nan")):
        with pytest.raises(MolexError, match=r"x gives .* 1\.00 s where the detector gives \+1\.000000"):
            require_parity("x", lambda _, other=other: other, [wave], [1.0])


def test_what_disagrees_is_not_written(base, detector_of, tmp_path, monkeypatch):
    def other(detector):
        score = of_source(detector)
        return lambda wave: score(wave) + 0.001

    monkeypatch.setattr(writing, "of_source", other)
    monkeypatch.setattr(writing, "_of_program", lambda _: of_source(detector_of(base)))
    monkeypatch.setattr(writing, "to_program", lambda _: None)
    monkeypatch.setattr(writing, "_least", lambda *_: 0)
    monkeypatch.setattr(torch.export, "save", lambda _, into: into.write(b"program"))
    out = tmp_path / "out"
    with pytest.raises(MolexError, match="Nothing was written"):
        write_export(detector_of(base), origin(), out, ("torch",), Silent())
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(writing, "of_source", of_source)
    write_export(detector_of(base), origin(), out, ("torch",), Silent())
    assert {path.name for path in out.iterdir()} == {PROGRAM, DESCRIPTION, CARD}
    check_export(out, ("torch",), [])
    (out / ".staging-0123").touch()  # of a kill
    check_export(out, ("torch",), [])
    rename = os.replace

    def refused_once(source, target):
        if target == out:
            monkeypatch.setattr(os, "replace", rename)
            raise OSError
        rename(source, target)

    monkeypatch.setattr(os, "replace", refused_once)
    with pytest.raises(DataError, match="out cannot be written"):
        write_export(detector_of(base), origin(generation=4), out, ("torch",), Silent())
    assert Description.read(out).generation == 3
    write_export(detector_of(base), origin(generation=4), out, ("torch",), Silent())
    assert Description.read(out).generation == 4
    with pytest.raises(RegistryError, match=r"has no detector\.onnx"):
        ExportedDetector(out)


@pytest.mark.slow
def test_a_damaged_export_is_refused(exported, tmp_path):
    folder = tmp_path / "copy"
    folder.mkdir()
    for name in (ONNX, PROGRAM, DESCRIPTION):
        (folder / name).write_bytes((exported[0] / name).read_bytes())
    ExportedDetector(folder)
    content = bytearray((folder / ONNX).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / ONNX).write_bytes(content)
    with pytest.raises(RegistryError, match=r"detector\.onnx is not the file that was exported"):
        ExportedDetector(folder)
    (folder / ONNX).unlink()
    with pytest.raises(RegistryError, match=r"detector\.onnx cannot be read"):
        ExportedDetector(folder)
    told = json.loads((folder / DESCRIPTION).read_text())
    for wrong in ("[]", "{", "[" * 10_000, json.dumps(told | {"format": 2}), json.dumps(told | {"x": 1})):
        (folder / DESCRIPTION).write_text(wrong)
        with pytest.raises(RegistryError, match=r"detector\.json describes no detector"):
            ExportedDetector(folder)


@pytest.mark.slow
def test_no_device_of_onnx_runtime_is_pretended(exported):
    with pytest.raises(RecipeError, match="no device 'mps'"):
        ExportedDetector(exported[0], "mps")
    scored, failed = ExportedDetector(exported[0]).score_table(table_of([]), Run(workers=1))
    assert (scored, failed) == ([], ())


def test_where_it_cannot_be_written_is_said_before_the_work(tmp_path, monkeypatch):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.tex").touch()
    with pytest.raises(DataError, match=r"holds thesis\.tex"):
        check_export(tmp_path / "taken", ("onnx",), [])
    with pytest.raises(DataError, match="lies in"):
        check_export(tmp_path / "registry" / "out", ("onnx",), [tmp_path / "registry"])
    monkeypatch.setattr(writing, "find_spec", lambda name: None if name == "onnxscript" else True)
    with pytest.raises(RecipeError, match=r"ONNX needs onnxscript.*molex-adapt\[export\]"):
        check_export(tmp_path / "new", ("onnx",), [])
    check_export(tmp_path / "new", ("torch",), [])
