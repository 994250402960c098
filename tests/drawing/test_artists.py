"""What is put onto the picture: outlines on the edges of masks, colours that tell labels apart, names, lengths."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from support.registrations import ISOCENTER, POSE, by_formula, gradient_xray, registered

import xrcore as xr
from xrcore.ct.label_maps import LabelMap
from xrcore.drawing import artists

PLACES = {"a": ISOCENTER, "b": ISOCENTER + np.array([30.0, 10.0, -20.0])}


def labels() -> LabelMap:
    """Two boxes in opposite octants."""
    indices = np.zeros((8, 8, 8), np.int32)
    indices[:3, :3, :3], indices[4:, 4:, 4:] = 1, 2
    matrix = np.diag([10.0, 10.0, 10.0, 1.0])
    matrix[:3, 3] = ISOCENTER - 35
    return LabelMap(indices, matrix, (1, 2), ("one", "two"))


def outline(mask: np.ndarray, voxel: float) -> np.ndarray:
    """(row, col) of its vertices."""
    axes = Figure().add_subplot()
    artists.draw_label(axes, mask.astype(np.float32), "red", "", "outline", voxel)
    return np.concatenate([path.vertices for lines in axes.collections for path in lines.get_paths()])[:, ::-1]


@pytest.mark.parametrize("voxel", [1.0, 4.0])
def test_an_outline_runs_between_the_pixels_inside_and_those_outside(voxel):
    mask = np.zeros((60, 60), bool)
    mask[10:40, 20:24] = True  # a strip, four pixels wide
    vertices = outline(mask, voxel)
    cols = vertices[np.abs(vertices[:, 0] - 24.5) < 9, 1]  # away from its ends
    assert len(cols) > 20
    np.testing.assert_allclose(np.unique(cols < 21.5), [False, True])
    np.testing.assert_allclose(np.where(cols < 21.5, cols - 19.5, 23.5 - cols), 0, atol=0.15)


def test_labels_have_colours_of_their_own_as_the_legend_says():
    drawn = xr.draw(gradient_xray(), registered(), labels=labels())
    outlines = [to_hex(lines.get_edgecolor()[0]) for lines in drawn.figure.axes[0].collections]
    legend = [to_hex(patch.get_edgecolor()) for patch in drawn.figure.legends[0].get_patches()]
    assert len(set(outlines)) == 2
    assert outlines == legend
    assert drawn.summary() == ["one", "two"]


@pytest.mark.parametrize("style", ["filled", "thickness"])
def test_labels_are_filled_where_they_are_seen_the_more_the_thicker(style):
    drawn = xr.draw(gradient_xray(), registered(), labels=labels(), style=style)
    opacities = [image.get_array()[..., 3] for image in drawn.figure.axes[0].images[1:]]
    for opacity, thickness, text in zip(opacities, drawn.labels.thickness, drawn.summary(), strict=True):
        share = thickness > 0 if style == "filled" else thickness / thickness.max()
        assert 0 < opacity.max() < 1
        np.testing.assert_allclose(opacity, opacity.max() * share, atol=1e-6)
        assert (f"up to {thickness.max():.0f} mm" in text) == (style == "thickness")


def test_names_stand_at_their_landmarks():
    drawn = xr.draw(gradient_xray(), registered(covariance=None), points=PLACES)
    texts = {text.get_text(): text.xy[::-1] for text in drawn.figure.axes[0].texts}
    places = by_formula(np.stack(list(PLACES.values())), POSE.numbers[0].numpy())
    np.testing.assert_allclose([texts[name] for name in PLACES], places, atol=1e-6)
