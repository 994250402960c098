"""The box of starts."""

from __future__ import annotations

import pytest
import torch

import xrcore as xr
from xrcore.registration.search import SearchBox


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"rotation": (1, 2)}, "rotation"),
        ({"translation": (1, -2, 3)}, "translation"),
        ({"candidates": 0}, "candidates"),
        ({"candidates": 2.5}, "candidates"),
        ({"rotation": 5}, "rotation"),
    ],
)
def test_search_box_rejects_nonsense(bad, words):
    with pytest.raises(xr.XrcoreError, match=words):
        SearchBox(**bad)


def test_search_box_holds_its_poses_and_begins_with_the_start():
    start = xr.Pose(rx=5.0, tz=100.0)
    box = SearchBox(rotation=(1, 2, 3), translation=(4, 5, 6), candidates=33)
    away = (box.poses(start).numbers - start.numbers).abs()
    assert len(away) == 33
    assert (away[0] == 0).all()
    assert (away <= torch.tensor([1.0, 2, 3, 4, 5, 6])).all()
    assert (away.amax(0) > 0.8 * torch.tensor([1.0, 2, 3, 4, 5, 6])).all()
    assert box.widened(2.0, 33).poses(start).numbers[1:].ne(box.poses(start).numbers[1:]).any()
