from __future__ import annotations

import pytest

from molex_adapt.reports import Gain
from tests.demo.reports import analysed, compared

SHARES = analysed(
    novel={"old": 0.3, "novel": 0.7}, old={"old": 0.8, "novel": 0.2}, bona_fide={"old": 0.5, "novel": 0.5}
)
KNOWN, UNHEARD = "known voices", "june, never heard"


def verdict_of(
    report_of,
    novel=(0.24, 0.01),
    old=(0.004, 0.006),
    unheard=None,
    refused=None,
    spread=0.01,
    old_unheard=None,
):
    voices = {KNOWN: compared("novel", spread, novel=novel, old=old, null=(0.5, 0.6))}
    if unheard is not None:
        voices[UNHEARD] = compared(
            "novel", 0.06 if old_unheard else spread, novel=unheard, old=old_unheard or old
        )
    return report_of(voices, SHARES, refused=refused).verdict


@pytest.mark.parametrize(
    ("figures", "caught", "said"),
    [
        (
            {"novel": (0.24, 0.01)},
            "yes",
            "It catches novel now: the EER went from 24.0 to 1.0 % for known voices.",
        ),
        (
            {"novel": (0.24, 0.01), "unheard": (0.3, 0.04)},
            "yes",
            "and 30.0 to 4.0 % for june, never heard. What the threshold accepts of it went from ",
        ),
        ({"novel": (0.24, 0.01), "unheard": (0.3, 0.12)}, "partly", "It catches novel only in part: "),
        ({"novel": (0.24, 0.12)}, "partly", "It catches novel only in part: "),
        (
            {"novel": (0.24, 0.23), "spread": 0.02},
            "no",
            "It does not catch novel: the EER went from 24.0 to 23.0 %",
        ),
        ({"novel": (0.24, 0.31)}, "no", "It does not catch novel"),
        ({"novel": (0.03, 0.01)}, "before already", "It caught novel before already"),
        (
            {"novel": (0.2, 0.05), "spread": 0.155},
            "cannot tell",
            "Whether it catches novel now cannot be told from so few recordings: the EER went from 20.0 to 5.0 %",
        ),
        (
            {"novel": (0.1, 0.0), "unheard": (0.04, 0.02)},
            "yes",
            "It catches novel now: the EER went from 10.0 to 0.0 % for known voices and 4.0 to 2.0 % for june",
        ),
        (
            {"novel": (0.24, 0.24), "refused": ["old: EER rose by 9.0 points"]},
            "no",
            "It does not catch novel: the new expert was refused (old: EER rose by 9.0 points)",
        ),
    ],
)
def test_is_the_new_attack_caught(report_of, figures, caught, said):
    found = verdict_of(report_of, **figures)
    assert found.caught == caught
    assert said in found.sentences[0]


@pytest.mark.parametrize(
    ("figures", "forgot", "said"),
    [
        (
            {},
            "no",
            "It forgot none of the 1 old attacks: the EER changed at worst by +0.2 points (old, -0.8 to +1.2)",
        ),
        (
            {"old": (0.01, 0.06)},
            "yes",
            "It forgot something: the EER changed at worst by +5.0 points (old, +4.0 to ",
        ),
        ({"old": (0.01, 0.03)}, "a little", "It forgot a little, no more than the 3 points it may"),
        (
            {"old": (0.01, 0.03), "spread": 0.015},
            "cannot tell",
            "It forgot something; whether more than the 3 points it may cannot be told from so few recordings",
        ),
        ({"old": (0.01, 0.03), "spread": 0.05}, "cannot tell", "cannot be told from so few recordings"),
        ({"old": (0.01, 0.06), "spread": 0.06}, "cannot tell", "cannot be told from so few recordings"),
        (
            {"unheard": (0.3, 0.04), "old_unheard": (0.01, 0.06)},
            "cannot tell",
            "+5.0 points (old, -1.0 to +11.0) for j",
        ),
        (
            {"unheard": (0.3, 0.04), "old_unheard": (0.01, 0.02)},
            "no",
            "+1.0 points (old, -5.0 to +7.0) for june",
        ),
    ],
)
def test_is_anything_forgotten(report_of, figures, forgot, said):
    found = verdict_of(report_of, **figures)
    assert found.forgot == forgot
    assert said in found.sentences[1]
    assert "What it refuses of real speech went from 1.2 to 11.2 % for known voices" in found.sentences[1]


