"""The landscape and the attention viewer, driven as a page would drive them, but without one."""

from __future__ import annotations

import asyncio
import functools
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from traitlets import HasTraits, Instance, Tuple

from xrcore import phantom
from xrcore._util.errors import XrcoreError
from xrcore.ct.volume import Volume
from xrcore.figures.attention import attention_overlay, spread_over
from xrcore.geometry import CArm, Pose
from xrcore.learning.methods import method_named
from xrcore.learning.models import PoseRegressor
from xrcore.learning.models.identity import CtIdentity
from xrcore.learning.training import profile
from xrcore.renderer import render
from xrcore.xray import Xray

pytest.importorskip("ipywidgets", reason="the widgets need the extra 'notebooks'")

from xrcore.widgets import AttentionViewer, LandscapeViewer, PoseState
from xrcore.widgets.html_tables import difference_table

CARM = CArm(source_to_detector=1259.65, source_to_isocenter=742.5, shape=(64, 64), pixel_spacing=6.75)
TRUTH = Pose(rx=3.0, ry=-5.0, tx=6.0, tz=8.0)
SETTINGS = profile("smoke").changed(pixels=64, bottleneck=16, hidden=32, tokens=16)


@functools.cache
def patient(seed: int = 0) -> Volume:
    return phantom.pelvis(seed, spacing=8.0)


def xray(pose: Pose = TRUTH, carm: CArm = CARM) -> Xray:
    return Xray(image=render(patient(), carm, pose)[0], carm=carm)


@functools.cache
def model(**changes: object) -> PoseRegressor:
    """Untrained: what it says is arbitrary, but the same each time."""
    torch.manual_seed(0)
    settings = SETTINGS.changed(**changes)
    return PoseRegressor(method_named(settings.method)(settings).network(), settings, CARM, CtIdentity.of(patient()))


