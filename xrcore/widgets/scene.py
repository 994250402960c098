"""CArmScene: source, patient and detector in three dimensions."""

from __future__ import annotations

from typing import Any

import k3d
import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from skimage.measure import marching_cubes

from xrcore.ct import Volume
from xrcore.figures import array_png, display_image, figure_png, scene_figure
from xrcore.figures.scene import VIEW_DIRECTION
from xrcore.geometry import CArm
from xrcore.geometry.presets import PAPER_CARM
from xrcore.renderer import render
from xrcore.widgets.panel import Panel
from xrcore.widgets.state import PoseState
from xrcore.widgets.throttle import Throttle
from xrcore.widgets.volume_sources import BuiltInPhantom

_GRID = 4.0  # [mm], of the bone's surface and of the picture on the detector
_SKIN_GRID = 8.0  # [mm]: it is only a hint, and every triangle costs a computer without a graphics card
_PIXELS = 128
_BONE, _SKIN, _BEAM, _SOURCE = 0xE8DCC0, 0xC99B86, 0x0072B2, 0xD55E00
_AXES = {"left": (0xD55E00, (1, 0, 0)), "back": (0x009E73, (0, 1, 0)), "head": (0x0072B2, (0, 0, 1))}
_AXIS = 170.0  # [mm]


class CArmScene(Panel):
    """Show the CT's bone and skin, the source, the beam's four edges, and the detector with its DRR; they move with the pose.

    Parameters
    ----------
    volume : Volume, optional
        The CT; default the built-in phantom.
    carm : CArm
        Default the paper's.
    state : PoseState, optional
        A state to share, so that the scene follows a `PoseExplorer` or a cockpit; it says volume and C-arm.
    height : int
        Height [pixels].

    Attributes
    ----------
    plot : k3d.plot.Plot
        The plot, to add to.
    """

    def __init__(self, volume: Volume | None = None, carm: CArm = PAPER_CARM, *, state: PoseState | None = None, height: int = 420) -> None:
        if state is None:
            state = PoseState(BuiltInPhantom() if volume is None else volume, carm)
        self.state = state
        self.plot = k3d.plot(
            height=height, grid_visible=False, camera_auto_fit=False, menu_visibility=False, camera_mode="orbit", axes_helper=0, antialias=0
        )
        self.plot.layout.width = "760px"
        self._patient: list[Any] = []
        self._carm: list[Any] = []
        self._detector: Any = None
        place = self.guarded(self._place)
        self.throttle = Throttle(lambda: place(None))
        super().__init__(self.plot, self.throttle, name="scene")
        self.observe_until_closed(state, self.guarded(self._new_patient), "volume")
        self.observe_until_closed(state, self.guarded(self._new_carm), "carm")
        self.observe_until_closed(state, lambda _: self.throttle(), "numbers", "beam")
        self._new_patient()

    def close(self) -> None:
        if "throttle" in self.__dict__:
            self.throttle.close()
        super().close()

    def snapshot(self) -> bytes:
        state = self.state
        return figure_png(scene_figure(state.volume, state.carm, state.pose, state.beam))

    def _new_patient(self) -> None:
        volume = self.state.volume
        grid, coarse = volume.coarser(_GRID), volume.coarser(_SKIN_GRID)
        hard = [i for i, name in enumerate(grid.materials) if name not in ("soft", "air")]
        bone, skin = surface(grid.density[hard].sum(0), grid), surface(coarse.density.sum(0), coarse)
        things = []
        if bone is not None:
            things.append(k3d.mesh(*bone, color=_BONE, flat_shading=False, side="double", name="bone"))
        if skin is not None:
            things.append(k3d.mesh(*skin, color=_SKIN, opacity=0.12, flat_shading=False, side="front", name="skin"))
        isocenter = volume.isocenter.numpy()
        for name, (colour, direction) in _AXES.items():
            tip = isocenter + _AXIS * np.array(direction)
            things.append(k3d.line(_floats([isocenter, tip]), color=colour, width=2.5, shader="mesh", name=name))
            things.append(k3d.text(name, position=tip.tolist(), color=colour, size=0.9, label_box=False, is_html=True))
        self._patient = self._replace(self._patient, things)
        # far enough to see source and detector
        eye = isocenter + self.state.carm.source_to_detector * 0.62 * np.array(VIEW_DIRECTION)
        self.plot.camera = [*eye.tolist(), *isocenter.tolist(), 0, 0, 1]
        self._new_carm()

    def _replace(self, old: list[Any], new: list[Any]) -> list[Any]:
        for thing in old:
            self.plot -= thing
            thing.close()
        for thing in new:
            self.plot += thing
        return new

    def _new_carm(self) -> None:
        """Everything that moves with the C-arm, in the camera frame: one matrix places it all."""
        corners = self.state.carm.corners().numpy()
        sources = self.state.carm.corner_sources().numpy()
        edges = _indices([[0, 4], [1, 5], [2, 6], [3, 7], [4, 5], [5, 6], [6, 7], [7, 4], [0, 2]])
        self._detector = k3d.mesh(
            _floats(corners),
            _indices([[0, 1, 2], [0, 2, 3]]),
            uvs=_floats([[0, 0], [1, 0], [1, 1], [0, 1]]),  # across and down, as k3d takes pictures
            texture=self._picture(),
            texture_file_format="png",
            side="double",
            name="detector",
        )
        points = k3d.points(_floats(np.unique(sources, axis=0)), point_size=36.0, color=_SOURCE, shader="3d", name="source")
        beam = k3d.lines(_floats([*sources, *corners]), edges, indices_type="segment", color=_BEAM, width=4.0, shader="mesh", name="beam")
        self._carm = self._replace(self._carm, [self._detector, points, beam])
        self._place()

    def _place(self) -> None:
        """One matrix for all that moves, the new picture, one frame."""
        state = self.state
        matrix = _floats(state.pose.world_from_camera(state.carm, state.volume.isocenter)[0].numpy())
        for thing in self._carm:
            thing.model_matrix = matrix
        self._detector.texture = self._picture()
        self.plot.render()

    def _picture(self) -> bytes:
        state = self.state
        with torch.no_grad():
            return array_png(display_image(render(state.volume.coarser(_GRID), state.carm_with(_PIXELS), state.pose, state.beam)))


