from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from molex_adapt.base import frame_mask, load_base
from molex_adapt.calibration import Calibration
from molex_adapt.data import Table
from molex_adapt.detector import Detector
from molex_adapt.errors import AudioError, ExpertError
from molex_adapt.features import Features, logits_of, pad, score_table
from molex_adapt.mixture import ExpertSpec
from molex_adapt.readout.readout import ANY
from molex_adapt.routing import collect


@pytest.fixture(params=["layer", "group"])
def detector(request, tiny_folder_of, tiny_recipe) -> Detector:
    torch.manual_seed(0)
    base = load_base(tiny_folder_of("wavlm", request.param, request.param == "layer"))
    made = Detector(base, tiny_recipe(data={"window_seconds": 1.0}), Calibration(2.0, -0.5))
    for name in ("world", "opus", "codec2"):
        made.mixture.add(ExpertSpec(name, 2, 4.0))
        for weight in (*made.mixture.expert_parameters(name), *made.mixture.router_rows(name)):
            torch.nn.init.normal_(weight, std=0.3)
    return made.requires_grad_(False).eval()


LENGTHS = (9_000, 4_000, 4_000, 12_345, 6_001)


@pytest.fixture
def rows() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(size=length).astype(np.float32) for length in LENGTHS]


def test_a_score_does_not_depend_on_padding_order_or_company(detector, rows):
    together = detector.score(*pad(rows))
    alone = torch.cat([detector.score(*pad([row])) for row in rows])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)
    order = [3, 0, 4, 2, 1]
    shuffled = detector.score(*pad([rows[at] for at in order]))
    torch.testing.assert_close(shuffled, together[order], atol=1e-5, rtol=0)
    assert len({round(float(score), 4) for score in together}) == len(rows)


def test_a_score_is_the_calibrated_logit(detector, rows):
    logit = detector.logit(*detector.base.prefix(*pad(rows)))
    torch.testing.assert_close(detector.score(*pad(rows)), 2.0 * logit - 0.5)
    torch.testing.assert_close(detector.calibrate(logit), 2.0 * logit - 0.5)


def test_where_all_gates_are_shut_the_score_is_what_is_left_without_experts(
    rows, tiny_folder_of, tiny_recipe
):
    torch.manual_seed(0)
    made = Detector(load_base(tiny_folder_of()), tiny_recipe(head={"readout": True}), Calibration(2.0, -0.5))
    assert torch.equal(made.score(*pad(rows)), torch.full((5,), -0.5))  # there is no expert
    for name in ("world", "opus"):
        made.mixture.add(ExpertSpec(name, 2, 4.0))
        for weight in (*made.mixture.expert_parameters(name), *made.mixture.router_rows(name)):
            torch.nn.init.normal_(weight.data, std=0.3)
    score, shares = made.score_and_shares(*pad(rows))
    assert (score + 0.5).abs().min() > 1e-4 and 0.1 < float(shares.sum(1).max()) < 1
    features, frames = made.base.prefix(*pad(rows))
    frozen = made.frozen_states(features, frames)
    torch.testing.assert_close(made.logit(features, frames, frozen), made.logit(features, frames))
    for name in ("world", "opus"):
        made.mixture.withdraw(name)
    score, shares = made.score_and_shares(*pad(rows))
    torch.testing.assert_close(score, torch.full((5,), -0.5), atol=1e-5, rtol=0)
    assert float(shares.max()) < 1e-9


def test_where_the_readout_speaks_alone_the_mixture_is_not_asked(
    rows, tiny_folder_of, tiny_recipe, monkeypatch
):
    torch.manual_seed(0)
    made = Detector(load_base(tiny_folder_of()), tiny_recipe(head={"readout": True}), Calibration(2.0, -0.5))
    readout = made.head.readout
    readout.of_states.basis.copy_(0.1 * torch.randn(readout.of_states.basis.shape))
    readout.add("world/world", 0.1 * torch.randn(readout.weights.shape[1]), Calibration(0.5, 0.1))
    readout.share.fill_(0.7)
    for name in ("world", "opus"):
        made.mixture.add(ExpertSpec(name, 2, 4.0))
        for weight in (*made.mixture.expert_parameters(name), *made.mixture.router_rows(name)):
            torch.nn.init.normal_(weight.data, std=0.3)
    made.requires_grad_(False).eval()
    made.mixture.withdraw("opus")
    assert not made.readout_alone
    made.mixture.withdraw("world")
    assert made.readout_alone
    with made.mixture.forcing("opus"):
        assert not made.readout_alone
    features, frames = made.base.prefix(*pad(rows))
    whole = made.calibrate(made.whole_logit(features, frames, made.statistics(*pad(rows))))
    monkeypatch.setattr(type(made.mixture), "hidden_states", None)
    score, shares = made.score_and_shares(*pad(rows))
    torch.testing.assert_close(score, whole)
    assert score.std() > 1e-3 and shares.shape == (5, 2) and not shares.any()


@pytest.fixture
def beside(tiny_folder_of, tiny_recipe) -> Detector:
    """Two experts beside a readout of two witnesses, one of which is an expert's, and one for any attack."""
    torch.manual_seed(0)
    made = Detector(load_base(tiny_folder_of()), tiny_recipe(head={"readout": True}))
    readout = made.head.readout
    readout.share.fill_(0.4)
    for name in (ANY, "world/world", "opus/opus"):
        readout.add(name, torch.zeros(readout.weights.shape[1]), Calibration(1.0, 0.0))
    for name in ("world", "opus"):
        made.mixture.add(ExpertSpec(name, 2, 4.0))
    return made.requires_grad_(False).eval()


