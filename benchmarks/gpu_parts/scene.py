"""Scene of the GPU benchmark: the phantom, the C-arm and the views."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import torch
from common import scenes
from gpu_parts.sizes import Sizes

from xrcore.beam import Beam
from xrcore.ct.volume import Volume
from xrcore.geometry import Pose

ENERGY = 50.0  # [keV], of the beam of one energy


class Scene:
    """The phantom's volumes; each call returns a new one, so that GPU memory is released after each part."""

    def __init__(self, sizes: Sizes) -> None:
        self.sizes = sizes
        self.carm = scenes.carm(sizes.pixels)
        self.beam = Beam()
        self.single_beam = Beam.monochromatic(ENERGY)
        random = torch.Generator().manual_seed(0)
        self.poses = [scenes.POSE, *(Pose.random(generator=random) for _ in range(sizes.poses - 1))]
        self.batches = [Pose.random(sizes.batch, generator=random) for _ in range(2)]

    def volume(self, device: torch.device) -> Volume:
        """Two materials."""
        return replace(self._two).to(device)

    def one_material(self, device: torch.device) -> Volume:
        """All mass as soft tissue."""
        return scenes.one_material(self._two).to(device)

    @cached_property
    def _two(self) -> Volume:
        return scenes.resampled(scenes.body(self.sizes.body), self.sizes.voxels)
