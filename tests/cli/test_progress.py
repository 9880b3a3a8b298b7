from __future__ import annotations

import io
import os

import pytest
from rich.console import Console

from molex_adapt.cli.options import running
from molex_adapt.cli.progress import Bar, Lines, WholeBar, listening, telling


def test_a_bar_shows_done_of_total_and_leaves_the_line_free():
    file = io.StringIO()
    bar = Bar(Console(file=file, force_terminal=True, width=80, color_system=None))
    bar.start("expert stage", 4)
    bar.advance(3)
    bar.note("dev EER 4.0 %")
    bar.stop()
    bar.stop()
    shown = file.getvalue()
    assert "expert stage" in shown
    assert "3/4" in shown
    assert "dev EER 4.0 %" in shown
    assert shown.endswith(("\n", "\x1b[?25h"))


def test_a_new_task_ends_the_one_before():
    file = io.StringIO()
    lines = Lines(Console(file=file, width=80))
    lines.start("first", 2)
    lines.advance()
    lines.start("second", 3)
    lines.stop()
    assert [line.split()[0] for line in file.getvalue().splitlines()] == [
        "first",
        "first:",
        "second",
        "second:",
    ]


def test_the_listener_stops_when_work_fails(capsys):
    def fail() -> None:
        with listening(quiet=False) as progress:
            progress.start("doomed", 2)
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    assert "doomed: " in capsys.readouterr().err


def test_quiet_says_nothing(capsys):
    with listening(quiet=True) as progress:
        progress.start("work", 1)
        progress.note("a remark")
    assert capsys.readouterr().err == ""


def test_workers_default_to_the_cores_there_are():
    for asked, expected in ((3, 3), (None, len(os.sched_getaffinity(0)))):
        with running(quiet=True, workers=asked) as run:
            assert run.workers == expected


def test_one_bar_stands_for_the_whole_and_leaves_nothing():
    file = io.StringIO()
    bar = WholeBar(Console(file=file, force_terminal=True, width=80, color_system=None))
    bar.step("forging real speech", 1, 3)
    bar.reach(0.4)
    bar.step("training one expert on griffin_lim", 2, 3)
    bar.note("a remark")
    bar.stop()
    shown = file.getvalue()
    assert "2/3 training one expert on griffin_lim" in shown
    assert "a remark" in shown
    assert "left" in shown
    assert shown.endswith("\x1b[2K")  # its line is cleared


def test_a_pipe_has_a_line_per_step():
    file = io.StringIO()
    lines = Lines(Console(file=file, width=80))
    for number, label in enumerate(("forging", "measuring"), 1):
        lines.step(label, number, 2)
        lines.reach(number / 2)
    lines.stop()
    assert file.getvalue() == "1/2 forging\n2/2 measuring\n"


def test_a_whole_that_fails_or_is_quiet_leaves_the_line_free(capsys):
    def fail() -> None:
        with telling(quiet=False) as listener:
            listener.step("doomed", 1, 1)
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    assert capsys.readouterr().err == "1/1 doomed\n"
    with telling(quiet=True) as listener:
        listener.step("work", 1, 1)
        listener.note("a remark")
    assert capsys.readouterr().err == ""