EACH = torch.tensor([[0.3, 2.0, -1.0], [-0.2, 5.0, 4.0]])
SAID = torch.tensor([-1.5, 0.7])


def by_hand(world: Tensor, opus: Tensor) -> Tensor:
    return 0.4 * (EACH[:, 0] - torch.log((torch.exp(-world) + torch.exp(-opus)) / 2))


def test_what_experts_say_joins_the_witnesses_of_those_that_act(beside):
    both = by_hand(EACH[:, 1] + SAID, EACH[:, 2] + SAID)
    torch.testing.assert_close(beside.whole(SAID, EACH), both)
    torch.testing.assert_close(beside.told(EACH), by_hand(EACH[:, 1], EACH[:, 2]))
    beside.mixture.withdraw("world")
    torch.testing.assert_close(beside.whole(SAID, EACH), by_hand(EACH[:, 1], EACH[:, 2] + SAID))
    beside.mixture.add(ExpertSpec("lab", 2, 4.0))  # it has no witness
    torch.testing.assert_close(beside.whole(SAID, EACH), both)
    beside.mixture.withdraw("lab")
    beside.mixture.withdraw("opus")
    torch.testing.assert_close(beside.whole(SAID, EACH), beside.told(EACH))
    with beside.mixture.forcing("world"):
        torch.testing.assert_close(beside.whole(SAID, EACH), by_hand(EACH[:, 1] + SAID, EACH[:, 2]))
    beside.head.readout.share.fill_(0.0)
    torch.testing.assert_close(beside.whole(SAID, EACH), SAID)


def test_a_score_is_joined_whichever_way_it_is_computed(beside, rows):
    readout = beside.head.readout
    readout.weights.normal_(std=0.02)
    for name in beside.mixture.names:
        for weight in (*beside.mixture.expert_parameters(name), *beside.mixture.router_rows(name)):
            torch.nn.init.normal_(weight.data, std=0.3)
    beside.mixture.withdraw("world")
    wave, lengths = pad(rows)
    features, frames = beside.base.prefix(wave, lengths)
    statistics = beside.statistics(wave, lengths)
    each = beside.witnessed(beside.frozen_states(features, frames), frame_mask(frames, features), statistics)
    logit = beside.logit(features, frames)
    whole = beside.whole(logit, each)
    assert (whole - beside.told(each) - logit).abs().max() > 1e-3  # it is no sum
    torch.testing.assert_close(beside.score(wave, lengths), whole)
    clips = tuple(row[:count] for row, count in zip(features, frames.tolist(), strict=True))
    held = Features(
        clips, torch.ones(5, dtype=torch.bool), tuple("abcde"), attacks=(None,) * 5, statistics=statistics
    )
    # Pooled states are kept in half precision.
    torch.testing.assert_close(logits_of(beside, held), whole, atol=0.02, rtol=0)
    torch.testing.assert_close(collect(beside, held).logits, whole, atol=0.02, rtol=0)


def test_beside_a_head_that_is_not_relative_the_readout_is_added(beside):
    beside.head.relative = False
    torch.testing.assert_close(beside.whole(SAID, EACH), SAID + beside.told(EACH))
    torch.testing.assert_close(beside.whole(SAID, EACH[:, :0]), SAID)


def test_a_mixture_that_shares_everything_or_a_head_of_its_own_is_always_asked(
    detector, tiny_folder_of, tiny_recipe
):
    for name in detector.mixture.names:
        detector.mixture.withdraw(name)
    assert not detector.mixture.is_silent  # without a rest somebody has to take the gates
    bare = Detector(load_base(tiny_folder_of()), tiny_recipe(head={"readout": True}))
    assert bare.readout_alone
    bare.head.relative = False  # it scores the frozen states
    assert bare.mixture.is_silent and not bare.readout_alone


def test_where_nothing_speaks_nothing_is_scored(tiny_folder_of, tiny_recipe):
    bare = Detector(load_base(tiny_folder_of()), tiny_recipe(head={"readout": True}))
    with pytest.raises(ExpertError, match="every score would be the same"):
        score_table(bare, Table((), "nowhere"))
    readout = bare.head.readout
    readout.add("world/world", torch.ones(readout.weights.shape[1]), Calibration(0.5, 0.1))
    readout.share.fill_(0.7)
    bare.require_voice()
    readout.share.fill_(0.0)
    with pytest.raises(ExpertError, match="no readout speaks"):
        bare.require_voice()


def test_training_mode_is_undone_and_nothing_is_trainable(detector, rows):
    before = detector.score(*pad(rows))
    detector.train()
    assert not detector.base.model.training
    detector.eval()
    assert torch.equal(detector.score(*pad(rows)), before)
    assert not any(weight.requires_grad for weight in detector.parameters())


def test_long_recordings_become_windows_of_nearly_one_length(detector):
    wave = np.random.default_rng(0).normal(0.5, 3, 16_000 * 5 // 2).astype(np.float32)
    windows = detector.prepare(wave)
    assert [len(window) for window in windows] == [13_334, 13_333, 13_333]
    if detector.base.normalised:
        assert all(
            abs(float(window.mean())) < 1e-3 and abs(float(window.std()) - 1) < 1e-3 for window in windows
        )
    assert len(detector.prepare(wave[:16_000])) == 1
    assert len(detector.prepare(wave[:16_001])) == 2


def test_what_cannot_be_heard_is_refused(detector):
    with pytest.raises(AudioError, match=r"are fewer than the \d+ \(0\.025 s\)"):
        detector.prepare(np.ones(399, np.float32))
    with pytest.raises(AudioError, match="not all finite"):
        detector.prepare(np.full(8_000, np.nan, np.float32))
