"""Surface models, such as of implants: STL, PLY or OBJ -> Volume, alone or placed into a CT."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from xrcore._util.errors import XrcoreError, is_number, require
from xrcore._util.file_suffixes import MESH_SUFFIXES
from xrcore._util.input_files import check_file, checked_path
from xrcore._util.logs import warn_of
from xrcore._util.matrices import rigid_matrix
from xrcore._util.out_of_memory import memory_advice
from xrcore.ct.mesh_orientation import outward
from xrcore.ct.volume import Volume
from xrcore.ct.voxelise import coverage

# [g/cm3]: ASTM F75, Ti-6Al-4V, ASTM F138 (316L), iron, polyethylene of ultra-high molecular weight, ICRU-44 cortical bone
DENSITIES = {
    "cobalt-chrome": 8.3,
    "titanium": 4.43,
    "steel": 8.0,
    "iron": 7.87,
    "polyethylene": 0.94,
    "bone": 1.92,
    "soft": 1.06,
    "water": 1.0,
}
_MARGIN = 2  # voxels of air around the body
_MOST_VOXELS = 400_000_000
_LARGEST_FILE = 1 << 30  # [bytes]
_SMALL, _LARGE = 2.0, 1000.0  # [mm] across, beyond which the unit is doubtful
_MOST_OPEN = 0.05  # of the edges: beyond it nothing says what is inside


@memory_advice("read_mesh", "a larger spacing needs less")
def read_mesh(
    path: str | os.PathLike[str], material: str = "titanium", spacing: float = 0.5, *, density: float | None = None, frame: str = "lps"
) -> Volume:
    """Read a closed surface as a body of one material.

    Parameters
    ----------
    path : path
        STL, PLY or OBJ [mm].
    material : str
        Of the body: one of `DENSITIES`.
    spacing : float
        Voxel size [mm]; a voxel that the surface cuts has the share of the density that lies inside.
    density : float, optional
        Of the body [g/cm3]; default the material's.
    frame : str
        The axes of the file: "lps", or "ras" as some programs write.

    Returns
    -------
    Volume
        The body in its own coordinates, LPS; its isocentre is the middle of its box.

    Raises
    ------
    XrcoreError
        Naming the file and what is wrong with it.
    """
    path = checked_path("read_mesh", path)
    corners, notes = _read(path, frame)
    weight = _density("read_mesh", material, density)
    require("read_mesh", "spacing", spacing, is_number(spacing) and spacing > 0, "positive, in mm")
    low, high = corners.reshape(-1, 3).min(0), corners.reshape(-1, 3).max(0)
    counts = np.ceil((high - low) / spacing).astype(int) + 2 * _MARGIN
    if np.prod(counts.astype(float)) > _MOST_VOXELS:
        size = " x ".join(f"{v:.0f}" for v in high - low)
        raise XrcoreError(f"{path}: {size} mm at a spacing of {spacing:g} mm are too many voxels; give a larger spacing")
    matrix = np.diag([spacing, spacing, spacing, 1.0])
    matrix[:3, 3] = (low + high) / 2 - spacing * (counts - 1) / 2
    inside = coverage((corners - matrix[:3, 3]) / spacing, (int(counts[2]), int(counts[1]), int(counts[0])))
    warn_of(notes)
    return Volume(
        density=torch.from_numpy(weight * inside)[None], materials=(material,), world_from_voxel=torch.from_numpy(matrix), notes=notes
    )


@memory_advice("place_mesh", "a CT of larger spacing, or cropped to what is seen, needs less")
def place_mesh(
    volume: Volume,
    path: str | os.PathLike[str],
    material: str = "titanium",
    *,
    world_from_mesh: Float[Tensor, "4 4"] | None = None,
    density: float | None = None,
    frame: str = "lps",
) -> Volume:
    """Place a closed surface into a CT, as a plan has it: what was there makes way.

    Parameters
    ----------
    volume : Volume
        The CT; its grid is kept, so that thin parts want a fine one.
    path : path
        STL, PLY or OBJ [mm].
    material : str
        Of the body: one of `DENSITIES`.
    world_from_mesh : Float[Tensor, "4 4"], optional
        Where it goes: rigid, the file's coordinates into the CT's world [mm]; default as they are.
    density : float, optional
        Of the body [g/cm3]; default the material's.
    frame : str
        The axes of the file: "lps", or "ras" as some programs write.

    Returns
    -------
    Volume
        With one material more, or more of one that it has.

    Raises
    ------
    XrcoreError
        Naming the file and what is wrong with it, or that it lies outside the CT.
    """
    require("place_mesh", "volume", volume, isinstance(volume, Volume), "a Volume, such as read_ct gives")
    path = checked_path("place_mesh", path)
    corners, notes = _read(path, frame)
    weight = _density("place_mesh", material, density)
    matrix = volume.voxel_from_world
    if world_from_mesh is not None:
        matrix = matrix @ rigid_matrix("place_mesh", "world_from_mesh", world_from_mesh)
    placed = corners @ matrix[:3, :3].numpy().T + matrix[:3, 3].numpy()
    if float(torch.linalg.det(matrix[:3, :3])) < 0:
        placed = placed[:, ::-1]  # a grid of the other handedness turns surfaces inside out
    # only the voxels around the body
    size, points = volume.shape[::-1], placed.reshape(-1, 3)
    first, end = (np.clip(v, 0, size).astype(int) for v in (np.floor(points.min(0)) - 1, np.ceil(points.max(0)) + 2))
    depth, height, width = (end - first)[::-1].tolist()
    inside = torch.from_numpy(coverage(placed - first, (depth, height, width)))
    if not inside.any():
        raise XrcoreError(f"{path}: lies outside the CT; check world_from_mesh and frame")
    materials = volume.materials if material in volume.materials else (*volume.materials, material)
    density_of = torch.zeros((len(materials), *volume.shape), dtype=volume.density.dtype)
    density_of[: len(volume.materials)] = volume.density
    warn_of(notes)
    x, y, z = (slice(*ends) for ends in zip(first.tolist(), end.tolist(), strict=True))
    density_of[:, z, y, x] *= 1 - inside
    density_of[materials.index(material), z, y, x] += weight * inside
    return replace(volume, density=density_of.to(volume.device), materials=materials, notes=(*volume.notes, *notes))


def _density(caller: str, material: object, density: object) -> float:
    known = isinstance(material, str) and material in DENSITIES
    require(caller, "material", material, known, f"one of {', '.join(DENSITIES)}")
    assert isinstance(material, str)
    require(caller, "density", density, density is None or (is_number(density) and 0 < density < 25), "in g/cm3, or None")
    return DENSITIES[material] if density is None else float(density)  # type: ignore[arg-type]


def read_surface(path: Path, frame: str) -> Any:
    """The surface of a file, open or closed, as a `trimesh.Trimesh` in LPS [mm]."""
    import trimesh  # here, because a CT needs none

    require("read_mesh", "frame", frame, isinstance(frame, str) and frame in ("lps", "ras"), "lps or ras")
    check_file(path)
    suffix = path.suffix.lower()
    if suffix not in MESH_SUFFIXES:
        raise XrcoreError(f"{path}: expected {', '.join(MESH_SUFFIXES)}")
    if path.stat().st_size > _LARGEST_FILE:
        raise XrcoreError(f"{path}: larger than {_LARGEST_FILE >> 30} GB")
    with path.open("rb") as file:
        said = re.search(rb"SPACE\s*=\s*(LPS|RAS)", file.read(1024))  # as 3D Slicer writes
    if said and said[1].decode().lower() != frame:
        raise XrcoreError(f"{path}: says that its axes are {said[1].decode()}, and it is read as {frame.upper()}; give that frame")
    try:
        with path.open("rb") as file:
            mesh = trimesh.load_mesh(file, file_type=suffix[1:], skip_materials=True)
    except XrcoreError:
        raise
    except Exception as error:  # whatever a parser makes of a damaged file
        reason = " ".join(str(error).split())[:80]
        raise XrcoreError(f"{path}: not a {suffix[1:].upper()} file that can be read ({reason or type(error).__name__})") from None
    faces = np.asarray(getattr(mesh, "faces", ()))
    if faces.ndim != 2 or len(faces) < 4:
        raise XrcoreError(f"{path}: holds no surface of triangles")
    if not np.isfinite(np.asarray(mesh.vertices)[faces]).all():
        raise XrcoreError(f"{path}: holds corners that are not finite")
    if frame == "ras":  # half a turn about z, which keeps the orientation
        mesh.apply_transform(np.diag([-1.0, -1.0, 1.0, 1.0]))
    return mesh


def _read(path: Path, frame: str) -> tuple[Float[ndarray, "T 3 3"], tuple[str, ...]]:
    """Corners of the triangles in LPS [mm], normals outwards; and remarks."""
    mesh = read_surface(path, frame)
    notes = _closed(path, mesh, np.asarray(mesh.faces))
    faces, turned = outward(mesh, str(path))
    corners, notes = np.asarray(mesh.vertices, np.float64)[faces], notes + turned
    size = float(np.ptp(corners.reshape(-1, 3), axis=0).max())
    if not _SMALL <= size <= _LARGE:
        notes += (f"the surface is {size:.3g} mm across: is its unit another than mm?",)
    return corners, tuple(f"{path}: {note}" for note in notes)


def _closed(path: Path, mesh: object, faces: ndarray) -> tuple[str, ...]:
    """A remark where some edges have no neighbour; raises XrcoreError where many have none."""
    if mesh.is_watertight:  # type: ignore[attr-defined]
        return ()
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    _, uses = np.unique(edges, axis=0, return_counts=True)
    lonely = int((uses == 1).sum())
    if lonely > _MOST_OPEN * len(uses):
        raise XrcoreError(f"{path}: the surface is open ({lonely} of {len(uses)} edges have one side), so that nothing is inside; close it")
    return (f"the surface is not closed ({lonely} edges have one side) and was filled across its holes",) if lonely else ()
