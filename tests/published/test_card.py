from __future__ import annotations

import pytest

from molex_adapt.published import Card, read_card

CARDS = {
    "---\nlicense: cc-by-nc-sa-4.0\ndatasets:\n- a/B\n- C\n- a/B\n---\ntext": Card(
        "cc-by-nc-sa-4.0", ("a/B", "C")
    ),
    "---\r\nlicense: mit\r\ndatasets: D\r\n---\r\n": Card("mit", ("D",)),
    "---\nlicense: other\nlicense_name: house\n---\n": Card("house"),
    "---\nlicense: other\n---\n": Card("other"),
    "---\nlicense: [mit, apache-2.0]\ndatasets: [1, {a: b}]\n---\n": Card("mit, apache-2.0"),
    "# no metadata\nlicense: mit\n": Card(),
    "---\nlicense: mit\nlicense: gpl\n---\n": Card(),
    "---\n- a list\n---\n": Card(),
    "": Card(),
}


@pytest.mark.parametrize("text", CARDS)
def test_what_a_card_says(tmp_path, text):
    (tmp_path / "README.md").write_bytes(text.encode())
    assert read_card(tmp_path / "README.md") == CARDS[text]


def test_no_card(tmp_path):
    assert read_card(tmp_path / "README.md") == Card()
    (tmp_path / "README.md").write_bytes(b"---\nlicense: \xff\n---\n")
    assert read_card(tmp_path / "README.md") == Card()
