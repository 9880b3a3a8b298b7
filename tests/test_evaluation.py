from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from molex_adapt.control import fault_of_control
from molex_adapt.errors import DataError
from molex_adapt.evaluation import evaluate_files, evaluate_scores
from molex_adapt.metrics import count_refusals, measure
from molex_adapt.metrics.resampling import Units
from molex_adapt.scorefile import Joined


def joined(**columns: tuple[str, ...]) -> Joined:
    scores = np.array([2.0, 1.0, 3.0, -1.0, 1.5, -2.0])
    real = np.array([True, True, True, False, False, False])
    return Joined(tuple("abcdef"), scores, real, columns)


def test_attacks_and_conditions_are_measured_apart():
    attack = ("-", "-", "", "A01", "A02", "A02")
    report = evaluate_scores(joined(attack=attack, condition=("x", "y", "y", "x", "y", "-")), bootstrap=50)
    scores = joined().scores
    assert report.overall == measure(scores[:3], scores[3:], bootstrap=50)
    assert sorted(report.by_attack) == ["A01", "A02"]
    assert (report.by_attack["A02"].bona_fide, report.by_attack["A02"].spoof) == (3, 2)
    assert sorted(report.by_condition) == ["x", "y"]
    assert (report.by_condition["y"].bona_fide, report.by_condition["y"].spoof) == (2, 1)


@pytest.mark.parametrize("heading", ["condition", "codec", "codec_q"])
def test_a_condition_without_a_class_is_not_measured_but_named(heading):
    report = evaluate_scores(joined(**{heading: ("x", "x", "x", "x", "x", "z")}), bootstrap=20)
    assert report.by_condition["z"] is None
    assert report.as_dict()["by_condition"]["z"] is None
    assert report.remarks[:-1] == ["not measured, for these conditions lack a class: z"]  # then: too few


def test_many_unmeasured_conditions_are_one_remark():
    report = evaluate_scores(many(14), bootstrap=1)
    remark, _ = report.remarks
    assert remark.endswith("c08, c09 and 4 more")


def many(conditions: int) -> Joined:
    """Two recordings beside bona fide ones of so many conditions of their own."""
    real = np.array([True] * (conditions + 1) + [False])
    names = ("-", *(f"c{at:02}" for at in range(conditions)), "-")
    return Joined(tuple(map(str, range(len(real)))), np.where(real, 1.0, 0.0), real, {"condition": names})


def test_every_attack_is_measured_in_every_condition_against_its_bona_fide_speech():
    attack = ("-", "-", "", "A01", "A02", "A02")
    report = evaluate_scores(joined(attack=attack, condition=("x", "y", "y", "x", "y", "z")), bootstrap=50)
    grid = report.by_attack_and_condition
    scores = joined().scores
    assert {name: list(row) for name, row in grid.items()} == {"A01": ["x"], "A02": ["y", "z"]}
    assert grid["A02"]["y"] == measure(scores[1:3], scores[4:5], bootstrap=50)
    assert grid["A02"]["y"].eer == 0.75 and grid["A01"]["x"].eer == 0.0
    assert grid["A02"]["z"] is None
    assert report.as_dict()["by_attack_and_condition"]["A02"]["z"] is None
    assert report.as_dict()["by_attack_and_condition"]["A02"]["y"]["spoof"] == 1


def test_bona_fide_speech_below_the_threshold_is_counted_per_condition():
    report = evaluate_scores(joined(condition=("x", "y", "y", "x", "y", "-")), bootstrap=1, threshold=2.0)
    told = report.as_dict()["bona_fide_refused"]
    assert (told["threshold"], told["overall"]["refused"], told["overall"]["bona_fide"]) == (2.0, 1, 3)
    assert told["by_condition"]["x"]["rate"] == 0.0  # its score is the threshold itself
    assert (told["by_condition"]["y"]["rate"], told["by_condition"]["y"]["bona_fide"]) == (0.5, 2)
    assert evaluate_scores(joined(), bootstrap=1).as_dict()["bona_fide_refused"] is None


@pytest.mark.parametrize(
    ("refused", "count", "low", "high"),
    [(0, 10, 0, 0.2775), (1, 10, 0.0179, 0.4042), (50, 100, 0.4038, 0.5962)],
)
def test_the_interval_of_a_share_is_wilsons(refused, count, low, high):
    found = count_refusals([-1.0] * refused + [1.0] * (count - refused), 0.0)
    assert found.ci == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))
    assert count_refusals([-1.0] * 3, 0.0).ci[1] == 1.0


@pytest.mark.parametrize(
    ("eer", "interval", "told"),
    [
        (0.5, (0.4, 0.6), False),
        (0.46, (0.455, 0.465), False),
        (0.4, (0.3, 0.5), False),
        (0.4, (0.3, 0.49), True),
    ],
)
def test_a_control_is_at_fault_where_its_interval_leaves_out_half(eer, interval, told):
    assert bool(fault_of_control(eer, interval)) is told


def test_a_control_among_attacks_is_said_to_count_in_their_figures():
    said = "together count the control null as one"
    alone = evaluate_scores(joined(attack=("-", "-", "-", "null", "null", "null")), bootstrap=1)
    among = evaluate_scores(joined(attack=("-", "-", "-", "null", "A01", "A01")), bootstrap=1)
    assert [any(said in remark for remark in report.remarks) for report in (alone, among)] == [False, True]


