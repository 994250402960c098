"""Grimm et al.: heat maps, triangulated landmarks, weighted PnP, and the method as a whole."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from xrcore.geometry import CArm, Pose, rigid
from xrcore.learning.methods import Batch
from xrcore.learning.methods.grimm import LANDMARKS, Grimm, LandmarkNetwork, invert_some, occlude_some, shown
from xrcore.learning.methods.heat_maps import heat_map_loss, peaks
from xrcore.learning.methods.landmarks import Rays, choose_landmarks, inside, triangulate
from xrcore.learning.methods.pnp import Scene, agreeing, improve, ransac
from xrcore.learning.models.identity import CtIdentity
from xrcore.learning.models.regressor import PoseRegressor
from xrcore.learning.networks.unet import STRIDE, UNet
from xrcore.learning.training import profile, train, training_steps
from xrcore.learning.training.stream import DrrStream
from xrcore.metrics import mtre
from xrcore.phantom import pelvis
from xrcore.registration.presets import PRESETS
from xrcore.registration.refinement import refine
from xrcore.renderer import render
from xrcore.xray.image import Xray

CARM = CArm(source_to_detector=1259.65, source_to_isocenter=742.5, shape=(256, 256), pixel_spacing=1.6875)
LIMITS = (15.0, 15.0, 10.0, 30.0, 30.0, 30.0)
ISOCENTER = torch.tensor([40.0, -25.0, 310.0], dtype=torch.float64)
SMOKE = profile("smoke").changed(method="grimm", decoder=16)
TRAINED = SMOKE.changed(images=160, checkpoint_every=64)


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def volume():
    return pelvis(seed=0, spacing=8.0)


@pytest.fixture(scope="module")
def stream(volume):
    return DrrStream(volume, CARM, SMOKE)


@pytest.fixture
def draw():
    return torch.Generator().manual_seed(7)


def points(draw: torch.Generator, count: int = 32) -> torch.Tensor:
    return ISOCENTER + 110 * (2 * torch.rand(count, 3, dtype=torch.float64, generator=draw) - 1)


def scene(draw: torch.Generator, count: int = 32) -> Scene:
    return Scene(points(draw, count), CARM, ISOCENTER, LIMITS)


def noise(like: torch.Tensor, draw: torch.Generator) -> torch.Tensor:
    return torch.randn(like.shape, dtype=like.dtype, generator=draw)


# --- heat maps ------------------------------------------------------------------------------------------------------------------


def gaussian_logits(pixels: torch.Tensor, cells: int, peak: float = 12.0) -> torch.Tensor:
    """Logits of a Gaussian of one cell's width about pixels (B, L, 2)."""
    centres = STRIDE * torch.arange(cells) + (STRIDE - 1) / 2
    rows, cols = (((centres - pixels[..., i, None]) / STRIDE) ** 2 / 2 for i in (0, 1))
    return (peak - rows[..., None] - cols[..., None, :]).float()


def test_peaks_are_gaussians_centres(draw):
    pixels = 12 + 40 * torch.rand(4, 5, 2, generator=draw)
    found, confidence = peaks(gaussian_logits(pixels, 32))
    assert_close(found, pixels, rtol=0, atol=0.02)
    assert confidence.min() > 0.99


def test_a_second_peak_takes_confidence_and_not_the_place():
    one, other = (gaussian_logits(torch.tensor([[[a, b]]]), 32) for a, b in ((14.3, 20.2), (50.0, 40.0)))
    found, confidence = peaks(torch.logaddexp(one, other - 1.0))
    assert_close(found, torch.tensor([[[14.3, 20.2]]]), rtol=0, atol=0.02)
    assert_close(confidence, torch.full((1, 1), 1 / (1 + torch.exp(torch.tensor(-1.0)))), rtol=0, atol=0.01)


def test_an_empty_heat_map_has_no_confidence():
    for low in (-30.0, -1e4):
        found, confidence = peaks(torch.full((1, 2, 16, 16), low))
        assert confidence.max() < 1e-6
        assert found.isfinite().all()


