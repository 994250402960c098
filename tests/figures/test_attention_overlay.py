"""Attention over an X-ray."""

from __future__ import annotations

import numpy as np

from xrcore.figures import attention_overlay, spread_over


def test_attention_spreads_over_the_whole_image():
    grid = np.zeros((4, 4))
    grid[0, 3] = 1.0
    mask = np.ones((64, 64), dtype=bool)
    full = spread_over(grid, mask)
    assert full.shape == (64, 64)
    assert full[0, -1] == full.max() == 1.0
    assert full[32:, :32].max() == 0
    mask[:32] = False  # what lies outside the mask sets no scale
    grid[3, 0] = 0.1
    assert spread_over(grid, mask)[mask].max() == 1.0


def test_no_attention_anywhere_is_no_division_by_zero():
    assert not spread_over(np.full((4, 4), 0.25), np.ones((8, 8), dtype=bool)).any()


def test_the_overlay_keeps_grey_what_is_masked():
    grey = np.full((8, 8), 0.5)
    mask = np.ones((8, 8), dtype=bool)
    mask[:4] = False
    over = attention_overlay(grey, np.ones((8, 8)), mask, opacity=1.0)
    assert (over[:4] == 0.5).all()
    assert (np.ptp(over[4:], axis=-1) > 0.05).all()
