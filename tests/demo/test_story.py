from __future__ import annotations

import pytest

from molex_adapt.demo.story import Step, Story


class Listener:
    def __init__(self) -> None:
        self.steps: list[tuple[str, int, int]] = []
        self.shares: list[float] = []
        self.notes: list[str] = []

    def step(self, label: str, number: int, count: int) -> None:
        self.steps.append((label, number, count))

    def reach(self, share: float) -> None:
        self.shares.append(share)

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def listener() -> Listener:
    return Listener()


def test_tasks_add_up_to_one_whole(listener):
    story = Story(listener, [Step("first", [2.0, 2.0]), Step("second", [4.0])])
    story.enter()
    story.start("a", 4)
    story.advance(2)
    assert listener.shares[-1] == pytest.approx(1 / 8)
    story.stop()
    assert listener.shares[-1] == pytest.approx(2 / 8)
    story.start("b", 2)
    story.enter()  # whatever "b" left undone belongs to the step that is over
    assert listener.shares[-1] == pytest.approx(4 / 8)
    story.start("c", 1)
    story.advance()
    story.stop()
    assert listener.shares[-1] == pytest.approx(1.0)
    assert listener.steps == [("first", 1, 2), ("second", 2, 2)]
    assert listener.shares == sorted(listener.shares)


def test_more_tasks_than_were_foreseen_stay_within_their_step(listener):
    story = Story(listener, [Step("first", [1.0]), Step("second", [1.0])])
    story.enter()
    for label in "abc":
        story.start(label, 0)
        story.advance(3)
        story.stop()
    assert listener.shares[-1] == pytest.approx(0.5)
    story.note("a remark")
    assert listener.notes == ["a remark"]
