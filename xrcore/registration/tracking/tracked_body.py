"""A body in one frame: how it looks there, refined from a start near it, and checked."""

from __future__ import annotations

from dataclasses import dataclass, replace

from xrcore.beam import Beam
from xrcore.ct.volume import Volume
from xrcore.geometry import Pose
from xrcore.registration.ambiguity import evidence_with_rivals
from xrcore.registration.body_window import body_windows, cut, fitted
from xrcore.registration.events import finish
from xrcore.registration.grey_values import GreyCurve, grey_curve, with_attenuation
from xrcore.registration.joint_problem import poses_in_views
from xrcore.registration.problem import shrink
from xrcore.registration.refinement import refine_in_turn
from xrcore.registration.result import Registration
from xrcore.registration.similarities.base import fit_for
from xrcore.registration.similarities.gradient_zncc import GradientZNCC
from xrcore.registration.solvers.gauss_newton import GaussNewton
from xrcore.registration.tracking.result import TrackedFrame
from xrcore.registration.verify import confidence, failed_checks, gather_evidence
from xrcore.registration.view import View
from xrcore.renderer import render

_PIXELS = 64  # of the images that tell how grey values were mapped


@dataclass(frozen=True, eq=False)
class Appearance:
    """What a frame whose pose is known says of those after it.

    Parameters
    ----------
    curves : tuple of GreyCurve
        For each view.
    settings : GaussNewton
        With levels as fine as the body is small.
    """

    curves: tuple[GreyCurve, ...]
    settings: GaussNewton

    def mapped(self, views: tuple[View, ...]) -> tuple[View, ...]:
        """The views, whole or cut, with their grey values mapped to attenuation."""
        return tuple(replace(v, xray=with_attenuation(v.xray, curve)) for v, curve in zip(views, self.curves, strict=True))


@dataclass(frozen=True, eq=False)
class TrackedBody:
    """A body that is looked for in frames, of which none is remembered.

    Parameters
    ----------
    volume : Volume
        The body.
    settings : GaussNewton
        The levels of a frame's refinement, for X-rays of a whole body.
    beam : Beam
        The one assumed.
    """

    volume: Volume
    settings: GaussNewton
    beam: Beam

    def appearance(self, views: tuple[View, ...], pose: Pose) -> Appearance:
        """How the body looks in a frame where its pose is known."""
        windows = body_windows(views, self.volume, pose)
        settings = fitted(self.settings, views, windows, self.volume)
        sharp = self.volume.coarser(settings.levels[-1].spacing)
        curves = []
        for view, part, own in zip(views, cut(views, windows), poses_in_views(pose, views, self.volume), strict=True):
            small = shrink(view.xray, _PIXELS)
            curves.append(grey_curve(small, render(sharp, small.carm, own, self.beam)[0], self._is_inverted(part, sharp, own)))
        return Appearance(tuple(curves), settings)

    def _is_inverted(self, view: View, sharp: Volume, pose: Pose) -> bool:
        """Whether bone is dark, by the edges in the body's window: beside a small body, most grey values are not of it."""
        if view.xray.bone_bright:
            return False
        small = shrink(view.xray, _PIXELS)
        drr = render(sharp, small.carm, pose, self.beam)
        return float(fit_for(drr.device, GradientZNCC(), small.image, small.mask).value(drr)[0]) < 0

    def refined(self, views: tuple[View, ...], start: Pose, looks: Appearance) -> Registration:
        """The pose near a start."""
        near = looks.mapped(cut(views, body_windows(views, self.volume, start)))
        return finish(refine_in_turn(near, self.volume, start, (looks.settings,), self.beam, report=False))

    def checked(self, views: tuple[View, ...], looks: Appearance, found: TrackedFrame) -> TrackedFrame:
        """The frame with the verdict on its own evidence."""
        mapped = looks.mapped(views)
        evidence, covariance, _ = gather_evidence(mapped, self.volume, found.pose, self.beam)
        evidence = finish(evidence_with_rivals(evidence, mapped, self.volume, found.pose, self.beam, looks.settings))
        reasons = failed_checks(evidence)
        return replace(found, covariance=covariance, confidence=confidence(evidence), trusted=not reasons, reasons=reasons, checked=True)

    def searched(self, views: tuple[View, ...], result: Registration) -> TrackedFrame:
        """A frame that was registered, refined and checked as all are, so that their similarities compare."""
        looks = self.appearance(views, result.pose)
        refined = self.refined(views, result.pose, looks)
        found = TrackedFrame(
            pose=result.pose,
            covariance=result.covariance,
            similarity=refined.similarity,
            confidence=result.confidence,
            trusted=result.trusted,
            reasons=result.reasons,
            searched=True,
        )
        checked = self.checked(views, looks, replace(found, pose=refined.pose))
        # where the refinement left the pose that was trusted, its similarity says nothing of that pose
        return checked if checked.trusted or not found.trusted else replace(found, similarity=0.0)
