from __future__ import annotations

import ast
import re

import pytest
import yaml

from molex_adapt.registry.cards import expert_card


def test_the_card_says_what_data_and_how_good(store):
    text = (store.path / "experts/world/README.md").read_text()
    _, metadata, body = text.split("---\n", 2)
    fields = yaml.safe_load(metadata)
    assert fields["library_name"] == "peft"
    assert fields["base_model"] == "someone/speech"
    assert fields["license"] == "cc-by-4.0"
    assert "audio-deepfake-detection" in fields["tags"]
    assert "| train | 3 | 5 |" in body
    assert "| world | 12.5 (10.0–15.0) |" in body
    assert "cd" * 32 in body
    assert "ab" * 32 in body
    assert "A07" in body
    for part in ("molex-adapt score", "PeftModel.from_pretrained", "Registry.open", "## Limits"):
        assert part in body
    assert str(store.path) not in text


def test_a_card_without_figures_says_so(make_expert):
    record = make_expert("world").record.model_copy(update={"metrics": {"world": None}})
    assert "Not measured." in expert_card(record)


@pytest.mark.parametrize("interval", [True, 7, "ab", [0.1], None])
def test_an_interval_that_is_none_is_not_shown(make_expert, interval):
    record = make_expert("world").record.model_copy(
        update={"metrics": {"world": {"eer": 0.2, "eer_ci": interval}}}
    )
    assert "| world | 20.0 (?–?) |" in expert_card(record)


@pytest.mark.parametrize(("spoof", "shown"), [(9, "20.0 (?–?)"), (10, "20.0 (10.0–30.0)")])
def test_of_too_few_recordings_a_card_has_no_interval(make_expert, spoof, shown):
    figures = {"eer": 0.2, "eer_ci": [0.1, 0.3], "bona_fide": 40, "spoof": spoof}
    record = make_expert("world").record.model_copy(update={"metrics": {"world": figures}})
    assert f"| world | {shown} |" in expert_card(record)


def test_names_from_the_data_cannot_break_the_card(make_expert):
    record = make_expert("world").record
    data = record.data.model_copy(
        update={"attacks": ["a|b\n---\nlicense: mine", "[x](javascript:1)<script>"]}
    )
    card = expert_card(record.model_copy(update={"data": data, "licence": "x\n---\ntags: [y]"}))
    assert card.count("\n---\n") == 1
    assert "<script>" not in card
    assert "Attacks: a b --- license: mine, x (javascript:1) script." in card


def test_the_card_counts_the_conditions_of_the_data(make_expert):
    record = make_expert("world").record
    assert "Conditions" not in expert_card(record)
    heard = {"gsm": {"bonafide": 3, "spoof": 4}, "a|b\n# c": {"bonafide": 1, "spoof": 0}}
    data = record.data.model_copy(update={"conditions": heard})
    card = expert_card(record.model_copy(update={"data": data}))
    assert "Conditions (bona fide, spoof): gsm (3, 4), a b \\# c (1, 0).\n" in card


HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "[click](javascript:alert(1))",
    "![x](https://evil.example/x.png)",
    "https://evil.example",
    "www.evil.example",
    "a@evil.example",
    "# heading",
    "*bold* __bold__ ~~gone~~",
    "x | y | z",
    "a\n\n## Injected\n\n| a |",
    "---\nlicense: mine\n---",
    "```\nrm -rf /\n```",
    "\u202egnp\u202c\x1b[31m\x00",
    '"); import os; os.system("x")  # \\',
    "\\",
    "&lt;script&gt;",
    "x" * 10_000,
]


@pytest.mark.parametrize("text", HOSTILE)
def test_records_of_others_cannot_break_the_card(make_expert, text):
    record = make_expert("world").record
    hostile = record.model_copy(
        update={
            "licence": text,
            "created": text,
            "targets": [text],
            "base": record.base.model_copy(update={"id": f"a/{text}", "revision": text}),
            "versions": {text: text},
            "metrics": {text: {"eer": 0.1, "eer_ci": [text], "min_dcf": text, "bona_fide": text}},
            "data": record.data.model_copy(
                update={"attacks": [text], "digest": text, "split_by": text, "counts": {text: {"spoof": 1}}}
            ),
        }
    )
    card = expert_card(hostile)
    _, metadata, body = card.split("---\n", 2)
    assert yaml.safe_load(metadata).keys() == {"library_name", "license", "base_model", "tags"}
    prose = re.sub(r"```.*?```|`[^`]*`", "", body, flags=re.DOTALL)
    assert body.count("```") == expert_card(record).count("```")
    assert not re.search(r"<[a-zA-Z!/]|\]\(|://|www\.|\w@\w", prose)
    assert not re.search(r"(?<!\\)[*_~!&]", prose)
    headings = re.findall(r"^#+ .*$", body, re.MULTILINE)
    assert headings == re.findall(r"^#+ .*$", expert_card(record), re.MULTILINE)
    assert not {"\x1b", "\x00", "\u202e"} & set(card)
    assert all(len(line) < 1500 for line in card.splitlines())
    blocks = re.findall(r"```python\n(.*?)```", body, re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        tree = ast.parse(block)
        calls = {ast.unparse(item.func) for item in ast.walk(tree) if isinstance(item, ast.Call)}
        assert calls <= {
            "Registry.open('REGISTRY').score",
            "Registry.open",
            "AutoModel.from_pretrained",
            "PeftModel.from_pretrained",
        }
