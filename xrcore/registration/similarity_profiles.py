"""Similarity profiles about a pose: along the six numbers, and over the plane of two of them.

Poses are rendered once, and every similarity judges the same images.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from xrcore._util.conversion import as_numbers
from xrcore._util.errors import XrcoreError, is_whole, require, shown
from xrcore._util.threads import single_torch_thread
from xrcore.beam import Beam
from xrcore.ct.volume import Volume
from xrcore.geometry import Pose
from xrcore.geometry.pose import NAMES, require_one_pose
from xrcore.registration.problem import shrink
from xrcore.registration.settings import Resolution
from xrcore.registration.similarities import SIMILARITIES
from xrcore.registration.similarities import similarity as named_similarity
from xrcore.registration.similarities.base import fit_for
from xrcore.registration.view import check_images
from xrcore.renderer import render
from xrcore.xray.image import Xray

COARSE = Resolution(pixels=64, spacing=8.0)
REACH = (60.0, 60.0, 60.0, 120.0, 120.0, 120.0)  # half-widths [deg, mm]: four times what is commonly searched
TOLERANCE = 0.02
_GATHERED = 1.5  # power that sets the samples of a line closer to its middle, where a similarity bends most
_BATCH = 64  # poses rendered at a time: 1 MB at 64 pixels


@dataclass(frozen=True, eq=False)
class Profiles:
    """Similarities along lines through a pose, one per number.

    Parameters
    ----------
    center : Pose
        The pose, one.
    offsets : Float[ndarray, "6 N"]
        Added to one of its numbers [deg, mm], ascending, 0 in the middle and closest there.
    values : dict of str to Float[ndarray, "6 N"]
        By similarity's name.
    level : Resolution
        Pixels and voxels they were found with.
    """

    center: Pose
    offsets: Float[ndarray, "6 N"]
    values: Mapping[str, Float[ndarray, "6 N"]]
    level: Resolution

    def optimum(self, name: str) -> Float[ndarray, "6"]:
        """Where each line is highest.

        Parameters
        ----------
        name : str
            Of the similarity.

        Returns
        -------
        Float[ndarray, "6"]
            Offsets [deg, mm], between samples by the parabola through three of them.
        """
        return np.array([_parabola_vertex(x, y) for x, y in zip(self.offsets, self.values[name], strict=True)])

    def capture(self, name: str, *, tolerance: float = TOLERANCE) -> Float[ndarray, "6 2"]:
        """How far below and above its optimum the similarity falls; see `capture_range`.

        Parameters
        ----------
        name : str
            Of the similarity.
        tolerance : float
            A rise below this share of the line's span of values is noise.

        Returns
        -------
        Float[ndarray, "6 2"]
            On each line [deg, mm], not negative.
        """
        return np.array([capture_range(x, y, tolerance=tolerance) for x, y in zip(self.offsets, self.values[name], strict=True)])

    def cut_off(self, name: str, *, tolerance: float = TOLERANCE) -> np.ndarray:
        """Whether a capture range ended where the line does, so that the true one is at least as long.

        Parameters
        ----------
        name : str
            Of the similarity.
        tolerance : float
            As in `capture`.

        Returns
        -------
        Bool[ndarray, "6 2"]
            Below and above, on each line.
        """
        ends = self.optimum_sample(name)[:, None] + np.array([-1, 1]) * self.capture(name, tolerance=tolerance)
        return np.isclose(ends, self.offsets[:, [0, -1]])

    def optimum_sample(self, name: str) -> Float[ndarray, "6"]:
        """The highest sample on each line, from which `capture` counts.

        Parameters
        ----------
        name : str
            Of the similarity.

        Returns
        -------
        Float[ndarray, "6"]
            Offsets [deg, mm].
        """
        return self.offsets[np.arange(6), self.values[name].argmax(1)]


@dataclass(frozen=True, eq=False)
class Plane:
    """Similarities over two of the six numbers.

    Parameters
    ----------
    center : Pose
        The pose in the middle, one.
    axes : tuple of str
        Names of the two numbers, first that of the rows.
    offsets : Float[ndarray, "2 N"]
        Of the rows and of the columns [deg, mm].
    values : dict of str to Float[ndarray, "N N"]
        By similarity's name.
    level : Resolution
        Pixels and voxels they were found with.
    """

    center: Pose
    axes: tuple[str, str]
    offsets: Float[ndarray, "2 N"]
    values: Mapping[str, Float[ndarray, "N N"]]
    level: Resolution

    def optimum(self, name: str) -> tuple[float, float]:
        """The highest sample.

        Parameters
        ----------
        name : str
            Of the similarity.

        Returns
        -------
        tuple of float
            Offsets along the first axis and the second [deg, mm].
        """
        row, col = np.unravel_index(int(self.values[name].argmax()), self.values[name].shape)
        return float(self.offsets[0, row]), float(self.offsets[1, col])


def profiles(
    xray: Xray,
    volume: Volume,
    center: Pose,
    *,
    similarities: Iterable[str] = tuple(SIMILARITIES),
    reach: Sequence[float] = REACH,
    samples: int = 41,
    beam: Beam | None = None,
    level: Resolution = COARSE,
) -> Profiles:
    """Compute similarities along each of the six numbers about one pose.

    Parameters
    ----------
    xray : Xray
        Bone bright.
    volume : Volume
        The CT.
    center : Pose
        One pose.
    similarities : iterable of str
        Names.
    reach : sequence of float
        Half-widths of the six lines [deg, mm].
    samples : int
        A line, odd, so that the pose is one of them.
    beam : Beam, optional
        The one assumed; default 90 kV.
    level : Resolution
        Pixels and voxels.

    Returns
    -------
    Profiles
        Poses are rendered once, and every similarity judges the same images.

    Raises
    ------
    XrcoreError
        If an argument makes no sense.
    """
    reach = check_lines("profiles", center, reach, samples, 6)
    even = evenly(samples)
    offsets = np.sign(even) * np.abs(even) ** _GATHERED * np.array(reach)[:, None]
    changes = np.zeros((6, samples, 6))
    for axis in range(6):
        changes[axis, :, axis] = offsets[axis]
    values = _evaluate("profiles", xray, volume, center, changes.reshape(-1, 6), similarities, beam, level)
    return Profiles(center.detach(), offsets, {name: v.reshape(6, samples) for name, v in values.items()}, level)


def plane(
    xray: Xray,
    volume: Volume,
    center: Pose,
    axes: tuple[str, str],
    *,
    similarities: Iterable[str] = tuple(SIMILARITIES),
    reach: tuple[float, float] | None = None,
    samples: int = 21,
    beam: Beam | None = None,
    level: Resolution = COARSE,
) -> Plane:
    """Compute similarities over the plane of two numbers about one pose.

    Parameters
    ----------
    xray : Xray
        Bone bright.
    volume : Volume
        The CT.
    center : Pose
        One pose.
    axes : tuple of str
        Names of the two numbers, first that of the rows.
    similarities : iterable of str
        Names.
    reach : tuple of float, optional
        Half-widths [deg, mm]; default those of `profiles`.
    samples : int
        Along each side, odd.
    beam : Beam, optional
        The one assumed; default 90 kV.
    level : Resolution
        Pixels and voxels.

    Returns
    -------
    Plane
        Poses are rendered once, and every similarity judges the same images.

    Raises
    ------
    XrcoreError
        If an argument makes no sense.
    """
    if not isinstance(axes, Sequence) or len(axes) != 2 or axes[0] == axes[1] or set(axes) - set(NAMES):
        raise XrcoreError(f"plane: axes must be two different ones of {', '.join(NAMES)}, got {axes!r}")
    places = [NAMES.index(axis) for axis in axes]
    sides = check_lines("plane", center, [REACH[place] for place in places] if reach is None else reach, samples, 2)
    offsets = evenly(samples) * np.array(sides)[:, None]
    changes = np.zeros((samples, samples, 6))
    changes[..., places[0]] = offsets[0][:, None]
    changes[..., places[1]] = offsets[1][None, :]
    values = _evaluate("plane", xray, volume, center, changes.reshape(-1, 6), similarities, beam, level)
    return Plane(center.detach(), (axes[0], axes[1]), offsets, {name: v.reshape(samples, samples) for name, v in values.items()}, level)


def capture_range(offsets: Float[ndarray, " N"], values: Float[ndarray, " N"], *, tolerance: float = TOLERANCE) -> tuple[float, float]:
    """How far a similarity falls below and above its highest sample before it turns to rise again.

    Parameters
    ----------
    offsets : Float[ndarray, "N"]
        Of the samples, ascending.
    values : Float[ndarray, "N"]
        Of the similarity.
    tolerance : float
        A rise that stays below this share of the line's span of values is noise, and does not end the range.

    Returns
    -------
    tuple of float
        Two lengths, in the unit of `offsets`.

    References
    ----------
    Skerl, Likar and Pernus, "A protocol for evaluation of similarity measures for rigid registration", IEEE TMI 25(6), 2006: the
    capture range is the distance from the optimum to the closest minimum. There the shortest over all lines and sides counts; here each
    side of each line is kept apart. The tolerance is ours.
    """
    best = int(values.argmax())
    allowed = tolerance * float(values.max() - values.min())
    below = _first_rise(values[best::-1], allowed)
    above = _first_rise(values[best:], allowed)
    return float(offsets[best] - offsets[best - below]), float(offsets[best + above] - offsets[best])


def _first_rise(values: Float[ndarray, " n"], allowed: float) -> int:
    """Index of the first minimum that is followed by a rise of more than `allowed`; flat ends do not count as falling."""
    lowest = np.minimum.accumulate(values)
    risen = np.nonzero(values > lowest + allowed)[0]
    end = int(risen[0]) if len(risen) else len(values)
    return int(values[:end].argmin())


def _parabola_vertex(offsets: Float[ndarray, " N"], values: Float[ndarray, " N"]) -> float:
    best = int(values.argmax())
    if not 0 < best < len(values) - 1:
        return float(offsets[best])
    left, right = (float(offsets[i] - offsets[best]) for i in (best - 1, best + 1))
    fall, drop = (float(values[best] - values[i]) for i in (best - 1, best + 1))
    # through (left, -fall), (0, 0), (right, -drop)
    bend = left * drop - right * fall
    return float(offsets[best]) + (0.5 * (left**2 * drop - right**2 * fall) / bend if bend else 0.0)


def evenly(samples: int) -> Float[ndarray, " N"]:
    """From -1 to 1, with an exact 0 in the middle."""
    half = samples // 2
    return np.arange(-half, half + 1) / half


def one_image(caller: str, xray: Xray, volume: Volume, beam: Beam | None) -> Xray:
    """Return the X-ray; raise XrcoreError for several, and for an argument that is of another kind."""
    views = check_images(caller, xray, volume, beam)
    if len(views) > 1:
        raise XrcoreError(f"{caller}: give one X-ray, not several views")
    return views[0].xray


def check_lines(caller: str, center: Pose, reach: Sequence[float], samples: int, count: int) -> tuple[float, ...]:
    """The reaches as numbers; raise XrcoreError for lines that cannot be drawn."""
    require_one_pose(caller, "center", center)
    lengths = as_numbers(reach, count)
    if lengths is None or min(lengths) <= 0:
        raise XrcoreError(f"{caller}: reach must be {count} positive half-widths, in deg and mm, got {shown(reach)}")
    require(caller, "samples", samples, is_whole(samples) and samples >= 3 and samples % 2 == 1, "an odd number, at least 3")
    return tuple(lengths)


@torch.no_grad()
def _evaluate(
    caller: str,
    xray: Xray,
    volume: Volume,
    center: Pose,
    changes: Float[ndarray, "P 6"],
    names: Iterable[str],
    beam: Beam | None,
    level: Resolution,
) -> dict[str, Float[ndarray, " P"]]:
    """Every similarity of the X-ray and the DRR at each changed pose."""
    xray = one_image(caller, xray, volume, beam)
    require(caller, "level", level, isinstance(level, Resolution), "a Resolution")
    names = [names] if isinstance(names, str) else names
    beam = Beam() if beam is None else beam
    small, grid = shrink(xray, level.pixels), volume.coarser(level.spacing)
    fitted = {name: fit_for(volume.device, named_similarity(name), small.image, small.mask) for name in names}
    numbers = center.numbers.detach().double() + torch.from_numpy(changes)
    found: dict[str, list[Tensor]] = {name: [] for name in fitted}
    with single_torch_thread():
        for part in numbers.split(_BATCH):
            images = render(grid, small.carm, Pose(part), beam)
            for name, fit in fitted.items():
                found[name].append(fit.value(images).double().cpu())
    return {name: torch.cat(parts).numpy() for name, parts in found.items()}
