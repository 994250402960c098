"""How large angles, lengths and grids may be: far beyond any patient, and small enough that no renderer loses count."""

from __future__ import annotations

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
