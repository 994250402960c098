"""Grimm et al., TMI 2021: patient-specific landmarks, found by a network and weighted by its errors at similar poses."""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from xrcore._util.threads import single_torch_thread
from xrcore.geometry import CArm, Pose
from xrcore.learning.methods.base import Method, Prediction, Stream, unwrapped
from xrcore.learning.methods.batch import Batch
from xrcore.learning.methods.heat_maps import heat_map_loss, peaks
from xrcore.learning.methods.landmarks import Rays, choose_landmarks, inside, triangulate
from xrcore.learning.methods.pnp import Scene, agreeing, improve, ransac
from xrcore.learning.networks.unet import UNet
from xrcore.learning.settings import TrainingSettings

LANDMARKS = 32
_SIDE = 3  # pose bins along each of rx and ry
_VIEWS, _MEASURED = 96, 288  # simulated views for triangulation, and for the variances
_TRIANGULATION_SET, _VARIANCE_SET = 1_000, 1  # sets of DRRs that are neither trained on nor validated with
_CHUNK = 32
_TOLERANCE = 0.03  # of the image's side, between a detection and a projection that agree
_RAY_DISTANCE = 8.0  # [mm] between a landmark and a ray that meet
_LEAST = 6  # landmarks that make a pose
_REFINEMENTS = 12  # of the weighted least squares
_PRIOR_WEIGHT = 4.0  # detections' worth of the landmark's own variance in each bin's
_SHARPEST = 0.1  # [pixels], standard deviation
_INVERTED, _OCCLUDED = 0.2, 0.5  # shares of the images
_OCCLUSION = (0.1, 0.4)  # sides, as shares of the image's


class LandmarkNetwork(UNet):
    """The U-Net, and the geometry that turns its heat maps into a pose.

    Its buffers are in double precision, since world coordinates in half precision would be off by tenths of a mm.

    Parameters
    ----------
    settings : TrainingSettings
        Of the training.
    """

    landmarks: Float[Tensor, "L 3"]  # world [mm]
    used: Float[Tensor, " L"]  # 1, or 0 for landmarks that are not there
    variances: Float[Tensor, "bins L"]  # of the detections, by pose bin [pixels^2]
    isocenter: Float[Tensor, "3"]  # world [mm]
    camera: Float[Tensor, "6"]  # source_to_detector, source_to_isocenter, pixel spacing (2) [mm], principal point (2) [pixels]

    def __init__(self, settings: TrainingSettings) -> None:
        a = settings.architecture
        super().__init__(LANDMARKS, a.decoder, momentum=a.norm_momentum, norm_layer=a.norm_layer)
        self.pixels, self.limits = a.pixels, settings.limits
        for name, value in (
            ("landmarks", torch.zeros(LANDMARKS, 3)),
            ("used", torch.zeros(LANDMARKS)),
            ("variances", torch.ones(_SIDE**2, LANDMARKS)),
            ("isocenter", torch.zeros(3)),
            ("camera", torch.zeros(6)),
        ):
            self.register_buffer(name, value.double())

    def place(self, carm: CArm, isocenter: Tensor) -> None:
        """Store the geometry.

        Parameters
        ----------
        carm : CArm
            With the network's pixels.
        isocenter : Float[Tensor, "3"]
            World [mm].
        """
        values = (carm.source_to_detector, carm.source_to_isocenter, *carm.spacing, *carm.center)
        self.camera.copy_(torch.tensor(values, dtype=torch.float64))
        self.isocenter.copy_(isocenter)

    def scene(self) -> Scene:
        """Return the landmarks before the C-arm, on the CPU.

        Returns
        -------
        Scene
            As PnP takes it.
        """
        detector, center, *rest = self.camera.tolist()
        carm = CArm(
            source_to_detector=detector,
            source_to_isocenter=center,
            shape=(self.pixels, self.pixels),
            pixel_spacing=(rest[0], rest[1]),
            principal_point=(rest[2], rest[3]),
        )
        return Scene(self.landmarks.cpu(), carm, self.isocenter.cpu(), self.limits)

    def bins(self, pose: Pose) -> Int[Tensor, " B"]:
        """Find the bin of each pose: thirds of the range of rx by thirds of that of ry; poses outside count to the outermost.

        Parameters
        ----------
        pose : Pose
            A batch.

        Returns
        -------
        Int[Tensor, "B"]
            From 0 to 8.
        """
        ranges = torch.tensor(self.limits[:2], dtype=torch.float64).clamp_min(1e-9)
        third = ((pose.numbers[:, :2] / ranges + 1) / 2 * _SIDE).floor().clamp(0, _SIDE - 1).long()
        return third[:, 0] * _SIDE + third[:, 1]

    def poses(self, pixels: Float[Tensor, "B L 2"], confidence: Float[Tensor, "B L"]) -> Pose:
        """Make poses of detections: RANSAC, then least squares weighted by confidence over the variance at the pose reached.

        Parameters
        ----------
        pixels : Float[Tensor, "B L 2"]
            Detections (row, col) [pixels].
        confidence : Float[Tensor, "B L"]
            From 0 to 1.

        Returns
        -------
        Pose
            The zero pose where fewer than six landmarks agree, or where the pose lies far outside the ranges.
        """
        scene, variances = self.scene(), self.variances.cpu()
        confidence = confidence * self.used.cpu()
        tolerance = _TOLERANCE * self.pixels
        pose, agree = ransac(scene, pixels, confidence, tolerance)
        for _ in range(_REFINEMENTS):
            pose = improve(scene, pose, pixels, agree * confidence / variances[self.bins(pose)])
            agree = agreeing(scene, pose, pixels, confidence, tolerance)
        found = (agree.sum(1) >= _LEAST) & scene.believable(pose)
        return Pose(torch.where(found[:, None], pose.numbers, 0.0))


