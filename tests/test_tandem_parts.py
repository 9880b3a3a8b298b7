"""Figures beside speaker verification by attack and condition, against their formulas written out."""

from __future__ import annotations

import numpy as np
import pytest

from molex_adapt import metrics
from molex_adapt.errors import DataError
from molex_adapt.evaluation import evaluate_scores
from molex_adapt.scorefile import Joined
from molex_adapt.trialfile import Trials, read_trials
from tests.test_tandem import by_one, trial_sets

KINDS = np.array(["target", "nontarget", "spoof"])


def rates(scores, at):
    return np.mean(np.asarray(scores) >= at)


def a_dcf(target, nontarget, spoof):
    """Of every threshold, with the costs of the ASVspoof 5 package."""
    found = [
        (0.9 * (1 - rates(target, at)) + 0.5 * rates(nontarget, at) + 1.0 * rates(spoof, at)) / 0.9
        for at in [*target, *nontarget, *spoof, np.inf]
    ]
    return min(found)


def t_dcf(real, fake, target, nontarget, spoof, formula):
    """Of every threshold, ASV at the threshold of its own equal error rate; Kinnunen et al. 2018 and 2020."""
    every = sorted([*target, *nontarget])
    gaps = [abs(np.mean(target <= at) - np.mean(nontarget > at)) for at in every]
    at = every[int(np.argmin(gaps))]
    miss_asv, accepted, fooled = 1 - rates(target, at), rates(nontarget, at), rates(spoof, at)
    alone = 0.9405 * miss_asv + 0.095 * accepted
    first, second, third = (alone if formula == "2021" else 0.0), 0.9405 - alone, 0.5 * fooled
    costs = [
        first + second * (1 - rates(real, at)) + third * rates(fake, at) for at in [*real, *fake, np.inf]
    ]
    return min(costs) / (first + min(second, third))


def t_eer(real, fake, target, nontarget, spoof):
    """Of every pair of thresholds; Kinnunen et al. 2023. For each of ASV's the best of the countermeasure's."""
    cm = [(np.mean(real <= at), np.mean(fake > at)) for at in [-np.inf, *sorted([*real, *fake])]]
    best = (np.inf, np.nan)
    for at in [-np.inf, *sorted([*target, *nontarget, *spoof])]:
        missed, others, fooled = np.mean(target <= at), np.mean(nontarget > at), np.mean(spoof > at)
        if missed >= others or not fooled:
            continue
        gaps = [abs(miss + (1 - miss) * missed - (1 - miss) * others) for miss, _ in cm]
        miss, accepted = cm[int(np.argmin(gaps))]
        best = min(best, (abs(others / fooled - accepted / (1 - miss)), fooled * accepted))
    return best[1]


