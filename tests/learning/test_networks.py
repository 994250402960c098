"""The networks: each piece against torch, against the library it is taken from, or against a closed form."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from efficientnet_pytorch import EfficientNet
from torch import Tensor, nn
from torch.testing import assert_close

from xrcore._util.errors import XrcoreError
from xrcore.geometry import Pose
from xrcore.learning.methods import Batch, method_named
from xrcore.learning.methods.losses import edge_image, pose_loss, structure_loss
from xrcore.learning.methods.salehi import geodesic
from xrcore.learning.networks import Architecture
from xrcore.learning.networks.blocks import Decoder, Encoder, TokenAttention, replace_batch_norms, resample
from xrcore.learning.networks.depthwise import DepthwiseConvolution
from xrcore.learning.networks.patient_network import PatientNetwork
from xrcore.learning.networks.pose_transformer import EncoderLayer, PoseTransformer
from xrcore.learning.networks.resnet import PreActivationBlock, SalehiNetwork
from xrcore.learning.training import profile

SMALL = Architecture(pixels=64, bottleneck=16, hidden=32, tokens=16)
# the ablation's rows, and what else changes which layers there are
CONFIGURATIONS = {
    "A": {"autoencoder": False, "attention": False},
    "A, averaged": {"autoencoder": False, "attention": False, "pooling": "average"},
    "A+B": {"attention": False},
    "A+C": {"autoencoder": False},
    "A+B+C": {},
    "A+C, shallow": {"autoencoder": False, "deep": False},
    "A+B+C, groups": {"norm_layer": "group"},
}


def architecture(**changes) -> Architecture:
    return Architecture(**{**vars(SMALL), **changes})


def network(seed: int = 0, **changes) -> PatientNetwork:
    torch.manual_seed(seed)
    return PatientNetwork(architecture(**changes))


def images(count: int = 4, pixels: int = 64, seed: int = 1) -> Tensor:
    return torch.randn(count, 1, pixels, pixels, generator=torch.Generator().manual_seed(seed))


def both_convolutions(
    kernel: int, stride: int, shape: tuple[int, ...], kind: torch.dtype, pad: tuple[int, ...] = (0, 0, 0, 0)
) -> tuple[list[Tensor], list[Tensor]]:
    """Output, gradient of the input, gradient of the weights: ours, and float64 torch's for the same numbers."""
    generator = torch.Generator().manual_seed(kernel * 10 + stride)
    x, weight = (
        torch.randn(size, generator=generator).to(kind).contiguous(memory_format=torch.channels_last)
        for size in (shape, (shape[1], 1, kernel, kernel))
    )
    results = []
    for dtype in (kind, torch.float64):
        a = x.detach().clone().to(dtype).requires_grad_()
        layer = nn.Conv2d(shape[1], shape[1], kernel, stride, groups=shape[1], bias=False, dtype=dtype)
        layer.weight.data = weight.to(dtype)
        layer.static_padding = nn.ZeroPad2d(pad)  # as efficientnet-pytorch's layers have it
        out = DepthwiseConvolution(layer)(a) if dtype is kind else layer(F.pad(a, pad))
        grad = torch.randn(out.shape, generator=torch.Generator().manual_seed(9)).to(kind).to(dtype)
        out.backward(grad)
        results.append([out.detach(), a.grad, layer.weight.grad])
    return results[0], results[1]


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(12, 12), (13, 9), (8, 11)])
def test_depthwise_is_torchs(kernel, stride, size):
    ours, theirs = both_convolutions(kernel, stride, (3, 6, *size), torch.float32)
    for mine, wanted in zip(ours, theirs, strict=True):
        assert mine.shape == wanted.shape
        assert_close(mine.double(), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("pad", [(1, 1, 1, 1), (0, 1, 0, 1), (1, 2, 1, 2), (2, 0, 0, 3), (2, 2, 2, 2)])
@pytest.mark.parametrize("size", [(12, 12), (13, 8)])
def test_depthwise_pads_each_end_as_it_is_told(kernel, stride, pad, size):
    ours, theirs = both_convolutions(kernel, stride, (3, 6, *size), torch.float32, pad)
    for mine, wanted in zip(ours, theirs, strict=True):
        assert mine.shape == wanted.shape
        assert_close(mine.double(), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 1), (5, 2)])