class Grimm(Method):
    """A reimplementation from the abstract; what that leaves open is chosen here.

    Landmarks are chosen on the bone, not annotated; half of the training is spent on these, half on those triangulated from its detections.

    References
    ----------
    Grimm, Esteban, Unberath, Navab, *Pose-dependent weights and domain randomization for fully automatic X-ray to CT registration*,
    IEEE TMI 40(9), 2021.
    """

    of_patient: ClassVar[bool] = True
    defaults: ClassVar[dict[str, object]] = {"acquired": True}  # randomisation is a part of the method

    def network(self) -> nn.Module:
        return LandmarkNetwork(self.settings)

    def prepare(self, network: nn.Module, stream: Stream) -> None:
        net = unwrapped(network, LandmarkNetwork)
        views = Pose(torch.stack([torch.from_numpy(stream.pose(_TRIANGULATION_SET, i)) for i in range(_VIEWS)]))
        points, there = choose_landmarks(stream.volume, stream.carm, views, LANDMARKS)
        net.place(stream.carm, stream.volume.isocenter)
        net.landmarks.copy_(points)
        net.used.copy_(there)
        net.variances.fill_(1.0)

    def loss(self, network: nn.Module, batch: Batch, done: float) -> tuple[Tensor, dict[str, Tensor]]:
        images = self.inputs(batch)
        if self.settings.acquired:
            images = occlude_some(invert_some(images, batch.masks, self.settings.architecture.normalisation))
        logits = network(images)
        net = unwrapped(network, LandmarkNetwork)
        pixels = net.scene().project(Pose(batch.numbers.double().cpu()))
        visible = shown(pixels, batch.masks.cpu())
        losses = heat_map_loss(logits, pixels.to(logits), visible.to(logits.device))
        weights = net.used.to(losses).expand_as(losses)
        loss = (losses * weights).sum() / weights.sum().clamp_min(1)
        seen = visible.to(losses) * weights
        return loss, {"visible": (losses.detach() * seen).sum() / seen.sum().clamp_min(1)}

    def between(self, step: int, network: nn.Module, averaged: nn.Module, stream: Stream) -> None:
        if step != self.settings.steps // 2:
            return
        net, detector = unwrapped(network, LandmarkNetwork), unwrapped(averaged, LandmarkNetwork)
        pixels, confidence, views, _ = self._detections(detector, stream, _TRIANGULATION_SET, _VIEWS)
        scene = detector.scene()
        rays = Rays.through(pixels, views, scene.carm, scene.isocenter)
        points, meet = triangulate(rays, confidence, _RAY_DISTANCE)
        meet &= net.used.cpu() > 0
        # a detector that agrees with itself nowhere is taught the first landmarks on
        if int(meet.sum()) >= _LEAST:
            for each in {net, detector}:
                each.landmarks.copy_(torch.where(meet[:, None], points, scene.points))
                each.used.copy_(meet)

    def finish(self, averaged: nn.Module, stream: Stream) -> None:
        net = unwrapped(averaged, LandmarkNetwork)
        pixels, confidence, views, masks = self._detections(net, stream, _VARIANCE_SET, _MEASURED)
        truth = net.scene().project(views)
        limit = _TOLERANCE * net.pixels
        # what is farther off is left out of the least squares, so should not count for more
        square = (pixels - truth).square().sum(-1).clamp_max(limit**2)
        weights = confidence * shown(truth, masks)
        overall = ((square * weights).sum(0) + limit**2) / (weights.sum(0) + 1)
        here = nn.functional.one_hot(net.bins(views), _SIDE**2).double().T  # (bins, V)
        variances = (here @ (square * weights) + _PRIOR_WEIGHT * overall) / (here @ weights + _PRIOR_WEIGHT)
        net.variances.copy_(variances.clamp_min(_SHARPEST**2))

    def predict(self, network: nn.Module, batch: Batch, *, attention: bool = False) -> Prediction:
        pixels, confidence = peaks(network(self.inputs(batch)))
        return Prediction(unwrapped(network, LandmarkNetwork).poses(pixels.cpu().double(), confidence.cpu().double()).numbers)

    @torch.no_grad()
    def _detections(self, net: LandmarkNetwork, stream: Stream, number: int, count: int) -> tuple[Tensor, Tensor, Pose, Tensor]:
        """Pixels (V, L, 2) and confidence (V, L) of the detections in views of set `number`, their true poses, and masks (V, H, W)."""
        net.eval()
        device = next(net.parameters()).device
        parts: list[tuple[Tensor, Tensor]] = []
        masks: list[Tensor] = []
        for first in range(0, count, _CHUNK):
            with single_torch_thread():
                batch = stream.batch([(number, i) for i in range(first, min(first + _CHUNK, count))])
            parts.append(peaks(net(self.inputs(batch).to(device))))
            masks.append(batch.masks.cpu())
        pixels, confidence = (torch.cat(part).cpu().double() for part in zip(*parts, strict=True))
        numbers = torch.stack([torch.from_numpy(stream.pose(number, i)) for i in range(count)])
        return pixels, confidence, Pose(numbers), torch.cat(masks)


