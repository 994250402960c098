"""The networks' own CPU kernels: against torch's layers, and the library's block, in float64."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from efficientnet_pytorch import EfficientNet
from torch import Tensor, nn
from torch.testing import assert_close

from xrcore.learning.networks.batch_norm import norm_silu
from xrcore.learning.networks.mobile_block import MobileBlock, pointwise
from xrcore.learning.networks.on_cpu import in_parts

# the last two: more numbers than are summed in one block
SHAPES = [(4, 6, 1, 1), (3, 1, 2, 2), (3, 5, 7, 4), (4, 33, 3, 5), (2, 8, 96, 97), (8, 640, 6, 6)]


@pytest.fixture(params=[1, 2])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def features(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).contiguous(memory_format=torch.channels_last)


def norm_of(channels: int, momentum: float | None = 0.1) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels, eps=1e-3, momentum=momentum)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return norm


def in_float64(norm: nn.BatchNorm2d, x: Tensor, grad: Tensor) -> tuple[nn.BatchNorm2d, Tensor, Tensor]:
    """Torch's norm after it, its output, and the gradient of its input."""
    exact = copy.deepcopy(norm).double()
    a = x.detach().double().requires_grad_()
    y = F.silu(exact(a))
    y.backward(grad.double())
    return exact, y.detach(), a.grad


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("mean", [0.0, 100.0])
def test_norm_and_silu_are_torchs(shape, mean, threads):
    x, grad, norm = features(*shape) + mean, features(*shape, seed=1), norm_of(shape[1])
    exact, wanted, of_x = in_float64(norm, x, grad)
    x.requires_grad_()
    y = norm_silu(norm, x)
    y.backward(grad)
    assert y.is_contiguous(memory_format=torch.channels_last)
    size = float(of_x.abs().max()) + 1e-6
    loose = 1 if mean == 0 else 100  # as many digits as the inputs have left
    assert_close(y.double(), wanted, rtol=1e-5 * loose, atol=2e-6 * loose)
    assert_close(x.grad.double(), of_x, rtol=1e-4 * loose, atol=1e-5 * size * loose)
    for name in ("weight", "bias"):
        mine, theirs = (getattr(one, name).grad.double() for one in (norm, exact))
        assert_close(mine, theirs, rtol=1e-4 * loose, atol=1e-5 * loose * (1 + float(theirs.abs().max())))
    assert norm.num_batches_tracked == exact.num_batches_tracked == 1
    assert_close(norm.running_mean.double(), exact.running_mean, rtol=1e-5, atol=1e-6)
    assert_close(norm.running_var.double(), exact.running_var, rtol=1e-4, atol=1e-6)


def test_a_pixel_far_from_all_others_costs_no_digits():
    x, norm = features(8, 4, 64, 64), norm_of(4)
    x[0, :, 0, 0] = 300.0
    exact, wanted, _ = in_float64(norm, x, torch.ones_like(x))
    y = norm_silu(norm, x)
    assert_close(y.double(), wanted, rtol=1e-4, atol=1e-4)
    assert_close(norm.running_var.double(), exact.running_var, rtol=1e-4, atol=0.0)


def test_images_in_the_other_order_of_memory_give_the_same():
    norm, again = norm_of(6), norm_of(6)
    again.load_state_dict(norm.state_dict())
    x, grad = features(3, 6, 5, 4), features(3, 6, 5, 4, seed=1)
    results = []
    for one, kind in ((norm, torch.channels_last), (again, torch.contiguous_format)):
        a = x.detach().contiguous(memory_format=kind).clone(memory_format=kind).requires_grad_()
        y = norm_silu(one, a)
        y.backward(grad.contiguous(memory_format=kind))
        results.append([y.detach(), a.grad, one.weight.grad])
    for mine, wanted in zip(*results, strict=True):
        assert torch.equal(mine, wanted)


def test_silu_is_right_far_from_zero():
    # the outputs of BatchNorm, so that the activation's inputs are known
    norm = nn.BatchNorm2d(1, eps=1e-12)
    values = torch.tensor([-3e4, -200.0, -100.0, -90.0, -20.0, -1.0, 0.0, 1.0, 20.0, 100.0, 3e4])
    norm.weight.data[:], norm.bias.data[:] = values.std(unbiased=False), values.mean()
    with torch.no_grad():
        y = norm_silu(norm, values.reshape(1, 1, 1, -1).contiguous(memory_format=torch.channels_last)).flatten()
    assert torch.isfinite(y).all()
    assert_close(y, F.silu(values), rtol=1e-3, atol=0.02)  # the norm itself rounds numbers of this size so


