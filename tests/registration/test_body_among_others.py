"""A bone cut out of its CT, in X-rays that show its neighbours as well."""

from __future__ import annotations

from dataclasses import replace

import pytest
import roma
import torch
from torch.testing import assert_close

from xrcore._util.errors import XrcoreError
from xrcore.beam import Beam
from xrcore.ct.volume import Volume
from xrcore.geometry import CArm, Pose, rigid
from xrcore.registration.body_window import body_windows, fitted
from xrcore.registration.events import Step, WorkClock, finish, working
from xrcore.registration.joint_problem import JointProblem
from xrcore.registration.open_direction import direction_left_open, open_note, settled
from xrcore.registration.pipeline import register
from xrcore.registration.problem import Problem
from xrcore.registration.pyramid import XrayPyramid
from xrcore.registration.refinement import refine
from xrcore.registration.result import Registration
from xrcore.registration.search import SearchBox
from xrcore.registration.settings import EDGE_PYRAMID, Level
from xrcore.registration.solvers.gauss_newton import GaussNewton
from xrcore.registration.solvers.lbfgs import LBFGS
from xrcore.registration.view import View
from xrcore.renderer import render
from xrcore.xray.image import Xray

pytestmark = pytest.mark.usefixtures("one_thread")

BEAM = Beam.monochromatic(60.0)
CARMS = (
    CArm(source_to_detector=1400, source_to_isocenter=900, shape=(160, 144), pixel_spacing=1.5),
    CArm(source_to_detector=1500, source_to_isocenter=1100, shape=(160, 144), pixel_spacing=1.4, principal_point=(78.0, 73.0)),
)


def matrix(rotation: tuple[float, ...], translation: tuple[float, ...]) -> torch.Tensor:
    turned = roma.rotvec_to_rotmat(torch.deg2rad(torch.tensor(rotation, dtype=torch.float64)))
    return rigid.rigid(turned, torch.tensor(translation, dtype=torch.float64))


# the second camera looks across the first one
CAMERAS = (matrix((0, 0, 0), (0.0, 0.0, 900.0)), matrix((4.0, 95.0, -3.0), (5.0, -4.0, 1100.0)))
# the body's up is the image's up, then a few degrees away
TRUTH = matrix((6.0, -9.0, 4.0), (3.0, -2.0, 5.0)) @ matrix((90.0, 0, 0), (0, 0, 0))


@pytest.fixture(scope="module")
def body():
    """A bent, tapering tube with a knob: no symmetry."""
    z, y, x = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) - (n - 1) / 2 for n in (60, 40, 40)), indexing="ij")
    radius = 6 + 5 * torch.sigmoid((z - 12) / 4)
    reach = torch.hypot(x - 0.004 * z**2, (y + 0.1 * z) * 1.4)
    tube = torch.sigmoid(2 * (radius - reach)) - 0.7 * torch.sigmoid(2 * (radius - 3 - reach))
    knob = torch.sigmoid(2 * (4 - torch.sqrt((x - 12) ** 2 + (y - 5) ** 2 + (z - 20) ** 2)))
    inside = (z.abs() < 27).double()
    density = (1.2 * torch.maximum(tube, knob) * inside).float()
    density[density < 0.01] = 0
    offset = torch.eye(4, dtype=torch.float64)
    offset[:3, 3] = -torch.tensor([19.5, 19.5, 29.5], dtype=torch.float64)
    return Volume(density=density[None], materials=("bone",), world_from_voxel=offset)


def seen(body, *places) -> tuple[View, ...]:
    """What the cameras see of the same body at several places."""
    found = []
    for carm, camera in zip(CARMS, CAMERAS, strict=True):
        shadows = [render(body, carm, Pose.from_camera_from_world(camera @ at, carm, body.isocenter), BEAM)[0] for at in places]
        found.append(View(xray=Xray(image=torch.stack(shadows).sum(0), carm=carm, bone_bright=True), camera_from_rig=camera))
    return tuple(found)


@pytest.fixture(scope="module")
def views(body):
    return seen(body, TRUTH)


def moved(rotation: tuple[float, ...], translation: tuple[float, ...]) -> torch.Tensor:
    return matrix((0, 0, 0), translation) @ TRUTH @ matrix(rotation, (0, 0, 0))


def apart(a, body) -> tuple[float, float]:
    points = body.surface_points(24)
    distance = (rigid.apply(a, points) - rigid.apply(TRUTH, points)).norm(dim=1).mean()
    return float(distance), float(torch.rad2deg(rigid.angle_between(a, TRUTH)))


def found_from(views, body, start, **options):
    return register(views, body, views[0].pose(start, body), beam=BEAM, retries=0, **options)


