"""Unknown intrinsics: their names, prior widths and groups, and the result of calibrating them with the pose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jaxtyping import Float
from torch import Tensor

from xrcore._util.errors import XrcoreError, is_number, require, shown
from xrcore.geometry import CArm, SlotScan
from xrcore.registration.view import View

INTRINSICS = ("source_to_detector", "principal_point")
WIDTH = 0.02  # default prior standard deviation, of the distance, and of the image's longer side
_NARROWED = 0.5**0.5  # of the prior's width: a standard deviation below it has more from the X-rays than from the prior

Free = Sequence[str] | Mapping[str, float | None]


@dataclass(frozen=True, eq=False)
class Calibration:
    """Intrinsics that were estimated with the pose.

    Parameters
    ----------
    names : tuple of str
        Of each number: "source_to_detector" [mm], "principal_row" and "principal_col" [pixels of the X-ray]; where views of several
        geometries have their own, followed by the views they are of, such as "source_to_detector (view 2)".
    given : tuple of float
        As the X-rays' geometry had them, the prior's mean.
    found : tuple of float
        Estimates.
    prior : tuple of float
        Standard deviations that were assumed of what was given.
    covariance : Float[Tensor, "n n"]
        Joint: of the six numbers of the (first) pose [deg, mm], then of these.

    Examples
    --------
    >>> import torch
    >>> import xrcore as xr
    >>> covariance = torch.diag(torch.tensor([1.0] * 6 + [25.0]))
    >>> print(xr.Calibration(("source_to_detector",), (1000.0,), (980.0,), (20.0,), covariance))
    source_to_detector 980.0 ± 5.0 mm (given 1000.0 ± 20.0)
    """

    names: tuple[str, ...]
    given: tuple[float, ...]
    found: tuple[float, ...]
    prior: tuple[float, ...]
    covariance: Float[Tensor, "n n"]

    @property
    def standard_deviation(self) -> tuple[float, ...]:
        """Of each estimate, the prior's knowledge included."""
        return tuple(self.covariance.diagonal()[6:].clamp_min(0).sqrt().tolist())

    @property
    def observable(self) -> tuple[bool, ...]:
        """Whether the X-rays tell more of each number than the prior does."""
        return tuple(sd <= _NARROWED * prior for sd, prior in zip(self.standard_deviation, self.prior, strict=True))

    def to_dict(self) -> dict[str, Any]:
        """Name and value of what is known, for files.

        Returns
        -------
        dict
            The attributes by name, as lists.
        """
        lists = {name: list(getattr(self, name)) for name in ("names", "given", "prior", "found", "standard_deviation", "observable")}
        return {**lists, "covariance": self.covariance.tolist()}

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self) -> list[str]:
        """Say each number, with its standard deviation, in a line.

        Returns
        -------
        list of str
            In the order of `names`.
        """
        rows = zip(self.names, self.given, self.found, self.prior, self.standard_deviation, self.observable, strict=True)
        return [
            f"{name} {found:.1f} ± {sd:.1f} {_unit(name)} (given {given:.1f} ± {prior:.1f}{'' if seen else '; not observable'})"
            for name, given, found, prior, sd, seen in rows
        ]


def _unit(name: str) -> str:
    return "mm" if name.startswith(INTRINSICS[0]) else "pixels"


@dataclass(frozen=True)
class Unknown:
    """An intrinsic number to be estimated, of the views of one geometry.

    number: 0 of the distance, 1 and 2 of the principal point's row and column.
    """

    name: str
    number: int
    views: tuple[int, ...]
    given: float
    prior: float


