"""Xray: an acquired (or simulated-as-acquired) image with its mask and geometry."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from xrcore._util.devices import named_device
from xrcore._util.errors import XrcoreError
from xrcore.geometry import CArm, Pose


@dataclass(frozen=True, kw_only=True, eq=False)
class Xray:
    """An X-ray ready to be registered.

    image: (H, W) float32 attenuation image, -log(I / I0) up to gain and offset, bone bright.
    carm: its geometry; `carm.shape == (H, W)`. mask: (H, W) bool, True where the image can be trusted; default everywhere.
    pose: where the file says it was taken from (DICOM positioner angles), or None.
    notes: one-line remarks for the user, such as "inverted: ...".
    """

    image: Float[Tensor, "H W"]
    carm: CArm
    mask: Bool[Tensor, "H W"] = field(default=None)  # type: ignore[assignment]
    pose: Pose | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "image", torch.as_tensor(self.image, dtype=torch.float32))
        if self.image.ndim != 2:
            raise XrcoreError(f"Xray: image must be (H, W), got {tuple(self.image.shape)}")
        if tuple(self.image.shape) != self.carm.shape:
            raise XrcoreError(f"Xray: image is {tuple(self.image.shape)} but its CArm has shape {self.carm.shape}")
        mask = torch.ones(self.image.shape, dtype=torch.bool) if self.mask is None else torch.as_tensor(self.mask, dtype=torch.bool)
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

    def to(self, device: torch.device | str) -> Xray:
        """The same with image and mask on another device."""
        device = named_device(device)
        if device == self.image.device == self.mask.device:
            return self
        return replace(self, image=self.image.to(device), mask=self.mask.to(device))

    def negative(self) -> Xray:
        """The same with bone and air exchanged."""
        return replace(self, image=-self.image)
