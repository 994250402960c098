"""Starts for an X-ray of which nothing is known: DRRs from all around the body, in each of which the X-ray is looked for.

Few DRRs are needed, as three of the six numbers need none: turning the camera about its source only moves the image, so rolls and shifts
are found by correlation (zero-normalised, within the X-ray's mask, by Fourier transforms) on DRRs of a detector twice as wide.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Complex, Float
from torch import Tensor

from xrcore.beam import Beam
from xrcore.ct.volume import Volume
from xrcore.geometry import CArm, Pose, rigid
from xrcore.registration.body_window import voxels_for
from xrcore.registration.problem import shrink
from xrcore.registration.view import View
from xrcore.renderer import render

_PIXELS, _SPACING = 32, 8.0  # of the X-ray; [mm]
_CRANIAL = 45.0  # [deg] to which views are inclined; beyond, rays go along the body
_FLOOR = 0.1  # of the largest contrast among a DRR's windows: flatter ones say little
_SIGMA = 2.0  # [pixels] of what slow changes of grey value are taken out of the detail with


@dataclass(frozen=True, kw_only=True, eq=False)
class AllViews:
    """Candidate poses from the whole circle of LAO/RAO, 45 deg cranial to caudal, in any roll.

    What `SearchBox` is to a search about a pose.

    Parameters
    ----------
    views : tuple of View
        Of which the first is looked for.
    volume : Volume
        The CT.
    beam : Beam
        The one assumed.
    step : float
        Between neighbouring views and rolls [deg].
    candidates : int
        Poses that are kept.
    survivors : tuple of int
        Descents begun on each level, coarse to fine.
    """

    views: tuple[View, ...]
    volume: Volume
    beam: Beam
    step: float = 12.0
    candidates: int = 96
    survivors: tuple[int, ...] = (12, 5, 2, 1)

    def poses(self, start: Pose) -> Pose:
        """The most alike of all views, the best first; the start does not count."""
        return self._found

    @cached_property
    def _found(self) -> Pose:
        xray = shrink(self.views[0].xray, _PIXELS)
        side = max(xray.carm.shape)
        wide = _wide(xray.carm, side)
        grid, rolls = _grid(self.step), torch.arange(0, 360, 360 / round(360 / self.step), dtype=torch.float64)
        coarse = self.volume.coarser(voxels_for(self.views[:1], _PIXELS, _SPACING))
        image, mask = xray.image.cpu(), xray.mask.cpu()
        templates = _Templates.of(_details(image, mask), mask, rolls, side, xray.carm, wide)
        value, where = [], []
        for number in range(len(grid)):
            drr = render(coarse, wide, grid[number], self.beam)[0].cpu()
            found = templates.correlation(_details(drr, torch.ones_like(drr, dtype=torch.bool)))
            found = found if xray.bone_bright else found.abs()
            best, at = found.flatten(1).max(1)
            peak = (best >= best.roll(1)) & (best >= best.roll(-1))
            value.append(best[peak])
            rows = torch.nonzero(peak)[:, 0]
            where += [(number, int(roll), divmod(int(at[roll]), found.shape[2])) for roll in rows]
        order = torch.cat(value).argsort(descending=True)[: self.candidates].tolist()
        middle = side / 2
        chosen = (where[i] for i in order)
        return Pose.cat([self._pose(grid[n], wide, float(rolls[r]), (row - middle, col - middle)) for n, r, (row, col) in chosen])

    def _pose(self, view: Pose, wide: CArm, roll: float, shift: tuple[float, float]) -> Pose:
        """The X-ray's camera, which stands where a DRR's does and is turned to look at a part of its image."""
        carm = self.views[0].carm
        (rows, cols), (row, col) = carm.shape, carm.center
        middle = _ahead(((cols - 1) / 2 - col) * carm.spacing[1], ((rows - 1) / 2 - row) * carm.spacing[0], carm.source_to_detector)
        part = _ahead(shift[1] * wide.spacing[1], shift[0] * wide.spacing[0], wide.source_to_detector)
        turned = part @ Pose(rz=roll).matrix() @ rigid.invert(middle)
        isocenter = self.volume.isocenter
        return Pose.from_world_from_camera(view.world_from_camera(wide, isocenter) @ turned, carm, isocenter)


def _grid(step: float) -> Pose:
    """Views of cameras that go around the body and are then inclined, about as far apart in all directions."""
    rows = 2 * math.ceil(_CRANIAL / step - 0.5) + 1
    matrices = []
    for secondary in torch.linspace(-_CRANIAL + step / 4, _CRANIAL - step / 4, rows).tolist():
        count = math.ceil(360 * math.cos(math.radians(secondary)) / step)
        matrices += [Pose(ry=360 * k / count).matrix() @ Pose(rx=secondary).matrix() for k in range(count)]
    return Pose.from_matrix(torch.cat(matrices))


def _ahead(x: float, y: float, z: float) -> Float[Tensor, "4 4"]:
    """The shortest turn of the axis ahead, (0, 0, 1), into a direction."""
    sine = math.hypot(x, y)
    angle = math.atan2(sine, z) / max(sine, 1e-12)
    return rigid.exp(torch.tensor([0.0, 0.0, 0.0, -y * angle, x * angle, 0.0], dtype=torch.float64))


def _wide(carm: CArm, side: int) -> CArm:
    """A detector that shows what lies half a field beyond the X-ray's edges too, of square pixels."""
    pixel = max(n * s for n, s in zip(carm.shape, carm.spacing, strict=True)) / side
    return CArm(
        source_to_detector=carm.source_to_detector,
        source_to_isocenter=carm.source_to_isocenter,
        shape=(2 * side, 2 * side),
        pixel_spacing=pixel,
    )


