"""Small trees of published corpora, in the form in which they are distributed; recordings are empty files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

Tree = Callable[[Path], Path]

LA_2019 = {
    "train.trn": ("train", "LA_0079 LA_T_1138215 - - bonafide\nLA_0079 LA_T_1271820 - A01 spoof\n"),
    "dev.trl": ("dev", "LA_0069 LA_D_1047731 - - bonafide\nLA_0070 LA_D_9999999 - A06 spoof\n"),
    "eval.trl": ("eval", "LA_0039 LA_E_2834763 - A11 spoof\nLA_0014 LA_E_8877452 - - bonafide\n"),
}
LA_2021 = """\
LA_0009 LA_E_9332881 alaw ita_tx A07 spoof notrim eval
LA_0009 LA_E_6866159 none loc_tx A07 spoof notrim eval
LA_0020 LA_E_5464494 pstn mad_tx bonafide bonafide notrim eval
LA_0020 LA_E_8589971 none loc_tx bonafide bonafide notrim progress
LA_0009 LA_E_1111111 opus sin_tx A19 spoof trim hidden
"""
DF_2021 = """\
LA_0023 DF_E_2000011 nocodec asvspoof A14 spoof notrim progress traditional_vocoder - - - -
TEF2 DF_E_2000012 low_m4a vcc2020 Task1-team20 spoof notrim eval neural_vocoder_autoregressive Task1 team20 FF E
LA_0023 DF_E_2000013 oggm4a asvspoof - bonafide notrim eval bonafide - - - -
"""
FIVE = {
    "train": (
        "flac_T",
        "T_4850 T_0000000000 F - - - AC3 A05 spoof -\nT_0007 T_0000000001 M - - - - bonafide bonafide -\n",
    ),
    "dev.track_1": (
        "flac_D",
        "D_0062 D_0000000001 F - - - AC1 A11 spoof -\nD_0755 D_0000000022 M - - - - bonafide bonafide -\n",
    ),
    "eval.track_1": (
        "flac_E_eval",
        """\
E_1607 E_0009538969 M C05 4 E_0000117639 - bonafide bonafide -
E_1607 E_0000117639 M - 0 - - bonafide bonafide -
E_0031 E_0001111111 F C02 2 E_0000000009 AC2 A19 spoof -
""",
    ),
}
IN_THE_WILD = """\
file,speaker,label
0.wav,Alec Guinness,spoof
1.wav,Alec Guinness,spoof
2.wav,Barack Obama,bona-fide
"""
PARTIAL = {
    "train": "LA_0079 CON_T_0000000 - CON spoof\nLA_0079 LA_T_1138215 - - bonafide\n",
    "dev": "LA_0069 CON_D_0000001 - CON spoof\nLA_0069 LA_D_1047731 - - bonafide\n",
    "eval": "LA_0039 CON_E_0000001 - CON spoof\nLA_0014 LA_E_8877452 - - bonafide\n",
}
SPOOFCELEB = {
    "train": ("id10001/J9lHsKG98U8-00001-001", "a01"),
    "development": ("id10318/YYsxcZ5saac-00002-006", "a06"),
    "evaluation": ("id10270/5r0dWxy17C8-00001-002", "a15"),
}
"""A recording of each part, and the attack that there is of it."""
MLAAD_HEAD = (
    "path|original_file|language|is_original_language|duration|training_data|model_name|architecture"
    "|transcript"
)
BOOK = "by_book/female/judy_bieber/ozma_of_oz/wavs"
MLAAD = {
    "en/tts_models_en_ljspeech_vits": ("ozma_01_f000001.wav", "ozma_01_f000002.wav"),
    "zh-cn/bark": ("ozma_01_f000001.wav",),
}


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def second(text: str) -> list[str]:
    return [line.split()[1] for line in text.splitlines()]


def asvspoof2019(root: Path) -> Path:
    for part, (folder, text) in LA_2019.items():
        write(root / "LA/ASVspoof2019_LA_cm_protocols" / f"ASVspoof2019.LA.cm.{part}.txt", text)
        touch(*(root / f"LA/ASVspoof2019_LA_{folder}/flac/{name}.flac" for name in second(text)))
    return root


def asvspoof2021_la(root: Path) -> Path:
    write(root / "LA-keys-full/keys/LA/CM/trial_metadata.txt", LA_2021)
    write(root / "ASVspoof2021_LA_eval/ASVspoof2021.LA.cm.eval.trl.txt", "\n".join(second(LA_2021)))
    touch(*(root / f"ASVspoof2021_LA_eval/flac/{name}.flac" for name in second(LA_2021)))
    return root


def asvspoof2021_df(root: Path) -> Path:
    """In the pieces in which it is downloaded."""
    write(root / "keys/DF/CM/trial_metadata.txt", DF_2021)
    for number, name in enumerate(second(DF_2021)):
        touch(root / f"ASVspoof2021_DF_eval_part0{number}/ASVspoof2021_DF_eval/flac/{name}.flac")
    return root


def asvspoof5(root: Path) -> Path:
    for part, (folder, text) in FIVE.items():
        write(root / f"ASVspoof5_protocols/ASVspoof5.{part}.tsv", text)
        touch(*(root / folder / f"{name}.flac" for name in second(text)))
    return root


def in_the_wild(root: Path) -> Path:
    write(root / "release_in_the_wild/meta.csv", IN_THE_WILD)
    touch(*(root / f"release_in_the_wild/{number}.wav" for number in range(3)))
    return root


def mlaad(root: Path) -> Path:
    """With what it really has: a language in paths that is not the folder's, quotation marks that are not closed."""
    for folder, names in MLAAD.items():
        language, system = folder.split("/")
        rows = [
            f'./fake/{language[:2]}/{system}/{name}|en_US/{BOOK}/{name}|{language}|True|3.2|x|a/b|vits|"Well, she said.'
            for name in names
        ]
        write(root / "fake" / folder / "meta.csv", "\n".join((MLAAD_HEAD, *rows, "")))
        touch(*(root / "fake" / folder / name for name in names))
    write(
        root / f"M-AILABS/en_US/{BOOK}".removesuffix("wavs") / "metadata.csv", "ozma_01_f000001|Well.|Well.\n"
    )
    touch(*(root / f"M-AILABS/en_US/{BOOK}/ozma_01_f00000{number}.wav" for number in (1, 2, 3)))
    return root


