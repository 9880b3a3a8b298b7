"""The analysis on 80 columns, with names that are whole and pages where there are many experts."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.cells import cell_len
from rich.console import Console, Group

from molex_adapt.cli.analysis_view import analysis_view
from molex_adapt.cli.paged import whole_words
from molex_adapt.cli.terminal import terminal
from tests.analysis.reports import analysed


def lines(report) -> list[str]:
    file = io.StringIO()
    Console(file=file, width=80).print(Group(*analysis_view(report)), crop=False)
    return file.getvalue().splitlines()


@pytest.mark.parametrize(("experts", "attacks"), [(2, 2), (6, 9), (64, 20)])
def test_every_figure_is_there_on_80_columns(experts, attacks):
    report = analysed(experts, attacks)
    shown = lines(report)
    assert max(map(len, shown)) <= 80
    text = "\n".join(shown)
    # A share stands in its row on one of the pages: each expert has one column in each kind of table.
    rows = [line for line in shown if line.strip().startswith("attack_00")]
    assert sum(line.count(" %") for line in rows) >= 2 * experts
    words = {part for name in report.experts for part in name.split("_")}
    assert words <= set(text.replace("_", " ").split())
    assert report.findings.verdicts[0].sentence.split(":")[0] in text


def test_what_the_frozen_base_keeps_has_a_column_where_it_is_anything():
    report = analysed(2, 2, tested=False)
    assert report.frozen_base == {} and not any("no expert" in line for line in lines(report))
    first, second = report.attacks[:2]
    usage = {name: dict.fromkeys(report.experts, 0.5) for name in report.attacks}
    usage[first] = dict.fromkeys(report.experts, 0.11)
    shared = replace(report, usage=usage)
    assert shared.frozen_base[first] == pytest.approx(0.78) and shared.frozen_base[second] == 0.0
    shown = [line for line in lines(shared) if line.strip().startswith(first)]
    assert "78 %" in shown[0]
    header = next(line for line in lines(shared) if "no" in line.split())
    assert header.split().index("no") < header.split().index("n")


def test_names_break_between_words_only():
    assert whole_words("neural_vocoder") == "neural_vocoder"
    assert whole_words("neural_vocoder", 8) == "neural_\nvocoder"
    assert whole_words("one-two.three four", 7) == "one-\ntwo.\nthree \nfour"
    assert whole_words("synthesiser", 4) == "synthesiser"
    assert whole_words("x" * 30, 8) == "x" * 16 + "\n" + "x" * 14
    assert whole_words("声码器攻击一号二号三号四") == "声码器攻击一号二\n号三号四"
    assert whole_words("\u202evil\nrow") == "\\u202evil\\nrow"
    assert whole_words("", 8) == ""


def test_what_was_not_tested_takes_no_room():
    plain = lines(analysed(2, 2, tested=False))
    assert not any("EER" in line or "p =" in line for line in plain)
    assert any("attack_00" in line for line in plain)


def test_what_matters_is_told_in_sentences():
    report = analysed(3, 4)
    shown = " ".join(" ".join(lines(report)).split())
    for item in report.findings.verdicts:
        assert item.sentence in shown
    probe = report.findings.probe
    assert f"{100 * probe.accuracy:.0f} % right" in shown and f"p = {probe.p:.3f}" in shown
    assert "control: null and bonafide" in shown


def test_of_many_controls_those_told_apart_are_listed():
    report = analysed(3, 4)
    (control,) = report.findings.controls[:1]
    many = [replace(control, one=f"bonafide, c{at}", distance=at / 100, p_corrected=0.9) for at in range(60)]
    many[5] = replace(many[5], p=0.02, p_corrected=0.3)
    many[7] = replace(many[7], p=0.001, p_corrected=0.01)
    many[9] = replace(many[9], p=0.001, p_corrected=0.04)
    shown = " ".join(
        " ".join(lines(replace(report, findings=replace(report.findings, controls=many)))).split()
    )
    assert "Controls told apart: 2 of 60 (p < 0.05, corrected)" in shown
    assert "control: bonafide, c7 and bonafide, distance 0.07, p = 0.010 control: bonafide, c9 and" in shown
    assert shown.count("control:") == 2
    all_apart = [replace(item, p_corrected=0.01) for item in many]
    shown = " ".join(
        " ".join(lines(replace(report, findings=replace(report.findings, controls=all_apart)))).split()
    )
    assert shown.count("control:") == 8
    assert "and 52 more; see --json" in shown


def test_scores_are_not_called_eers():
    report = analysed(2, 2)
    unrated = [replace(item, eer_change=None, eer_ci=None) for item in report.findings.ablation]
    found = replace(report.findings, ablation=unrated, errors={}, verdicts=[], without_witness=[])
    text = "\n".join(lines(replace(report, findings=found)))
    assert "Without an expert: change of the mean score in nats" in text and "EER" not in text
    assert "change of the EER in points (bonafide: of the score)" in "\n".join(lines(report))


def test_figures_of_few_recordings_have_no_interval():
    report = analysed(2, 2, each=6)
    text = "\n".join(lines(report))
    assert " (too few)" in text and "–" not in text
    assert "10 of each are needed" in " ".join(text.split())


def test_what_no_attack_needs_is_said_of_those_that_were_measured():
    report = analysed(3, 2)
    assert report.findings.health.unneeded == ["expert_02"]
    assert "Experts that no attack measured here needs: expert_02" in " ".join(
        " ".join(lines(report)).split()
    )


def test_every_p_value_is_the_corrected_one():
    report = analysed(3, 4)
    found = report.findings
    tests = {
        name: [replace(item, p=0.0412, p_corrected=0.0824) for item in getattr(found, name)]
        for name in ("distances", "controls", "within")
    }
    shown = "\n".join(lines(replace(report, findings=replace(found, **tests))))
    assert "p = 0.041" not in shown and "Routed apart: 0 of 15 pairs (p < 0.05, corrected)" in shown
    assert all(f"{word}: " in shown for word in ("not apart", "control"))
    assert shown.count("p = 0.082") >= 10


def test_what_is_certain_of_an_expert_has_a_star_and_not_colour_alone():
    report = analysed(2, 2)
    shown = lines(report)
    row = next(line for line in shown if line.split()[:1] == ["attack_00"] and "*" in line)
    assert row.split()[1].endswith("*") and not row.split()[2].endswith("*")
    assert any(line.startswith("* certain among all attacks and experts") for line in shown)
    chance = [replace(item, eer_ci_together=(-1.0, 1.0)) for item in report.findings.ablation]
    shown = lines(replace(report, findings=replace(report.findings, ablation=chance)))
    assert not any("*" in line for line in shown)


def test_draws_are_not_called_recordings():
    report = analysed(2, 2, tested=False)
    counts = report.utterances | {"attack_00": 0}
    shown = lines(replace(report, utterances=counts, drawn={"attack_00": 64, "bonafide": 64}))
    ends = {line.split()[0]: line.split("%")[-1].strip() for line in shown if "%" in line}
    assert (ends["attack_00"], ends["attack_01"], ends["bonafide"]) == ("64 drawn", "12", "12 + 64 drawn")


LONG = {
    "attack_00": "supercalifragilisticexpialidocious_ONE",
    "attack_01": "supercalifragilisticexpialidocious_TWO",
    "null": "声码器攻击一号二号三号四号五号六",
}


def renamed(report):
    """The same with attacks whose names are hard to lay out."""

    def names(rows):
        return {LONG.get(name, name): row for name, row in rows.items()}

    found = report.findings
    findings = replace(
        found,
        errors=names(found.errors),
        ablation=[replace(item, attack=LONG.get(item.attack, item.attack)) for item in found.ablation],
        **{name: names(getattr(found, name)) for name in ("moved", "moved_by_readout")},
    )
    rows = {name: names(getattr(report, name)) for name in ("usage", "utterances")}
    return replace(
        report, attacks=[LONG.get(name, name) for name in report.attacks], findings=findings, **rows
    )


@pytest.mark.parametrize("width", [80, 40])
def test_no_name_and_no_figure_is_cut_off(width):
    report = renamed(analysed(6, 3))
    file = io.StringIO()
    Console(file=file, width=width).print(Group(*analysis_view(report)), crop=False)
    text = file.getvalue()
    assert "…" not in text and max(map(cell_len, text.splitlines())) <= width
    assert "ONE" in text and "TWO" in text and "号六" in text
    if width == 80:
        for item in report.findings.errors.values():
            low, high = item.eer_ci
            assert f" {100 * item.eer:.1f} ({100 * low:.1f}–{100 * high:.1f}) " in text


def test_what_a_block_cannot_show_is_a_dash():
    report = analysed(2, 2)
    bare = [
        replace(item, information_bits=None, distance=None, busiest=None) for item in report.findings.depth
    ]
    shown = lines(replace(report, findings=replace(report.findings, depth=bare)))
    assert [line.split()[1:3] + line.split()[4:5] for line in shown if line.split()[:1] == ["1"]] == [
        ["-", "-", "-"]
    ]


def test_a_sentence_is_broken_by_what_is_shown_of_a_name():
    report = analysed(2, 2)
    hidden = [replace(item, sentence="\u202e" * 30 + item.sentence) for item in report.findings.verdicts]
    told = replace(report, findings=replace(report.findings, verdicts=hidden))
    file = io.StringIO()
    terminal(file=file, width=80).print(Group(*analysis_view(told)), crop=False)
    assert max(map(cell_len, file.getvalue().splitlines())) <= 80