def _details(image: Float[Tensor, "H W"], mask: Bool[Tensor, "H W"]) -> Float[Tensor, "2 H W"]:
    """The image, and what is left of it without slow changes."""
    inside = mask.float()
    image = torch.where(mask, image, 0.0)
    slow = _blur(image) / _blur(inside).clamp_min(1e-3)
    return torch.stack([image, torch.where(mask, image - slow, 0.0)])


def _blur(image: Float[Tensor, "H W"]) -> Float[Tensor, "H W"]:
    reach = round(3 * _SIGMA)
    kernel = torch.exp(-((torch.arange(-reach, reach + 1) / _SIGMA) ** 2) / 2)
    kernel = (kernel / kernel.sum())[None, None]
    return F.conv2d(F.conv2d(image[None, None], kernel[..., None], padding=(reach, 0)), kernel[:, :, None], padding=(0, reach))[0, 0]


class _Templates(NamedTuple):
    """The X-ray in each roll: conjugate spectra of its standardised image and of its mask, how many pixels that holds, and its side."""

    pattern: Complex[Tensor, "R c G g"]
    window: Complex[Tensor, "R 1 G g"]
    area: Float[Tensor, "R 1 1 1"]
    side: int

    @classmethod
    def of(
        cls, channels: Float[Tensor, "c H W"], mask: Bool[Tensor, "H W"], rolls: Float[Tensor, " R"], side: int, carm: CArm, wide: CArm
    ) -> _Templates:
        """Turn an image of `carm` by each roll [deg], on `side` pixels of `wide`, of whose circle no roll leaves anything out."""
        axis = torch.arange(side) - (side - 1) / 2
        y, x = torch.meshgrid(axis, axis, indexing="ij")
        angle = torch.deg2rad(rolls.float())[:, None, None]
        # a point of the template, turned back by the roll, is where it lies in the X-ray
        col, row = angle.cos() * x + angle.sin() * y, -angle.sin() * x + angle.cos() * y
        half = [n * s / wide.spacing[0] / 2 for n, s in zip(carm.shape, carm.spacing, strict=True)]
        points = torch.stack([col / half[1], row / half[0]], -1)
        circle = x**2 + y**2 <= (side / 2) ** 2

        def turned(images: Tensor, mode: str) -> Tensor:
            return F.grid_sample(images.float()[None].expand(len(rolls), -1, -1, -1), points, mode=mode, align_corners=False)

        inside = turned(mask[None], "nearest") * circle
        area = inside.sum((2, 3), keepdim=True).clamp_min(1)
        image = turned(channels, "bilinear") * inside
        image = (image - image.sum((2, 3), keepdim=True) / area) * inside
        image = image / image.square().sum((2, 3), keepdim=True).sqrt().clamp_min(1e-12)
        return cls(torch.fft.rfft2(image, s=wide.shape).conj(), torch.fft.rfft2(inside, s=wide.shape).conj(), area, side)

    def correlation(self, channels: Float[Tensor, "c G G"]) -> Float[Tensor, "R S S"]:
        """Mean of the channels' ZNCC at each roll and shift, from one edge of the DRR to the other."""
        grid = channels.shape[-1]
        shifts = grid - self.side + 1
        channels = channels - channels.mean((1, 2), keepdim=True)
        image, square = torch.fft.rfft2(channels), torch.fft.rfft2(channels**2)

        def sums(spectrum: Tensor) -> Tensor:
            return torch.fft.irfft2(spectrum, s=(grid, grid))[..., :shifts, :shifts]

        variance = sums(self.window * square) - sums(self.window * image) ** 2 / self.area
        floor = _FLOOR * variance.amax((0, 2, 3), keepdim=True).clamp_min(1e-12)
        return (sums(self.pattern * image) / variance.maximum(floor).sqrt()).mean(1)
