"""DeepFluoro: real fluoroscopies of six cadaver pelves with CTs, landmarks and true poses, from its HDF5 files.

Source: Grupp et al., *Automatic annotation of hip anatomy in fluoroscopy for robust and efficient 2D/3D registration*, IJCARS 2020;
layout and frames as its authors describe them (github.com/rg2/DeepFluoroLabeling-IPCAI2020, hdf5_layouts). In the file

- CTs and their landmarks are in LPS, mm, which is xrcore's world: nothing is turned;
- a projection's camera frame has x along columns, y down the rows and z from the detector *to* the source; K has negative focal
  lengths, so images are seen from the detector's side. xrcore's cameras look from the source: here images are mirrored left to
  right and the frame is turned half round y, which leaves every ray where it was;
- `cam-to-pelvis-vol` maps the camera's world (in which `extrinsic` places the camera) to the CT's.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import SimpleITK as sitk
import torch
from jaxtyping import Bool, Float, Float64, Shaped
from numpy import ndarray
from torch import Tensor

from xrcore import CArm, Pose, Xray, XrcoreError
from xrcore.ct import HuImage, Volume, volume_from_hu

SPECIMENS = ("17-1882", "18-1109", "18-0725", "18-2799", "18-2800", "17-1905")  # specimens 1 to 6 of the paper
BONES = ("pelvis", "left-femur", "right-femur")
MOST_VOXELS = 2**30  # of a CT that is not taken for damage
BORDER = 50  # [pixels] that the collimator shades; the authors crop them
SOURCE_TO_ISOCENTER = 750.0  # [mm] about the mean in this data, whose C-arm has no known isocentre


@dataclass(frozen=True, eq=False)
class Projection:
    """One fluoroscopy, as xrcore sees it.

    Parameters
    ----------
    xray : Xray
        Image, mask and CArm; its `pose` is None, so that nobody starts at the truth.
    truth : Pose
        The pose of `bone` about `isocenter`.
    landmarks : dict of str to (float, float)
        (row, col) [pixels] in this image by name; many lie outside of it.
    isocenter : Float[Tensor, "3"]
        Of the specimen's CT, LPS [mm].
    bone : str
        One of BONES.
    good : bool
        Whether the authors found enough of the bone in view to trust the pose.
    """

    xray: Xray
    truth: Pose
    landmarks: dict[str, tuple[float, float]]
    isocenter: Float[Tensor, "3"]
    bone: str
    good: bool

    @property
    def visible(self) -> tuple[str, ...]:
        """Names of the landmarks that lie in the image."""
        rows, cols = self.xray.carm.shape
        return tuple(name for name, (row, col) in self.landmarks.items() if -0.5 <= row < rows - 0.5 and -0.5 <= col < cols - 0.5)


@dataclass(frozen=True)
class Specimen:
    """One cadaver of a DeepFluoro file. Everything is read when asked for.

    Parameters
    ----------
    path : Path
        Of the file.
    name : str
        Its group in the file, such as "17-1882".
    projections : tuple of str
        Names of its fluoroscopies.
    """

    path: Path
    name: str
    projections: tuple[str, ...]

    def hu(self) -> HuImage:
        """Read the CT on its own grid.

        Returns
        -------
        HuImage
            HU at 1 mm, in LPS.
        """
        with _opened(self.path) as file:
            values, matrix = _image(self.path, _group(self.path, file, f"{self.name}/vol"))
        return HuImage(hu=np.asarray(values, dtype=np.float32), world_from_voxel=matrix, name=f"{self.path}:{self.name}")

    def volume(self, spacing: float | None = 2.0, **options: Any) -> Volume:
        """Read the CT as `read_ct` would give it; its isocentre is the centre of the CT's extent.

        Parameters
        ----------
        spacing : float or None
            Of the voxels [mm].
        **options : object
            Of `xrcore.ct.volume_from_hu`.

        Returns
        -------
        Volume
            The CT.
        """
        return volume_from_hu(self.hu(), spacing=spacing, **options)

    def labels(self) -> tuple[sitk.Image, dict[int, str]]:
        """Read the segmentation.

        Returns
        -------
        image : SimpleITK.Image
            Fit for `labels=` of `volume`.
        meaning : dict of int to str
            What its values mean, such as 5: "left-femur".
        """
        with _opened(self.path) as file:
            values, matrix = _image(self.path, _group(self.path, file, f"{self.name}/vol-seg/image"))
            names = _group(self.path, file, f"{self.name}/vol-seg/labels-def")
            meaning = {int(key): _string(names[key][()]) for key in names if key.isdecimal()}
        image = sitk.GetImageFromArray(np.asarray(values, dtype=np.uint8))
        spacing = np.linalg.norm(matrix[:3, :3], axis=0)
        image.SetSpacing(spacing.tolist())
        image.SetDirection((matrix[:3, :3] / spacing).ravel().tolist())
        image.SetOrigin(matrix[:3, 3].tolist())
        return image, meaning

    def landmarks(self) -> dict[str, Float[Tensor, "3"]]:
        """Read the anatomical points of the pelvis.

        Returns
        -------
        dict of str to Float[Tensor, "3"]
            World LPS [mm] by name ("FH-l", "ASIS-r", ...).
        """
        with _opened(self.path) as file:
            points = _points(self.path, file, f"{self.name}/vol-landmarks", 3)
        return {name: torch.from_numpy(point) for name, point in points.items()}

    def projection(
        self,
        name: str,
        *,
        bone: str = "pelvis",
        upright: bool = True,
        half_voxel: bool = False,
        source_to_isocenter: float = SOURCE_TO_ISOCENTER,
        border: int = BORDER,
    ) -> Projection:
        """Read a fluoroscopy with its geometry and the true pose of a bone in the specimen's CT.

        Parameters
        ----------
        name : str
            One of `projections`.
        bone : str
            One of BONES.
        upright : bool
            Turn the image, and the camera with it, by 180 degrees where the file says that the patient is upside down.
        half_voxel : bool
            Move the pose by (-0.5, -0.5, -0.5) mm in the CT. The authors' own later code (xReg) does, because the truth was made
            with another rule where in a voxel its value lies; the file's 2D landmarks are projections without it.
        source_to_isocenter : float
            [mm] of the CArm; it only divides the distance between it and the pose's tz.
        border : int
            [pixels] masked.

        Returns
        -------
        Projection
            Image, geometry and truth.

        Raises
        ------
        XrcoreError
            One line naming the file and the part of it that is missing or makes no sense.
        """
        if bone not in BONES:
            raise XrcoreError(f"bone must be one of {', '.join(BONES)}, got {bone!r}")
        if name not in self.projections:
            raise XrcoreError(
                f"{self.path}: {self.name} has no projection {name!r}; it has {self.projections[0]} to {self.projections[-1]}"
            )
        where = f"{self.name}/projections/{name}"
        with _opened(self.path) as file:
            camera = _camera(self.path, file, source_to_isocenter)
            volume_from_world = _rigid(self.path, file, f"{where}/gt-poses/cam-to-{bone}-vol")
            pixels = np.asarray(_array(self.path, file, f"{where}/image/pixels"))
            points = _points(self.path, file, f"{where}/gt-landmarks", 2)
            turned = upright and bool(_array(self.path, file, f"{where}/rot-180-for-up"))
            good = bone == "pelvis" or bool(_array(self.path, file, f"{where}/gt-poses/{bone}-good-fov"))
            center = _center(self.path, file, self.name)
        carm = camera.carm
        if pixels.shape != carm.shape:
            raise XrcoreError(f"{self.path}: {where} is {pixels.shape} but proj-params say {carm.shape}")
        if half_voxel:
            volume_from_world = volume_from_world.copy()
            volume_from_world[:3, 3] -= 0.5
        camera_from_volume = camera.from_world @ np.linalg.inv(volume_from_world)
        mask = _inside(pixels.shape, border)
        attenuation = _attenuation(f"{self.path}: {where}", pixels, mask)
        rows, cols = carm.shape
        landmarks = {key: (float(row), cols - 1 - float(col)) for key, (col, row) in points.items()}
        attenuation = attenuation[:, ::-1]
        if turned:
            attenuation = attenuation[::-1, ::-1]
            landmarks = {key: (rows - 1 - row, cols - 1 - col) for key, (row, col) in landmarks.items()}
            carm = _turned(carm)
            camera_from_volume = np.diag([-1.0, -1.0, 1.0, 1.0]) @ camera_from_volume
        isocenter = torch.from_numpy(center)
        return Projection(
            xray=Xray(image=torch.from_numpy(attenuation.copy()), carm=carm, mask=torch.from_numpy(mask)),
            truth=Pose.from_camera_from_world(torch.from_numpy(camera_from_volume), carm, isocenter),
            landmarks=landmarks,
            isocenter=isocenter,
            bone=bone,
            good=good,
        )


def read_deepfluoro(path: str | os.PathLike[str]) -> tuple[Specimen, ...]:
    """Open the specimens of the full-resolution file (ipcai_2020_full_res_data.h5); nothing heavy is read yet.

    Parameters
    ----------
    path : str or path
        Of the HDF5 file.

    Returns
    -------
    tuple of Specimen
        In the paper's order.

    Raises
    ------
    XrcoreError
        One line naming the file, for anything else.
    """
    path = Path(path)
    with _opened(path) as file:
        if "proj-params" not in file:
            small = "land-names" in file
            hint = "; this is one of the pre-processed files, which hold neither CTs nor poses" if small else ""
            raise XrcoreError(f"{path}: not DeepFluoro's full-resolution file: it has no proj-params{hint}")
        names = [name for name in file if name != "proj-params"]
        names.sort(key=lambda name: (SPECIMENS.index(name) if name in SPECIMENS else len(SPECIMENS), name))
        found = tuple(Specimen(path, name, tuple(sorted(_group(path, file, f"{name}/projections")))) for name in names)
    if not found or not all(specimen.projections for specimen in found):
        raise XrcoreError(f"{path}: not DeepFluoro's full-resolution file: a specimen without projections")
    return found


@dataclass(frozen=True, eq=False)
class _Camera:
    """The CArm of mirrored images, and 4x4 from the file's camera world into its frame (z to the detector)."""

    carm: CArm
    from_world: Float64[ndarray, "4 4"]


