"""The instruments in JupyterLab: what a reader does with mouse and keyboard, and what the page then shows."""

from __future__ import annotations

import json
import re
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.slow
REPOSITORY = Path(__file__).parents[3]
EXPLORER = "import xrcore as xr\nfrom xrcore.widgets import PoseExplorer\nPoseExplorer(xr.phantom.pelvis())"
COCKPIT = "from xrcore.widgets import RegistrationCockpit\ncockpit = RegistrationCockpit()\ncockpit"
SCENE = "from xrcore.widgets import CArmScene, PoseExplorer\nscene = CArmScene()\nscene"
MOVES = 120  # of the mouse in the frame rate's drag


def drawn(page: Any, panel: str) -> str:
    """The pixels of a panel's canvas."""
    return page.locator(f"{panel} .xr-canvas canvas").evaluate("canvas => canvas.toDataURL()")


def frames(page: Any, panel: str) -> int:
    return int(page.locator(f"{panel} .xr-canvas canvas").get_attribute("data-frames"))


def changes(page: Any, panel: str, before: str) -> None:
    """Wait until the picture is another one."""
    page.wait_for_function(
        "([selector, before]) => document.querySelector(selector).toDataURL() !== before", arg=[f"{panel} .xr-canvas canvas", before]
    )


def settles(page: Any, panel: str) -> str:
    """Wait until the picture is sharp and no longer changes."""
    page.wait_for_function("selector => document.querySelector(selector).width === 256", arg=f"{panel} .xr-canvas canvas")
    for _ in range(60):
        before = drawn(page, panel)
        page.wait_for_timeout(500)
        if drawn(page, panel) == before:
            return before
    raise AssertionError("the picture never comes to rest")


def readout(page: Any, panel: str, name: str) -> float:
    text = page.locator(f"{panel} .xr-{name} .widget-readout").inner_text()
    return float(text.replace("−", "-"))


def grasp(page: Any, selector: str) -> tuple[float, float]:
    """The middle of an element that is in view."""
    thing = page.locator(selector)
    thing.scroll_into_view_if_needed()
    box = thing.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


@pytest.fixture(scope="module")
def explorer(show):
    page = show("explorer", EXPLORER)
    page.wait_for_selector(".xr-explorer .xr-canvas canvas[data-frames]")
    return page


@pytest.fixture(scope="module")
def cockpit(show):
    page = show("cockpit", COCKPIT)
    page.wait_for_selector(".xr-cockpit .xr-canvas canvas[data-frames]")
    page.locator(".xr-cockpit .xr-simulate").click()
    page.wait_for_selector(".xr-cockpit .xr-register:enabled")
    return page


def test_dragging_a_slider_changes_the_picture(explorer, record_property):
    before = settles(explorer, ".xr-explorer")
    x, y = grasp(explorer, ".xr-explorer .xr-ry .noUi-handle")
    explorer.mouse.move(x, y)
    explorer.mouse.down()
    first, began = frames(explorer, ".xr-explorer"), time.perf_counter()
    for i in range(MOVES):
        explorer.mouse.move(x + 40 * np.sin(i / 10), y)
        explorer.wait_for_timeout(16)
    seconds = time.perf_counter() - began
    shown = frames(explorer, ".xr-explorer") - first
    explorer.mouse.move(x + 30, y)
    explorer.mouse.up()
    record_property("measured", f"dragging: {shown / seconds:.1f} frames a second drawn by the browser, 256 x 256 pixels once at rest")
    assert shown > 3
    assert settles(explorer, ".xr-explorer") != before
    assert readout(explorer, ".xr-explorer", "ry") > 5


def test_sliders_take_keys(explorer):
    handle = explorer.locator(".xr-explorer .xr-rx .noUi-handle")
    before, angle = settles(explorer, ".xr-explorer"), readout(explorer, ".xr-explorer", "rx")
    handle.focus()
    for _ in range(5):
        explorer.keyboard.press("ArrowRight")
    changes(explorer, ".xr-explorer", before)
    settles(explorer, ".xr-explorer")
    assert readout(explorer, ".xr-explorer", "rx") == pytest.approx(angle + 0.5)


def drag_from_the_first_pose(page: Any) -> tuple[float, float, str]:
    """Drag the explorer's picture to the right by an eighth of its 448 pixels; where it was pressed, and the picture then."""
    page.locator(".xr-explorer .xr-to-reset").click()
    before = settles(page, ".xr-explorer")
    x, y = grasp(page, ".xr-explorer .xr-canvas canvas")
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 56, y, steps=5)
    page.mouse.up()
    changes(page, ".xr-explorer", before)
    return x, y, settles(page, ".xr-explorer")


