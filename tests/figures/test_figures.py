"""Figures: what a viewer would notice, measured on the pixels."""

from __future__ import annotations

import io
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter, shift

from xrcore import figures
from xrcore._util.errors import XrcoreError
from xrcore.geometry import CArm, Pose
from xrcore.registration.events import Step
from xrcore.xray.image import Xray

SHAPE = (120, 140)
CARM = CArm(source_to_detector=1000.0, source_to_isocenter=700.0, shape=SHAPE, pixel_spacing=2.0)


def picture() -> np.ndarray:
    y, x = np.indices(SHAPE)
    disc = (np.hypot(y - 50, x - 60) < 28).astype(float)
    bar = ((np.abs(y - 85) < 8) & (x > 40) & (x < 120)).astype(float)
    return gaussian_filter(disc + 0.7 * bar, 1.0)


def circle() -> np.ndarray:
    y, x = np.indices(SHAPE)
    return np.hypot(y - 60, x - 70) < 55


def tints(picture: np.ndarray) -> tuple[int, int, int]:
    """Pixels that are red, blue, and purple."""
    red, green, blue = np.moveaxis(picture, -1, 0)
    reddish, bluish = red - green > 0.2, blue - green > 0.2
    return int((reddish & ~bluish).sum()), int((bluish & ~reddish).sum()), int((reddish & bluish).sum())


def test_overlay_of_equal_images_is_purple_and_of_shifted_ones_is_not():
    image = picture()
    red, blue, purple = tints(figures.overlay(image, 3 * image + 7))  # gain and offset are no edges
    assert purple > 200
    assert red + blue < 0.05 * purple  # faint ones, where the tints are hard to tell
    moved_red, moved_blue, moved_purple = tints(figures.overlay(image, shift(image, (0, 9))))
    assert moved_red > 100
    assert moved_blue > 100
    assert moved_purple < 0.6 * purple


def test_red_is_where_the_xray_has_its_edge():
    fixed, moving = np.zeros(SHAPE), np.zeros(SHAPE)
    fixed[:, 30:] = 1.0
    moving[:, 100:] = 1.0
    red, _, blue = np.moveaxis(figures.overlay(fixed, moving), -1, 0)
    assert (red - blue)[60, 30] > 0.3
    assert (blue - red)[60, 100] > 0.3


def test_the_rim_of_the_mask_is_no_edge():
    ramp = np.full(SHAPE, 5.0) + 0.01 * np.indices(SHAPE)[1]
    image = np.where(circle(), ramp, 0.0)
    strength = figures.edges(image, circle())
    inside = strength[circle() & (strength > 0)]
    assert inside.max() < 1.1 * inside.min()  # a ramp is equally steep everywhere
    assert (strength[~circle()] == 0).all()


def test_edges_are_tanh_of_the_gradient_over_its_99th_percentile():
    image = picture()
    strength = np.hypot(*np.gradient(np.clip(image, *np.percentile(image, (0.5, 99.5)))))
    expected = np.tanh(strength / np.percentile(strength[2:-2, 2:-2], 99))
    # the outermost pixels follow another rule for the gradient
    np.testing.assert_allclose(figures.edges(image, smoothing=0.0)[2:-2, 2:-2], expected[2:-2, 2:-2], rtol=0.02, atol=1e-6)


def test_display_is_not_set_by_hot_pixels():
    image = picture()
    hot = image.copy()
    hot[3, 3] = 1e4
    change = np.abs(figures.display_image(hot) - figures.display_image(image))
    assert change[image > 0.01].max() < 1 / 255
    assert figures.display_image(image, circle())[~circle()].max() == 0


