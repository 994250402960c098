"""Volume: what the renderer needs of a CT."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from xrcore._util.bounds import LARGEST_LENGTH
from xrcore._util.conversion import as_tensor
from xrcore._util.device_memory import OUT_OF_MEMORY, NoRoomError
from xrcore._util.devices import named_device
from xrcore._util.errors import XrcoreError, is_number, is_whole, require
from xrcore._util.farthest_points import farthest_points
from xrcore._util.matrices import has_last_row

T = TypeVar("T")


_SMALLEST_VOXEL = 1e-6  # mm


@dataclass(frozen=True, kw_only=True, eq=False)
class Volume:
    """Mass density per material on one grid, in world space.

    What renderers and others derive from it is kept with it, until one of its tensors changes in place.

    Parameters
    ----------
    density : Float[Tensor, "M D H W"]
        Mass density [g/cm3], axes (material, z, y, x), float32 (float64 for the reference renderer), zero outside the body.
    materials : tuple of str
        M names that a `Beam` knows, e.g. ("soft", "bone") or ("soft", "bone", "metal").
    world_from_voxel : Float[Tensor, "4 4"]
        From (x-, y-, z-index, 1) to LPS [mm]; voxel centres at integers.
    isocenter : Float[Tensor, "3"], optional
        LPS [mm]; default the centre of the grid's extent. Coarser copies keep it.
    notes : tuple of str
        One-line remarks for the user about the file it was read from.
    frame_of_reference : str
        DICOM's UID of the space that its LPS is in, empty where the file has none.

    Raises
    ------
    XrcoreError
        Naming the parameter that makes no sense.
    """

    density: Float[Tensor, "M D H W"]
    materials: tuple[str, ...]
    world_from_voxel: Float[Tensor, "4 4"]
    isocenter: Float[Tensor, "3"] = field(default=None)  # type: ignore[assignment]
    notes: tuple[str, ...] = ()
    frame_of_reference: str = ""

    def __post_init__(self) -> None:
        put = object.__setattr__
        floats = isinstance(self.density, Tensor) and self.density.ndim == 4 and self.density.dtype.is_floating_point
        shape = tuple(getattr(self.density, "shape", ()))
        require("Volume", "density", shape or self.density, floats, "a float tensor of shape (M, D, H, W)")
        named = isinstance(self.materials, (tuple, list)) and all(isinstance(name, str) for name in self.materials)
        require("Volume", "materials", self.materials, named, "a tuple of names")
        put(self, "materials", tuple(self.materials))
        if len(self.materials) != shape[0]:
            raise XrcoreError(f"Volume: {shape[0]} densities but {len(self.materials)} materials {self.materials}")
        matrix = grid_matrix("Volume", self.world_from_voxel)
        near = (matrix.abs() <= LARGEST_LENGTH).all() and matrix[:3, :3].norm(dim=0).min() >= _SMALLEST_VOXEL
        require(
            "Volume",
            "world_from_voxel",
            matrix.tolist(),
            bool(near),
            f"within {LARGEST_LENGTH:g} mm, of voxels above {_SMALLEST_VOXEL:g} mm",
        )
        # copies: what a caller writes into a numpy array later would go unnoticed
        put(self, "world_from_voxel", matrix.clone())
        if self.isocenter is None:
            size = torch.tensor(shape[:0:-1], dtype=torch.float64)
            put(self, "isocenter", matrix[:3, :3] @ ((size - 1) / 2) + matrix[:3, 3])
        else:
            point = as_tensor("Volume", "isocenter", self.isocenter, "one point of 3 numbers in mm")
            require("Volume", "isocenter", tuple(point.shape), point.numel() == 3, "one point of 3 numbers in mm")
            near = (point.abs() <= LARGEST_LENGTH).all()
            require("Volume", "isocenter", point.tolist(), bool(near), f"within {LARGEST_LENGTH:g} mm of the origin")
            put(self, "isocenter", point.reshape(3).clone())

    @property
    def shape(self) -> tuple[int, int, int]:
        """(z, y, x) voxels."""
        return tuple(self.density.shape[1:])  # type: ignore[return-value]

    @property
    def spacing(self) -> tuple[float, float, float]:
        """(x, y, z) voxel size [mm]."""
        return tuple(torch.linalg.norm(self.world_from_voxel[:3, :3], dim=0).tolist())

    @property
    def extent(self) -> tuple[float, float, float]:
        """(x, y, z) size of the grid, voxel edge to voxel edge [mm]."""
        return tuple(n * s for n, s in zip(reversed(self.shape), self.spacing, strict=True))  # type: ignore[return-value]

    def material(self, name: str) -> Float[Tensor, "D H W"]:
        """Look up the density of one material.

        Parameters
        ----------
        name : str
            One of `materials`.

        Returns
        -------
        Float[Tensor, "D H W"]
            Mass density [g/cm3].
        """
        if name not in self.materials:
            raise XrcoreError(f"Volume: no material {name!r}; it has {', '.join(self.materials)}")
        return self.density[self.materials.index(name)]

    def to(self, device: torch.device | str) -> Volume:
        """Put the densities on another device, where the volume is then rendered; geometry stays with the processor.

        Kept with the volume once made, so that going to a GPU twice copies once.

        Parameters
        ----------
        device : torch.device or str
            Such as "cpu", "cuda" or "cuda:1".

        Returns
        -------
        Volume
            The same there.

        Raises
        ------
        NoRoomError
            An XrcoreError, where that device's memory does not suffice.
        """
        device = torch.empty(0, device=named_device(device)).device  # "cuda" is one of several
        if device == self.density.device:
            return self
        try:
            return self.derived(device, lambda: replace(self, density=self.density.to(device)))
        except OUT_OF_MEMORY:
            pass
        # outside the handler, whose traceback still holds what was allocated
        raise NoRoomError(f"{self} does not fit into the memory of {device}; read it at a coarser spacing")

    @property
    def device(self) -> torch.device:
        """Where the densities are."""
        return self.density.device

    def coarser(self, spacing: float) -> Volume:
        """Coarsen the grid by whole factors, averaging blocks of voxels.

        Averaging keeps the mass along a ray; the grid is padded at its far side to whole blocks. Kept with the volume once made.

        Parameters
        ----------
        spacing : float
            Voxel size that the whole factors come nearest to [mm]; beyond the grid's extent one voxel is left.

        Returns
        -------
        Volume
            On the coarser grid, or this one where it is as coarse.
        """
        require("Volume.coarser", "spacing", spacing, is_number(spacing) and spacing > 0, "a positive length in mm")
        factors = tuple(max(1, min(round(spacing / s), n)) for s, n in zip(self.spacing, reversed(self.shape), strict=True))
        if max(factors) == 1:  # not kept, or it would keep itself alive
            return self
        return self.derived(("coarser", factors), lambda: self._coarser_by(factors))

    def _coarser_by(self, factors: tuple[int, ...]) -> Volume:
        fx, fy, fz = factors
        pads = [(-n) % f for n, f in zip(self.shape, (fz, fy, fx), strict=True)]
        padded = F.pad(self.density, (0, pads[2], 0, pads[1], 0, pads[0]))
        density = F.avg_pool3d(padded[None], (fz, fy, fx))[0].contiguous()
        scale = torch.diag(torch.tensor([fx, fy, fz, 1], dtype=torch.float64))
        scale[:3, 3] = torch.tensor([(f - 1) / 2 for f in factors], dtype=torch.float64)  # a block's centre
        return replace(self, density=density, world_from_voxel=self.world_from_voxel @ scale, isocenter=self.isocenter)

    @property
    def voxel_from_world(self) -> Float[Tensor, "4 4"]:
        """4x4, the inverse of `world_from_voxel`."""
        return self.derived("voxel_from_world", lambda: torch.linalg.inv(self.world_from_voxel))

    def surface_points(self, count: int = 64, material: str = "bone") -> Float[Tensor, "n 3"]:
        """Choose landmarks for evaluation: well-spread points of one material, the same for the same volume.

        Farthest-point sampling over the voxels denser than half the material's 99th percentile; a volume without that material
        gives points of whatever it holds. Kept with the volume once found.

        Parameters
        ----------
        count : int
            How many points; fewer where there are not as many voxels.
        material : str
            Of which material.

        Returns
        -------
        Float[Tensor, "n 3"]
            LPS [mm].

        References
        ----------
        Gonzalez, Clustering to minimize the maximum intercluster distance, Theoretical Computer Science 38, 1985.
        """
        require("Volume.surface_points", "count", count, is_whole(count) and count >= 1, "a whole number, at least 1")
        return self.derived(("surface_points", count, material), lambda: self._surface_points_of(count, material)).clone()

    def _surface_points_of(self, count: int, material: str) -> Tensor:
        density = (self.material(material) if material in self.materials else self.density.sum(0)).cpu()
        if not (density > 0).any():
            density = self.density.sum(0).cpu()
        if not (density > 0).any():
            raise XrcoreError("Volume: it is empty, so it has no landmarks")
        level = torch.quantile(density[density > 0].flatten()[:: max(1, int((density > 0).sum()) // 100_000)].double(), 0.99)
        index = torch.nonzero(density > 0.5 * level).flip(-1).double()
        index = index[:: max(1, len(index) // 20_000)]
        points = index @ self.world_from_voxel[:3, :3].T + self.world_from_voxel[:3, 3]
        return points[farthest_points(points, count)]

    def derived(self, key: Hashable, make: Callable[[], T]) -> T:
        """Keep what is made from the volume as long as it lives and none of its tensors changes in place.

        Parameters
        ----------
        key : hashable
            What it is called.
        make : callable
            Makes it; it must not refer to the volume, which else never goes.

        Returns
        -------
        object
            What `make` returned, the first time or now.
        """
        versions = tuple(_version(tensor) for tensor in (self.density, self.world_from_voxel, self.isocenter))
        before, kept = self.__dict__.get("_derived", (None, {}))
        if before != versions:
            kept = {}
            self.__dict__["_derived"] = versions, kept
        if key not in kept:
            kept[key] = make()
        return kept[key]

    def forget(self, key: Hashable) -> None:
        """Let go of what `derived` keeps under a key, such as a device's copy under the device.

        Parameters
        ----------
        key : hashable
            What it is called.
        """
        self.__dict__.get("_derived", (None, {}))[1].pop(key, None)

    def __getstate__(self) -> dict[str, Any]:
        return {one.name: getattr(self, one.name) for one in fields(self)}

    def __repr__(self) -> str:
        z, y, x = self.shape
        spacing = " x ".join(f"{s:g}" for s in self.spacing)
        return f"Volume({x} x {y} x {z} voxels of {spacing} mm, {' + '.join(self.materials)})"


def _version(tensor: Tensor) -> int:
    """How often a tensor was changed in place."""
    return 0 if tensor.is_inference() else tensor._version  # which tensors of inference mode do not count


def grid_matrix(owner: str, world_from_voxel: object) -> Float[Tensor, "4 4"]:
    """The matrix as float64; XrcoreError, naming it, unless it is one of a grid."""
    what = "a finite, invertible 4x4 matrix whose last row is 0, 0, 0, 1"
    matrix = as_tensor(owner, "world_from_voxel", world_from_voxel, what)
    good = matrix.shape == (4, 4) and bool(torch.isfinite(matrix).all()) and float(torch.linalg.det(matrix[:3, :3]).abs()) >= 1e-12
    good = good and has_last_row(matrix)
    require(owner, "world_from_voxel", matrix.tolist(), good, what)
    return matrix
