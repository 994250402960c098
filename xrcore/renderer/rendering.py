"""Render a volume, by the backend that suits it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from xrcore._util.devices import kernel_obstacle, no_gpu
from xrcore._util.errors import XrcoreError, require
from xrcore._util.logs import log_once
from xrcore._util.out_of_memory import memory_advice
from xrcore.beam import Beam
from xrcore.ct.volume import Volume
from xrcore.geometry import CArm, Pose
from xrcore.renderer import reference

T = TypeVar("T", bound=tuple[Tensor, ...])

BACKENDS = ("auto", "reference", "cpu", "cuda")


@memory_advice("render", "fewer pixels, fewer poses at once or a coarser volume need less")
def render(
    volume: Volume, carm: CArm, pose: Pose | Float[Tensor, "*B 6"], beam: Beam | Sequence[Beam] | None = None, backend: str = "auto"
) -> Float[Tensor, "B H W"]:
    """Render digitally reconstructed radiographs.

    Differentiable in `pose.numbers` on every backend (the gradient is the exact one, per degree and per mm), and in `volume.density` on
    "reference".

    Parameters
    ----------
    volume : Volume
        Densities per material.
    carm : CArm
        The camera.
    pose : Pose or Float[Tensor, "*B 6"]
        B poses, (rx, ry, rz, tx, ty, tz) [deg, mm].
    beam : Beam or sequence of Beam, optional
        One for all poses, or one for each; the default is the paper's, 90 kV.
    backend : str
        "reference" (plain torch, any device, float64 if the volume is), "cpu" or "cuda" (fused kernels, float32, for a volume that is
        there: `volume.to("cuda")`), or "auto": the fused one of the volume's device, unless the volume is float64 or needs a gradient.

    Returns
    -------
    Float[Tensor, "B H W"]
        Attenuation images, -log(I / I0), bone bright, on the volume's device.

    Raises
    ------
    XrcoreError
        If the backend cannot render this volume, or the numbers of beams and poses differ.

    Notes
    -----
    I(pixel) = sum_E p(E) E exp(-sum_m mu_m(E) A_m) for area densities A_m [g/cm2].

    References
    ----------
    Unberath et al., *DeepDRR*, MICCAI 2018, as differentiated by Zhang et al., MICCAI 2023.

    Examples
    --------
    >>> import xrcore as xr
    >>> from xrcore.geometry.presets import PAPER_CARM
    >>> volume = xr.phantom.pelvis(spacing=8.0)
    >>> image = xr.render(volume, PAPER_CARM.resized((64, 64)), xr.Pose(ry=20.0))
    >>> image.shape
    torch.Size([1, 64, 64])
    """
    pose = _checked(volume, carm, pose)
    backend = choose_backend(volume, backend)

    def draw(pose: Pose, beam: Any) -> tuple[Tensor]:
        if backend == "reference":
            return (reference.render(volume, carm, pose, beam),)
        # without gradients, a pose that asks for one would still cost the Jacobian
        numbers = pose.numbers if torch.is_grad_enabled() else pose.numbers.detach()
        return (_Render.apply(numbers, volume, carm, beam, backend),)

    (image,) = _by_beam(draw, pose, beam, at_once=backend == "cuda")
    return image


@memory_advice("render_with_jacobian", "fewer pixels, fewer poses at once or a coarser volume need less")
def render_with_jacobian(
    volume: Volume, carm: CArm, pose: Pose | Float[Tensor, "*B 6"], beam: Beam | Sequence[Beam] | None = None, backend: str = "auto"
) -> tuple[Float[Tensor, "B H W"], Float[Tensor, "B H W 6"]]:
    """Render images with their whole pose Jacobian.

    The fast backends accumulate, beside each line integral, the sums of the density gradient and of depth times it.

    Parameters
    ----------
    volume : Volume
        Densities per material.
    carm : CArm
        The camera.
    pose : Pose or Float[Tensor, "*B 6"]
        B poses, (rx, ry, rz, tx, ty, tz) [deg, mm].
    beam : Beam or sequence of Beam, optional
        One for all poses, or one for each; the default is the paper's, 90 kV.
    backend : str
        As for `render`.

    Returns
    -------
    image : Float[Tensor, "B H W"]
        What `render` returns.
    jacobian : Float[Tensor, "B H W 6"]
        Its derivative by (rx, ry, rz, tx, ty, tz), per degree and per mm.

    Raises
    ------
    XrcoreError
        As `render`.
    """
    pose = _checked(volume, carm, pose)
    backend = choose_backend(volume, backend)

    def draw(pose: Pose, beam: Any) -> tuple[Tensor, Tensor]:
        if backend == "reference":
            return reference.render_with_jacobian(volume, carm, pose, beam)
        image, jacobian = _fused(backend)(volume, carm, pose, beam, with_jacobian=True)
        assert jacobian is not None
        return image, jacobian

    return _by_beam(draw, pose, beam, at_once=backend == "cuda")


def _checked(volume: object, carm: object, pose: Pose | Tensor | None) -> Pose:
    """The poses; raises XrcoreError, naming it, for an argument that is of another kind."""
    require("render", "volume", volume, isinstance(volume, Volume), "a Volume, such as read_ct gives")
    require("render", "carm", carm, isinstance(carm, CArm), "a CArm")
    require("render", "pose", pose, pose is not None, "a Pose, or six numbers for each pose")
    pose = pose if isinstance(pose, Pose) else Pose(pose)
    # cameras are made of poses on the CPU; gradients find their way back
    return pose if pose.numbers.device.type == "cpu" else Pose(pose.numbers.cpu())


def _by_beam(draw: Callable[[Pose, Any], T], pose: Pose, beam: Beam | Sequence[Beam] | None, *, at_once: bool) -> T:
    """What `draw` makes of the poses that share a beam, in the poses' order; at_once: it takes a beam for each pose, too.

    Raises XrcoreError unless there is one beam, or one for each pose.
    """
    if beam is None or isinstance(beam, Beam):
        return draw(pose, Beam() if beam is None else beam)
    beams = list(beam) if isinstance(beam, Iterable) else []
    several = isinstance(beam, Iterable) and all(isinstance(one, Beam) for one in beams)
    require("render", "beam", beam, several, "a Beam, or one for each pose")
    if len(beams) != len(pose):
        raise XrcoreError(f"render: {len(beams)} beams for {len(pose)} poses; give one, or one for each pose")
    groups = [[i for i, one in enumerate(beams) if one == kind] for kind in dict.fromkeys(beams)]
    if len(groups) < 2:
        return draw(pose, beams[0] if beams else Beam())
    if at_once:
        return draw(pose, beams)
    parts = [draw(pose[torch.tensor(group)], beams[group[0]]) for group in groups]
    order = torch.tensor([i for group in groups for i in group]).argsort()
    return tuple(torch.cat(part)[order] for part in zip(*parts, strict=True))  # type: ignore[return-value]


def choose_backend(volume: Volume, backend: str = "auto") -> str:
    """Choose the backend that `render` uses.

    Parameters
    ----------
    volume : Volume
        What is to be rendered.
    backend : str
        A name of `BACKENDS`.

    Returns
    -------
    str
        "reference", "cpu" or "cuda".

    Raises
    ------
    XrcoreError
        If the one asked for cannot render this volume.
    """
    if backend not in BACKENDS:
        raise XrcoreError(f"render: unknown backend {backend!r}; choose from {', '.join(BACKENDS)}")
    if backend == "reference":
        return backend
    fused = backend if backend != "auto" else "cuda" if volume.device.type == "cuda" else "cpu"
    obstacle = _obstacle(volume, fused)
    if not obstacle:
        return fused
    if backend != "auto":
        raise XrcoreError(f'render: backend "{backend}" cannot serve here: {obstacle}; or use backend="auto"')
    if fused == "cuda" and kernel_obstacle(volume.device):
        log_once(f"rendering on {volume.device} with plain torch, slowly: {obstacle}")
    return "reference"


def _obstacle(volume: Volume, fused: str) -> str:
    """Why this volume cannot be rendered by that backend, or nothing."""
    density = volume.density
    interpreted = fused == "cuda" and os.environ.get("TRITON_INTERPRET") == "1"
    if density.device.type != fused and not (interpreted and density.device.type == "cpu"):
        if fused == "cuda" and not torch.cuda.is_available():
            return f"there is no GPU ({no_gpu()})"
        there = "a GPU" if fused == "cuda" else "the CPU"
        return f'the volume is on {density.device}, not on {there}; move it there with volume.to("{fused}")'
    if fused == "cuda" and (why := kernel_obstacle(density.device)):
        return why
    if density.dtype != torch.float32:
        return f"the volume is {str(density.dtype).removeprefix('torch.')}, not float32"
    if density.requires_grad:
        return "a gradient with respect to the volume is asked for"
    return ""


def _fused(backend: str) -> Callable[..., tuple[Tensor, Tensor | None]]:
    if backend == "cuda":
        from xrcore.renderer import cuda

        return cuda.render
    from xrcore.renderer import cpu

    return cpu.render


class _Render(torch.autograd.Function):
    """The image with its Jacobian kept, so that the backward pass is one contraction."""

    @staticmethod
    def forward(ctx, numbers, volume, carm, beam, backend):
        image, jacobian = _fused(backend)(volume, carm, Pose(numbers), beam, with_jacobian=ctx.needs_input_grad[0])
        ctx.save_for_backward(jacobian)
        ctx.numbers = numbers.device, numbers.dtype
        return image

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        (jacobian,) = ctx.saved_tensors
        return torch.einsum("bhw,bhwi->bi", grad, jacobian).to(*ctx.numbers), None, None, None, None
