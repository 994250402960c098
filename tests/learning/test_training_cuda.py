"""A whole training on a GPU, where there is one; its parts are tested without one elsewhere."""

from __future__ import annotations

import math

import pytest
import torch

from xrcore import phantom
from xrcore.geometry.presets import PAPER_CARM
from xrcore.learning.training import profile, train

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")

TINY = profile("smoke").changed(
    pixels=32, bottleneck=16, hidden=32, tokens=16, decoder=16, images=64, batch=8, validation=8, validate_every=32, checkpoint_every=32
)


@pytest.mark.parametrize("acquired", [True, False])
def test_a_training_runs_there_from_end_to_end(acquired):
    model = train(phantom.pelvis(spacing=6.0), PAPER_CARM, TINY.changed(acquired=acquired), device="cuda")
    assert "gpu" in model.training["machine"]
    assert math.isfinite(model.training["validation"]["mtre"])
