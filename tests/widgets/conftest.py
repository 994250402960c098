"""Fixtures of the widgets' tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from xrcore.widgets import PoseState


@pytest.fixture(scope="module", autouse=True)
def _one_thread(one_thread: None) -> None:
    """In every module here."""


@pytest.fixture
def state() -> PoseState:
    """A pelvis seen by a small C-arm, at the zero pose."""
    from support.small_pelvis import CARM, volume

    from xrcore.widgets import PoseState

    return PoseState(volume(), CARM)
