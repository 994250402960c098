"""How thick each label lies along each pixel's ray: exact lengths within the voxels (Siddon's sums, by walking from face to face)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from jaxtyping import Float, Float32
from numpy import ndarray
from torch import Tensor

from xrcore._util.code_cache import cached_njit
from xrcore._util.errors import XrcoreError
from xrcore.ct.label_maps import LabelMap
from xrcore.geometry import CArm, camera_rays, ray_origins

_CHUNK = 8192  # rays a task
_MOST = 1 << 29  # numbers of the result


def label_thickness(labels: LabelMap, carm: CArm, camera_from_world: Float[Tensor, "4 4"]) -> Float32[ndarray, "L H W"]:
    """Measure how far each pixel's ray runs through each label.

    Parameters
    ----------
    labels : LabelMap
        A voxel is a box, full of one label.
    carm : CArm
        The imaging system.
    camera_from_world : Float[Tensor, "4 4"]
        LPS [mm] into the camera frame.

    Returns
    -------
    Float32[ndarray, "L H W"]
        Lengths from the source to the detector [mm]; 0 where the ray misses the label.

    Raises
    ------
    XrcoreError
        If there are too many labels for so many pixels.

    References
    ----------
    Siddon, Medical Physics 12(2), 1985; Amanatides and Woo, Eurographics 1987.
    """
    count, (rows, cols) = len(labels.values), carm.shape
    if count * rows * cols > _MOST:
        raise XrcoreError(f"project_labels: {count} labels on {rows} x {cols} pixels are too many; keep fewer labels, or shrink the X-ray")
    voxel_from_camera = np.linalg.inv(labels.world_from_voxel) @ torch.linalg.inv(camera_from_world.double()).numpy()
    rays = camera_rays(carm).reshape(-1, 3).numpy()
    turned = voxel_from_camera[:3, :3].T
    # from faces: voxel i is from i to i + 1
    sources = ray_origins(carm).reshape(-1, 3).numpy() @ turned + voxel_from_camera[:3, 3] + 0.5
    directions, lengths = np.ascontiguousarray(rays @ turned), np.linalg.norm(rays, axis=1)
    thickness = np.zeros((len(rays), count + 1), np.float32)

    def work(first: int) -> None:
        part = slice(first, first + _CHUNK)
        _walk(labels.indices, sources[part], directions[part], lengths[part], carm.source_to_detector, thickness[part])

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        list(pool.map(work, range(0, len(rays), _CHUNK)))
    return np.ascontiguousarray(thickness[:, 1:].T).reshape(count, rows, cols)


@cached_njit(nogil=True, error_model="numpy")
def _walk(indices, sources, directions, lengths, depth, thickness):  # type: ignore[no-untyped-def]
    """Add the lengths within voxels; directions reach depth 1 [mm], in voxels."""
    nz, ny, nx = indices.shape
    size = (nx, ny, nz)
    place, step, next_face, between = np.zeros(3, np.int64), np.zeros(3, np.int64), np.zeros(3), np.zeros(3)
    for ray in range(len(sources)):
        enter, leave = 0.0, depth
        for axis in range(3):
            start, slope = sources[ray, axis], directions[ray, axis]
            if slope == 0.0:
                if start < 0.0 or start >= size[axis]:
                    leave = -1.0
                continue
            near, far = -start / slope, (size[axis] - start) / slope
            enter, leave = max(enter, min(near, far)), min(leave, max(near, far))
        if not leave > enter:
            continue
        for axis in range(3):
            start, slope = sources[ray, axis], directions[ray, axis]
            place[axis] = min(max(int(np.floor(start + enter * slope)), 0), size[axis] - 1)
            step[axis] = 1 if slope > 0.0 else -1
            if slope == 0.0:
                next_face[axis], between[axis] = np.inf, np.inf
            else:
                next_face[axis] = (place[axis] + (1 if slope > 0.0 else 0) - start) / slope
                between[axis] = abs(1.0 / slope)
        now = enter
        while now < leave:
            axis = 0
            if next_face[1] < next_face[axis]:
                axis = 1
            if next_face[2] < next_face[axis]:
                axis = 2
            until = min(next_face[axis], leave)
            if until > now:
                thickness[ray, indices[place[2], place[1], place[0]]] += (until - now) * lengths[ray]
                now = until
            place[axis] += step[axis]
            if place[axis] < 0 or place[axis] >= size[axis]:
                break
            next_face[axis] += between[axis]
