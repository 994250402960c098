"""Bytes -> damaged bytes, whatever the format: flipped, inserted, deleted, repeated, cut, and joined from two files."""

from __future__ import annotations

import random

PIECES = [b"9" * 400, b"-1", b"1e308", b"1e999", b"nan", b"NaN", b"1:30", b"null", b"\xff", b"\n", b"[" * 50, b"{"]
PIECES += [b"&a *a", b"<<: *a", b"!!int _", b"\0" * 7, b"\xff\xff\xff\x7f"]


def damaged(data: bytes, draw: random.Random) -> bytes:
    """One to three edits, half of them in the first part of the file, where headers are."""
    result = bytearray(data)
    for _ in range(draw.randint(1, 3)):
        share = draw.random() ** draw.choice((1, 4))
        at = int(share * (len(result) + 1))
        kind = draw.choice(("flip", "insert", "delete", "cut", "twice"))
        if kind == "flip" and at < len(result):
            result[at] ^= 1 << draw.randrange(8)
        elif kind == "insert":
            result[at:at] = draw.choice(PIECES)
        elif kind == "delete":
            del result[at : at + draw.randint(1, 20)]
        elif kind == "cut" and draw.random() < 0.2:
            del result[at:]
        elif kind == "twice":
            result[at:at] = bytes(result[at : at + draw.randint(1, 80)])
    return bytes(result)


def spliced(data: bytes, draw: random.Random, other: bytes) -> bytes:
    """The beginning of one file and the end of another."""
    at = int(draw.random() * len(data))
    start = at if draw.random() < 0.5 else int(draw.random() * len(other))
    return data[:at] + other[start:]
