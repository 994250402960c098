"""What is drawn lies where an independent projection puts it, and is as certain as the registration says."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
import torch
import trimesh
from matplotlib.lines import Line2D
from matplotlib.patches import Ellipse
from PIL import Image
from support.registrations import CARM, DEVIATIONS, ISOCENTER, POSE, by_formula, gradient_xray, registered

import xrcore as xr
from xrcore.registration import write_registration
from xrcore.registration.view import View

PLACES = ISOCENTER + np.array([[30.0, 10.0, -20.0], [-25.0, 40.0, 15.0], [5.0, -35.0, 50.0]])
POINTS = dict(zip("abc", PLACES, strict=True))


@pytest.fixture(scope="module")
def volume() -> xr.Volume:
    matrix = torch.diag(torch.tensor([8.0, 8.0, 8.0, 1.0], dtype=torch.float64))
    matrix[:3, 3] = torch.from_numpy(ISOCENTER) - 60
    isocenter = torch.from_numpy(ISOCENTER)
    return xr.Volume(density=torch.ones(1, 16, 16, 16), materials=("soft",), world_from_voxel=matrix, isocenter=isocenter)


@pytest.fixture(scope="module")
def folder(volume, tmp_path_factory):
    path = tmp_path_factory.mktemp("result")
    write_registration(path, registered(), volume)
    return path


def test_landmarks_are_where_the_formula_and_itk_put_them(folder):
    expected = by_formula(PLACES, POSE.numbers[0].numpy())
    camera = sitk.ReadTransform(str(folder / "camera_from_ct.tfm"))
    by_itk = [np.array(camera.TransformPoint(place.tolist())) @ CARM.K.numpy().T for place in PLACES]
    np.testing.assert_allclose([(v / w, u / w) for u, v, w in by_itk], expected, atol=1e-6)
    for result in (registered(), folder, folder / "registration.json"):
        drawn = xr.draw(gradient_xray(), result, points=POINTS)
        np.testing.assert_allclose(list(drawn.points.values()), expected, atol=1e-6)


def test_a_cropped_or_shrunk_image_has_them_at_the_same_places():
    whole = by_formula(PLACES, POSE.numbers[0].numpy())
    cropped = xr.draw(gradient_xray(CARM.cropped(6, 11, (30, 40))), registered(), points=PLACES)
    np.testing.assert_allclose(list(cropped.points.values()), whole - [6, 11], atol=1e-6)
    shrunk = xr.draw(gradient_xray(CARM.resized((24, 32))), registered(), points=PLACES)
    np.testing.assert_allclose(list(shrunk.points.values()), (whole + 0.5) / 2 - 0.5, atol=1e-6)


def test_the_picture_shows_a_cross_there():
    row, col = by_formula(PLACES[:1], POSE.numbers[0].numpy())[0]
    drawn = xr.draw(gradient_xray(), registered(covariance=None), points={"": PLACES[0]})
    picture = np.asarray(Image.open(io.BytesIO(drawn._repr_png_())).convert("RGB"), int)
    across = picture.shape[1] / CARM.shape[1]
    down = across * CARM.spacing[0] / CARM.spacing[1]  # the C-arm's pixels are not square
    red, green, blue = picture[: round(CARM.shape[0] * down)].transpose(2, 0, 1)
    y, x = np.nonzero((red > 200) & (green > 170) & (blue < 130))
    np.testing.assert_allclose([(y.mean() + 0.5) / down - 0.5, (x.mean() + 0.5) / across - 0.5], [row, col], atol=0.1)


def test_the_ellipse_holds_95_percent_of_where_poses_draw_the_landmark():
    result = registered()
    numbers = np.random.default_rng(0).multivariate_normal(POSE.numbers[0].numpy(), result.covariance.numpy(), 2000)
    drawn = xr.draw(gradient_xray(), result, points=POINTS)
    ellipses = [patch for patch in drawn.figure.axes[0].patches if isinstance(patch, Ellipse)]
    for place, covariance, ellipse in zip(PLACES, drawn.covariances.values(), ellipses, strict=True):
        pixels = np.concatenate([by_formula(place[None], one) for one in numbers])
        np.testing.assert_allclose(covariance, np.cov(pixels.T), rtol=0.15, atol=0.02 * np.trace(covariance))
        unit = ellipse.get_patch_transform().inverted().transform(pixels[:, ::-1])
        assert (np.linalg.norm(unit, axis=1) < 1).mean() == pytest.approx(0.95, abs=0.02)


def test_lengths_in_the_legend_and_on_the_scale_bar_are_those_at_the_isocentre():
    drawn = xr.draw(gradient_xray(), registered(), points={"a": ISOCENTER})
    shown = [text for text in drawn.summary() if "95 %" in text]
    shift = np.array([[0.0, 0, 0], [1, 0, 0], [0, 0, 1]])  # [mm]
    at, right, up = by_formula(ISOCENTER + shift, xr.Pose(tz=18).numbers[0].numpy())  # as far away as at `POSE`
    per_mm = np.abs([up - at, right - at]).max(1)  # [pixels], along rows and columns
    longest = 2.448 * np.sqrt(np.linalg.eigvalsh(drawn.covariances["a"] / np.outer(per_mm, per_mm)).max())
    assert shown == [f"95 % within {longest:.2g} mm"]
    (bar,) = [line for line in drawn.figure.axes[0].lines if isinstance(line, Line2D) and len(line.get_xdata()) == 2]
    (length,) = [text.get_text() for text in drawn.figure.axes[0].texts if "isocentre" in text.get_text()]
    assert np.ptp(bar.get_xdata()) == pytest.approx(float(length.split()[0]) * per_mm[1], rel=0.01)


def test_non_square_pixels_are_drawn_in_shape_and_lengths_are_of_the_landmarks_depth():
    # pixels four times as high as wide: the same places and uncertainties in mm, the same shape of picture
    (rows, cols), (down, across) = CARM.shape, CARM.spacing
    tall = xr.CArm(**CARM.to_dict() | {"shape": (rows // 4, cols), "pixel_spacing": (4 * down, across)})
    shown, sizes = [], []
    for carm in (CARM, tall):
        xray = gradient_xray(carm)
        near = ISOCENTER - np.array([0.0, 200.0, 0.0])
        drawn = xr.draw(xray, registered(xray), points={"near": near})
        shown.append([text for text in drawn.summary() if "95 %" in text])
        box = drawn.figure.axes[0].get_window_extent()
        sizes.append(box.height / box.width)
    assert shown[0] == shown[1] != []
    assert sizes[1] == pytest.approx(sizes[0], rel=0.02)


def test_a_structure_called_landmark_is_named_among_the_others():
    drawn = xr.draw(gradient_xray(), registered(), lines={"landmark": PLACES[:2]})
    assert drawn.summary() == ["landmark"]
    assert xr.draw(gradient_xray(), registered(covariance=None), points={"a": ISOCENTER}).summary()[0].startswith("a (")


def test_without_a_finite_covariance_no_ellipse_is_drawn_and_a_note_says_so():
    open_ended = torch.diag(DEVIATIONS**2)
    open_ended[5, 5] = torch.inf
    for covariance in (None, open_ended):
        drawn = xr.draw(gradient_xray(), registered(covariance=covariance), points=POINTS)
        assert not drawn.covariances
        assert any("covariance" in note for note in drawn.notes)


def test_a_second_view_is_drawn_from_its_own_camera(volume, tmp_path):
    first, turned = gradient_xray(), torch.eye(4, dtype=torch.float64)
    turned[:3, :3] = torch.tensor([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])
    turned[:3, 3] = torch.tensor([-650.0, 10, 720])
    views = (View(xray=first, camera_from_rig=torch.eye(4)), View(xray=first, camera_from_rig=turned))
    result = registered(views=views)
    write_registration(tmp_path, result, volume)
    own = result.poses()[1].numbers[0].numpy()
    for given in (result, tmp_path):
        drawn = xr.draw(first, given, points=POINTS, view=1)
        np.testing.assert_allclose(list(drawn.points.values()), by_formula(PLACES, own), atol=1e-4)
        box = sitk.Image(1, 1, 1, sitk.sitkUInt8) + 1
        box.SetSpacing([10.0] * 3)
        box.SetOrigin(PLACES[0].tolist())
        (mask,) = xr.project_labels(box, first, given, view=1).masks
        np.testing.assert_allclose(np.argwhere(mask).mean(0), by_formula(PLACES, own)[0], atol=0.75)
    with pytest.raises(xr.XrcoreError, match="no view 2"):
        xr.draw(first, tmp_path, points=POINTS, view=2)


def test_intrinsics_that_were_found_with_the_pose_are_drawn_with():
    found = replace(CARM, source_to_detector=1150.0)
    known = xr.Calibration(("source_to_detector",), (1100.0,), (1150.0,), (50.0,), torch.eye(7))
    result = registered(gradient_xray(found), calibration=known)
    drawn = xr.draw(gradient_xray(), result, points=POINTS)
    np.testing.assert_allclose(list(drawn.points.values()), by_formula(PLACES, POSE.numbers[0].numpy(), found), atol=1e-6)
    assert not drawn.covariances
    with pytest.raises(xr.XrcoreError, match="give the X-ray whole"):
        xr.draw(gradient_xray(CARM.cropped(6, 11, (30, 40))), result, points=POINTS)


def test_a_ball_has_a_round_silhouette_and_a_screw_its_width(tmp_path):
    carm = xr.CArm(source_to_detector=1000, source_to_isocenter=500, shape=(65, 65), pixel_spacing=1.0)
    ball = trimesh.creation.icosphere(4, 8.0)
    ball.apply_translation(ISOCENTER)
    ball.export(tmp_path / "ball.stl")
    result = registered(gradient_xray(carm), pose=xr.Pose())
    ends = ISOCENTER + np.array([[-100.0, 0, 0], [100.0, 0, 0]])
    drawn = xr.draw(gradient_xray(carm), result, meshes=tmp_path / "ball.stl", lines={"screw": ends}, diameter=6.0)
    ball_edges, screw_edges = (np.concatenate(edges.get_segments()) for edges in drawn.figure.axes[0].collections)
    radii = np.linalg.norm(ball_edges - 32, axis=1)
    np.testing.assert_allclose(radii, 1000 * 8 / np.sqrt(500**2 - 8**2), rtol=0.01)  # of the tangents' cone
    assert np.ptp(screw_edges[:, 1]) == pytest.approx(2 * 1000 * 3 / np.sqrt(500**2 - 3**2), rel=0.01)


def test_surfaces_in_ras_are_turned_and_a_file_that_says_otherwise_is_refused(tmp_path):
    ball = trimesh.creation.icosphere(2, 8.0)
    ball.apply_translation(PLACES[0])
    ball.export(tmp_path / "lps.ply")
    ball.apply_transform(np.diag([-1.0, -1, 1, 1]))
    ball.export(tmp_path / "ras.ply")
    lps, ras = (
        xr.draw(gradient_xray(), registered(), meshes=tmp_path / f"{name}.ply", frame=name).figure.axes[0].collections[0]
        for name in ("lps", "ras")
    )
    np.testing.assert_allclose(np.sort(lps.get_segments(), 0), np.sort(ras.get_segments(), 0), atol=1e-4)
    content = (tmp_path / "ras.ply").read_bytes().replace(b"comment", b"comment SPACE=RAS", 1)
    (tmp_path / "said.ply").write_bytes(content)
    with pytest.raises(xr.XrcoreError, match="says that its axes are RAS"):
        xr.draw(gradient_xray(), registered(), meshes=tmp_path / "said.ply")


def test_the_verdict_is_in_the_picture():
    evidence = xr.Evidence(agreement=0.1, displacement=1, likeness=0.1, blocks=10, deviation=1)
    for trusted, text in ((True, "registration trusted"), (False, "registration NOT trusted")):
        drawn = xr.draw(gradient_xray(), registered(trusted=trusted, evidence=evidence), points=POINTS)
        assert [one.get_text() for one in drawn.figure.texts] == [text]
        assert bool(drawn.figure.axes[0].texts[-1].get_text() == "NOT TRUSTED") is not trusted


def test_an_inverted_x_ray_is_shown_bone_bright_and_a_flipped_one_is_noted():
    random = xr.Xray(image=torch.rand(*CARM.shape, generator=torch.Generator().manual_seed(0)), carm=CARM)
    result = registered(random, inverted=True)
    dark, bright = (xr.draw(one, result, points=POINTS) for one in (random.negative(), random))
    pictures = [drawn.figure.axes[0].images[0].get_array() for drawn in (dark, bright)]
    np.testing.assert_allclose(*pictures, atol=1e-6)
    assert not dark.notes + bright.notes
    (note,) = xr.draw(replace(random, image=random.image.flip(1)), result, points=POINTS).notes
    assert "not the image that was registered" in note


def test_the_secondary_capture_shows_the_picture_and_nobody(tmp_path):
    drawn = xr.draw(gradient_xray(), registered(), points=POINTS)
    data = pydicom.dcmread(drawn.save(tmp_path / "drawn.dcm"))
    picture = np.asarray(Image.open(io.BytesIO(drawn._repr_png_())).convert("RGB"))
    np.testing.assert_array_equal(data.pixel_array, picture)
    assert (data.SOPClassUID.name, data.BurnedInAnnotation) == ("Secondary Capture Image Storage", "YES")
    personal = [one for one in data if one.VR in ("PN", "DA", "TM", "DT", "AS") or one.keyword.startswith("Patient")]
    assert personal
    assert not any(one.value for one in personal)
    assert data.SOPInstanceUID == pydicom.dcmread(drawn.save(tmp_path / "again.dcm")).SOPInstanceUID


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_the_same_picture_is_the_same_file(tmp_path, suffix):
    one, two = (
        xr.draw(gradient_xray(), registered(), points=POINTS).save(tmp_path / name / f"drawn{suffix}").read_bytes()
        for name in ("one", "two")
        if not (tmp_path / name).mkdir()
    )
    assert one == two


def test_what_does_not_fit_is_refused(volume, tmp_path):
    xray = gradient_xray()
    with pytest.raises(xr.XrcoreError, match="nothing to draw"):
        xr.draw(xray, registered())
    with pytest.raises(xr.XrcoreError, match="isocentre; give the CT by volume="):
        xr.draw(xray, POSE, points=POINTS)
    with pytest.raises(xr.XrcoreError, match=r"holds no registration\.json"):
        xr.draw(xray, tmp_path, points=POINTS)
    with pytest.raises(xr.XrcoreError, match="give the X-ray that was registered"):
        xr.draw(gradient_xray(replace(CARM, source_to_detector=1200)), registered(), points=POINTS)
    with pytest.raises(xr.XrcoreError, match="another pixel spacing or principal point"):
        xr.draw(gradient_xray(replace(CARM, principal_point=None)), registered(), points=POINTS)
    notes = xr.draw(xray, POSE, points={"far": ISOCENTER + np.array([0, 0, 900])}, volume=volume).notes
    assert "far lies outside the image" in notes
    with pytest.raises(xr.XrcoreError, match=r"must end in \.png, \.svg, \.pdf, \.dcm"):
        xr.draw(xray, registered(), points=POINTS).save(tmp_path / "drawn.jpg")


@pytest.mark.parametrize("name", ["$\\foo$", "x\udcff", "a\nb", "_hip", "n" * 300])
def test_any_name_can_be_drawn(name, tmp_path):
    drawn = xr.draw(gradient_xray(), registered(), points={name: PLACES[0]}, lines={name: PLACES[:2]})
    drawn.save(tmp_path / "drawn.png")
    (text,) = [text for text in drawn.summary() if text[:1] == name[:1] and "(" not in text]
    assert len(text) <= 60
    assert text.isprintable()


def test_a_legend_of_very_many_lines_is_cut():
    many = {str(number): PLACES[:2] for number in range(90)}
    drawn = xr.draw(gradient_xray(), registered(), lines=many)
    assert drawn.summary()[-1] == "and 10 more"


def test_nothing_at_all_is_refused():
    for given in ({"points": {}}, {"lines": []}, {"meshes": []}):
        with pytest.raises(xr.XrcoreError, match=r"nothing to draw|there are none"):
            xr.draw(gradient_xray(), registered(), **given)


def test_a_ct_as_labels_is_refused(tmp_path):
    sitk.WriteImage(sitk.GetImageFromArray(np.arange(1728, dtype=np.int16).reshape(12, 12, 12)), tmp_path / "ct.nrrd")
    with pytest.raises(xr.XrcoreError, match="1727 labels"):
        xr.draw(gradient_xray(), registered(), labels=tmp_path / "ct.nrrd")
