"""Results: Registration, and the Evidence for its pose."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jaxtyping import Float
from torch import Tensor

from xrcore.geometry import Pose, SlotScan, rigid
from xrcore.geometry.pose import NAMES
from xrcore.registration.calibration import Calibration
from xrcore.registration.events import Step, StopReason
from xrcore.registration.settings import RefinementSettings
from xrcore.registration.similarities import similarity as named_similarity
from xrcore.registration.solvers.outcome import Outcome
from xrcore.registration.view import View
from xrcore.xray.image import Xray

if TYPE_CHECKING:
    from xrcore.beam import Beam
    from xrcore.ct.volume import Volume


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Measures that `register` verifies a pose by; see `registration.verify`.

    Parameters
    ----------
    agreement : float
        Share of the X-ray's detail that is found on the DRR near where the pose puts it: within 3 mm at the isocentre, or 3 pixels of an
        image shrunk to 256 if these are less, but 1.5 pixels in any case.
    displacement : float
        Median distance of that detail from where the pose puts it, as a share of the same 3 mm or 3 pixels.
    likeness : float
        Local ZNCC there, over that of where each block fits best.
    blocks : float
        How many blocks, of an eighth of the image and 16 to 32 pixels, there is detail for.
    deviation : float
        Standard deviation of where landmarks are drawn, across the ray at their depth, along one axis [mm].
    placement : float
        Logarithm of how much likelier a right pose than a wrong one ends so near to where the files themselves place the X-ray in the CT's
        space, as CT localizers do; 0 where they do not say it, or it is not near.
    distance_off, distance_deviation : float
        By how much the X-rays say that source_to_detector is off, as a share of it, and the standard deviation of that.
    rivals : float
        Odds of other poses from which a nearly symmetric body looks alike, by their own evidence; 0 where there are none.
    rival_turned : float
        By how much the body is turned in the likeliest of them [deg].
    view : int, optional
        Which of several views contradicts the pose, so that these are its measures; counted from 1.
    """

    agreement: float
    displacement: float
    likeness: float
    blocks: float
    deviation: float
    placement: float = 0.0
    distance_off: float = 0.0
    distance_deviation: float = math.inf
    rivals: float = 0.0
    rival_turned: float = 0.0
    view: int | None = None


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Registration:
    """Result of `register`, and of every method of `refine`.

    Parameters
    ----------
    pose : Pose
        The best pose met; of several views, the first one's.
    similarity : float
        Its value; of several views, their mean.
    covariance : Float[Tensor, "6 6"] or None
        Of the six numbers [deg, mm], infinite along directions that the X-ray does not show; None where the similarity has no
        residual, or nothing is known of any number.
    stop_reason : StopReason
        Why the search ended.
    initial : Pose
        Where it started.
    method : str
        Of the last refinement: "gauss-newton", "adam", "lbfgs", "cma-es" or "powell".
    similarity_name : str
        What was climbed last.
    evaluations : int
        DRRs rendered.
    views : tuple of View
        The X-rays as registered: bone bright, even if it was not so in the file; of one X-ray alone, it.
    isocenter : Float[Tensor, "3"]
        The CT's, which poses are about: LPS [mm].
    seconds : float
        Of work, without that of those who watched.
    history : tuple of Step
        Each level's steps that were its best so far.
    inverted : bool
        Whether the (first) X-ray was inverted (bone dark) and its grey values were negated.
    attempts : int
        Searches made.
    evidence : Evidence or None
        What the verdict rests on; None for a bare refinement.
    confidence : float
        Probability that landmarks are drawn within 2 mm of their place, across the ray at their depth; 0 for a bare refinement.
    trusted : bool
        The verdict of `register`: whether the confidence is high enough; a bare refinement is never trusted, since nobody checked it.
    reasons : tuple of str
        What spoke against trusting it, and what to do.
    notes : tuple of str
        Remarks for the user.
    stages : dict of str to float
        Seconds of each part of the work.
    device : str
        Where `register` rendered and refined.
    calibration : Calibration or None
        Of the intrinsics that were free; the views then have the cameras found, and `covariance` is the pose's part of the joint one.
    drr : Float[Tensor, "h w"] or None
        The DRR at the pose that the verdict rests on, on the grid of the (first) X-ray shrunk to 128 pixels; None for a bare refinement.
    """

    pose: Pose
    similarity: float
    covariance: Float[Tensor, "6 6"] | None
    stop_reason: StopReason
    initial: Pose
    method: str
    similarity_name: str
    evaluations: int
    views: tuple[View, ...]
    isocenter: Float[Tensor, "3"]
    seconds: float = 0.0
    history: tuple[Step, ...] = ()
    inverted: bool = False
    attempts: int = 1
    evidence: Evidence | None = None
    confidence: float = 0.0
    trusted: bool = False
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    stages: dict[str, float] = field(default_factory=dict)
    device: str = ""
    calibration: Calibration | None = None
    drr: Float[Tensor, "h w"] | None = None

    @classmethod
    def of(cls, outcome: Outcome, settings: RefinementSettings, **known: Any) -> Registration:
        """Of what a solver found.

        Parameters
        ----------
        outcome : Outcome
            Pose, similarity, covariance, stop reason and history.
        settings : RefinementSettings
            What it was found with last.
        **known : Any
            The other parameters of the class, `initial`, `evaluations`, `views` and `isocenter` among them.

        Returns
        -------
        Registration
            Neither timed nor judged.
        """
        name = named_similarity(settings.levels[-1].similarity).name
        return cls(**vars(outcome), method=settings.method, similarity_name=name, **known)

    @property
    def xray(self) -> Xray:
        """The first X-ray as registered."""
        return self.views[0].xray

    def poses(self) -> tuple[Pose, ...]:
        """Each view's own pose of the body.

        Returns
        -------
        tuple of Pose
            One for each view.
        """
        placed = self.rig_from_ct()
        more = (Pose.from_camera_from_world(view.camera_from_rig @ placed, view.carm, self.isocenter) for view in self.views[1:])
        return (self.pose, *more)

    def rig_from_ct(self) -> Float[Tensor, "4 4"]:
        """Where the body is: the CT's LPS world into the rig [mm], which for one X-ray alone is its camera.

        Returns
        -------
        Float[Tensor, "4 4"]
            Rigid.
        """
        first = self.views[0]
        return (rigid.invert(first.camera_from_rig) @ self.pose.camera_from_world(first.carm, self.isocenter))[0]

    def save(self, folder: str | os.PathLike[str], volume: Volume | None = None, beam: Beam | None = None) -> None:
        """Write what `xrcore register` writes: all of it, or nothing.

        registration.json, and of each view the ITK transform camera_from_ct.tfm, the picture overlay.png, and registered_xray.tif.

        Parameters
        ----------
        folder : path
            Made if it does not exist.
        volume : Volume, optional
            What was registered; with it overlay.png shows start, result and difference in full.
        beam : Beam, optional
            For that picture; default 90 kV.

        Raises
        ------
        XrcoreError
            If the folder cannot be written.
        """
        from xrcore.registration.registration_files import write_registration

        write_registration(folder, self, volume, beam)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Registration:
        """Read what `save` or `xrcore register` wrote.

        Parameters
        ----------
        folder : path
            That holds registration.json and the files beside it.

        Returns
        -------
        Registration
            The same result but for `drr`, which is None; its X-rays are those that were registered, without notes and what their files
            said of poses.

        Raises
        ------
        XrcoreError
            Naming the file that is missing, damaged, or of another registration.
        """
        from xrcore.registration.registration_loading import load_registration

        return load_registration(folder)

    @property
    def standard_deviation(self) -> tuple[float, ...] | None:
        """Of rx, ry, rz [deg], tx, ty, tz [mm]; infinite where the X-ray does not tell."""
        if self.covariance is None:
            return None
        return tuple(self.covariance.diagonal().clamp_min(0).sqrt().tolist())

    @property
    def assumption(self) -> str:
        """What is taken on trust of a single view's geometry: how an error of it shows in the depth; empty where that was estimated."""
        carm = self.views[0].carm
        if len(self.views) > 1 or self.calibration is not None or isinstance(carm, SlotScan):
            return ""
        depth = float(rigid.apply(self.pose.camera_from_world(carm, self.isocenter)[0], self.isocenter[None].double().cpu())[0, 2])
        return f"{depth / 100:.1f} mm more of depth for each % that source_to_detector is too large"

    @property
    def verdict(self) -> str:
        """Whether to trust the pose, how confidently, and what speaks against it."""
        if self.evidence is None:
            return "not judged (a bare refinement)"
        confidence = f"(confidence {self.confidence:.2f})"
        return f"trusted {confidence}" if self.trusted else f"NOT trusted {confidence}: {'; '.join(self.reasons)}"

    def __repr__(self) -> str:
        numbers = self.pose.numbers[0].tolist()
        deviations = self.standard_deviation or (None,) * 6
        shown = [
            f"{name} {value:.2f}" + ("" if deviation is None else f" ± {deviation:.2g}")
            for name, value, deviation in zip(NAMES, numbers, deviations, strict=True)
        ]
        return "\n".join(
            (
                f"Registration: {', '.join(shown[:3])} deg",
                f"  {', '.join(shown[3:])} mm{f' ({self.assumption})' if self.assumption else ''}",
                *(f"  {line}" for line in (self.calibration.lines() if self.calibration else ())),
                f"  {self.verdict}",
                f"  {self.similarity_name} {self.similarity:.4f}, {self.method}: {self.stop_reason}, {self.seconds:.2f} s",
            )
        )

    def _repr_html_(self) -> str:
        """The overlay and the text, for a notebook."""
        from xrcore.registration.pictures import overlay_html

        return overlay_html(self)