def wavefake(root: Path) -> Path:
    made = root / "generated_audio"
    touch(*(made / "ljspeech_melgan" / f"LJ001-000{number}_gen.wav" for number in (1, 2)))
    touch(made / "ljspeech_hifiGAN/LJ001-0001_gen.wav", made / "jsut_parallel_wavegan/BASIC5000_0001_gen.wav")
    touch(made / "common_voices_prompts_from_conformer_fastspeech2_pwg_ljspeech/gen_1.wav")
    touch(*(root / f"LJSpeech-1.1/wavs/LJ001-000{number}.wav" for number in (1, 2)))
    touch(root / "jsut_ver1.1/basic5000/wav/BASIC5000_0001.wav")
    return root


def fake_or_real(root: Path) -> Path:
    for part in ("training", "validation", "testing"):
        for label in ("fake", "real"):
            name = "file1.wav_16k.wav_norm.wav_mono.wav_silence.wav"
            touch(root / "for-norm/for-norm" / part / label / name)
    return root


def spoofceleb(root: Path) -> Path:
    for part, (name, spoof) in SPOOFCELEB.items():
        files = {attack: f"{attack}/{name}.flac" for attack in ("a00", spoof)}
        rows = [f"{file},{name.partition('/')[0]},{attack}" for attack, file in files.items()]
        write(root / f"spoofceleb/metadata/{part}.csv", "\n".join(("file,speaker,attack", *rows, "")))
        touch(*(root / "spoofceleb/flac" / part / file for file in files.values()))
    return root


def partialspoof(root: Path) -> Path:
    base = root / "database"
    for part, text in PARTIAL.items():
        write(base / f"protocols/PartialSpoof_LA_cm_protocols/PartialSpoof.LA.cm.{part}.trl.txt", text)
        touch(*(base / part / "con_wav" / f"{name}.wav" for name in second(text)))
        write(base / part / f"{part}.lst", "\n".join(second(text)))
        labels = {name: ("110011000" if name.startswith("CON") else "1111") for name in second(text)}
        write_labels(base, part, 0.01, labels)
        write_labels(base, part, 0.16, {name: min(signs) for name, signs in labels.items()})
    return root


def write_labels(base: Path, part: str, step: float, labels: dict[str, str]) -> Path:
    """Labels of segments as PartialSpoof has them: a dictionary of arrays of text, pickled by NumPy."""
    path = base / "segment_labels" / f"{part}_seglab_{step}.npy"
    path.parent.mkdir(exist_ok=True)
    np.save(path, {name: np.array([*signs]) for name, signs in labels.items()})  # type: ignore[arg-type]
    return path


TREES: dict[str, Tree] = {
    "ASVspoof 2019 LA": asvspoof2019,
    "ASVspoof 2021 LA": asvspoof2021_la,
    "ASVspoof 2021 DF": asvspoof2021_df,
    "ASVspoof 5": asvspoof5,
    "In-the-Wild": in_the_wild,
    "MLAAD": mlaad,
    "WaveFake": wavefake,
    "Fake-or-Real": fake_or_real,
    "SpoofCeleb": spoofceleb,
    "PartialSpoof": partialspoof,
}
