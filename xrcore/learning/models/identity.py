"""CtIdentity: recognise the CT that a model was trained for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from xrcore._util.errors import XrcoreError
from xrcore.ct.volume import Volume

_GRID, _BLOCK = 8, 72.0  # nodes along an axis, and their distance [mm]
_COARSE = 6.0  # [mm], voxels that are counted
_TOLERANCE = 0.015  # [g/cm3], root mean square over the nodes that hold mass
_CENTER = 4.0  # [mm]
_PLACE, _EXTENT = 2.0, 16.0  # [mm]; the grid of a coarse CT reaches further out


@dataclass(frozen=True)
class CtIdentity:
    """Where a CT lies in the world and how its mass is spread, coarsely: the same CT at another voxel size is the same.

    Parameters
    ----------
    isocenter : tuple of float
        (x, y, z), world [mm].
    extent : tuple of float
        Of the grid along (x, y, z) [mm].
    materials : tuple of str
        Of the volume.
    mass : tuple of float
        Density [g/cm3] about 8 x 8 x 8 nodes, 72 mm apart, centred on the isocentre along the world's axes (x, y, z), flattened.
    patients : int
        Of a start model, how many CTs these are the means of.
    """

    isocenter: tuple[float, ...]
    extent: tuple[float, ...]
    materials: tuple[str, ...]
    mass: tuple[float, ...]
    patients: int = 1

    @classmethod
    def of(cls, volume: Volume) -> CtIdentity:
        """Describe a volume; the description is kept with it until it changes.

        Parameters
        ----------
        volume : Volume
            The CT.

        Returns
        -------
        CtIdentity
            Of that CT.
        """
        return volume.derived(
            "identity",
            lambda: cls(
                tuple(round(v, 4) for v in volume.isocenter.tolist()),
                tuple(round(v, 4) for v in volume.extent),
                volume.materials,
                tuple(round(v, 4) for v in _mass(volume).flatten().tolist()),
            ),
        )

    @classmethod
    def of_all(cls, volumes: Sequence[Volume]) -> CtIdentity:
        """Describe the CTs of a training, of one patient or of several.

        Parameters
        ----------
        volumes : Sequence[Volume]
            One CT or more.

        Returns
        -------
        CtIdentity
            Of the one CT, or the means over all.
        """
        each = [cls.of(volume) for volume in volumes]
        if len(each) == 1:
            return each[0]
        means = {name: _means([getattr(one, name) for one in each]) for name in ("isocenter", "extent", "mass")}
        materials = tuple(sorted({material for one in each for material in one.materials}))
        return cls(means["isocenter"], means["extent"], materials, means["mass"], len(each))

    def differs(self, other: CtIdentity) -> str | None:
        """Describe how two CTs differ.

        Parameters
        ----------
        other : CtIdentity
            Of the CT at hand.

        Returns
        -------
        str or None
            The first difference in words, or None for the same CT.
        """
        if self.patients != other.patients:
            return f"the model was trained on {_cts(self.patients)}, not on {_cts(other.patients)}"
        part = 1 / self.patients  # of several, where one may be another
        for name, tolerance in (("isocenter", _PLACE), ("extent", _EXTENT)):
            mine, theirs = (torch.tensor(getattr(x, name)) for x in (self, other))
            if float((mine - theirs).abs().max()) > tolerance * part:
                return f"its {name} is {_mm(getattr(other, name))}, the model's CT has {_mm(getattr(self, name))}"
        if self.materials != other.materials:
            return f"it holds {', '.join(other.materials)}, the model's CT {', '.join(self.materials)}; was it read with the same options?"
        center, place = _center(self.mass), _center(other.mass)
        if float((center - place).abs().max()) > _CENTER * part:
            a, b = (_mm(tuple(c.tolist())) for c in (place, center))
            return f"its centre of mass is {a} from the isocentre, that of the model's CT {b}"
        mine, theirs = torch.tensor(self.mass), torch.tensor(other.mass)
        held = (mine > 0) | (theirs > 0)
        distance = float((mine - theirs)[held].square().mean().sqrt()) if held.any() else 0.0
        if distance > _TOLERANCE * part:
            return f"its mass is spread otherwise (by {distance:.3f} g/cm3, root mean square; the same CT stays below {_TOLERANCE})"
        return None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for files.

        Returns
        -------
        dict[str, Any]
            Every field by its name.
        """
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> CtIdentity:
        """Read what `to_dict` returned.

        Parameters
        ----------
        values : dict[str, Any]
            Fields by name.

        Returns
        -------
        CtIdentity
            As it was.

        Raises
        ------
        XrcoreError
            If a field is missing or makes no sense.
        """
        try:
            numbers = {name: tuple(float(v) for v in values[name]) for name in ("isocenter", "extent", "mass")}
            materials = tuple(str(m) for m in values["materials"])
            patients = int(values.get("patients", 1))
        except (KeyError, TypeError, ValueError) as error:
            raise XrcoreError(f"the description of the CT is broken ({type(error).__name__}: {error})") from None
        if [len(v) for v in numbers.values()] != [3, 3, _GRID**3]:
            raise XrcoreError("the description of the CT is broken (wrong lengths)")
        if not all(math.isfinite(v) for value in numbers.values() for v in value):
            raise XrcoreError("the description of the CT is broken (not finite)")
        if patients < 1:
            raise XrcoreError("the description of the CT is broken (patients)")
        return cls(numbers["isocenter"], numbers["extent"], materials, numbers["mass"], patients)


