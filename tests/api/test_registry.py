from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from transformers import Wav2Vec2Config, Wav2Vec2ForPreTraining

import molex_adapt
from molex_adapt import Registry, Run
from molex_adapt.api import scoring
from molex_adapt.api.journal import Journal
from molex_adapt.data import Heard, Table, Utterance
from molex_adapt.decision import DecisionRule
from molex_adapt.detector import Detector
from molex_adapt.errors import DataError, RecipeError, RegistryError
from molex_adapt.progress import Silent
from molex_adapt.windows import UtteranceScore

HOW = Run(workers=1, device="cpu")


def test_the_public_name_is_light_until_it_is_used():
    shown = "print('pydantic' in sys.modules)"
    code = f"import sys, molex_adapt; {shown}; molex_adapt.Registry; {shown}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
    with pytest.raises(AttributeError, match="no attribute 'Store'"):
        _ = molex_adapt.Store


def test_create_embeds_a_local_base(tmp_path, tiny_folder_of):
    registry = Registry.create(tmp_path / "registry", str(tiny_folder_of("hubert", "group", False)))
    assert registry.store.base.embedded
    assert registry.store.base.id.startswith("hubert-group")
    assert registry.store.verify() == []
    assert registry.store.active is None
    with pytest.raises(RegistryError, match="already holds a registry"):
        Registry.create(tmp_path / "registry", str(tiny_folder_of()))


def test_a_checkpoint_with_other_weights_beside_the_base_is_written_anew(tmp_path, tiny_folder_of):
    config = Wav2Vec2Config.from_pretrained(
        tiny_folder_of("wav2vec2"), proj_codevector_dim=16, codevector_dim=16
    )
    Wav2Vec2ForPreTraining(config).save_pretrained(tmp_path / "checkpoint")
    (tmp_path / "checkpoint" / "preprocessor_config.json").write_text('{"do_normalize": false}')
    registry = Registry.create(tmp_path / "registry", str(tmp_path / "checkpoint"))
    assert registry.store.base.id == "checkpoint"
    assert registry.store.verify() == []
    assert (
        '"do_normalize": false' in (tmp_path / "registry" / "base" / "preprocessor_config.json").read_text()
    )


def test_an_unknown_base_leaves_nothing_behind(tmp_path):
    with pytest.raises(RegistryError, match="cannot be loaded"):
        Registry.create(tmp_path / "registry", "nobody/nothing")
    assert not (tmp_path / "registry").exists()


@pytest.mark.parametrize("asked", [{"revision": "v2"}, {"encoder_only": True}])
@pytest.mark.parametrize("experts", [True, False])
def test_what_the_embedded_base_does_not_have_is_refused(tmp_path, asked, experts):
    with pytest.raises(RegistryError, match="the embedded base is neither. Leave these options out"):
        Registry.create(tmp_path / "registry", "embedded", experts=experts, **asked)
    assert not (tmp_path / "registry").exists()


def test_an_empty_registry_says_what_to_do(empty, made):
    for work in (
        lambda: empty.score([made.buzz], run=HOW),
        lambda: empty.detector(run=HOW),
        lambda: empty.retrain_router(run=HOW),
    ):
        with pytest.raises(RegistryError, match="no active generation: .* molex-adapt add-expert"):
            work()


def test_scores_of_files_and_folders(made, registry, tmp_path):
    folder = registry.score([made.buzz / "bonafide", made.buzz / "spoof"], run=HOW)
    assert (len(folder.scores), folder.failed, folder.generation) == (24, (), 1)
    assert folder.threshold == registry.store.active.threshold
    one = registry.score(folder.scores[3].path, run=HOW)
    assert one.scores[0].score == pytest.approx(folder.scores[3].score, abs=1e-5)
    assert one.scores[0].seconds == pytest.approx(folder.scores[3].seconds)
    (tmp_path / "text.wav").write_text("not audio")
    mixed = registry.score([tmp_path / "missing.wav", folder.scores[0].path, tmp_path / "text.wav"], run=HOW)
    assert [item.path for item in mixed.scores] == [folder.scores[0].path]
    assert [item.path for item in mixed.failed] == [str(tmp_path / "missing.wav"), str(tmp_path / "text.wav")]
    with pytest.raises(DataError, match="no recordings to score"):
        registry.score([], run=HOW)
    (tmp_path / "nothing").mkdir()
    with pytest.raises(DataError, match=r"no recordings to score \(.*nothing\)"):
        registry.score([tmp_path / "nothing"], run=HOW)