def test_dragging_the_picture_moves_the_patient_with_the_hand(explorer):
    drag_from_the_first_pose(explorer)
    width = 432 * 742.5 / 1259.65  # [mm] of the picture at the isocentre
    assert readout(explorer, ".xr-explorer", "tx") == pytest.approx(-width / 8, abs=0.2)
    assert readout(explorer, ".xr-explorer", "ty") == 0


def test_a_wheel_turn_before_the_first_move_does_not_recall_the_drag_before(explorer):
    x, y, before = drag_from_the_first_pose(explorer)
    led = readout(explorer, ".xr-explorer", "tx")
    explorer.mouse.down()
    explorer.mouse.wheel(0, 100)
    changes(explorer, ".xr-explorer", before)
    explorer.mouse.move(x + 57, y)
    explorer.mouse.up()
    settles(explorer, ".xr-explorer")
    assert readout(explorer, ".xr-explorer", "tx") == pytest.approx(led, abs=2)


def test_the_picture_takes_keys(explorer):
    explorer.locator(".xr-explorer .xr-to-ap").click()
    before = settles(explorer, ".xr-explorer")
    explorer.locator(".xr-explorer .xr-picture").focus()
    explorer.keyboard.press("Shift+ArrowRight")
    changes(explorer, ".xr-explorer", before)
    explorer.keyboard.press("+")
    settles(explorer, ".xr-explorer")
    assert (readout(explorer, ".xr-explorer", "ry"), readout(explorer, ".xr-explorer", "tz")) == (1.0, 5.0)
    explorer.keyboard.press("Home")
    settles(explorer, ".xr-explorer")
    assert readout(explorer, ".xr-explorer", "tz") == 0


def test_views_and_beams_are_a_click_away_and_the_pose_is_code(explorer):
    pictures = {}
    for name in ("ap", "lateral", "inlet", "outlet", "oblique"):
        explorer.locator(f".xr-explorer .xr-to-{name}").click()
        explorer.wait_for_timeout(300)
        pictures[name] = settles(explorer, ".xr-explorer")
    assert len(set(pictures.values())) == 5
    assert explorer.locator(".xr-explorer .xr-code input").input_value() == "xr.Pose(ry=45)"
    explorer.context.grant_permissions(["clipboard-read", "clipboard-write"])
    explorer.locator(".xr-explorer button.xr-copy").click()
    explorer.wait_for_function("() => document.querySelector('button.xr-copy').textContent === 'copied'")
    assert explorer.evaluate("() => navigator.clipboard.readText()") == "xr.Pose(ry=45)"
    before = settles(explorer, ".xr-explorer")
    explorer.locator(".xr-explorer .xr-beam select").select_option("60 keV, one energy")
    changes(explorer, ".xr-explorer", before)


def numbers(page: Any, row: str = "now") -> list[float]:
    """Six numbers, and where the truth is known mTRE and mPD, of a row of the cockpit's table."""
    cells = page.locator(".xr-cockpit .xr-poses tr", has_text=re.compile(f"^{row}")).locator("td").all_inner_texts()
    return [float(text) for text in cells if text]


def register(page: Any) -> None:
    page.locator(".xr-cockpit .xr-register:enabled").click()
    page.wait_for_selector(".xr-cockpit .xr-verdict")


def test_a_registration_converges_to_the_truth_before_the_readers_eyes(cockpit, keep):
    start = numbers(cockpit)[6]
    before = settles(cockpit, ".xr-cockpit")
    cockpit.locator(".xr-cockpit .xr-register").click()
    cockpit.wait_for_selector(".xr-cockpit .xr-stop:enabled")
    changes(cockpit, ".xr-cockpit", before)  # while it runs
    cockpit.wait_for_selector(".xr-cockpit .xr-verdict")
    assert start > 10
    assert numbers(cockpit, "found")[6] < 1
    assert cockpit.locator(".xr-cockpit .xr-verdict b").inner_text() == "trusted"
    assert cockpit.locator(".xr-cockpit .xr-correlations tr").count() == 7
    settles(cockpit, ".xr-cockpit")
    cockpit.locator(".xr-cockpit").screenshot(path=keep / "cockpit.png")


