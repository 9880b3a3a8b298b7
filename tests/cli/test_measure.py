from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path

import pytest

from molex_adapt.data import Failed, Heard, remarks_on
from molex_adapt.decision import DecisionRule
from molex_adapt.reports import RecordingScore, ScoreReport
from molex_adapt.scorefile import read_scores
from molex_adapt.scoretable import read_table


def test_score_prints_the_contract(run, api):
    ran = run("score", "a/", "--json", "--allow-failures")
    assert ran.status == 0
    one = {"path": "a/one.wav", "score": 2.5, "seconds": 3.2, "heard": None, "remarks": []}
    assert ran.json["scores"][0] == one | {
        "decision": None,
        "probability": None,
        "experts": {},
        "lowest": None,
    }
    assert ran.json["failed"] == [{"path": "a/three.mp3", "reason": "too short"}]
    assert api.last("score")["arguments"] == ([Path("a")],)


def _remarked(count: int) -> tuple[RecordingScore, ...]:
    heard = Heard(0.4, -60.0, 2_600.0, 0.02, 0.5, 12.0)
    clean = RecordingScore("clean.wav", 1.0, 3.0, Heard(3.0, -26.0, 8_000.0, 0.0, 0.0))
    name = "recordings/of/somebody/who/likes/long/names/{:03}.wav"
    return (
        clean,
        *(RecordingScore(name.format(at), -1.0, 1.0, heard, remarks_on(heard)) for at in range(count)),
    )


def test_score_tells_machines_what_was_heard(run, api):
    api.answers["score"] = replace(api.answers["score"], scores=_remarked(1), failed=(), remarks=["a line"])
    ran = run("score", "a/", "--json")
    clean, other = ran.json["scores"]
    assert (clean["remarks"], clean["heard"]["speech_seconds"], clean["heard"]["band_hz"]) == (
        [],
        3.0,
        8_000.0,
    )
    assert len(other["remarks"]) == 6 and other["remarks"][0].startswith("0.40 s of speech")
    assert (ran.status, ran.json["remarks"]) == (0, ["a line"])
    assert "note: a line" in ran.err


def test_a_table_has_remarks_in_a_word_each_and_80_columns(run, api):
    api.answers["score"] = replace(api.answers["score"], scores=_remarked(3), failed=())
    ran = run("score", "a/")
    assert max(len(line) for line in ran.out.splitlines()) <= 80
    for kind in ("short", "narrow", "gaps", "clipped", "faint", "phase"):
        assert ran.out.count(kind) == 3
    api.answers["score"] = replace(api.answers["score"], scores=_remarked(0))
    assert "remarks" not in run("score", "a/").out


def test_score_says_how_a_score_reads(run, api):
    lines = run("score", "a/").out.splitlines()
    one = next(line for line in lines if "one.wav" in line)
    two = next(line for line in lines if "two.flac" in line)
    assert "+2.50" in one
    assert "bona fide" in one
    assert "spoof" in two
    assert any("too short" in line for line in lines)


def test_score_writes_a_score_file(run, api, tmp_path):
    ran = run("score", "a/", "--out", tmp_path / "scores.tsv", "--allow-failures")
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


def test_a_recording_that_failed_is_status_1_when_all_others_are_written(run, api, tmp_path):
    out = tmp_path / "scores.tsv"
    ran = run("score", "a/", "--out", out)
    assert ran.status == 1
    assert "recordings that failed: 1; so the exit status is 1, or 0 with --allow-failures" in ran.err
    assert read_scores(out).filenames == ("a/one.wav", "a/two.flac")
    allowed = run("score", "a/", "--out", out, "--allow-failures")
    assert (allowed.status, "so the exit status" in allowed.err) == (0, False)
    assert "too short" in allowed.out


def test_nothing_scored_is_status_1_whatever_is_allowed(run, api):
    api.answers["score"] = replace(api.answers["score"], scores=())
    assert run("score", "a/", "--allow-failures").status == 1


