"""RTK's Joseph projector (Apache 2.0, https://www.openrtk.org), in its own geometry, as an independent reference."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from xrcore.ct.volume import Volume
from xrcore.geometry import CArm, Pose


def installed() -> str | None:
    """Its version, or None."""
    try:
        return version("itk-rtk")
    except PackageNotFoundError:
        return None


@cache
def _itk() -> tuple[Any, Any]:
    import itk
    from itk import RTK

    return itk, RTK


def projector(volume: Volume, carm: CArm, pose: Pose, *, pad: int = 0) -> Callable[[], NDArray[np.float32]]:
    """A function that projects a volume of one material from one pose: area density (H, W) [g/cm2].

    pad: zeros around the grid [voxels], for comparisons that shall not depend on how a projector ends its grid.
    Uses as many threads as torch does.
    """
    itk, rtk = _itk()
    rows, cols = carm.shape
    row, col = carm.center
    row_spacing, col_spacing = carm.spacing
    world_from_camera = pose.world_from_camera(carm, volume.isocenter)[0].numpy()
    source, (x, y, z) = world_from_camera[:3, 3], world_from_camera[:3, :3].T

    point, vector = itk.Point[itk.D, 3], itk.Vector[itk.D, 3]
    geometry = rtk.ThreeDCircularProjectionGeometry.New()
    # RTK's axes are right-handed with the source in front of the detector, so its v goes up where our rows go down
    placed = geometry.AddProjection(
        point(source.tolist()), point((source + carm.source_to_detector * z).tolist()), vector(x.tolist()), vector((-y).tolist())
    )
    assert placed
    screen = itk.image_from_array(np.zeros((1, rows, cols), np.float32))
    screen.SetSpacing([col_spacing, row_spacing, 1.0])
    screen.SetOrigin([-col * col_spacing, -(rows - 1 - row) * row_spacing, 0.0])

    image = itk.Image[itk.F, 3]
    joseph = rtk.JosephForwardProjectionImageFilter[image, image].New()
    joseph.SetInput(0, screen)
    joseph.SetInput(1, _image(volume, pad))
    joseph.SetGeometry(geometry)
    joseph.SetInPlace(False)  # in place it would add to the projection of the run before
    joseph.SetNumberOfWorkUnits(4 * torch.get_num_threads())
    joseph.GetMultiThreader().SetMaximumNumberOfThreads(torch.get_num_threads())

    def project() -> NDArray[np.float32]:
        joseph.Modified()
        joseph.Update()
        return itk.array_view_from_image(joseph.GetOutput())[0, ::-1] / 10  # mm to cm

    return project


def _image(volume: Volume, pad: int) -> Any:
    itk, _ = _itk()
    axes, spacing = volume.world_from_voxel[:3, :3].numpy(), np.array(volume.spacing)
    image = itk.image_from_array(F.pad(volume.density[0], (pad,) * 6).contiguous().numpy())
    image.SetSpacing(spacing.tolist())
    image.SetDirection(itk.matrix_from_array(np.ascontiguousarray(axes / spacing)))
    image.SetOrigin((volume.world_from_voxel[:3, 3].numpy() - pad * axes.sum(1)).tolist())
    return image