def test_picture_and_buttons_fit_a_laptop_s_window(show, keep):
    page = show("laptop", COCKPIT, laptop=True)
    page.wait_for_selector(".xr-cockpit .xr-canvas canvas[data-frames]")
    assert "press Simulate an X-ray" in page.locator(".xr-cockpit .xr-stage").inner_text()
    page.locator(".xr-cockpit .xr-simulate").click()
    page.wait_for_selector(".xr-cockpit .xr-register:enabled")
    page.wait_for_function("() => document.querySelector('.xr-cockpit .xr-stage').textContent.includes('press Register')")
    cell = page.locator(".jp-Notebook .jp-OutputArea-output", has=page.locator(".xr-cockpit")).first
    cell.evaluate("output => output.scrollIntoView({ block: 'start' })")
    page.wait_for_timeout(500)
    room = page.locator(".jp-WindowedPanel-outer").first.bounding_box()
    names = (".xr-canvas canvas", ".xr-register", ".xr-stop", ".xr-tz", ".xr-curve")
    picture, *controls = (page.locator(f".xr-cockpit {name}").bounding_box() for name in names)
    for box in (picture, *controls):
        assert box["x"] >= room["x"]
        assert box["x"] + box["width"] <= room["x"] + room["width"]
    for box in (picture, *controls[:3]):
        assert box["y"] >= room["y"]
        assert box["y"] + box["height"] <= room["y"] + room["height"]
    assert all(box["x"] > picture["x"] + picture["width"] for box in controls)  # beside it
    ways = page.locator(".xr-cockpit .xr-mode button").all()
    assert len({round(button.bounding_box()["y"]) for button in ways}) == 1
    page.screenshot(path=keep / "laptop.png")
    page.locator(".xr-cockpit").get_by_text("Read files").click()
    buttons = [page.locator(f".xr-cockpit .{name}") for name in ("xr-read-ct", "xr-read-xray", "xr-read-labels")]
    assert len({round(button.bounding_box()["x"]) for button in buttons}) == 1  # aligned
    page.screenshot(path=keep / "laptop-files.png")
    page.set_viewport_size({"width": 390, "height": 844})
    page.evaluate("() => { window.jupyterapp.commands.execute('application:toggle-left-area'); }")
    page.wait_for_timeout(1000)
    page.locator(".xr-cockpit").screenshot(path=keep / "phone.png")
    width = page.evaluate("() => document.querySelector('.xr-cockpit .xr-canvas canvas').getBoundingClientRect().right")
    assert width <= 390


def test_what_is_saved_is_what_the_command_line_saves(cockpit, root):
    if not cockpit.locator(".xr-cockpit .xr-verdict").count():
        register(cockpit)
    found = numbers(cockpit, "found")
    cockpit.locator(".xr-cockpit .xr-save").click()
    cockpit.wait_for_function("() => document.querySelector('.xr-cockpit .xr-note').textContent.includes('written')")
    assert sorted(path.name for path in (root / "result").iterdir()) == [
        "camera_from_ct.tfm",
        "overlay.png",
        "registered_xray.tif",
        "registration.json",
    ]
    record = json.loads((root / "result" / "registration.json").read_text())
    assert record["trusted"]
    assert list(record["pose"].values()) == pytest.approx(found[:6], abs=0.006)


def test_every_way_to_compare_shows_something_else(cockpit):
    pictures = []
    for view in ("edges", "overlay", "checkerboard", "difference", "split", "X-ray"):
        cockpit.locator(".xr-cockpit .xr-mode button", has_text=re.compile(f"^{view}$")).click()
        cockpit.wait_for_timeout(300)
        pictures.append(settles(cockpit, ".xr-cockpit"))
    assert len(set(pictures)) == len(pictures)


def test_the_split_follows_the_hand_without_the_kernel(cockpit):
    cockpit.locator(".xr-cockpit .xr-mode button", has_text=re.compile("^split$")).click()
    before = settles(cockpit, ".xr-cockpit")
    pose = readout(cockpit, ".xr-cockpit", "tx")
    x, y = grasp(cockpit, ".xr-cockpit .xr-canvas canvas")
    cockpit.mouse.move(x, y)
    cockpit.mouse.down()
    cockpit.mouse.move(x + 100, y, steps=3)
    assert drawn(cockpit, ".xr-cockpit") != before  # at once
    cockpit.mouse.up()
    assert readout(cockpit, ".xr-cockpit", "tx") == pose


def test_a_registration_can_be_stopped(cockpit):
    cockpit.locator(".xr-cockpit .xr-method select").select_option("paper-as-intended")
    cockpit.locator(".xr-cockpit .xr-back").click()
    cockpit.locator(".xr-cockpit .xr-register").click()
    cockpit.locator(".xr-cockpit .xr-stop:enabled").click()
    cockpit.wait_for_selector(".xr-cockpit .xr-register:enabled")
    assert cockpit.locator(".xr-cockpit .xr-stage").inner_text() == "stopped"
    assert cockpit.locator(".xr-cockpit .xr-verdict").count() == 0
    assert int(cockpit.locator(".xr-cockpit .xr-step .widget-readout").inner_text()) < 99  # of its hundred steps
    cockpit.locator(".xr-cockpit .xr-method select").select_option("gauss-newton")


