"""Batch: images with their masks and true poses, as methods take them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Batch:
    """Images with what a loss may need.

    Parameters
    ----------
    images : Float[Tensor, "B H W"]
        Attenuation, bone bright.
    masks : Bool[Tensor, "B H W"]
        True inside the field of view.
    numbers : Float[Tensor, "B 6"]
        The true poses [deg, mm].
    plain : Float[Tensor, "B H W"], optional
        The DRRs as rendered, before anything was done to them, where they are known.
    """

    images: Float[Tensor, "B H W"]
    masks: Bool[Tensor, "B H W"]
    numbers: Float[Tensor, "B 6"]
    plain: Float[Tensor, "B H W"] | None = None

    def __getitem__(self, part: slice) -> Batch:
        return Batch(self.images[part], self.masks[part], self.numbers[part], None if self.plain is None else self.plain[part])

    def to(self, device: torch.device) -> Batch:
        """Return the batch on another device.

        Parameters
        ----------
        device : torch.device
            Where to.

        Returns
        -------
        Batch
            The same values there.
        """
        plain = None if self.plain is None else self.plain.to(device)
        return Batch(self.images.to(device), self.masks.to(device), self.numbers.to(device), plain)
