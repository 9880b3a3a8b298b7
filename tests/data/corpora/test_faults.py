"""What is wrong in the lists of a corpus is named with its line."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable

import pytest

from molex_adapt.data import read
from molex_adapt.data.corpora.corpus import unwatched
from molex_adapt.data.corpora.known import layout_of
from molex_adapt.data.corpora.protocol import list_protocol_names
from molex_adapt.errors import DataError

PROTOCOL = "LA/ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm.train.trn.txt"
GOOD = "LA_0079 LA_T_1138215 - - bonafide\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD + "LA_0079 LA_T_2 - A01 bonafide\n", "line 2: labelled 'bonafide', with the attack 'A01'"),
        (GOOD + "LA_0079 LA_T_2 - bonafide spoof\n", "line 2: labelled 'spoof', with the attack 'bonafide'"),
        (GOOD + "\nLA_0079 LA_T_2 - A01 1\n", "line 3: label '1' .* which class a number means differs"),
        (GOOD + GOOD, "line 2: 'LA_T_1138215' is already in line 1; keep one of the two"),
        (
            GOOD + "LA_0079 LA_T_2 - A01\n" + "x\n" * 6,
            r"line 2: 4 columns(.|\n)*line 3: 1 columns(.|\n)*and 2 more",
        ),
    ],
)
def test_faults_of_a_protocol(tree, text, message):
    root = tree("ASVspoof 2019 LA")
    (root / PROTOCOL).write_text(text)
    with pytest.raises(DataError, match=rf"train\.trn\.txt, {message}"):
        read(root)


def test_an_id_in_two_parts_would_be_heard_twice(tree):
    root = tree("ASVspoof 2019 LA")
    dev = root / "LA/ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm.dev.trl.txt"
    dev.write_text(dev.read_text() + GOOD)
    with pytest.raises(
        DataError, match=r"dev\.trl\.txt, line 3: 'LA_T_1138215' is also in .*train\.trn\.txt, line 1"
    ):
        read(root)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("3.wav,Somebody,1", "line 5: label '1' is none of .* which class a number means"),
        ("3.wav,Somebody,bonafid", "line 5: label 'bonafid' .*did you mean 'bonafide'"),
        ("../3.wav,Somebody,spoof", r"line 5: the file name is '\.\./3\.wav'"),
        ("2.wav,Barack Obama,spoof", "line 5: '2.wav' is already in line 4"),
        ("3.wav,Somebody", "line 5: 2 columns; expected the 3 of the heading, file,speaker,label"),
    ],
)
def test_faults_of_in_the_wild(tree, row, message):
    root = tree("In-the-Wild")
    meta = root / "release_in_the_wild/meta.csv"
    meta.write_text(meta.read_text() + row + "\n")
    with pytest.raises(DataError, match=message):
        read(root)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a00/id1/x.flac,id1,a03", "line 4: 'a00/id1/x.flac' with the attack a03; a00 is bona fide speech"),
        ("a03/id1/x.flac,id1,a00", "line 4: 'a03/id1/x.flac' with the attack a00"),
        ("a03/id1/x.flac,id1,", "line 4: no attack"),
        ("/etc/passwd,id1,a03", "line 4: the file name is '/etc/passwd'"),
    ],
)
def test_faults_of_spoofceleb(tree, row, message):
    root = tree("SpoofCeleb")
    path = root / "spoofceleb/metadata/train.csv"
    path.write_text(path.read_text() + row + "\n")
    with pytest.raises(DataError, match=message):
        read(root)


def test_a_sentence_of_mlaad_that_goes_on_in_the_next_line_names_nothing(tree):
    root = tree("MLAAD")
    meta = root / "fake/zh-cn/bark/meta.csv"
    meta.write_text(meta.read_text() + "and goes on|here\n")
    table = read(root)
    assert table.counts()["spoof"] == 3
    assert "lines that name no recording: 1" in table.remarks[0]


def lines(count: int) -> str:
    return "".join(
        f"E_{at % 1000:04d} E_{at:010d} M C{at % 11 + 1:02d} 4 E_{at // 5:010d} AC1 A{at % 16 + 17} spoof -\n"
        for at in range(count)
    )


def test_a_long_protocol_is_read_in_the_time_of_three_readings_as_plain_csv(tmp_path):
    path = tmp_path / "ASVspoof5.eval.track_1.tsv"
    path.write_text(lines(60_000))

    def protocol() -> None:
        (listing,) = list_protocol_names(path, layout_of(path))
        last = listing.utterances[-1]
        assert len(listing.utterances) == 60_000 and last.condition == f"C{59_999 % 11 + 1:02d}"

    def plain() -> None:
        with path.open(newline="") as file:
            assert len(list(csv.DictReader(file, [*"abcdefghij"], delimiter=" "))) == 60_000

    def seconds(read: Callable[[], None]) -> float:
        start = time.process_time()
        with unwatched():  # as a corpus is read; the collector's time grows with all that other tests left
            read()
        return time.process_time() - start

    rounds = [(seconds(protocol), seconds(plain)) for _ in range(3)]
    assert min(own for own, _ in rounds) < 3 * min(other for _, other in rounds)