def _mass(volume: Volume) -> Float[Tensor, "8 8 8"]:
    """Density about each node: every voxel's mass is shared among the eight nodes around it, so that the grid it lies on matters little."""
    coarse = volume.coarser(_COARSE)
    total = coarse.density.detach().float().sum(0).cpu()
    index = torch.nonzero(total)
    world = index.flip(-1).double() @ coarse.world_from_voxel[:3, :3].T + coarse.world_from_voxel[:3, 3]
    place = ((world - volume.isocenter) / _BLOCK + (_GRID - 1) / 2).clamp(0, _GRID - 1.001)
    low = place.floor()
    share = place - low
    mass = total[tuple(index.T)].double() * abs(float(torch.linalg.det(coarse.world_from_voxel[:3, :3])))
    nodes = torch.zeros(_GRID**3, dtype=torch.float64)
    for corner in torch.cartesian_prod(*[torch.arange(2)] * 3):
        weight = torch.where(corner.bool(), share, 1 - share).prod(-1)
        x, y, z = (low.long() + corner).unbind(-1)
        nodes.index_add_(0, (x * _GRID + y) * _GRID + z, weight * mass)
    return (nodes / _BLOCK**3).reshape(_GRID, _GRID, _GRID)


def _center(mass: tuple[float, ...]) -> Float[Tensor, "3"]:
    """Centre of the nodes' mass, from the isocentre along (x, y, z) [mm]."""
    nodes = torch.tensor(mass, dtype=torch.float64).reshape(_GRID, _GRID, _GRID)
    where = (torch.arange(_GRID, dtype=torch.float64) - (_GRID - 1) / 2) * _BLOCK
    sums = (nodes.sum((1, 2)), nodes.sum((0, 2)), nodes.sum((0, 1)))
    return torch.stack([(s * where).sum() for s in sums]) / nodes.sum().clamp_min(1e-9)


def _means(rows: list[tuple[float, ...]]) -> tuple[float, ...]:
    return tuple(round(v, 4) for v in torch.tensor(rows, dtype=torch.float64).mean(0).tolist())


def _cts(count: int) -> str:
    return "one CT" if count == 1 else f"{count} CTs together"


def _mm(values: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{v:.0f}" for v in values) + ") mm"
