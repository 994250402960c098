"""Panel: messages, errors, and what a page without a kernel shows."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.small_pelvis import CARM, OBLONG, PATIENTS, drr, size, volume

from xrcore import XrcoreError
from xrcore.widgets import CArmScene, LandscapeViewer, PoseExplorer, RegistrationCockpit
from xrcore.widgets.panel import Panel


def test_what_is_wrong_is_shown_as_text():
    panel = Panel(name="test")
    with panel.errors_shown():
        raise XrcoreError("<img src=x onerror=alert(1)>: no CT & no 'file'")
    assert "<img" not in panel.note.value
    assert "&lt;img src=x onerror=alert(1)&gt;: no CT &amp; no" in panel.note.value
    assert 'role="alert"' in panel.note.value
    with pytest.raises(KeyError), panel.errors_shown():
        raise KeyError("<b>")
    assert "KeyError" in panel.note.value
    assert "<b>" not in panel.note.value
    panel.show_message("a <i>remark</i>")
    assert "<i>" not in panel.note.value
    assert 'role="status"' in panel.note.value
    panel.show_message("")
    assert panel.note.value == ""


def test_an_interrupt_is_no_error():
    panel = Panel(name="test")
    with pytest.raises(KeyboardInterrupt), panel.errors_shown():
        raise KeyboardInterrupt
    assert panel.note.value == ""


@pytest.mark.parametrize(
    ("make", "wanted"),
    [
        (lambda: PoseExplorer(volume(), OBLONG, patients=PATIENTS), (80, 40)),
        (lambda: RegistrationCockpit(volume(), drr(OBLONG)), (80, 40)),
        (lambda: CArmScene(volume(), CARM), None),
        (lambda: LandscapeViewer(drr(), volume()), None),
    ],
    ids=["explorer", "cockpit", "scene", "landscape"],
)
def test_a_snapshot_is_in_the_notebook(make: Callable[[], Panel], wanted: tuple[int, int] | None):
    panel = make()
    data, _ = panel._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in data
    found = size(data["image/png"])
    assert found == wanted if wanted else min(found) > 100
    panel.close()


def test_a_panel_without_a_picture_is_a_widget_still():
    bundle = Panel(name="test")._repr_mimebundle_()
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    assert "application/vnd.jupyter.widget-view+json" in data
    assert "image/png" not in data