def _camera(path: Path, file: h5py.File, source_to_isocenter: float) -> _Camera:
    k = np.asarray(_array(path, file, "proj-params/intrinsic"), dtype=np.float64)
    rows, cols = (int(_array(path, file, f"proj-params/num-{side}")) for side in ("rows", "cols"))
    row_step, col_step = (float(_array(path, file, f"proj-params/pixel-{side}-spacing")) for side in ("row", "col"))
    if k.shape != (3, 3) or not np.isfinite(k).all() or k[0, 0] >= 0 or k[1, 1] >= 0:
        raise XrcoreError(
            f"{path}: proj-params/intrinsic must have negative focal lengths (z from the detector to the source), got {k.tolist()}"
        )
    if abs(k[0, 0] * col_step - k[1, 1] * row_step) > 1e-3 * abs(k[0, 0] * col_step):
        raise XrcoreError(f"{path}: proj-params: focal lengths and pixel spacings give two distances from source to detector")
    mirrored = [[-k[0, 0], k[0, 1], cols - 1 - k[0, 2]], [k[1, 0], -k[1, 1], k[1, 2]], k[2].tolist()]
    carm = CArm.from_intrinsics(mirrored, (rows, cols), source_to_isocenter=source_to_isocenter, pixel_spacing=col_step)
    half_round_y = np.diag([-1.0, 1.0, -1.0, 1.0])
    return _Camera(carm, half_round_y @ _rigid(path, file, "proj-params/extrinsic"))


