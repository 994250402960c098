"""DRRs that come again are rendered once, and are the same."""

from __future__ import annotations

import pytest
import torch
from support.trainings import TINY, stream

from xrcore.learning.training.kept_images import KeptImages
from xrcore.learning.training.schedule import Schedule

PLAIN = {"acquired": False, "scheme": "extended", "set_size": 4}


def test_drrs_that_come_again_are_rendered_once(monkeypatch):
    changes = PLAIN | {"images": 64}
    drrs, schedule = stream(**changes), Schedule(TINY.changed(**changes))
    kept, rendered = KeptImages(drrs, schedule), []
    render = drrs.render
    monkeypatch.setattr(drrs, "render", lambda drawn: rendered.extend(drawn.poses) or render(drawn))
    for step in range(TINY.changed(**changes).steps):
        drawn = drrs.draw(schedule.samples(step))
        found, expected = kept.render(drawn), render(drawn)
        for name in ("images", "masks", "numbers", "plain"):
            assert torch.equal(getattr(found, name), getattr(expected, name)), name
    assert len(rendered) == 4 * 4  # the first set, and as many more at each of three stages


def test_a_set_that_grows_is_counted_once():
    fits = 2**30 // (4 * 32 * 32)
    for size, kept in ((fits // 4, True), (fits // 4 + 1, False)):
        changes = PLAIN | {"images": 64, "set_size": size}
        assert KeptImages(stream(**changes), Schedule(TINY.changed(**changes))).keeps == kept


@pytest.mark.parametrize("changes", [{"acquired": True}, {"scheme": "none", "set_size": None}, {"set_size": 10**9}])
def test_nothing_is_kept_that_changes_does_not_come_again_or_does_not_fit(changes):
    changes = PLAIN | changes
    assert not KeptImages(stream(**changes), Schedule(TINY.changed(**changes))).keeps
