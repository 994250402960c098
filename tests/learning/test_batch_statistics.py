"""BatchNorm's statistics of a network that is kept."""

from __future__ import annotations

import copy

import pytest
import torch
from support.trainings import CARM, TINY, patient, stream
from torch import nn

from xrcore.learning.methods import method_named
from xrcore.learning.training import train
from xrcore.learning.training.batch_statistics import BatchStatistics
from xrcore.learning.training.evaluation import Evaluator
from xrcore.learning.training.stream import DrrStream


def statistics_of(settings) -> BatchStatistics:
    evaluator = Evaluator(method_named(settings.method)(settings), patient(), CARM, torch.device("cpu"))
    return BatchStatistics(evaluator, {settings.architecture.pixels: DrrStream(patient(), CARM, settings)})


def measured(settings, network: nn.Module) -> nn.Module:
    statistics_of(settings).measure(network, settings.architecture.pixels)
    return network


def test_statistics_are_the_mean_and_variance_of_what_a_layer_sees():
    settings = TINY.changed(precision="float32")
    network = method_named("psss")(settings).network()
    network.encoder.stem_norm.running_mean += 3.0
    measured(settings, network)
    batch = stream().batch([(0, i) for i in range(settings.batch)])  # as many as so short a training measures
    seen = network.encoder.stem(method_named("psss")(settings).inputs(batch).contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(network.encoder.stem_norm.running_mean, seen.mean((0, 2, 3)), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(network.encoder.stem_norm.running_var, seen.var((0, 2, 3)), atol=1e-5, rtol=1e-4)


def test_no_few_images_count_like_many():
    # 66 of 1056 images are measured over, of which two would make a chunk of their own
    statistics = statistics_of(TINY.changed(images=1056, batch=8, pixels=32))
    assert [len(batch.images) for batch in statistics._images(32)] == [64]


def test_measuring_leaves_the_rest_of_the_network_and_evaluates():
    settings = TINY.changed(precision="float32")
    network = method_named("psss")(settings).network()
    before = copy.deepcopy(network)
    measured(settings, network)
    assert not any(module.training for module in network.modules())
    # also those of the decoder
    assert all(int(norm.num_batches_tracked) > 0 for norm in network.modules() if isinstance(norm, nn.BatchNorm2d))
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), before.parameters(), strict=True))
    momenta = [[m.momentum for m in of.modules() if isinstance(m, nn.BatchNorm2d)] for of in (network, before)]
    assert momenta[0] == momenta[1]
    # a layer that also drops values does not while statistics are measured: twice is the same
    again = copy.deepcopy(network)
    measured(settings, again)
    assert all(torch.equal(a, b) for a, b in zip(network.buffers(), again.buffers(), strict=True))


@pytest.mark.parametrize("ema", [0.0, 0.5])
def test_a_trained_model_has_the_statistics_of_its_own_weights(ema):
    settings = TINY.changed(precision="float32", ema=ema)
    model = train(patient(), CARM, settings)
    expected = measured(settings, copy.deepcopy(model.network))
    for (name, mine), theirs in zip(model.network.named_buffers(), expected.buffers(), strict=True):
        if name.endswith("running_mean"):  # of weights before they were rounded to 16 bits, as it is itself
            torch.testing.assert_close(mine, theirs, atol=2e-2, rtol=2e-2)


def test_a_network_without_batch_norm_is_left_alone():
    settings = TINY.changed(norm_layer="group")
    network = method_named("psss")(settings).network()
    before = copy.deepcopy(network.state_dict())
    measured(settings, network)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
