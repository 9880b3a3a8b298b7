"""Options that recipes had once. A registry keeps the recipes of its generations, and those have to stay readable."""

from __future__ import annotations

from typing import Any

import yaml

from molex_adapt.plain import load_yaml

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
}
"""By key: what holds in its place. Stored recipes may have these keys; in a recipe that a user gives they are wrong."""


def without_retired(content: Any) -> Any:
    """Parsed YAML without retired keys; the content itself is left as it is."""
    if not isinstance(content, dict):
        return content
    kept = dict(content)
    for key in retired_keys(content):
        section, _, name = key.partition(".")
        kept[section] = {other: value for other, value in kept[section].items() if other != name}
    return kept


def retired_keys(content: Any) -> list[str]:
    """The retired keys that parsed YAML has, in the order of `RETIRED`."""
    if not isinstance(content, dict):
        return []
    found = []
    for key in RETIRED:
        section, _, name = key.partition(".")
        if isinstance(content.get(section), dict) and name in content[section]:
            found.append(key)
    return found


def readable(text: str) -> tuple[str, list[str]]:
    """A stored recipe as a user can give it to this version, and the keys that it lost.

    A recipe without retired keys comes back verbatim, and so does text that is no plain YAML.
    """
    try:
        content = load_yaml(text)
    except ValueError:
        return text, []
    gone = retired_keys(content)
    return (yaml.safe_dump(without_retired(content), sort_keys=False) if gone else text), gone
