"""X-rays that share no code with xrcore: SimpleITK reads the CT, SciPy samples its Hounsfield units along rays, xraydb attenuates.

Trilinear samples of HU are turned into water, bone and iron afterwards, by another rule than xrcore's; the geometry is written out from
the definition of a pose; the spectrum is Kramers' with an aluminium filter.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import xraydb
from numpy.typing import NDArray
from scipy import ndimage

_STEP = 1.0  # [mm] between samples
_EMPTY, _GAS = -950.0, -1000.0
_BONE = (150.0, 1600.0)  # HU from all water to all cortical bone
_METAL = 2800.0


def read_image(path: Path) -> sitk.Image:
    """A DICOM folder or any file that SimpleITK reads."""
    return sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(path)) if path.is_dir() else str(path))


@dataclass(frozen=True)
class Scan:
    """Hounsfield units (z, y, x), and the affine map from (x, y, z) indices to LPS [mm]."""

    hu: NDArray[np.float32]
    direction: NDArray[np.float64]
    origin: NDArray[np.float64]
    removed: float | None = None  # HU put where tissue was removed

    @classmethod
    def read(cls, path: Path, removed: float | None = None) -> Scan:
        """See `read_image`."""
        image = read_image(path)
        direction = np.reshape(image.GetDirection(), (3, 3)) * np.array(image.GetSpacing())
        return cls(sitk.GetArrayFromImage(image).astype(np.float32), direction, np.array(image.GetOrigin()), removed)

    @cached_property
    def center(self) -> NDArray[np.float64]:
        """Centre of the extent, the isocentre [mm]."""
        return self.origin + self.direction @ ((np.array(self.hu.shape[::-1]) - 1) / 2)

    @property
    def voxel(self) -> NDArray[np.float64]:
        """Sizes along z, y, x [mm]."""
        return np.linalg.norm(self.direction, axis=0)[::-1]

    def with_changed_tissue(self, generator: np.random.Generator) -> Scan:
        """Bowel gas and fluid where there was tissue, and a smooth random change of all that is soft."""
        sigma = 18.0 / self.voxel
        smooth = ndimage.gaussian_filter(generator.standard_normal(self.hu.shape), sigma).astype(np.float32)
        smooth /= max(float(smooth.std()), 1e-9)
        soft = (self.hu > -200) & (self.hu < 200)
        if self.removed is not None:
            soft &= np.abs(self.hu - self.removed) > 20
        hu = np.where(soft, self.hu + 60 * smooth, self.hu)
        inside = np.argwhere(soft)
        grid = [np.arange(n) for n in self.hu.shape]
        for _ in range(6):
            middle = inside[generator.integers(len(inside))]
            radius = generator.uniform(8, 22)
            z, y, x = ((g - m) * v for g, m, v in zip(grid, middle, self.voxel, strict=True))
            ball = z[:, None, None] ** 2 + y[:, None] ** 2 + x**2 < radius**2
            hu[ball & soft] = -900 if generator.random() < 0.7 else 30
        return replace(self, hu=hu)


def camera(pose: NDArray[np.float64], source_to_isocenter: float, isocenter: NDArray[np.float64]) -> NDArray[np.float64]:
    """4 x 4 world from camera, of the six numbers [deg, mm]."""
    rx, ry, rz = np.deg2rad(pose[:3])
    c, s = np.cos, np.sin
    about_x = np.array([[1, 0, 0], [0, c(rx), -s(rx)], [0, s(rx), c(rx)]])
    about_y = np.array([[c(ry), 0, s(ry)], [0, 1, 0], [-s(ry), 0, c(ry)]])
    about_z = np.array([[c(rz), -s(rz), 0], [s(rz), c(rz), 0], [0, 0, 1]])
    axes = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])  # columns: left, inferior, posterior
    turned = about_z @ about_x @ about_y
    world = np.eye(4)
    world[:3, :3] = axes @ turned
    world[:3, 3] = isocenter + axes @ (pose[3:] + turned @ np.array([0, 0, -source_to_isocenter]))
    return world


def area_densities(scan: Scan, carm, pose: NDArray[np.float64]) -> NDArray[np.float32]:
    """Water, bone and iron (3, H, W) [g/cm2] along the ray of each pixel."""
    world = camera(pose, carm.source_to_isocenter, scan.center)
    rows, cols = carm.shape
    v, u = np.meshgrid(np.arange(rows), np.arange(cols), indexing="ij")
    row_spacing, col_spacing = carm.spacing
    row, col = carm.center
    pixel = np.stack([(u - col) * col_spacing, (v - row) * row_spacing, np.full(u.shape, carm.source_to_detector)], -1)
    ray = pixel.reshape(-1, 3) @ world[:3, :3].T
    ray /= np.linalg.norm(ray, axis=1, keepdims=True)
    inverse = np.linalg.inv(scan.direction)
    start, slope = inverse @ (world[:3, 3] - scan.origin), ray @ inverse.T  # in indices
    last = np.array(scan.hu.shape[::-1]) - 0.5  # the outer faces of the voxels
    with np.errstate(divide="ignore", invalid="ignore"):
        ends = np.stack([(-0.5 - start) / slope, (last - start) / slope])
    near, far = np.nanmax(ends.min(0), -1), np.nanmin(ends.max(0), -1)
    total = np.zeros((3, len(ray)), dtype=np.float32)
    hit = np.flatnonzero(far > near)
    if len(hit):
        for part in np.array_split(hit, max(1, len(hit) // 8192)):
            count = int(np.ceil((far[part] - near[part]).max() / _STEP))
            t = near[part, None] + _STEP * (np.arange(count) + 0.5)
            index = start + t[..., None] * slope[part, None]
            hu = ndimage.map_coordinates(scan.hu, index.reshape(-1, 3)[:, ::-1].T, order=1, mode="nearest").reshape(t.shape)
            hu[t > far[part, None]] = _GAS
            for k, density in enumerate(_densities(hu, scan.removed)):
                total[k, part] = density.sum(1) * (_STEP / 10)
    return total.reshape(3, rows, cols)


def _densities(hu: NDArray, removed: float | None) -> tuple[NDArray, NDArray, NDArray]:
    density = np.where(hu < 0, 1 + hu / 1000, 1 + hu / 1750)
    density[hu < _EMPTY] = 0
    if removed is not None:
        density *= np.clip((hu - removed - 20) / 250, 0, 1)
    bone = np.clip((hu - _BONE[0]) / (_BONE[1] - _BONE[0]), 0, 1)
    metal = hu > _METAL
    bone[metal] = 0
    iron = np.where(metal, 7.0, 0)
    density[metal] = 0
    return density * (1 - bone), density * bone, iron


@lru_cache
def _spectrum(kilovolts: float) -> tuple[NDArray, NDArray]:
    """Detected energy per bin, and mass attenuations (3, n) of water, bone, iron [cm2/g]."""
    energy = np.linspace(20, kilovolts - 2, 12) * 1e3
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        aluminium = xraydb.mu_elam("Al", energy) * 2.7 * 0.35
        shares = {"H": 0.034, "C": 0.155, "N": 0.042, "O": 0.435, "Mg": 0.002, "P": 0.103, "S": 0.003, "Ca": 0.225}
        bone = sum(share * xraydb.mu_elam(element, energy) for element, share in shares.items())
        water = (2 * 1.008 * xraydb.mu_elam("H", energy) + 15.999 * xraydb.mu_elam("O", energy)) / 18.015
        iron = xraydb.mu_elam("Fe", energy)
    weight = (kilovolts * 1e3 - energy) * np.exp(-aluminium)
    return weight / weight.sum(), np.stack([water, bone, iron])


def intensity(area: NDArray[np.float32], kilovolts: float) -> NDArray[np.float64]:
    """Share of the detected energy that passes (H, W)."""
    weight, attenuation = _spectrum(kilovolts)
    return np.einsum("e,ehw->hw", weight, np.exp(-np.einsum("me,mhw->ehw", attenuation, area)))
