"""Collimator blades that let scatter through."""

from __future__ import annotations

import numpy as np
import pytest

from xrcore.xray.collimator import blade_rectangle
from xrcore.xray.exposed_field import field_of_view


def leaking(shape, rows, cols, *, step=3.0, seed=0):
    """Smooth attenuation with noise, raised outside rows x cols."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0 : 1 : shape[0] * 1j, 0 : 1 : shape[1] * 1j]
    image = 2 + np.sin(5 * x + rng.uniform(0, 6)) + np.cos(4 * y) + 0.1 * rng.standard_normal(shape)
    outside = np.ones(shape, dtype=bool)
    outside[slice(*rows), slice(*cols)] = False
    return image + step * outside, ~outside


@pytest.mark.parametrize("shape", [(128, 128), (256, 200), (1024, 1300)])
@pytest.mark.parametrize("sides", [(0.2, 0.7, 0.3, 0.9), (0, 0.6, 0, 1), (0, 1, 0.25, 1), (0.1, 1, 0, 0.8)])
def test_the_open_rectangle_is_found(shape, sides):
    rows, cols = ([round(v * n) for v in part] for part, n in ((sides[:2], shape[0]), (sides[2:], shape[1])))
    image, truth = leaking(shape, rows, cols)
    found = blade_rectangle(image)
    assert found is not None
    assert (found & truth).sum() > 0.95 * (found | truth).sum()
    field = field_of_view(image)
    assert not (field & ~truth).any()


@pytest.mark.parametrize("seed", range(5))
def test_no_blades_no_rectangle(seed):
    image, _ = leaking((200, 256), (0, 200), (0, 256), seed=seed)
    assert blade_rectangle(image) is None
    assert field_of_view(image).all()


def test_thin_ends_of_what_is_shut_out_are_masked_too():
    rows, cols = np.mgrid[:120, :120]
    open_beam = cols > 20 * (1 - rows / 100)  # a wedge of 20 pixels that tapers to nothing
    image = np.where(open_beam, 2 + np.sin(cols / 9) + np.cos(rows / 7), 9.0)
    field = field_of_view(image)
    assert not field[~open_beam].any()
    assert field[cols > 26].all()


def test_air_beside_a_cropped_body_is_kept():
    image, inside = leaking((200, 256), (0, 200), (60, 256), step=-3.0)
    assert not inside.all()
    assert field_of_view(image).all()


@pytest.mark.parametrize("value", [-1.0, -9.0])
def test_a_panel_painted_into_the_image_is_no_field(value):
    image, _ = leaking((200, 256), (0, 200), (0, 256))
    image[50:140, 60:200] = value
    assert blade_rectangle(image) is None
    assert field_of_view(image).all()
