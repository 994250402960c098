"""View: an X-ray and where its camera stands among others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from xrcore._util.errors import require
from xrcore._util.matrices import rigid_matrix
from xrcore.beam import Beam
from xrcore.ct.volume import Volume
from xrcore.geometry import CArm, Pose, rigid
from xrcore.xray.image import Xray


@dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """An X-ray and where its camera stands.

    Parameters
    ----------
    xray : Xray
        Bone bright.
    camera_from_rig : Float[Tensor, "4 4"]
        Rigid: `x_camera = camera_from_rig @ x_rig` [mm].

    Raises
    ------
    XrcoreError
        If a parameter makes no sense.
    """

    xray: Xray
    camera_from_rig: Float[Tensor, "4 4"]

    def __post_init__(self) -> None:
        require("View", "xray", self.xray, isinstance(self.xray, Xray), "an Xray")
        object.__setattr__(self, "camera_from_rig", rigid_matrix("View", "camera_from_rig", self.camera_from_rig))

    @property
    def carm(self) -> CArm:
        """The X-ray's C-arm."""
        return self.xray.carm

    def pose(self, rig_from_ct: Float[Tensor, "4 4"], volume: Volume) -> Pose:
        """The view's pose of a body placed in the rig.

        Parameters
        ----------
        rig_from_ct : Float[Tensor, "*B 4 4"]
            The CT's LPS world into the rig [mm].
        volume : Volume
            The body.

        Returns
        -------
        Pose
            One for each matrix.
        """
        return Pose.from_camera_from_world(self.camera_from_rig @ rig_from_ct, self.carm, volume.isocenter)

    def rig_from_ct(self, pose: Pose, volume: Volume) -> Float[Tensor, "*B 4 4"]:
        """Inverse of `pose`.

        Parameters
        ----------
        pose : Pose
            Of this view.
        volume : Volume
            The body.

        Returns
        -------
        Float[Tensor, "B 4 4"]
            The CT's LPS world into the rig [mm].
        """
        return rigid.invert(self.camera_from_rig) @ pose.camera_from_world(self.carm, volume.isocenter)


def views_of(caller: str, given: object) -> tuple[View, ...]:
    """Take an X-ray as a view of its own; raises XrcoreError, naming the caller, for what is neither that nor a list of views."""
    if isinstance(given, Xray):
        return (View(xray=given, camera_from_rig=torch.eye(4, dtype=torch.float64)),)
    several = isinstance(given, Sequence) and len(given) > 0 and all(isinstance(one, View) for one in given)
    require(caller, "xray", given, several, "an Xray, such as read_xray gives, or a list of View")
    assert isinstance(given, Sequence)
    return tuple(given)


def check_images(caller: str, xray: object, volume: object, beam: object) -> tuple[View, ...]:
    """Return the views; raise XrcoreError, naming it, for an argument that is of another kind."""
    views = views_of(caller, xray)
    require(caller, "volume", volume, isinstance(volume, Volume), "a Volume, such as read_ct gives")
    assert isinstance(volume, Volume)
    kind = volume.density.dtype  # others are rendered by PyTorch, too slowly for hundreds of DRRs
    require(
        caller, "volume.density.dtype", kind, kind == torch.float32, "torch.float32, as of replace(volume, density=volume.density.float())"
    )
    require(caller, "beam", beam, beam is None or isinstance(beam, Beam), "a Beam")
    return views