def test_scores_come_with_what_was_heard(made, registry, sound, tmp_path):
    wave = sound(5, seconds=2.0)
    folder = tmp_path / "audio"
    folder.mkdir()
    for name, what in {"a": wave, "b": wave[:8_000], "c": wave[:9_000]}.items():
        soundfile.write(folder / f"{name}.wav", what, 16_000)
    soundfile.write(folder / "d.wav", np.stack([wave, -wave], axis=1), 16_000)
    (folder / "notes.txt").write_text("no audio")
    report = registry.score(folder, run=HOW)
    long, short, _ = report.scores
    assert long.heard.speech_seconds > 1 and long.remarks == ()
    assert [remark.kind for remark in short.remarks] == ["short"]
    assert report.remarks == [
        f"less than 1 s of speech: {folder / 'b.wav'} and 1 more",
        f"no audio, or of no class, and not read: 1 ({folder / 'notes.txt'})",
    ]
    assert report.as_dict()["passed_over"] == [str(folder / "notes.txt")]
    (refused,) = report.failed
    assert refused.reason.startswith(f"{folder / 'd.wav'}: channels in anti-phase")
    assert report.as_dict()["scores"][1]["heard"]["speech_seconds"] == pytest.approx(0.5, abs=0.05)


def test_long_recordings_are_scored_in_windows(registry, sound, tmp_path):
    wave = np.concatenate([sound(seed) for seed in range(31)])
    soundfile.write(tmp_path / "long.wav", wave, 16_000)
    (scored,) = registry.score(tmp_path / "long.wav", run=HOW).scores
    assert scored.seconds == pytest.approx(len(wave) / 16_000)
    assert np.isfinite(scored.score)


def test_evaluation_of_a_split(made, registry):
    whole = registry.evaluate(made.buzz, run=HOW)
    threshold = registry.store.generation().threshold
    assert whole.as_dict()["bona_fide_refused"]["threshold"] == threshold
    assert whole.refused.bona_fide == whole.overall.bona_fide
    assert (whole.overall.bona_fide, whole.overall.spoof, whole.generation) == (12, 12, 1)
    assert set(whole.by_attack) == {"buzz"}
    test = registry.evaluate(made.buzz, split="test", run=HOW)
    counts = registry.store.expert("buzz").data.counts["test"]
    assert (test.overall.bona_fide, test.overall.spoof) == (counts["bonafide"], counts["spoof"])
    # The test split of what it was trained on is what the gate measured.
    assert test.overall.eer == pytest.approx(made.report.after["buzz"].eer)
    only = Table((Utterance(made.buzz / "x.wav", "bonafide", source="x"),), "one class")
    with pytest.raises(DataError, match="evaluation has no spoof"):
        registry.evaluate(only, run=HOW)


def computed(registry):
    """The analysis of the exemplars, computed anew and rounded as a record rounds it."""
    from molex_adapt.api.measuring import analyse_exemplars
    from molex_adapt.api.profile import profile_of, stored_analysis

    record = registry.store.generation()
    found = analyse_exemplars(registry.detector(run=HOW), registry.store, record.number)
    return stored_analysis(record.model_copy(update={"profile": profile_of(found)}))


def test_analysis_of_exemplars_and_of_data(made, registry):
    own = registry.analyze(run=HOW)
    assert (own.experts, own.attacks) == (["buzz"], ["buzz", "bonafide"])
    counts = registry.store.expert("buzz").data.counts["test"]
    assert own.utterances == {"buzz": min(4, counts["spoof"]), "bonafide": min(4, counts["bonafide"])}
    assert own.usage == {"buzz": {"buzz": 1.0}, "bonafide": {"buzz": 1.0}}
    assert own.as_dict() == computed(registry).as_dict()
    data = registry.analyze(made.hum, run=HOW)
    assert data.utterances == {"hum": 12, "bonafide": 12}
    assert len(data.usage_by_block["hum"]) == 2


def test_recipes_of_registries(empty, registry, tiny_recipe):
    assert registry.recipe() == tiny_recipe()
    assert registry.recipe(tiny_recipe(expert={"steps": 9})).expert.steps == 9
    given = tiny_recipe(lora={"rank": 5})
    assert empty.recipe(given) is given


def test_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert Run().find_device() == HOW.find_device() == torch.device("cpu")
    for name in ("cuda", "cuda:3", "mps", "tpu"):
        with pytest.raises(RecipeError, match=f"device '{name}' is not available here"):
            Run(device=name).find_device()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert Run().find_device() == torch.device("cuda")


@pytest.mark.parametrize(
    ("score", "lowest", "kinds"),
    [(1.0, -1.1, ["stretch"]), (1.0, -0.7, []), (1.0, None, []), (-0.1, -3.0, [])],
)
def test_a_forged_stretch_of_a_long_recording_is_told(score, lowest, kinds):
    heard = Heard(30.0, -26.0, 8_000.0, 0.0, 0.0)
    scored = UtteranceScore(Utterance(Path("a.wav"), "bonafide"), score, 31.0, heard, {}, lowest)
    found = scoring._meaning(scored, DecisionRule(0.0))  # 0.85 nats on either side are undecided
    assert [remark.kind for remark in found.remarks] == kinds
    assert found.lowest == lowest


def test_the_lowest_window_of_a_recording_comes_with_its_score(registry, sound, tmp_path):
    soundfile.write(tmp_path / "long.wav", sound(3, seconds=21.0), 16_000)
    soundfile.write(tmp_path / "short.wav", sound(3, seconds=2.0), 16_000)
    long, short = registry.score([tmp_path / "long.wav", tmp_path / "short.wav"], run=HOW).scores
    assert long.lowest < long.score
    assert short.lowest is None


