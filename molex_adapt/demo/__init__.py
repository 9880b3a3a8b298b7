"""The whole story on real speech, offline: an unknown attack, a new expert, what it changed, who did the work."""

from molex_adapt.demo.report import DemoReport
from molex_adapt.demo.run import run_demo

__all__ = ["DemoReport", "run_demo"]
