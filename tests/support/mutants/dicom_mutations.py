"""Damage to one element of a DICOM file, the rest intact. The files are explicit and little-endian."""

from __future__ import annotations

import random
from dataclasses import dataclass

TEXTS = [b"", b"0", b"-1", b"nan", b"inf", b"1e308", b"1E999", b"4294967297", b"0.5\\", b"\\", b"2\\3", b"1\\2\\3\\4\\5\\6\\7", b"a"]
TEXTS += [b"\xe4\xff", b"0\\0\\0\\0\\0\\0", b"1\\0\\0\\0\\1\\0", b"-1\\0\\0\\0\\1\\0", b"9" * 70, b"MONOCHROME1", b"RGB", b"LOG", b"LIN"]
TEXTS += [b"XA", b"CT", b"MR"]
BINARY = [b"", b"\0\0", b"\1\0", b"\2\0", b"\x08\0", b"\x0c\0", b"\x20\0", b"\xff\xff", b"\xff\x7f", b"\0\0\0\0", b"\xff" * 8, b"\0" * 32]
BINARY += [b"\1"]
SYNTAXES = ["1.2.3"] + [f"1.2.840.10008.1.2{end}" for end in ("", ".1", ".2", ".5", ".1.99")]
SYNTAXES += [f"1.2.840.10008.1.2.4.{end}" for end in (50, 57, 70, 80, 90, 100, 201)]
_BINARY = (b"US", b"SS", b"UL", b"SL", b"FD", b"FL", b"OB", b"OW", b"AT", b"UN", b"OF", b"OD")
_LONG = (b"OB", b"OD", b"OF", b"OL", b"OW", b"SQ", b"UC", b"UN", b"UR", b"UT")  # with a length of 4 bytes, after two that are 0
_UNDEFINED = b"\xff\xff\xff\xff"
_PIXELS = b"\xe0\x7f\x10\x00"


@dataclass
class Element:
    """A tag with its value, or with the items of its sequence."""

    tag: bytes
    representation: bytes
    value: bytes = b""
    items: list[list[Element]] | None = None
    encapsulated: bool = False

    def __bytes__(self) -> bytes:
        value = self.value
        if self.items is not None:
            packed = [b"".join(map(bytes, item)) for item in self.items]
            value = b"".join(b"\xfe\xff\x00\xe0" + len(item).to_bytes(4, "little") + item for item in packed)
        if self.representation in _LONG:
            length = _UNDEFINED if self.encapsulated else len(value).to_bytes(4, "little")
            return self.tag + self.representation + b"\0\0" + length + value
        return self.tag + self.representation + (len(value) & 0xFFFF).to_bytes(2, "little") + value


def dicom_element(data: bytes, draw: random.Random) -> bytes:
    """An element set to an odd value, dropped, repeated, exchanged or of another representation; or another transfer syntax."""
    elements = _parsed(data[132:])
    where = draw.choice(_nested(elements))
    at = draw.randrange(len(where))
    one = where[at]
    kind = draw.choice(("value", "value", "value", "value", "drop", "twice", "exchange", "representation", "syntax", "pixels"))
    if kind == "drop":
        del where[at]
    elif kind == "twice":
        where.insert(at, Element(one.tag, one.representation, draw.choice(TEXTS)))
    elif kind == "exchange":
        other = draw.choice(where)
        one.value, other.value = other.value, one.value
    elif kind == "representation":
        one.representation = draw.choice((b"LO", b"DS", b"IS", b"US", b"FD", b"UN", b"SQ", b"OB", b"UI", b"??"))
    elif kind == "syntax":
        syntax = draw.choice(SYNTAXES).encode()
        _named(elements, b"\x02\x00\x10\x00").value = syntax + b"\0" * (len(syntax) % 2)
    elif kind == "pixels":
        pixels = _named(elements, _PIXELS)
        value = pixels.value
        pixels.value = draw.choice((value[: len(value) // 2], value + value, value[:-2], value[2:], b"", value[::-1], value + b"\0\0"))
    elif one.items is not None:
        one.items = draw.choice(([], one.items[:1], one.items[::-1], one.items * 2, one.items[1:]))
    elif one.tag != _PIXELS:
        binary = one.representation in _BINARY
        value = draw.choice(BINARY if binary else TEXTS)
        one.value = value if binary else value + b" " * (len(value) % 2)
    return data[:132] + b"".join(map(bytes, elements))


def element_lost(data: bytes, draw: random.Random) -> bytes:
    """An element of the standard dropped."""
    elements = _parsed(data[132:])
    where = draw.choice(_nested(elements))
    del where[draw.choice([at for at, one in enumerate(where) if not one.tag[0] % 2])]
    return data[:132] + b"".join(map(bytes, elements))


def pixels_resized(data: bytes, draw: random.Random) -> bytes:
    """More or fewer pixels than rows, columns and frames say."""
    elements = _parsed(data[132:])
    pixels = _named(elements, _PIXELS)
    size = draw.choice((-40, -2, 2, 40))
    pixels.value = pixels.value[:size] if size < 0 else pixels.value + draw.randbytes(size)
    return data[:132] + b"".join(map(bytes, elements))


def _parsed(data: bytes) -> list[Element]:
    elements, at = [], 0
    while at + 8 <= len(data):
        tag, representation = data[at : at + 4], data[at + 4 : at + 6]
        start, size = (at + 12, 4) if representation in _LONG else (at + 8, 2)
        coded = data[start - size : start]
        encapsulated = coded == _UNDEFINED
        end = len(data) if encapsulated else start + int.from_bytes(coded, "little")
        one = Element(tag, representation, data[start:end], encapsulated=encapsulated)
        if representation == b"SQ":
            one.items, place = [], 0
            while place + 8 <= len(one.value):
                length = int.from_bytes(one.value[place + 4 : place + 8], "little")
                one.items.append(_parsed(one.value[place + 8 : place + 8 + length]))
                place += 8 + length
        elements.append(one)
        at = end
    return elements


def _nested(elements: list[Element]) -> list[list[Element]]:
    """The elements, several times so that they are not outnumbered, and those of its sequences."""
    found = [elements] * 4
    for one in elements:
        for item in (one.items or [])[:3]:
            found += _nested(item)[3:]
    return found


def _named(elements: list[Element], tag: bytes) -> Element:
    return next(one for one in elements if one.tag == tag)