def test_both_views_find_it_beside_its_neighbour(body):
    beside = matrix((0, 0, 0), (-20.0, 2.0, -14.0)) @ TRUTH @ matrix((0.0, 0.0, 70.0), (0, 0, 0))
    views = seen(body, TRUTH, beside)
    start = moved((6.0, -5.0, 7.0), (5.0, -4.0, 6.0))
    assert apart(start, body)[0] > 6
    method = GaussNewton(tolerance=0.02)
    result = found_from(views, body, start, method=method, search=SearchBox(candidates=1))
    distance, angle = apart(result.rig_from_ct(), body)
    assert distance < 0.5
    assert angle < 1.5


def test_starts_about_the_start_are_searched(body, views):
    far = moved((14.0, -12.0, 12.0), (8.0, -7.0, 8.0))
    box = SearchBox(rotation=(20, 20, 20), translation=(10, 10, 10), candidates=48)
    assert apart(found_from(views, body, far, search=box).rig_from_ct(), body)[0] < 0.3


def test_levels_of_a_cut_out_bone_look_at_it_alone(body, views):
    near = views[0].pose(TRUTH, body)
    settings = fitted(GaussNewton(levels=EDGE_PYRAMID), views, body_windows(views, body, near), body)
    margins = [level.margin for level in settings.levels]
    assert margins == sorted(margins, reverse=True)
    pyramid = XrayPyramid(views, body, BEAM, settings)
    shown = [problem.xray.mask for problem, _ in pyramid.problem(3, near).each(near)]
    alone = [render(body, view.carm, view.pose(TRUTH, body), BEAM)[0] > 0.2 for view in views]
    for mask, shadow in zip(shown, alone, strict=True):
        assert mask[shadow].all()
        assert mask.float().mean() < 0.5
    assert all(problem.xray.mask.all() for problem, _ in pyramid.problem(3).each(near))


def test_a_margin_can_be_chosen_and_is_kept(body, views):
    levels = (Level(pixels=48, spacing=2.0, similarity="gradient-zncc", iterations=8, margin=9.0),)
    windows = body_windows(views, body, views[0].pose(TRUTH, body))
    assert fitted(GaussNewton(levels=levels), views, windows, body).levels[0].margin == 9.0
    with pytest.raises(XrcoreError, match="margin must be positive"):
        Level(pixels=48, spacing=2.0, iterations=8, margin=0.0)


def test_ends_are_compared_over_the_same_pixels(body, views):
    """The one that sees a smaller region fits it better, which means nothing."""
    levels = (Level(pixels=96, spacing=1.0, similarity="gradient-zncc", iterations=0, margin=2.0),)
    pyramid = XrayPyramid(views, body, BEAM, GaussNewton(levels=levels))
    poses = Pose.cat([views[0].pose(at, body) for at in (moved((0, 0, 0), (9.0, 0, 0)), TRUTH)])
    course = finish(working(pyramid.descend(poses), WorkClock()), None)
    order = pyramid.order(0, course.descent)
    common = pyramid.problem(0, poses).value(poses)
    assert order.tolist() == common.argsort(descending=True).tolist()
    assert order[0] == 1


def test_descents_together_are_compared_over_the_same_pixels(body, views):
    levels = (Level(pixels=96, spacing=1.0, similarity="gradient-zncc", iterations=0, margin=2.0),)
    pyramid = XrayPyramid(views, body, BEAM, GaussNewton(levels=levels))
    poses = Pose.cat([views[0].pose(at, body) for at in (moved((0, 0, 0), (9.0, 0, 0)), TRUTH)])
    course = finish(working(pyramid.descend(poses, together=True), WorkClock()), None)
    assert_close(course.descent.value, pyramid.problem(0, poses).value(poses).to(course.descent.value))


def displaced_in_depth(body, view: View, shift: float, deviation: float) -> Registration:
    """An answer of one view that is so far off along the ray, as it may be by its covariance [mm]."""
    level = Level(pixels=32, spacing=4.0, similarity="gradient-zncc", iterations=1)
    found = refine([view], body, view.pose(TRUTH, body), GaussNewton(levels=(level,)), BEAM)
    place = view.pose(TRUTH, body).camera_from_world(view.carm, body.isocenter)[0]
    center = rigid.apply(place, body.isocenter[None])[0]
    place[:3, 3] += shift * center / center.norm()
    axis = place[2, :3] @ torch.tensor([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]], dtype=torch.float64)  # by tx, ty, tz
    covariance = 0.2**2 * torch.eye(6, dtype=torch.float64)
    covariance[3:, 3:] += deviation**2 * axis[:, None] * axis
    return replace(found, pose=Pose.from_camera_from_world(place, view.carm, body.isocenter), covariance=covariance)