def test_depthwise_in_half_precision_is_torchs_rounded(kernel, stride):
    ours, theirs = both_convolutions(kernel, stride, (3, 6, 13, 9), torch.bfloat16)
    for mine, wanted in zip(ours, theirs, strict=True):
        assert mine.dtype == torch.bfloat16
        assert_close(mine.double(), wanted, rtol=2**-7, atol=2**-7 * float(wanted.abs().max()))


def test_depthwise_is_the_same_each_time_and_sums_over_all_threads():
    # three images for two threads: unequal parts
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        first, theirs = both_convolutions(5, 2, (3, 8, 17, 17), torch.float32)
        again, _ = both_convolutions(5, 2, (3, 8, 17, 17), torch.float32)
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert_close(first[2].double(), theirs[2], rtol=1e-5, atol=1e-5)


def library_encoder(encoder: Encoder, pixels: int) -> EfficientNet:
    """The library's own network with the weights of ours."""
    whole = EfficientNet.from_name("efficientnet-b0", in_channels=1, image_size=pixels, batch_norm_momentum=0.9, drop_connect_rate=None)
    whole._conv_stem.load_state_dict(encoder.stem.state_dict())
    whole._bn0.load_state_dict(encoder.stem_norm.state_dict())
    whole._blocks.load_state_dict(encoder.blocks.state_dict())
    return whole