def test_difference_is_white_red_and_blue():
    image = picture()
    mask = circle()
    same = figures.difference(image, 2 * image - 3, mask)
    assert same[mask].min() > 1 - 1e-9
    assert same[~mask].max() == 0
    brighter = image.copy()
    brighter[80:90, 60:70] += 2.0
    red, _, blue = np.moveaxis(figures.difference(brighter, image, mask), -1, 0)
    assert (red - blue)[85, 65] > 0.5
    red, _, blue = np.moveaxis(figures.difference(image, brighter, mask), -1, 0)
    assert (blue - red)[85, 65] > 0.5


def test_checkerboard_takes_turns():
    fixed, moving = picture(), picture()[::-1]
    board = figures.checkerboard(fixed, moving, squares=4)[..., 0]
    np.testing.assert_array_equal(board[:30, :30], figures.display_image(fixed)[:30, :30])
    np.testing.assert_array_equal(board[:30, 30:60], figures.display_image(moving)[:30, 30:60])
    np.testing.assert_array_equal(board[30:60, :30], figures.display_image(moving)[30:60, :30])


@pytest.mark.parametrize("blend", [figures.overlay, figures.checkerboard, figures.difference])
def test_blends_take_tensors_and_refuse_mismatches_by_name(blend):
    image = torch.tensor(picture(), dtype=torch.float32)
    blended = blend(image, image[None].requires_grad_(), torch.tensor(circle()))
    assert blended.shape == (*SHAPE, 3)
    assert blended.min() >= 0
    assert blended.max() <= 1
    assert blended[~circle()].max() == 0
    with pytest.raises(XrcoreError, match=rf"{blend.__name__}: fixed is \(120, 140\) but moving is \(119, 140\)"):
        blend(image, image[1:])
    with pytest.raises(XrcoreError, match="mask is"):
        blend(image, image, np.ones((2, 2), dtype=bool))
    with pytest.raises(XrcoreError, match="moving holds NaN"):
        blend(image, image * torch.nan)


def test_an_error_map_is_red_and_blue_and_purple_where_both_agree():
    step, other = np.zeros((40, 40)), np.zeros((40, 40))
    step[:, 12:], other[:, 28:] = 1.0, 1.0
    apart, same = figures.error_map(step, other), figures.error_map(step, step)
    red, blue = apart[20, 11:13].mean(0), apart[20, 27:29].mean(0)
    assert red[0] > 2 * red[2]
    assert blue[2] > 2 * blue[0]
    both = same[20, 11:13].mean(0)
    assert both[0] > 0.5
    assert both[2] > 0.5
    assert (apart[20, 20] < 0.01).all()


def test_constant_images_do_not_break():
    flat = np.full(SHAPE, 2.0)
    assert np.isfinite(figures.overlay(picture(), flat)).all()
    assert np.isfinite(figures.difference(picture(), flat)).all()


def registration(trusted: bool | None = True) -> figures.registration_figure:
    image = torch.tensor(picture(), dtype=torch.float32)
    xray = Xray(image=image, carm=CARM, mask=torch.tensor(circle()))
    result = SimpleNamespace(pose=Pose(rx=-3.0, tz=12.0), trusted=trusted, seconds=0.3, stop_reason="converged")
    return figures.registration_figure(xray, torch.roll(image, 8, 1)[None], image, result)


def words(figure) -> str:
    texts = figure.findobj(lambda artist: hasattr(artist, "get_text"))
    return " | ".join(t.get_text() for t in texts)


def test_registration_figure_says_what_was_found():
    text = words(registration())
    for expected in ("X-ray", "Start", "Found", "Difference", "NCC 1.000", "trusted", "rx −3.00°", "tz 12.00 mm", "0.30 s", "converged"):
        assert expected in text
    assert "not trusted" not in text
    assert "not trusted" in words(registration(trusted=False))


