"""A parameter that makes no sense is refused in one line that names it, wherever it is given."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from xrcore import (
    Acquisition,
    Beam,
    CArm,
    Pose,
    Volume,
    Xray,
    XrcoreError,
    metrics,
    read_ct,
    read_xray,
    refine,
    register,
    render,
    render_with_jacobian,
    simulate,
    train,
    write_carm,
    write_xray,
)
from xrcore.beam import mass_attenuation
from xrcore.ct import HuImage, volume_from_hu
from xrcore.phantom import pelvis
from xrcore.registration import View, profiles
from xrcore.simulation import area_density

CARM = CArm(source_to_detector=1259.65, source_to_isocenter=742.5, shape=(24, 32), pixel_spacing=1.6875)
K = CARM.K.tolist()
ORIGIN = (0.0, 0.0, 0.0)
NOT_A_LENGTH = (None, "2", -1.0, 0, math.nan, math.inf, True, [1.0], 1j)
NOT_A_SHAPE = (None, 256, "ab", (256,), (256, 256, 3), (256, 0), (256, -3), (25.6, 256), ("a", "b"), (None, 2), (True, 2))


def carm(**changes: Any) -> CArm:
    return CArm(**(CARM.to_dict() | changes))


def intrinsics(k: Any = K, **scale: Any) -> CArm:
    return CArm.from_intrinsics(k, (24, 32), source_to_isocenter=600, **scale)


def volume(**changes: Any) -> Volume:
    good = {"density": torch.rand(2, 3, 4, 5), "materials": ("soft", "bone"), "world_from_voxel": torch.eye(4)}
    return Volume(**(good | changes))


def xray(**changes: Any) -> Xray:
    return Xray(**({"image": torch.rand(24, 32), "carm": CARM} | changes))


def view() -> View:
    return View(xray=xray(), camera_from_rig=torch.eye(4))


def hu() -> HuImage:
    values = np.random.default_rng(0).uniform(-1000, 500, (8, 12, 10)).astype(np.float32)
    return HuImage(hu=values, world_from_voxel=np.diag([2.0, 2.0, 3.0, 1.0]))


def mtre(pose: Any = Pose(), landmarks: Any = ((0.0, 0.0, 0.0),), isocenter: Any = ORIGIN) -> Any:  # noqa: B008
    return metrics.mtre(pose, Pose(), landmarks, CARM, isocenter)


IMAGE = torch.rand(24, 32)
NOT_A_SEED = (None, -1, 1.5, "0", True)


# (what the message must name, the call, values that it must refuse)
CHECKS: list[tuple[str, Callable[[Any], Any], tuple[Any, ...]]] = [
    ("CArm: source_to_detector", lambda v: carm(source_to_detector=v), NOT_A_LENGTH),
    ("CArm: source_to_isocenter", lambda v: carm(source_to_isocenter=v), NOT_A_LENGTH),
    ("CArm: shape", lambda v: carm(shape=v), NOT_A_SHAPE),
    ("CArm: pixel_spacing", lambda v: carm(pixel_spacing=v), (*NOT_A_LENGTH, (1.0, -1.0), (1.0, 1.0, 1.0), ("1", "2"))),
    ("CArm: principal_point", lambda v: carm(principal_point=v), ((math.nan, 1.0), (1.0, 2.0, 3.0), "ab", 5, ("1", "2"))),
    ("CArm.resized: shape", lambda v: CARM.resized(v), NOT_A_SHAPE),
    ("CArm.cropped: shape", lambda v: CARM.cropped(0, 0, v), NOT_A_SHAPE),
    ("CArm.cropped: top", lambda v: CARM.cropped(v, 0, (8, 8)), (None, "1", math.nan)),
    ("CArm.from_intrinsics: K", lambda v: intrinsics(v, pixel_spacing=1.0), (None, "K", torch.eye(4), torch.full((3, 3), math.nan))),
    ("CArm.from_intrinsics: pixel_spacing", lambda v: intrinsics(pixel_spacing=v), ("1", -1.0, math.nan, (1.0, 1.0))),
    ("CArm.from_intrinsics: source_to_detector", lambda v: intrinsics(source_to_detector=v), ("1", -1.0, math.nan)),
    (
        "Pose: numbers",
        Pose,
        ("abc", [1.0, 2.0, 3.0], torch.zeros(2, 3, 6), np.zeros(5), [0, 0, 0, 0, 0, math.nan], 7, {"rx": 1}, [[0.0] * 6, [0.0] * 5]),
    ),
    ("Pose: give six numbers or names", lambda v: Pose(v, rx=1), ([0.0] * 6,)),
    ("Pose: ry", lambda v: Pose(ry=v), (None, "20", math.nan, math.inf, [20.0])),
    ("Pose.zero: batch", Pose.zero, (None, -1, 1.5, "2")),
    ("Pose.random: batch", Pose.random, (None, -1, 1.5, "2")),
    ("Pose.random: rotation", lambda v: Pose.random(rotation=v), (None, 5.0, (1.0, 2.0), (1.0, 2.0, "3"))),
    ("Pose.random: translation", lambda v: Pose.random(translation=v), (None, 5.0, (1.0, 2.0), (1.0, 2.0, math.nan))),
    ("Pose.from_matrix: matrix", Pose.from_matrix, (None, "m", torch.eye(3), [[1.0, 2.0]])),
    ("Pose.from_camera_from_world: matrix", lambda v: Pose.from_camera_from_world(v, CARM, ORIGIN), (None, torch.eye(3))),
    ("Pose: isocenter", lambda v: Pose().world_from_camera(CARM, v), (None, "abc", (0.0, 0.0), torch.zeros(1, 3))),
    ("Pose.to_dict", lambda v: v.to_dict(), (Pose.zero(2),)),
    ("Beam: kilovolts", lambda v: Beam(kilovolts=v), (None, 80, "90", True, math.nan, [90], np.array([60, 90]))),
    ("Beam: metal", lambda v: Beam(metal=v), (None, "gold", ["iron"], 7)),
    ("Beam: spectrum", lambda v: Beam(spectrum=v), ("abc", 5, ((50.0,),), ((50.0, None),))),
    ("Beam.from_spectrum: energies", lambda v: Beam.from_spectrum(v, [1.0]), (None, "ab", [[1.0], [1.0, 2.0]])),
    ("Beam.from_spectrum: fluence", lambda v: Beam.from_spectrum([50.0], v), (None, "ab")),
    ("Beam.monochromatic: energy", Beam.monochromatic, (None, "60", math.nan, [60.0])),
    ("Beam: materials", lambda v: Beam().attenuation(v), (None, "soft", (), (1,), 5)),
    ("mass_attenuation: no material", lambda v: mass_attenuation(v, 50.0), (None, "wood", ["soft"])),
    ("mass_attenuation: energies", lambda v: mass_attenuation("soft", v), (None, "ab", 9.9, 150.1, math.nan)),
    ("read_ct: path", read_ct, (None, 5, ["a"])),
    ("read_ct: spacing", lambda v: read_ct("absent.nii", spacing=v), ("2", -1.0, 0, math.nan, math.inf, True, (2.0, 2.0))),
    ("volume_from_hu: spacing", lambda v: volume_from_hu(hu(), spacing=v), ("2", -1.0, 0, math.nan)),
    ("volume_from_hu: keep", lambda v: volume_from_hu(hu(), keep=v), (1, "1", (1.5,))),
    ("read_ct: air", lambda v: volume_from_hu(hu(), air=v), (None, "vacuum", ["none"])),
    ("read_ct: metal", lambda v: volume_from_hu(hu(), metal=v), (None, "gold")),
    ("read_ct: metal_above", lambda v: volume_from_hu(hu(), metal_above=v), (300, "3000", math.nan)),
    ("read_ct: background", lambda v: volume_from_hu(hu(), background=v), (-1000, 400, "0", math.nan)),
    ("read_ct: empty_below", lambda v: volume_from_hu(hu(), empty_below=v), (-500, None, "-950", math.nan)),
    ("CT: hu", lambda v: HuImage(hu=v, world_from_voxel=np.eye(4)), ("abc", [[1.0], [1.0, 2.0]])),
    ("CT: world_from_voxel", lambda v: HuImage(hu=hu().hu, world_from_voxel=v), ("abc", np.eye(3), np.zeros((4, 4)))),
    ("Volume: density", lambda v: volume(density=v), (None, "abc", torch.rand(3, 4, 5), torch.zeros(2, 3, 4, 5, dtype=torch.int16))),
    ("Volume: materials", lambda v: volume(materials=v), (None, "soft", (1, 2))),
    ("Volume: world_from_voxel", lambda v: volume(world_from_voxel=v), (None, "abc", torch.eye(3), torch.zeros(4, 4))),
    ("Volume: isocenter", lambda v: volume(isocenter=v), ("abc", (0.0, 0.0))),
    ("Volume: no material", lambda v: volume().material(v), (None, "wood")),
    ("Volume.coarser: spacing", lambda v: volume().coarser(v), NOT_A_LENGTH),
    ("Volume.surface_points: count", lambda v: volume().surface_points(v), (None, 0, -1, 1.5, "64")),
    ("read_xray: path", read_xray, (None, 5)),
    ("read_xray: carm", lambda v: read_xray("absent.png", v), (5, {"shape": (2, 2)})),
    ("read_xray: detector", lambda v: read_xray("absent.dcm", detector=v), (5, "left", ["posterior"])),
    ("read_xray: frame", lambda v: read_xray("absent.dcm", frame=v), (1.5, "1", True)),
    ("write_carm: carm", lambda v: write_carm("absent.yaml", v), (None, {})),
    ("Xray: image", lambda v: xray(image=v), (None, "abc", torch.rand(32, 24), torch.rand(1, 24, 32))),
    ("Xray: mask", lambda v: xray(mask=v), ("abc", torch.ones(3, 3))),
    ("Xray: carm", lambda v: xray(carm=v), (None, "carm.yaml")),
    ("Xray: pose", lambda v: xray(pose=v), ([0.0] * 6, "AP")),
    ("mtre: pose", lambda v: mtre(pose=v), (None, [0.0] * 6)),
    ("mtre: landmarks", lambda v: mtre(landmarks=v), (None, "abc", (), torch.zeros(3, 2), ((math.nan, 0.0, 0.0),))),
    ("mtre: isocenter", lambda v: mtre(isocenter=v), (None, "abc", (0.0, 0.0), torch.zeros(1, 3))),
    ("ncc: a", lambda v: metrics.ncc(v, IMAGE), (None, "abc", torch.rand(3), torch.rand(5, 5))),
    ("ncc: b", lambda v: metrics.ncc(IMAGE, v), (None, "abc", torch.full((24, 32), math.nan))),
    ("ncc: mask", lambda v: metrics.ncc(IMAGE, IMAGE, v), ("abc", torch.ones(3, 3))),
    ("ssim: data_range", lambda v: metrics.ssim(IMAGE, IMAGE, data_range=v), (0.0, -1.0, "1", math.nan)),
    ("success_rate: mtre_values", metrics.success_rate, (None, "abc")),
    ("success_rate: threshold", lambda v: metrics.success_rate([1.0], v), NOT_A_LENGTH),
    ("Acquisition: photons", lambda v: Acquisition(photons=v), (1.0, "many", math.nan)),
    ("Acquisition: scatter", lambda v: Acquisition(scatter=v), (None, -0.1, "much")),
    ("Acquisition: bits", lambda v: Acquisition(bits=v), (7, 12.0, "12")),
    ("Acquisition: mask", lambda v: Acquisition(mask=v), ("hexagon", ["circle"], 1)),
    ("Acquisition: oversample", lambda v: Acquisition(oversample=v), (None, 0, 1.5)),
    ("Acquisition: text", lambda v: Acquisition(text=v), (None, 3)),
    ("Acquisition: inverted", lambda v: Acquisition(inverted=v), (None, 1)),
    ("Acquisition: no setting", lambda v: Acquisition.ideal(**v), ({"colour": 1},)),
    ("render: volume", lambda v: render(v, CARM, Pose()), (None, "ct.nii")),
    ("render: carm", lambda v: render(volume(), v, Pose()), (None, {})),
    ("render: pose", lambda v: render(volume(), CARM, v), (None,)),
    ("render: beam", lambda v: render(volume(), CARM, Pose(), beam=v), (90, "soft", [90])),
    ("render: carm", lambda v: render_with_jacobian(volume(), v, Pose()), (None, {})),
    ("render: pose", lambda v: render_with_jacobian(volume(), CARM, v), (None,)),
    ("simulate: volume", lambda v: simulate(v, CARM, Pose()), (None, "ct.nii")),
    ("simulate: carm", lambda v: simulate(volume(), v, Pose()), (None, {})),
    ("simulate: pose", lambda v: simulate(volume(), CARM, v), (None, [0.0] * 6)),
    ("simulate: seed", lambda v: simulate(volume(), CARM, Pose(), seed=v), NOT_A_SEED),
    ("simulate: settings", lambda v: simulate(volume(), CARM, Pose(), settings=v), ("acquired", {})),
    ("simulate: pose must be one Pose", lambda v: simulate(volume(), CARM, v), (Pose.zero(2),)),
    ("area_density: pose", lambda v: area_density(volume(), CARM, v), (None, [0.0] * 6, Pose.zero(2))),
    ("write_xray: pose", lambda v: write_xray("absent.dcm", IMAGE, CARM, v), ([0.0] * 6, Pose.zero(2))),
    ("profiles: center", lambda v: profiles(xray(), volume(), v), (None, Pose.zero(2))),
    ("register: initial must be one Pose", lambda v: register(xray(), volume(), v), (Pose.zero(2),)),
    ("register: method", lambda v: register(xray(), volume(), method=v), (None, 3, (), ("adam",))),
    ("register: unknown method", lambda v: register(xray(), volume(), method=v), ("adams",)),
    ("refine: method", lambda v: refine(xray(), volume(), Pose(), v), (None, 3)),
    ("area_density: step", lambda v: area_density(volume(), CARM, Pose(), step=v), (*NOT_A_LENGTH, 1e-300, 1e300)),
    ("register: watch", lambda v: register(xray(), volume(), watch=v), (3, "print")),
    ("refine: watch", lambda v: refine(xray(), volume(), Pose(), watch=v), (3,)),
    ("train: volume", lambda v: train(v, CARM), (None, "ct.nii")),
    ("train: carm", lambda v: train(volume(), v), (None, {})),
    ("train: config", lambda v: train(volume(), CARM, v), ({}, "laptop")),
    ("train: out", lambda v: train(volume(), CARM, out=v), (3, ["a"])),
    ("train: start", lambda v: train(volume(), CARM, start=v), (3, "model")),
    ("pelvis: seed", pelvis, NOT_A_SEED),
    ("pelvis: spacing", lambda v: pelvis(spacing=v), (None, "2", 0.1, 11, math.nan)),
]
CASES = [(named, call, value) for named, call, values in CHECKS for value in values]


@pytest.mark.parametrize(("named", "call", "value"), CASES, ids=[f"{named}-{i}" for i, (named, _, _) in enumerate(CASES)])
def test_what_makes_no_sense_is_named(named, call, value):
    with pytest.raises(XrcoreError) as error:
        call(value)
    message = str(error.value)
    assert message.startswith(named)
    assert "\n" not in message
    assert len(message) < 250
