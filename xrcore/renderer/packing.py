"""PackedVolume: a Volume in the layout of the fast renderers, two materials per 32-bit word, padded, with a map of empty blocks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float64, Int32, UInt8
from torch import Tensor

from xrcore._util.bounds import LARGEST_SIDE
from xrcore._util.errors import XrcoreError
from xrcore.ct.volume import Volume

LEVELS = 65535  # 16 bits a material
PAD_LOW, PAD_HIGH = 1, 2  # zeros around the grid: bilinear samples fade out over one voxel, one more for rounding
BLOCK = 8  # voxels along the edge of an occupancy block


@dataclass(frozen=True, eq=False)
class PackedVolume:
    """A packed volume, on the volume's device.

    words: int32 bits of two 16-bit counts; first one padded grid (z, y, x) per pair of materials, then each again as (z, x, y), for rays
    along x. size: padded (x, y, z). scale: (2 * planes,) g/cm3 per count, float64. occupied: 1 where a block or a neighbour of it
    holds anything.
    """

    words: Int32[Tensor, " n"]
    size: tuple[int, int, int]
    scale: Float64[Tensor, " m"]
    occupied: UInt8[Tensor, "p bz by bx"]

    @property
    def planes(self) -> int:
        """Pairs of materials."""
        return self.occupied.shape[0]

    @property
    def words_zyx(self) -> Int32[Tensor, " half"]:
        """The grids as (z, y, x)."""
        return self.words[: len(self.words) // 2]

    @property
    def words_zxy(self) -> Int32[Tensor, " half"]:
        """The grids as (z, x, y)."""
        return self.words[len(self.words) // 2 :]


def pack(volume: Volume) -> PackedVolume:
    """Pack a volume's densities for the fast renderers.

    Parameters
    ----------
    volume : Volume
        What is to be rendered; float32.

    Returns
    -------
    PackedVolume
        On the volume's device; kept with the volume until its densities change.

    Raises
    ------
    XrcoreError
        For densities that are negative or not finite, and for a grid with more words than 31 bits can count or with a side beyond 16384.
    """
    return volume.derived("packed", lambda: _pack(volume))


def padded_voxel_from_world(volume: Volume) -> Float64[Tensor, "4 4"]:
    """From the world to the padded voxels of the kernels, on the CPU."""
    matrix = volume.voxel_from_world.clone()
    matrix[:3, 3] += PAD_LOW
    return matrix


def _pack(volume: Volume) -> PackedVolume:
    density = volume.density.detach()
    materials = density.shape[0]
    planes = (materials + 1) // 2
    shape = [n + PAD_LOW + PAD_HIGH for n in volume.shape]
    if planes * math.prod(shape) >= 2**31 or max(shape) > LARGEST_SIDE:
        raise XrcoreError(f"Volume: {volume} is too large for the fast renderers; read it at a coarser spacing")
    top = density.amax(dim=(1, 2, 3)).double()
    if not bool(torch.isfinite(top).all()) or bool((density.amin(dim=(1, 2, 3)) < 0).any()):
        raise XrcoreError("Volume: densities must be finite and not negative")
    scale = torch.ones(2 * planes, dtype=torch.float64, device=density.device)
    scale[:materials] = torch.where(top > 0, top / LEVELS, 1.0)
    # Zeros before the first grid too: where a ray leaves by its first plane, rounding may read one plane below. In multiples of 16 bytes.
    guard = -(-shape[1] * shape[2] // 4) * 4 + 4
    words = torch.zeros(guard + 2 * planes * math.prod(shape), dtype=torch.int32, device=density.device)[guard:].view(2, planes, -1)
    occupied = []
    for plane in range(planes):
        zyx = words[0, plane].view(shape)
        inner = zyx[PAD_LOW:-PAD_HIGH, PAD_LOW:-PAD_HIGH, PAD_LOW:-PAD_HIGH]
        for half, m in enumerate(range(2 * plane, min(2 * plane + 2, materials))):
            counts = (density[m] * float(1 / scale[m])).round_().clamp_(0, LEVELS).to(torch.int32)
            inner |= counts.bitwise_left_shift_(16 * half)
        words[1, plane].view(shape[0], shape[2], shape[1]).copy_(zyx.transpose(1, 2))
        occupied.append(_occupied(zyx))
    x, y, z = reversed(shape)
    return PackedVolume(words.flatten(), (x, y, z), scale, torch.stack(occupied))


def _occupied(words: Int32[Tensor, "z y x"]) -> UInt8[Tensor, "bz by bx"]:
    filled = F.pad((words != 0).view(torch.uint8), [v for n in reversed(words.shape) for v in (0, -n % BLOCK)])
    z, y, x = (n // BLOCK for n in filled.shape)
    rows = filled.view(torch.int64)  # the eight voxels of a block's row in one number, greatest is zero only where all are
    blocks = (rows.view(z, BLOCK, -1).amax(1).view(z, y, BLOCK, x).amax(2) != 0).float()
    return F.max_pool3d(blocks[None, None], 3, 1, 1)[0, 0].to(torch.uint8)  # dilated by one block, also diagonally
