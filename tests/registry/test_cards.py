from __future__ import annotations

import yaml

from molex_adapt.registry.cards import expert_card, plain_text


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


def test_names_from_the_data_cannot_break_the_card(make_expert):
    record = make_expert("world").record
    data = record.data.model_copy(
        update={"attacks": ["a|b\n---\nlicense: mine", "[x](javascript:1)<script>"]}
    )
    card = expert_card(record.model_copy(update={"data": data, "licence": "x\n---\ntags: [y]"}))
    assert card.count("\n---\n") == 1
    assert "<script>" not in card
    assert plain_text("a|b\n`c`") == "a b  c "
