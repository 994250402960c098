"""The motion model: its covariances are those of simulated motions, and smoothing brings a noisy track nearer to the truth."""

from __future__ import annotations

import torch
from torch.testing import assert_close

from xrcore.geometry import CArm, Pose, rigid
from xrcore.registration.tracking.motion import BodyFrame, Filtered, Motion, MotionState, begin, correct, predict, smooth

CARM = CArm(source_to_detector=1260, source_to_isocenter=742.5, shape=(64, 64), pixel_spacing=6.0)
FRAME = BodyFrame(CARM, torch.tensor([10.0, -20.0, 300.0], dtype=torch.float64))
NOISE = torch.tensor([0.3, 0.3, 2.0, 0.005, 0.005, 0.005], dtype=torch.float64)  # mm, rad; the third along the depth at zero pose


def twists(count: int, seed: int) -> torch.Tensor:
    return torch.randn(count, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_log_is_the_inverse_of_exp():
    for twist in twists(5, 0) * torch.tensor([50, 50, 50, 1, 1, 1], dtype=torch.float64):
        assert_close(rigid.log(rigid.exp(twist)), twist)
    assert_close(rigid.log(rigid.exp(torch.full((6,), 1e-7, dtype=torch.float64))), torch.full((6,), 1e-7, dtype=torch.float64))


def test_the_adjoint_carries_twists():
    a, b = twists(2, 1) * 0.3
    there = rigid.exp(a)
    assert_close(there @ rigid.exp(b), rigid.exp(rigid.adjoint(there) @ b) @ there)


def test_numbers_and_the_bodys_twist_have_the_same_covariance():
    pose, change = Pose([5, -20, 3, 4, -6, 20.0]), twists(1, 2)[0] * 1e-4
    moved = rigid.log(rigid.invert(FRAME.placed(pose)) @ FRAME.placed(Pose(pose.numbers + change)))
    outer = FRAME.variance(pose, change[:, None] * change)
    assert_close(outer, moved[:, None] * moved, rtol=1e-3, atol=1e-14)
    assert_close(FRAME.covariance(pose, outer), change[:, None] * change, rtol=1e-6, atol=1e-16)
    assert_close(FRAME.pose(FRAME.placed(pose)).numbers, pose.numbers)


def track(seed: int, frames: int = 40, motion: Motion | None = None) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Where a body was that moves as the model says, and where it was seen."""
    motion = Motion() if motion is None else motion
    placed, velocity, root = FRAME.placed(Pose(ry=10)), torch.zeros(6, dtype=torch.float64), motion.variance.sqrt()
    kicks, noise = twists(frames, seed) @ root, twists(frames, seed + 1000) * NOISE
    truth = []
    for kick in kicks:
        placed, velocity = placed @ rigid.exp(velocity + kick / 2), velocity + kick
        truth.append(placed)
    return truth, [there @ rigid.exp(error) for there, error in zip(truth, noise, strict=True)]


def errors(truth: list[torch.Tensor], found: list[torch.Tensor]) -> torch.Tensor:
    return torch.stack([rigid.log(rigid.invert(a) @ b) for a, b in zip(truth, found, strict=True)])


def followed(seen: list[torch.Tensor], motion: Motion) -> tuple[list[Filtered], list[float]]:
    variance = NOISE.square().diag()
    states, distances = [Filtered(begin(seen[0], variance, motion), None)], []
    for placed in seen[1:]:
        expected = predict(states[-1].state, motion)
        state, distance = correct(expected, placed, variance)
        states.append(Filtered(state, expected))
        distances.append(distance)
    return states, distances


def test_distances_are_those_of_chi_squared_where_the_model_holds():
    motion = Motion(rotation=0.3, translation=0.7)
    distances = [d for seed in range(3) for d in followed(track(seed, motion=motion)[1], motion)[1][5:]]
    assert 5.0 < sum(distances) / len(distances) < 7.0  # six on average


def test_a_body_goes_half_of_what_its_velocity_changes_by():
    """Of a state that is known exactly, at rest and on the way; the change comes evenly over the frame."""
    motion = Motion(rotation=0.3, translation=0.7)
    for velocity in (torch.zeros(6, dtype=torch.float64), twists(1, 4)[0] * 0.1):
        after = predict(MotionState(FRAME.placed(Pose(ry=10)), velocity, torch.zeros(12, 12, dtype=torch.float64)), motion)
        half = torch.cat([0.5 * torch.eye(6, dtype=torch.float64), torch.eye(6, dtype=torch.float64)])
        assert_close(after.covariance, half @ motion.variance @ half.T)


def test_smoothing_halves_the_noise_of_a_steady_motion_and_knows_what_is_left():
    motion = Motion(rotation=0.02, translation=0.05)
    truth, seen = track(3, motion=motion)
    smoothed = smooth(followed(seen, motion)[0])
    before, after = errors(truth, seen), errors(truth, [state.placed for state in smoothed])
    assert (after.square().mean(0).sqrt() < 0.6 * before.square().mean(0).sqrt()).all()
    share = after.square() / torch.stack([state.covariance.diagonal()[:6] for state in smoothed])
    assert 0.6 < float(share.mean()) < 1.5


def test_a_fixed_lag_lies_between_filtering_and_smoothing():
    motion = Motion(rotation=0.02, translation=0.05)
    truth, seen = track(3, motion=motion)
    filtered = followed(seen, motion)[0]
    off = [errors(truth, [state.placed for state in smooth(filtered, lag)]).square().mean().sqrt() for lag in (0, 3, None)]
    assert off[0] > off[1] > off[2]
    assert smooth(filtered, 0)[5].placed.equal(filtered[5].state.placed)
    for one, other in zip(smooth(filtered, 99), smooth(filtered), strict=True):
        assert_close(one.placed, other.placed)


def test_a_covariance_is_carried_as_the_camera_sees_it():
    depth, across = 4.0, 0.25  # variances at the zero pose, whose depth is tz [mm^2]
    covariance = torch.diag(torch.tensor([0.01, 0.01, 0.01, across, across, depth], dtype=torch.float64))
    start = Pose.zero()
    assert_close(FRAME.carried(covariance, start, start), covariance)
    there = FRAME.carried(covariance, start, Pose(ry=90))  # whose depth is tx
    assert_close(there.diagonal()[3:], torch.tensor([depth, across, across], dtype=torch.float64), rtol=0.02, atol=0.02)
