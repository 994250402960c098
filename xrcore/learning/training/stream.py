"""DrrStream: simulated X-rays of one patient. Each image is determined by its index, independent of process or order."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

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
from xrcore.learning.methods import Batch
from xrcore.learning.settings import TrainingSettings
from xrcore.renderer import render
from xrcore.simulation.acquisition import Acquisition
from xrcore.simulation.batch import expose_batch, with_rods
from xrcore.simulation.clinical import ClinicalChanges, attenuate, process
from xrcore.simulation.detector import expose
from xrcore.simulation.rod import rod_area_density

TRAINING, VALIDATION = 0, 1
_FOR_SETTINGS, _FOR_NOISE, _FOR_TOOL, _FOR_CHANGES = 0, 1, 2, 3  # streams of random numbers of one acquisition


@dataclass(frozen=True, eq=False)
class DrawnBatch:
    """Poses and acquisitions of a batch, before it is rendered.

    Parameters
    ----------
    poses : Float[NDArray, "B 6"]
        Of the images [deg, mm].
    settings : Sequence[Acquisition]
        With domain randomisation how each is acquired.
    keys : Sequence[tuple]
        Of each acquisition's random numbers.
    patients : Sequence[int]
        Whose image each is, where there are several.
    changes : Sequence[ClinicalChanges]
        What clinical images show besides, where that is drawn too.
    """

    poses: Float[NDArray, "B 6"]
    settings: Sequence[Acquisition] = ()
    keys: Sequence[tuple[int, ...]] = ()
    patients: Sequence[int] = ()
    changes: Sequence[ClinicalChanges] = ()


class DrrStream:
    """Simulated X-rays of one patient, rendered when asked for, on the volume's device, which they do not leave.

    The same (set, index) is the same pose for one seed. With domain randomisation its acquisition differs by its `turn`, such as the
    step it is asked for in. On a GPU the acquisitions are those of the CPU with other noise.

    Parameters
    ----------
    volume : Volume
        The CT.
    carm : CArm
        The geometry, of any number of pixels.
    settings : TrainingSettings
        Of the training.
    purpose : int
        `TRAINING` or `VALIDATION`, whose poses have nothing in common.
    pixels : int, optional
        Side of the images; default the architecture's.

    Raises
    ------
    XrcoreError
        If the CT is empty.
    """

    def __init__(
        self, volume: Volume, carm: CArm, settings: TrainingSettings, *, purpose: int = TRAINING, pixels: int | None = None
    ) -> None:
        pixels = settings.architecture.pixels if pixels is None else pixels
        self.carm = carm.resized((pixels, pixels))
        self.volume = volume.coarser(settings.spacing)
        self.settings = settings
        self.purpose = purpose
        self.limits = np.array(settings.limits)
        if not (self.volume.density > 0).any():
            raise XrcoreError("train: the CT is empty, so there is nothing to learn")

    def pose(self, number: int, index: int) -> Float[np.ndarray, "6"]:
        """Draw the pose of a sample, uniform within the ranges.

        Parameters
        ----------
        number, index : int
            Of the set, and in it.

        Returns
        -------
        Float[np.ndarray, "6"]
            Pose [deg, mm].
        """
        return np.random.default_rng((self.settings.seed, self.purpose, number, index)).uniform(-self.limits, self.limits)

    def draw(self, samples: Sequence[tuple[int, int]], turns: Sequence[int] | None = None) -> DrawnBatch:
        """Draw poses and acquisitions of samples, without rendering. Safe in another thread, and needs no GPU.

        Parameters
        ----------
        samples : Sequence[tuple of int]
            (set, index) of each.
        turns : Sequence[int], optional
            Other numbers draw other acquisitions of the same poses; default 0.

        Returns
        -------
        DrawnBatch
            For `render`.
        """
        poses = np.stack([self.pose(*sample) for sample in samples])
        if not self.settings.acquired:
            return DrawnBatch(poses)
        turns = turns if turns is not None else [0] * len(samples)
        keys = [(self.settings.seed, self.purpose, *sample, turn) for sample, turn in zip(samples, turns, strict=True)]
        # each image as a random C-arm acquires it: other kilovolts, scatter, blur, noise, contrast, field, tool
        settings = [Acquisition.random(torch.Generator().manual_seed(_seed((*key, _FOR_SETTINGS)) >> 1)) for key in keys]
        if not self.settings.clinical:
            return DrawnBatch(poses, settings, keys)
        changes = [ClinicalChanges.random(self.carm.shape, np.random.default_rng((*key, _FOR_CHANGES))) for key in keys]
        settings = [replace(s, **c.exposure) for s, c in zip(settings, changes, strict=True)]
        return DrawnBatch(poses, settings, keys, changes=changes)

    def batch(self, samples: Sequence[tuple[int, int]], turns: Sequence[int] | None = None) -> Batch:
        """Draw and render samples.

        Parameters
        ----------
        samples : Sequence[tuple of int]
            (set, index) of each.
        turns : Sequence[int], optional
            As of `draw`.

        Returns
        -------
        Batch
            On the volume's device.
        """
        return self.render(self.draw(samples, turns))

    @torch.no_grad()
    def render(self, drawn: DrawnBatch) -> Batch:
        """Render what was drawn.

        Parameters
        ----------
        drawn : DrawnBatch
            By `draw`.

        Returns
        -------
        Batch
            On the volume's device.
        """
        with torch.autocast(self.volume.device.type, enabled=False):  # images are exact, also where a network asks for them that is not
            return self._render(drawn)

    def _render(self, drawn: DrawnBatch) -> Batch:
        numbers = on_device(drawn.poses.astype(np.float32), self.volume.device)
        pose = Pose(torch.from_numpy(drawn.poses))
        if not drawn.settings:
            images = render(self.volume, self.carm, pose)
            return Batch(images, torch.ones_like(images, dtype=torch.bool), numbers, images)
        primary = render(self.volume, self.carm, pose, [Beam(kilovolts=s.kilovolts) for s in drawn.settings]).float()
        expose_all = self._expose_together if in_one_batch(self.volume.device) else self._expose_one_by_one
        seen = attenuate(primary, drawn.changes) if drawn.changes else primary
        images, masks = expose_all(seen, drawn.settings, drawn.keys)
        if drawn.changes:
            images, masks = process(images, masks, drawn.changes)
        return Batch(images, masks, numbers, primary)

    def _expose_together(
        self, primary: Tensor, settings: Sequence[Acquisition], keys: Sequence[tuple[int, ...]]
    ) -> tuple[Float[Tensor, "B H W"], Bool[Tensor, "B H W"]]:
        intensity = with_rods(torch.exp(-primary), self.carm, settings, [(*key, _FOR_TOOL) for key in keys])
        return expose_batch(intensity, self.carm, settings, [_seed((*key, _FOR_NOISE)) for key in keys])

    def _expose_one_by_one(
        self, primary: Tensor, settings: Sequence[Acquisition], keys: Sequence[tuple[int, ...]]
    ) -> tuple[Float[Tensor, "B H W"], Bool[Tensor, "B H W"]]:
        intensity = torch.exp(-primary).double().numpy()
        images, masks = torch.empty_like(primary), torch.empty(primary.shape, dtype=torch.bool)

        @single_torch_thread()
        def expose_one(i: int) -> None:
            for_noise, for_tool = (np.random.default_rng((*keys[i], n)) for n in (_FOR_NOISE, _FOR_TOOL))
            if settings[i].tool > 0:
                intensity[i] *= _steel_transmission(rod_area_density(self.carm, settings[i].tool, for_tool), settings[i].beam)
            image, seen = expose(intensity[i], self.carm, settings[i], for_noise)
            images[i], masks[i] = torch.from_numpy(image.astype(np.float32)), torch.from_numpy(seen)

        with ThreadPoolExecutor(rendering_threads()) as pool:
            list(pool.map(expose_one, range(len(settings))))
        return images, masks


def in_one_batch(device: torch.device) -> bool:
    """Return whether acquisitions are simulated for all images at once, as on a GPU; a CPU simulates one per thread, to fit its cache.

    Parameters
    ----------
    device : torch.device
        Where they are made.

    Returns
    -------
    bool
        True on a GPU.
    """
    return device.type != "cpu"


def _steel_transmission(steel: NDArray[np.float64], beam: Beam) -> NDArray[np.float64]:
    """Share of the intensity that passes an area density of steel; what the patient already hardened is not accounted for."""
    passed = np.ones_like(steel)
    hit = steel > 0
    passed[hit] = torch.exp(-beam.image(torch.from_numpy(steel[hit])[:, None], ("iron",))).numpy()
    return passed


def _seed(key: tuple[int, ...]) -> int:
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0])