def test_registration_figure_fills_its_png(tmp_path):
    path = figures.save_figure(registration(), tmp_path / "overlay.png")
    with Image.open(path) as file:
        pixels = np.asarray(file.convert("RGB"))
    side = (1400 - 2 * 8 - 3 * 8) / 4
    assert pixels.shape[1] == 1400
    assert pixels.shape[0] == pytest.approx(side * 120 / 140 + 70, abs=1.5)
    # pictures, which are black at their corners, reach the margins on both sides
    assert pixels[40, 12].max() < 30
    assert pixels[40, 1400 - 12].max() < 30
    panel = pixels[:, 16 + int(side) + 8 : 2 * int(side), :] / 255
    found = pixels[:, 2 * int(side) + 32 : 3 * int(side), :] / 255
    assert tints(found[40:-40])[2] > 5 * tints(panel[40:-40])[2] or tints(panel[40:-40])[0] > 5 * tints(found[40:-40])[0]


def test_the_picture_of_the_command_is_the_figure(tmp_path):
    image = torch.tensor(picture())
    xray = Xray(image=image, carm=CARM)
    result = SimpleNamespace(trusted=False, pose=Pose(rx=-3, tz=12), seconds=0.3, stop_reason="converged")
    start, found = torch.roll(image, 8, 1)[None], image
    drawn = np.asarray(Image.open(io.BytesIO(figures.registration_png(xray, start, found, result))).convert("L"), float)
    path = figures.save_figure(figures.registration_figure(xray, start, found, result), tmp_path / "figure.png")
    figure = np.asarray(Image.open(path).convert("L"), float)
    assert drawn.shape == figure.shape
    panels = slice(34 + 2, -36 - 2)
    assert np.abs(drawn - figure)[panels].mean() < 3
    # as much ink in each line of text, at the same places
    for rows in (slice(0, 32), slice(-34, None)):
        ink = [255 - gaussian_filter(sheet[rows], 12) for sheet in (drawn, figure)]
        assert np.corrcoef(ink[0].ravel(), ink[1].ravel())[0, 1] > 0.9


def test_registration_figure_refuses_other_shapes():
    xray = Xray(image=torch.tensor(picture()), carm=CARM)
    with pytest.raises(XrcoreError, match="final_image is"):
        figures.registration_figure(xray, xray.image, xray.image[1:])


def test_without_a_result_nothing_is_claimed():
    xray = Xray(image=torch.tensor(picture()), carm=CARM)
    assert "trusted" not in words(figures.registration_figure(xray, xray.image, xray.image))


@pytest.mark.parametrize(("name", "magic"), [("a.png", b"\x89PNG"), ("b.PDF", b"%PDF")])
def test_files_are_written_whole_and_twice_the_same(tmp_path, name, magic):
    path = figures.save_figure(registration(), tmp_path / name)
    first = path.read_bytes()
    assert first.startswith(magic)
    assert figures.save_figure(registration(), path).read_bytes() == first
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(b"old")
    figure = registration()

    def breaks(temporary, **_):
        temporary.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(figure, "savefig", breaks)
    with pytest.raises(XrcoreError, match=r"cannot be written .disk full"):
        figures.save_figure(figure, path)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_unknown_formats_are_refused(tmp_path):
    with pytest.raises(XrcoreError, match=r"\.png, \.svg or \.pdf"):
        figures.save_figure(registration(), tmp_path / "a.jpg")


def test_each_band_of_a_registration_s_course_has_the_name_of_its_level():
    levels = [(0, "zncc, 64")] * 3 + [(0, "correlation-ratio, 32")] * 2 + [(1, "correlation-ratio, 64")]
    history = [Step(level=level, pose=Pose(), similarity=n / 10, level_name=name) for n, (level, name) in enumerate(levels)]
    axes = figures.convergence_figure(history).axes[0]
    assert [text.get_text() for text in axes.texts] == ["zncc, 64", "correlation-ratio, 32", "correlation-ratio, 64"]
    assert [len(line.get_xdata()) for line in axes.lines[:3]] == [3, 2, 1]


def test_figures_load_neither_pandas_nor_training():
    heavy = ("pandas", "seaborn", "xrcore.learning.training", "xrcore.widgets", "companion", "matplotlib.pyplot")
    code = f"import sys, xrcore.figures; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
