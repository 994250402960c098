"""Register one rigid body that several calibrated cameras see at one instant."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from jaxtyping import Float
from torch import Tensor

from xrcore._util.errors import XrcoreError, require
from xrcore.beam import Beam
from xrcore.ct.volume import Volume
from xrcore.geometry import Pose
from xrcore.registration.events import Events, Step, StopReason, WorkClock, finish, working
from xrcore.registration.refinement import check_images
from xrcore.registration.search import SearchBox
from xrcore.registration.solvers.descent import Descent
from xrcore.registration.solvers.outcome import covariance_of, stop_reason_of
from xrcore.registration.view import View, rigid_matrix
from xrcore.registration.view_pyramid import ViewPyramid, ViewSettings, cropped


@dataclass(frozen=True)
class ViewsRegistration:
    """Where a body was found in several views.

    Parameters
    ----------
    rig_from_ct : Float[Tensor, "4 4"]
        The CT's LPS world into the rig [mm].
    poses : tuple of Pose
        Each view's own.
    similarity : float
        Mean over the views.
    similarities : tuple of float
        Of each view.
    covariance : Float[Tensor, "6 6"] or None
        Of the first view's six numbers [deg, mm], least squares' own, too small where residuals are not independent; infinite along
        directions that no view shows.
    stop_reason : StopReason
        Why the search ended.
    evaluations : int
        DRRs rendered.
    seconds : float
        Of work, without that of those who watched.
    """

    rig_from_ct: Float[Tensor, "4 4"]
    poses: tuple[Pose, ...]
    similarity: float
    similarities: tuple[float, ...]
    covariance: Float[Tensor, "6 6"] | None
    stop_reason: StopReason
    evaluations: int
    seconds: float = 0.0


def register_views(
    views: Sequence[View],
    volume: Volume,
    start: Float[Tensor, "4 4"],
    *,
    box: SearchBox | None = None,
    settings: ViewSettings | None = None,
    beam: Beam | None = None,
    watch: Callable[[Step], None] | None = None,
) -> ViewsRegistration:
    """Find one rigid body in all views at once, by Levenberg-Marquardt on the sum of their residuals, coarse to fine.

    Only the body's shadow and a margin around it count, so that other bones disturb little; it follows the pose. Candidates are always
    compared over the same pixels.

    Parameters
    ----------
    views : sequence of View
        One or more, of one instant.
    volume : Volume
        The body.
    start : Float[Tensor, "4 4"]
        rig_from_ct: the CT's LPS world into the rig [mm].
    box : SearchBox, optional
        A net of starts about `start`, in the first view's six numbers, judged on the coarsest level; default the start alone.
    settings : ViewSettings, optional
        How to search.
    beam : Beam, optional
        The one assumed; default 90 kV.
    watch : callable, optional
        Called with the best `Step` of its level so far, after each iteration; its pose is the first view's.

    Returns
    -------
    ViewsRegistration
        Where the body was found.

    Raises
    ------
    XrcoreError
        If an argument makes no sense, or the body is not in every view.
    """
    caller = "register_views"
    require(caller, "views", views, isinstance(views, Sequence) and len(views) > 0, "a list of at least one View")
    views = list(views)
    for view in views:
        require(caller, "views", view, isinstance(view, View), "View objects")
    check_images(caller, views[0].xray, volume, beam)
    placed = rigid_matrix(start)
    if placed is None:
        raise XrcoreError(f"{caller}: start must be rig_from_ct, a rigid 4x4 matrix")
    require(caller, "box", box, box is None or isinstance(box, SearchBox), "a SearchBox")
    require(caller, "watch", watch, watch is None or callable(watch), "a function that takes a Step")
    require(caller, "settings", settings, settings is None or isinstance(settings, ViewSettings), "ViewSettings")
    settings = ViewSettings() if settings is None else settings
    box = SearchBox(candidates=1) if box is None else box
    clock = WorkClock()
    result = finish(working(_registration(views, volume, placed, box, settings, Beam() if beam is None else beam), clock), watch)
    return replace(result, seconds=clock())


def _registration(
    views: Sequence[View], volume: Volume, start: Float[Tensor, "4 4"], box: SearchBox, settings: ViewSettings, beam: Beam
) -> Events[ViewsRegistration]:
    poses = box.poses(views[0].pose(start, volume))
    views = [replace(view, xray=view.xray.to(volume.device)) for view in views]
    views = [cropped(view, volume, view.pose(views[0].rig_from_ct(poses, volume), volume), settings.levels[0].margin) for view in views]
    pyramid = ViewPyramid(views, volume, beam, settings)
    poses = pyramid.best(poses, settings.survivors[0], pyramid.whole(0))

    def choose(level: int, descent: Descent) -> Pose:
        following = level + 1
        if following not in pyramid.levels:
            return pyramid.best(descent.pose, 1, pyramid.problem(level, descent.pose))
        keep = settings.survivors[min(following, len(settings.survivors) - 1)]
        return pyramid.best(descent.pose, keep, pyramid.problem(following, descent.pose))

    course = yield from pyramid.descend(poses, choose=choose)
    best = course.poses
    final = pyramid.problem(pyramid.levels[-1], best)
    values, normal = final.values(best)[0], final.normal_equations(best)
    return ViewsRegistration(
        rig_from_ct=views[0].rig_from_ct(best, volume)[0],
        poses=tuple(final.poses(best)),
        similarity=float(values.mean()),
        similarities=tuple(values.tolist()),
        covariance=covariance_of(normal, 0),
        stop_reason=stop_reason_of(normal, 0, bool(course.descent.converged.all()), bool(course.descent.left.any())),
        evaluations=pyramid.evaluations,
    )
