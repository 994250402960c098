"""DRRs on the fly: a sample's number decides its pose and its acquisition, whoever renders it and whenever."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from xrcore.beam import KILOVOLTS, Beam
from xrcore.ct.volume import Volume
from xrcore.errors import XrcoreError
from xrcore.geometry import CArm, Pose
from xrcore.renderer import render
from xrcore.simulate.acquisition import Acquisition
from xrcore.simulate.exposure import expose
from xrcore.simulate.tool import rod
from xrcore.threads import rendering_threads
from xrcore.training.settings import TrainingSettings

TRAINING, VALIDATION = 0, 1


@dataclass(frozen=True)
class Batch:
    """images: attenuation, bone bright. masks: True inside the field of view. numbers: the true poses [deg, mm].

    plain: the DRRs as rendered, before anything was done to them; None where they are not known.
    """

    images: Float[Tensor, "B H W"]
    masks: Bool[Tensor, "B H W"]
    numbers: Float[Tensor, "B 6"]
    plain: Float[Tensor, "B H W"] | None = None

    def to(self, device: torch.device) -> Batch:
        """The batch on another device."""
        plain = None if self.plain is None else self.plain.to(device)
        return Batch(self.images.to(device), self.masks.to(device), self.numbers.to(device), plain)


class DrrStream:
    """Simulated X-rays of one patient, rendered when asked for.

    The same (set, index) is the same pose for one seed. With domain randomisation its acquisition differs by its `turn`, such as the
    step it is asked for in.
    """

    def __init__(self, volume: Volume, carm: CArm, settings: TrainingSettings, *, purpose: int = TRAINING) -> None:
        pixels = settings.architecture.pixels
        self.carm = carm.resized((pixels, pixels))
        self.volume = volume.coarser(settings.spacing)
        self.settings = settings
        self.purpose = purpose
        self.limits = np.array(settings.limits)
        if not (self.volume.density > 0).any():
            raise XrcoreError("train: the CT is empty, so there is nothing to learn")
        self._everywhere = torch.ones((pixels, pixels), dtype=torch.bool)

    def pose(self, number: int, index: int) -> Float[np.ndarray, "6"]:
        """Pose of a sample, uniform within the ranges."""
        return np.random.default_rng((self.settings.seed, self.purpose, number, index)).uniform(-self.limits, self.limits)

    @torch.no_grad()
    def batch(self, samples: Sequence[tuple[int, int]], turns: Sequence[int] | None = None) -> Batch:
        """The samples (set, index); turns: draw other acquisitions of the same samples, default 0."""
        numbers = torch.from_numpy(np.stack([self.pose(*sample) for sample in samples]))
        if not self.settings.acquired:
            images = render(self.volume, self.carm, Pose(numbers))
            return Batch(images, self._everywhere.expand_as(images), numbers.float(), images)
        turns = turns if turns is not None else [0] * len(samples)
        keys = [(self.settings.seed, self.purpose, *sample, turn) for sample, turn in zip(samples, turns, strict=True)]
        return self._acquired(numbers, keys)

    def _acquired(self, numbers: Tensor, keys: Sequence[tuple[int, ...]]) -> Batch:
        """Each image as a random C-arm acquires it: other kilovolts, scatter, blur, noise, contrast, field, tool."""
        settings = [Acquisition.random(torch.Generator().manual_seed(_seed(key))) for key in keys]
        primary = torch.empty((len(numbers), *self.carm.shape))
        tubes: dict[float, list[int]] = defaultdict(list)
        for i, acquisition in enumerate(settings):
            tubes[acquisition.kilovolts].append(i)
        for kilovolts in KILOVOLTS:
            if chosen := tubes.get(kilovolts):
                primary[chosen] = render(self.volume, self.carm, Pose(numbers[chosen]), Beam(kilovolts=kilovolts))
        intensity = torch.exp(-primary).double().numpy()
        images, masks = torch.empty_like(primary), torch.empty(primary.shape, dtype=torch.bool)

        def fill(i: int) -> None:
            for_noise, for_tool = (np.random.default_rng((*keys[i], n)) for n in (1, 2))
            if settings[i].tool > 0:
                intensity[i] *= _shadow(rod(self.carm, settings[i].tool, for_tool), settings[i].beam)
            image, seen = expose(intensity[i], self.carm, settings[i], for_noise)
            images[i], masks[i] = torch.from_numpy(image.astype(np.float32)), torch.from_numpy(seen)

        with ThreadPoolExecutor(rendering_threads()) as pool:
            list(pool.map(fill, range(len(settings))))
        return Batch(images, masks, numbers.float(), primary)


def _shadow(steel: NDArray[np.float64], beam: Beam) -> NDArray[np.float64]:
    """Share of the intensity that passes an area density of steel; what the patient already hardened is not accounted for."""
    passed = np.ones_like(steel)
    hit = steel > 0
    passed[hit] = torch.exp(-beam.image(torch.from_numpy(steel[hit])[:, None], ("iron",))).numpy()
    return passed


def _seed(key: tuple[int, ...]) -> int:
    return int(np.random.SeedSequence((*key, 0)).generate_state(1, np.uint64)[0] >> 1)
