"""State of an AttentionViewer: X-ray, prediction, attention, refinement. Holds data only; usable without a notebook."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor
from traitlets import Any as AnyTrait
from traitlets import HasTraits, Instance

from xrcore.beam import Beam
from xrcore.ct import Volume
from xrcore.geometry import Pose
from xrcore.learning.models import PoseRegressor
from xrcore.learning.models.resampling import resample_xray
from xrcore.metrics import mtre, ncc
from xrcore.registration.pipeline import register
from xrcore.registration.result import Registration
from xrcore.renderer import render
from xrcore.simulation import Acquisition, simulate
from xrcore.widgets.state import require_xray
from xrcore.xray import Xray

# A ray a pixel, in place of four, is enough to look at and takes a quarter of the time.
ACQUIRED = Acquisition(oversample=1)


class AttentionState(HasTraits):
    """A model, an X-ray, the model's prediction and the refinement: traitlets' traits, to `observe`.

    Attributes
    ----------
    model : PoseRegressor
        The model.
    volume : Volume
        The CT.
    beam : Beam
        The beam that `refine` assumes.
    xray : Xray or None
        The X-ray.
    truth : Pose or None
        Its pose, if known.
    prediction : Pose or None
        What the network says; None until `predict`.
    attention : Float[ndarray, "heads h w"] or None
        Where it looks, each head's map summing to 1; None until `predict`, and where the network has none.
    refined : Registration or None
        None until `refine`.
    """

    volume = Instance(Volume)
    model = Instance(PoseRegressor)
    beam = Instance(Beam, ())
    xray = Instance(Xray, allow_none=True)
    truth = Instance(Pose, allow_none=True)
    prediction = Instance(Pose, allow_none=True)
    attention = AnyTrait(None, allow_none=True)
    refined = Instance(Registration, allow_none=True)

    def look_at(self, xray: Xray, truth: Pose | None = None) -> None:
        """Take another X-ray, and forget what was found in the one before.

        Parameters
        ----------
        xray : Xray
            The X-ray.
        truth : Pose, optional
            Its pose, if known.
        """
        with self.hold_trait_notifications():
            self.prediction, self.attention, self.refined = None, None, None
            self.xray, self.truth = xray, truth

    def simulate(self, truth: Pose, *, seed: int = 0, acquired: bool = True) -> None:
        """Simulate an X-ray of the CT by the model's C-arm, and take it.

        Parameters
        ----------
        truth : Pose
            From where, one pose.
        seed : int
            Of the noise.
        acquired : bool
            Whether with another beam, noise, scatter and blur; else a bare DRR.
        """
        carm = self.model.carm
        if acquired:
            xray = simulate(self.volume, carm, truth, settings=ACQUIRED, seed=seed)
        else:
            xray = Xray(image=self._render(truth, carm), carm=carm)
        self.look_at(xray, truth)

    def predict(self) -> None:
        """Let the network predict the pose.

        Raises
        ------
        XrcoreError
            If there is no X-ray, or its geometry or the CT is not what the network was trained for.
        """
        xray, model = require_xray(self.xray), self.model
        model.check(xray.carm, self.volume)
        image, mask = resample_xray(xray, model.view)
        numbers, weights = model.predict_batch(image, mask, attention=True)
        with self.hold_trait_notifications():
            self.prediction = Pose(numbers)
            self.attention = None if weights is None else _maps(weights[0])

    def refine(self) -> None:
        """Register from the prediction."""
        self.refined = register(require_xray(self.xray), self.volume, self.model, beam=self.beam)

    def drr(self, pose: Pose) -> Float[Tensor, "H W"]:
        """Render the DRR.

        Parameters
        ----------
        pose : Pose
            From where, one pose.

        Returns
        -------
        Float[Tensor, "H W"]
            The DRR, an attenuation image.
        """
        return self._render(pose, require_xray(self.xray).carm)

    def measures(self, pose: Pose, image: Float[Tensor, "H W"]) -> dict[str, float]:
        """Measure how good a pose is.

        Parameters
        ----------
        pose : Pose
            The pose, one.
        image : Float[Tensor, "H W"]
            The DRR there.

        Returns
        -------
        dict of str to float
            "NCC", with the X-ray as registered once it was, and "mTRE" [mm] where the truth is known.
        """
        xray = require_xray(self.xray) if self.refined is None else self.refined.xray  # bone bright
        found = {"NCC": float(ncc(xray.image, image, xray.mask))}
        if self.truth is not None:
            found["mTRE"] = float(mtre(pose, self.truth, self.volume.surface_points(), xray.carm, self.volume.isocenter))
        return found

    def _render(self, pose: Pose, carm: Any) -> Float[Tensor, "H W"]:
        with torch.no_grad():
            return render(self.volume, carm, pose, self.beam)[0].cpu()


def _maps(weights: Float[Tensor, "heads N N"]) -> Float[ndarray, "heads h w"]:
    """Attention that each position receives: the mean over all queries."""
    share = weights.mean(1).cpu()
    side = round(share.shape[1] ** 0.5)
    maps: ndarray = share.reshape(-1, side, side).double().numpy()
    return maps
