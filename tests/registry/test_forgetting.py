from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from molex_adapt.errors import RegistryError
from molex_adapt.registry import DataRecord, ExpertRecord, GenerationRecord, OriginRecord
from molex_adapt.registry.forgetting import Course, Forgetting, forgetting

ORIGIN = OriginRecord(repository="lab/x", commit="12" * 20)
KEPT, SPLIT = 64, 300


def measured(eer: float, count: int = KEPT) -> dict[str, Any]:
    return {"eer": eer, "eer_ci": [eer / 2, eer * 1.5], "bona_fide": count, "spoof": count}


def generation(
    number: int, experts: str, metrics: dict[str, Any], parent: int | None = -1, **changes: Any
) -> GenerationRecord:
    entries = [{"name": name, "sha256": "ab" * 32} for name in experts.split()]
    content: dict[str, Any] = {
        "number": number,
        "parent": (number - 1 or None) if parent == -1 else parent,
        "experts": entries,
        "calibration": {"scale": 1.0, "offset": 0.0},
        "threshold": 0.0,
        "metrics": metrics,
        "files": {},
    }
    return GenerationRecord.model_validate(content | changes)


@pytest.fixture
def expert(make_expert) -> Callable[..., ExpertRecord]:
    """A record that keeps exemplars of its own, unless told otherwise."""

    def make(name: str, domain: str = "", **changes: Any) -> ExpertRecord:
        kept = {"exemplars_sha256": name.encode().hex().ljust(64, "0")}
        record: ExpertRecord = make_expert(name).record.model_copy(
            update={"domain": domain or name} | kept | changes
        )
        return record

    return make


@pytest.fixture
def along(expert) -> Callable[..., Forgetting]:
    """Forgetting along generations whose experts are named like their domains, but for those given."""

    def make(*chain: GenerationRecord, **others: ExpertRecord) -> Forgetting:
        names = {name for record in chain for name in record.names}
        return forgetting(chain, {name: others.get(name) or expert(name) for name in names})

    return make


def courses(found: Forgetting) -> dict[str, Course]:
    return {course.domain: course for course in found.courses}


def eers(found: Forgetting) -> dict[str, list[float | None]]:
    return {name: item.as_dict()["eer"] for name, item in courses(found).items()}


@pytest.fixture
def four(along) -> Forgetting:
    return along(
        generation(1, "a b", {"a": measured(0.01, SPLIT), "b": measured(0.04, SPLIT)}, command="train x"),
        generation(2, "a b c", {"a": measured(0.02), "b": measured(0.02), "c": measured(0.05, SPLIT)}),
        generation(
            3,
            "a b c",
            {"a": measured(0.05), "b": measured(0.01), "c": measured(0.03)},
            command="molex-adapt retrain-router --seed 1",
        ),
        generation(
            4,
            "a b c d",
            {"a": measured(0.03), "b": measured(0.03), "c": measured(0.06), "d": measured(0.1, SPLIT)},
        ),
    )


def test_a_sequence_by_hand(four):
    assert eers(four) == {
        "a": [0.01, 0.02, 0.05, 0.03],
        "b": [0.04, 0.02, 0.01, 0.03],
        "c": [None, 0.05, 0.03, 0.06],
        "d": [None, None, None, 0.1],
    }
    found = courses(four)
    assert [item.best and item.best.generation for item in found.values()] == [1, 3, 3, None]
    assert [item.forgetting for item in found.values()] == pytest.approx([0.02, 0.02, 0.03, None])
    assert four.mean() == pytest.approx(0.07 / 3)
    assert four.worst() == ("c", pytest.approx(0.03))
    assert found["a"].present.eer_ci == (0.015, 0.045)
    assert [item.first.generation for item in found.values()] == [1, 1, 2, 4]
    assert [(step.added, step.command) for step in four.steps] == [
        (("a", "b"), "train"),
        (("c",), ""),
        ((), "retrain-router"),
        (("d",), ""),
    ]


def test_of_too_few_recordings_no_interval_is_told(along):
    few = {"eer": 0.2, "eer_ci": [0.0, 0.4], "bona_fide": 6, "spoof": 40}
    (course,) = along(generation(1, "a", {"a": few})).courses
    assert (course.present.eer, course.present.eer_ci) == (0.2, None)


def test_figures_on_other_recordings_are_recognised(four):
    found = courses(four)
    assert [item.as_dict()["same_recordings"] for item in found.values()] == [False, True, True, None]
    assert [item.forgetting_paired for item in found.values()] == pytest.approx([0.01, 0.02, 0.03, None])
    assert four.mean(paired=True) == pytest.approx(0.02)