@pytest.mark.parametrize("pixels", [64, 72])
@pytest.mark.parametrize("training", [True, False])
def test_encoder_is_the_librarys(pixels, training):
    torch.manual_seed(0)
    encoder = Encoder(pixels, momentum=0.1, drop_connect=0.0).train(training)
    whole = library_encoder(encoder, pixels).train(training)
    # so that what extract_features ends with is the blocks' output itself
    whole._conv_head, whole._bn1, whole._swish = nn.Identity(), nn.Identity(), nn.SiLU()
    x = images(3, pixels)
    middle, deep, last = encoder(x)
    assert middle.shape == (3, 40, pixels // 8, pixels // 8)
    features = library_encoder(encoder, pixels).train(training).extract_endpoints(x)
    assert_close(middle, features["reduction_3"], rtol=1e-4, atol=1e-4)
    assert_close(deep, features["reduction_4"], rtol=1e-4, atol=1e-4)
    assert_close(last, features["reduction_5"], rtol=1e-4, atol=1e-4)
    last.square().mean().backward()
    features["reduction_5"].square().mean().backward()


def test_encoder_learns_as_the_library_does():
    torch.manual_seed(0)
    # in float64: through 50 layers of batch statistics rounding grows
    encoder = Encoder(64, momentum=0.1, drop_connect=0.0).double()
    whole = library_encoder(encoder, 64).double()
    whole.set_swish(memory_efficient=False)
    x = images(4).double()
    for features in (encoder(x)[-1], whole.extract_endpoints(x)["reduction_5"]):
        (features * torch.linspace(-1, 1, features[0].numel()).reshape(features[0].shape)).sum().backward()
    assert_close(encoder.stem.weight.grad, whole._conv_stem.weight.grad, rtol=1e-6, atol=1e-9)
    for (name, mine), wanted in zip(encoder.blocks.named_parameters(), whole._blocks.parameters(), strict=True):
        assert_close(mine.grad, wanted.grad, rtol=1e-6, atol=1e-7 * float(wanted.grad.abs().max()) + 1e-9, msg=name)
    assert_close(encoder.stem_norm.running_mean, whole._bn0.running_mean)


def test_drop_connect_drops_only_while_training():
    torch.manual_seed(0)
    encoder = Encoder(64, momentum=0.1, drop_connect=0.8)
    x = images(4)
    with torch.no_grad():
        assert not torch.equal(encoder(x)[-1], encoder(x)[-1])
        encoder.eval()
        assert torch.equal(encoder(x)[-1], encoder(x)[-1])


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_every_configuration_learns_with_all_its_parameters(name):
    changes = CONFIGURATIONS[name]
    settings = profile("smoke").changed(**{**vars(SMALL), **changes})
    method = method_named("psss")(settings)
    torch.manual_seed(0)
    net = method.network()
    batch = Batch(images()[:, 0], torch.ones(4, 64, 64, dtype=torch.bool), 10 * torch.rand(4, 6))
    optimiser = torch.optim.SGD(net.parameters(), lr=1e-4)
    before, parts = method.loss(net, batch, 0.0)
    assert set(parts) == ({"pose", "edges"} if changes.get("autoencoder", True) else {"pose"})
    before.backward()
    unmoved = {name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0}
    # the loss of the edges does not depend on their level; what nothing asks must not ask for gradients: processes would wait for them
    assert unmoved - {"decoder.last.bias"} == {name for name, p in net.named_parameters() if not p.requires_grad}
    assert ("bottleneck.0.weight" in unmoved) == (name == "A+C, shallow")
    assert "encoder.blocks.4._project_conv.weight" not in unmoved
    optimiser.step()
    after, _ = method.loss(net, batch, 0.0)
    assert after.item() < before.item()


def test_rows_of_the_ablation_share_the_names_of_their_weights():
    weights = {name: set(network(**CONFIGURATIONS[name]).state_dict()) for name in ("A", "A+B", "A+C", "A+B+C")}
    assert {k.split(".")[0] for k in weights["A"]} == {"encoder", "bottleneck", "head"}
    assert {k.split(".")[0] for k in weights["A+B"] - weights["A"]} == {"decoder"}
    assert {k.split(".")[0] for k in weights["A+C"] - weights["A"]} == {"tokens", "deep", "attention", "direct"}
    assert weights["A+B+C"] == weights["A+B"] | weights["A+C"]


def test_the_decoder_is_not_needed_for_a_prediction():
    with_decoder, without = network(), network(autoencoder=False)
    without.load_state_dict({k: v for k, v in with_decoder.state_dict().items() if not k.startswith("decoder.")})
    x = images()
    with torch.no_grad():
        predicted, expected = with_decoder.eval()(x), without.eval()(x)
    assert predicted.edges is None
    assert torch.equal(predicted.pose, expected.pose)


@pytest.mark.parametrize("stride", [1, 2, 4, 8])
def test_the_decoded_image_has_the_size_asked_for(stride):
    net = network(edge_stride=stride)
    assert net(images(2)).edges.shape == edge_image(images(2), stride).shape == (2, 1, 64 // stride, 64 // stride)
    assert Decoder(16, 32, 3)(torch.rand(2, 16, 3, 5)).shape == (2, 1, 24, 40)


@pytest.mark.parametrize(("pooling", "moves"), [("flatten", True), ("average", False)])
def test_flattening_keeps_where_things_are(pooling, moves):
    net = network(autoencoder=False, attention=False, pooling=pooling).eval()
    net.encoder = nn.Identity()  # which returns one tensor
    net.encoder.forward = lambda x: (x, x, features)
    features = torch.randn(1, Encoder.last, 2, 2)
    with torch.no_grad():
        here = net(images(1)).pose
        features = features.flip(-1)
        there = net(images(1)).pose
    assert torch.allclose(here, there, atol=1e-5) != moves


def test_attention_weighs_every_place_of_the_grid():
    net = network(heads=2).eval()
    with torch.no_grad():
        shown = net(images(3), attention=True)
        quiet = net(images(3))
    assert quiet.attention is None
    assert shown.attention.shape == (3, 2, 64, 64)  # (64 / 8)^2
    assert (shown.attention >= 0).all()
    assert_close(shown.attention.sum(-1), torch.ones(3, 2, 64), rtol=1e-5, atol=1e-5)
    # the fused product and the one that keeps its weights agree
    assert_close(shown.pose, quiet.pose, rtol=1e-4, atol=1e-5)


def test_attention_is_torchs():
    torch.manual_seed(0)
    ours, theirs = TokenAttention(16, 4, 5), nn.MultiheadAttention(16, 4, batch_first=True)
    theirs.in_proj_weight.data, theirs.in_proj_bias.data = ours.inward.weight.data, ours.inward.bias.data
    theirs.out_proj.load_state_dict(ours.outward.state_dict())
    tokens = torch.randn(2, 25, 16)
    normed = ours.norm(tokens)
    expected, weights = theirs(normed, normed, normed, average_attn_weights=False)
    for keep in (True, False):
        out, kept = ours(tokens, keep=keep)
        assert_close(out, tokens + expected + ours.position, rtol=1e-5, atol=1e-5)
    assert kept is None
    assert_close(ours(tokens, keep=True)[1], weights, rtol=1e-5, atol=1e-6)


def test_the_position_is_added_after_the_attention():
    # tokens in another order give the same in that order, but for the position, which stays where it is
    torch.manual_seed(0)
    layer = TokenAttention(16, 2, 4)
    nn.init.normal_(layer.position)
    tokens, order = torch.randn(2, 16, 16), torch.randperm(16)
    plain, turned = layer(tokens)[0] - layer.position, layer(tokens[:, order])[0] - layer.position
    assert_close(turned, plain[:, order], rtol=1e-5, atol=1e-5)
    before = layer.position.detach().clone()
    layer.position.data += 5.0
    assert_close(layer(tokens)[0] - plain, (before + 5.0).expand(2, -1, -1), rtol=1e-5, atol=1e-5)


def transformer(**changes) -> PoseTransformer:
    torch.manual_seed(0)
    return PoseTransformer(architecture(**changes))


def test_the_transformers_attention_shows_what_it_predicts_by():
    net = transformer().eval()
    with torch.no_grad():
        pose, weights = net(images(3), attention=True)
        quiet, none = net(images(3))
    assert none is None
    assert weights.shape == (3, 4, 64, 64)  # (64 / 8)^2
    assert_close(weights.sum(-1), torch.ones(3, 4, 64), rtol=1e-5, atol=1e-5)
    assert_close(pose, quiet, rtol=1e-4, atol=1e-5)


def test_the_transformers_attention_is_of_the_last_layer_whose_every_query_moves_the_pose():
    net, moved = transformer().eval(), []
    for layer in net.rotation.layers:
        layer.query_key.register_full_backward_hook(lambda _layer, _inward, outward: moved.append(outward[0][0, 1:, :256].abs().amax(-1)))
    pose, weights = net(images(1), attention=True)
    pose[:, :3].sum().backward()
    last, shown = moved[:2]  # from the last layer back
    assert not last.any()
    assert shown.all()
    query, _ = net.rotation.layers[-2].query_key.weight.chunk(2)
    with torch.no_grad():
        query.zero_()
        net.rotation.layers[-2].query_key.bias.zero_()
    assert_close(net(images(1), attention=True)[1], torch.full_like(weights, 1 / 64))


def test_a_transformer_layer_is_torchs():
    torch.manual_seed(0)
    ours, theirs = EncoderLayer(0.0), nn.TransformerEncoderLayer(256, 4, 256, 0.0, "gelu", batch_first=True, norm_first=True)
    theirs.self_attn.in_proj_weight.data = torch.cat([ours.query_key.weight, ours.value.weight]).data
    theirs.self_attn.in_proj_bias.data = torch.cat([ours.query_key.bias, ours.value.bias]).data
    theirs.self_attn.out_proj.load_state_dict(ours.outward.state_dict())
    theirs.linear1.load_state_dict(ours.feedforward[0].state_dict())
    theirs.linear2.load_state_dict(ours.feedforward[3].state_dict())
    tokens = torch.randn(2, 17, 256)
    assert_close(ours(tokens, torch.zeros(17, 256))[0], theirs(tokens), rtol=1e-5, atol=1e-5)


def test_the_transformer_sees_where_things_are():
    # its tokens have places, so that features in another order are another image
    net = transformer().eval()
    grid = torch.randn(1, 112, 4, 4)
    with torch.no_grad():
        assert not torch.allclose(net.translation(grid)[0], net.translation(grid.flip(-1))[0], atol=1e-3)
        for name in ("rows", "columns", "place"):
            getattr(net.translation, name).zero_()
        assert_close(net.translation(grid)[0], net.translation(grid.flip(-1))[0], rtol=1e-4, atol=1e-5)


def test_the_transformer_learns_with_all_its_parameters():
    settings = profile("smoke", "transposenet-like").changed(**vars(SMALL) | {"dropout": 0.0})
    assert (settings.optimiser, settings.decay, settings.batch, settings.learning_rate) == ("adam", "step", 8, 1e-4)
    method = method_named("transposenet-like")(settings)
    torch.manual_seed(0)
    net = method.network()
    batch = Batch(images()[:, 0], torch.ones(4, 64, 64, dtype=torch.bool), 10 * torch.rand(4, 6))
    loss, _ = method.loss(net, batch, 0.0)
    loss.backward()
    unmoved = {name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0}
    assert unmoved == {name for name, p in net.named_parameters() if not p.requires_grad}
    torch.optim.SGD(net.parameters(), lr=1e-5).step()
    assert method.loss(net, batch, 0.0)[0] < loss


def test_small_images_are_taken_by_resampled_grids():
    # the position embedding, and the bottleneck that is flattened, as they would be of an image twice the size
    net = network(pixels=128).eval()
    layer, tokens = net.attention, torch.randn(2, 64, 16)
    grid = F.avg_pool2d(layer.position.detach().T.reshape(1, 16, 16, 16), 2)
    with torch.no_grad():
        placed = layer(tokens)[0]
        kept = layer.position.clone()
        layer.position.zero_()
        assert_close(placed - layer(tokens)[0], grid[0].flatten(1).T.expand(2, -1, -1), rtol=1e-3, atol=1e-5)
        layer.position.copy_(kept)
        assert net(images(2, 64)).pose.shape == net(images(2, 128)).pose.shape == (2, 6)
    net.train()
    assert net(images(2, 64)).edges.shape == (2, 1, 16, 16)
    flat = torch.full((1, 16, 2, 2), 3.0)
    assert_close(resample(flat, 4), torch.full((1, 16, 4, 4), 3.0))


def test_group_norms_replace_all_and_divide_any_channels():
    net = network(norm_layer="group", bottleneck=20, decoder=12)
    assert not [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {m.num_groups for m in net.modules() if isinstance(m, nn.GroupNorm)} == {8, 4}
    assert net.encoder.stem_norm.num_groups == 8
    kept = nn.Sequential(nn.Sequential(nn.BatchNorm2d(16)))
    replace_batch_norms(kept)
    assert isinstance(kept[0][0], nn.GroupNorm)
    # an image alone and in a batch give the same, which batch norms in training do not
    single, together = net(images(1)).pose, net(images(3)[:1].repeat(3, 1, 1, 1)).pose
    assert single.shape == (1, 6)
    assert_close(net(images(2)[:1]).pose, net(images(2)).pose[:1], rtol=1e-4, atol=1e-5)
    assert_close(together[0], together[2])


@pytest.mark.parametrize(
    "wrong",
    [
        {"pixels": 100}, {"pixels": 16}, {"pixels": 64.0}, {"pixels": "64"}, {"pooling": "max"}, {"normalisation": "none"},
        {"norm_layer": "layer"}, {"heads": 3}, {"heads": 0}, {"edge_stride": 3}, {"edge_stride": True}, {"dropout": 1.0}, {"dropout": "0"},
        {"drop_connect": -0.1}, {"norm_momentum": 0.0}, {"norm_momentum": math.nan}, {"attention": "yes"}, {"autoencoder": 1},
        {"bottleneck": 0}, {"hidden": 8.5}, {"tokens": None}, {"decoder": -8}, {"deep": None},
    ],
)  # fmt: skip
def test_architectures_that_make_no_sense_are_refused_by_name(wrong):
    (name,) = wrong
    with pytest.raises(XrcoreError, match=f"Architecture: {name} must be"):
        Architecture(**wrong)


def test_the_papers_network_needs_multiples_of_32():
    with pytest.raises(XrcoreError, match="pixels must be a multiple of 32"):
        network(pixels=72)
    with pytest.raises(XrcoreError, match="unknown method 'deepdrr'; choose from psss, salehi, grimm, transposenet-like"):
        method_named("deepdrr")


def test_pose_loss_of_known_offsets():
    truth = torch.randn(2, 6)
    offset = torch.tensor([[3.0, 4.0, 0.0, 0.0, 0.0, 12.0], [0.0, 0.0, -1.0, 2.0, -3.0, 6.0]])
    assert float(pose_loss(truth + offset, truth)) == pytest.approx((5 + 12 + 1 + 7) / 2, rel=1e-5)
    exact = truth.clone().requires_grad_()
    pose_loss(exact, truth).backward()
    assert torch.isfinite(exact.grad).all()


@pytest.mark.parametrize("side", [1, 2, 7, 64])
def test_edge_image_is_relative_to_the_99th_percentile(side):
    x = images(2, side)
    padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
    strength = torch.hypot(padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2], padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1])
    level = torch.quantile(strength.flatten(1), 0.99, dim=1).clamp_min(1e-6)
    assert_close(edge_image(x), torch.tanh(strength / level[:, None, None, None]), rtol=1e-4, atol=1e-5)


def test_edge_image_of_a_ramp_and_of_nothing():
    rows, cols = torch.meshgrid(torch.arange(20.0), torch.arange(24.0), indexing="ij")
    ramp = (3 * cols + 4 * rows)[None, None]
    # constant gradient, so its own 99th percentile; half of it where the border is repeated
    edges = edge_image(ramp)
    assert edges.shape == (1, 1, 20, 24)
    assert_close(edges[..., 1:-1, 1:-1], torch.full((1, 1, 18, 22), math.tanh(1.0)), rtol=1e-4, atol=0)
    assert_close(edge_image(7 * ramp - 30), edges, rtol=1e-4, atol=1e-5)
    assert_close(edge_image(ramp, 4), F.avg_pool2d(edges, 4))
    assert torch.equal(edge_image(torch.full((2, 1, 8, 8), 3.0)), torch.zeros(2, 1, 8, 8))


def test_each_image_has_its_own_scale_of_edges():
    pair = torch.cat([images(1), 100 * images(1, seed=2)])
    assert_close(edge_image(pair), torch.cat([edge_image(pair[:1]), edge_image(pair[1:])]))


def test_structure_loss_is_one_minus_the_correlation():
    a = images(3)
    assert float(structure_loss(2.5 * a - 7, a)) == pytest.approx(0.0, abs=1e-5)
    assert float(structure_loss(-a, a)) == pytest.approx(2.0, abs=1e-5)
    assert float(structure_loss(torch.zeros_like(a), a)) == pytest.approx(1.0)
    mixed = torch.cat([a[:1], -a[1:2]])
    assert float(structure_loss(mixed, a[:2])) == pytest.approx(1.0, abs=1e-5)
    flat = torch.zeros_like(a, requires_grad=True)
    structure_loss(flat, a).backward()
    assert torch.isfinite(flat.grad).all()


def test_geodesic_of_known_angles():
    turns = Pose([[0.0, 0.0, angle, 0.0, 0.0, 0.0] for angle in (0.0, 1.0, 30.0, 90.0, 179.0)]).matrix()[:, :3, :3]
    start = Pose([20.0, -10.0, 5.0, 0.0, 0.0, 0.0]).matrix()[:, :3, :3]
    angles = torch.rad2deg(geodesic((start @ turns).float(), start.float().expand(5, 3, 3)))
    assert_close(angles, torch.tensor([0.0, 1.0, 30.0, 90.0, 179.0]), rtol=2e-3, atol=0.03)
    same = start.float().clone().requires_grad_()
    geodesic(same, start.float()).sum().backward()
    assert torch.isfinite(same.grad).all()


def test_geodesic_is_not_rounded_under_autocast():
    a, b = (Pose([x, 0.0, 0.0, 0.0, 0.0, 0.0]).matrix()[:, :3, :3].float() for x in (0.0, 3.0))
    with torch.autocast("cpu", torch.bfloat16):
        assert float(torch.rad2deg(geodesic(a, b))[0]) == pytest.approx(3.0, rel=1e-3)


def test_preactivation_block_of_zero_weights_is_its_shortcut():
    block = PreActivationBlock(4, 4, 1)
    nn.init.zeros_(block.conv2.weight)
    x = images(2, 8).repeat(1, 4, 1, 1)
    assert torch.equal(block(x), x)
    changed = PreActivationBlock(4, 6, 2)
    nn.init.zeros_(changed.conv2.weight)
    assert_close(changed(x), changed.shortcut(F.relu(changed.norm1(x))))


def test_salehi_counts_layers_and_starts_small():
    torch.manual_seed(0)
    net = SalehiNetwork()
    # 18: the stem, 2 in each of 8 blocks, the last; shortcuts are not counted
    assert len([m for m in net.modules() if isinstance(m, nn.Conv2d) and m.kernel_size != (1, 1)]) + 1 == 18
    rotation, translation = net(images(4))
    assert rotation.shape == translation.shape == (4, 3)
    assert float(rotation.detach().abs().max()) < 0.5
    net.rotation.bias.data += 1e3
    assert_close(net(images(4))[0], torch.full((4, 3), math.pi))


@pytest.mark.parametrize("done", [0.0, 0.9])
def test_salehis_loss_of_the_truth_is_nothing(done):
    settings = profile("smoke").changed(pixels=32, method="salehi")
    method = method_named("salehi")(settings)
    numbers = torch.tensor([[10.0, -5.0, 8.0, 12.0, -20.0, 30.0], [0.0, 15.0, 0.0, 0.0, 6.0, -9.0]])
    batch = Batch(images(2, 32)[:, 0], torch.ones(2, 32, 32, dtype=torch.bool), numbers)
    answer = Exact(Pose(numbers), settings.translation)
    # the cosine is clipped 5e-4 rad short of no angle
    assert float(method.loss(answer, batch, done)[0]) < 1e-3
    assert_close(method.predict(answer, batch).numbers.float(), numbers, rtol=1e-4, atol=1e-3)
    off = Batch(batch.images, batch.masks, numbers + torch.tensor([0.0, 0.0, 0.0, 20.0, 0.0, 0.0]))
    assert float(method.loss(answer, off, done)[0]) == pytest.approx(1 / 3, abs=1e-3)  # 20 mm count as a radian, of three


class Exact(nn.Module):
    """Answers with given poses, as `SalehiNetwork` would."""

    def __init__(self, pose: Pose, ranges: tuple[float, ...]) -> None:
        super().__init__()
        import roma

        matrix = pose.matrix()
        self.answer = roma.rotmat_to_rotvec(matrix[:, :3, :3]).float(), (matrix[:, :3, 3] / torch.tensor(ranges)).float()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.answer


def test_salehi_has_gradients_in_all_parameters():
    settings = profile("smoke").changed(pixels=32, method="salehi")
    method = method_named("salehi")(settings)
    torch.manual_seed(0)
    net = method.network()
    batch = Batch(images(4, 32)[:, 0], torch.ones(4, 32, 32, dtype=torch.bool), 10 * torch.rand(4, 6))
    for done in (0.1, 0.9):
        net.zero_grad()
        method.loss(net, batch, done)[0].backward()
        assert all(p.grad is not None and torch.isfinite(p.grad).all() and p.grad.abs().sum() > 0 for p in net.parameters())


def test_the_head_bias_of_the_votes_aside_numbers_scale_with_the_ranges():
    narrow, wide = (
        profile("smoke").changed(**vars(SMALL), rotation=(r, r, r), translation=(t, t, t)) for r, t in ((5.0, 10.0), (10.0, 40.0))
    )
    net = network().eval()
    batch = Batch(images()[:, 0], torch.ones(4, 64, 64, dtype=torch.bool), torch.zeros(4, 6))
    with torch.no_grad():
        a, b = (method_named("psss")(s).predict(net, batch).numbers for s in (narrow, wide))
    assert_close(b, a * torch.tensor([2.0, 2.0, 2.0, 4.0, 4.0, 4.0]))