@pytest.fixture
def folder(sound, tmp_path):
    place = tmp_path / "audio"
    place.mkdir()
    for seed in range(6):
        soundfile.write(place / f"{seed}.wav", sound(seed, seconds=0.7 + 0.1 * seed), 16_000)
    return place


def test_scores_come_with_their_meaning(registry, folder):
    report = registry.score(folder, prior=0.9, error=None, run=HOW)
    for item in report.scores:
        assert item.decision == ("bona_fide" if item.score >= report.threshold else "spoof")
        assert item.probability == pytest.approx(1 / (1 + np.exp(-(item.score + np.log(9)))))
        assert sum(item.experts.values()) == pytest.approx(1, abs=1e-5)
        assert set(item.experts) == set(registry.store.generation().names)
    assert report.as_dict()["prior"] == 0.9
    careful = registry.score(folder, error=1e-9, run=HOW)  # nothing is that certain
    assert {item.decision for item in careful.scores} == {"cannot_tell"}


class _Killed(Silent):
    """A listener that stops the run after some recordings."""

    def advance(self, count: int = 1) -> None:
        raise KeyboardInterrupt


def test_an_interrupted_run_goes_on_and_ends_as_one_that_never_stopped(
    registry, folder, tmp_path, monkeypatch
):
    monkeypatch.setattr("molex_adapt.features.batches._READ_AHEAD", 2)
    whole = registry.score(folder, run=HOW)
    journal = tmp_path / "journal"
    with pytest.raises(KeyboardInterrupt):
        registry.score(folder, journal=journal, run=replace(HOW, progress=_Killed()))
    with journal.open("a") as file:
        file.write('{"path": "cut off')  # killed in the middle of a line
    scored = []
    score = Detector.score_and_shares
    monkeypatch.setattr(
        Detector,
        "score_and_shares",
        lambda self, wave, lengths: scored.append(len(wave)) or score(self, wave, lengths),
    )
    resumed = registry.score(folder, journal=journal, run=replace(HOW, resume=True))
    assert sum(scored) == 4
    assert [(item.path, item.decision) for item in resumed.scores] == [
        (item.path, item.decision) for item in whole.scores
    ]
    again = [item.score for item in resumed.scores]  # the last bits depend on the company in a batch
    assert again == pytest.approx([item.score for item in whole.scores], abs=1e-5)
    assert [item.heard for item in resumed.scores] == [item.heard for item in whole.scores]


def test_a_file_that_changed_is_scored_again(registry, folder, sound, tmp_path):
    journal = tmp_path / "journal"
    before = registry.score(folder, journal=journal, run=HOW)
    soundfile.write(folder / "0.wav", sound(99, seconds=1.0, buzz=900.0), 16_000)
    after = registry.score(folder, journal=journal, run=replace(HOW, resume=True))
    assert [
        one.score == pytest.approx(two.score, abs=1e-5)
        for one, two in zip(before.scores, after.scores, strict=True)
    ] == [
        False,
        *[True] * 5,
    ]


def test_a_journal_of_something_else_is_left_alone(registry, folder, tmp_path):
    (tmp_path / "journal").write_text("precious")
    with pytest.raises(DataError, match="is no journal of scores"):
        registry.score(folder, journal=tmp_path / "journal", run=HOW)
    assert (tmp_path / "journal").read_text() == "precious"
    other = '{"kind": "molex-adapt scores", "detector": "another"}\n'
    (tmp_path / "journal").write_text(other)
    with pytest.raises(DataError, match="another generation"):
        registry.score(folder, journal=tmp_path / "journal", run=replace(HOW, resume=True))
    assert (tmp_path / "journal").read_text() == other


def test_a_kill_while_a_journal_is_taken_over_costs_no_scores(tmp_path, monkeypatch):
    journal, dumps = tmp_path / "journal", json.dumps
    old = '{"kind": "molex-adapt scores", "detector": "d"}\n{"path": "a.wav"}\n{"path": "b.wav"}\n'
    journal.write_text(old)

    def killed(line):
        if line.get("path") == "b.wav":
            raise KeyboardInterrupt
        return dumps(line)

    monkeypatch.setattr("molex_adapt.api.journal.json.dumps", killed)
    with pytest.raises(KeyboardInterrupt):
        Journal.open(journal, "d", resume=True)
    assert journal.read_text() == old
    assert list(tmp_path.iterdir()) == [journal]


@pytest.mark.parametrize("resume", [False, True])
def test_an_empty_journal_is_none(tmp_path, resume):
    """As a kill leaves it before the first line; also that of a further process."""
    for name in ("journal", "journal.process1"):
        (tmp_path / name).touch()
    Journal.open(tmp_path / "journal", "d", resume).close()
    assert [path.name for path in tmp_path.iterdir()] == ["journal"]
    assert (tmp_path / "journal").read_text() == '{"kind": "molex-adapt scores", "detector": "d"}\n'
