"""Unpack files that were packed by RNC ProPack, method 1, an archiver of games of the nineties.

A packed file is a header of 18 bytes and chunks. Each chunk has three Huffman tables, for counts of plain bytes, for
distances and for lengths, and then so many pairs of plain bytes and a copy of earlier ones. Bits come in words of 16,
lowest first; plain bytes lie between those words, where a word is read once its first bit is needed.

Source: own, after public descriptions of the format.
"""

from __future__ import annotations

import struct

from molex_adapt.errors import DataError

MAGIC = b"RNC\x01"
HEADER = struct.Struct(">4sIIHHBB")
"""Magic, bytes unpacked and packed, their checksums, bytes by which packing in place would overlap, chunks."""
CODES = 16
"""Most codes of a table, and bits that are enough to know one by."""

Code = tuple[int, int, int]
"""Bits of a code, bits that follow it, and the number that is added to them."""
Table = list[Code | None]


def _checksum_of(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ 0xA001 * (byte & 1)
    return byte


_CHECKSUMS = [_checksum_of(byte) for byte in range(256)]


def checksum(data: bytes | bytearray) -> int:
    """CRC-16 with the polynomial 0xA001, from 0."""
    crc = 0
    for byte in data:
        crc = crc >> 8 ^ _CHECKSUMS[(crc ^ byte) & 0xFF]
    return crc


class Bits:
    """Numbers out of words of 16 bits, and the plain bytes between the words."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0
        self.held, self.count = 0, 0

    def take(self, count: int) -> int:
        """The next `count` bits, at most 16; zeros beyond the end."""
        if self.count < count:
            self._read_word()
        taken = self.held & ((1 << count) - 1)
        self.held >>= count
        self.count -= count
        return taken

    def take_code(self, table: Table) -> int:
        """The number that the next code stands for.

        Raises:
            DataError: no code begins with these bits.
        """
        mask = len(table) - 1
        code = table[self.held & mask]
        # Bits that are not held count as zeros here; such a code holds only if it is no longer than what is held.
        if code is None or code[0] > self.count:
            if self.count < CODES:
                self._read_word()
            code = table[self.held & mask]
            if code is None:
                raise DataError(
                    "A packed file has a code that is in none of its tables. Copy the file again."
                )
        length, more, base = code
        self.held >>= length
        self.count -= length
        return base + self.take(more) if more else base

    def take_bytes(self, count: int) -> bytes:
        """Plain bytes, fewer at the end."""
        self.at += count
        return self.data[self.at - count : self.at]

    def take_table(self) -> Table:
        """The number for each run of bits that begins with a code; codes are given by their lengths.

        Raises:
            DataError: so many codes of these lengths do not exist.
        """
        lengths = [self.take(4) for _ in range(self.take(5))]
        longest = max(lengths, default=0)
        if len(lengths) > CODES or sum(2.0**-bits for bits in lengths if bits) > 1:
            raise DataError("A packed file has a table with more codes than fit. Copy the file again.")
        table: Table = [None] * (1 << longest)
        code = 0
        for length in range(1, longest + 1):
            for symbol in (at for at, bits in enumerate(lengths) if bits == length):
                first = int(f"{code:0{length}b}"[::-1], 2)
                found = (length, 0, symbol) if symbol < 2 else (length, symbol - 1, 1 << (symbol - 1))
                table[first :: 1 << length] = [found] * (1 << (longest - length))
                code += 1
            code <<= 1
        return table

    def _read_word(self) -> None:
        self.held |= int.from_bytes(self.data[self.at : self.at + 2], "little") << self.count
        self.at += 2
        self.count += 16


def unpack(data: bytes) -> bytes:
    """The bytes that were packed; what follows the packed ones is not looked at.

    Raises:
        DataError: it is not packed by method 1, or damaged.
    """
    if len(data) < HEADER.size or not data.startswith(MAGIC):
        raise DataError("This is not packed by RNC, method 1: the first bytes are not RNC and 1.")
    _, size, packed, crc, packed_crc, _, chunks = HEADER.unpack_from(data)
    body = data[HEADER.size : HEADER.size + packed]
    if len(body) < packed or checksum(body) != packed_crc:
        raise DataError("A packed file is cut short, or its checksum is wrong. Copy it again.")
    bits, out = Bits(body), bytearray()
    bits.take(2)  # flags that mean nothing here
    for _ in range(chunks):
        _unpack_chunk(bits, out, size)
    if len(out) != size or checksum(out) != crc:
        raise DataError("A file was unpacked to other bytes than it says. Copy it again.")
    return bytes(out)


def _unpack_chunk(bits: Bits, out: bytearray, size: int) -> None:
    plain, distances, lengths = (bits.take_table() for _ in range(3))
    for left in range(bits.take(16), 0, -1):
        if count := bits.take_code(plain):
            out += bits.take_bytes(count)
        if left == 1:
            break  # the last pair has no copy
        distance, length = bits.take_code(distances) + 1, bits.take_code(lengths) + 2
        if distance > len(out) or len(out) + length > size:
            raise DataError("A packed file copies from before its start or past its end. Copy it again.")
        copied = out[-distance : len(out) - distance + length]
        out += copied if length <= distance else (copied * (length // distance + 1))[:length]