@pytest.mark.parametrize(
    "command", ["evaluate", "analyze", "train", "add-expert", "retrain-router", "set-threshold"]
)
def test_a_part_that_failed_means_the_same_to_every_command(run, api, command):
    name = command.replace("-", "_")
    arguments = [command, "data/", *(["--domain", "d"] if command in ("train", "add-expert") else [])]
    assert run(*arguments).status == 0
    api.answers[name] = replace(api.answers[name], failed=(Failed("data/a.wav", "cannot be decoded"),))
    ran = run(*arguments, "--json")
    assert (ran.status, ran.json["failed"]) == (1, [{"path": "data/a.wav", "reason": "cannot be decoded"}])
    assert run(*arguments, "--allow-failures").status == 0


def test_what_cannot_be_written_in_the_end_is_shown(run, api, tmp_path, monkeypatch):
    def full(path: Path, content: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("molex_adapt.scorefile.write_output", full)
    ran = run("score", "a/", "--out", tmp_path / "scores.tsv")
    assert ran.status == 1
    assert "+2.50" in ran.out
    assert "No space left on device" in ran.err
    assert run("score", "a/", "--out", tmp_path / "scores.tsv", "--json").json["scores"][0]["score"] == 2.5


def test_names_that_no_score_file_holds_are_put_so_that_it_does(run, api, tmp_path):
    scores = (
        RecordingScore("a\tb.wav", 1.0, 1.0),
        RecordingScore("\udcff.wav", 2.0, 1.0),
        RecordingScore("c.wav", 3.0, 1.0),
    )
    api.answers["score"] = replace(api.answers["score"], scores=scores, failed=())
    ran = run("score", "a/", "--out", tmp_path / "scores.tsv")
    assert ran.status == 0
    assert read_scores(tmp_path / "scores.tsv").filenames == ("a\\tb.wav", "\\udcff.wav", "c.wav")
    assert "not UTF-8: 2; " in ran.err
    assert r"such as a\tb.wav" in ran.err
    assert [item["path"] for item in run("score", "a/", "--json").json["scores"]] == [
        item.path for item in scores
    ]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.wav", b"RIFF\x24\0\0\0WAVE", "a.wav is there already and is a WAV recording of 12 bytes"),
        ("k.tsv", b"filename\tcm-label\na\tspoof\n", "k.tsv is there already and is a text"),
        ("none/s.tsv", None, "none is no folder"),
        (".", None, "is a folder; a score file is a file"),
        ("a\tb", None, "control character in its name"),
    ],
)
def test_the_place_of_a_score_file_is_looked_at_before_anything_is_scored(
    run, api, tmp_path, name, content, says
):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    ran = run("score", "a/", "--out", tmp_path / name)
    assert (ran.status, ran.out, api.calls) == (1, "", [])
    assert says in " ".join(ran.err.split())
    if content is not None:
        assert (tmp_path / name).read_bytes() == content


def test_evaluate_data(run, api):
    ran = run("evaluate", "data/", "--split", "test", "--ties", "step")
    assert (ran.status, api.last("evaluate")["split"], api.last("evaluate")["ties"]) == (0, "test", "step")
    assert "5.00 %" in ran.out
    assert "not measured" in ran.out
    assert max(len(line) for line in ran.out.splitlines()) <= 80
    assert set(run("evaluate", "data/", "--json").json) >= {"overall", "by_attack"}


def test_attacks_in_conditions_fill_as_many_tables_as_80_columns_ask_for(run, api):
    ran = run("evaluate", "data/")
    lines = ran.out.splitlines()
    assert sum("EER in % by attack and condition" in line for line in lines) == 1
    assert "The same, further conditions" in ran.out
    assert max(map(len, lines)) <= 80 and "…" not in ran.out
    heads = " ".join(line for line in lines if line.split()[:1] == ["attack"])
    assert all(name in heads for name in api.answers["evaluate"].by_condition)
    assert ran.out.count("no bona fide") == 1


def test_refused_bona_fide_speech_has_a_row_per_condition(run, api):
    ran = run("evaluate", "data/")
    after = ran.out.split("Bona fide speech refused at the threshold of +0.30")[1].splitlines()
    assert next(line for line in after if line.split()[:1] == ["g722"]).split()[1:3] == ["50.0", "%"]
    assert next(line for line in after if line.split()[:1] == ["all"]).split()[1:3] == ["25.0", "%"]


