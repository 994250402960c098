"""Nearly symmetric bodies: which poses look alike, and whether the answer says so."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from xrcore.beam import Beam
from xrcore.ct.mesh import DENSITIES
from xrcore.ct.volume import Volume
from xrcore.geometry import CArm, Pose, SlotScan, rigid
from xrcore.registration.body_window import body_windows
from xrcore.registration.events import finish
from xrcore.registration.pipeline import register
from xrcore.registration.problem import shrink
from xrcore.registration.result import Evidence, Registration
from xrcore.registration.search import SearchBox, search_box
from xrcore.registration.search_plans import another_way
from xrcore.registration.solvers.gauss_newton import GaussNewton
from xrcore.registration.symmetry import poses_alike, symmetries
from xrcore.registration.verify import confidence, failed_checks, odds
from xrcore.registration.view import views_of
from xrcore.renderer import render
from xrcore.xray.image import Xray

pytestmark = pytest.mark.usefixtures("one_thread")

BEAM = Beam.monochromatic(60.0)
NEAR = CArm(source_to_detector=300, source_to_isocenter=200, shape=(192, 192), pixel_spacing=0.6)
FAR = CArm(source_to_detector=20300, source_to_isocenter=20000, shape=(192, 192), pixel_spacing=0.5)
NARROW = SearchBox(rotation=(2, 2, 2), translation=(2, 2, 2), candidates=4)
POSE = Pose(rx=12, ry=-17, rz=5, tx=2, ty=-1, tz=3)


def body(inside: torch.Tensor, material: str = "titanium") -> Volume:
    """Of one material, its voxels of 1 mm, turned in the world."""
    turn = rigid.exp(torch.tensor([3.0, -8.0, 5.0, 0.5, -0.3, 0.9], dtype=torch.float64))
    return Volume(density=(DENSITIES[material] * inside)[None].float(), materials=(material,), world_from_voxel=turn)


def coordinates(*shape: int) -> list[torch.Tensor]:
    return list(torch.meshgrid(*(torch.arange(n, dtype=torch.float64) - (n - 1) / 2 for n in shape), indexing="ij"))


def smooth(distance: torch.Tensor) -> torch.Tensor:
    return torch.sigmoid(3 * distance)


def pin_of(material: str) -> Volume:
    z, y, x = coordinates(56, 20, 20)
    return body(smooth(6 - torch.hypot(x, y)) * smooth(24 - z.abs()), material)


@pytest.fixture(scope="module")
def pin():
    return pin_of("titanium")


@pytest.fixture(scope="module")
def plate():
    """An F, thin: its plane is the only one of symmetry."""
    z, y, x = coordinates(12, 60, 40)
    stem, arms = smooth(3 - (x + 15).abs()) * smooth(27 - y.abs()), [smooth(16 - x.abs()) * smooth(3 - (y - at).abs()) for at in (-24, -6)]
    return body(torch.stack([stem, arms[0], arms[1] * smooth(6 - x)]).amax(0) * smooth(3 - z.abs()))


@pytest.fixture(scope="module")
def skewed():
    """A box sheared along all axes, which nothing but a reflection at its centre keeps."""
    z, y, x = coordinates(40, 60, 80)
    return body(smooth(18 - (x - 0.7 * y - 0.3 * z).abs()) * smooth(14 - (y - 0.8 * z).abs()) * smooth(8 - z.abs()))


@pytest.fixture(scope="module")
def odd():
    """Three arms of different lengths, at right angles."""
    z, y, x = coordinates(60, 60, 50)
    arms = [
        smooth(5 - torch.hypot(x + 12, y + 12)) * smooth(27 - z.abs()),
        smooth(5 - torch.hypot(x + 12, z - 14)) * smooth(26 - y) * smooth(y + 12),
    ]
    return body(torch.stack([*arms, smooth(5 - torch.hypot(y + 12, z + 22)) * smooth(20 - x) * smooth(x + 12)]).amax(0))


def test_what_maps_a_body_to_itself_is_found(pin, plate, skewed, odd):
    axis = rigid.exp(torch.tensor([0, 0, 0, 0.5, -0.3, 0.9], dtype=torch.float64))[:3, 2]
    rotations, _ = kinds(pin)
    along = (rotations @ axis) @ axis
    assert len(rotations[along > 0.999].round(decimals=3).unique(dim=0)) == 11  # about its axis, in steps of 30 deg
    assert len(rotations[along < -0.999].round(decimals=3).unique(dim=0)) == 12  # turned over about any axis across
    rotations, reflections = kinds(plate)
    assert len(rotations) == 0
    assert_close(reflections[0], torch.eye(3, dtype=torch.float64) - 2 * axis[:, None] * axis, rtol=0, atol=0.02)
    assert_close(symmetries(skewed).maps[0], -torch.eye(3, dtype=torch.float64))
    assert len(symmetries(odd).maps) == 0


def kinds(volume: Volume) -> tuple[torch.Tensor, torch.Tensor]:
    maps = symmetries(volume).maps
    proper = torch.linalg.det(maps) > 0
    return maps[proper], maps[~proper]


def test_a_single_voxel_is_a_body():
    alone = torch.zeros(5, 5, 5, dtype=torch.float64)
    alone[2, 2, 2] = 1
    assert len(symmetries(body(alone)).maps)


@pytest.mark.parametrize(("name", "count"), [("pin", 12), ("plate", 1), ("skewed", 1)])
def test_seen_from_far_away_the_likest_poses_look_alike(name, count, request):
    volume = request.getfixturevalue(name)
    others = poses_alike(symmetries(volume), POSE, FAR, volume.isocenter)[:count]
    image = render(volume, FAR, POSE, BEAM)
    assert (rigid.angle_between(POSE.matrix(), others.matrix()).rad2deg() >= 10).all()
    difference = (render(volume, FAR, others, BEAM) - image).flatten(1).norm(dim=1) / image.norm()
    turned = Pose(POSE.numbers + torch.tensor([0, 10.0, 0, 0, 0, 0], dtype=torch.float64))
    other = (render(volume, FAR, turned, BEAM) - image).norm() / image.norm()
    assert len(difference) == count
    assert difference.max() < 0.03 < 0.15 < other


@pytest.mark.parametrize(("scan", "point", "axis"), [("rows", (-900, 95.5), 1), ("columns", (95.5, -900), 0)])
def test_along_a_scan_rays_are_parallel(plate, scan, point, axis):
    distances = {"source_to_detector": 2030, "source_to_isocenter": 2000}
    carm = SlotScan(**distances, shape=(192, 192), pixel_spacing=0.5, principal_point=point, scan=scan)
    away = Pose.from_camera_from_world(shifted(POSE.camera_from_world(carm, plate.isocenter), axis), carm, plate.isocenter)
    image = render(plate, carm, away, BEAM)
    other = render(plate, carm, poses_alike(symmetries(plate), away, carm, plate.isocenter)[0], BEAM)
    assert image.amax() > 0.1
    assert (other - image).norm() / image.norm() < 0.1


def shifted(camera_from_world: torch.Tensor, axis: int) -> torch.Tensor:
    moved = camera_from_world.clone()
    moved[:, axis, 3] += 500.0
    return moved


def xray_of(volume: Volume, carm: CArm) -> Xray:
    return Xray(image=render(volume, carm, POSE, BEAM)[0], carm=carm)


@pytest.mark.parametrize("material", ["titanium", "water"])
def test_a_pin_is_never_trusted(material):
    volume = pin_of(material)
    xray = xray_of(volume, NEAR)
    result = register(xray, volume, POSE, search=NARROW, beam=BEAM, retries=0)
    assert not result.trusted
    assert result.confidence < 0.5
    assert result.reasons[0].startswith("ambiguous: ")
    settings = another_way(GaussNewton(), 0, bone_only=material != "water")
    alone = finish(search_box(views_of("test", xray), volume, POSE, NARROW, settings, BEAM, report=False))
    assert result.evaluations > alone.evaluations + 12  # those of the other poses count


def test_of_two_sides_the_one_that_the_image_tells_is_the_answer(plate):
    start = poses_alike(symmetries(plate), POSE, NEAR, plate.isocenter)[0]
    assert rigid.angle_between(start.matrix(), POSE.matrix()).rad2deg() > 10
    result = register(xray_of(plate, NEAR), plate, start, search=NARROW, beam=BEAM, retries=0)
    assert rigid.angle_between(result.pose.matrix(), POSE.matrix()).rad2deg() < 0.1
    assert result.trusted


def test_a_body_without_symmetry_is_not_challenged(odd):
    result = register(xray_of(odd, NEAR), odd, POSE, search=NARROW, beam=BEAM, retries=0)
    assert result.evidence is not None
    assert result.evidence.rivals == 0
    assert result.trusted


def test_confidence_is_shared_among_equally_good_poses():
    alone = Evidence(agreement=1.0, displacement=0.05, likeness=0.95, blocks=80.0, deviation=0.1)
    own = odds(alone)
    assert confidence(alone) == pytest.approx(own / (1 + own), rel=1e-6)
    assert confidence(replace(alone, rivals=own)) == pytest.approx(own / (1 + 2 * own), rel=1e-6)
    (reason,) = failed_checks(replace(alone, rivals=own, rival_turned=31.4))
    assert "turned by 31 deg" in reason
    assert not failed_checks(replace(alone, rivals=own / 20))  # the image tells


def test_what_is_found_of_a_small_body_is_shown_and_kept(pin, tmp_path):
    xray = xray_of(pin, replace(NEAR, pixel_spacing=2.0))
    result = register(xray, pin, POSE, search=NARROW, beam=BEAM, retries=0)
    assert body_windows(result.views, pin, result.pose) is not None
    assert result.drr is not None
    image = render(pin, shrink(xray, 128).carm, result.pose, BEAM)[0]
    assert (result.drr - image).norm() / image.norm() < 0.2
    assert "<img" in result._repr_html_()
    result.save(tmp_path / "found")
    loaded = Registration.load(tmp_path / "found")
    assert loaded.evidence == result.evidence
    assert loaded.reasons == result.reasons
    assert loaded.evaluations == result.evaluations
