"""How many components of the states a first readout reads."""

from __future__ import annotations

import pytest
import torch

from molex_adapt.base import load_base
from molex_adapt.errors import RegistryError
from molex_adapt.head import Head
from molex_adapt.low_level import STATISTICS
from molex_adapt.readout import Lesson, Readings, Readout, components, learn
from molex_adapt.readout.readout import COMPONENTS
from molex_adapt.registry.assemble import require_head

STATES, SIZES = 12, (2, 4, 8)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(components, "COMPONENTS", SIZES)
    monkeypatch.setattr("molex_adapt.readout.readout.COMPONENTS", SIZES)


def lesson(seed: int, direction: int, shift: float, count: int = 100) -> Lesson:
    """Recordings and copies that differ in one direction of the states; each varies half as much as the former."""
    generator = torch.Generator().manual_seed(seed)
    real = torch.randn(count, STATES, generator=generator) * 2.0 ** -torch.arange(STATES)
    forged = real.clone()
    forged[:, direction] += shift * 2.0**-direction
    # Standardising makes all features vary alike, so what is to be a main component is in several of them.
    states = (
        torch.cat([real, forged])
        @ torch.linalg.qr(torch.randn(STATES, STATES, generator=torch.Generator().manual_seed(0)))[0]
    )
    heard = torch.randn(2 * count, STATISTICS, generator=generator)
    names = (None,) * count + ("buzz",) * count
    groups = tuple(f"{seed} {at % count}" for at in range(2 * count))
    return Lesson(torch.arange(2 * count) < count, names, groups, Readings(heard, states))


def test_what_only_further_components_tell_is_learnt():
    readout, lessons = Readout(STATES), {"expert": (lesson(1, 5, 6.0), lesson(2, 5, 6.0))}
    (remark,) = learn(readout, lessons).remarks
    assert readout.of_states.basis.shape == (STATES, 8) and readout.of_states.size == 9
    assert remark.startswith("the readout reads 8 components of the states: development loss 0.")
    assert readout.weights.shape == (1, readout.of_spectrum.size + 9)
    development = lessons["expert"][1]
    said = readout.evidence(development.readings)
    assert ((said > 0) == development.bona_fide).float().mean() > 0.9


def test_what_further_components_tell_of_training_voices_alone_is_left():
    # The development recordings say the contrary of what training ones say in that direction.
    readout, lessons = Readout(STATES), {"expert": (lesson(1, 5, 6.0), lesson(2, 5, -6.0))}
    learn(readout, lessons)
    assert readout.of_states.basis.shape == (STATES, 2)


@pytest.mark.parametrize(("last", "chosen"), [(0.494, 8), (0.4951, 2)])
def test_more_components_must_lower_the_loss_by_a_hundredth(monkeypatch, last, chosen):
    losses = iter([0.5, 0.496, last])
    monkeypatch.setattr(components, "_loss", lambda *_: next(losses))
    readout = Readout(STATES)
    (remark,) = learn(readout, {"expert": (lesson(1, 5, 6.0), lesson(2, 5, 6.0))}).remarks
    assert f"reads {chosen} components" in remark
    assert remark.endswith(f"0.500 with 2, 0.496 with 4, {last:.3f} with 8 (nats)")
    assert readout.of_states.basis.shape[1] == chosen


def test_the_number_is_chosen_once():
    readout = Readout(STATES)
    learn(readout, {"expert": (lesson(1, 5, 6.0), lesson(2, 5, 6.0))})
    basis = readout.of_states.basis.clone()
    assert learn(readout, {"further": (lesson(3, 1, 6.0), lesson(4, 1, 6.0))}).remarks == []
    assert torch.equal(readout.of_states.basis, basis)


def test_there_are_recordings_and_room_for_every_component(monkeypatch):
    def of(counts: list[tuple[int, int]], states: int = STATES) -> list[int]:
        made = {}
        for at, (real, forged) in enumerate(counts):
            truth = torch.arange(real + forged) < real
            nothing = Readings(torch.zeros(0), torch.zeros(0))
            names = (None,) * real + ("buzz",) * forged
            own = Lesson(truth, names, names, nothing)  # type: ignore[arg-type]
            made[str(at)] = own, own
        return components._sizes(made, states)

    assert of([(15, 16)]) == [2] and of([(16, 16)]) == [2, 4] and of([(32, 32)]) == [2, 4, 8]
    # The same bona fide recordings stand in every lesson.
    assert of([(20, 5), (20, 5)]) == [2] and of([(20, 6), (20, 6)]) == [2, 4]
    assert of([(64, 64)], states=7) == [2, 4]
    monkeypatch.setattr(components, "_MOST_VALUES", 4 * STATES)
    assert of([(64, 64)]) == [2, 4]


def test_few_recordings_are_learnt_from_as_ever():
    readout = Readout(STATES)
    few = lesson(1, 1, 6.0, count=15)
    assert learn(readout, {"expert": (few, lesson(2, 1, 6.0))}).remarks == []
    assert readout.of_states.basis.shape == (STATES, 2)


@pytest.mark.parametrize("size", SIZES)
def test_another_readout_takes_the_number_of_a_stored_one(size):
    readout, lessons = Readout(STATES), {"expert": (lesson(1, 5, 6.0), lesson(2, 5, 6.0))}
    readout.see(size)
    readout.of_states.standardise([lessons["expert"][0].readings.states])
    learn(readout, lessons)
    assert readout.of_states.basis.shape[1] == size  # it was given, and is not chosen anew
    other = Readout(STATES)
    other.load_state_dict(readout.state_dict())
    heard = lessons["expert"][1].readings
    assert torch.equal(other.evidence(heard), readout.evidence(heard)) and bool(readout.evidence(heard).any())


@pytest.mark.parametrize("shape", [(0,), (1000,), (1, 1)], ids=["none", "more than states", "no matrix"])
def test_a_stored_number_that_cannot_be_is_refused(tiny_folder_of, tiny_recipe, tmp_path, shape):
    base, recipe = load_base(tiny_folder_of()), tiny_recipe(head={"readout": True})
    state = dict(Head(base.width, len(base.blocks) + 1, recipe.head).state_dict())
    path = tmp_path / "head.safetensors"
    require_head(base, recipe, state, path)
    states = len(state["readout.of_states.centre"])
    assert states < 1000
    state["readout.of_states.basis"] = torch.zeros(states, *shape, dtype=torch.float16)
    with pytest.raises(RegistryError, match="of_states"):
        require_head(base, recipe, state, path)


def test_the_numbers_rise():
    assert list(COMPONENTS) == sorted(COMPONENTS)