def surface(density: Float[torch.Tensor, "D H W"], volume: Volume) -> tuple[Float[NDArray, "n 3"], Int[NDArray, "m 3"]] | None:
    """Find the surface at half the density that is usual inside.

    Parameters
    ----------
    density : Float[Tensor, "D H W"]
        Mass density on the volume's grid [g/cm3].
    volume : Volume
        Says where the grid lies.

    Returns
    -------
    tuple of Float[NDArray, "n 3"] and Int[NDArray, "m 3"], or None
        Vertices in the world [mm] and triangles; None where there is nothing.

    References
    ----------
    Lewiner et al., "Efficient implementation of marching cubes cases with topological guarantees", 2003 (scikit-image).
    """
    values = np.pad(density.cpu().numpy(), 1)  # closed where the CT ends
    inside = values[values > 0.05]
    if not len(inside):
        return None
    vertices, triangles, _, _ = marching_cubes(values, 0.5 * float(np.median(inside)))
    index = vertices[:, ::-1] - 1  # (x, y, z) of the unpadded grid
    matrix = volume.world_from_voxel.numpy()
    if np.linalg.det(matrix[:3, :3]) < 0:  # a mirrored grid turns triangles inside out
        triangles = triangles[:, ::-1]
    return _floats(index @ matrix[:3, :3].T + matrix[:3, 3]), _indices(triangles)


def _floats(values: Any) -> NDArray[np.float32]:
    return np.asarray(values, dtype=np.float32)


def _indices(values: Any) -> NDArray[np.uint32]:
    return np.asarray(values, dtype=np.uint32)
