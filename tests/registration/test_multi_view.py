"""Registration of one body in several calibrated views."""

from __future__ import annotations

import pytest
import roma
import torch
from torch.testing import assert_close

from companion.studies.wrist.wrist_views import disagreement
from xrcore._util.errors import XrcoreError
from xrcore.beam import Beam
from xrcore.ct.volume import Volume
from xrcore.geometry import CArm, Pose, rigid
from xrcore.registration.events import Step, WorkClock, working
from xrcore.registration.joint_problem import JointProblem
from xrcore.registration.multi_view import register_views
from xrcore.registration.problem import Problem
from xrcore.registration.search import SearchBox
from xrcore.registration.similarities import GradientZNCC
from xrcore.registration.view import View
from xrcore.registration.view_pyramid import ViewLevel, ViewPyramid, ViewSettings
from xrcore.renderer import render
from xrcore.xray.image import Xray

pytestmark = pytest.mark.usefixtures("one_thread")

BEAM = Beam.monochromatic(60.0)
CARMS = (
    CArm(source_to_detector=1400, source_to_isocenter=900, shape=(96, 80), pixel_spacing=1.5),
    CArm(source_to_detector=1500, source_to_isocenter=1100, shape=(96, 80), pixel_spacing=1.4, principal_point=(46.0, 41.0)),
)
SETTINGS = ViewSettings(levels=(ViewLevel(pixel=2.0, spacing=2.0, margin=8.0), ViewLevel(pixel=1.0, spacing=0.0, margin=4.0)))


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


@pytest.fixture(scope="module")
def views(body):
    found = []
    for carm, camera in zip(CARMS, CAMERAS, strict=True):
        pose = Pose.from_camera_from_world(camera @ TRUTH, carm, body.isocenter)
        found.append(View(xray=Xray(image=render(body, carm, pose, BEAM)[0], carm=carm), camera_from_rig=camera))
    return tuple(found)


def moved(rotation: tuple[float, ...], translation: tuple[float, ...]) -> torch.Tensor:
    return matrix((0, 0, 0), translation) @ TRUTH @ matrix(rotation, (0, 0, 0))


def apart(a, body) -> tuple[float, float]:
    points = body.surface_points(24)
    distance = (rigid.apply(a, points) - rigid.apply(TRUTH, points)).norm(dim=1).mean()
    return float(distance), float(torch.rad2deg(rigid.angle_between(a, TRUTH)))


def test_both_views_find_a_known_pose(body, views):
    start = moved((6.0, -5.0, 7.0), (5.0, -4.0, 6.0))
    assert apart(start, body)[0] > 6
    result = register_views(views, body, start, settings=SETTINGS, beam=BEAM)
    distance, angle = apart(result.rig_from_ct, body)
    assert distance < 0.05
    assert angle < 0.1
    assert min(result.similarities) > 0.999
    for view, pose in zip(views, result.poses, strict=True):  # each view's pose says the same
        assert_close(view.rig_from_ct(pose, body)[0], result.rig_from_ct, atol=1e-6, rtol=0)


@pytest.mark.parametrize("order", [(0,), (1,), (1, 0)])
def test_any_choice_of_views_finds_it_in_the_same_rig(body, views, order):
    result = register_views([views[i] for i in order], body, moved((3.0, -2.0, 3.0), (2.0, -2.0, 2.0)), settings=SETTINGS, beam=BEAM)
    distance, angle = apart(result.rig_from_ct, body)
    assert distance < 0.5  # a single view's depth is what is left
    assert angle < 0.3


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


def test_two_views_know_the_depth_that_one_does_not(body, views):
    start = views[0].pose(TRUTH, body)
    one, two = (JointProblem(v, body, BEAM, "gradient-zncc").normal_equations(start).hessian[0, 5, 5] for v in (views[:1], views))
    assert two > 5 * one


def test_starts_about_the_start_are_searched(body, views):
    far = moved((24.0, -20.0, 18.0), (12.0, -9.0, 10.0))
    box = SearchBox(rotation=(30, 30, 30), translation=(15, 15, 15), candidates=96)
    settings = ViewSettings(levels=SETTINGS.levels, survivors=(4, 1))
    assert apart(register_views(views, body, far, box=box, settings=settings, beam=BEAM).rig_from_ct, body)[0] < 0.05


