"""Geometry against an independent construction, closed forms and finite differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.linalg import expm
from scipy.spatial.transform import Rotation
from torch.testing import assert_close

from xrcore._util.errors import XrcoreError
from xrcore.geometry import CArm, Pose, camera_rays, rigid

CARM = CArm(
    source_to_detector=1259.65, source_to_isocenter=742.5, shape=(200, 256), pixel_spacing=(1.5, 1.6875), principal_point=(90.25, 131.5)
)
ISOCENTER = torch.tensor([12.0, -30.0, 250.0], dtype=torch.float64)
LEFT, POSTERIOR, SUPERIOR = torch.eye(3, dtype=torch.float64)


def poses(n: int = 50, seed: int = 0, rotation: tuple[float, float, float] = (89.0, 179.0, 179.0)) -> Pose:
    """All orientations that Euler angles name once."""
    return Pose.random(n, rotation=rotation, translation=(200.0, 200.0, 200.0), generator=torch.Generator().manual_seed(seed))


def pixel(point: torch.Tensor, pose: Pose | None = None) -> torch.Tensor:
    """(row, col) on the detector of a world point given relative to the isocentre."""
    camera = rigid.apply((pose or Pose.zero()).camera_from_world(CARM, ISOCENTER), (ISOCENTER + point)[None])
    return CARM.project(camera)[0, 0]


def vector(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def hat(twist: np.ndarray) -> np.ndarray:
    """4x4 generator of a twist (v, w)."""
    v, (x, y, z) = twist[:3], twist[3:]
    return np.array([[0, -z, y, v[0]], [z, 0, -x, v[1]], [-y, x, 0, v[2]], [0, 0, 0, 0]])


# the zero pose and what each number does


def test_zero_pose_is_ap():
    world_from_camera = Pose.zero().world_from_camera(CARM, ISOCENTER)[0]
    assert_close(world_from_camera[:3, 3], ISOCENTER - 742.5 * POSTERIOR)  # the source is anterior
    assert_close(world_from_camera[:3, :3], torch.stack([LEFT, -SUPERIOR, POSTERIOR], -1))
    assert_close(pixel(torch.zeros(3, dtype=torch.float64)), vector(90.25, 131.5))


def test_zero_pose_shows_the_right_side_on_the_left_and_the_head_up():
    shift = 10 * CARM.magnification
    assert_close(pixel(-10 * LEFT), vector(90.25, 131.5 - shift / 1.6875))
    assert_close(pixel(10 * SUPERIOR), vector(90.25 - shift / 1.5, 131.5))


def test_near_the_source_is_larger():
    assert_close(pixel(10 * LEFT - 42.5 * POSTERIOR), vector(90.25, 131.5 + 10 * 1259.65 / 700 / 1.6875))


def test_tx_moves_the_camera_to_the_patients_left():
    assert_close(pixel(torch.zeros(3, dtype=torch.float64), Pose(tx=10)), vector(90.25, 131.5 - 10 * CARM.magnification / 1.6875))


def test_ty_moves_the_camera_inferior():
    assert_close(pixel(torch.zeros(3, dtype=torch.float64), Pose(ty=10)), vector(90.25 - 10 * CARM.magnification / 1.5, 131.5))


def test_tz_moves_the_camera_posterior():
    assert_close(pixel(10 * LEFT, Pose(tz=42.5)), vector(90.25, 131.5 + 10 * 1259.65 / 700 / 1.6875))


@pytest.mark.parametrize("pose", [Pose(rx=20), Pose(ry=-50), Pose(rz=130), Pose(rx=10, ry=20, rz=30)])
def test_rotations_are_about_the_isocentre(pose):
    assert_close(pixel(torch.zeros(3, dtype=torch.float64), pose), vector(90.25, 131.5))


def test_ry_turns_the_source_to_the_patients_right():
    source = Pose(ry=30).world_from_camera(CARM, ISOCENTER)[0, :3, 3] - ISOCENTER
    assert_close(source, 742.5 * (-math.sin(math.pi / 6) * LEFT - math.cos(math.pi / 6) * POSTERIOR))
    assert_close(pixel(10 * SUPERIOR, Pose(ry=30)), pixel(10 * SUPERIOR))  # its axis is the patient's long axis


def test_rx_turns_the_source_inferior():
    source = Pose(rx=30).world_from_camera(CARM, ISOCENTER)[0, :3, 3] - ISOCENTER
    assert_close(source, 742.5 * (-math.sin(math.pi / 6) * SUPERIOR - math.cos(math.pi / 6) * POSTERIOR))
    assert_close(pixel(10 * LEFT, Pose(rx=30)), pixel(10 * LEFT))  # its axis is the lateral one


def test_rz_turns_the_image_anticlockwise():
    # a point on the right of the image goes up
    shift = 10 * CARM.magnification
    assert_close(pixel(10 * LEFT, Pose(rz=90)), vector(90.25 - shift / 1.5, 131.5))
    source = Pose(rz=77).world_from_camera(CARM, ISOCENTER)[0, :3, 3]
    assert_close(source, ISOCENTER - 742.5 * POSTERIOR)


# the formula


def test_world_from_camera_is_the_documented_product():
    pose = poses()
    outer, inner = np.eye(4), np.eye(4)
    outer[:3, :3] = np.column_stack([(1, 0, 0), (0, 0, -1), (0, 1, 0)])
    outer[:3, 3] = ISOCENTER
    inner[2, 3] = -742.5
    for numbers, actual in zip(pose.numbers.numpy(), pose.world_from_camera(CARM, ISOCENTER), strict=True):
        about_x, about_y, about_z = (
            Rotation.from_rotvec(angle * axis, degrees=True) for angle, axis in zip(numbers, np.eye(3), strict=False)
        )
        middle = np.eye(4)
        middle[:3, :3] = (about_z * about_x * about_y).as_matrix()
        middle[:3, 3] = numbers[3:]
        np.testing.assert_allclose(actual, outer @ middle @ inner, atol=1e-10)


def test_camera_from_world_is_the_inverse():
    pose = poses()
    product = pose.camera_from_world(CARM, ISOCENTER) @ pose.world_from_camera(CARM, ISOCENTER)
    assert_close(product, torch.eye(4, dtype=torch.float64).expand(len(pose), 4, 4), atol=1e-9, rtol=0)


# Pose


def test_pose_survives_its_matrices():
    pose = poses()
    close = {"atol": 1e-8, "rtol": 0}
    assert_close(Pose.from_matrix(pose.matrix()).numbers, pose.numbers, **close)
    assert_close(Pose.from_world_from_camera(pose.world_from_camera(CARM, ISOCENTER), CARM, ISOCENTER).numbers, pose.numbers, **close)
    assert_close(Pose.from_camera_from_world(pose.camera_from_world(CARM, ISOCENTER), CARM, ISOCENTER).numbers, pose.numbers, **close)


@pytest.mark.parametrize("rx", [90.0, -90.0])
def test_gimbal_lock_keeps_the_matrix(rx):
    pose = Pose([[rx, 20.0, 30.0, 1.0, 2.0, 3.0]])
    assert_close(Pose.from_matrix(pose.matrix()).matrix(), pose.matrix(), atol=1e-6, rtol=0)


def test_twists_are_the_derivative():
    pose, step = poses(20), 1e-4
    at = pose.world_from_camera(CARM, ISOCENTER)
    twists = pose.twists(CARM)
    for i in range(6):
        delta = torch.zeros(6, dtype=torch.float64)
        delta[i] = step
        after, before = (Pose(pose.numbers + sign * delta).world_from_camera(CARM, ISOCENTER) for sign in (1, -1))
        generator = rigid.invert(at) @ (after - before) / (2 * step)
        expected = torch.stack([torch.from_numpy(hat(t)) for t in twists[:, :, i].numpy()])
        assert_close(generator, expected, atol=1e-7, rtol=0)


def test_moved_composes_on_the_right():
    pose = poses(20)
    twist = torch.randn(20, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * vector(20, 20, 20, 0.3, 0.3, 0.3)
    expected = pose.world_from_camera(CARM, ISOCENTER).numpy() @ np.stack([expm(hat(t)) for t in twist.numpy()])
    np.testing.assert_allclose(pose.moved(twist, CARM).world_from_camera(CARM, ISOCENTER), expected, atol=1e-8)


def test_moved_and_twists_agree():
    # to first order, moving by twists @ d is adding d
    pose = poses(20, rotation=(40.0, 40.0, 40.0))
    d = 1e-4 * torch.randn(20, 6, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    moved = pose.moved((pose.twists(CARM) @ d).squeeze(-1), CARM)
    assert_close(moved.numbers - pose.numbers, d.squeeze(-1), atol=1e-8, rtol=0)


def test_random_poses_fill_their_range():
    numbers = Pose.random(4000, generator=torch.Generator().manual_seed(3)).numbers
    limits = vector(15, 15, 10, 30, 30, 30)
    assert (numbers.abs() <= limits).all()
    assert_close(numbers.abs().amax(0), limits, rtol=0.01, atol=0)
    assert_close(numbers.std(0), limits / math.sqrt(3), rtol=0.05, atol=0)


def test_pose_prints_as_it_is_made():
    for pose in (Pose(rx=0.1, tz=-1e-7), poses(3)):
        assert eval(repr(pose)) == pose
    assert Pose(ry=20, tz=-5).to_dict() == {"rx": 0, "ry": 20, "rz": 0, "tx": 0, "ty": 0, "tz": -5}


def test_pose_batches():
    pose = poses(5)
    assert len(pose) == 5
    assert pose[2].numbers.shape == (1, 6)
    assert Pose.cat([pose[:2], pose[2], pose[3:]]) == pose
    assert Pose([1, 2, 3, 4, 5, 6]) == Pose(rx=1, ry=2, rz=3, tx=4, ty=5, tz=6)
    assert pose[:2] != pose[1:3]


def test_gradients_reach_the_six_numbers():
    numbers = poses(2).numbers.requires_grad_()
    Pose(numbers).world_from_camera(CARM, ISOCENTER).square().sum().backward()
    assert (numbers.grad.abs() > 0).all()
    assert not Pose(numbers).detach().numbers.requires_grad


@pytest.mark.parametrize("matrix", [torch.diag(vector(1, 1, -1, 1)), 2 * torch.eye(4), torch.full((4, 4), math.nan)])
def test_a_matrix_that_does_not_turn_is_refused(matrix):
    with pytest.raises(XrcoreError, match=r"Pose\.from_matrix: .* not a rotation"):
        Pose.from_matrix(matrix)
    with pytest.raises(XrcoreError, match=r"Pose\.from_world_from_camera: .* not a rotation"):
        Pose.from_world_from_camera(torch.diag(vector(2, 2, 2, 1)), CARM, ISOCENTER)


def test_transposed_transforms_are_refused():
    for made, read in (
        (Pose.matrix, lambda matrix: Pose.from_matrix(matrix)),
        (lambda pose: pose.world_from_camera(CARM, ISOCENTER), lambda matrix: Pose.from_world_from_camera(matrix, CARM, ISOCENTER)),
        (lambda pose: pose.camera_from_world(CARM, ISOCENTER), lambda matrix: Pose.from_camera_from_world(matrix, CARM, ISOCENTER)),
    ):
        matrix = made(Pose(rx=3, ry=20, tx=5, tz=-8))
        assert_close(read(matrix).numbers, vector(3, 20, 0, 5, 0, -8)[None])
        with pytest.raises(XrcoreError, match=r"matrix must be rigid, with the last row 0, 0, 0, 1, got .*; is it transposed\?"):
            read(matrix.mT)


# rigid algebra


@pytest.mark.parametrize("angle", [0.0, 1e-12, 1e-8, 0.99e-4, 1.01e-4, 1e-3, 0.1, 1.0, 3.0, math.pi, 6.0, 20.0])
def test_exp_is_the_matrix_exponential(angle):
    generator = np.random.default_rng(0)
    for _ in range(5):
        axis = generator.normal(size=3)
        twist = np.concatenate([generator.normal(size=3) * 100, angle * axis / np.linalg.norm(axis)])
        np.testing.assert_allclose(rigid.exp(torch.from_numpy(twist)), expm(hat(twist)), atol=1e-9)


def test_exp_has_a_derivative_at_zero():
    zero = torch.zeros(6, dtype=torch.float64)
    derivative = torch.autograd.functional.jacobian(rigid.exp, zero)
    for i in range(6):
        np.testing.assert_allclose(derivative[..., i], hat(np.eye(6)[i]), atol=1e-12)


def test_skew_is_the_cross_product():
    a, b = torch.randn(2, 7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    assert_close((rigid.skew(a) @ b.unsqueeze(-1)).squeeze(-1), torch.linalg.cross(a, b))


def test_angle_between():
    a, b = Pose(rx=10, ry=20, rz=30, tx=5), Pose(rx=10, ry=20, rz=72, ty=9)
    assert_close(torch.rad2deg(rigid.angle_between(a.matrix(), b.matrix())), vector(42.0))


# CArm


def test_k_maps_rays_to_pixels():
    rays = camera_rays(CARM)
    rows, cols = torch.meshgrid(torch.arange(200.0, dtype=torch.float64), torch.arange(256.0, dtype=torch.float64), indexing="ij")
    assert_close(rays @ CARM.K.T, torch.stack([cols, rows, torch.ones_like(rows)], -1))
    assert_close(CARM.project(rays * 321.0), torch.stack([rows, cols], -1))
    # on the detector, neighbours are one pixel spacing apart
    on_detector = rays * CARM.source_to_detector
    assert_close(on_detector.diff(dim=0)[..., 1], torch.full((199, 256), 1.5, dtype=torch.float64))
    assert_close(on_detector.diff(dim=1)[..., 0], torch.full((200, 255), 1.6875, dtype=torch.float64))


def test_default_principal_point_is_the_centre():
    carm = CArm(source_to_detector=1000, source_to_isocenter=600, shape=(5, 8), pixel_spacing=2)
    assert carm.center == (2.0, 3.5)
    assert_close(camera_rays(carm).mean((0, 1)), vector(0, 0, 1))


@pytest.mark.parametrize("shape", [(100, 128), (64, 64), (50, 300)])
def test_resized_keeps_the_detector(shape):
    small = CARM.resized(shape)
    assert small.shape == shape
    points = vector(30, -20, 700) + torch.randn(10, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(5)) * 40
    before, after = CARM.project(points), small.project(points)
    spacing, new_spacing = vector(*CARM.spacing), vector(*small.spacing)
    assert_close((after + 0.5) * new_spacing, (before + 0.5) * spacing)  # mm from the detector's corner
    assert_close((after - vector(*small.center)) * new_spacing, (before - vector(*CARM.center)) * spacing)  # and from the central ray
    assert_close(small.resized((200, 256)).K, CARM.K)


def test_a_block_of_pixels_has_the_mean_ray():
    blocks = camera_rays(CARM).reshape(50, 4, 64, 4, 3).mean((1, 3))
    assert_close(camera_rays(CARM.resized((50, 64))), blocks)


def test_cropped_keeps_the_rays():
    assert_close(camera_rays(CARM.cropped(30, 50, (40, 60))), camera_rays(CARM)[30:70, 50:110])


@pytest.mark.parametrize("scale", [{"source_to_detector": 1259.65}, {"pixel_spacing": 1.6875}])
def test_from_intrinsics_returns_the_carm(scale):
    again = CArm.from_intrinsics(CARM.K, CARM.shape, source_to_isocenter=742.5, **scale)
    assert_close(again.K, CARM.K)
    assert_close(vector(*again.spacing, again.source_to_detector), vector(*CARM.spacing, CARM.source_to_detector))


def test_from_intrinsics_takes_k_up_to_scale():
    again = CArm.from_intrinsics((-3 * CARM.K).tolist(), CARM.shape, source_to_isocenter=742.5, source_to_detector=1259.65)
    assert_close(again.K, CARM.K)


def test_carm_prints_as_it_is_made():
    for carm in (CARM, CARM.resized((7, 9)), CArm(source_to_detector=1000, source_to_isocenter=600, shape=(5, 8), pixel_spacing=2)):
        assert eval(repr(carm)) == carm
        assert hash(eval(repr(carm))) == hash(carm)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source_to_detector": 1.25965, "source_to_isocenter": 0.7425}, "source_to_detector .* metres, give 1259.65"),
        ({"source_to_isocenter": 0.7425}, "source_to_isocenter .* metres, give 742.5"),
        ({"pixel_spacing": 0.0003}, "pixel_spacing .* metres, give 0.3"),
        ({"source_to_isocenter": 1259.65}, "between source and detector"),
        ({"source_to_isocenter": 1300}, "between source and detector"),
    ],
)
def test_metres_and_a_patient_behind_the_detector_are_refused(change, message):
    with pytest.raises(XrcoreError, match=message):
        CArm(**(CARM.to_dict() | change))


@pytest.mark.parametrize(
    ("k", "scale", "message"),
    [
        (torch.eye(4), {"pixel_spacing": 1.0}, "3x3"),
        (torch.full((3, 3), math.nan), {"pixel_spacing": 1.0}, "3x3"),
        (torch.diag(vector(-1e3, 1e3, 1)), {"pixel_spacing": 1.0}, "focal lengths"),
        (vector(1e3, 5, 0, 0, 1e3, 0, 0, 0, 1).reshape(3, 3), {"pixel_spacing": 1.0}, "skew"),
        (vector(1e3, 0, 0, 5, 1e3, 0, 0, 0, 1).reshape(3, 3), {"pixel_spacing": 1.0}, "skew"),
        (torch.diag(vector(1e3, 1e3, 1)), {}, "exactly one"),
        (torch.diag(vector(1e3, 1e3, 1)), {"pixel_spacing": 1.0, "source_to_detector": 1e3}, "exactly one"),
    ],
)
def test_from_intrinsics_rejects_nonsense(k, scale, message):
    with pytest.raises(XrcoreError, match=message):
        CArm.from_intrinsics(k, (100, 100), source_to_isocenter=600, **scale)
