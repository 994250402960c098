"""CT files of the built-in patient."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from xrcore.phantom import pelvis_hu


def pelvis_image(seed: int, spacing: float) -> sitk.Image:
    """HU of a pelvis where `xrcore.phantom.pelvis` of this seed is."""
    hu, world_from_voxel = pelvis_hu(seed, spacing)
    image = sitk.GetImageFromArray(hu)
    image.SetSpacing(np.diag(world_from_voxel)[:3].tolist())
    image.SetOrigin(world_from_voxel[:3, 3].tolist())
    return image


def write_pelvis(path: Path, seed: int, spacing: float) -> Path:
    """The pelvis as a file of any format that is read."""
    sitk.WriteImage(pelvis_image(seed, spacing), str(path))
    return path
