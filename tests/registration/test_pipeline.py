"""register: finds, verifies, retries, and says so."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import xrcore as xr
from xrcore.registration.events import Stage, Step
from xrcore.registration.mirrored import mirror_image
from xrcore.registration.search import SearchBox
from xrcore.registration.settings import PYRAMID
from xrcore.registration.similarities import ZNCC

CARM = xr.CArm(source_to_detector=1259.65, source_to_isocenter=742.5, shape=(128, 128), pixel_spacing=3.375)
TRUTH = xr.Pose(rx=6.0, ry=-9.0, rz=4.0, tx=12.0, ty=-15.0, tz=20.0)


@pytest.fixture(scope="module")
def volume() -> xr.Volume:
    return xr.phantom.pelvis(seed=3, spacing=4.0)


@pytest.fixture(scope="module")
def xray(volume) -> xr.Xray:
    return xr.simulate(volume, CARM, TRUTH, settings=xr.Acquisition(oversample=1, step=2.0), seed=1)


@pytest.fixture(scope="module")
def result(xray, volume) -> xr.Registration:
    return xr.register(xray, volume)


def error(pose: xr.Pose, volume: xr.Volume, truth: xr.Pose = TRUTH) -> float:
    return float(xr.metrics.mtre(pose, truth, volume.surface_points(32), CARM, volume.isocenter))


def test_finds_the_pose_from_zero_and_trusts_it(result, volume):
    assert error(xr.Pose.zero(), volume) > 25
    assert error(result.pose, volume) < 2.5  # a fraction of the 4 mm voxels
    assert result.trusted
    assert result.reasons == ()
    assert result.attempts == 1
    assert result.initial == xr.Pose.zero()


def test_result_tells_how_it_got_there(result):
    levels = [step.level for step in result.history]
    assert levels == sorted(levels)
    assert set(levels) == set(range(len(PYRAMID)))
    for level in set(levels):
        values = [step.similarity for step in result.history if step.level == level]
        assert values == sorted(values)
    assert 0 < sum(result.stages.values()) <= result.seconds
    assert result.evaluations > 96  # the box was judged
    assert result.similarity_name == "robust-local-zncc"


def test_covariance_is_symmetric_positive_and_depth_is_least_certain(result):
    assert torch.allclose(result.covariance, result.covariance.T)
    assert (torch.linalg.eigvalsh(result.covariance) > 0).all()
    assert max(result.standard_deviation[3:]) == result.standard_deviation[5]


def test_same_input_same_answer(result, xray, volume):
    assert xr.register(xray, volume).pose == result.pose


def test_threads_are_given_back(xray, volume):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        xr.register(xray, volume)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_inverted_xray_is_turned_over_and_noted(result, xray, volume):
    found = xr.register(replace(xray, image=10 - xray.image), volume)
    assert found.inverted
    assert torch.equal(found.xray.image, xray.image - 10)  # negated once, for every later use
    assert result.xray is xray
    assert any("inverted" in note for note in found.notes)
    assert found.trusted
    assert error(found.pose, volume) < 2.5
    assert not result.inverted


def test_xray_said_to_have_bright_bone_is_not_negated(xray, volume):
    dark = replace(xray, image=10 - xray.image, bone_bright=True)
    found = xr.register(dark, volume, retries=0)
    assert not found.inverted
    assert found.xray.image.sub(dark.image).abs().max() == 0 or any("curve" in note for note in found.notes)
    assert not found.trusted


def test_gain_and_offset_do_not_matter(result, xray, volume):
    found = xr.register(replace(xray, image=300 + 41 * xray.image), volume)
    assert error(found.pose, volume, result.pose) < 0.2


def test_garbage_outside_the_mask_does_not_matter(result, xray, volume):
    assert not xray.mask.all()
    garbage = torch.where(xray.mask, xray.image, 1e4)
    assert error(xr.register(replace(xray, image=garbage), volume).pose, volume, result.pose) < 0.05


def test_start_is_the_files_pose_unless_given(xray, volume):
    near = xr.Pose(TRUTH.numbers + 1)
    only = SearchBox(candidates=1)
    assert xr.register(replace(xray, pose=near), volume, search=only).initial == near
    assert xr.register(replace(xray, pose=near), volume, xr.Pose(ry=-8), search=only).initial == xr.Pose(ry=-8)


def test_pose_outside_the_box_is_found_by_searching_wider(volume):
    far = xr.Pose(rx=-4.0, ry=21.0, rz=-13.0, tx=38.0, ty=10.0, tz=-20.0)
    xray = xr.simulate(volume, CARM, far, settings=xr.Acquisition(oversample=1, step=2.0), seed=2)
    alone = xr.register(xray, volume, search=SearchBox(rotation=(3, 3, 3), translation=(5, 5, 5), candidates=2), retries=0)
    assert not (alone.trusted and error(alone.pose, volume, far) > 10)
    found = xr.register(xray, volume)
    assert found.trusted
    assert error(found.pose, volume, far) < 2.5


def test_nothing_to_find_is_not_trusted_and_says_why(volume):
    noise = torch.nn.functional.avg_pool2d(torch.randn(1, 1, 140, 140, generator=torch.Generator().manual_seed(4)), 13, 1)[0, 0]
    found = xr.register(xr.Xray(image=noise, carm=CARM), volume, retries=1)
    assert not found.trusted
    assert found.attempts == 2
    assert found.reasons


def test_another_patient_is_not_trusted(xray):
    other = xr.phantom.pelvis(seed=11, spacing=4.0)
    assert not xr.register(xray, other, retries=0).trusted


def test_ct_outside_the_view_is_refused(xray, volume):
    with pytest.raises(xr.XrcoreError, match="outside the X-ray's view"):
        xr.register(xray, volume, xr.Pose(tx=900.0))


@pytest.mark.parametrize("method", ["paper-as-intended", "lbfgs"])
def test_other_methods_register_from_nearby(method, volume):
    # without scatter, which bends the optimum of the ZNCC they maximise
    xray = xr.simulate(volume, CARM, TRUTH, settings=xr.Acquisition.ideal(kilovolts=90, step=2.0))
    near = xr.Pose(TRUTH.numbers + torch.tensor([1.0, -1, 1, 2, 2, -4]))
    found = xr.register(xray, volume, near, method, retries=0)
    assert error(found.pose, volume) < 0.4 * error(near, volume)
    assert found.trusted
    assert found.stop_reason


def test_other_methods_are_retried_from_a_coarse_search(xray, volume):
    # one iteration from far off cannot succeed; from where the search leads it can stay
    settings = xr.LBFGS(pixels=64, spacing=8.0, iterations=1)
    found = xr.register(xray, volume, xr.Pose(rx=-10.0, tx=-25.0), settings)
    assert found.attempts > 1
    assert error(found.pose, volume) < 8


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"method": "newton"}, "unknown method"),
        ({"similarity": "cosine"}, "cosine"),
        ({"similarity": "mutual-information"}, "residual"),
        ({"initial": xr.Pose.zero(2)}, "initial must be one Pose"),
        ({"initial": [0] * 6}, "initial must be a Pose, or a model"),
        ({"retries": -1}, "retries must be a whole number, not negative"),
        ({"retries": 0.5}, "retries"),
        ({"search": (10, 10)}, "search must be a SearchBox"),
        ({"beam": 90}, "beam must be a Beam"),
        ({"method": 7}, "method must be"),
        ({"xray": "file.dcm"}, "xray must be an Xray"),
        ({"volume": "ct.nii.gz"}, "volume must be a Volume"),
    ],
)
def test_bad_arguments_are_named_in_one_line(bad, words, xray, volume):
    with pytest.raises(xr.XrcoreError, match=words) as error:
        xr.register(**({"xray": xray, "volume": volume} | bad))
    assert "\n" not in str(error.value)


def test_a_hessian_that_is_not_finite_ends_the_search(xray, volume):
    class Sick(ZNCC):
        def fit(self, fixed, mask):
            fitted = super().fit(fixed, mask)
            healthy = fitted.normal_equations
            fitted.normal_equations = lambda moving, jacobian: (n := healthy(moving, jacobian))._replace(hessian=n.hessian * torch.nan)
            return fitted

    found = xr.register(xray, volume, similarity=Sick(), retries=0)
    assert found.stop_reason == xr.StopReason.NOT_FINITE == "the similarity is not finite"


def test_its_steps_are_a_generators(result, xray, volume):
    """A generator of stages and steps, whose consumer keeps its own settings."""
    events, found = [], None
    steps = xr.register_steps(xray, volume)
    while found is None:
        try:
            events.append(next(steps))
            assert torch.is_grad_enabled()
        except StopIteration as end:
            found = end.value
    assert found.pose == result.pose
    assert [event.description for event in events if isinstance(event, Stage)] == ["searching", "verifying"]
    levels = [event.level for event in events if isinstance(event, Step)]
    assert levels == sorted(levels)


def test_stages_are_logged(xray, volume, caplog):
    caplog.set_level("DEBUG", logger="xrcore")
    xr.register(xray, volume)
    assert [record.message for record in caplog.records if record.name == "xrcore"] == ["searching", "verifying"]


def test_a_mirrored_xray_of_a_nearly_symmetric_body_is_not_trusted():
    volume = xr.phantom.pelvis(seed=0, spacing=3.0)
    shot = xr.simulate(volume, CARM, xr.Pose(rx=4, ry=-7, rz=3, tx=9, ty=-6), seed=2)
    assert xr.register(shot, volume).trusted
    found = xr.register(mirror_image(shot), volume)
    assert not found.trusted
    assert found.confidence == 0
    assert "exchanged" in found.reasons[0]


def test_the_mirror_image_of_a_mirror_image_is_the_image(xray):
    off = replace(xray, carm=replace(xray.carm, principal_point=(20.0, 31.5)))
    there = mirror_image(off)
    assert there.carm.center[1] == xray.carm.shape[1] - 1 - 31.5
    back = mirror_image(there)
    assert torch.equal(back.image, xray.image)
    assert back.carm == off.carm
