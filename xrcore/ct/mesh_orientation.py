"""Which way the triangles of a surface face: files turn some of them, or whole bodies, inside out."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from xrcore._util.errors import XrcoreError


def outward(mesh: Any, path: str) -> tuple[Int[ndarray, "T 3"], tuple[str, ...]]:
    """Turn triangles so that normals point out of the bodies, and into cavities.

    Triangles that share an edge face the same way; connected ones, as most of them do in the file. Where all bodies together are inside
    out they are turned, and so is each closed one that is inside out and does not lie within another.

    Parameters
    ----------
    mesh : trimesh.Trimesh
        Closed or nearly.
    path : str
        Its file.

    Returns
    -------
    faces : Int[ndarray, "T 3"]
        With the corners in order.
    notes : tuple of str
        A remark where only some were turned.

    Raises
    ------
    XrcoreError
        If a surface has one side, as a Moebius strip has.
    """
    faces, vertices = np.asarray(mesh.faces), np.asarray(mesh.vertices, np.float64)
    part, turned = _facing_alike(faces, np.asarray(mesh.face_adjacency), np.asarray(mesh.face_adjacency_edges), path)
    corners = vertices[np.where(turned[:, None], faces[:, ::-1], faces)]
    if _volume(corners) < 0:
        turned, corners = ~turned, corners[:, ::-1]
    inside_out = np.zeros(part.max() + 1, bool)
    if len(inside_out) > 1:
        lonely = np.ones(len(faces)) * 3 - np.bincount(np.ravel(mesh.face_adjacency), minlength=len(faces))
        closed = np.bincount(part, weights=lonely) == 0
        negative = np.array([shut and _volume(corners[part == number]) < 0 for number, shut in enumerate(closed)])
        others = corners[~negative[part]]
        for number in np.flatnonzero(negative):
            inside_out[number] = not _encloses(others, corners[part == number][0].mean(0))
    turned = turned ^ inside_out[part]
    count = min(int(turned.sum()), int((~turned).sum()))
    notes = (f"{count} of {len(faces)} triangles of the surface faced the wrong way and were turned",) if count else ()
    return np.where(turned[:, None], faces[:, ::-1], faces), notes


def _facing_alike(
    faces: Int[ndarray, "T 3"], pairs: Int[ndarray, "N 2"], edges: Int[ndarray, "N 2"], path: str
) -> tuple[Int[ndarray, " T"], Bool[ndarray, " T"]]:
    """The connected part that each triangle belongs to, and whether it is turned.

    Each triangle stands twice, as it is and turned; what faces alike is connected.
    """
    from scipy.sparse import coo_array  # here, as its import takes long and few read meshes
    from scipy.sparse.csgraph import connected_components

    count = len(faces)
    first, second = (_runs_along(faces[pairs[:, side]], edges) for side in (0, 1))
    other = np.where(first == second, count, 0)  # neighbours run along their edge in opposite directions
    ends = np.concatenate([pairs[:, 0], pairs[:, 0] + count]), np.concatenate([pairs[:, 1] + other, pairs[:, 1] + count - other])
    _, label = connected_components(coo_array((np.ones(len(ends[0]), bool), ends), shape=(2 * count, 2 * count)), directed=False)
    kept, flipped = label[:count], label[count:]
    if (kept == flipped).any():
        raise XrcoreError(f"{path}: a surface of one side, so that nothing is inside; repair it")
    part = np.unique(np.minimum(kept, flipped), return_inverse=True)[1]
    turned = kept > flipped
    most = np.bincount(part, weights=turned) > 0.5 * np.bincount(part)
    return part, turned ^ most[part]


def _runs_along(faces: Int[ndarray, "N 3"], edges: Int[ndarray, "N 2"]) -> Bool[ndarray, " N"]:
    """Whether a triangle has an edge's corners in this order, and not in the other."""
    return ((faces == edges[:, :1]) & (np.roll(faces, -1, 1) == edges[:, 1:])).any(1)


def _volume(corners: Float[ndarray, "T 3 3"]) -> float:
    """Negative where normals point inwards; about the middle, so that a hole far from the file's origin counts little."""
    centered = corners - corners.reshape(-1, 3).mean(0)
    return float(np.einsum("ti,ti->", centered[:, 0], np.cross(centered[:, 1], centered[:, 2]))) / 6


def _encloses(corners: Float[ndarray, "T 3 3"], point: Float[ndarray, "3"]) -> bool:
    """Whether a point lies inside, by the solid angle of all triangles (van Oosterom and Strackee, IEEE TBME 30, 1983)."""
    a, b, c = np.moveaxis(corners - point, 1, 0)
    la, lb, lc = (np.linalg.norm(side, axis=1) for side in (a, b, c))
    across = np.einsum("ti,ti->t", a, np.cross(b, c))
    along = la * lb * lc + np.einsum("ti,ti->t", a, b) * lc + np.einsum("ti,ti->t", b, c) * la + np.einsum("ti,ti->t", c, a) * lb
    return float(2 * np.arctan2(across, along).sum()) > 2 * np.pi