def test_a_norm_without_momentum_measures_the_plain_mean():
    norm, exact = norm_of(6, None), norm_of(6, None)
    for seed in range(3):
        x = features(2, 6, 5, 5, seed=seed) + seed
        norm_silu(norm, x)
        exact(x)
    assert_close(norm.running_mean, exact.running_mean)
    assert_close(norm.running_var, exact.running_var)


@pytest.mark.parametrize("norm", [nn.BatchNorm2d(8).eval(), nn.GroupNorm(4, 8), nn.BatchNorm2d(8, affine=False)])
def test_other_norms_are_left_to_torch(norm):
    x = features(3, 8, 4, 4)
    assert torch.equal(norm_silu(copy.deepcopy(norm), x), F.silu(norm(x)))


def test_one_value_a_channel_is_refused_as_torch_does():
    with pytest.raises(ValueError, match="more than 1 value"):
        norm_silu(norm_of(3), features(1, 3, 1, 1))


@pytest.mark.parametrize("bias", [True, False])
def test_a_convolution_of_single_pixels_is_torchs(bias):
    convolution, x = nn.Conv2d(6, 9, 1, bias=bias), features(3, 6, 5, 7)
    assert_close(pointwise(convolution, x), convolution(x), rtol=1e-5, atol=1e-6)
    assert pointwise(convolution, x).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("index", [0, 1, 2, 5])  # no expansion; a stride; a shortcut; 5 x 5 taps and a stride
def test_a_block_learns_as_the_librarys_does(index, threads):
    torch.manual_seed(0)
    theirs = EfficientNet.from_name("efficientnet-b0", in_channels=1, image_size=64, drop_connect_rate=None)._blocks[index]
    theirs.set_swish(memory_efficient=False)
    ours, exact = MobileBlock(copy.deepcopy(theirs)), theirs.double()
    x = features(4, theirs._block_args.input_filters, 12, 12)
    a, b = x.clone().requires_grad_(), x.double().requires_grad_()
    mine, wanted = ours(a), exact(b)
    assert_close(mine.double(), wanted, rtol=1e-4, atol=1e-4)
    grad = features(*mine.shape, seed=3)
    mine.backward(grad)
    wanted.backward(grad.double())
    gradients = {name: p.grad for name, p in exact.named_parameters()} | {"x": b.grad}
    for name, got in {"x": a.grad, **{name: p.grad for name, p in ours.named_parameters()}}.items():
        size = float(gradients[name].abs().max())
        assert_close(got.double(), gradients[name], rtol=1e-3, atol=1e-4 * size + 1e-6, msg=lambda text, name=name: f"{name}: {text}")
    for mine, wanted in zip(ours.buffers(), exact.buffers(), strict=True):
        assert_close(mine.double(), wanted.double(), rtol=1e-4, atol=1e-5)


def test_a_block_learns_under_autocast_as_without():
    torch.manual_seed(0)
    block = MobileBlock(EfficientNet.from_name("efficientnet-b0", in_channels=1, image_size=64, drop_connect_rate=None)._blocks[2])
    x, gradients = features(4, 24, 12, 12), []
    for half in (False, True):
        block.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            y = block(x)
        y.float().mul(features(*y.shape, seed=3)).sum().backward()
        gradients.append({name: p.grad for name, p in block.named_parameters()})
    for name, wanted in gradients[0].items():
        if wanted.norm() > 1e-3:  # a bias before a norm has none
            assert torch.cosine_similarity(wanted.flatten(), gradients[1][name].flatten(), dim=0) > 0.98, name


def test_a_block_evaluates_without_gradients_as_with_them():
    torch.manual_seed(0)
    block = MobileBlock(EfficientNet.from_name("efficientnet-b0", in_channels=1, image_size=64)._blocks[2]).eval()
    x = features(2, 24, 8, 8)
    with torch.no_grad():
        quiet = block(x)
    assert_close(quiet, block(x), rtol=1e-5, atol=1e-6)


def test_parts_cover_all_rows_in_order(threads):
    for count in (1, 2, 5):
        parts = in_parts(count, lambda part: list(range(part.start, part.stop)))
        assert len(parts) == min(threads, count)
        assert [row for part in parts for row in part] == list(range(count))