def test_a_bad_file_shows_its_error_in_the_page(cockpit, root):
    (root / "notes.png").write_text("not an image")
    (root / "carm.yaml").write_text("source_to_detector: 1259.65\n")
    if not cockpit.locator(".xr-cockpit .xr-xray-path").is_visible():
        cockpit.locator(".xr-cockpit").get_by_text("Read files").click()
    cockpit.locator(".xr-cockpit .xr-xray-path input").fill("notes.png")
    cockpit.locator(".xr-cockpit .xr-carm-path input").fill("carm.yaml")
    cockpit.locator(".xr-cockpit .xr-read-xray").click()
    alert = cockpit.wait_for_selector(".xr-cockpit .xr-note [role=alert]")
    assert "notes.png: cannot be read as PNG or TIFF" in alert.inner_text()
    cockpit.locator(".xr-cockpit .xr-ct-path input").fill("nowhere.nii.gz")
    cockpit.locator(".xr-cockpit .xr-read-ct").click()
    cockpit.wait_for_function("() => document.querySelector('.xr-cockpit .xr-note').textContent.includes('nowhere.nii.gz')")
    assert cockpit.locator(".xr-cockpit .xr-register").is_enabled()  # what was there before is still there


def test_an_uploaded_xray_is_registered(cockpit, tmp_path):
    import xrcore as xr
    from xrcore.geometry.presets import PAPER_CARM

    truth = xr.Pose(rx=-6, ry=9, tx=12, tz=-8)
    xr.write_xray(tmp_path / "fluoro.dcm", xr.simulate(xr.phantom.pelvis(0, spacing=2.0), PAPER_CARM, truth, seed=5))
    before = drawn(cockpit, ".xr-cockpit")
    if not cockpit.locator(".xr-cockpit .xr-upload").is_visible():
        cockpit.locator(".xr-cockpit").get_by_text("Read files").click()
    with cockpit.expect_file_chooser() as chooser:
        cockpit.locator(".xr-cockpit .xr-upload").click()
    chooser.value.set_files(tmp_path / "fluoro.dcm")
    changes(cockpit, ".xr-cockpit", before)
    register(cockpit)
    assert numbers(cockpit, "found") == pytest.approx(truth.numbers[0].tolist(), abs=1.5)


def test_the_scene_follows_the_pose(show, tmp_path, keep):
    page = show("scene", SCENE, "PoseExplorer(state=scene.state)")
    page.wait_for_selector(".xr-scene canvas")
    page.wait_for_selector(".xr-explorer .xr-canvas canvas[data-frames]")
    page.wait_for_timeout(4000)  # WebGL in software

    def seen(name: str) -> np.ndarray:
        page.locator(".xr-scene").scroll_into_view_if_needed()
        page.locator(".xr-scene canvas").first.screenshot(path=tmp_path / name)
        return np.asarray(Image.open(tmp_path / name).convert("RGB"), dtype=float)

    before = seen("before.png")
    assert before.std() > 5  # something is drawn
    page.locator(".xr-explorer .xr-to-lateral").click()
    page.wait_for_timeout(4000)
    after = seen("after.png")
    assert np.abs(after - before).mean() > 1
    shutil.copy(tmp_path / "after.png", keep / "scene.png")


def test_the_explore_notebook_runs_and_shows_every_instrument(show, root, keep):
    shutil.copytree(REPOSITORY / "models" / "phantom", root / "models" / "phantom")
    (root / "notebooks").mkdir()
    shutil.copy(REPOSITORY / "notebooks" / "explore.ipynb", root / "notebooks" / "explore.ipynb")
    page = show("notebooks/explore")
    for name in ("explorer", "scene", "cockpit", "landscape", "attention"):
        panel = page.locator(f".xr-panel.xr-{name}")
        panel.scroll_into_view_if_needed()
        panel.wait_for()
        assert page.locator(f".xr-{name} .xr-note [role=alert]").count() == 0
        page.wait_for_timeout(1500)
        panel.screenshot(path=keep / f"explore-{name}.png")
    assert page.locator(".jp-RenderedText[data-mime-type='application/vnd.jupyter.error']").count() == 0
    # after a registration that a cell ran, hands are heard as before
    assert numbers(page)[:6] == numbers(page, "found")[:6]
    page.wait_for_timeout(4000)
    before = numbers(page)[3]
    page.locator(".xr-cockpit .xr-tx .noUi-handle").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("() => !document.querySelector('.xr-cockpit .xr-tx .widget-readout').textContent.startsWith('25.2')")
    page.wait_for_timeout(1000)
    assert numbers(page)[3] == pytest.approx(before + 0.2, abs=0.06)
    assert page.locator(".jp-RenderedText[data-mime-type='application/vnd.jupyter.stderr']").count() == 0