def test_voices_without_the_new_attack_say_nothing_of_real_speech(report_of):
    voices = {KNOWN: compared("novel", novel=(0.24, 0.01), old=(0.0, 0.0))}
    voices[UNHEARD] = compared("novel", old=(0.0, 0.0))
    found = report_of(voices, SHARES).verdict.sentences[1]
    assert "went from 1.2 to 11.2 % for known voices, at" in found


def test_no_error_among_few_recordings_is_no_proof(report_of):
    voices = compared("novel", 0.0, novel=(0.24, 0.01), old=(0.0, 0.0))
    assert report_of({KNOWN: voices}, SHARES).verdict.forgot == "no"
    few = {name: type(item)(**{**item.as_dict(), "spoof": 60}) for name, item in voices.after.items()}
    voices.after.update(few)
    assert report_of({KNOWN: voices}, SHARES).verdict.forgot == "cannot tell"


def test_the_control_is_no_old_attack(report_of):
    voices = {KNOWN: compared("novel", novel=(0.24, 0.01), null=(0.5, 0.6))}
    found = report_of(voices, SHARES).verdict
    assert found.forgot == "cannot tell"
    assert "no old domain could be measured" in found.sentences[1]


@pytest.mark.parametrize(
    ("novel", "elsewhere", "said"),
    [
        (
            0.7,
            0.2,
            "On novel the new expert does most of the work, more than on the other attacks (20 %): novel 70 %",
        ),
        (
            0.2,
            0.22,
            "the new expert does least of the work, about as on the other attacks (22 %): old 80 %, novel 20",
        ),
        (0.6, 0.8, "the new expert does most of the work, less than on the other attacks (80 %)"),
    ],
)
def test_who_does_the_work(report_of, novel, elsewhere, said):
    shares = analysed(
        novel={"old": 1 - novel, "novel": novel},
        old={"old": 1 - elsewhere, "novel": elsewhere},
        null={"old": 1.0, "novel": 0.0},
    )
    voices = {KNOWN: compared("novel", novel=(0.24, 0.01), old=(0.0, 0.0))}
    assert said in report_of(voices, shares).verdict.sentences[2]


def test_without_a_new_expert_the_old_ones_are_named(report_of):
    voices = {KNOWN: compared("novel", novel=(0.24, 0.24), old=(0.0, 0.0))}
    shares = analysed(novel={"one": 0.4, "two": 0.6})
    found = report_of(voices, shares, refused=["because"]).verdict
    assert found.sentences[2] == "On novel the old experts do the work: two 60 %, one 40 %."


def test_an_expert_that_was_withdrawn_is_not_said_to_work(report_of):
    voices = {KNOWN: compared("novel", novel=(0.24, 0.01), old=(0.0, 0.0))}
    shares = analysed(novel={"old": 1.0, "novel": 0.0}, old={"old": 1.0, "novel": 0.0})
    harmful = Gain(0.04, 0.01, 8, "voices", (0.13, 0.12))
    said = report_of(voices, shares, withdrawn=True, gain=harmful).verdict.sentences[2]
    assert "would do harm elsewhere and is withdrawn" in said
    said = report_of(voices, shares, withdrawn=True).verdict.sentences[2]
    assert "would not help and is withdrawn, its gates closed; what the readout learnt of novel stays" in said
    assert said.endswith("old 100 %, novel 0 %.")


def test_a_detector_that_stayed_as_it_was_forgot_nothing(report_of):
    found = verdict_of(report_of, novel=(0.24, 0.24), old=(0.0, 0.0), refused=["old: EER rose"], spread=0.0)
    assert found.forgot == "no" and found.sentences[1].startswith(
        "It forgot nothing: the new generation was refused"
    )