def _turned(carm: CArm) -> CArm:
    (rows, cols), (row, col) = carm.shape, carm.center
    return CArm(**{**carm.to_dict(), "principal_point": (rows - 1 - row, cols - 1 - col)})


def _attenuation(where: str, pixels: Shaped[ndarray, "H W"], mask: Bool[ndarray, "H W"]) -> Float[ndarray, "H W"]:
    """-log(I / I0), I0 the brightest 0.1 % inside the mask; empty pixels count as 1e-4 of it."""
    values = pixels.astype(np.float64)
    if not np.isfinite(values).all() or not mask.any():
        raise XrcoreError(f"{where}: pixels that are not finite, or a border wider than the image")
    brightest = float(np.percentile(values[mask], 99.9))
    if brightest <= 0:
        raise XrcoreError(f"{where}: no pixel is brighter than 0; intensities are expected")
    return -np.log(np.maximum(values, 1e-4 * brightest) / brightest).astype(np.float32)


def _inside(shape: tuple[int, ...], border: int) -> Bool[ndarray, "H W"]:
    mask = np.zeros(shape, dtype=bool)
    mask[border : shape[0] - border, border : shape[1] - border] = True
    return mask


def _image(path: Path, group: h5py.Group) -> tuple[Shaped[ndarray, "D H W"], Float64[ndarray, "4 4"]]:
    """Pixels (z, y, x) and world_from_voxel of an image group, which is laid out as ITK's images are."""
    pixels = _array(path, group, "pixels", load=False)
    if len(pixels.shape) != 3 or int(np.prod(pixels.shape)) > MOST_VOXELS:
        raise XrcoreError(f"{path}: {group.name}/pixels has shape {pixels.shape}, which is no CT")
    return pixels[()], _grid(path, group)