def shown(pixels: Float[Tensor, "B L 2"], masks: Bool[Tensor, "B H W"]) -> Bool[Tensor, "B L"]:
    """Say whether landmarks lie in the image and in its field of view.

    Parameters
    ----------
    pixels : Float[Tensor, "B L 2"]
        Where they are projected (row, col) [pixels].
    masks : Bool[Tensor, "B H W"]
        True inside the field of view.

    Returns
    -------
    Bool[Tensor, "B L"]
        True where they do.
    """
    rows, cols = masks.shape[1:]
    row, col = pixels.round().long().unbind(-1)
    view = torch.arange(len(masks))[:, None]
    return inside(pixels, (rows, cols)) & masks[view, row.clamp(0, rows - 1), col.clamp(0, cols - 1)]


def invert_some(images: Float[Tensor, "B 1 H W"], masks: Bool[Tensor, "B H W"], normalisation: str) -> Float[Tensor, "B 1 H W"]:
    """Invert the grey values of a fifth of a network's inputs, drawn from torch's generator.

    Parameters
    ----------
    images : Float[Tensor, "B 1 H W"]
        Standardised.
    masks : Bool[Tensor, "B H W"]
        True inside the field of view.
    normalisation : str
        By which they were normalised.

    Returns
    -------
    Float[Tensor, "B 1 H W"]
        Some of them inverted.
    """
    chosen = (torch.rand(len(images)) < _INVERTED).to(images.device)[:, None, None, None]
    negative = torch.where(masks[:, None], 1 - images, images) if normalisation == "min-max" else -images
    return torch.where(chosen, negative, images)


def occlude_some(images: Float[Tensor, "B 1 H W"]) -> Float[Tensor, "B 1 H W"]:
    """Cover half of a network's inputs by a rectangle of a grey value of the image's range, drawn from torch's generator.

    Parameters
    ----------
    images : Float[Tensor, "B 1 H W"]
        Standardised.

    Returns
    -------
    Float[Tensor, "B 1 H W"]
        Some of them occluded.
    """
    _, _, rows, cols = images.shape
    draws = torch.rand(len(images), 6).to(images.device)
    covered = draws[:, 0, None, None] < _OCCLUDED
    for size, shape, which in ((rows, (1, rows, 1), 1), (cols, (1, 1, cols), 2)):
        side = (_OCCLUSION[0] + (_OCCLUSION[1] - _OCCLUSION[0]) * draws[:, which]) * size
        start = draws[:, which + 2] * (size - side)
        at = torch.arange(size, device=images.device).reshape(shape)
        covered = covered & (at >= start[:, None, None]) & (at < (start + side)[:, None, None])
    low, high = images.amin((1, 2, 3)), images.amax((1, 2, 3))
    grey = low + (high - low) * draws[:, 5]
    return torch.where(covered[:, None], grey[:, None, None, None], images)
