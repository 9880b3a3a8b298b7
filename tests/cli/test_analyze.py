from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from molex_adapt.findings import (
    Handover,
    Handovers,
    LeftOut,
    Moment,
    NovelGroup,
    Novelty,
    Stretch,
    Timeline,
    Unlike,
)


def test_analyze_has_a_row_for_bona_fide_speech(run, api):
    ran = run("analyze", "data/")
    assert ran.status == 0
    assert any(line.strip().startswith("bonafide") and "50 %" in line for line in ran.out.splitlines())
    assert any(line.strip().startswith("world") and "85 %" in line for line in ran.out.splitlines())
    found = run("analyze", "--json").json
    assert (found["blocks"], found["experts"]) == (2, ["world", "codec_x"])
    assert found["usage_by_block"]["world"] == [[0.8, 0.2], [0.9, 0.1]]
    assert api.last("analyze")["arguments"] == (None,)


def test_analyze_of_one_recording_shows_it_over_time(run, api, tmp_path):
    moments = [
        Moment(0.25 * at, 0.25 * at + 1, float(at % 5) - 2, -0.5, 0.25, {"world": 0.8, "codec_x": 0.2})
        for at in range(100)
    ]
    api.answers["timeline"] = Timeline("call.wav", 26.0, moments, Stretch(1.0, 2.5, -2.0, 0.5), 0.25, 5)
    (tmp_path / "call.wav").write_bytes(b"RIFF")
    ran = run("analyze", tmp_path / "call.wav")
    assert ran.status == 0
    assert max(len(line) for line in ran.out.splitlines()) <= 80
    assert "Speaks most against it (<): 1.00 to 2.50 s, mean score -2.00, +0.50 elsewhere" in ran.out
    assert "Below the threshold of +0.25: 60 of 100 windows" in ran.out
    assert sum("world" in line for line in ran.out.splitlines()) == 50
    found = run("analyze", tmp_path / "call.wav", "--json").json
    assert (len(found["moments"]), found["stretch"]["begin"], found["generation"]) == (100, 1.0, 5)
    assert run("analyze", tmp_path / "call.wav", "--out", tmp_path / "out").status == 2
    (tmp_path / "call").write_bytes(b"RIFF\x24\0\0\0WAVEfmt ")  # a recording by how it begins
    assert run("analyze", tmp_path / "call").out == ran.out


def test_analyze_switches_no_expert_off_without_recordings(run, api, tmp_path):
    ran = run("analyze", "--ablate")
    assert ran.status == 2 and "--ablate goes with labelled DATA" in " ".join(ran.err.split())
    assert api.calls == []
    assert run("analyze", "--no-ablate").status == 0


def test_analyze_compares_two_generations(run, api, tmp_path):
    row = Handover(
        "opus", {"new": 0.4}, {"old_one": 0.3, "other": 0.1}, (0.2, 0.05), (-0.2, -0.1), (1.0, -2.0)
    )
    api.answers["compare"] = Handovers(4, 5, ["new"], [], [row])
    ran = run("analyze", "data/", "--compare", 4)
    assert ran.status == 0 and api.last("compare")["arguments"] == (4, Path("data"))
    assert "20.0 → 5.0  -15.0 (-20.0 -10.0)" in ran.out and "old_one 30" in ran.out
    assert run("analyze", "--compare", 4, "--json").json["attacks"][0]["took"] == 0.4
    api.answers["compare"] = Handovers(4, 5, ["new"], [], [replace(row, eer_ci=None)])
    assert "20.0 → 5.0  -15.0 (too few)" in run("analyze", "data/", "--compare", 4).out
    assert run("analyze", "data/", "--compare", 4, "--out", tmp_path / "out").status == 2
    assert run("analyze", "data/", "--compare", 0).status == 2


def test_analyze_of_a_folder_without_labels_says_what_is_new(run, api, tmp_path):
    api.answers["novelty"] = Novelty(
        40, 9, 0.05, 0.001, [Unlike("a/very/long/path/" * 6 + "x.wav", 0.01, 8.5, "neural_vocoder")],
        [NovelGroup(9, 1.0, "bonafide", "codec_x", 0.7)], [LeftOut("world", 0.93, (0.87, 0.99), 32)], 0.93,
        (0.9, 0.95), 384,
        "9 of 40 recordings (22 %) are unlike anything known", 5,
    )  # fmt: skip
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "a.wav").write_bytes(b"RIFF")
    ran = run("analyze", tmp_path / "new")
    assert ran.status == 0 and max(len(line) for line in ran.out.splitlines()) <= 80
    for text in (
        "9 of 40 recordings",
        "neural_vocoder",
        "0.93 (0.87–0.99)",
        "Mean 0.93 (0.90–0.95)",
        "100 %",
    ):
        assert text in ran.out
    assert run("analyze", tmp_path / "new", "--json").json["novelty"]["auroc"] == 0.93
    assert run("analyze", tmp_path / "new", "--out", tmp_path / "out").status == 2
