"""Similarity profiles: capture ranges in closed form, profiles against single renders, their figures."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch

from xrcore import phantom
from xrcore._util.errors import XrcoreError
from xrcore.beam import Beam
from xrcore.ct.volume import Volume
from xrcore.figures.encoding import figure_png
from xrcore.figures.profiles import plane_figure, profiles_figure
from xrcore.geometry import CArm, Pose
from xrcore.geometry.pose import NAMES
from xrcore.registration.convergence_basin import ConvergenceBasin, measure_convergence_basin
from xrcore.registration.problem import Problem
from xrcore.registration.settings import Resolution
from xrcore.registration.similarities import SIMILARITIES
from xrcore.registration.similarity_profiles import Plane, Profiles, capture_range, plane, profiles
from xrcore.renderer import render
from xrcore.xray import Xray

CARM = CArm(source_to_detector=1259.65, source_to_isocenter=742.5, shape=(64, 64), pixel_spacing=6.75)
TRUTH = Pose(rx=3.0, ry=-5.0, rz=2.0, tx=6.0, ty=-4.0, tz=8.0)
COARSE = Resolution(pixels=32, spacing=16.0)
REACH = (30.0, 30.0, 30.0, 60.0, 60.0, 60.0)


@functools.cache
def patient() -> Volume:
    return phantom.pelvis(0, spacing=8.0)


@functools.cache
def xray() -> Xray:
    return Xray(image=render(patient(), CARM, TRUTH)[0], carm=CARM)


@functools.cache
def about_truth() -> Profiles:
    return profiles(xray(), patient(), TRUTH, reach=REACH, samples=21, level=COARSE)


@functools.cache
def back_to_truth() -> ConvergenceBasin:
    return measure_convergence_basin(xray(), patient(), TRUTH, "zncc", reach=REACH, samples=7)


# the capture range


def test_a_cosine_falls_for_half_its_period_on_both_sides():
    x = np.linspace(-160, 200, 721)
    highest = 0.01 * np.exp(-(((x - 20) / 5) ** 2))  # of three maxima
    below, above = capture_range(x, np.cos(np.deg2rad(2 * (x - 20))) + highest)
    assert below == pytest.approx(90, abs=1)
    assert above == pytest.approx(90, abs=1)


def test_a_parabola_falls_to_both_ends():
    x = np.linspace(-10, 10, 41)
    assert capture_range(x, -((x - 3) ** 2)) == pytest.approx((13, 7))
    assert capture_range(x, x) == pytest.approx((20, 0))  # the optimum at the end


def test_a_small_rise_is_noise_and_a_larger_one_ends_the_range():
    x = np.arange(11.0)
    values = np.array([10.0, 8, 6, 4, 4.15, 2, 0, 0, 0, 0, 0])  # a rise of 1.5 % of the span
    assert capture_range(x, values) == pytest.approx((0, 6))
    assert capture_range(x, values, tolerance=0.01) == pytest.approx((0, 3))
    values[4] = 5.0
    assert capture_range(x, values) == pytest.approx((0, 3))


def test_small_rises_that_add_up_end_the_range():
    values = np.array([10.0, 5, 0, 0.15, 0.3, 0.45])
    assert capture_range(np.arange(6.0), values) == pytest.approx((0, 2))


def test_a_constant_falls_nowhere():
    assert capture_range(np.linspace(-1, 1, 5), np.ones(5)) == (0, 0)


def made(values: np.ndarray, offsets: np.ndarray) -> Profiles:
    return Profiles(Pose.zero(), np.tile(offsets, (6, 1)), {"made": np.tile(values, (6, 1))}, COARSE)


def test_the_optimum_lies_between_uneven_samples():
    x = np.array([-9.0, -5, -2, 0, 1.5, 4, 9])
    found = made(-((x - 0.7) ** 2), x)
    np.testing.assert_allclose(found.optimum("made"), 0.7, atol=1e-12)
    assert (found.optimum_sample("made") == 0).all()
    assert (made(x, x).optimum("made") == 9).all()  # no parabola at the end of a line


def test_ranges_that_reach_the_ends_say_so():
    x = np.linspace(-10, 10, 21)
    bumpy = np.where(x > 5, -5 + (x - 5), -np.abs(x))
    assert made(bumpy, x).cut_off("made").tolist() == [[True, False]] * 6


# profiles and planes


def test_profiles_are_the_similarities_of_single_renders():
    found = about_truth()
    assert list(found.values) == list(SIMILARITIES)
    for name in SIMILARITIES:
        problem = Problem(xray(), patient().coarser(COARSE.spacing), Beam(), name, pixels=COARSE.pixels)
        for axis, sample in ((1, 4), (5, 17)):
            pose = TRUTH.numbers.clone()
            pose[0, axis] += found.offsets[axis, sample]
            assert found.values[name][axis, sample] == pytest.approx(float(problem.value(Pose(pose))), abs=1e-5)


def test_every_line_passes_through_the_pose():
    found = about_truth()
    assert (found.offsets[:, 10] == 0).all()
    np.testing.assert_array_equal(found.offsets, -found.offsets[:, ::-1])
    np.testing.assert_allclose(found.offsets[:, -1], REACH)
    for values in found.values.values():
        np.testing.assert_allclose(values[:, 10], values[0, 10], atol=1e-6)


@pytest.mark.parametrize("name", SIMILARITIES)
def test_the_highest_point_is_near_the_truth(name: str):
    found = about_truth()
    assert (np.abs(found.optimum(name))[:5] < 2.5).all()  # voxels are 16 mm here
    assert np.abs(found.optimum(name))[5] < 8  # depth is flat
    assert (found.capture(name) > 0).all()


def test_a_pose_beside_the_truth_sees_the_optimum_where_it_is():
    beside = Pose(TRUTH.numbers + torch.tensor([[0, 0, 0, 12.0, 0, 0]]))
    found = profiles(xray(), patient(), beside, reach=REACH, samples=21, level=COARSE, similarities=["zncc"])
    assert found.optimum("zncc")[3] == pytest.approx(-12, abs=1.5)


def test_a_plane_holds_the_lines_of_its_axes():
    found = plane(xray(), patient(), TRUTH, ("ty", "rx"), reach=(60.0, 30.0), samples=5, level=COARSE, similarities=["zncc", "wlmi"])
    rows, cols = NAMES.index("ty"), NAMES.index("rx")
    for name in found.values:
        for axis, values, offsets in ((rows, found.values[name][:, 2], found.offsets[0]), (cols, found.values[name][2], found.offsets[1])):
            line = profiles(xray(), patient(), TRUTH, reach=REACH, samples=3, level=COARSE, similarities=[name])
            np.testing.assert_allclose(values[[0, 2, 4]], line.values[name][axis], atol=1e-5)
            np.testing.assert_allclose(offsets[[0, 4]], line.offsets[axis, [0, 2]])
    # a corner, as no line has it
    corner = Pose(TRUTH.numbers + torch.tensor([[30.0, 0, 0, 0, -60.0, 0]]))
    problem = Problem(xray(), patient().coarser(COARSE.spacing), Beam(), "zncc", pixels=COARSE.pixels)
    assert found.values["zncc"][0, 4] == pytest.approx(float(problem.value(corner)), abs=1e-5)
    assert found.optimum("zncc") == (0.0, 0.0)


def test_lines_that_cannot_be_drawn_are_refused():
    for wrong, word in (
        ({"samples": 4}, "odd"),
        ({"samples": 1}, "odd"),
        ({"samples": 5.0}, "odd"),
        ({"reach": "abcdef"}, "reach"),
        ({"reach": (1.0,) * 5}, "reach"),
        ({"reach": (0.0,) * 6}, "reach"),
        ({"reach": (float("nan"),) * 6}, "reach"),
        ({"similarities": ["ssd"]}, "ssd"),
        ({"similarities": "ssd"}, "ssd"),
        ({"beam": 90}, "a Beam"),
        ({"level": 64}, "a Resolution"),
    ):
        with pytest.raises(XrcoreError, match=word):
            profiles(xray(), patient(), TRUTH, **({"level": COARSE} | wrong))  # type: ignore[arg-type]
    with pytest.raises(XrcoreError, match="an Xray"):
        profiles("x.png", patient(), TRUTH)  # type: ignore[arg-type]
    with pytest.raises(XrcoreError, match="one Pose"):
        profiles(xray(), patient(), Pose.zero(2))
    for axes in (("rx", "rx"), ("rx", "x"), ("rx",), 3):
        with pytest.raises(XrcoreError, match="axes"):
            plane(xray(), patient(), TRUTH, axes)  # type: ignore[arg-type]


# figures


def test_figures_show_what_they_are_given():
    found, back = about_truth(), back_to_truth()
    bare, full = (figure_png(profiles_figure(found, "zncc", returns=r)) for r in (None, back))
    assert bare[:4] == b"\x89PNG"
    assert bare != full
    assert figure_png(profiles_figure(found, "wlmi")) != bare
    assert len(profiles_figure(found, "zncc").axes) == 6


def test_similarities_look_different_and_their_legend_lies_in_the_figure_below_the_panels():
    figure = profiles_figure(about_truth(), "zncc", returns=back_to_truth())
    figure_png(figure)
    colours = {line.get_label(): line.get_color() for line in figure.legends[0].get_lines()}
    assert colours.keys() == SIMILARITIES.keys()
    assert len(set(colours.values())) == len(colours)
    panels = min(axes.get_tightbbox().y0 for axes in figure.axes)
    for legend in figure.legends:
        box = legend.get_window_extent()
        assert 0 <= box.x0 < box.x1 <= figure.bbox.width
        assert 0 <= box.y0 < box.y1 <= panels


def test_the_strip_is_filled_where_descents_reached():
    back = back_to_truth()
    with_strip = profiles_figure(about_truth(), "zncc", returns=back).axes[0]
    cells = with_strip.patches[-back.offsets.shape[1] :]
    filled = [tuple(cell.get_facecolor()[:3]) != (1.0, 1.0, 1.0) for cell in cells]
    assert filled == back.reached[0].tolist()


def test_flat_similarities_can_be_drawn():
    x = np.linspace(-1, 1, 5)
    figure_png(profiles_figure(made(np.zeros(5), x), "made"))
    flat = Plane(Pose.zero(), ("rx", "tz"), np.tile(x, (2, 1)), {"made": np.zeros((5, 5))}, COARSE)
    figure_png(plane_figure(flat, "made"))
