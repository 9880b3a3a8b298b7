from __future__ import annotations

import pytest
import torch

from molex_adapt.errors import MolexError
from molex_adapt.progress import Silent
from molex_adapt.recipe import StageOptions
from molex_adapt.run import Run
from molex_adapt.train.loop import ParameterGroup, Stage, fit


class Course:
    """A stage whose development losses are given; it notes the weight after every step."""

    def __init__(
        self,
        detector,
        losses: list[float],
        steps: int,
        patience: int = 4,
        evaluate_every: int = 1,
        least: float = 0.0,
    ):
        self.weight = detector.head.layer_weights
        self.start = self.weight.detach().clone()
        self.seen: list[torch.Tensor] = []
        self.losses = iter(losses)
        self.trainable: set[str] = set()
        self.detector = detector
        self.options = StageOptions(steps=steps, evaluate_every=evaluate_every)
        self.patience, self.least = patience, least

    def draw(self, _device):
        return None

    def loss(self, _batch):
        self.trainable = {name for name, weight in self.detector.named_parameters() if weight.requires_grad}
        return (self.weight - 5).square().sum()

    def development(self) -> float:
        self.seen.append(self.weight.detach().clone())
        return next(self.losses)

    def run(self, run=Run()):
        groups = [ParameterGroup([self.weight], 0.1)]
        stage = Stage("x", groups, self, self.loss, self.development, self.options, self.patience, self.least)
        return fit(self.detector, stage, run)


@pytest.fixture
def detector(detector_of, tiny_recipe):
    return detector_of(tiny_recipe(), "world")


def test_best_weights_are_kept_and_patience_ends_it(detector):
    course = Course(detector, [1.0, 0.5, 0.9, 0.6], steps=50, patience=2)
    fitted = course.run()
    assert (fitted.steps, fitted.best_step, fitted.loss_before, fitted.loss_best) == (3, 1, 1.0, 0.5)
    assert torch.equal(course.weight, course.seen[1])
    assert not torch.equal(course.weight, course.seen[3])


def test_small_improvements_are_kept_and_not_waited_for(detector):
    losses = [1.0, 0.9995, 0.99, 0.9895, 0.9891, 0.5]
    course = Course(detector, losses, steps=50, patience=2, least=1e-3)
    fitted = course.run()
    assert (fitted.steps, fitted.best_step, fitted.loss_best) == (4, 4, 0.9891)
    assert torch.equal(course.weight, course.seen[4])
    assert Course(detector, losses, steps=5, patience=2).run().steps == 5


def test_the_start_is_kept_where_nothing_is_better(detector):
    course = Course(detector, [0.1, 0.5, 0.9, 0.6, 0.7], steps=4, patience=9)
    assert course.run().best_step == 0
    assert torch.equal(course.weight, course.start)


def test_the_last_step_is_measured_whatever_the_interval(detector):
    course = Course(detector, [1.0, 0.9, 0.8], steps=5, evaluate_every=3)
    fitted = course.run()
    assert (fitted.steps, fitted.best_step) == (5, 5)
    assert torch.equal(course.weight, course.seen[2])


def test_no_steps_change_nothing(detector):
    course = Course(detector, [1.0], steps=0)
    assert course.run().steps == 0
    assert torch.equal(course.weight, course.start)


def test_only_the_given_weights_are_trainable_and_only_meanwhile(detector):
    course = Course(detector, [1.0, 0.9], steps=1)
    course.run()
    assert course.trainable == {"head.layer_weights"}
    assert not any(weight.requires_grad for weight in detector.parameters())
    assert not detector.training


def test_divergence_is_an_error_and_the_best_weights_stay(detector):
    course = Course(detector, [1.0, 0.5], steps=9)
    sound, factors = course.loss, iter([1.0, float("nan")])
    course.loss = lambda batch: sound(batch) * next(factors)
    with pytest.raises(
        MolexError, match=r"stage diverged: the loss became nan.* 0.1.*--set x.learning_rate=0.03"
    ):
        course.run()
    assert torch.equal(course.weight, course.seen[1])
    assert not any(weight.requires_grad for weight in detector.parameters())


def test_progress_hears_every_step(detector):
    heard: list[str] = []

    class Ear(Silent):
        def start(self, label, total):
            heard.append(f"{label} {total}")

        def advance(self, steps=1):
            heard.append("step")

        def stop(self):
            heard.append("stop")

    course = Course(detector, [1.0, 0.9, 0.8], steps=2)
    course.run(Run(progress=Ear()))
    assert heard == ["x stage 2", "step", "step", "stop"]


def test_a_callers_random_numbers_are_not_touched(detector):
    torch.manual_seed(7)
    expected = torch.rand(3)
    drawn = []
    for run in (Run(seed=1), Run(seed=2), Run(seed=1)):
        torch.manual_seed(7)
        course = Course(detector, [1.0, 0.9], steps=1)
        course.draw = lambda _device: drawn.append(float(torch.rand(1)))
        course.run(run)
        assert torch.equal(torch.rand(3), expected)
    assert drawn[0] == drawn[2] != drawn[1]
