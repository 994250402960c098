"""What belongs to the patient: the largest connected body, without the table and the couch."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float32, Float64
from numpy import ndarray
from scipy.ndimage import binary_fill_holes, label, maximum_filter1d, minimum_filter1d

from xrcore._util.errors import XrcoreError

SOLID_ABOVE = -400.0  # HU, half way from air to skin; foam lies below
BRIDGE = 5.0  # [mm] what is up to twice as thick, such as the shell of a table, does not connect
ANOTHER_BODY = 0.05  # of the largest one's voxels


def body_mask(
    name: str, hu: Float32[ndarray, "D H W"], world_from_voxel: Float64[ndarray, "4 4"]
) -> tuple[Bool[ndarray, "D H W"], tuple[str, ...]]:
    """Voxels of the largest connected body with the air inside it, and a remark if another one of some size is left out."""
    spacing = np.linalg.norm(world_from_voxel[:3, :3], axis=0)[::-1]
    steps = [max(1, round(BRIDGE / length)) for length in spacing]
    core = (hu > SOLID_ABOVE).astype(np.uint8)
    for axis, step in enumerate(steps):
        core = minimum_filter1d(core, 2 * step + 1, axis=axis, mode="nearest")  # the body goes on beyond the grid
    parts, count = label(core)
    if count == 0:
        raise XrcoreError(f"{name}: body= found no body: nothing above {SOLID_ABOVE:g} HU is {2 * BRIDGE:g} mm thick; is this a CT in HU?")
    sizes = np.bincount(parts.ravel())[1:]
    largest = int(sizes.argmax())
    mask = (parts == largest + 1).astype(np.uint8)
    for axis, step in enumerate(steps):
        mask = maximum_filter1d(mask, 2 * step + 3, axis=axis)  # back to the skin, and to the voxels that it shares with air
    axial = int(np.abs(world_from_voxel[2, :3])[::-1].argmax())
    filled = np.stack([binary_fill_holes(plane) for plane in np.moveaxis(mask, axial, 0)], axis=axial)
    second = float(np.delete(sizes, largest).max(initial=0)) / float(sizes[largest])
    if second < ANOTHER_BODY:
        return filled, ()
    return filled, (f"{name}: body= left out another body, {second:.0%} as large; if it is a limb, use labels or crop instead",)
