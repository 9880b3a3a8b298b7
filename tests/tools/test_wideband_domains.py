"""Domains of wide-band speech, and the table of voices that is scored on them."""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from molex_adapt import Registry, Run
from molex_adapt.data import Utterance, read
from molex_adapt.errors import DataError
from tools.wideband import domains, voices
from tools.wideband.corpus import PARTS, Stretch, write_speech
from tools.wideband.spectra import RATE


@pytest.mark.filterwarnings("ignore:There were no voiced segments")
def test_domains_pair_classes_conditions_and_parts(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(domains, "COPIES", ("lpc",))
    monkeypatch.setattr(domains, "SPOKEN", ())
    monkeypatch.setattr(domains, "PER_GAME_VOICE", {"drascula": 2})
    monkeypatch.setattr(domains, "SHIPPED", ("lpc", "istft"))
    monkeypatch.setattr(domains, "FROM_TEXTS", ("pico",))
    monkeypatch.setattr(domains, "PER_ATTACK_ON_GAMES", {"train": 1, "dev": 2, "test": 0})
    noise = np.random.default_rng(0)
    pieces = [
        (
            (3000 * noise.standard_normal(RATE + 400 * at)).astype(np.int16),
            Stretch(voice, part, 0, 0, "en", at == 0),
        )
        for voice, part in (("a", "train"), ("Carlo", "dev"), ("c13", "dev"), ("z", "test"))
        for at in range(3)
    ]
    write_speech(tmp_path / "speech", pieces)
    played = [(wave, replace(row, voice=f"drascula/{row.voice}")) for wave, row in pieces[:6]]
    write_speech(tmp_path / "games", played)
    monkeypatch.setattr(domains, "HifiGan", lambda path, device: lambda wave: -wave)
    for vocoder in ("Fargan", "Dred"):
        monkeypatch.setattr(domains, vocoder, lambda path: lambda wave: wave[::-1])
    (tmp_path / "spoken").mkdir()
    said = [
        (f"p{at}.wav", "spoof", "pico", f"pico-{part}0", f"t{at}", part, "none")
        for at, part in enumerate(PARTS)
    ]
    domains.write_rows(tmp_path / "spoken" / "pico.csv", said)
    monkeypatch.chdir(tmp_path)  # manifests are read from anywhere
    both = ["domains", "speech", "games", "--per-attack", "3", "2", "2"]
    own = ["--hifigan", "x.npz", "--fargan", "fargan_demo", "--dred", "dred_copy", "--spoken", "spoken"]
    monkeypatch.setattr("sys.argv", [*both, "--out", "out", *own])
    domains.main()
    whole = {
        name: read(tmp_path / "out" / f"{name}.csv")
        for name in ("bonafide", "lpc", "hifigan", "fargan", "dred", "dev")
    }
    with (tmp_path / "out" / "shipped.csv").open() as file:
        shipped = list(csv.DictReader(file))
    assert len(whole["bonafide"]) == 3 + 6 + 2 * 3 + 2 + 2
    assert len(whole["lpc"]) == len(whole["hifigan"]) == 3 + 2 + 2 * 2 + 1 + 2
    tested = [item for item in whole["bonafide"] if item.split == "test"]
    assert sorted({(item.source, item.condition) for item in tested}) == sorted(
        (name, kind) for name in {item.source for item in tested} for kind in ("drawn", "none")
    )
    assert {item.split for item in whole["dred"]} == {"test"}
    assert len(whole["fargan"]) == len(whole["lpc"])
    heard = {row["speaker"]: row["split"] for row in shipped if row["domain"] != "synthesiser"}
    games = {"drascula/a": "train", "drascula/Carlo": "dev"}
    assert heard == {"a": "train", "c13": "test", "Carlo": "dev", **games}
    kinds = {("", ""), ("lpc", ""), ("istft", "neural_vocoder"), ("pico", "synthesiser")}
    assert {(row["attack"], row["domain"]) for row in shipped} == kinds
    assert {row["split"] for row in shipped if row["domain"] == "synthesiser"} == {"train", "test"}
    places = {row["domain"] == "synthesiser": row["path"].split("/")[:-1] for row in shipped}
    assert places[True] == ["..", "spoken"]
    assert all((tmp_path / "out" / row["path"]).is_file() for row in shipped if row["attack"] != "pico")
    assert {item.speaker for item in whole["dev"]} == {"c13", "Carlo", "drascula/Carlo"}
    assert {item.attack for item in whole["dev"]} == {None, "lpc", "istft", "mel_gan", "hifigan", "fargan"}
    assert {item.split for item in whole["dev"]} == {"dev"}

    one = ["domains", "speech", "--attacks", "lpc", "--per-voice", "2", "1", "1", "--out", "one"]
    monkeypatch.setattr("sys.argv", one)
    domains.main()
    spoken_by = Counter((item.speaker, item.split) for item in read(tmp_path / "one" / "bonafide.csv"))
    assert {part: {count for (_, own), count in spoken_by.items() if own == part} for part in PARTS} == {
        "train": {2},
        "dev": {1},
        "test": {2},  # as it is, and under conditions
    }

    few, make = [*both, "--out", str(tmp_path / "few"), "--attacks"], domains.Maker.make

    def cut_off(self, name):
        if name == "cascade":
            raise KeyboardInterrupt
        return make(self, name)

    monkeypatch.setattr("sys.argv", [*few, "lpc", "cascade"])
    with monkeypatch.context() as patch:
        patch.setattr(domains.Maker, "make", cut_off)
        with pytest.raises(KeyboardInterrupt):
            domains.main()
    capsys.readouterr()
    monkeypatch.setattr(domains, "PER_ATTACK_ON_GAMES", {"train": 0, "dev": 0, "test": 0})
    monkeypatch.setattr("sys.argv", [*few, "lpc", "cascade", "splice", "--per-attack", "1", "1", "1"])
    domains.main()
    said = capsys.readouterr().out.splitlines()
    assert said == ["bonafide: there", "lpc: there", "cascade: 4 files", "splice: 4 files"]
    assert not (tmp_path / "few" / "shipped.csv").exists()
    for name in ("bonafide", "lpc"):  # the same beside other sets, and after an interruption
        for path in (tmp_path / "out" / name).iterdir():
            assert path.read_bytes() == (tmp_path / "few" / name / path.name).read_bytes()
    assert {item.source for item in read(tmp_path / "few" / "cascade.csv")} <= {
        item.source for item in whole["bonafide"]
    }
    monkeypatch.setattr("sys.argv", [*few, "hifigan"])  # which has no weights here
    with pytest.raises(SystemExit):
        domains.main()


def test_a_sentence_that_a_voice_says_is_no_recording_of_that_number():
    row = dict.fromkeys(domains.COLUMNS, "") | {"attack": "espeak", "source": "00012"}
    assert domains.columns_of(row)[domains.COLUMNS.index("source")] == "espeak/00012"
    assert domains.columns_of(row | {"attack": "lpc"})[domains.COLUMNS.index("source")] == "00012"


def test_of_sets_of_one_name_the_last_folder_has_the_one_that_counts(tmp_path):
    for folder, names in (("domains", ("lpc", "espeak", "shipped", "dev")), ("spoken", ("espeak", "pico"))):
        (tmp_path / folder).mkdir()
        for name in names:
            paths = [tmp_path / folder / f"{name}_{part}.wav" for part in ("dev", "test")]
            for path in paths:
                path.touch()
            rows = [
                (path.name, "spoof", name, "z", path.stem, path.stem.split("_")[1], "none") for path in paths
            ]
            domains.write_rows(tmp_path / folder / f"{name}.csv", rows)
    found = domains.of_part([tmp_path / "domains", tmp_path / "spoken"], "test")
    assert [str(item.path.relative_to(tmp_path)) for item in found] == [
        "spoken/espeak_test.wav",
        "domains/lpc_test.wav",
        "spoken/pico_test.wav",
    ]


def test_the_table_of_voices_counts_at_the_threshold():
    real = [(Utterance(Path(f"{at}.wav"), "bonafide", speaker="ab"[at % 2]), float(at)) for at in range(10)]
    fake = [(Utterance(Path(f"f{at}.wav"), "spoof", attack="lpc"), at - 8.5) for at in range(10)]
    lines = list(voices.table(real + fake, 3.0))
    assert lines[0] == "10 real recordings, refused 30.0"
    assert lines[1] == "a 40.0 of 5, b 20.0 of 5"
    assert lines[2].startswith("lpc: EER 10.0 [") and lines[2].endswith("accepted 0.0 of 10")
    with pytest.raises(DataError, match="no bona fide"):
        list(voices.table(fake, 3.0))


def test_voices_of_a_part_are_scored_by_condition(
    tmp_path, tiny_folder_of, tiny_recipe, recorded, monkeypatch, capsys
):
    data = recorded(tmp_path / "data", bona_fide=12, buzz=12)
    registry = Registry.create(tmp_path / "registry", str(tiny_folder_of()))
    registry.add_expert(
        data, accept=True, domain="buzz", recipe=tiny_recipe(), run=Run(workers=1, device="cpu")
    )
    rows = [
        (str(item.path), item.label, item.attack or "", "v", item.path.stem, "test", "none")
        for item in read(data)
    ]
    domains.write_rows(tmp_path / "buzz.csv", rows)
    domains.write_rows(tmp_path / "shipped.csv", rows)
    monkeypatch.setattr("sys.argv", ["voices", str(tmp_path), "--registry", str(tmp_path / "registry")])
    voices.main()
    said = capsys.readouterr().out
    assert "none:\n12 real recordings, refused " in said
    assert "buzz: EER " in said and "of 12" in said
