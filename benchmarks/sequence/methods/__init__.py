"""All methods by name."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.sequence.methods.any_ssr import AnySsr
from benchmarks.sequence.methods.base import Learnt, Method, Setting
from benchmarks.sequence.methods.closed_form import RanPac, Ridge
from benchmarks.sequence.methods.lora import OneLora
from benchmarks.sequence.methods.ours import Ours
from benchmarks.sequence.methods.radian import Rwm
from benchmarks.sequence.methods.regularised import Ewc, Lwf
from benchmarks.sequence.methods.replayed import Der, HeadAlone, Replay, ReplayBesideReadout
from benchmarks.sequence.methods.separate import Alone, Arrow
from benchmarks.sequence.methods.simple import Statistics
from benchmarks.sequence.methods.together import Joint, JointLora

METHODS: dict[str, Callable[[Setting], Method]] = {
    "ours": Ours,
    "joint": Joint,
    "joint_lora": JointLora,
    "alone": Alone,
    "replay": Replay,
    "replay_readout": ReplayBesideReadout,
    "der": Der,
    "naive": OneLora,
    "ewc": Ewc,
    "lwf": Lwf,
    "rwm": Rwm,
    "arrow": Arrow,
    "any_ssr": AnySsr,
    "head": HeadAlone,
    "ridge": Ridge,
    "ranpac": RanPac,
    "lfcc": lambda setting: Statistics("lfcc", cumulative=True),
    "average_spectrum": lambda setting: Statistics("average_spectrum", cumulative=False),
    "duration": lambda setting: Statistics("duration", cumulative=False),
}
TOGETHER = ("joint", "joint_lora")
"""Those that learn all domains at once: their scores after a step between the first and the last are of the first."""

__all__ = ["METHODS", "TOGETHER", "Learnt", "Method", "Setting"]
