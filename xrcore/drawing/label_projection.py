"""Project a label map: where each label is on the X-ray, and how thick."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jaxtyping import Bool, Float32
from numpy import ndarray

from xrcore._util.errors import XrcoreError, require
from xrcore._util.out_of_memory import memory_advice
from xrcore.ct.label_maps import LabelMap, read_label_map
from xrcore.ct.volume import Volume
from xrcore.geometry import CArm, Pose
from xrcore.registration.placement import Placement, placement_of
from xrcore.registration.result import Registration
from xrcore.renderer.thickness import label_thickness
from xrcore.xray.image import Xray

if TYPE_CHECKING:
    import SimpleITK as sitk


@dataclass(frozen=True, eq=False)
class ProjectedLabels:
    """Result of `project_labels`.

    Parameters
    ----------
    values : tuple of int
        The labels.
    names : tuple of str
        Theirs.
    thickness : Float32[ndarray, "L H W"]
        How far each pixel's ray runs through each label [mm]; no label hides another.
    notes : tuple of str
        Remarks about the file.
    """

    values: tuple[int, ...]
    names: tuple[str, ...]
    thickness: Float32[ndarray, "L H W"]
    notes: tuple[str, ...] = ()

    @property
    def masks(self) -> Bool[ndarray, "L H W"]:
        """Where each label is seen."""
        return self.thickness > 0


@memory_advice("project_labels", "a label map cropped to what is seen, or fewer pixels, needs less")
def project_labels(
    labels: str | os.PathLike[str] | sitk.Image | LabelMap,
    xray: Xray | CArm,
    result: Registration | Pose | str | os.PathLike[str],
    *,
    keep: Sequence[int] | None = None,
    volume: Volume | None = None,
    view: int = 0,
) -> ProjectedLabels:
    """Project a label map onto the pixels of an X-ray.

    Parameters
    ----------
    labels : path or SimpleITK.Image or LabelMap
        The label map, in the CT's patient space, on any grid.
    xray : Xray or CArm
        Whose pixels.
    result : Registration or Pose or path
        What `register` returned, or the folder that `xrcore register` wrote; or a pose, which needs the CT.
    keep : sequence of int, optional
        Labels wanted; default all but 0.
    volume : Volume, optional
        The CT, from whose isocentre a bare pose counts.
    view : int
        Which of several views, counted from 0.

    Returns
    -------
    ProjectedLabels
        Thickness and mask of each label.

    Raises
    ------
    XrcoreError
        Naming what cannot be read or does not fit.

    Examples
    --------
    >>> import SimpleITK as sitk
    >>> import torch
    >>> import xrcore as xr
    >>> carm = xr.CArm(source_to_detector=1200, source_to_isocenter=800, shape=(64, 64), pixel_spacing=1.5)
    >>> labels = sitk.Image(20, 10, 20, sitk.sitkUInt8) + 1  # a box of one label, 10 mm from front to back
    >>> volume = xr.Volume(density=torch.ones(1, 20, 10, 20), materials=("soft",), world_from_voxel=torch.eye(4))
    >>> xr.project_labels(labels, carm, xr.Pose(), volume=volume).thickness[0, 31, 31].round(2)
    np.float32(10.0)
    """
    require("project_labels", "xray", xray, isinstance(xray, (Xray, CArm)), "an Xray or a CArm")
    carm = xray.carm if isinstance(xray, Xray) else xray
    placement = placement_of(result, carm, volume=volume, view=view)
    return projected(read_label_map(labels, keep), placement.image_carm(carm), placement)


def projected(labels: LabelMap, carm: CArm, placement: Placement) -> ProjectedLabels:
    """Project labels as a camera sees them.

    Parameters
    ----------
    labels : LabelMap
        What to project.
    carm : CArm
        Of the image.
    placement : Placement
        Where the camera stands.

    Returns
    -------
    ProjectedLabels
        Of every label, seen or not.

    Raises
    ------
    XrcoreError
        If none of them is seen at all.
    """
    thickness = label_thickness(labels, carm, placement.camera_from_world)
    if not thickness.any():
        raise XrcoreError("labels: nothing of the label map is in the image; is it in the patient space of the registered CT?")
    return ProjectedLabels(labels.values, labels.names, thickness, labels.notes)
