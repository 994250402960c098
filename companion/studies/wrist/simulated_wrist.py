"""A simulated wrist in the files of the real one, with known poses: for tests, and for a profile without data."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import roma
import torch
from jaxtyping import Float
from numpy import ndarray
from PIL import Image
from torch import Tensor

from companion.datasets.biplane import BONES, CAMERAS, VOXEL, Camera, WristBiplane
from companion.studies.wrist.wrist_views import STARTS
from xrcore import Pose, Volume, render
from xrcore.geometry import rigid

_PIXELS, _FOCAL, _AWAY = 704, 6200.0, 1000.0  # of the frames; [pixels]; [mm] from a source to the wrist
_SHAPE = (96, 90, 78)  # voxels of a bone's crop, (z, y, x)
_ROUNDED = (2.0, 2.0)  # [deg], [mm]: how far the truth is from the operator's start, along each axis
_TISSUE, _GAIN = 0.6, 235.0  # attenuation of the forearm without bones; grey value without a forearm

# axis: where its middle runs [mm] at the proximal and distal end; then radii [mm] along it; a process: place, radius
_BONES = {
    "radius": (((-3, 2), (1, -2)), (6, 6, 8, 13), (7, -4, 24, 4.5)),
    "ulna": (((2, -1), (-1, 1)), (7, 6, 5, 8), (-5, 4, 25, 3.0)),
}


def write_wrist(folder: str | os.PathLike[str], seed: int = 0) -> dict[tuple[str, int], Float[Tensor, "4 4"]]:
    """Write calibrations, crops of the bones and frames, as `datasets.biplane` reads them.

    Every bone of `wrist_views.STARTS` is where the operator's start says, but for what rounding leaves open, drawn from the seed. A
    frame shows both bones in even tissue, in 8 bits.

    Parameters
    ----------
    folder : str or path
        Made where it does not exist.
    seed : int
        Of the true poses and of the noise.

    Returns
    -------
    dict of (str, int) to Float[Tensor, "4 4"]
        The true rig_from_ct of each bone and frame.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    middle = torch.tensor(list(STARTS.values()), dtype=torch.float64)[:, 1].mean(0)
    for number in CAMERAS:
        _write_calibration(folder / f"xr_calib_wrist_cam{number:02d}.txt", middle, angle=-35.0 if number == 1 else 40.0)
    for bone, stem in BONES.items():
        pages = [Image.fromarray(page) for page in _crop(bone)]
        pages[0].save(folder / f"{stem}_dcm_cropped.tif", save_all=True, append_images=pages[1:])
    data = WristBiplane(folder)
    volumes = {bone: data.bone(bone) for bone in BONES}
    generator = np.random.default_rng(seed)
    truth = {}
    for (bone, frame), (rotation, position) in STARTS.items():
        draws = torch.from_numpy(generator.uniform(-1, 1, 6))
        turn = roma.rotvec_to_rotmat(torch.deg2rad(draws[:3] * _ROUNDED[0]))
        turned = turn @ roma.rotvec_to_rotmat(torch.deg2rad(torch.tensor(rotation, dtype=torch.float64)))
        center = torch.tensor(position, dtype=torch.float64) + draws[3:] * _ROUNDED[1]
        truth[bone, frame] = rigid.rigid(turned, center - turned @ volumes[bone].isocenter)
    for frame in sorted({frame for _, frame in STARTS}):
        for number in CAMERAS:
            camera = data.camera(number)
            seen = [_shadow(camera, volumes[bone], truth[bone, frame]) for bone in BONES if (bone, frame) in truth]
            attenuation = _TISSUE + torch.stack(seen).sum(0)
            noise = torch.from_numpy(generator.normal(0, 1.5, attenuation.shape))
            grey = (_GAIN * torch.exp(-attenuation) + noise).round().clamp(0, 255).byte()
            Image.fromarray(grey.numpy()).save(folder / f"xr_rad_uln_cam{number:02d}_UND.{frame:04d}.tif")
    return truth


def _shadow(camera: Camera, volume: Volume, rig_from_ct: Float[Tensor, "4 4"]) -> Float[Tensor, "H W"]:
    pose = Pose.from_camera_from_world(camera.camera_from_rig @ rig_from_ct, camera.carm, volume.isocenter)
    with torch.no_grad():
        return render(volume, camera.carm, pose)[0]


def _write_calibration(path: Path, middle: Float[Tensor, "3"], angle: float) -> None:
    """A camera that looks at the middle horizontally, turned about the rig's z axis [deg]."""
    a = np.deg2rad(angle)
    rotation = np.array([[np.cos(a), np.sin(a), 0], [0, 0, -1], [-np.sin(a), np.cos(a), 0]])
    translation = np.array([0, 0, _AWAY]) - rotation @ middle.numpy()
    center = (_PIXELS - 1) / 2
    blocks = {
        "image size": [[_PIXELS, _PIXELS]],
        "camera matrix": [[_FOCAL, 0, center], [0, _FOCAL, center], [0, 0, 1]],
        "rotation": rotation.tolist(),
        "translation": [[value] for value in translation.tolist()],
    }
    text = "\n\n".join("\n".join([name, *(",".join(f"{value:.15g}" for value in row) for row in rows)]) for name, rows in blocks.items())
    path.write_text(text + "\n", encoding="ascii")


def _crop(bone: str) -> ndarray:
    """12 bit values: a cortical shell around marrow, wider distally (the first page), with a process that tells left from right."""
    (proximal, distal), radii, process = _BONES[bone]
    size = np.array(_SHAPE[::-1]) * VOXEL
    x, y, z = ((np.arange(n) - (n - 1) / 2) * s for n, s in zip(reversed(_SHAPE), VOXEL, strict=True))
    z = z[::-1]  # the first page is the distal end
    along = (z / size[2] + 0.5)[:, None, None]
    middle = [p + (d - p) * along for p, d in zip(proximal, distal, strict=True)]
    radius = np.interp(along, np.linspace(0, 1, len(radii)), radii)
    dx, dy = x[None, None, :] - middle[0], y[None, :, None] - middle[1]
    distance = np.hypot(dx, 1.25 * dy - 0.15 * dx) - radius * (1 + 0.12 * np.sin(3 * np.arctan2(dy, dx)))
    px, py, pz, pr = process
    knob = np.sqrt((x[None, None, :] - px) ** 2 + (y[None, :, None] - py) ** 2 + (z[:, None, None] - pz) ** 2) - pr
    distance = np.minimum(distance, knob)
    hu = np.where(distance < -2.0, 150.0, 1400.0) + 60 * np.sin(0.9 * x[None, None, :]) * np.sin(0.7 * z[:, None, None])
    inside = distance < 0
    return np.where(inside, hu + 1024, 0).round().astype(np.uint16)