def change(**domains: float) -> dict[str, Any]:
    return {name: {"eer": eer, "eer_ci": [eer, eer]} for name, eer in domains.items()}


def test_changes_on_the_same_recordings_add_up_from_a_domain_s_own_generation_on(along):
    found = along(
        generation(1, "a", {"a": measured(0.01, SPLIT)}),
        generation(2, "a b", {"a": measured(0.2), "b": measured(0.1, SPLIT)}, changes=change(a=0.05, b=-0.3)),
        generation(3, "a b", {"a": measured(0.1), "b": measured(0.1)}, changes=change(a=-0.1, b=0.02)),
        generation(4, "a b", {"a": measured(0.13), "b": measured(0.1)}, changes=change(a=0.03, b=-0.01)),
    )
    a, b = found.courses
    assert (a.forgetting_paired, b.forgetting_paired) == (pytest.approx(0.03), pytest.approx(0.01))
    # Both have been better: a after its third generation's fall, b after its first.
    assert (a.risen, b.risen) == (pytest.approx(0.03), pytest.approx(0.01))
    assert found.mean(paired=True) == pytest.approx(0.02)
    assert found.worst(paired=True) == ("a", pytest.approx(0.03))
    assert found.as_dict()["domains"]["a"]["change"] == [None, 0.05, -0.1, 0.03]


def test_where_a_change_is_missing_only_what_came_later_is_paired(along):
    def missing(**second: Any) -> float | None:
        found = along(
            generation(1, "a", {"a": measured(0.01, SPLIT)}),
            generation(2, "a", {"a": measured(0.2)} if second else {}, **second),
            generation(3, "a", {"a": measured(0.3, KEPT + 1)}, changes=change(a=0.04)),
        )
        return courses(found)["a"].forgetting_paired

    assert missing() is None
    assert missing(changes=change(a=0.5)) == pytest.approx(0.04 + 0.5)
    assert missing(changes=change(b=0.5)) == pytest.approx(0.04)
    for broken in ({"a": 7}, {"a": {"eer": "0.5"}}, {"a": {"eer": True}}, {"a": {"eer": 3.0}}):
        assert missing(changes=broken) == pytest.approx(0.04)


def test_a_test_split_no_larger_than_what_is_kept_is_still_another_set(along):
    found = along(generation(1, "a", {"a": measured(0.01)}), generation(2, "a b", {"a": measured(0.02)}))
    course = courses(found)["a"]
    assert (course.forgetting, course.forgetting_paired) == (pytest.approx(0.01), None)


def test_what_is_given_to_retrain_router_is_no_exemplars(along):
    data = [DataRecord(digest="", counts={}, attacks=["A", "other"])]
    found = along(
        generation(1, "a", {}),
        generation(2, "a", {"a": measured(0.01), "other": measured(0.3)}, data=data),
        generation(3, "a", {"a": measured(0.02)}),
    )
    course = courses(found)["a"]
    assert (course.forgetting, course.forgetting_paired) == (pytest.approx(0.01), None)
    other = courses(found)["other"]
    assert (other.known, other.present, other.forgetting) == ((False, True, False), None, None)


def test_only_generations_that_know_a_domain_count(along):
    found = along(
        generation(1, "b", {"a": measured(0.01)}),
        generation(2, "a b", {"a": measured(0.1, SPLIT)}),
        generation(3, "a b", {"a": measured(0.2)}),
    )
    course = courses(found)["a"]
    assert (course.known, course.first.generation) == ((False, True, True), 2)
    assert course.forgetting == pytest.approx(0.1)
    removed = along(generation(1, "a b", {"a": measured(0.1)}), generation(2, "b", {"a": measured(0.3)}))
    assert (courses(removed)["a"].present, removed.mean()) == (None, None)


@pytest.mark.parametrize(
    "figures",
    [None, 7, [], {}, {"eer": None}, {"eer": float("nan")}, {"eer": True}, {"eer": "0.1"}, {"eer": 1e308}],
)
def test_what_is_no_eer_counts_as_not_measured(along, figures):
    found = along(
        generation(1, "a", {"a": figures}),
        generation(2, "a b", {"a": measured(0.2), "b": figures}),
        generation(3, "a b", {"a": figures, "b": measured(0.2)}),
    )
    assert eers(found) == {"a": [None, 0.2, None], "b": [None, None, 0.2]}
    assert [item.forgetting for item in found.courses] == [None, None]
    assert (found.mean(), found.worst()) == (None, None)
    json.dumps(found.as_dict(), allow_nan=False)


