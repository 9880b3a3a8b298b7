from __future__ import annotations

from tests.data.corpora.trees import asvspoof5, asvspoof2021_la, in_the_wild


def test_check_tells_what_was_recognised(run, tmp_path):
    ran = run("data", "check", asvspoof5(tmp_path))
    assert ran.status == 0 and max(map(len, ran.out.splitlines())) <= 80
    for said in (
        "ASVspoof 5",
        "ODC-By",
        "zenodo",
        "7 (4 bona fide, 3 spoof)",
        "A19",
        "C05",
        "Nothing is wrong",
    ):
        assert said in ran.out
    assert "disjoint by recording and by speaker (6 speakers)" in ran.err


def test_check_of_a_part_as_json(run, tmp_path):
    ran = run("data", "check", f"{asvspoof2021_la(tmp_path)}#eval", "--json")
    assert ran.status == 0
    assert (ran.json["recognised"], ran.json["recordings"], ran.json["ok"]) == ("ASVspoof 2021 LA", 3, True)
    assert ran.json["conditions"] == {
        "alaw": {"bonafide": 0, "spoof": 1},
        "none": {"bonafide": 0, "spoof": 1},
        "pstn": {"bonafide": 1, "spoof": 0},
    }


def test_faults_make_the_status_1(run, tmp_path):
    root = in_the_wild(tmp_path)
    meta = root / "release_in_the_wild/meta.csv"
    meta.write_text(meta.read_text() + "7.wav,Somebody,spoof\n8.wav,Somebody,0\n")
    ran = run("data", "check", root)
    assert ran.status == 1
    plain = " ".join(ran.out.split())
    assert "Faults: 1" in plain and "line 6" in plain and "which class a number means" in plain
    assert "Recordings that are not there: 1" in plain and "7.wav" in plain
    ran = run("data", "check", root, "--json")
    assert (
        ran.status == 1
        and ran.json["missing_named"][0]["line"] == 5
        and ran.json["faults"][0]["kind"] == "label"
    )


def test_a_list_of_nothing_makes_the_status_1(run, tmp_path):
    (tmp_path / "mine.csv").write_text("path,label,attack,speaker\n")
    ran = run("data", "check", tmp_path / "mine.csv")
    assert ran.status == 1 and "lists no recordings" in " ".join(ran.out.split())
    assert "Nothing is wrong" not in ran.out


def test_nothing_known_is_an_error(run, tmp_path):
    ran = run("data", "check", tmp_path)
    assert ran.status == 1 and "holds no data set" in ran.err


def test_corpora_are_listed(run):
    assert "MLAAD" in run("data", "corpora").out
    assert [item["name"] for item in run("data", "corpora", "--json").json["corpora"]][3] == "ASVspoof 5"


def test_parts_reach_every_command_that_takes_data(run, api, tmp_path):
    part = f"{asvspoof5(tmp_path)}#train"
    assert run("evaluate", part, "--json").status == 0
    assert str(api.last("evaluate")["arguments"][0]) == part
