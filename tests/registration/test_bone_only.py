"""Volumes of bone only: how they are told, and which searches they begin with."""

from __future__ import annotations

import numpy as np
import pytest

import xrcore as xr
from xrcore.ct import volume_from_hu
from xrcore.registration.bone_only import is_bone_only
from xrcore.registration.search_plans import another_way
from xrcore.registration.settings import EDGE_PYRAMID, GRADIENT_PYRAMID, PYRAMID

_Z, _Y, _X = np.mgrid[-40:40:2.0, -70:70:2.0, -70:70:2.0]
_RADIUS = np.hypot(_Y, _X)
AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])


def limb(skin: float, bone: float) -> xr.Volume:
    """A cylinder of bone in one of soft tissue, both cut by the grid's ends [mm]."""
    hu = np.where(skin > _RADIUS, 40.0, -1000.0)
    return volume_from_hu(np.where(bone > _RADIUS, 1200.0, hu).astype(np.float32), AFFINE, spacing=2.0)


@pytest.mark.parametrize(
    ("skin", "bone", "only"),
    [(60, 20, False), (60, 45, False), (60, 0, False), (0, 20, True), (22, 20, True)],
    ids=["a limb", "a thick bone", "soft tissue", "its bone", "its bone and a thin shell"],
)
def test_a_surface_of_bone_means_that_the_rest_is_missing(skin, bone, only):
    assert is_bone_only(limb(skin, bone)) is only


def test_a_body_that_the_grid_cuts_through_its_bone_has_its_soft_tissue():
    hu = np.where((_Z > -20) | (_RADIUS > 25), 40.0, 1200.0)  # soft on all sides but one, where the bone goes on
    assert not is_bone_only(volume_from_hu(hu.astype(np.float32), AFFINE, spacing=2.0))


def test_a_patient_is_whole_until_labels_keep_the_bones():
    hu, world_from_voxel = xr.phantom.pelvis_hu(0, 4.0)
    assert not is_bone_only(volume_from_hu(hu, world_from_voxel))
    assert is_bone_only(volume_from_hu(np.where(hu > 250, hu, -1000), world_from_voxel))


def test_searches_of_bone_only_begin_with_edges():
    given = xr.GaussNewton()
    assert [another_way(given, i, bone_only=True).levels for i in range(3)] == [EDGE_PYRAMID, PYRAMID, EDGE_PYRAMID]
    assert [another_way(given, i, bone_only=False).levels for i in range(3)] == [PYRAMID, GRADIENT_PYRAMID, PYRAMID]


@pytest.mark.parametrize("bone_only", [True, False])
def test_levels_of_ones_own_are_kept(bone_only):
    own = xr.GaussNewton(levels=PYRAMID[:2], tolerance=0.3)
    assert all(another_way(own, i, bone_only=bone_only) is own for i in range(4))


def test_it_registers_and_is_trusted():
    hu, world_from_voxel = xr.phantom.pelvis_hu(0, 2.0)
    volume, skeleton = (volume_from_hu(each, world_from_voxel) for each in (hu, np.where(hu > 250, hu, -1000)))
    carm = xr.CArm(source_to_detector=1260, source_to_isocenter=742.5, shape=(256, 256), pixel_spacing=1.6875)
    truth = xr.Pose(rx=3, ry=-8, tx=10)
    found = xr.register(xr.simulate(volume, carm, truth), skeleton)
    assert float(xr.metrics.mtre(found.pose, truth, volume.surface_points(32), carm, volume.isocenter)) < 2
    assert found.trusted, found.reasons
