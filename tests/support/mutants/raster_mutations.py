"""Damage to one field of a PNG or TIFF, the rest intact."""

from __future__ import annotations

import random
import struct
import zlib

_SIZES = [0, 1, 2, 3, 4, 8, 16, 32, 255, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF]


def png_chunk(data: bytes, draw: random.Random) -> bytes:
    """A chunk changed, dropped, repeated or moved; its checksum right."""
    chunks, at = [], 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    k = draw.randrange(len(chunks))
    kind = draw.choice(("byte", "byte", "size", "drop", "twice", "move", "name", "pixels"))
    name, content = chunks[k]
    if kind == "drop":
        del chunks[k]
    elif kind == "twice":
        chunks.insert(draw.randrange(len(chunks) + 1), chunks[k])
    elif kind == "move":
        chunks.insert(draw.randrange(len(chunks)), chunks.pop(k))
    elif kind == "name":
        chunks[k] = draw.choice((b"tRNS", b"PLTE", b"gAMA", b"iCCP", b"zTXt", b"fcTL", b"acTL", b"sBIT", b"abcd")), content
    elif kind == "size":
        new = struct.pack(">I", draw.choice(_SIZES))
        chunks[0] = chunks[0][0], new + chunks[0][1][4:] if draw.random() < 0.5 else chunks[0][1][:4] + new + chunks[0][1][8:]
    elif kind == "pixels" and name == b"IDAT":
        raw = zlib.decompress(content)
        chunks[k] = name, zlib.compress(draw.choice((raw[: len(raw) // 2], raw * 2, raw[1:], b"", raw[:-1])))
    elif content:
        place = draw.randrange(len(content))
        chunks[k] = name, content[:place] + bytes([draw.choice((0, 1, 2, 3, 4, 6, 8, 16, 255, draw.randrange(256)))]) + content[place + 1 :]
    return data[:8] + b"".join(struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in chunks)


def tiff_entry(data: bytes, draw: random.Random) -> bytes:
    """An entry of a TIFF's first directory: its tag, type, count or value."""
    result = bytearray(data)
    order = "<" if data[:2] == b"II" else ">"
    start = struct.unpack_from(order + "I", data, 4)[0]
    count = struct.unpack_from(order + "H", data, start)[0]
    entry = start + 2 + 12 * draw.randrange(count)
    code, at, size = draw.choice((("H", 0, 0xFFFF), ("H", 2, 0xFFFF), ("I", 4, 0xFFFFFFFF), ("I", 8, 0xFFFFFFFF), ("H", 8, 0xFFFF)))
    value = draw.choice([v for v in _SIZES if v <= size] + [len(data) - 1, len(data), start])
    struct.pack_into(order + code, result, entry + at, value & size)
    if draw.random() < 0.1:  # directories without end
        struct.pack_into(order + "I", result, start + 2 + 12 * count, draw.choice((start, 8, len(data))))
    return bytes(result)