def _grid(path: Path, group: h5py.Group) -> Float64[ndarray, "4 4"]:
    spacing, origin = (np.asarray(_array(path, group, part), dtype=np.float64).ravel() for part in ("spacing", "origin"))
    direction = np.asarray(_array(path, group, "dir-mat"), dtype=np.float64)
    if spacing.shape != (3,) or origin.shape != (3,) or direction.shape != (3, 3) or not (spacing > 0).all():
        raise XrcoreError(f"{path}: {group.name}: spacing, origin or dir-mat is not that of a 3D image")
    matrix = np.eye(4)
    matrix[:3, :3] = direction * spacing
    matrix[:3, 3] = origin
    return matrix


def _center(path: Path, file: h5py.File, name: str) -> Float64[ndarray, "3"]:
    """The centre of a CT's extent, without reading its voxels; as `HuImage.center`."""
    group = _group(path, file, f"{name}/vol")
    matrix = _grid(path, group)
    shape = _array(path, group, "pixels", load=False).shape
    return matrix[:3, :3] @ ((np.array(shape[::-1]) - 1) / 2) + matrix[:3, 3]


def _points(path: Path, file: h5py.File, where: str, size: int) -> dict[str, Float64[ndarray, " n"]]:
    group = _group(path, file, where)
    points = {name: np.asarray(_array(path, group, name), dtype=np.float64).ravel() for name in sorted(group)}
    for name, point in points.items():
        if point.shape != (size,) or not np.isfinite(point).all():
            raise XrcoreError(f"{path}: {where}/{name} is not {size} numbers")
    return points


def _rigid(path: Path, file: h5py.File, where: str) -> Float64[ndarray, "4 4"]:
    matrix = np.asarray(_array(path, file, where), dtype=np.float64)
    rotation = matrix[:3, :3]
    proper = matrix.shape == (4, 4) and np.isfinite(matrix).all() and np.allclose(rotation.T @ rotation, np.eye(3), atol=1e-3)
    if not proper or np.linalg.det(rotation) < 0 or not np.allclose(matrix[3], [0, 0, 0, 1]):
        raise XrcoreError(f"{path}: {where} is not a rigid transform")
    # stored in single precision by some tools: the nearest rotation
    u, _, vt = np.linalg.svd(rotation)
    nearest = matrix.copy()
    nearest[:3, :3] = u @ vt
    return nearest


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    if not path.is_file():
        raise XrcoreError(f"{path}: no such file")
    try:
        file = h5py.File(path, "r")
    except OSError:
        raise XrcoreError(f"{path}: not an HDF5 file, or a damaged one") from None
    with file:
        try:
            yield file
        except (OSError, RuntimeError) as error:  # what h5py raises for damage inside
            raise XrcoreError(f"{path}: a damaged HDF5 file ({' '.join(str(error).split())})") from None


def _group(path: Path, parent: h5py.Group, name: str) -> h5py.Group:
    found = parent.get(name)
    if not isinstance(found, h5py.Group):
        raise XrcoreError(f"{path}: it has no group {name!r}; not a DeepFluoro file, or a damaged one")
    return found


def _array(path: Path, parent: h5py.Group | Mapping[str, Any], name: str, load: bool = True) -> Any:
    found = parent.get(name)
    if not isinstance(found, h5py.Dataset):
        raise XrcoreError(f"{path}: it has no dataset {name!r}; not a DeepFluoro file, or a damaged one")
    return found[()] if load else found


def _string(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