def test_the_loss_is_least_at_what_it_asks_for():
    pixels, visible = torch.tensor([[[20.6, 31.1], [400.0, 3.0]]]), torch.tensor([[True, False]])
    logits = torch.cat([gaussian_logits(pixels[:, :1], 32), torch.full((1, 1, 32, 32), -20.0)], 1)
    loss = heat_map_loss(logits, pixels, visible)
    # the entropy of a Gaussian of one cell's width, and nothing for an empty map
    assert_close(loss, torch.tensor([[1 + torch.log(torch.tensor(2 * torch.pi)), 0.0]]), rtol=0, atol=2e-3)
    aside = torch.cat([gaussian_logits(pixels[:, :1] + STRIDE, 32), gaussian_logits(pixels[:, :1], 32)], 1)
    assert_close(heat_map_loss(aside, pixels, visible)[0, 0] - loss[0, 0], torch.tensor(1.0), rtol=0, atol=0.01)  # (1 + 1) / 2
    assert heat_map_loss(aside, pixels, visible)[0, 1] > 10


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_a_unet_learns_a_place(norm):
    torch.manual_seed(0)
    net = UNet(2, 16, momentum=0.1, norm_layer=norm)
    at = torch.randint(8, 32, (16, 2))
    images = torch.zeros(16, 1, 40, 40)
    images[torch.arange(16), 0, at[:, 0], at[:, 1]] = 20.0
    wanted = torch.stack([at, at + 4], 1).float()
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-2)
    for _ in range(60):
        loss = heat_map_loss(net(images), wanted, torch.ones(16, 2, dtype=torch.bool)).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    found, confidence = peaks(net(images))
    assert (found - wanted).norm(dim=-1).mean() < 1.0
    assert confidence.mean() > 0.8


