"""Which CT a model belongs to, told without the CT."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from xrcore.ct.volume import Volume
from xrcore.errors import XrcoreError

_GRID = 8  # blocks along an axis
_BLOCK_TOLERANCE = 0.03  # [g/cm3], root mean square over the blocks; other patients differ by more than 0.1
_PLACE_TOLERANCE = 2.0  # [mm]


@dataclass(frozen=True)
class CtIdentity:
    """Where a CT lies in the world [mm] and how its mass is spread, coarsely: the same CT at another voxel size is the same.

    isocenter: (3,); extent: (x, y, z), of the grid; materials; mass: mean density [g/cm3] of 8 x 8 x 8 blocks (z, y, x), flattened.
    """

    isocenter: tuple[float, ...]
    extent: tuple[float, ...]
    materials: tuple[str, ...]
    mass: tuple[float, ...]

    @classmethod
    def of(cls, volume: Volume) -> CtIdentity:
        total = volume.density.detach().sum(0, keepdim=True).float().cpu()[None]
        mass = F.adaptive_avg_pool3d(total, _GRID).flatten()
        return cls(
            tuple(round(v, 4) for v in volume.isocenter.tolist()),
            tuple(round(v, 4) for v in volume.extent),
            volume.materials,
            tuple(round(v, 4) for v in mass.tolist()),
        )

    def differs(self, other: CtIdentity) -> str | None:
        """What tells the two apart, or None."""
        for name, tolerance in (("isocenter", _PLACE_TOLERANCE), ("extent", 4 * _PLACE_TOLERANCE)):
            mine, theirs = (torch.tensor(getattr(x, name)) for x in (self, other))
            if float((mine - theirs).abs().max()) > tolerance:
                return f"its {name} is {_mm(getattr(other, name))}, the model's CT has {_mm(getattr(self, name))}"
        distance = float((torch.tensor(self.mass) - torch.tensor(other.mass)).square().mean().sqrt())
        if distance > _BLOCK_TOLERANCE:
            return f"its mass is spread otherwise (by {distance:.2f} g/cm3, root mean square; at most {_BLOCK_TOLERANCE} is the same CT)"
        return None

    def to_dict(self) -> dict[str, Any]:
        return {"isocenter": self.isocenter, "extent": self.extent, "materials": self.materials, "mass": self.mass}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> CtIdentity:
        try:
            numbers = {name: tuple(float(v) for v in values[name]) for name in ("isocenter", "extent", "mass")}
            materials = tuple(str(m) for m in values["materials"])
        except (KeyError, TypeError, ValueError) as error:
            raise XrcoreError(f"the description of the CT is broken ({type(error).__name__}: {error})") from None
        if [len(v) for v in numbers.values()] != [3, 3, _GRID**3]:
            raise XrcoreError("the description of the CT is broken (wrong lengths)")
        return cls(numbers["isocenter"], numbers["extent"], materials, numbers["mass"])


def _mm(values: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{v:.0f}" for v in values) + ") mm"
