"""Settings of a training, and the profiles."""

from __future__ import annotations

import json
import math

import pytest
from support.trainings import TINY

from xrcore._util.errors import XrcoreError
from xrcore.learning.methods import method_named
from xrcore.learning.training import TrainingSettings, profile


def test_settings_go_through_json_and_profiles_differ():
    for name in ("smoke", "laptop", "paper"):
        settings = profile(name)
        assert TrainingSettings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings
    assert profile("paper").architecture.pixels == 256
    with pytest.raises(XrcoreError, match="unknown profile 'huge'; choose from smoke, laptop, paper"):
        profile("huge")
    changed = TINY.changed(pixels=64, seed=3)
    assert (changed.architecture.pixels, changed.seed, changed.batch) == (64, 3, 8)
    assert TINY.architecture.pixels == 32
    with pytest.raises(XrcoreError, match=r"no field .colour.; available: .*pixels"):
        TINY.changed(colour=1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"rotation": (1, 2)}, {"rotation": 5}, {"rotation": (0, 0, 0)}, {"rotation": (math.inf, 0, 0)}, {"translation": (math.nan, 1, 1)},
        {"translation": "wide"}, {"method": "resnet"}, {"scheme": "all"}, {"precision": "float16"}, {"optimiser": "lamb"}, {"images": 0},
        {"decay": "linear"}, {"coarse_pixels": 128}, {"coarse_pixels": 48}, {"coarse_share": 1.0}, {"prefetch": 1},
        {"batch": 10**9}, {"batch": 2.0}, {"set_size": 3}, {"set_size": 8.5}, {"spacing": 0}, {"spacing": math.inf}, {"clip": -1},
        {"learning_rate": "1e-3"}, {"learning_rate": math.nan}, {"weight_decay": -1}, {"ema": 1.0}, {"warmup": 1}, {"seed": -1},
        {"seed": 0.5}, {"seed": 2**32}, {"acquired": "no"}, {"restarts": 1}, {"validation": True}, {"architecture": {}},
        {"clinical": True, "acquired": False},
    ],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused_by_name(wrong):
    name = next(iter(wrong))
    with pytest.raises(XrcoreError, match=f"TrainingSettings: {name} must be"):
        TrainingSettings(**wrong)


@pytest.mark.parametrize("wrong", ["psss", {"pixels": 64}, None])
def test_a_changed_architecture_must_be_one(wrong):
    with pytest.raises(XrcoreError, match="TrainingSettings: architecture must be"):
        TrainingSettings().changed(architecture=wrong)


def test_methods_start_from_their_authors_settings():
    salehi = profile("smoke").changed(**method_named("salehi").defaults)
    assert (salehi.optimiser, salehi.batch) == ("sgd", 32)
