"""What clinical images show besides the patient, as a training draws it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from xrcore.simulation.clinical import ClinicalChanges, attenuate, process
from xrcore.simulation.clinical.pages import UNIT

SHAPE = (48, 64)
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def images() -> torch.Tensor:
    """Two bodies with air around, and some grain."""
    y, x = torch.linspace(-1, 1, SHAPE[0])[:, None], torch.linspace(-1, 1, SHAPE[1])
    body = (1 - x**2 - y**2).clamp_min(0)
    grain = torch.rand(2, *SHAPE, generator=torch.Generator().manual_seed(0))
    return body * (3 + torch.tensor([0.0, 1.0])[:, None, None] + 0.5 * grain)


@pytest.fixture
def everywhere() -> torch.Tensor:
    return torch.ones(2, *SHAPE, dtype=torch.bool)


def half(value=True) -> np.ndarray:
    """A page of which the left half is set."""
    page = np.zeros(SHAPE, dtype=type(value) if value is True else np.uint8)
    page[:, : SHAPE[1] // 2] = value
    return page


def test_defaults_change_nothing(images, everywhere):
    changes = [ClinicalChanges()] * 2
    assert torch.equal(attenuate(images, changes), images)
    processed, masks = process(images, everywhere, changes)
    assert torch.equal(processed, images)
    assert torch.equal(masks, everywhere)


def test_things_in_the_beam_add_attenuation_to_their_image_alone(images):
    seen = attenuate(images, [ClinicalChanges(obstacles=half(100)), ClinicalChanges()])
    assert_close(seen[0, :, :32], images[0, :, :32] + 100 * UNIT)
    assert torch.equal(seen[0, :, 32:], images[0, :, 32:])
    assert torch.equal(seen[1], images[1])


def test_soft_tissue_changes_where_there_is_tissue(images):
    seen = attenuate(images, [ClinicalChanges(tissue=np.full((8, 8), 0.1, dtype=np.float32))] * 2)
    assert_close(seen, 1.1 * images)
    assert not seen[:, 0, 0].any()  # air


def test_shading_grows_towards_its_sides(images):
    seen = attenuate(images, [ClinicalChanges(shading=(0.3, 0.0, 0.0)), ClinicalChanges(shading=(0.0, 0.0, 0.2))]) - images
    assert_close(seen[0, 5], torch.linspace(0, 0.6, SHAPE[1]), atol=1e-6, rtol=0)
    assert float(seen[1].amax()) == pytest.approx(0.4, abs=1e-3) == float(seen[1, 0, -1])


def test_blades_are_left_out_or_seen(images, everywhere):
    known = ClinicalChanges(blades=half())
    leaking, painted = (ClinicalChanges(blades=half(), known=False, leak=leak) for leak in (2.0, 0.0))
    processed, masks = process(images, everywhere, [known, painted])
    assert torch.equal(masks[0], ~torch.from_numpy(half()))
    assert masks[1].all()
    assert (processed[1, :, :32] == processed[1].min()).all()
    assert_close(attenuate(images, [leaking, known])[0, :, :32], images[0, :, :32] + 2)


@pytest.mark.parametrize("curve", [{"gamma": 0.5}, {"gamma": 2.0}, {"slope": 8.0, "middle": 0.4}, {"counts": 4.0}])
def test_curves_keep_the_order_of_grey_values(images, everywhere, curve):
    plain, bent = (process(images, everywhere, [ClinicalChanges(**c)] * 2)[0] for c in ({"window": (0.0, 0.999)}, curve))
    order = plain[0].flatten().argsort()
    assert (bent[0].flatten()[order].diff() >= 0).all()
    assert not torch.allclose(bent, plain, atol=0.05)


def test_a_window_saturates_the_shares_it_is_given(images, everywhere):
    seen, _ = process(images, everywhere, [ClinicalChanges(window=(0.3, 0.8))] * 2)
    assert float((seen[0] == 0).float().mean()) == pytest.approx(0.3, abs=0.04)
    assert float((seen[0] == 1).float().mean()) == pytest.approx(0.2, abs=0.04)


def test_local_contrast(images, everywhere):
    def of(**change) -> torch.Tensor:
        return process(images, everywhere, [ClinicalChanges(window=(0.0, 0.999), **change)] * 2)[0]

    def roughness(x: torch.Tensor) -> torch.Tensor:
        return x.diff(dim=2).abs().mean()

    assert roughness(of(windows=8, sharpen=2.0)) > 1.5 * roughness(of())
    # the means of windows are made alike
    means = [torch.nn.functional.avg_pool2d(x[:, 12:36, 16:48], 6).std() for x in (of(), of(windows=8, equalise=1.0))]
    assert means[1] < 0.5 * means[0]


def test_marks_are_white_or_black_and_outside_the_body_too(images, everywhere):
    changes = [ClinicalChanges(ink=half(255), dark_ink=dark) for dark in (False, True)]
    seen, _ = process(images, everywhere, changes)
    assert (seen[0, :, :32] == seen[0].max()).all()
    assert (seen[1, :, :32] == seen[1].min()).all()


def drawn(count: int, seed: int = 0) -> list[ClinicalChanges]:
    return [ClinicalChanges.random(SHAPE, np.random.default_rng((seed, i))) for i in range(count)]


def test_every_kind_is_drawn_and_some_images_are_left_alone():
    changes = drawn(300)
    plain = ClinicalChanges()
    for name in vars(plain):
        assert any(np.any(getattr(c, name) != getattr(plain, name)) for c in changes), name
    untouched = sum(not c.processed and not c.exposure and c.obstacles is None and c.tissue is None and c.blades is None for c in changes)
    assert 50 < untouched < 120
    for page in ("obstacles", "blades", "ink"):
        pages = [value for c in changes if (value := getattr(c, page)) is not None]
        assert {value.shape for value in pages} == {SHAPE}
        shares = [float((value > 0).mean()) for value in pages]
        assert max(shares) < 0.97, page
        assert np.mean(shares) > 0.02, page


def test_an_image_is_the_same_whatever_the_batch(images, everywhere):
    for changes in zip(drawn(60), drawn(60, seed=1), strict=True):
        assert (attenuate(images, changes) >= 0).all()
        together = process(attenuate(images, changes), everywhere, changes)
        for i in range(2):
            one = slice(i, i + 1)
            alone = process(attenuate(images[one], changes[one]), everywhere[one], changes[one])
            assert torch.equal(alone[1], together[1][one])
            assert_close(alone[0], together[0][one])
        assert torch.isfinite(together[0]).all()
