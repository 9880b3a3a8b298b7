"""Options that recipes had once. A registry keeps the recipes of its generations, and those have to stay readable."""

from __future__ import annotations

from typing import Any

import yaml

from molex_adapt.plain import load_yaml
from molex_adapt.text import short

RETIRED = {
    "joint.head": "joint training always trains the head",
    "router_stage.router_learning_rate": "the router stage learns at router_stage.learning_rate",
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
    "expert.keep_out": "old domains are held by replay",
    "expert.replay_by": "old domains are replayed by their present loss",
    "expert.distillation": "no stage holds on to old scores; old domains are replayed",
    "exemplars.directions": "no statistics of router inputs are kept; exemplars.replay keeps features",
    "exemplars.seconds": "exemplars are as long as a crop, data.crop_seconds",
    "head.attention": "half of head.width",
    "head.dropout": "a constant of the head",
    "data.min_seconds": "a constant of the audit",
    "data.memory_gib": "a quarter of the machine's memory",
    "joint.head_learning_rate": "the head learns at joint.learning_rate",
    "router_stage.learning_rate": "router rows learn at training.router_learning_rate",
    **{
        f"{stage}.{key}": f"all stages have training.{key}"
        for stage in ("joint", "expert", "router_stage")
        for key in ("batch_size", "patience", "router_learning_rate", "replay_share")
        if (stage, key) not in {("joint", "replay_share"), ("router_stage", "router_learning_rate")}
    },
    **{
        f"{stage}.{key}": "a constant of training"
        for stage in ("joint", "expert", "router_stage")
        for key in ("weight_decay", "warmup", "gradient_clip", "development", "twin_loss", "shortest_crop")
    },
    **{
        f"gate.{key}": "a constant of the acceptance: 1000 draws, 95 %, and a rise counts when its interval does"
        for key in ("confidence", "bootstrap", "certain")
    },
    "calibration": "old domains always keep their error rates at the frozen threshold",
}
"""By key: what holds in its place. Stored recipes may have these keys; in a recipe that a user gives they are wrong."""

_CARRIED = ("batch_size", "patience", "router_learning_rate", "replay_share")
"""What each stage had for itself, and `training` has for all. Of a stored recipe the expert stage's values hold."""


def without_retired(content: Any) -> Any:
    """Parsed YAML without retired keys; the content itself is left as it is.

    Raises:
        ValueError: the recipe describes a mixture that this version cannot build.
    """
    if not isinstance(content, dict):
        return content
    kept = dict(content)
    for key in retired_keys(content):
        section, _, name = key.rpartition(".")
        if section:
            kept[section] = {other: value for other, value in kept[section].items() if other != name}
        else:
            del kept[name]
    expert, head = content.get("expert"), content.get("head")
    if isinstance(expert, dict) and "training" not in content:
        carried = {name: expert[name] for name in _CARRIED if name in expert}
        kept |= {"training": carried} if carried else {}
    if isinstance(head, dict) and "attention" in head:
        width, attention = head.get("width"), head["attention"]
        if not (isinstance(attention, int) and 2 * attention == width):
            raise ValueError(
                f"head.attention = {short(attention, 40)} with head.width = {short(width, 40)}: this version builds "
                "heads whose attention is half of their width. Use this registry with the version that made it"
            )
    return kept


def retired_keys(content: Any) -> list[str]:
    """The retired keys that parsed YAML has, in the order of `RETIRED`."""
    if not isinstance(content, dict):
        return []
    found = []
    for key in RETIRED:
        section, _, name = key.rpartition(".")
        holder = content.get(section) if section else content
        if isinstance(holder, dict) and name in holder:
            found.append(key)
    return found


def readable(text: str) -> tuple[str, list[str]]:
    """A stored recipe as a user can give it to this version, and the keys that it lost.

    A recipe without retired keys comes back verbatim, and so does text that is no plain YAML.
    """
    try:
        content = load_yaml(text)
        kept = without_retired(content)
    except ValueError:
        return text, []
    gone = retired_keys(content)
    return (yaml.safe_dump(kept, sort_keys=False) if gone else text), gone