def test_figures_without_counts_or_interval_compare_with_nothing(along):
    bare = {"a": {"eer": 0.1, "eer_ci": [0.1], "bona_fide": True}}
    found = along(generation(1, "a", {}), generation(2, "a", bare), generation(3, "a", bare))
    course = courses(found)["a"]
    assert (course.present.eer_ci, course.present.bona_fide) == (None, None)
    assert (course.forgetting, course.forgetting_paired) == (0.0, None)


def test_figures_that_are_carried_over_are_the_same_measurement(along):
    """As by set-threshold, which writes its parent's figures again."""
    whole = {"a": measured(0.1, SPLIT)}
    files = dict.fromkeys(("router.safetensors", "head.safetensors", "experts.json"), "ab" * 32)
    first = generation(1, "a", whole, files=files)
    course = courses(along(first, generation(2, "a", whole, files=files)))["a"]
    assert course.as_dict()["same_recordings"] is True
    assert (course.best, course.present.generation) == (course.present, 1)
    assert (course.forgetting, course.forgetting_paired) == (0.0, 0.0)
    other = generation(2, "a", whole, files=files | {"router.safetensors": "cd" * 32})
    assert courses(along(first, other))["a"].as_dict()["same_recordings"] is False


def test_a_removed_domain_is_not_forgotten(along):
    found = along(
        generation(1, "a b", {"a": measured(0.1), "b": measured(0.1)}),
        generation(2, "b", {}, command="remove a"),
        generation(3, "b", {"b": measured(0.3)}),
    )
    course = courses(found)["a"]
    assert course.known == (True, False, False)
    assert (course.present, course.forgetting) == (None, None)
    assert found.mean() == pytest.approx(0.2)
    assert found.steps[1].removed == ("a",)


def test_figures_stay_with_their_expert_when_a_second_one_takes_the_bare_name(along, expert):
    """While it is added, the new one is "a" in the metrics and the old one "a (a)"; afterwards it is the reverse."""
    found = along(
        generation(1, "a", {"a": measured(0.1)}),
        generation(2, "a again", {"a (a)": measured(0.2), "a": measured(0.5)}),
        generation(3, "a again b", {"a": measured(0.3), "a (again)": measured(0.6), "b": measured(0.1)}),
        generation(4, "again b", {"a": measured(0.7)}),
        again=expert("again", "a"),
    )
    assert eers(found) == {
        "a": [0.1, 0.2, 0.3, None],
        "a (again)": [None, 0.5, 0.6, 0.7],
        "b": [None, None, 0.1, None],
    }
    assert courses(found)["a (again)"].forgetting_paired == pytest.approx(0.1)


def test_a_second_expert_beside_one_that_kept_nothing_has_the_bare_name_too(along, expert):
    chain = generation(1, "a", {"a": measured(0.1)}), generation(2, "a again", {"a": measured(0.5)})
    found = along(*chain, a=expert("a", exemplars_sha256=None), again=expert("again", "a"))
    assert eers(found) == {"a": [0.1, None], "a (again)": [None, 0.5]}


def test_a_pulled_second_expert_leaves_the_bare_name_to_the_first(along, expert):
    found = along(
        generation(1, "a", {"a": measured(0.1)}),
        generation(2, "a theirs", {"a": measured(0.2), "a (theirs)": measured(0.5)}),
        generation(3, "a theirs", {"a": measured(0.2), "a (theirs)": measured(0.4)}),
        theirs=expert("theirs", "a", origin=ORIGIN),
    )
    assert eers(found) == {"a": [0.1, 0.2, 0.2], "a (theirs)": [None, 0.5, 0.4]}
    assert courses(found)["a (theirs)"].forgetting_paired == pytest.approx(-0.1)


def test_experts_trained_together_are_one_domain(along, expert):
    shared = {name: expert(name, "a", exemplars_sha256="cd" * 32) for name in ("a-1", "a-2")}
    found = along(
        generation(1, "a-1 a-2", {"a": measured(0.1)}),
        generation(2, "a-1 a-2 again", {"a (known)": measured(0.2), "a": measured(0.5)}),
        **shared,
        again=expert("again", "a"),
    )
    assert eers(found) == {"a": [0.1, 0.2], "a (again)": [None, 0.5]}


