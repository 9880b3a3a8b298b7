from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from molex_adapt.scorefile import read_scores


def test_score_prints_the_contract(run, api):
    ran = run("score", "a/", "--json")
    assert ran.status == 0
    assert ran.json["scores"][0] == {"path": "a/one.wav", "score": 2.5, "seconds": 3.2}
    assert ran.json["failed"] == [{"path": "a/three.mp3", "reason": "too short"}]
    assert api.last("score")["arguments"] == ([Path("a")],)


def test_score_says_how_a_score_reads(run, api):
    lines = run("score", "a/").out.splitlines()
    one = next(line for line in lines if "one.wav" in line)
    two = next(line for line in lines if "two.flac" in line)
    assert "+2.50" in one
    assert "bona fide" in one
    assert "spoof" in two
    assert any("too short" in line for line in lines)


def test_score_writes_a_score_file(run, api, tmp_path):
    ran = run("score", "a/", "--out", tmp_path / "scores.tsv")
    assert ran.status == 0
    written = read_scores(tmp_path / "scores.tsv")
    assert written.filenames == ("a/one.wav", "a/two.flac")
    assert list(written.values) == [2.5, -1.25]
    assert "2 scores written" in " ".join(ran.out.split())


def test_score_of_nothing_usable_is_status_1(run, api, tmp_path):
    api.answers["score"] = replace(api.answers["score"], scores=())
    ran = run("score", "a/", "--out", tmp_path / "scores.tsv", "--json")
    assert ran.status == 1
    assert ran.json["scores"] == []
    assert not (tmp_path / "scores.tsv").exists()


def test_evaluate_data(run, api):
    ran = run("evaluate", "data/", "--split", "test", "--ties", "step")
    assert (ran.status, api.last("evaluate")["split"], api.last("evaluate")["ties"]) == (0, "test", "step")
    assert "5.00 %" in ran.out
    assert "not measured" in ran.out
    assert max(len(line) for line in ran.out.splitlines()) <= 80
    assert set(run("evaluate", "data/", "--json").json) >= {"overall", "by_attack"}


@pytest.fixture
def files(tmp_path):
    scores = {"a": 3.0, "b": 2.0, "c": 1.0, "d": -1.0, "e": 1.5, "f": -3.0, "g": -4.0, "h": -5.0}
    key = {"a": "bonafide -", "b": "bonafide -", "c": "bonafide -", "d": "bonafide -"}
    key |= {"e": "spoof A01", "f": "spoof A01", "g": "spoof A02", "h": "spoof A02"}
    (tmp_path / "s.tsv").write_text(
        "filename\tcm-score\n" + "".join(f"{name}\t{score}\n" for name, score in scores.items())
    )
    rows = "".join(f"{name}\t{truth.replace(' ', chr(9))}\n" for name, truth in key.items())
    (tmp_path / "k.tsv").write_text("filename\tcm-label\tattack\n" + rows)
    return tmp_path / "s.tsv", tmp_path / "k.tsv"


def test_evaluate_files_needs_no_model(run, files):
    ran = run("evaluate", "--scores", files[0], "--key", files[1], "--json")
    assert ran.status == 0
    assert ran.json["overall"]["eer"] == pytest.approx(0.25)
    assert ran.json["by_attack"]["A02"]["eer"] == 0.0
    assert (ran.json["overall"]["bona_fide"], ran.json["by_attack"]["A01"]["spoof"]) == (4, 2)


@pytest.fixture
def tied_files(tmp_path):
    """Three bona fide and three spoofed files at 0, two bona fide and a spoofed one at 1, one spoofed at -1."""
    scores = (
        [("bonafide", 0)] * 3 + [("bonafide", 1)] * 2 + [("spoof", 0)] * 3 + [("spoof", 1), ("spoof", -1)]
    )
    rows = [f"{at}\t{score}" for at, (_, score) in enumerate(scores)]
    truth = [f"{at}\t{label}" for at, (label, _) in enumerate(scores)]
    (tmp_path / "s.tsv").write_text("\n".join(["filename\tcm-score", *rows]) + "\n")
    (tmp_path / "k.tsv").write_text("\n".join(["filename\tcm-label", *truth]) + "\n")
    return "--scores", tmp_path / "s.tsv", "--key", tmp_path / "k.tsv"


def test_equal_scores_give_the_figure_of_the_paper_and_the_table_says_so(run, tied_files):
    ran = run("evaluate", *tied_files)
    assert (ran.status, ran.err) == (0, "")
    assert "60.00 %*" in ran.out
    assert "(--ties step): all 40.00 %" in " ".join(ran.out.split())
    assert run("evaluate", *tied_files, "--json").json["overall"]["eer"] == 0.6


def test_equal_scores_are_taken_together_on_request(run, tied_files):
    ran = run("evaluate", *tied_files, "--ties", "step")
    assert "40.00 %*" in ran.out
    assert "(--ties asvspoof5): all 60.00 %" in " ".join(ran.out.split())
    assert run("evaluate", *tied_files, "--ties", "step", "--json").json["overall"]["eer"] == pytest.approx(
        0.4
    )


def test_without_equal_scores_the_table_has_nothing_to_say_of_them(run, files):
    assert "*" not in run("evaluate", "--scores", files[0], "--key", files[1]).out


@pytest.mark.parametrize(
    "options", [[], ["--scores", "s.tsv"], ["data/", "--scores", "s.tsv", "--key", "k.tsv"]]
)
def test_evaluate_wants_one_of_two_forms(run, options):
    ran = run("evaluate", *options)
    assert (ran.status, ran.out) == (2, "")
    assert "either DATA" in ran.err


def test_analyze_has_a_row_for_bona_fide_speech(run, api):
    ran = run("analyze", "data/")
    assert ran.status == 0
    assert any(line.strip().startswith("bonafide") and "50 %" in line for line in ran.out.splitlines())
    assert any(line.strip().startswith("world") and "85 %" in line for line in ran.out.splitlines())
    found = run("analyze", "--json").json
    assert (found["blocks"], found["experts"]) == (2, ["world", "codec_x"])
    assert found["usage_by_block"]["world"] == [[0.8, 0.2], [0.9, 0.1]]
    assert api.last("analyze")["arguments"] == (None,)
