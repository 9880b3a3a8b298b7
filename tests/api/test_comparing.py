"""Two generations side by side, from their records and from recordings that both hear."""

from __future__ import annotations

import io
import shutil

import numpy as np
import pytest
import soundfile
from rich.console import Console, Group

from molex_adapt import metrics
from molex_adapt.analysis import several
from molex_adapt.api.comparing import compare_records
from molex_adapt.cli.handover_view import handover_view
from molex_adapt.data import Failed, read
from molex_adapt.errors import DataError, RegistryError
from molex_adapt.features import score_table
from molex_adapt.run import Run
from tests.api.test_profile import record

HOW = Run(device="cpu", workers=1, cache="off")


def generation(number: int, names: str, usage: dict, parent: int | None = None):
    content = {"usage": usage}
    return record(content, names).model_copy(update={"number": number, "parent": parent})


OLD = generation(1, "one two", {"buzz": {"one": 0.9, "two": 0.1}, "bonafide": {"one": 0.4, "two": 0.6}})
NEW = generation(
    2,
    "one two new",
    {
        "buzz": {"one": 0.3, "two": 0.1, "new": 0.6},
        "bonafide": {"one": 0.4, "two": 0.5, "new": 0.1},
        "hum": {"new": 1.0},
    },
)


def lines(report) -> list[str]:
    file = io.StringIO()
    Console(file=file, width=80).print(Group(*handover_view(report)), crop=False)
    return file.getvalue().splitlines()


def test_records_say_who_took_over_what_from_whom():
    found = compare_records(OLD, NEW)
    assert (found.added, found.removed) == (["new"], [])
    assert [item.attack for item in found.attacks] == ["buzz", "bonafide"]
    buzz = found.attacks[0]
    assert (buzz.took, buzz.lost) == (0.6, {"one": pytest.approx(0.6), "two": pytest.approx(0.0)})
    assert found.remarks == ["only one of the generations knows hum"]
    assert found.as_dict()["attacks"][0]["took"] == 0.6
    shown = lines(found)
    assert max(map(len, shown)) <= 80
    assert any("buzz" in line and "60 %" in line and "one 60" in line and "two" not in line for line in shown)


def test_of_an_expert_with_closed_gates_it_is_said_that_it_took_nothing():
    withdrawn = generation(2, "one two new", {**OLD.profile["usage"]})
    found = compare_records(OLD, withdrawn)
    assert found.added == ["new"] and all(item.took == 0 for item in found.attacks)
    assert found.remarks == [
        "new: gates are closed, and nothing was taken over; what changed the readout has learnt"
    ]


def test_records_of_the_older_form_are_read_and_empty_ones_refused():
    old_form = OLD.model_copy(update={"profile": OLD.profile["usage"]})
    assert compare_records(old_form, NEW).attacks == compare_records(OLD, NEW).attacks
    with pytest.raises(DataError, match=r"generation 1 keeps no routing profile.*analyze DATA --compare 1"):
        compare_records(OLD.model_copy(update={"profile": {}}), NEW)


def test_recordings_are_scored_by_both(made, registry, tiny_recipe):
    registry.add_expert(made.hum, domain="hum", recipe=tiny_recipe(), accept=True, run=HOW)
    found = registry.compare(1, made.hum, run=HOW)
    assert (found.older, found.newer, found.added) == (1, 2, ["hum"])
    by_attack = {item.attack: item for item in found.attacks}
    hum = by_attack["hum"]
    assert hum.took == pytest.approx(hum.lost["buzz"], abs=1e-6) and hum.took > 0
    assert by_attack["bonafide"].eer is None
    table = read(made.hum)
    for at, number in enumerate((1, 2)):
        scored, _ = score_table(registry.detector(number, run=HOW), table, HOW)
        real = np.array([item.utterance.label == "bonafide" for item in scored])
        scores = np.array([item.score for item in scored])
        assert hum.eer[at] == pytest.approx(metrics.eer(scores[real], scores[~real]), abs=0.1)
        assert hum.mean_score[at] == pytest.approx(scores[~real].mean(), abs=1e-3)
    assert hum.eer_ci[0] <= hum.eer[1] - hum.eer[0] <= hum.eer_ci[1]
    assert registry.compare(1, run=HOW).added == ["hum"]


def test_what_fails_for_either_generation_is_listed(made, registry, tiny_recipe, monkeypatch):
    registry.add_expert(made.hum, domain="hum", recipe=tiny_recipe(), accept=True, run=HOW)
    inner, lost = several.observe_together, [(Failed("a.wav", "gone"),), (Failed("b.wav", "gone"),)]
    monkeypatch.setattr(several, "observe_together", lambda *given: (inner(*given)[0], lost.pop(0)))
    assert [item.path for item in registry.compare(1, made.hum, run=HOW).failed] == ["a.wav", "b.wav"]


def test_what_cannot_be_compared_is_refused(registry):
    with pytest.raises(DataError, match="generation 1 is the active one"):
        registry.compare(1, run=HOW)
    with pytest.raises(RegistryError):
        registry.compare(9, run=HOW)


def test_of_long_recordings_the_first_window_is_compared_and_that_is_said(made, registry, tiny_recipe):
    registry.add_expert(made.hum, domain="hum", recipe=tiny_recipe(), accept=True, run=HOW)
    folder = shutil.copytree(made.hum, made.path.parent / "long")
    for path in sorted(folder.rglob("*.wav"))[:2]:
        wave, rate = soundfile.read(path)
        times = int(registry.recipe().data.window_seconds * rate / len(wave)) + 2
        soundfile.write(path, np.tile(wave, times), rate)
    assert not any("longer than" in line for line in registry.compare(1, made.hum, run=HOW).remarks)
    (said,) = [line for line in registry.compare(1, folder, run=HOW).remarks if "longer than" in line]
    assert (
        said.startswith("2 recordings are longer than") and "the first window alone of each was heard" in said
    )