def test_experts_of_two_commands_are_two_whatever_they_learnt_from(along, expert):
    """The same recordings and seed, and no exemplars: a domain's expert after its readout alone."""
    alike = {name: expert(name, "a", exemplars_sha256=None) for name in ("a", "later")}
    found = along(
        generation(1, "a", {"a": measured(0.1)}),
        generation(2, "a later", {"a (known)": measured(0.2), "a": measured(0.5)}),
        **alike,
    )
    assert eers(found) == {"a": [0.1, 0.2], "a (later)": [None, 0.5]}


def test_an_expert_keeps_how_far_its_domain_rose_when_another_of_the_domain_goes(along, expert):
    """And a generation that measured nothing does not make it forgotten."""
    found = along(
        generation(1, "a", {"a": measured(0.1)}),
        generation(2, "a later", {"a (known)": measured(0.1), "a": measured(0.2)}),
        generation(3, "a later", {"a": measured(0.1), "a (later)": measured(0.2)}),
        generation(4, "a later", {"a": measured(0.1), "a (later)": measured(0.3)}),
        generation(5, "later", {}),
        later=expert("later", "a"),
    )
    assert found.risen == {"a": 0.0, "later": pytest.approx(0.1)}


def test_the_control_is_never_forgotten(along):
    chain = [generation(1, "null", {"null": measured(0.4)}), generation(2, "null", {"null": measured(0.5)})]
    assert along(*chain).mean() is None


def test_a_mixture_pulled_whole_brings_figures_of_no_known_split(along):
    chain = generation(1, "a", {"a": measured(0.1)}, origin=ORIGIN), generation(2, "a", {"a": measured(0.2)})
    assert along(*chain).mean(paired=True) == pytest.approx(0.1)


def test_a_mixture_pulled_whole_may_have_been_measured_while_it_grew(along, expert):
    metrics = {"a (a)": measured(0.1), "a": measured(0.5)}
    found = along(generation(1, "a again", metrics, origin=ORIGIN), again=expert("again", "a"))
    assert eers(found) == {"a": [0.1], "a (again)": [0.5]}


def test_after_a_gap_nothing_counts_as_new(along):
    found = along(generation(5, "a", {"a": measured(0.1)}), generation(6, "a", {"a": measured(0.2)}))
    assert (found.missing_parent, found.steps[0].added) == (4, ())
    assert found.mean(paired=True) == pytest.approx(0.1)


def test_a_store_follows_parents_from_the_active_generation(store, make_draft, make_expert):
    def add(parent: int, experts: str, name: str, eer: float, activate: bool = True) -> int:
        metrics = {"world": measured(eer)}
        draft = make_draft(parent, experts, make_expert(name), metrics=metrics)
        return store.add_generation(draft, activate=activate)

    add(1, "world opus lyra", "lyra", 0.1)
    add(2, "world opus lyra bad", "bad", 0.9, activate=False)
    add(2, "world opus lyra soft", "soft", 0.2)
    found = store.forgetting()
    assert [step.generation for step in found.steps] == [1, 2, 4]
    assert courses(found)["world"].forgetting == pytest.approx(0.1)
    assert "bad" not in courses(found)
    store.rollback(2)
    assert [step.generation for step in store.forgetting().steps] == [1, 2]
    store.rollback(4)
    store.remove("lyra", purge=True)
    found = store.forgetting()
    assert [step.generation for step in found.steps] == [1, 5]  # over those that named it
    assert (found.missing_parent, found.steps[1].added, found.mean()) == (4, (), None)
    assert store.rollback().number == 1


def test_a_registry_without_experts_has_nothing_to_forget(empty):
    with pytest.raises(RegistryError, match="no active generation.*add-expert"):
        empty.forgetting()


def test_experts_that_came_without_exemplars_are_two_domains_where_their_data_are(along, expert):
    other = DataRecord(digest="ef" * 32, counts={"train": {"bonafide": 3, "spoof": 5}})
    pulled = {
        "a-1": expert("a-1", "a", exemplars_sha256=None, origin=ORIGIN),
        "a-2": expert("a-2", "a", exemplars_sha256=None, origin=ORIGIN, data=other),
        "a-3": expert("a-3", "a", exemplars_sha256=None, origin=ORIGIN, data=other),
    }
    found = along(generation(1, "a-1 a-2 a-3", {"a": measured(0.1)}), **pulled)
    assert list(courses(found)) == ["a", "a (a-2)"]
