from __future__ import annotations

import pytest


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


@pytest.fixture
def coded_key(files):
    """The same key with codecs: a, b, e, g and h in one, c, d and f in another."""
    heading, *rows = files[1].read_text().splitlines()
    coded = [f"{row}\t{'opus' if row[0] in 'cdf' else 'mp3'}\n" for row in rows]
    path = files[1].with_name("coded.tsv")
    path.write_text("".join([f"{heading}\tcodec\n", *coded]))
    return path


def test_evaluate_files_needs_no_model(run, files):
    ran = run("evaluate", "--scores", files[0], "--key", files[1], "--json")
    assert ran.status == 0
    assert ran.json["overall"]["eer"] == pytest.approx(0.25)
    assert ran.json["by_attack"]["A02"]["eer"] == 0.0
    assert (ran.json["overall"]["bona_fide"], ran.json["by_attack"]["A01"]["spoof"]) == (4, 2)


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


def test_a_part_of_a_score_file_cannot_be_asked_for(run, files):
    ran = run("evaluate", "--scores", files[0], "--key", files[1], "--split", "test")
    assert (ran.status, ran.out) == (2, "")
    assert "--split divides DATA" in ran.err


@pytest.mark.parametrize("option", [("--device", "cpu"), ("--precision", "bf16"), ("--workers", "2")])
def test_a_score_file_needs_no_detector(run, files, option):
    ran = run("evaluate", "--scores", files[0], "--key", files[1], *option)
    assert (ran.status, ran.out) == (2, "")
    assert "go with DATA" in ran.err


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


def test_pivots_have_a_row_and_a_column_for_all_together(run, files, coded_key):
    ran = run("evaluate", "--scores", files[0], "--key", coded_key, "--json")
    pivot = ran.json["pivot"]
    assert (pivot["attacks"], pivot["conditions"]) == (["A01", "A02", None], ["mp3", "opus", None])
    assert pivot["spoof"] == [[1, 1, 2], [2, None, 2], [3, 1, 4]]
    assert pivot["bona_fide"][2] == [2, 2, 4]
    assert pivot["eer"][2][2] == ran.json["overall"]["eer"]
    assert pivot["min_dcf"][0][2] == ran.json["by_attack"]["A01"]["min_dcf"]
    assert pivot["cllr"][1][0] == ran.json["by_attack_and_condition"]["A02"]["mp3"]["cllr"]
    lines = [
        line.split() for line in run("evaluate", "--scores", files[0], "--key", coded_key).out.splitlines()
    ]
    title = lines.index(["minDCF", "by", "attack", "and", "condition"])
    assert lines[title + 2] == ["attack", "mp3", "opus", "all"]
    costs = {row[0]: row[1:] for row in lines[title + 4 : title + 9] if row}
    assert costs["A02"] == [f"{pivot['min_dcf'][1][0]:.3f}", "-", f"{pivot['min_dcf'][1][2]:.3f}"]
    assert costs["all"] == [f"{cost:.3f}" for cost in pivot["min_dcf"][2]]
    assert costs["bona"] == ["fide", "2", "2", "4"]


def test_trials_of_speaker_verification_add_the_tandem_figures(run, files, tmp_path):
    asv = tmp_path / "asv.txt"
    rows = {"bonafide target": (3, 2, 1), "bonafide nontarget": (-1, -2, 1.5), "A01 spoof": (2, -3, 1)}
    asv.write_text("".join(f"{kind} {score}\n" for kind, scores in rows.items() for score in scores))
    ran = run("evaluate", "--scores", files[0], "--key", files[1], "--asv", asv, "--json")
    found = ran.json["tandem"]
    assert (ran.status, found["trials"], found["a_dcf"]) == (
        0,
        {"target": 3, "nontarget": 3, "spoof": 3},
        None,
    )
    assert found["t_dcf_2021"]["ci"][0] <= found["t_dcf_2021"]["value"] <= found["t_dcf_2021"]["ci"][1]
    told = run("evaluate", "--scores", files[0], "--key", files[1], "--asv", asv).out
    assert "min t-DCF (2021)" in told and max(map(len, told.splitlines())) <= 80
    wrong = run("evaluate", "--scores", files[0], "--key", files[1], "--asv-key", asv)
    assert (wrong.status, "--asv-key labels the trials of --asv" in " ".join(wrong.err.split())) == (2, True)


def test_tandem_figures_have_tables_by_attack_and_condition_in_80_columns(run, tmp_path):
    scores, key, trials = (
        ["filename\tcm-score"],
        ["filename\tcm-label\tattack\tcodec"],
        ["spk filename asv-score asv-label"],
    )
    for at in range(48):
        real = at < 16
        attack = "-" if real else f"attack_{at % 4}"
        scores.append(f"r{at}\t{(3 if real else 0) + at * 7 % 11 / 4}")
        key.append(f"r{at}\t{'bonafide' if real else 'spoof'}\t{attack}\t{('mp3', 'opus')[at // 4 % 2]}")
        kinds = {"target": 2, "nontarget": 0} if real else {"spoof": 2}
        trials += [f"s r{at} {mean + at * 5 % 13 / 4} {kind}" for kind, mean in kinds.items()]
    for name, lines in (("s.tsv", scores), ("k.tsv", key), ("asv.txt", trials)):
        (tmp_path / name).write_text("\n".join(lines) + "\n")
    given = (
        "evaluate",
        "--scores",
        tmp_path / "s.tsv",
        "--key",
        tmp_path / "k.tsv",
        "--asv",
        tmp_path / "asv.txt",
    )
    told, out = run(*given, "--json").json["tandem"], run(*given).out
    lines = [line.split() for line in out.splitlines()]
    assert max(map(len, out.splitlines())) <= 80
    at = lines.index(["Beside", "speaker", "verification,", "by", "attack"])
    row = next(line for line in lines[at:] if line[:1] == ["attack_2"])
    own = told["by_attack"]["attack_2"]
    assert row[1:] == [
        f"{own['t_dcf_2021']:.4f}",
        f"{own['t_dcf_2019']:.4f}",
        f"{100 * own['t_eer']:.2f}",
        "%",
        "16",
        "16",
        "8",
    ]
    at = lines.index(["t-EER", "in", "%", "by", "attack", "and", "condition"])
    row = next(line for line in lines[at:] if line[:1] == ["attack_2"])
    cells = told["pivot"]["t_eer"][told["pivot"]["attacks"].index("attack_2")]
    assert row[1:] == ["-" if cell is None else f"{100 * cell:.2f}" for cell in cells]
    low, high = told["t_eer_ci"]
    assert f"{100 * low:.1f}–{100 * high:.1f}" in next(
        line for line in out.splitlines() if line.startswith(" t-EER  ")
    )


def test_plots_are_written_beside_the_figures(run, files, tmp_path, monkeypatch):
    monkeypatch.setattr("molex_adapt.plots.files.save_picture", lambda *_, **__: None)  # a second each
    out = tmp_path / "plots"
    ran = run("evaluate", "--scores", files[0], "--key", files[1], "--plots", out)
    assert (ran.status, f"Plots written to {out}" in ran.out.replace("\n", "")) == (0, True)
    assert {"det.csv", "calibration.csv"} <= {item.name for item in out.iterdir()}
