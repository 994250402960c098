"""The outline of a surface as a source sees it: the edges at which it turns from the rays."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from numpy import ndarray

from xrcore.geometry import CArm, rigid
from xrcore.registration.placement import Placement


def silhouette(mesh: Any, placement: Placement, carm: CArm) -> Float64[ndarray, "n 2 2"]:
    """Find the edges between a triangle that faces the source and one that does not, and those with one triangle.

    Parameters
    ----------
    mesh : trimesh.Trimesh
        LPS [mm].
    placement : Placement
        Where the camera stands.
    carm : CArm
        Of the image.

    Returns
    -------
    Float64[ndarray, "n 2 2"]
        Ends of each edge, (row, col) [pixels]; without those that are not before the source.
    """
    places = rigid.apply(placement.camera_from_world, torch.from_numpy(np.array(mesh.vertices, np.float64))).numpy()
    corners = places[np.asarray(mesh.faces)]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    rays = corners[:, 0] * [carm.source_steps[1] == 0, carm.source_steps[0] == 0, True]  # from the source, which a slot scan moves along
    facing = np.einsum("ti,ti->t", normals, rays) < 0
    pairs = np.asarray(mesh.face_adjacency).reshape(-1, 2)
    turning = np.asarray(mesh.face_adjacency_edges).reshape(-1, 2)[facing[pairs[:, 0]] != facing[pairs[:, 1]]]
    once = np.unique(np.asarray(mesh.edges_sorted), axis=0, return_counts=True)
    rim = once[0][once[1] == 1]
    ends = places[np.concatenate([turning, rim]).astype(int)]
    ends = ends[(ends[..., 2] > 0).all(1)]
    return carm.project(torch.from_numpy(ends)).numpy()
