"""How large angles, lengths and grids may be: far beyond any patient, and small enough that no renderer loses count."""

from __future__ import annotations

from xrcore._util.conversion import as_numbers
from xrcore._util.errors import is_number

LARGEST_ANGLE = 3600.0  # [deg], ten turns
LARGEST_LENGTH = 1e5  # [mm], a hundred metres
LARGEST_SIDE = 1 << 14  # pixels or voxels along an edge: single precision still places a sample between two of them


def is_angle(value: object) -> bool:
    """Whether this is a number of degrees that makes sense."""
    return is_number(value) and abs(value) <= LARGEST_ANGLE


def is_length(value: object) -> bool:
    """Whether this is a number of mm that makes sense."""
    return is_number(value) and abs(value) <= LARGEST_LENGTH


def half_widths(name: str, value: object) -> tuple[float, float, float] | None:
    """Three half-widths of a box, "rotation" [deg] or else [mm]; None where one is negative or too large, or there are not three."""
    three = as_numbers(value, 3)
    fits = is_angle if name == "rotation" else is_length
    if three is None or not all(fits(width) and width >= 0 for width in three):
        return None
    return three[0], three[1], three[2]


def largest(name: str) -> float:
    """What half-widths may be at most, "rotation" [deg] or else [mm]."""
    return LARGEST_ANGLE if name == "rotation" else LARGEST_LENGTH