def test_the_tables_show_the_conditions_with_the_most_recordings(run, api):
    report = api.answers["evaluate"]
    rates = report.by_condition["g722"]
    many = {f"c{at:02}": replace(rates, spoof=at + 1) for at in range(30)}
    api.answers["evaluate"] = replace(report, by_condition=many, by_attack_and_condition={})
    told = run("evaluate", "data/").out
    assert "c06" in told and "c05" not in told
    assert "6 further conditions" in told


def test_a_threshold_is_for_score_files(run, files):
    ran = run("evaluate", "--scores", files[0], "--key", files[1], "--threshold", "1.5", "--json")
    assert ran.json["bona_fide_refused"]["overall"]["rate"] == 0.5
    without = run("evaluate", "--scores", files[0], "--key", files[1], "--json")
    assert without.json["bona_fide_refused"] is None
    for wrong in (
        ["data/", "--threshold", "1"],
        ["--scores", files[0], "--key", files[1], "--threshold", "nan"],
    ):
        assert (run("evaluate", *wrong).status, "--threshold" in run("evaluate", *wrong).err) == (2, True)


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
    assert (ran.status, ran.err.startswith("note: too few for an interval")) == (0, True)
    assert "too few" in ran.out
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


def test_a_part_of_a_score_file_cannot_be_asked_for(run, files):
    ran = run("evaluate", "--scores", files[0], "--key", files[1], "--split", "test")
    assert (ran.status, ran.out) == (2, "")
    assert "--split divides DATA" in ran.err


def test_a_name_of_two_lines_is_one_row(run, api):
    name = "a\nfake.wav 3.0 +9.99 bona fide"
    api.answers["score"] = replace(
        api.answers["score"], scores=(RecordingScore(name, -1.0, 1.0),), failed=(Failed(name, "x"),)
    )
    lines = run("score", "a/").out.splitlines()
    assert not any(line.strip().startswith("fake") for line in lines)
    assert sum(r"a\nfake" in line for line in lines) == 2


def test_analyze_has_a_row_for_bona_fide_speech(run, api):
    ran = run("analyze", "data/")
    assert ran.status == 0
    assert any(line.strip().startswith("bonafide") and "50 %" in line for line in ran.out.splitlines())
    assert any(line.strip().startswith("world") and "85 %" in line for line in ran.out.splitlines())
    found = run("analyze", "--json").json
    assert (found["blocks"], found["experts"]) == (2, ["world", "codec_x"])
    assert found["usage_by_block"]["world"] == [[0.8, 0.2], [0.9, 0.1]]
    assert api.last("analyze")["arguments"] == (None,)


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_scores_are_written_in_the_format_of_the_suffix(run, api, tmp_path, suffix):
    out = tmp_path / f"scores.{suffix}"
    assert run("score", "a/", "--out", out, "--allow-failures").status == 0
    assert read_table(out).filenames == ("a/one.wav", "a/two.flac")
    assert api.last("score")["journal"] == tmp_path / f".scores.{suffix}.partial"


def test_scores_are_named_as_the_key_has_them(run, api, tmp_path):
    (tmp_path / "key.txt").write_text(
        "LA_1 one - A07 spoof\nLA_1 two - - bonafide\nLA_1 three - - bonafide\n"
    )
    ran = run("score", "a/", "--out", tmp_path / "s.tsv", "--key", tmp_path / "key.txt", "--allow-failures")
    assert ran.status == 0
    assert read_scores(tmp_path / "s.tsv").filenames == ("one", "two")
    (tmp_path / "key.txt").write_text("LA_1 one - A07 spoof\n")
    ran = run("score", "a/", "--out", tmp_path / "s.tsv", "--key", tmp_path / "key.txt", "--allow-failures")
    assert read_scores(tmp_path / "s.tsv").filenames == ("one", "a/two.flac")
    assert "named as they are: 1 (a/two.flac)" in ran.err


