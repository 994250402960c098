"""`render` and `render_with_jacobian`: one surface over all backends."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from xrcore.beam import Beam
from xrcore.ct.volume import Volume
from xrcore.errors import XrcoreError
from xrcore.geometry import CArm, Pose
from xrcore.renderer import reference

BACKENDS = ("auto", "reference", "cpu")


def render(
    volume: Volume, carm: CArm, pose: Pose | Float[Tensor, "*B 6"], beam: Beam | None = None, backend: str = "auto"
) -> Float[Tensor, "B H W"]:
    """Digitally reconstructed radiographs: attenuation images, -log(I / I0), bone bright.

    Differentiable in `pose.numbers` on every backend (the gradient is the exact one, per degree and per mm), and in
    `volume.density` on "reference". backend: "reference" (plain torch, any device, float64 if the volume is), "cpu"
    (fused kernels, float32), or "auto": "cpu" unless the volume is float64, needs a gradient or lives elsewhere.

    Model: I(pixel) = sum_E p(E) E exp(-sum_m mu_m(E) A_m) for area densities A_m [g/cm2]; Unberath et al., *DeepDRR*,
    MICCAI 2018, as differentiated by Zhang et al., MICCAI 2023.
    """
    pose = pose if isinstance(pose, Pose) else Pose(pose)
    beam = Beam() if beam is None else beam
    if choose_backend(volume, backend) == "reference":
        return reference.render(volume, carm, pose, beam)
    return _Render.apply(pose.numbers, volume, carm, beam)


def render_with_jacobian(
    volume: Volume, carm: CArm, pose: Pose | Float[Tensor, "*B 6"], beam: Beam | None = None, backend: str = "auto"
) -> tuple[Float[Tensor, "B H W"], Float[Tensor, "B H W 6"]]:
    """Images and their whole Jacobian with respect to (rx, ry, rz, tx, ty, tz), per degree and per mm.

    The fast backends accumulate, beside each line integral, the sums of the density gradient and of depth times it.
    """
    pose = pose if isinstance(pose, Pose) else Pose(pose)
    beam = Beam() if beam is None else beam
    if choose_backend(volume, backend) == "reference":
        return reference.render_with_jacobian(volume, carm, pose, beam)
    from xrcore.renderer import cpu

    image, jacobian = cpu.render(volume, carm, pose, beam, with_jacobian=True)
    assert jacobian is not None
    return image, jacobian


def choose_backend(volume: Volume, backend: str = "auto") -> str:
    """The backend that `render` uses; raises XrcoreError where the one asked for cannot render this volume."""
    if backend not in BACKENDS:
        raise XrcoreError(f"render: unknown backend {backend!r}; choose from {', '.join(BACKENDS)}")
    density = volume.density
    if density.device.type != "cpu":
        obstacle = f"the volume is on {density.device}"
    elif density.dtype != torch.float32:
        obstacle = f"the volume is {str(density.dtype).removeprefix('torch.')}, not float32"
    elif density.requires_grad:
        obstacle = "a gradient with respect to the volume is asked for"
    else:
        return "cpu" if backend == "auto" else backend
    if backend == "cpu":
        raise XrcoreError(f'render: backend "cpu" cannot serve here: {obstacle}; use backend="reference"')
    return "reference"


class _Render(torch.autograd.Function):
    """The image with its Jacobian kept, so that the backward pass is one contraction."""

    @staticmethod
    def forward(ctx, numbers, volume, carm, beam):
        from xrcore.renderer import cpu

        image, jacobian = cpu.render(volume, carm, Pose(numbers), beam, with_jacobian=ctx.needs_input_grad[0])
        ctx.save_for_backward(jacobian)
        ctx.dtype = numbers.dtype
        return image

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        (jacobian,) = ctx.saved_tensors
        return torch.einsum("bhw,bhwi->bi", grad, jacobian).to(ctx.dtype), None, None, None
