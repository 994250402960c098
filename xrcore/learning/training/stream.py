"""DRRs on the fly: a sample's number decides its pose and its acquisition, whoever renders it and whenever."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from xrcore._util.devices import on_device
from xrcore._util.errors import XrcoreError
from xrcore._util.threads import rendering_threads, single_torch_thread
from xrcore.beam import Beam
from xrcore.ct.volume import Volume
from xrcore.geometry import CArm, Pose
from xrcore.learning.training.settings import TrainingSettings
from xrcore.renderer import render
from xrcore.simulation.acquisition import Acquisition
from xrcore.simulation.batch import expose_batch, with_rods
from xrcore.simulation.exposure import expose
from xrcore.simulation.tool import rod

TRAINING, VALIDATION = 0, 1
_FOR_SETTINGS, _FOR_NOISE, _FOR_TOOL = 0, 1, 2  # streams of random numbers of one acquisition


@dataclass(frozen=True)
class Batch:
    """images: attenuation, bone bright. masks: True inside the field of view. numbers: the true poses [deg, mm].

    plain: the DRRs as rendered, before anything was done to them; None where they are not known.
    """

    images: Float[Tensor, "B H W"]
    masks: Bool[Tensor, "B H W"]
    numbers: Float[Tensor, "B 6"]
    plain: Float[Tensor, "B H W"] | None = None

    def __getitem__(self, part: slice) -> Batch:
        return Batch(self.images[part], self.masks[part], self.numbers[part], None if self.plain is None else self.plain[part])

    def to(self, device: torch.device) -> Batch:
        """The batch on another device."""
        plain = None if self.plain is None else self.plain.to(device)
        return Batch(self.images.to(device), self.masks.to(device), self.numbers.to(device), plain)


@dataclass(frozen=True)
class Drawn:
    """Poses of a batch [deg, mm]; with domain randomisation how each image is acquired, and the key of its random numbers."""

    poses: Float[NDArray, "B 6"]
    settings: Sequence[Acquisition] = ()
    keys: Sequence[tuple[int, ...]] = ()


class DrrStream:
    """Simulated X-rays of one patient, rendered when asked for, on the volume's device, which they do not leave.

    The same (set, index) is the same pose for one seed. With domain randomisation its acquisition differs by its `turn`, such as the
    step it is asked for in. On a GPU the acquisitions are the processor's with other noise.
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

    def pose(self, number: int, index: int) -> Float[np.ndarray, "6"]:
        """Pose of a sample, uniform within the ranges."""
        return np.random.default_rng((self.settings.seed, self.purpose, number, index)).uniform(-self.limits, self.limits)

    def draw(self, samples: Sequence[tuple[int, int]], turns: Sequence[int] | None = None) -> Drawn:
        """What the samples (set, index) are to show, before anything is rendered; turns: draw other acquisitions of them, default 0.

        Safe in another thread, and needs no GPU.
        """
        poses = np.stack([self.pose(*sample) for sample in samples])
        if not self.settings.acquired:
            return Drawn(poses)
        turns = turns if turns is not None else [0] * len(samples)
        keys = [(self.settings.seed, self.purpose, *sample, turn) for sample, turn in zip(samples, turns, strict=True)]
        # each image as a random C-arm acquires it: other kilovolts, scatter, blur, noise, contrast, field, tool
        settings = [Acquisition.random(torch.Generator().manual_seed(_seed((*key, _FOR_SETTINGS)) >> 1)) for key in keys]
        return Drawn(poses, settings, keys)

    def batch(self, samples: Sequence[tuple[int, int]], turns: Sequence[int] | None = None) -> Batch:
        """The images of what `draw` draws."""
        return self.made(self.draw(samples, turns))

    @torch.no_grad()
    def made(self, drawn: Drawn) -> Batch:
        """The images of what was drawn."""
        numbers = on_device(drawn.poses.astype(np.float32), self.volume.device)
        pose = Pose(torch.from_numpy(drawn.poses))
        if not drawn.settings:
            images = render(self.volume, self.carm, pose)
            return Batch(images, torch.ones_like(images, dtype=torch.bool), numbers, images)
        primary = render(self.volume, self.carm, pose, [Beam(kilovolts=s.kilovolts) for s in drawn.settings]).float()
        expose_all = self._together if in_one_batch(self.volume.device) else self._one_by_one
        images, masks = expose_all(primary, drawn.settings, drawn.keys)
        return Batch(images, masks, numbers, primary)

    def _together(
        self, primary: Tensor, settings: Sequence[Acquisition], keys: Sequence[tuple[int, ...]]
    ) -> tuple[Float[Tensor, "B H W"], Bool[Tensor, "B H W"]]:
        intensity = with_rods(torch.exp(-primary), self.carm, settings, [(*key, _FOR_TOOL) for key in keys])
        return expose_batch(intensity, self.carm, settings, [_seed((*key, _FOR_NOISE)) for key in keys])

    def _one_by_one(
        self, primary: Tensor, settings: Sequence[Acquisition], keys: Sequence[tuple[int, ...]]
    ) -> tuple[Float[Tensor, "B H W"], Bool[Tensor, "B H W"]]:
        intensity = torch.exp(-primary).double().numpy()
        images, masks = torch.empty_like(primary), torch.empty(primary.shape, dtype=torch.bool)

        @single_torch_thread()
        def fill(i: int) -> None:
            for_noise, for_tool = (np.random.default_rng((*keys[i], n)) for n in (_FOR_NOISE, _FOR_TOOL))
            if settings[i].tool > 0:
                intensity[i] *= _shadow(rod(self.carm, settings[i].tool, for_tool), settings[i].beam)
            image, seen = expose(intensity[i], self.carm, settings[i], for_noise)
            images[i], masks[i] = torch.from_numpy(image.astype(np.float32)), torch.from_numpy(seen)

        with ThreadPoolExecutor(rendering_threads()) as pool:
            list(pool.map(fill, range(len(settings))))
        return images, masks


def in_one_batch(device: torch.device) -> bool:
    """Whether acquisitions are made for all images at once: on a GPU; the processor makes one a thread, which keeps it in its cache."""
    return device.type != "cpu"


def _shadow(steel: NDArray[np.float64], beam: Beam) -> NDArray[np.float64]:
    """Share of the intensity that passes an area density of steel; what the patient already hardened is not accounted for."""
    passed = np.ones_like(steel)
    hit = steel > 0
    passed[hit] = torch.exp(-beam.image(torch.from_numpy(steel[hit])[:, None], ("iron",))).numpy()
    return passed


def _seed(key: tuple[int, ...]) -> int:
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0])
