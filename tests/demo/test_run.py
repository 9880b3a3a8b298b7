from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile

from molex_adapt import Registry, Run
from molex_adapt.api import registry as api
from molex_adapt.data import Failed, read
from molex_adapt.demo import domains as demo_domains
from molex_adapt.demo import run as demo_run
from molex_adapt.demo import run_demo
from molex_adapt.demo.run import MARK
from molex_adapt.errors import DataError, RecipeError, RegistryError
from molex_adapt.progress import Silent
from molex_adapt.recipe import DemoDomain, DemoRecipe

RECIPE = DemoRecipe.model_validate(
    {
        "novel": "lpc",
        "domains": {"lpc": {"attack": "lpc"}, "buzz": {"attack": "griffin_lim"}, "null": {"attack": "null"}},
        "held_out_speaker": "june",
        "train_recordings": 12,
        "dev_recordings": 10,
        "test_recordings": 10,
        "held_out_recordings": 4,
        "adapt": {"expert": {"steps": 4}},
    }
)


@pytest.fixture(scope="module")
def speech(sound, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("speech")
    for number, (voice, count) in enumerate((("ann", 36), ("bob", 36), ("june", 5))):
        (folder / voice).mkdir()
        for at in range(count):
            soundfile.write(folder / voice / f"{at:02}.wav", sound(1000 * number + at, 0.75), 16_000)
    return folder


@pytest.fixture(scope="module")
def shipped(tiny_folder_of, tiny_recipe, recorded, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("shipped")
    registry = Registry.create(folder / "registry", str(tiny_folder_of()))
    data = recorded(folder / "data", bona_fide=12, buzz=12)
    registry.add_expert(
        data, accept=True, domain="buzz", recipe=tiny_recipe(), run=Run(workers=1, device="cpu")
    )
    return registry.store.path


@pytest.fixture(autouse=True)
def at_hand(shipped, monkeypatch):
    monkeypatch.setattr(api, "registry_path", lambda: shipped)


def demonstrate(out: Path, speech: Path | None, recipe: DemoRecipe = RECIPE, **more):
    return run_demo(out, speech=speech, recipe=recipe, run=Run(device="cpu", workers=1), **more)


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "lock" not in path.name
    }


class Steps(Silent):
    """Notes what it hears of."""

    def __init__(self) -> None:
        self.labels: list[str] = []
        self.shares: list[float] = []

    def step(self, label: str, number: int, count: int) -> None:
        self.labels.append(f"{number}/{count} {label}")

    def reach(self, share: float) -> None:
        self.shares.append(share)


def test_the_whole_story(speech, shipped, tmp_path, monkeypatch):
    before = bytes_of(shipped)
    heard = Steps()
    out = tmp_path / "out"
    report = demonstrate(out, speech, listener=heard)
    assert bytes_of(shipped) == before
    assert {path.name for path in out.iterdir()} == {MARK, "data", "registry", "report.html", "demo.json"}
    assert {path.name for path in (out / "data").iterdir()} == {"lpc", "buzz", "null"}

    assert (report.added.expert, report.added.generation) == ("lpc", 2)
    assert set(report.added.after) == {"buzz", "lpc"}
    assert list(report.voices) == ["known voices", "june, never heard"]
    known, unheard = report.voices.values()
    assert list(known.after) == list(known.before) == list(unheard.after) == ["lpc", "buzz", "null"]
    assert (known.after["lpc"].bona_fide, known.after["lpc"].spoof) == (10, 10)
    assert (unheard.after["buzz"].bona_fide, unheard.after["buzz"].spoof) == (4, 4)
    assert report.analysis.utterances == {"bonafide": 14, "lpc": 14, "griffin_lim": 14, "null": 14}
    assert set(report.seconds) == {"simulate", "score before", "add-expert", "score after", "page"}

    # One pass gives the scores before and after, and the analysis.
    assert report.analysis.findings.errors.keys() == {"lpc", "griffin_lim", "null"}
    assert report.analysis.findings.curves is not None
    assert known.real_speech.bona_fide == 10

    registry = Registry.open(out / "registry")
    assert report.analysis.threshold == registry.store.generation().threshold
    assert registry.store.verify() == []
    assert registry.store.generation(2).names == ["buzz", "lpc"]
    assert registry.recipe().expert.steps == (4 if report.added.activated else 6)
    forged = read(out / "data" / "lpc")
    counts = registry.store.expert("lpc", 2).data.counts
    voices = ["june" in str(item.path) for item in forged]
    assert sum(sum(found.values()) for found in counts.values()) == voices.count(False)
    assert voices.count(True) == 8  # measured, not trained on

    assert json.loads((out / "demo.json").read_text()) == json.loads(json.dumps(report.as_dict()))
    page = (out / "report.html").read_text()
    assert "molex-adapt meets lpc" in page
    assert "june, never heard" in page
    assert [label[:3] for label in heard.labels] == ["1/4", "2/4", "3/4", "4/4"]
    assert heard.shares == sorted(heard.shares)

    # A second time in the same folder, which is its own though a kill left something there, without what draws the
    # page; and then one that is not.
    (out / ".staging-0123").touch()
    monkeypatch.setattr(demo_run, "missing_libraries", lambda: ["altair"])
    again = demonstrate(out, speech)
    assert again.page is None and not (out / "report.html").exists()
    assert again.added.after == report.added.after
    assert again.voices == report.voices
    (out / "mine.txt").write_text("precious")
    for _ in range(2):
        with pytest.raises(DataError, match=r"holds .* is not a folder that demo made.*choose another"):
            demonstrate(out, speech)
        assert (out / "mine.txt").read_text() == "precious"
        assert (out / "registry" / "registry.yaml").exists()
        (out / MARK).unlink(missing_ok=True)


@pytest.mark.parametrize("place", ["", "out", ".."])
def test_the_speech_is_not_where_the_demonstration_works(speech, tmp_path, place):
    """A second demonstration would clear it away, or take what the first one forged for speech."""
    heard = tmp_path / "speech"
    shutil.copytree(speech, heard)
    before = bytes_of(heard)
    with pytest.raises(DataError, match="which is read. Choose a folder apart"):
        demonstrate(heard / place, heard)
    assert bytes_of(heard) == before


def test_no_voice_held_out_and_every_key_of_the_recipe_is_read(speech, tmp_path, recipe_reads):
    recipe = RECIPE.model_copy(update={"held_out_recordings": 0, "domains": {"lpc": RECIPE.domains["lpc"]}})
    report = demonstrate(tmp_path / "out", speech, recipe)
    assert list(report.voices) == ["known voices"]
    assert "never heard" not in (tmp_path / "out" / "report.html").read_text()
    assert report.as_dict()["held_out_voice"] is None
    for kind in (DemoRecipe, DemoDomain):
        assert {name for section, name in recipe_reads if section is kind} == set(kind.model_fields)


def test_no_speech(speech, tmp_path, monkeypatch):
    with pytest.raises(DataError, match="is not a folder"):
        demonstrate(tmp_path / "out", tmp_path / "nowhere")
    (tmp_path / "nothing").mkdir()
    with pytest.raises(DataError, match="has no speech"):
        demonstrate(tmp_path / "out", tmp_path / "nothing")
    monkeypatch.setattr(demo_domains, "PROMPTS", tmp_path / "uninstalled")
    with pytest.raises(DataError, match=r"apt-get\s+install .*asterisk-core-sounds-en-g722.* --speech DIR"):
        demonstrate(tmp_path / "out", None)
    few = tmp_path / "few" / "ann"
    few.mkdir(parents=True)
    for path in sorted((speech / "ann").iterdir())[:9]:
        shutil.copy(path, few)
    with pytest.raises(DataError, match="needs at least 100 recordings"):
        demonstrate(tmp_path / "out", few.parent)


def test_a_file_in_the_way_and_no_registry(speech, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="file is a file; expected a folder"):
        demonstrate(tmp_path / "file", speech)

    def missing():
        raise RegistryError("This installation of molex-adapt has no shipped registry")

    monkeypatch.setattr(api, "registry_path", missing)
    with pytest.raises(RegistryError, match="no shipped registry"):
        demonstrate(tmp_path / "out", speech)


def test_the_novel_domain_must_be_one_that_is_made():
    from molex_adapt.recipe import validate

    with pytest.raises(RecipeError, match="novel 'griffin_lim' is not among the domains"):
        validate(DemoRecipe, {"domains": {"lpc": {"attack": "lpc"}}}, "mine.yaml")


def test_what_a_folder_lost_is_no_loss_of_its_domains(speech, tmp_path):
    lost = (Failed(str(speech / "empty.wav"), "it is empty"),)
    found = replace(demo_domains.find_speech(speech), left_out=lost)
    how = Run(workers=1, device="cpu")
    assert demo_domains.make_domains(found, tmp_path / "out", RECIPE, run=how).failed == ()