def picture(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


# landscape


@pytest.fixture
def landscape():
    viewer = LandscapeViewer(xray(), patient())
    yield viewer
    viewer.close()


def test_an_x_ray_and_a_volume_make_a_landscape(landscape: LandscapeViewer):
    assert landscape.state.center == Pose.zero()
    assert landscape.snapshot() == landscape.profiles.value
    assert picture(landscape.profiles.value).shape[1] == 1000
    assert "zncc" in landscape.table.value
    assert landscape.here.layout.display == "none"  # there is no session


def test_the_centre_is_the_pose_given_or_the_x_rays_own():
    assert LandscapeViewer(xray(), patient(), TRUTH).state.center == TRUTH
    assert LandscapeViewer(replace(xray(), pose=TRUTH), patient()).state.center == TRUTH


def test_choosing_a_similarity_changes_pictures_and_nothing_is_computed_again(landscape: LandscapeViewer):
    before, plane, found = landscape.profiles.value, landscape.plane.value, landscape.state.profiles
    landscape.similarity.value = "wlmi"
    assert landscape.state.selected == "wlmi"
    assert landscape.profiles.value != before
    assert landscape.plane.value != plane
    assert landscape.state.profiles is found
    assert landscape.descend.disabled  # nothing to descend on
    landscape.state.selected = "zncc"  # and from the state to the page
    assert landscape.similarity.value == "zncc"
    assert landscape.profiles.value == before
    assert not landscape.descend.disabled


def test_the_pair_stays_a_pair(landscape: LandscapeViewer):
    found = landscape.state.profiles
    before = landscape.plane.value
    landscape.first.value = "rz"
    assert landscape.state.pair == ("rz", "tx")
    assert landscape.state.plane.axes == ("rz", "tx")
    assert landscape.plane.value != before
    landscape.second.value = "rz"  # the other gives way
    assert landscape.state.pair == (landscape.first.value, landscape.second.value) == ("tx", "rz")
    landscape.first.value = "rz"
    assert landscape.state.pair == (landscape.first.value, landscape.second.value) == ("rz", "tx")
    assert landscape.state.profiles is found
    with pytest.raises(XrcoreError, match="pair"):
        landscape.state.pair = ("rx", "rx")
    assert landscape.state.pair == ("rz", "tx")


def test_a_longer_reach_computes_again(landscape: LandscapeViewer):
    before = landscape.profiles.value
    landscape.rotation.value = 20
    landscape.translation.value = 40
    assert landscape.state.profiles.offsets[:, -1].tolist() == [20.0] * 3 + [40.0] * 3
    assert landscape.state.plane.offsets[:, -1].tolist() == [20.0, 40.0]  # ry, tx
    assert landscape.profiles.value != before


def test_descents_appear_and_go_with_what_they_belong_to():
    viewer = LandscapeViewer(xray(), patient(), TRUTH)
    assert "↩" not in viewer.table.value
    before = viewer.profiles.value
    viewer.descend.click()
    assert viewer.profiles.value != before
    assert "↩" in viewer.table.value
    back = viewer.state.returns["zncc"]
    assert back.came_back[:, back.offsets.shape[1] // 2].all()
    viewer.similarity.value = "local-zncc"
    assert list(viewer.state.returns) == ["zncc"]
    viewer.rotation.value = 15
    assert viewer.state.returns == {}
    assert "↩" not in viewer.table.value


def test_descents_look_for_the_truth_where_it_is_known():
    viewer = LandscapeViewer(xray(), patient(), Pose(TRUTH.numbers + torch.tensor([0, 0, 0, 25.0, 0, 0])), truth=TRUTH)
    viewer.descend.click()
    back = viewer.state.returns["zncc"]
    assert back.home == TRUTH
    assert back.came_back[:, back.offsets.shape[1] // 2].all()  # though they start 25 mm from it


def test_errors_of_a_landscape_show_in_the_page(landscape: LandscapeViewer):
    landscape.state.selected = "wlmi"
    landscape.guarded(landscape.try_descents)(None)
    assert 'role="alert"' in landscape.note.value
    assert "no least-squares residual" in landscape.note.value
    landscape.state.xray = None
    landscape.guarded(landscape.compute)(None)
    assert "no X-ray" in landscape.note.value


def test_a_landscape_of_nothing_is_refused():
    with pytest.raises(XrcoreError, match="xray must be an Xray"):
        LandscapeViewer()
    with pytest.raises(XrcoreError, match="volume must be a Volume"):
        LandscapeViewer(xray(), "ct.nii.gz")  # type: ignore[arg-type]
    with pytest.raises(XrcoreError, match="or a session"):
        LandscapeViewer(xray(), session=Shared())
    with pytest.raises(XrcoreError, match="no trait 'xray'"):
        LandscapeViewer(session=PoseState(patient(), CARM))


class Shared(HasTraits):
    """The least that a landscape can follow."""

    xray = Instance(Xray, allow_none=True)
    volume = Instance(Volume, allow_none=True)
    numbers = Tuple((0.0,) * 6)


def test_a_session_is_followed_and_its_pose_taken_over_on_request():
    session = Shared(volume=patient())
    viewer = LandscapeViewer(session=session)
    assert viewer.snapshot() is None
    assert "no X-ray yet" in viewer.note.value
    viewer.here.click()
    assert 'role="alert"' in viewer.note.value  # still none
    session.xray = xray()
    assert viewer.state.xray is session.xray
    assert viewer.state.profiles is None  # computing is slow, so nobody is made to wait unasked
    session.numbers = tuple(TRUTH.numbers[0].tolist())
    viewer.here.click()
    assert viewer.state.profiles.center == TRUTH
    assert viewer.snapshot()
    session.numbers = (0.0,) * 6
    assert viewer.state.profiles.center == TRUTH
    assert "the pose moved" in viewer.note.value
    session.xray = xray(Pose.zero())  # another X-ray: what was found is not about it
    assert viewer.state.profiles is None
    assert viewer.snapshot() is None
    viewer.close()
    session.xray = xray()
    assert viewer.state.xray is not session.xray


def test_a_session_with_an_x_ray_is_shown_at_once():
    viewer = LandscapeViewer(session=Shared(xray=xray(), volume=patient(), numbers=tuple(TRUTH.numbers[0].tolist())))
    assert viewer.state.profiles.center == TRUTH


# attention


@pytest.fixture
def attention():
    viewer = AttentionViewer(model(), patient())
    yield viewer
    viewer.close()


def shown(viewer: AttentionViewer) -> dict[str, bytes]:
    return {name: image.value for name, image in viewer.images.items()}


def test_a_model_and_a_volume_make_x_rays(attention: AttentionViewer):
    assert attention.state.truth == attention.source.pose
    assert attention.state.xray.carm == CARM
    assert picture(attention.images["xray"].value).shape == (64, 64, 3)
    assert len(set(shown(attention).values())) == 4
    assert "mTRE" in attention.captions["initial"].value
    assert attention.snapshot()[:4] == b"\x89PNG"
    for name in ("truth", "network", "refined"):
        assert name in attention.table.value
    assert "trusted" in attention.outcome.value


def test_the_numbers_are_the_models_and_registers(attention: AttentionViewer):
    state = attention.state
    assert torch.allclose(state.prediction.numbers, model().predict(state.xray).numbers, atol=1e-3)
    _, whole = model().predict(state.xray, attention=True)
    # untrained, it looks nearly everywhere alike: what counts is the little that differs
    assert np.corrcoef(state.attention.mean(0).ravel(), whole.double().numpy().ravel())[0, 1] > 0.99
    np.testing.assert_allclose(state.attention.sum((1, 2)), 1, atol=1e-4)
    assert state.measures(state.truth, state.drr(state.truth))["mTRE"] == 0


def test_sliders_make_another_x_ray(attention: AttentionViewer):
    before = shown(attention)
    attention.sliders.sliders["ry"].value = 12.0
    assert attention.state.truth.to_dict()["ry"] == 12.0
    after = shown(attention)
    assert all(after[name] != before[name] for name in before)
    attention.protocol.value = False  # no noise
    bare = attention.state.xray.image
    assert torch.equal(bare, render(patient(), CARM, attention.source.pose)[0])


def test_a_seed_stands_for_a_pose_within_the_models_ranges(attention: AttentionViewer):
    first = attention.source.pose
    attention.seed.value = 7
    assert attention.source.pose != first
    assert all(abs(n) <= r for n, r in zip(attention.source.numbers, model().ranges, strict=True))
    assert attention.state.truth == attention.source.pose
    attention.seed.value = 0
    assert attention.source.pose == first


def test_opacity_and_heads_change_the_overlay_alone(attention: AttentionViewer):
    before = shown(attention)
    heads = len(attention.head.options) - 1
    assert heads == model().settings.architecture.heads
    attention.head.index = 1
    one = shown(attention)
    assert one["attention"] != before["attention"]
    attention.head.index = 0
    assert shown(attention) == before
    attention.opacity.value = 0
    assert shown(attention)["attention"] != before["attention"]
    grey = picture(attention.images["xray"].value).astype(int)
    assert np.abs(picture(attention.images["attention"].value).astype(int) - grey).max() <= 1
    assert {k: v for k, v in shown(attention).items() if k != "attention"} == {k: v for k, v in before.items() if k != "attention"}


def test_refinement_can_wait():
    viewer = AttentionViewer(model(), patient(), xray(), truth=TRUTH)
    refined = viewer.state.refined
    assert refined.pose.to_dict()["tx"] == pytest.approx(6.0, abs=1.0)
    viewer.refining.value = False
    viewer.state.look_at(xray(Pose.zero()))
    viewer._update()
    assert viewer.state.prediction is not None
    assert viewer.state.refined is None
    assert "refined" not in viewer.table.value
    assert "truth" not in viewer.table.value  # nobody knows it
    assert "mTRE" not in viewer.captions["initial"].value
    viewer.refining.value = True
    assert viewer.state.refined is not None


def test_refinement_follows_when_the_hand_rests():
    """As in a notebook, where the event loop runs."""

    async def drag() -> None:
        viewer = AttentionViewer(model(), patient())
        viewer._update._full_seconds = 1.0  # a machine on which refinement is slow
        viewer.source.set(ry=10.0)
        assert viewer.state.prediction is not None
        assert viewer.state.refined is None
        assert "mTRE" not in viewer.captions["final"].value
        await asyncio.sleep(0.3)
        assert viewer.state.refined is not None
        assert "mTRE" in viewer.captions["final"].value
        viewer.source.set(ry=-10.0)
        viewer.close()
        await asyncio.sleep(0.3)
        assert viewer.state.refined is None  # nothing goes on after the end

    asyncio.run(drag())


def test_a_network_without_attention_says_so():
    viewer = AttentionViewer(model(attention=False), patient(), xray())
    assert "no attention" in viewer.note.value
    assert 'role="status"' in viewer.note.value
    assert viewer.head.disabled
    assert viewer.state.refined is not None
    assert picture(viewer.images["attention"].value).min() == 255  # an empty place
    assert viewer.snapshot()


def test_another_method_can_be_looked_at():
    settings = profile("smoke").changed(pixels=64, method="salehi")
    torch.manual_seed(0)
    regressor = PoseRegressor(method_named("salehi")(settings).network(), settings, CARM, CtIdentity.of(patient()))
    viewer = AttentionViewer(regressor, patient(), xray())
    assert "no attention" in viewer.note.value
    assert viewer.state.prediction is not None


def test_another_ct_is_refused_in_the_page():
    viewer = AttentionViewer(model(), patient(1))
    assert 'role="alert"' in viewer.note.value
    assert "not the CT that the model was trained for" in viewer.note.value
    assert viewer.state.xray is not None  # what there is to see is shown
    assert viewer.state.prediction is None
    assert viewer.table.value == ""


def test_another_geometry_is_refused_in_the_page():
    viewer = AttentionViewer(model(), patient(), xray(carm=replace(CARM, source_to_detector=1000.0)))
    assert "source_to_detector" in viewer.note.value
    assert viewer.state.prediction is None
    viewer.state.look_at(xray(), TRUTH)
    viewer._update()
    assert viewer.note.value == ""
    assert viewer.state.prediction is not None


def test_a_folder_is_read_and_a_missing_one_named_in_the_page(tmp_path: Path):
    model().save(tmp_path / "model", half=False)
    viewer = AttentionViewer(tmp_path / "model", patient(), xray())
    assert torch.allclose(viewer.state.prediction.numbers, model().predict(xray()).numbers, atol=1e-4)
    missing = AttentionViewer(str(tmp_path / "nothing"), patient())
    assert "nothing" in missing.note.value
    assert 'role="alert"' in missing.note.value
    assert missing.snapshot() is None
    missing.opacity.value = 0.2  # nothing to draw is no error


def test_a_pose_that_shows_nothing_says_so_and_leaves_no_old_picture(attention: AttentionViewer):
    attention.protocol.value = False
    before = shown(attention)
    attention.source.set(tx=2000.0)
    assert 'role="alert"' in attention.note.value
    assert attention.state.xray is None
    assert shown(attention)["initial"] != before["initial"]
    assert attention.table.value == ""
    attention.source.set(tx=0.0)
    assert "alert" not in attention.note.value
    assert attention.table.value


def test_what_is_no_volume_or_x_ray_is_refused():
    with pytest.raises(XrcoreError, match="volume must be a Volume"):
        AttentionViewer(model(), None)  # type: ignore[arg-type]
    with pytest.raises(XrcoreError, match="xray must be an Xray"):
        AttentionViewer(model(), patient(), "fluoro.dcm")  # type: ignore[arg-type]


@pytest.mark.parametrize("make", [lambda: AttentionViewer(model(), patient(), xray()), lambda: LandscapeViewer(xray(), patient())])
def test_a_page_without_a_kernel_shows_a_still(make):
    bundle, _ = make()._repr_mimebundle_()
    assert bundle["image/png"][:4] == b"\x89PNG"
    assert "application/vnd.jupyter.widget-view+json" in bundle


# what they are drawn with


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


def test_the_table_gives_differences_from_the_truth():
    html = difference_table({"truth": Pose(rx=1.0), "network": Pose(rx=3.5, tz=-0.04)})
    assert "(+2.5)" in html
    assert "−0.0" not in html
    assert "(" not in difference_table({"network": Pose(rx=3.5)})
