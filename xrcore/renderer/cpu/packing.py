"""A Volume as the CPU kernels read it: two materials to a 32-bit word, padded, with a map of where it is empty."""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import torch
from scipy import ndimage

from xrcore.ct.volume import Volume
from xrcore.errors import XrcoreError
from xrcore.renderer.cpu.kernels import BLOCK

LEVELS = 65535  # 16 bits a material
PAD_LOW, PAD_HIGH = 1, 2  # zeros around the grid: bilinear samples fade out over one voxel, one more for rounding


@dataclass(frozen=True)
class PackedVolume:
    """words: uint32, flat, one padded grid (z, y, x) per pair of materials; words_x: the same as (z, x, y), for rays along x.

    size: padded (x, y, z). scale: (2 * planes,) g/cm3 per count. occupied: (planes, bz, by, bx) uint8, 1 where a block
    or a neighbour of it holds anything.
    """

    words: np.ndarray
    words_x: np.ndarray
    size: np.ndarray
    scale: np.ndarray
    occupied: np.ndarray


_packed: WeakKeyDictionary[Volume, PackedVolume] = WeakKeyDictionary()


def pack(volume: Volume) -> PackedVolume:
    """Pack once per Volume; the result is kept as long as the Volume lives."""
    if volume not in _packed:
        _packed[volume] = _pack(volume)
    return _packed[volume]


def _pack(volume: Volume) -> PackedVolume:
    density = volume.density.detach()
    materials = density.shape[0]
    planes = (materials + 1) // 2
    padded_shape = [n + PAD_LOW + PAD_HIGH for n in volume.shape]
    if planes * int(np.prod(padded_shape)) >= 2**31:
        raise XrcoreError(f"Volume: {volume} is too large for the cpu renderer; read it at a coarser spacing")
    top = density.amax(dim=(1, 2, 3)).double()
    if not bool(torch.isfinite(top).all()) or bool((density.amin(dim=(1, 2, 3)) < 0).any()):
        raise XrcoreError("Volume: densities must be finite and not negative")
    scale = np.ones(2 * planes)
    scale[:materials] = np.where(top.numpy() > 0, top.numpy() / LEVELS, 1.0)
    words = np.zeros((planes, *padded_shape), np.int32)
    occupied = []
    for plane in range(planes):
        inner = words[plane, PAD_LOW:-PAD_HIGH, PAD_LOW:-PAD_HIGH, PAD_LOW:-PAD_HIGH]
        for half, m in enumerate(range(2 * plane, min(2 * plane + 2, materials))):
            counts = torch.round(density[m] * float(1 / scale[m])).clamp_(0, LEVELS).to(torch.int32)
            inner |= (counts << (16 * half)).numpy()
        occupied.append(_occupied(words[plane]))
    size = np.array(padded_shape[::-1], np.int64)
    words_x = np.ascontiguousarray(words.transpose(0, 1, 3, 2))
    return PackedVolume(words.view(np.uint32).reshape(-1), words_x.view(np.uint32).reshape(-1), size, scale, np.stack(occupied))


def _occupied(words: np.ndarray) -> np.ndarray:
    blocks = [-(-n // BLOCK) for n in words.shape]
    filled = np.zeros([b * BLOCK for b in blocks], bool)
    filled[: words.shape[0], : words.shape[1], : words.shape[2]] = words != 0
    occupied = filled.reshape(blocks[0], BLOCK, blocks[1], BLOCK, blocks[2], BLOCK).any(axis=(1, 3, 5))
    return ndimage.binary_dilation(occupied, np.ones((3, 3, 3))).astype(np.uint8)  # by one block, also diagonally
