"""Damage to one field of a volume file's header, the rest intact: NIfTI, NRRD and MetaImage."""

from __future__ import annotations

import gzip
import random
import re
import struct

from support.mutants.byte_mutations import damaged

NUMBERS = [b"0", b"-1", b"-0.0", b"nan", b"inf", b"1e308", b"-1e308", b"1e-308", b"1e9", b"4294967297", b"9" * 30, b"0.5", b"2", b"7"]
NUMBERS += [b"", b"x"]
WORDS = [b"raw", b"gzip", b"gz", b"ascii", b"hex", b"bzip2", b"text", b"txt", b"True", b"False", b"LOCAL", b"LIST", b"none", b"???"]
WORDS += [b"short", b"uchar", b"float", b"double", b"block", b"int64", b"MET_SHORT", b"MET_UCHAR", b"MET_DOUBLE", b"MET_LONG", b"big"]
WORDS += [b"left-posterior-superior", b"right-anterior-superior", b"scanner-xyz", b"RAI", b"LPS", b"little", b"(1,0,0) none (0,0,1)"]
WORDS += [b"../a.nii", b"/etc/passwd", b".", b"\xe4\xf6.raw", b"a%03d.raw 1 5 1", b"MET_USHORT_ARRAY"]


def _places(code: str, start: int, count: int) -> list[tuple[str, int]]:
    return [(code, start + k * struct.calcsize(code)) for k in range(count)]


# code and place of the fields of NIfTI-1 and of NIfTI-2
_FIRST = [("i", 0), *_places("h", 40, 8), *_places("h", 68, 3), *_places("f", 76, 11), ("b", 123), *_places("h", 252, 2)]
_FIRST += [*_places("f", 256, 18), ("i", 344)]
_SECOND = [("i", 0), ("q", 4), *_places("h", 12, 2), *_places("q", 16, 8), *_places("d", 104, 8), ("q", 168), *_places("d", 176, 2)]
_SECOND += [*_places("i", 344, 2), *_places("d", 352, 18), ("i", 500)]
_FLOATS = [0.0, -1.0, float("nan"), float("inf"), 1e30, -1e30, 1e-30, 0.5, 2.0, 351.0, 353.0, 1e9]
_WHOLE = [0, -1, 1, 2, 3, 4, 5, 7, 8, 16, 64, 127, 255, 256, 512, 1024, 32767, -32768, 2**31 - 1, -(2**31), 2**62]
_MOST = {"b": 7, "h": 15, "i": 31, "q": 63}


def text_header(data: bytes, draw: random.Random) -> bytes:
    """A line of a NRRD or MetaImage header dropped, repeated or moved, or a number, word or whole value of it replaced."""
    end = _header_end(data)
    lines, body = data[:end].splitlines(keepends=True), data[end:]
    at = draw.randrange(len(lines))
    line = lines[at]
    kind = draw.choice(("number", "number", "number", "word", "value", "drop", "twice", "move", "case", "body"))
    if kind == "drop":
        del lines[at]
    elif kind == "twice":
        lines.insert(draw.randrange(len(lines) + 1), _number_replaced(line, draw) if draw.random() < 0.5 else line)
    elif kind == "move":
        lines.insert(draw.randrange(len(lines)), lines.pop(at))
    elif kind == "case":
        lines[at] = line.swapcase()
    elif kind == "body":
        body = draw.choice((b"", body[:-1], body + b"\0", body[::-1], b"\n" + body, gzip.compress(body), body * 2))
    elif kind == "number":
        lines[at] = _number_replaced(line, draw)
    else:
        key, mark, rest = line.partition(b":" if b":" in line else b"=")
        value = draw.choice(WORDS) if kind == "word" else draw.choice(lines).partition(b":" if b":" in line else b"=")[2].strip()
        lines[at] = key + mark + b" " + value + (b"\n" if rest.endswith(b"\n") else b"")
    return b"".join(lines) + body


def field_lost(data: bytes, draw: random.Random) -> bytes:
    """A line of a NRRD or MetaImage header dropped, misspelled, or there twice with another number."""
    end = _header_end(data)
    lines, body = data[:end].splitlines(keepends=True), data[end:]
    at = draw.randrange(len(lines))
    kind = draw.choice(("drop", "name", "twice"))
    if kind == "drop":
        del lines[at]
    elif kind == "name":
        lines[at] = b"x" + lines[at]
    else:
        lines.insert(at, _number_replaced(lines[at], draw))
    return b"".join(lines) + body


def body_resized(data: bytes, draw: random.Random) -> bytes:
    """More or fewer voxels than the header says."""
    zipped = data[:2] == b"\x1f\x8b"
    data = gzip.decompress(data) if zipped else data
    size = draw.choice((-100, -1, 1, 2, 100))
    data = data[:size] if size < 0 else data + draw.randbytes(size)
    return gzip.compress(data, compresslevel=1) if zipped else data


def _header_end(data: bytes) -> int:
    if data.startswith(b"NRRD"):
        return data.find(b"\n\n") + 1 if b"\n\n" in data else len(data)
    return data.find(b"\n", data.find(b"ElementDataFile")) + 1


def _number_replaced(line: bytes, draw: random.Random) -> bytes:
    found = list(re.finditer(rb"-?\d[\d.e+-]*", line))
    if not found:
        return line
    number = draw.choice(found)
    return line[: number.start()] + draw.choice(NUMBERS) + line[number.end() :]


def nifti_header(data: bytes, draw: random.Random) -> bytes:
    """A field of a NIfTI header set to an odd value, under intact compression; or all of the header's bytes swapped."""
    zipped = data[:2] == b"\x1f\x8b"
    result = bytearray(gzip.decompress(data) if zipped else data)
    fields = _SECOND if result[:2] == b"\x1c\x02" else _FIRST
    for _ in range(draw.choice((1, 1, 2))):
        code, at = draw.choice(fields)
        value = draw.choice(_FLOATS) if code in "fd" else draw.choice([v for v in _WHOLE if abs(v) <= 2 ** _MOST[code] - 1])
        struct.pack_into(f"<{code}", result, at, value)
    if draw.random() < 0.1:
        for code, at in fields:
            size = struct.calcsize(code)
            result[at : at + size] = result[at : at + size][::-1]
    return gzip.compress(bytes(result), compresslevel=1) if zipped else bytes(result)


def nifti_disagreement(data: bytes, draw: random.Random) -> bytes:
    """One of voxel size, sform and qform changed, where there are all three; or the size in voxels."""
    zipped = data[:2] == b"\x1f\x8b"
    result = bytearray(gzip.decompress(data) if zipped else data)
    places = _places("h", 42, 3) + _places("f", 80, 3) + _places("f", 256, 18)
    code, at = draw.choice(places)
    value = struct.unpack_from(f"<{code}", result, at)[0]
    changed = value + draw.choice((-1, 1, 2)) if code == "h" else value * draw.choice((0.5, 2)) + draw.choice((0.3, 20.0))
    struct.pack_into(f"<{code}", result, at, changed)
    return gzip.compress(bytes(result), compresslevel=1) if zipped else bytes(result)


def under_compression(data: bytes, draw: random.Random) -> bytes:
    """Damage to what a .nii.gz holds, its checksum right."""
    return gzip.compress(damaged(gzip.decompress(data), draw), compresslevel=1)
