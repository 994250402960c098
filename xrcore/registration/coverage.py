"""Where a CT covers an X-ray whose file says where it was taken: beyond, the two are not of the same body."""

from __future__ import annotations

from dataclasses import replace

import torch
from scipy import ndimage

from xrcore.beam import Beam
from xrcore.ct.volume import Volume
from xrcore.registration.problem import pixel_at_isocenter
from xrcore.renderer import render
from xrcore.xray.image import Xray

_MARGIN = 5.0  # [mm] how far patients move between scout and CT
_SHARE = 0.5  # of the longest way through the CT, above which a ray counts
_CELLS = 12


def covered_part(xray: Xray, volume: Volume) -> Xray:
    """The X-ray with all masked that the CT does not cover; as it is where the file does not say its place, or little would be left."""
    pose = xray.placement_in(volume)
    if pose is None:
        return xray
    size = torch.tensor(volume.shape[::-1], dtype=torch.float64)
    grid = torch.diag(torch.tensor([*(size / _CELLS), 1.0], dtype=torch.float64))
    grid[:3, 3] = (size / _CELLS - 1) / 2
    whole = Volume(
        density=torch.full((1, _CELLS, _CELLS, _CELLS), 0.01),
        materials=("water",),
        world_from_voxel=volume.world_from_voxel @ grid,
        isocenter=volume.isocenter,
    )
    with torch.no_grad():
        way = render(whole, xray.carm, pose, Beam.monochromatic(60.0))[0]
    seen = xray.mask.cpu()
    margin = max(1, round(_MARGIN / pixel_at_isocenter(xray.carm)))
    covered = torch.from_numpy(ndimage.binary_erosion((way > _SHARE * way.max()).numpy(), iterations=margin, border_value=1)) & seen
    if torch.equal(covered, seen) or covered.sum() < 0.01 * covered.numel():
        return xray
    share = 100 * float(covered.sum() / seen.sum())
    note = f"{share:.0f} % of the image is compared: by the file's placement the CT covers no more"
    return replace(xray, mask=covered.to(xray.mask.device), notes=(*xray.notes, note))