@pytest.fixture(scope="module")
def data():
    """36 recordings of two attacks in two conditions; a target and a nontarget trial of every bona fide one."""
    rng = np.random.default_rng(4)
    real = np.arange(36) < 18
    attacks = ["" if own else ("A01", "A02")[at % 2] for at, own in enumerate(real)]
    conditions = [("opus", "none")[at // 2 % 2] for at in range(36)]
    names = tuple(f"r{at}" for at in range(36))
    scores = rng.normal(np.where(real, 1, -0.5), 1.2)
    joined = Joined(names, scores, real, {"attack": tuple(attacks), "condition": tuple(conditions)})
    at = np.array([*range(18), *range(36)])
    kinds = np.array(["nontarget"] * 18 + ["target"] * 18 + ["spoof"] * 18)
    asv = rng.normal(np.select([kinds == "target", kinds == "spoof"], [2.0, 1.2], -1.5), 1)
    return joined, kinds, asv, asv + scores[at], at


def chosen(data, attack, condition):
    """Countermeasure's scores, and ASV's and SASV's by kind, of one part."""
    joined, kinds, asv, sasv, at = data
    attacks, conditions = (np.array(joined.columns[name]) for name in ("attack", "condition"))
    part = (joined.is_bona_fide | (attack is None) | (attacks == attack)) & (
        (condition is None) | (conditions == condition)
    )
    classes = [joined.scores[part & (joined.is_bona_fide == own)] for own in (True, False)]
    return classes, *([own[part[at] & (kinds == kind)] for kind in KINDS] for own in (asv, sasv))


@pytest.mark.parametrize("by_trial", [False, True])
def test_parts_are_measured_by_the_formulas(data, by_trial):
    joined, kinds, asv, sasv, at = data
    trials = Trials(kinds, asv, sasv, tuple(joined.filenames[row] for row in at), by_trial=by_trial)
    found = evaluate_scores(joined, bootstrap=3, trials=trials).tandem
    for attack in ("A01", "A02", None):
        for condition in ("none", "opus", None):
            (real, fake), own, both = chosen(data, attack, condition)
            if by_trial:
                real = np.repeat(real, 2)  # a target and a nontarget trial of each
            told = found.cell(attack, condition)
            assert told.counts() == dict(zip(KINDS, map(len, own), strict=True))
            assert told.a_dcf == pytest.approx(a_dcf(*both), abs=1e-12)
            assert told.t_dcf_2019 == pytest.approx(t_dcf(real, fake, *own, "2019"), abs=1e-12)
            assert told.t_dcf_2021 == pytest.approx(t_dcf(real, fake, *own, "2021"), abs=1e-12)
            if not by_trial:  # equal scores count one by one
                assert told.t_eer == pytest.approx(t_eer(real, fake, *own), abs=1e-12)
            assert told.t_eer == metrics.t_eer(real, fake, *own)


def test_json_has_the_parts_and_a_pivot_with_all_together(data):
    joined, kinds, asv, _, at = data
    trials = Trials(kinds, asv, None, tuple(joined.filenames[row] for row in at))
    told = evaluate_scores(joined, bootstrap=3, trials=trials).as_dict()["tandem"]
    pivot = told["pivot"]
    assert (pivot["attacks"], pivot["conditions"]) == (["A01", "A02", None], ["none", "opus", None])
    assert pivot["t_eer"][2][2] == told["t_eer"]
    assert pivot["t_dcf_2021"][2][2] == told["t_dcf_2021"]["value"]
    assert pivot["t_dcf_2019"][0][1] == told["by_attack_and_condition"]["A01"]["opus"]["t_dcf_2019"]
    assert pivot["t_eer"][1][2] == told["by_attack"]["A02"]["t_eer"]
    assert pivot["target"][2][0] == told["by_condition"]["none"]["trials"]["target"]
    assert pivot["a_dcf"] == [[None] * 3] * 3
    low, high = told["t_eer_ci"]
    assert 0 <= low <= told["t_eer"] <= high


def test_trials_without_names_have_the_attack_of_their_lines_and_no_condition(data, tmp_path):
    joined, kinds, asv, _, at = data
    words = [joined.columns["attack"][row] or "bonafide" for row in at]
    path = tmp_path / "asv.txt"
    lines = zip(words, kinds, asv, strict=True)
    path.write_text("".join(f"{word} {kind} {score}\n" for word, kind, score in lines))
    report = evaluate_scores(joined, bootstrap=3, trials=read_trials(path))
    found = report.tandem
    for attack in ("A01", "A02"):
        (real, fake), own, _ = chosen(data, attack, None)
        assert found.cell(attack, None).t_dcf_2021 == pytest.approx(
            t_dcf(real, fake, *own, "2021"), abs=1e-12
        )
    assert (found.parts.by_condition, found.parts.by_attack_and_condition) == ({}, {})
    assert any("do not name recordings" in remark for remark in report.remarks)


@pytest.mark.parametrize("by_trial", [False, True])
def test_a_part_without_a_kind_of_trial_is_not_measured_but_named(data, by_trial):
    joined, kinds, asv, _, at = data
    names = [joined.filenames[row] for row in at]
    kept = np.array([joined.columns["attack"][row] != "A02" for row in at])
    trials = Trials(kinds[kept], asv[kept], None, tuple(np.array(names)[kept].tolist()), by_trial)
    report = evaluate_scores(joined, bootstrap=3, trials=trials)
    assert report.tandem.cell("A02", None) is None
    assert report.tandem.cell("A01", None) is not None
    assert report.as_dict()["tandem"]["pivot"]["t_eer"][1] == [None] * 3
    assert report.remarks[-1].endswith("these lack a class or a kind of trial: A02")


def test_the_interval_of_the_t_eer_is_that_of_sources_drawn_with_all_their_scores():
    sets = trial_sets(4, 1)
    sizes = [scores.size for scores in sets]
    # A source: two of each set; the last ones of the larger sets are of sources that lack the others.
    ids = [[str(at // 2) for at in range(size)] for size in sizes]
    sources = sorted({name for own in ids for name in own}, key=int)
    within = {name: tuple(name in own for own in ids) for name in sources}
    strata = [
        np.array([int(name) for name in sources if within[name] == kind])
        for kind in sorted(set(within.values()), key=lambda kind: kind[::-1])
    ]
    drawn = [
        metrics.t_eer(
            *(
                np.repeat(own, [row[int(name)] for name in names])
                for own, names in zip(sets, ids, strict=True)
            )
        )
        for row in by_one(strata, len(sources), 7)
    ]
    settings = {"bootstrap": 60, "seed": 7}
    groups, trial_groups = (ids[0], ids[1]), (ids[2], ids[3], ids[4])
    found = metrics.t_eer_interval(*sets, **settings, groups=groups, trial_groups=trial_groups)
    assert found == pytest.approx(np.quantile(drawn, [0.025, 0.975]))
    assert found != metrics.t_eer_interval(*sets, **settings)
    with pytest.raises(DataError, match="Expected one id per score"):
        metrics.t_eer_interval(*sets, groups=groups, trial_groups=(ids[2], ids[3], ids[3]))