@pytest.mark.parametrize(
    "options",
    [
        ["--resume"],
        ["--key", "k"],
        ["--prior", "1"],
        ["--prior", "nan"],
        ["--error", "0"],
        ["--error", "0.7"],
    ],
)
def test_options_of_score_that_mean_nothing_are_wrong_usage(run, api, options):
    assert run("score", "a/", *options).status == 2


def test_a_broken_key_is_told_before_any_scoring(run, api, tmp_path):
    (tmp_path / "k.txt").write_text("what is this\n")
    ran = run("score", "a/", "--out", tmp_path / "s.tsv", "--key", tmp_path / "k.txt")
    assert ran.status == 1 and "k.txt" in ran.err
    assert "score" not in [name for name, _ in api.calls]


def test_the_table_tells_what_is_decided_and_how(run, api):
    rule = DecisionRule(-0.5, 0.9, 0.2)
    names = {"bona_fide": 3.0, "spoof": -4.0, "cannot_tell": -0.4}
    scores = tuple(
        RecordingScore(
            f"{name}.wav", score, 2.0, None, (), name, rule.probability(score), {"x": 0.2, "y": 0.8}
        )
        for name, score in names.items()
    )
    report = ScoreReport(scores, threshold=-0.5, rule=rule)
    api.answers["score"] = report
    told = run("score", "a/").out
    assert (
        "y 80 %" in told
        and "prior of 90 %" in told
        and "within 1.39 of it, where more than 20 %" in " ".join(told.split())
    )
    for name in names:
        (line,) = [line for line in told.splitlines() if f"{name}.wav" in line]
        assert name.replace("_", " ") in line.replace(f"{name}.wav", "")
    assert max(map(len, told.splitlines())) <= 80
    assert run("score", "a/", "--decide").status == 0
    assert api.last("score")["error"] is None
    found = run("score", "a/", "--json").json
    assert (found["prior"], found["most_error"], found["scores"][2]["decision"]) == (0.9, 0.2, "cannot_tell")


def test_analyze_of_one_recording_shows_it_over_time(run, api, tmp_path):
    from molex_adapt.findings import Moment, Stretch, Timeline

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


def test_analyze_compares_two_generations(run, api, tmp_path):
    from molex_adapt.findings import Handover, Handovers

    row = Handover(
        "opus", {"new": 0.4}, {"old_one": 0.3, "other": 0.1}, (0.2, 0.05), (-0.2, -0.1), (1.0, -2.0)
    )
    api.answers["compare"] = Handovers(4, 5, ["new"], [], [row])
    ran = run("analyze", "data/", "--compare", 4)
    assert ran.status == 0 and api.last("compare")["arguments"] == (4, Path("data"))
    assert "20.0 → 5.0  -15.0 (-20.0 -10.0)" in ran.out and "old_one 30" in ran.out
    assert run("analyze", "--compare", 4, "--json").json["attacks"][0]["took"] == 0.4
    assert run("analyze", "data/", "--compare", 4, "--out", tmp_path / "out").status == 2
    assert run("analyze", "data/", "--compare", 0).status == 2


def test_analyze_of_a_folder_without_labels_says_what_is_new(run, api, tmp_path):
    from molex_adapt.findings import LeftOut, NovelGroup, Novelty, Unlike

    api.answers["novelty"] = Novelty(
        40, 9, 0.05, 0.001, [Unlike("a/very/long/path/" * 6 + "x.wav", 0.01, 8.5, "neural_vocoder")],
        [NovelGroup(9, 1.0, "bonafide", "codec_x", 0.7)], [LeftOut("world", 0.93, (0.87, 0.99), 32)], 0.93, 384,
        "9 of 40 recordings (22 %) are unlike anything known", 5,
    )  # fmt: skip
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "a.wav").write_bytes(b"RIFF")
    ran = run("analyze", tmp_path / "new")
    assert ran.status == 0 and max(len(line) for line in ran.out.splitlines()) <= 80
    for text in ("9 of 40 recordings", "neural_vocoder", "0.93 (0.87–0.99)", "100 %"):
        assert text in ran.out
    assert run("analyze", tmp_path / "new", "--json").json["novelty"]["auroc"] == 0.93
    assert run("analyze", tmp_path / "new", "--out", tmp_path / "out").status == 2
