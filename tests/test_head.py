from __future__ import annotations

import torch

from molex_adapt.head import Head, is_relative
from molex_adapt.recipe import HeadOptions


def head() -> Head:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = Head(32, 3, HeadOptions(width=8))
        torch.nn.init.normal_(made.layer_weights)
    return made.eval()


def heard(frames: int, seed: int = 0) -> list[torch.Tensor]:
    return [
        torch.randn(1, frames, 32, generator=torch.Generator().manual_seed(seed + 10 * at)) for at in range(3)
    ]


def test_padding_is_exact_and_rows_do_not_know_each_other():
    made, short, long = head(), heard(5), heard(9, 1)
    states = [torch.full((2, 9, 32), 50.0) for _ in range(3)]
    for state, one, other in zip(states, short, long, strict=True):
        state[0, :5], state[1] = one[0], other[0]
    mask = torch.arange(9)[None] < torch.tensor([[5], [9]])
    together = made(states, mask)
    alone = [made(item, torch.ones(1, item[0].shape[1], dtype=torch.bool)) for item in (short, long)]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=0)


def test_it_is_layer_weights_attention_and_both_moments():
    made, states = head(), heard(6)
    weights = made.layer_weights.softmax(0)
    normed = [
        (s - s.mean(-1, keepdim=True)) / (s.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()
        for s in states
    ]
    hidden = torch.nn.functional.gelu(made.project(sum(w * s for w, s in zip(weights, normed, strict=True))))[
        0
    ]
    attention = made.attend(hidden).softmax(0)
    mean = (attention * hidden).sum(0)
    deviation = ((attention * hidden.square()).sum(0) - mean.square() + 1e-5).sqrt()
    expected = made.classify(torch.cat([mean, deviation]))
    torch.testing.assert_close(made(states, torch.ones(1, 6, dtype=torch.bool)), expected, atol=1e-5, rtol=0)


def test_a_relative_head_scores_what_changed_and_has_no_bias():
    torch.manual_seed(0)
    made = Head(32, 3, HeadOptions(width=8), relative=True).eval()
    whole = Head(32, 3, HeadOptions(width=8)).eval()
    whole.load_state_dict(made.state_dict() | {"classify.bias": torch.tensor([0.7])})
    states, frozen, mask = heard(6), heard(6, 5), torch.ones(1, 6, dtype=torch.bool)
    changed = whole(states, mask) - whole(frozen, mask)
    torch.testing.assert_close(made(states, mask, frozen), made.shrinkage * changed)
    assert 0 < made.shrinkage < 1 == whole.shrinkage
    assert float(made(states, mask, states)) == 0.0
    made.train()
    assert all(float(made(states, mask, states)) == 0.0 for _ in range(9))  # both sides meet the same dropout
    assert is_relative(made.state_dict()) and not is_relative(whole.state_dict())
    assert not is_relative({"classifier.weight": torch.zeros(2, 8)})  # a published head
    assert Head(32, 3, HeadOptions(readout=True)).relative and not Head(32, 3, HeadOptions()).relative


def test_one_frame_and_constant_speech_have_finite_gradients():
    made = head()
    for states in (heard(1), [torch.ones(1, 7, 32)] * 3):
        made.zero_grad()
        made(states, torch.ones(1, states[0].shape[1], dtype=torch.bool)).sum().backward()
        assert all(bool(weight.grad.isfinite().all()) for weight in made.parameters())


def test_dropout_is_for_training():
    made, states, mask = head(), heard(6), torch.ones(1, 6, dtype=torch.bool)
    assert torch.equal(made(states, mask), made(states, mask))
    made.train()
    assert len({float(made(states, mask)) for _ in range(9)}) > 1
