"""Bodies that are small in their X-rays, such as an implant: the window that they can reach, and levels that are as fine as it is small.

What else an X-ray shows of a bone that was cut out of its CT, its neighbours above all, is no part of the body: only the pixels where the
body is visible count, and a margin around them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from jaxtyping import Bool
from torch import Tensor

from xrcore.beam import Beam
from xrcore.ct.volume import Volume
from xrcore.geometry import CArm, Pose
from xrcore.geometry.rigid import apply
from xrcore.registration.bone_only import is_bone_only, is_implant
from xrcore.registration.box_corners import corners
from xrcore.registration.joint_problem import poses_in_views
from xrcore.registration.problem import pixel_at_isocenter
from xrcore.registration.solvers.gauss_newton import GaussNewton
from xrcore.registration.view import View
from xrcore.renderer import render

_SHADOW = 0.05  # of a DRR's largest value, above which the body counts as visible
Window = tuple[slice, slice]

_SHARE = 0.5  # of the X-rays' area, up to which a body is small
_MARGIN = 0.15  # of the window's sides
_LEAST = 24  # pixels of a window's side
_VOXELS = 2.0  # pixels at the isocentre, of the default levels and the paper's C-arm
_AROUND = (2.0, 2.5)  # margin around a bone that was cut out of its CT: [mm at the isocentre], and the level's pixels in addition


def body_windows(views: Sequence[View], volume: Volume, poses: Pose) -> list[Window] | None:
    """Find what part of each X-ray a body can reach at some poses of the first view.

    Parameters
    ----------
    views : sequence of View
        One or more.
    volume : Volume
        The body.
    poses : Pose
        A batch.

    Returns
    -------
    list of tuple of slice, or None
        Rows and columns in each view; None for a body that is not small, or may be behind a camera or outside a view.
    """
    windows, area, whole = [], 0, 0
    box = corners(volume, 0.0, 1.0)
    for view, own in zip(views, poses_in_views(poses, views, volume), strict=True):
        points = apply(own.camera_from_world(view.carm, volume.isocenter), box)
        if not (points[..., 2] > 0).all():
            return None
        pixels = view.carm.project(points).reshape(-1, 2)
        low, high = pixels.amin(0), pixels.amax(0)
        margin = _MARGIN * (high - low)
        size = torch.tensor(view.carm.shape, dtype=torch.float64)
        top, left = (low - margin).floor().clamp_min(0).minimum(size).int().tolist()
        bottom, right = (high + margin).ceil().clamp_min(0).minimum(size).int().tolist()
        if min(bottom - top, right - left) < _LEAST:
            return None
        windows.append((slice(top, bottom), slice(left, right)))
        area, whole = area + (bottom - top) * (right - left), whole + int(size.prod())
    return windows if area <= _SHARE * whole else None


def cut(views: Sequence[View], windows: Sequence[Window] | None) -> tuple[View, ...]:
    """Crop views to windows, and their geometry with them.

    Parameters
    ----------
    views : sequence of View
        Whole.
    windows : sequence of tuple of slice, or None
        One for each; None leaves them whole.

    Returns
    -------
    tuple of View
        Of the same cameras.
    """
    if windows is None:
        return tuple(views)
    parts = []
    for view, (rows, cols) in zip(views, windows, strict=True):
        xray, shape = view.xray, (rows.stop - rows.start, cols.stop - cols.start)
        carm = xray.carm.cropped(rows.start, cols.start, shape)
        part = replace(xray, image=xray.image[rows, cols], mask=xray.mask[rows, cols], carm=carm)
        parts.append(replace(view, xray=part))
    return tuple(parts)


def voxels_for(views: Sequence[View], pixels: int, spacing: float) -> float:
    """Choose a CT's voxels for views that are shrunk to so many pixels, at most as large as given.

    Parameters
    ----------
    views : sequence of View
        As they are compared.
    pixels : int
        Along the longer side.
    spacing : float
        For X-rays of a whole body [mm].

    Returns
    -------
    float
        Voxel size [mm].
    """
    return min(spacing, _VOXELS * _pixel_size(views, pixels))


def _pixel_size(views: Sequence[View], pixels: int) -> float:
    """The largest pixel of views that are shrunk to so many [mm at the isocentre]."""
    return max(pixel_at_isocenter(view.carm) * max(view.carm.shape) / min(pixels, max(view.carm.shape)) for view in views)


def fitted(settings: GaussNewton, views: Sequence[View], windows: Sequence[Window] | None, volume: Volume) -> GaussNewton:
    """Make all levels' voxels as fine as a small body or an implant is seen; of a bone that was cut out of its CT, compare it alone.

    Parameters
    ----------
    settings : GaussNewton
        For X-rays of a whole body.
    views : sequence of View
        Whole.
    windows : sequence of tuple of slice, or None
        See `body_windows`.
    volume : Volume
        The body.

    Returns
    -------
    GaussNewton
        Otherwise the same.
    """
    if windows is None and not is_implant(volume):
        return settings
    views = cut(views, windows)
    levels = tuple(replace(level, spacing=voxels_for(views, level.pixels, level.spacing)) for level in settings.levels)
    if is_bone_only(volume) and not is_implant(volume):
        least, share = _AROUND
        sizes = (_pixel_size(views, level.pixels) for level in levels)
        levels = tuple(replace(at, margin=at.margin or least + share * size) for at, size in zip(levels, sizes, strict=True))
    return replace(settings, levels=levels)


def body_alone(view: View, volume: Volume, pose: Pose, beam: Beam, margin: float) -> View:
    """Mask what is not the body's.

    Parameters
    ----------
    view : View
        The X-ray.
    volume : Volume
        The body.
    pose : Pose
        The view's own, a batch.
    beam : Beam
        The one assumed.
    margin : float
        As for `visible_region`.

    Returns
    -------
    View
        With what `visible_region` leaves of its mask; the same where nothing could be compared there.
    """
    xray = view.xray
    mask = xray.mask & visible_region(volume, view.carm, pose, beam, margin).to(xray.mask.device)
    seen = xray.image[mask]
    return replace(view, xray=replace(xray, mask=mask)) if len(seen) and seen.min() < seen.max() else view


def visible_region(volume: Volume, carm: CArm, pose: Pose, beam: Beam, margin: float) -> Bool[Tensor, "H W"]:
    """Find the pixels where the rendered body is visible at any of the poses, plus a margin.

    Parameters
    ----------
    volume : Volume
        The body.
    carm : CArm
        The camera.
    pose : Pose
        A batch.
    beam : Beam
        The one assumed.
    margin : float
        Half a side of the square that each pixel grows to [mm at the isocentre].

    Returns
    -------
    Bool[Tensor, "H W"]
        True where the body is visible or within the margin.
    """
    with torch.no_grad():
        image = render(volume, carm, pose, beam)
    inside = (image > _SHADOW * image.amax()).any(0).float()[None, None]
    radius = max(1, round(margin / pixel_at_isocenter(carm)))
    grown = F.max_pool2d(inside, (2 * radius + 1, 1), 1, (radius, 0))
    return F.max_pool2d(grown, (1, 2 * radius + 1), 1, (0, radius))[0, 0] > 0