@pytest.mark.parametrize("pixels", [32, 40, 72])
def test_heat_maps_have_half_the_side(pixels):
    assert UNet(3, 16, momentum=0.1, norm_layer="group")(torch.zeros(1, 1, pixels, pixels)).shape == (1, 3, pixels // 2, pixels // 2)


# --- landmarks ------------------------------------------------------------------------------------------------------------------


def test_landmarks_are_seen_and_spread(volume):
    views = Pose.random(40, generator=torch.Generator().manual_seed(0))
    chosen, there = choose_landmarks(volume, CARM, views, 24)
    assert there.all()
    pixels = CARM.project(rigid.apply(views.camera_from_world(CARM, volume.isocenter), chosen))
    assert inside(pixels, CARM.shape).double().mean(0).min() >= 0.7
    apart = torch.cdist(chosen, chosen).fill_diagonal_(torch.inf).min()
    assert apart > 20
    again, _ = choose_landmarks(volume, CARM, views, 24)
    assert torch.equal(again, chosen)


def test_a_small_ct_has_fewer_landmarks(volume):
    density = torch.zeros_like(volume.density)
    density[1, 20, 20, 18:23] = 1.5
    chosen, there = choose_landmarks(replace(volume, density=density), CARM, Pose.zero(4), 24)
    assert there.sum() == 5
    assert chosen.isfinite().all()
    assert len(chosen) == 24


def test_rays_meet_in_their_point(draw):
    truth, views = points(draw), Pose.random(12, generator=draw)
    pixels = Scene(truth, CARM, ISOCENTER, LIMITS).project(views)
    rays = Rays.through(pixels, views, CARM, ISOCENTER)
    assert rays.distances(truth).max() < 1e-9
    found, meet = triangulate(rays, torch.ones(12, 32, dtype=torch.float64), 5.0)
    assert meet.all()
    assert_close(found, truth, rtol=0, atol=1e-6)


def test_triangulation_ignores_outliers_and_refuses_what_does_not_meet(draw):
    truth, views = points(draw, 6), Pose.random(80, generator=draw)
    pixels = Scene(truth, CARM, ISOCENTER, LIMITS).project(views)
    pixels = pixels + noise(pixels, draw)
    wild = 256 * torch.rand(pixels.shape, dtype=torch.float64, generator=draw)
    share = torch.tensor([0.0, 0.3, 0.4, 1.0, 0.0, 0.0])
    pixels = torch.where((torch.rand(80, 6, generator=draw) < share)[..., None], wild, pixels)
    confidence = torch.ones(80, 6, dtype=torch.float64)
    confidence[:, 4] = 0.01  # never sure
    confidence[30:, 5] = 0
    pixels[30:, 5] = 0
    found, meet = triangulate(Rays.through(pixels, views, CARM, ISOCENTER), confidence, 5.0)
    assert meet.tolist() == [True, True, True, False, False, True]
    assert (found - truth)[meet].norm(dim=1).max() < 2.0


def test_parallel_rays_place_nothing(draw):
    truth = points(draw, 3)
    views = Pose(torch.zeros(20, 6, dtype=torch.float64))
    pixels = Scene(truth, CARM, ISOCENTER, LIMITS).project(views)
    _, meet = triangulate(Rays.through(pixels, views, CARM, ISOCENTER), torch.ones(20, 3, dtype=torch.float64), 5.0)
    assert not meet.any()


# --- PnP ------------------------------------------------------------------------------------------------------------------------


def test_pnp_recovers_poses_from_exact_projections(draw):
    world, truth = scene(draw), Pose.random(20, generator=draw)
    pixels = world.project(truth)
    confidence = torch.ones(20, 32, dtype=torch.float64)
    pose, agree = ransac(world, pixels, confidence, 5.0)
    assert agree.all()
    assert_close(pose.numbers, truth.numbers, rtol=0, atol=1e-6)
    assert_close(improve(world, pose, pixels, confidence).numbers, truth.numbers, rtol=0, atol=1e-9)


def test_gauss_newton_converges_quadratically(draw):
    world, truth = scene(draw), Pose.random(10, generator=draw)
    pixels, pose = world.project(truth), Pose(truth.numbers + 1.0)
    sizes = []
    for _ in range(4):
        pose = improve(world, pose, pixels, torch.ones(10, 32, dtype=torch.float64))
        sizes.append(float((pose.numbers - truth.numbers).abs().max()))
    assert sizes[1] < 0.05 * sizes[0]
    assert sizes[2] < 0.01 * sizes[1]
    assert sizes[3] < 1e-9


def test_pnp_survives_noise_and_outliers(draw):
    world, truth = scene(draw), Pose.random(20, generator=draw)
    clean = world.project(truth)
    wrong = torch.rand(20, 32, generator=draw) < 0.3
    pixels = torch.where(wrong[..., None], 256 * torch.rand(clean.shape, dtype=torch.float64, generator=draw), clean + noise(clean, draw))
    pose, agree = ransac(world, pixels, torch.ones(20, 32, dtype=torch.float64), 6.0)
    errors = mtre(pose, truth, world.points, CARM, ISOCENTER)
    assert errors.max() < 10
    assert errors.median() < 4
    assert (agree & wrong).sum() < 0.05 * wrong.sum()
    assert (agree & ~wrong).sum() > 0.95 * (~wrong).sum()


def test_one_view_alone_gives_what_it_gives_in_a_batch(draw):
    world, truth = scene(draw), Pose.random(6, generator=draw)
    clean = world.project(truth)
    pixels, confidence = clean + 4 * noise(clean, draw), torch.rand(6, 32, dtype=torch.float64, generator=draw)
    together, _ = ransac(world, pixels, confidence, 6.0)
    alone, _ = ransac(world, pixels[3:4], confidence[3:4], 6.0)
    assert_close(alone.numbers, together.numbers[3:4], rtol=0, atol=1e-8)


def test_weights_say_which_points_count(draw):
    world, truth = scene(draw), Pose.random(30, generator=draw)
    clean = world.project(truth)
    deviation = torch.where(torch.arange(32) < 16, 0.3, 6.0).double()
    pixels = clean + noise(clean, draw) * deviation[:, None]
    poses = {}
    for name, weights in (("equal", torch.ones(30, 32)), ("variance", 1 / deviation**2 * torch.ones(30, 32))):
        pose = Pose.zero(30)
        for _ in range(10):
            pose = improve(world, pose, pixels, weights.double())
        poses[name] = float(mtre(pose, truth, world.points, CARM, ISOCENTER).mean())
    assert poses["variance"] < 0.3 * poses["equal"]


def test_points_without_confidence_are_not_used(draw):
    world, truth = scene(draw), Pose.random(4, generator=draw)
    pixels = world.project(truth)
    confidence = torch.ones(4, 32, dtype=torch.float64)
    pixels[:, ::2], confidence[:, ::2] = 3.0, 0.0
    pose, agree = ransac(world, pixels, confidence, 5.0)
    assert_close(pose.numbers, truth.numbers, rtol=0, atol=1e-6)
    assert not agree[:, ::2].any()


def test_without_agreement_the_pose_is_zero(draw):
    world = scene(draw)
    nothing = torch.zeros(2, 32, dtype=torch.float64)
    pose, agree = ransac(world, world.project(Pose.random(2, generator=draw)), nothing, 5.0)
    assert not agree.any()
    assert not pose.numbers.any()


def test_poses_far_outside_the_ranges_are_not_believed(draw):
    world = scene(draw)
    assert world.believable(Pose([[29, 29, 24, 89, 89, 89], [31, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 91]])).tolist() == [True, False, False]
    assert not agreeing(world, Pose.zero(1), world.project(Pose(rx=5)), torch.ones(1, 32), 1.0).all()


# --- the method -----------------------------------------------------------------------------------------------------------------


def prepared(stream: DrrStream) -> LandmarkNetwork:
    torch.manual_seed(0)
    net = Grimm(stream.settings).network()
    Grimm(stream.settings).prepare(net, stream)
    assert isinstance(net, LandmarkNetwork)
    return net


def test_the_network_remembers_the_geometry(stream):
    world = prepared(stream).scene()
    assert world.carm == stream.carm
    assert_close(world.isocenter, stream.volume.isocenter)
    assert world.points.dtype == torch.float64


def test_bins_are_thirds_of_the_ranges(stream):
    numbers = torch.zeros(5, 6)
    numbers[:, 0] = torch.tensor([-90.0, -6.0, 0.0, 6.0, 15.0])
    numbers[:, 1] = torch.tensor([-90.0, 0.0, 0.0, 14.0, 90.0])
    assert prepared(stream).bins(Pose(numbers)).tolist() == [0, 1, 4, 8, 8]


def test_the_bin_of_the_pose_decides_the_weights(stream, draw):
    """Two halves of the landmarks, seen 2 pixels apart: the pose follows the half that its bin trusts."""
    net = prepared(stream)
    truth = Pose(torch.tensor([[-10.0, 0, 0, 0, 0, 0], [10.0, 0, 0, 0, 0, 0]], dtype=torch.float64))
    clean = net.scene().project(truth)
    even = torch.arange(LANDMARKS) % 2 == 0
    pixels = clean + torch.where(even, 0.4, -0.4)[:, None]
    net.variances.fill_(1e-4)
    net.variances[:3, ~even] = 1.0
    net.variances[6:, even] = 1.0
    ahead = net.scene().project(net.poses(pixels, torch.ones(2, LANDMARKS))) - clean
    assert_close(ahead[0], torch.full_like(ahead[0], 0.4), rtol=0, atol=0.1)
    assert_close(ahead[1], torch.full_like(ahead[1], -0.4), rtol=0, atol=0.1)


def test_too_few_landmarks_make_no_pose(stream):
    net = prepared(stream)
    pixels = net.scene().project(Pose([[5.0, 5, 5, 5, 5, 5]]))
    for count, found in ((5, False), (6, True)):
        net.used.copy_(torch.arange(LANDMARKS) < count)
        assert bool(net.poses(pixels, torch.ones(1, LANDMARKS)).numbers.any()) == found


class Oracle(LandmarkNetwork):
    """Draws the heat maps that it is told to, in chunks of views, instead of looking at them."""

    def foresee(self, pixels: torch.Tensor, wrong: torch.Tensor) -> None:
        """Gaussians at pixels (V, L, 2), at another landmark's in the wrong views (V, 1, 1), none outside the image."""
        pixels = torch.where(wrong, pixels.roll(1, 1), pixels)
        there = inside(pixels, (self.pixels, self.pixels))[..., None, None]
        self.queue = list(torch.where(there, gaussian_logits(pixels, self.pixels // STRIDE), -30.0).split(32))

    def forward(self, images):
        return self.queue.pop(0)


def oracle(stream: DrrStream) -> Oracle:
    net = Oracle(stream.settings)
    Grimm(stream.settings).prepare(net, stream)
    return net


def poses_of(stream: DrrStream, number: int, count: int) -> Pose:
    return Pose(torch.stack([torch.from_numpy(stream.pose(number, i)) for i in range(count)]))


def test_halfway_the_landmarks_go_where_the_detector_sees_them(stream):
    net, views = oracle(stream), poses_of(stream, 1_000, 96)
    first = net.landmarks.clone()
    true = first + torch.linspace(-6, 6, LANDMARKS, dtype=torch.float64)[:, None]
    pixels = replace(net.scene(), points=true).project(views)
    pixels[:, 4] = 64 * torch.rand(96, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    method = Grimm(SMOKE)
    method.between(SMOKE.steps // 2 - 1, net, net, stream)
    assert torch.equal(net.landmarks, first)
    net.foresee(pixels, torch.arange(96)[:, None, None] % 5 == 0)
    method.between(SMOKE.steps // 2, net, net, stream)
    assert net.used.tolist() == [float(i != 4) for i in range(LANDMARKS)]
    meet = net.used > 0
    # peaks near the edge of the image are cut off
    assert (net.landmarks - true)[meet].norm(dim=1).median() < 0.5
    assert torch.equal(net.landmarks[4], first[4])


def test_a_detector_that_sees_nothing_keeps_its_landmarks(stream):
    net = oracle(stream)
    first = net.landmarks.clone()
    net.queue = [torch.full((32, LANDMARKS, 32, 32), -30.0)] * 3
    Grimm(SMOKE).between(SMOKE.steps // 2, net, net, stream)
    assert torch.equal(net.landmarks, first)
    assert net.used.all()


def test_a_training_that_starts_from_a_model_has_landmarks_of_its_own(stream, volume):
    net = prepared(stream)
    own = net.landmarks.clone()
    for buffer in (net.landmarks, net.isocenter, net.camera):
        buffer.add_(50.0)
    other = PoseRegressor(net, SMOKE, CARM, CtIdentity.of(volume))
    # so little that the weights are still those it began with, and the landmarks have not moved
    settings = SMOKE.changed(images=16, learning_rate=1e-12, validation=4)
    begun = next(training_steps(volume, CARM, settings, start=other)).network
    model = train(volume, CARM, settings, start=other)
    for network in (begun, model.network):
        assert torch.equal(network.landmarks, own)
        assert_close(network.isocenter, stream.volume.isocenter)
    assert torch.equal(begun.last.weight, net.last.weight)
    assert torch.equal(model.network.last.weight, net.last.weight.half().float())  # as it is kept
    assert model.training["start"] == {"images": 0, "patients": 1, "same_patient": True}


def test_variances_are_the_detections_errors_where_they_are_made(volume):
    plain = SMOKE.changed(acquired=False)
    stream = DrrStream(volume, CARM, plain, purpose=1)
    net, views = oracle(stream), poses_of(stream, 1, 288)
    off = torch.linspace(0, 1.5, LANDMARKS, dtype=torch.float64)
    cranial = views.numbers[:, 0] > 5
    error = torch.where(cranial[:, None], off, 0.0)
    seen = net.scene().project(views)
    net.foresee(seen + error[..., None] * torch.tensor([1.0, 0.0]), torch.zeros(288, 1, 1, dtype=torch.bool))
    Grimm(plain).finish(net, stream)
    deviation = net.variances.sqrt()
    # never near the edge, which cuts peaks off
    often = ((seen > 4) & (seen < 59)).all(2).all(0)
    assert (often & (off > 0.5)).sum() >= 5
    assert (deviation[6:] / deviation[:3])[:, often & (off > 0.5)].min() > 2.5
    assert_close(deviation[6:].mean(0)[often], off.clamp_min(0.1)[often], rtol=0.25, atol=0.35)
    assert net.variances.isfinite().all()
    assert net.variances.min() > 0


def test_augmentations_come_from_torchs_generator():
    images, masks = torch.randn(400, 1, 24, 24), torch.ones(400, 24, 24, dtype=torch.bool)
    for change in (lambda: invert_some(images, masks, "standard"), lambda: occlude_some(images)):
        torch.manual_seed(3)
        first = change()
        torch.manual_seed(3)
        assert torch.equal(change(), first)
        assert not torch.equal(change(), first)
    for normalisation in ("standard", "rank"):  # both about 0
        negative = (invert_some(images, masks, normalisation) == -images).flatten(1).all(1)
        assert 0.1 < negative.float().mean() < 0.3
    outside = masks.clone()
    outside[:, :4] = False
    turned = invert_some(images, outside, "min-max")
    assert torch.equal(turned[:, :, :4], images[:, :, :4])
    assert 0.1 < torch.isclose(turned, 1 - images)[:, :, 4:].flatten(1).all(1).float().mean() < 0.3
    changed = occlude_some(images) != images
    share = changed.flatten(1).float().mean(1)
    assert 0.4 < (share > 0).float().mean() < 0.6
    assert share.max() < 0.2
    assert 0.04 < share[share > 0].mean() < 0.09  # a quarter of the side, squared


def test_only_randomised_trainings_are_augmented(stream, monkeypatch):
    seen = []
    batch = stream.batch([(0, i) for i in range(8)])
    for acquired in (True, False):
        method = Grimm(SMOKE.changed(acquired=acquired))
        net = prepared(stream)
        monkeypatch.setattr(net, "forward", lambda x: seen.append(x) or torch.zeros(8, LANDMARKS, 32, 32))
        torch.manual_seed(0)
        method.loss(net, batch, 0.0)
    assert torch.equal(seen[1], Grimm(SMOKE).inputs(batch))
    assert not torch.equal(seen[0], seen[1])


def test_landmarks_outside_the_field_of_view_are_not_shown():
    masks = torch.ones(1, 64, 64, dtype=torch.bool)
    masks[:, :, 40:] = False
    pixels = torch.tensor([[[10.0, 10.0], [10.0, 50.0], [-3.0, 10.0], [10.0, 64.2], [63.4, 0.0]]])
    assert shown(pixels, masks).tolist() == [[True, False, False, False, True]]


def test_the_loss_falls_and_ignores_unused_landmarks(stream):
    net, method = prepared(stream), Grimm(SMOKE.changed(acquired=False))
    batch = stream.batch([(0, i) for i in range(8)])
    before, parts = method.loss(net, batch, 0.0)
    assert parts["visible"] > 0
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-2)
    for _ in range(15):
        loss, _ = method.loss(net, batch, 0.0)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss < 0.9 * before
    net.used[:] = 0
    net.used[3] = 1
    net.zero_grad()
    method.loss(net, batch, 0.0)[0].backward()
    moved = net.last.bias.grad != 0
    assert moved.nonzero().flatten().tolist() == [3]


@pytest.fixture(scope="module")
def trained(volume, tmp_path_factory):
    folder = tmp_path_factory.mktemp("grimm")
    return train(volume, CARM, TRAINED, out=folder), folder


def test_a_trained_model_predicts_and_is_read_back(trained, stream):
    model, folder = trained
    batch = stream.batch([(5, i) for i in range(6)])
    numbers, attention = model.predict_batch(batch.images, batch.masks)
    assert numbers.shape == (6, 6)
    assert numbers.isfinite().all()
    assert attention is None
    read = PoseRegressor.load(folder)
    for name in ("landmarks", "used", "variances", "isocenter", "camera"):
        assert torch.equal(getattr(read.network, name), getattr(model.network, name)), name
    assert not torch.equal(model.network.variances, torch.ones_like(model.network.variances))
    model.save(folder / "whole", half=False)
    assert torch.equal(PoseRegressor.load(folder / "whole").predict_batch(batch.images, batch.masks)[0], numbers)


def test_an_interrupted_training_ends_as_the_whole_one(trained, volume, tmp_path):
    """Interrupted after the landmarks moved, so that they come from the checkpoint."""
    whole, _ = trained
    for step in training_steps(volume, CARM, TRAINED, folder=tmp_path):
        if step.number == 9:
            break
    resumed = train(volume, CARM, TRAINED, out=tmp_path, resume=True)
    for name, value in whole.network.state_dict().items():
        assert torch.equal(resumed.network.state_dict()[name], value), name


def test_an_image_of_nothing_has_a_finite_pose(trained):
    model, _ = trained
    blank = Batch(torch.zeros(2, 64, 64), torch.zeros(2, 64, 64, dtype=torch.bool), torch.zeros(2, 6))
    assert model.predict_batch(blank.images, blank.masks)[0].isfinite().all()


# --- the refinement that follows ------------------------------------------------------------------------------------------------


def test_the_refinement_is_coarse_then_fine(volume):
    first, second = PRESETS["grimm"]
    assert (first.method, second.method) == ("cma-es", "powell")
    assert first.pixels < second.pixels
    assert {first.similarity, second.similarity} == {"gradient-zncc"}
    first = replace(first, iterations=40)
    carm, truth = CARM.resized((64, 64)), Pose(rx=3, ry=-8, rz=2, tx=4, ty=-6, tz=8)
    xray = Xray(image=render(volume, carm, truth)[0], carm=carm)
    start = Pose(truth.numbers + torch.tensor([2.0, -2.0, 1.0, 4.0, -4.0, 8.0]))
    coarse, both = (refine(xray, volume, start, settings) for settings in (first, (first, second)))
    before, between, after = (
        float(mtre(pose, truth, volume.surface_points(32), carm, volume.isocenter)) for pose in (start, coarse.pose, both.pose)
    )
    assert after < 0.15 * before
    assert between < 0.5 * before
    assert both.initial == start
    assert both.evaluations > coarse.evaluations
    alone = refine(xray, volume, coarse.pose, second)
    assert both.pose == alone.pose
    assert both.evaluations == coarse.evaluations + alone.evaluations
