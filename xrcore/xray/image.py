"""Xray: an acquired (or simulated-as-acquired) image with its mask and geometry."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from xrcore._util.conversion import as_tensor
from xrcore._util.devices import named_device
from xrcore._util.errors import XrcoreError, require
from xrcore._util.matrices import rigid_matrix
from xrcore.ct.volume import Volume
from xrcore.geometry import CArm, Pose, rigid


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Xray:
    """An X-ray ready to be registered.

    Parameters
    ----------
    image : Float[Tensor, "H W"]
        Attenuation image, -log(I / I0) up to gain and offset, bone bright; kept as float32.
    carm : CArm
        Its geometry; `carm.shape == (H, W)`.
    mask : Bool[Tensor, "H W"], optional
        True where the image can be trusted; default everywhere.
    pose : Pose, optional
        Where the file says it was taken from (DICOM positioner angles), centred on the isocentre.
    world_from_camera : Float[Tensor, "4 4"], optional
        Where the file says that the camera stood, LPS [mm] of its frame of reference (CT localizers).
    frame_of_reference : str
        DICOM's UID of that space, empty where the file has none.
    notes : tuple of str
        One-line remarks for the user, such as "inverted: ...".
    bone_bright : bool
        Whether it is certain that bone is bright; otherwise `register` finds out, and negates grey values where it is dark.

    Raises
    ------
    XrcoreError
        If shapes do not fit, or the image is constant or not finite inside the mask.

    Examples
    --------
    >>> import torch
    >>> import xrcore as xr
    >>> carm = xr.CArm(source_to_detector=1200, source_to_isocenter=800, shape=(32, 48), pixel_spacing=6)
    >>> xr.Xray(image=torch.rand(32, 48), carm=carm, notes=("made up",))
    Xray: 32 x 48 pixels of 6 x 6 mm, 100 % of them inside the mask
      note: made up
    """

    image: Float[Tensor, "H W"]
    carm: CArm
    mask: Bool[Tensor, "H W"] = field(default=None)  # type: ignore[assignment]
    pose: Pose | None = None
    world_from_camera: Float[Tensor, "4 4"] | None = None
    frame_of_reference: str = ""
    notes: tuple[str, ...] = ()
    bone_bright: bool = False

    def __post_init__(self) -> None:
        put = object.__setattr__
        require("Xray", "carm", self.carm, isinstance(self.carm, CArm), "a CArm")
        require("Xray", "bone_bright", self.bone_bright, isinstance(self.bone_bright, bool), "True or False")
        require("Xray", "pose", self.pose, self.pose is None or isinstance(self.pose, Pose), "a Pose or None")
        if self.world_from_camera is not None:
            put(self, "world_from_camera", rigid_matrix("Xray", "world_from_camera", self.world_from_camera))
        put(self, "image", as_tensor("Xray", "image", self.image, "an image (H, W)", dtype=torch.float32).detach())
        if self.image.ndim != 2:
            raise XrcoreError(f"Xray: image must be (H, W), got {tuple(self.image.shape)}")
        if tuple(self.image.shape) != self.carm.shape:
            raise XrcoreError(f"Xray: image is {tuple(self.image.shape)} but its CArm has shape {self.carm.shape}")
        given = torch.ones(self.image.shape, dtype=torch.bool) if self.mask is None else self.mask
        mask = as_tensor("Xray", "mask", given, "a mask (H, W)", dtype=torch.bool)
        if mask.shape != self.image.shape:
            raise XrcoreError(f"Xray: mask is {tuple(mask.shape)} but the image is {tuple(self.image.shape)}")
        put(self, "mask", mask)
        seen = self.image[mask]
        if seen.numel() == 0:
            raise XrcoreError("Xray: the mask leaves no pixel")
        if not torch.isfinite(seen).all():
            raise XrcoreError("Xray: the image holds NaN or infinite pixels; mask them or clean the file")
        if float(seen.max() - seen.min()) <= 1e-6 * float(seen.abs().max()):
            raise XrcoreError("Xray: the image is constant, so there is nothing to register")

    def pose_in(self, volume: Volume) -> Pose | None:
        """Where the file says it was taken from, in a CT's space.

        Parameters
        ----------
        volume : Volume
            The CT.

        Returns
        -------
        Pose or None
            That of `placement_in`; else `pose`, whose angles hold for any CT of the patient.
        """
        placed = self.placement_in(volume)
        return self.pose if placed is None else placed

    def placement_in(self, volume: Volume) -> Pose | None:
        """The exact pose in a CT's space, None where the file does not say it or says it in another frame of reference.

        Parameters
        ----------
        volume : Volume
            The CT.

        Returns
        -------
        Pose or None
            Where file and CT name the same frame of reference, or one of them none and the CT's isocentre is in the image.
        """
        if self.world_from_camera is None:
            return None
        pose = Pose.from_world_from_camera(self.world_from_camera, self.carm, volume.isocenter)
        if self.frame_of_reference and volume.frame_of_reference:
            return pose if self.frame_of_reference == volume.frame_of_reference else None
        point = rigid.apply(pose.camera_from_world(self.carm, volume.isocenter), volume.isocenter[None])
        (row, col), (rows, cols) = self.carm.project(point)[0, 0].tolist(), self.carm.shape
        return pose if float(point[0, 0, 2]) > 0 and 0 <= row < rows and 0 <= col < cols else None

    def to(self, device: torch.device | str) -> Xray:
        """Put image and mask on another device.

        Parameters
        ----------
        device : torch.device or str
            Such as "cpu" or "cuda".

        Returns
        -------
        Xray
            The same there.
        """
        device = named_device(device)
        if device == self.image.device == self.mask.device:
            return self
        return replace(self, image=self.image.to(device), mask=self.mask.to(device))

    def negative(self) -> Xray:
        """Exchange bone and air.

        Returns
        -------
        Xray
            The same with the image's sign changed; whether bone is bright is then to be found out.
        """
        return replace(self, image=-self.image, bone_bright=False)

    def __repr__(self) -> str:
        (rows, cols), (row, col) = self.carm.shape, self.carm.spacing
        share = 100 * float(self.mask.double().mean())
        lines = [f"Xray: {rows} x {cols} pixels of {row:g} x {col:g} mm, {share:.3g} % of them inside the mask"]
        lines += [] if self.pose is None else [f"  pose: {self.pose}"]
        return "\n".join(lines + [f"  note: {note}" for note in self.notes])

    def _repr_html_(self) -> str:
        """Show the image in a notebook."""
        from xrcore.figures import display_image, picture_html

        return picture_html(display_image(self.image, self.mask), repr(self))