def test_the_open_direction_is_the_depth(body, views):
    answer = displaced_in_depth(body, views[0], 0.0, 20.0)
    direction, size = direction_left_open(answer, body)
    assert size == pytest.approx(20, abs=0.5)
    there = Pose(answer.pose.numbers + direction).camera_from_world(CARMS[0], body.isocenter)
    here = answer.pose.camera_from_world(CARMS[0], body.isocenter)
    step = rigid.apply(there, body.isocenter[None]) - rigid.apply(here, body.isocenter[None])
    assert step[0, 0].abs().tolist() == pytest.approx([0, 0, 20], abs=1.5)
    assert "± 20 mm" in open_note(answer, body)[0]
    certain = displaced_in_depth(body, views[0], 0.0, 3.0)
    assert direction_left_open(certain, body) is None
    assert open_note(certain, body) == ()


def test_a_better_depth_is_found_along_the_open_direction(body, views):
    wrong = displaced_in_depth(body, views[0], 36.0, 18.0)
    level = Level(pixels=96, spacing=1.0, similarity="gradient-zncc", iterations=0, margin=2.0)  # an optimum that descents do not leave
    settings = GaussNewton(levels=(level, level))
    found = finish(working(settled(wrong, body, BEAM, settings), WorkClock()), None)
    assert apart(wrong.rig_from_ct(), body)[0] > 35
    assert apart(found.rig_from_ct(), body)[0] < 1.5
    assert found.similarity > 0.95
    assert found.evidence is not None
    certain = replace(wrong, covariance=wrong.covariance / 100)
    assert finish(working(settled(certain, body, BEAM, settings), WorkClock()), None) is certain


def test_depths_that_nothing_tells_apart_are_looked_for_within_reach(body, views):
    answer = displaced_in_depth(body, views[0], 5.0, 1e6)
    level = Level(pixels=48, spacing=2.0, similarity="gradient-zncc", iterations=1, margin=4.0)
    found = finish(working(settled(answer, body, BEAM, GaussNewton(levels=(level,))), WorkClock()), None)
    assert found.similarity > 0.9


def test_other_methods_keep_their_answer_where_depth_is_open(body, views, monkeypatch):
    monkeypatch.setattr("xrcore.registration.open_direction._OPEN", 0.01)
    start = views[0].pose(moved((0.5, 0.0, 0.0), (0.0, 0.5, 0.0)), body)
    method = LBFGS(pixels=96, spacing=2.0, iterations=3)
    alone = refine(views[0].xray, body, start, method, beam=BEAM)
    result = register(views[0].xray, body, start, method, beam=BEAM, retries=0)
    assert_close(result.pose.numbers, alone.pose.numbers)
    assert "depth open" in result.notes[-1]


def test_steps_of_one_descent_are_not_compared_with_those_of_another(body, views):
    near = views[0].pose(TRUTH, body)
    far = views[0].pose(moved((12.0, 0.0, 0.0), (8.0, 0.0, 0.0)), body)
    levels = (Level(pixels=48, spacing=2.0, similarity="gradient-zncc", iterations=1, margin=8.0),)
    pyramid = XrayPyramid(views, body, BEAM, GaussNewton(levels=levels))

    def last_step(poses: Pose) -> Step:
        *_, last = (event for event in working(pyramid.descend(poses), WorkClock()) if isinstance(event, Step))
        return last

    assert_close(last_step(Pose.cat([near, far])).pose.numbers, last_step(far).pose.numbers)


def test_the_joint_problem_of_one_view_is_the_problem(body, views):
    pose = views[1].pose(moved((2.0, 1.0, -2.0), (1.0, 1.0, 1.0)), body)
    joint = JointProblem(views[1:], body, BEAM, "gradient-zncc").normal_equations(pose)
    single = Problem(views[1].xray, body, BEAM, "gradient-zncc").normal_equations(pose)
    for name in ("value", "gradient", "hessian"):
        assert_close(getattr(joint, name), getattr(single, name), rtol=1e-5, atol=1e-9)


def test_the_joint_gradient_is_the_slope_of_the_mean(body, views):
    problem = JointProblem(views, body, BEAM, "zncc")
    pose = views[0].pose(moved((2.0, 3.0, -2.0), (1.5, -1.0, 2.0)), body)
    normal = problem.normal_equations(pose)
    step = 0.05
    for i in range(6):
        nudge = torch.zeros(1, 6, dtype=torch.float64)
        nudge[0, i] = step
        slope = (problem.value(Pose(pose.numbers + nudge)) - problem.value(Pose(pose.numbers - nudge))) / (2 * step)
        assert_close(-normal.gradient[:, i], slope, rtol=0.05, atol=0.01 * float(normal.gradient.abs().max()))


@pytest.mark.parametrize("matrix_", [torch.eye(3), 2 * torch.eye(4), [0] * 6])
def test_a_camera_that_does_not_stand_anywhere_is_refused(views, matrix_):
    with pytest.raises(XrcoreError, match="rigid 4x4"):
        View(xray=views[0].xray, camera_from_rig=matrix_)
