"""Options that recipes had once. A registry keeps the recipes of its generations, and those have to stay readable."""

from __future__ import annotations

from typing import Any

from molex_adapt.plain import dump_yaml, load_yaml
from molex_adapt.recipe.options import HeadOptions
from molex_adapt.text import shown

_STAGES = ("joint", "expert", "router_stage")
ATTENTION, MEMORY = "head.attention", "data.memory_gib"

GONE = {
    ATTENTION: "it is half of head.width",
    MEMORY: "a quarter of the machine's memory is for features",
    **{f"{stage}.development": "64, more where evaluations are far apart" for stage in _STAGES},
    "joint.head": "joint training always trains the head",
    "router_stage.router_learning_rate": "all stages share training.router_learning_rate",
    "router_stage.head": "the router stage moves router rows and nothing else",
    "router_stage.head_learning_rate": "the router stage moves router rows and nothing else",
    "router_stage.distillation": "no stage holds on to old scores; old domains are replayed",
    "expert.head": "the expert stage leaves the shared head as it is",
    "expert.head_learning_rate": "the expert stage leaves the shared head as it is",
    "expert.way": "the new expert is trained inside the mixture, with replay",
    "expert.start": "the new expert starts as one that changes nothing",
    "expert.gate_at": "the new expert's gates open for its own attack, in closed form",
    "expert.gate_start": "the new expert's gates open for its own attack, in closed form",
    "expert.then_routers": "a router stage always follows; router_stage.steps=0 leaves it out",
    "expert.rows": "the expert stage trains the new expert's router rows, and the router stage all",
    "expert.orthogonality": "only joint training has this penalty, by joint.orthogonality",
    "expert.domain_loss": "the weight of this loss is router.domain_loss",
    "expert.keep_out": "old domains are held by their routing statistics, and by replay where exemplars are kept",
    "expert.replay_by": "old domains are replayed by their present loss",
    "expert.distillation": "no stage holds on to old scores; old domains are replayed",
    "calibration": "add-expert keeps it, but for its offset; other changes have old domains err as they did",
    "exemplars.directions": "routing statistics are always kept, with 16 directions",
}
"""By key: what is done without it."""
MOVED = {
    "expert.batch_size": "training.batch_size",
    "expert.patience": "training.patience",
    "expert.router_learning_rate": "training.router_learning_rate",
    "expert.replay_share": "training.replay_share",
    "joint.batch_size": "training.batch_size",
    "joint.patience": "training.patience",
    "joint.router_learning_rate": "training.router_learning_rate",
    "router_stage.batch_size": "training.batch_size",
    "router_stage.patience": "training.patience",
    "router_stage.learning_rate": "training.router_learning_rate",
    "router_stage.replay_share": "training.replay_share",
}
"""By key: the option that says it now. A stored value goes there; of several the first here, and none where a recipe
has the new option already."""
FOLLOWING = {"joint.head_learning_rate": "joint.learning_rate", "exemplars.seconds": "data.crop_seconds"}
"""By key: the option that decides it now, and whose own value a stored one does not replace."""
FIXED: dict[str, float | bool | str] = {
    "head.dropout": 0.1,
    "data.min_seconds": 0.5,
    "data.split_seed": 0,
    **{f"{stage}.weight_decay": 1e-2 for stage in _STAGES},
    **{f"{stage}.warmup": 0.05 for stage in _STAGES},
    **{f"{stage}.gradient_clip": 1.0 for stage in _STAGES},
    **{f"{stage}.twin_loss": 1.0 for stage in _STAGES},
    "joint.shortest_crop": 1.0,
    "expert.shortest_crop": 0.5,
    "router_stage.shortest_crop": 0.5,
    "gate.confidence": 0.95,
    "gate.bootstrap": 1000,
    "gate.certain": True,
}
"""By key: the value that it always has now."""
SINCE = {"data.split_seed": ("joint.draws", 0)}
"""By key: the option that came when it went, and the value that stands for what was done before."""
RETIRED = (
    GONE
    | {key: f"{new} says it now" for key, new in (MOVED | FOLLOWING).items()}
    | {key: f"it is always {value}" for key, value in FIXED.items()}
)
"""By key: what holds in its place. Stored recipes may have these keys; in a recipe that a user gives they are wrong."""


def without_retired(content: Any) -> Any:
    """Parsed YAML without retired keys, moved values in their new places; the content itself is left as it is."""
    if not isinstance(content, dict):
        return content
    kept = {name: dict(value) if isinstance(value, dict) else value for name, value in content.items()}
    for key in retired_keys(content):
        section, name = _split(key)
        value = (kept[section] if section else kept).pop(name)
        now = (MOVED[key], value) if key in MOVED else SINCE.get(key)
        if now is not None:
            section, name = _split(now[0])
            place = kept.setdefault(section, {})
            if isinstance(place, dict):
                place.setdefault(name, now[1])
    return kept


def retired_keys(content: Any) -> list[str]:
    """The retired keys that parsed YAML has, in the order of `RETIRED`."""
    return [key for key in RETIRED if _has(content, key)]


def unsupported(content: Any) -> str | None:
    """Why a mixture of a stored recipe cannot be built by this version; None where it can, as far as keys tell."""
    if not _has(content, ATTENTION):
        return None
    width, attention = content["head"].get("width", HeadOptions().width), content["head"]["attention"]
    if not isinstance(width, int) or attention == width // 2:
        return None
    return (
        f"head.attention is {shown(attention)} where head.width is {shown(width)}; in this version it is always half "
        "of the width. Use the registry with the version of molex-adapt that made it"
    )


def readable(text: str) -> tuple[str, list[str]]:
    """A stored recipe as a user can give it to this version, and the keys whose values are lost.

    A recipe without retired keys comes back verbatim, and so does text that is no plain YAML.
    """
    try:
        content = load_yaml(text)
    except ValueError:
        return text, []
    gone = retired_keys(content)
    if not gone:
        return text, []
    kept = without_retired(content)
    return dump_yaml(kept), [key for key in gone if not _holds(key, content, kept)]


def _holds(key: str, content: dict[str, Any], kept: dict[str, Any]) -> bool:
    """Whether this version does what a stored retired key says."""
    value, now = _value(content, key), (MOVED | FOLLOWING).get(key)
    if now is not None:
        return bool(value == _value(kept, now))
    if key == ATTENTION:
        return unsupported(content) is None
    # Where features lie decides nothing of what is learnt from them.
    return key == MEMORY or (key in FIXED and bool(value == FIXED[key]))


def _has(content: Any, key: str) -> bool:
    section, name = _split(key)
    if section and isinstance(content, dict):
        content = content.get(section)
    return isinstance(content, dict) and name in content


def _value(content: dict[str, Any], key: str) -> Any:
    section, name = _split(key)
    return (content[section] if section else content)[name] if _has(content, key) else None


def _split(key: str) -> tuple[str, str]:
    section, _, name = key.rpartition(".")
    return section, name