def test_a_control_away_from_half_is_told():
    report = evaluate_scores(joined(attack=("-", "-", "-", "null", "null", "null")), bootstrap=1)
    assert report.remarks[0].startswith(
        "the control null (bona fide speech in another condition) has an EER of 33"
    )
    even = Joined(
        tuple("abcd"),
        np.array([0.0, 1.0, 0.0, 1.0]),
        np.array([True, True, False, False]),
        {"attack": ("null",) * 4},
    )
    (few,) = evaluate_scores(even, bootstrap=1, ties="step").remarks
    assert few.startswith("too few")


def test_a_missing_class_is_an_error():
    alone = Joined(("a",), np.array([1.0]), np.array([True]), {})
    with pytest.raises(DataError):
        evaluate_scores(alone)


TIED = np.array([0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, -1.0])
REAL = np.arange(10) < 5


def tied() -> Joined:
    return Joined(
        tuple("abcdefghij"),
        TIED,
        REAL,
        {"attack": ("-",) * 5 + ("A01",) * 4 + ("A02",), "condition": ("x",) * 9 + ("-",)},
    )


def test_equal_scores_are_read_as_the_challenge_does_and_the_other_reading_stands_beside():
    report = evaluate_scores(tied(), bootstrap=20)
    assert (report.overall.eer, report.other_ties.overall) == (0.6, pytest.approx(0.4))
    assert report.by_attack["A01"].eer == 0.55
    assert report.by_attack["A02"].eer == 0.0
    assert report.other_ties.by_attack == {"A01": pytest.approx(0.425)}
    assert report.other_ties.by_condition == {"x": pytest.approx(0.425)}
    written = report.as_dict()
    assert (written["ties"], written["other_ties"]["ties"]) == ("asvspoof5", "step")
    assert written["other_ties"]["overall"] == pytest.approx(0.4)


def test_equal_scores_can_be_taken_together_with_their_interval():
    report = evaluate_scores(tied(), bootstrap=50, ties="step")
    assert report.overall == measure(TIED[REAL], TIED[~REAL], bootstrap=50, ties="step")
    assert report.other_ties.ties == "asvspoof5"
    assert report.other_ties.overall == 0.6


def test_scores_without_ties_have_one_reading():
    report = evaluate_scores(joined(attack=("-", "-", "-", "A01", "A02", "A02")), bootstrap=20)
    assert report.other_ties.overall is None
    assert report.other_ties.by_attack == {}


def pair_of(folder, bona_fide, spoof):
    """A score file and its key."""
    rows = [*((f"b{at}", "bonafide", score) for at, score in enumerate(bona_fide))]
    rows += [(f"s{at}", "spoof", score) for at, score in enumerate(spoof)]
    (folder / "s.tsv").write_text("filename\tcm-score\n" + "".join(f"{n}\t{s}\n" for n, _, s in rows))
    (folder / "k.tsv").write_text("filename\tcm-label\n" + "".join(f"{n}\t{c}\n" for n, c, _ in rows))
    return folder / "s.tsv", folder / "k.tsv"


def test_scores_upside_down_are_named_with_the_command_that_turns_them(tmp_path):
    rng = np.random.default_rng(0)
    files = pair_of(tmp_path, rng.normal(-2, 1, 40), rng.normal(2, 1, 40))
    report = evaluate_files(*files)
    (line,) = report.remarks
    assert report.overall.eer > 0.9 and line.endswith(f"--scores {files[0]} --key {files[1]} --negate")
    turned = evaluate_files(*files, negate=True)
    assert turned.overall.eer == pytest.approx(1 - report.overall.eer) and turned.remarks == []


def test_scores_that_tell_nothing_are_not_called_upside_down(tmp_path):
    rng = np.random.default_rng(1)
    assert evaluate_files(*pair_of(tmp_path, rng.normal(0, 1, 40), rng.normal(0.1, 1, 40))).remarks == []


@pytest.mark.parametrize(("count", "told"), [(1, False), (9, False), (10, True)])
def test_too_few_have_no_interval_and_the_number_needed(tmp_path, count, told):
    rng = np.random.default_rng(2)
    report = evaluate_files(*pair_of(tmp_path, rng.normal(2, 1, 12), rng.normal(-2, 1, count)))
    assert (report.as_dict()["overall"]["eer_ci"] is not None) == told
    assert [line for line in report.remarks if "10 of each class are needed: all (12 bona" in line] == (
        [] if told else report.remarks
    )


def test_all_together_are_resampled_once_for_the_eer_and_the_costs(monkeypatch):
    asked = []
    draw = Units.draw
    monkeypatch.setattr(Units, "draw", lambda *given: asked.append(given[1]) or draw(*given))
    rng = np.random.default_rng(0)
    real = np.arange(60) < 30
    many = Joined(tuple(map(str, range(60))), rng.normal(np.where(real, 1, -1)), real, {})
    assert evaluate_scores(many, bootstrap=20).intervals is not None
    assert asked == [20, 1]  # the other is of the other reading of equal scores


def test_an_attack_and_a_condition_of_one_name_are_told_apart():
    joined = tied()
    both = replace(joined, columns={"attack": ("-",) * 5 + ("x",) * 5, "condition": ("x",) * 10})
    report = evaluate_scores(both, bootstrap=20)
    (few,) = [remark for remark in report.remarks if "too few for an interval" in remark]
    assert few.count("x (5 bona fide, 5 spoof)") == 2 and "all (5 bona fide" in few
