"""Predictor: the interface of a model that predicts poses for `register`."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from xrcore.ct.volume import Volume
from xrcore.geometry import CArm, Pose
from xrcore.xray.image import Xray


@runtime_checkable
class Predictor(Protocol):
    """Interface of a model that predicts poses; `xrcore.PoseRegressor` is one.

    Attributes
    ----------
    spread : tuple of float or None
        95th percentiles of the errors of its six numbers [deg, mm], or None if unknown.
    ranges : tuple of float
        Half-widths that it was trained for [deg, mm].
    """

    @property
    def spread(self) -> tuple[float, ...] | None:
        """95th percentiles of the errors of its six numbers [deg, mm], or None if unknown."""

    @property
    def ranges(self) -> tuple[float, ...]:
        """Half-widths that it was trained for [deg, mm]."""

    def check(self, carm: CArm | None = None, volume: Volume | None = None) -> None:
        """Raise XrcoreError for inputs that the model was not trained for.

        Parameters
        ----------
        carm : CArm, optional
            Geometry of the X-rays.
        volume : Volume, optional
            The CT.

        Raises
        ------
        XrcoreError
            If the model was made for another geometry or CT.
        """

    def predict(self, xray: Xray) -> Pose:
        """Predict where an X-ray was taken from.

        Parameters
        ----------
        xray : Xray
            One.

        Returns
        -------
        Pose
            One.
        """