def unknowns_of(caller: str, free: Free | None, views: Sequence[View]) -> tuple[Unknown, ...]:
    """The numbers to be estimated, from what was asked for; views of equal geometry share theirs.

    Raises XrcoreError, naming the caller, for what is no list of intrinsics, and for what a slot scan does not have.
    """
    if free is None:
        return ()
    widths = _widths(caller, free)
    slots = any(isinstance(view.carm, SlotScan) for view in views)
    if slots and INTRINSICS[1] in widths:
        raise XrcoreError(
            f"{caller}: principal_point cannot be free in a SlotScan: along the scan it is the same as moving the patient; "
            f"free {INTRINSICS[0]} alone"
        )
    systems: dict[CArm, list[int]] = {}
    for index, view in enumerate(views):
        systems.setdefault(view.carm, []).append(index)
    found = []
    for carm, members in systems.items():
        of = f" (view{'s' * (len(members) > 1)} {', '.join(str(m + 1) for m in members)})" if len(systems) > 1 else ""
        defaults = (WIDTH * carm.source_to_detector, *[WIDTH * max(carm.shape)] * 2)
        values = (carm.source_to_detector, *carm.center)
        for number, (name, label) in enumerate(_NUMBERS):
            if name in widths:
                width = widths[name]
                prior = defaults[number] if width is None else width
                found.append(Unknown(label + of, number, tuple(members), values[number], prior))
    return tuple(found)


_NUMBERS = ((INTRINSICS[0], INTRINSICS[0]), (INTRINSICS[1], "principal_row"), (INTRINSICS[1], "principal_col"))


def _widths(caller: str, free: object) -> dict[str, float | None]:
    """The prior width asked for of each intrinsic, None for the default."""
    kinds = f"a list of {' and '.join(INTRINSICS)}, or their standard deviations by name"
    require(caller, "free", free, isinstance(free, (Sequence, Mapping)) and not isinstance(free, str) and len(free) > 0, kinds)
    assert isinstance(free, (Sequence, Mapping))
    names = list(free)
    for name in names:
        if name not in INTRINSICS:
            raise XrcoreError(f"{caller}: free must name {' or '.join(INTRINSICS)}, got {shown(name)}")
        if names.count(name) > 1:
            raise XrcoreError(f"{caller}: free names {name} twice")
    if not isinstance(free, Mapping):
        return dict.fromkeys(names)
    for name, width in free.items():
        positive = width is None or (is_number(width) and width > 0)
        require(caller, f"free[{name!r}]", width, positive, "a positive standard deviation, in mm or pixels, or None for the default")
    return {name: None if width is None else float(width) for name, width in free.items()}


def free_from_text(text: str) -> dict[str, float | None]:
    """Read intrinsics as a command takes them, "source-to-detector,principal-point" or with their widths, "source-to-detector=20"."""
    found: dict[str, float | None] = {}
    for part in text.split(","):
        name, equals, width = (piece.strip() for piece in part.partition("="))
        known = name.replace("-", "_")
        if known not in INTRINSICS:
            raise XrcoreError(f"--free: must name {' or '.join(INTRINSICS).replace('_', '-')}, got {shown(name)}")
        if known in found:
            raise XrcoreError(f"--free: names {name} twice")
        try:
            found[known] = float(width) if equals else None
        except ValueError:
            raise XrcoreError(f"--free: the width of {name} must be a number, in mm or pixels, got {shown(width)}") from None
    return found


def changed(views: Sequence[View], unknowns: Sequence[Unknown], changes: Sequence[float]) -> tuple[View, ...]:
    """The views with their cameras' numbers changed; raises XrcoreError where these make no camera."""
    cameras = [(view.carm.source_to_detector, *view.carm.center) for view in views]
    moved = [list(numbers) for numbers in cameras]
    for unknown, change in zip(unknowns, changes, strict=True):
        for index in unknown.views:
            moved[index][unknown.number] += change
    parts = []
    for view, (distance, row, col) in zip(views, moved, strict=True):
        carm = replace(view.carm, source_to_detector=distance, principal_point=(row, col))
        parts.append(replace(view, xray=replace(view.xray, carm=carm)))
    return tuple(parts)
