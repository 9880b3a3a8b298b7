from __future__ import annotations

from pathlib import Path

import pytest

from molex_adapt.demo import domains as demo_domains
from molex_adapt.demo.domains import VOICES, find_speech
from molex_adapt.errors import DataError


def write(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x55" * 8000)


@pytest.fixture
def installed(tmp_path, monkeypatch) -> Path:
    """Debian's folder of prompts, with a recording of each voice that the demonstration names."""
    for voice in VOICES.values():
        write(tmp_path / voice / "digits" / "1.g722")
    monkeypatch.setattr(demo_domains, "PROMPTS", tmp_path)
    return tmp_path


def test_the_demonstration_takes_its_own_packages_alone(installed):
    """Other packages put other voices into the same folder, and other formats beside the same recordings."""
    for other in ("es_CO_f_Somebody/hola.g722", "fr_armelle/bonjour.wav", "loose.g722"):
        write(installed / other)
    for suffix in (".wav", ".gsm"):
        write(installed / VOICES["en"] / "digits" / f"1{suffix}")
    (installed / "en").symlink_to(installed / VOICES["en"])
    assert [item.source for item in find_speech(None)] == sorted(
        f"{name}/digits/1" for name in VOICES.values()
    )
    write(installed / VOICES["it"] / "due.g722")
    assert len(find_speech(None)) == 6
    assert len(find_speech(installed)) > 6  # a folder that the user names is taken whole


def test_a_package_that_is_missing_is_named(installed):
    (installed / VOICES["ru"] / "digits" / "1.g722").unlink()
    (installed / VOICES["ru"] / "digits").rmdir()
    (installed / VOICES["ru"]).rmdir()
    with pytest.raises(
        DataError, match=r"lacks ru_RU_f_IvrvoiceRU\. .*apt-get install asterisk-core-sounds-ru-g722\)"
    ):
        find_speech(None)