def test_coarser_levels_are_content_with_less(body, views):
    pyramid = ViewPyramid(views, body, BEAM, SETTINGS)
    assert [pyramid.limits(level) for level in pyramid.levels] == [(10, pytest.approx(0.02)), (10, 0.01)]


def test_torch_keeps_to_one_thread_and_steps_can_be_watched(body, views):
    class Asks(GradientZNCC):
        def fit(self, fixed, mask):
            threads.append(torch.get_num_threads())
            return super().fit(fixed, mask)

    threads: list[int] = []
    seen: list[Step] = []
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        levels = (ViewLevel(pixel=2.0, spacing=2.0, margin=8.0, similarity=Asks()),)
        start = moved((3.0, -2.0, 3.0), (2.0, -2.0, 2.0))
        result = register_views(views, body, start, settings=ViewSettings(levels=levels), beam=BEAM, watch=seen.append)
        assert set(threads) == {1}
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert seen
    assert result.seconds > 0


def test_steps_of_one_descent_are_not_compared_with_those_of_another(body, views):
    near = views[0].pose(TRUTH, body)
    far = views[0].pose(moved((12.0, 0.0, 0.0), (8.0, 0.0, 0.0)), body)
    levels = (ViewLevel(pixel=2.0, spacing=2.0, margin=8.0, iterations=1),)
    pyramid = ViewPyramid(views, body, BEAM, ViewSettings(levels=levels))
    *_, last = (event for event in working(pyramid.descend(Pose.cat([near, far])), WorkClock()) if isinstance(event, Step))
    away, from_far = ((last.pose.numbers - pose.numbers).abs().max() for pose in (near, far))
    assert from_far < away


def test_nonsense_is_refused_in_one_line(body, views):
    far = moved((0.0, 0.0, 0.0), (500.0, 0.0, 0.0))
    behind = moved((0.0, 0.0, 0.0), (0.0, 0.0, -2000.0))
    for call, said in (
        (lambda: register_views([], body, TRUTH), "at least one View"),
        (lambda: register_views(views, body, 2 * TRUTH), "rigid"),
        (lambda: register_views(views, body, far), "outside a view"),
        (lambda: register_views(views[:1], body, behind), "behind a camera"),
        (lambda: View(xray=views[0].xray, camera_from_rig=torch.eye(3)), "rigid 4x4"),
        (lambda: ViewLevel(pixel=0.0, spacing=1.0), "pixel"),
        (lambda: ViewLevel(pixel=1.0, spacing=1.0, similarity="wlmi"), "similarity must be one with a residual"),
        (lambda: ViewSettings(levels=[]), "levels must be a tuple"),
        (lambda: register_views(views, body, [0] * 6), "rigid"),
        (lambda: register_views(views, body, TRUTH, box=(10, 10)), "box must be a SearchBox"),
        (lambda: register_views([views[0].xray], body, TRUTH), "views must be View objects"),
        (lambda: register_views(views, "ct.nii", TRUTH), "volume must be a Volume"),
    ):
        with pytest.raises(XrcoreError, match=said) as error:
            call()
        assert "\n" not in str(error.value)


def test_disagreement_is_split_by_what_each_camera_sees(body, views):
    center = rigid.apply(TRUTH, body.surface_points(64)).mean(0)
    axes = []
    for view in views:
        seen = rigid.apply(view.camera_from_rig, center[None])[0]
        axes.append(view.camera_from_rig[:3, :3].T @ (seen / seen.norm()))
    square = torch.linalg.cross(*axes)
    shift = 3 * axes[0] - 2 * axes[1] + 0.5 * square / square.norm()
    split = disagreement(moved((0.0, 0.0, 0.0), tuple(shift.tolist())), TRUTH, body, *views)
    wanted = {"depth_1_mm": 3.0, "depth_2_mm": 2.0, "out_of_depth_mm": 0.5, "angle_deg": 0.0, "distance_mm": float(shift.norm())}
    assert {name: split[name] for name in wanted} == pytest.approx(wanted, abs=1e-5)
    turned = disagreement(TRUTH @ matrix((0.0, 0.0, 4.0), (0.0, 0.0, 0.0)), TRUTH, body, *views)  # about the body's own z
    assert (turned["angle_deg"], turned["shaft_deg"], turned["tilt_deg"]) == pytest.approx((4.0, 4.0, 0.0), abs=1e-4)
