"""Measure the cost of mistakes in the geometry: half pixels, flips, a wrong C-arm, a distant start.

Everything is measured on the built-in phantom: a few minutes of one core, no data. The guides show the tables.

    python benchmarks/geometry_mistakes.py [--only half_pixels,flips] [--out results/geometry_mistakes.json]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from common.report import RESULTS, out_path
from scipy.optimize import least_squares
from torch import Tensor

import xrcore as xr
from xrcore.geometry import rigid
from xrcore.geometry.presets import PAPER_CARM
from xrcore.utilities import atomic_file, read_json

POSE = xr.Pose(rx=5, ry=-8, rz=3, tx=6, ty=-10, tz=15)
Table = tuple[tuple[str, ...], list[tuple[str, ...]]]  # head, rows
RAS_FROM_LPS = torch.diag(torch.tensor([-1.0, -1.0, 1.0, 1.0], dtype=torch.float64))


@dataclass(frozen=True)
class Answer:
    """A registration, and by how much it misplaces the CT's landmarks [mm]: in all, along the view and across it."""

    result: xr.Registration
    whole: float
    along: float
    across: float

    @property
    def verdict(self) -> str:
        return "trusted" if self.result.trusted else "**not trusted**"


@cache
def volume() -> xr.Volume:
    """The patient, on 2 mm."""
    return xr.phantom.pelvis(0, 2.0)


@cache
def acquired(pose: tuple[float, ...] = tuple(POSE.numbers[0].tolist())) -> xr.Xray:
    """An X-ray as acquired, from a finer patient: noise, scatter, blur, another tube voltage, a round field."""
    return xr.simulate(xr.phantom.pelvis(0, 1.5), PAPER_CARM, xr.Pose(list(pose)), seed=1)


@cache
def clean() -> Tensor:
    """The same view without noise, by the registration's own renderer, so that nothing but geometry is wrong: (H, W)."""
    return xr.render(volume(), PAPER_CARM, POSE)[0]


def ask(
    xray: xr.Xray | list[xr.View], ct: xr.Volume, *, truth: xr.Pose = POSE, landmarks: Tensor | None = None, **options: object
) -> Answer:
    """Register, and compare landmarks in the camera frame with where the right CT and the right C-arm put them."""
    right = volume()
    points = right.surface_points() if landmarks is None else landmarks
    result = xr.register(xray, ct, **options)  # type: ignore[arg-type]
    found = rigid.apply(result.pose.camera_from_world(result.xray.carm, ct.isocenter), points)[0]
    true = rigid.apply(truth.camera_from_world(PAPER_CARM, right.isocenter), points)[0]
    apart = (found - true).abs()
    return Answer(result, *(float(v.mean()) for v in (apart.norm(dim=1), apart[:, 2], apart[:, :2].norm(dim=1))))


def half_pixels() -> Table:
    """Half voxels, half pixels and what comes of `align_corners`."""
    ct, carm = volume(), PAPER_CARM
    row, col = carm.center
    shift = torch.eye(4, dtype=torch.float64)
    shift[:3, 3] = 0.5
    quarter = carm.resized((64, 64))
    image = clean()[None, None]
    mean = F.avg_pool2d(image, 4)[0, 0]
    stretched = F.interpolate(image, size=(64, 64), mode="bilinear", align_corners=True)[0, 0]
    cases = [
        ("nothing", xr.Xray(image=clean(), carm=carm), ct),
        ("voxel (0, 0, 0) is taken to start at the origin: half a voxel of 2 mm", xr.Xray(image=clean(), carm=carm), _moved(ct, shift)),
        (
            "principal point counted from the image's edge: + 0.5 pixel",
            _xray(clean(), replace(carm, principal_point=(row + 0.5, col + 0.5))),
            ct,
        ),
        ("256 pixels shrunk to 64 by averaging, with `carm.resized`: right", _xray(mean, quarter), ct),
        ("the same, principal point divided by 4", _xray(mean, replace(quarter, principal_point=(row / 4, col / 4))), ct),
        ("shrunk by taking every fourth pixel, `image[::4, ::4]`", _xray(clean()[::4, ::4], quarter), ct),
        ("shrunk with `align_corners=True`", _xray(stretched, quarter), ct),
    ]
    rows = [(name, f"{a.whole:.2f}", f"{a.across:.2f}", f"{a.along:.2f}", a.verdict) for name, a in ((n, ask(x, v)) for n, x, v in cases)]
    return ("what is wrong", "mTRE [mm]", "across the view", "along it", "verdict"), rows


def flips() -> Table:
    """Register with one axis of the CT or X-ray flipped."""
    ct, seen = volume(), acquired()
    world = ct.world_from_voxel
    cases = [
        ("nothing", seen, ct),
        ("CT: z direction ignored", seen, replace(ct, density=ct.density.flip(1))),
        ("CT: x direction ignored", seen, replace(ct, density=ct.density.flip(3))),
        ("CT: RAS taken for LPS", seen, replace(ct, world_from_voxel=RAS_FROM_LPS @ world, isocenter=RAS_FROM_LPS[:3, :3] @ ct.isocenter)),
        (
            "CT: array axes (x, y, z) taken for (z, y, x)",
            seen,
            replace(ct, density=ct.density.permute(0, 3, 2, 1).contiguous(), isocenter=None),
        ),
        ("image: left and right exchanged", _turned(seen, lambda i: i.flip(1)), ct),
        ("image: up and down exchanged", _turned(seen, lambda i: i.flip(0)), ct),
        ("image: rows and columns exchanged", _turned(seen, lambda i: i.T), ct),
        ("image: grey inverted", seen.negative(), ct),
    ]
    rows = []
    for name, xray, patient in cases:
        a = ask(xray, patient)
        assert a.result.evidence is not None
        note = ", inversion recognised" if a.result.inverted else ""
        agreement = f"{100 * a.result.evidence.agreement:.0f} %"
        rows.append((name, f"{a.whole:.1f}", agreement, f"{a.result.confidence:.2f}", a.verdict + note))
    return ("what is flipped", "mTRE [mm]", "detail found in place", "confidence", "verdict"), rows


def wrong_carm() -> Table:
    """What an error of each number of the C-arm costs."""
    carm = PAPER_CARM
    row, col = carm.center
    cases = [
        ("nothing", carm),
        ("`source_to_detector` + 1 % (12.6 mm)", replace(carm, source_to_detector=1.01 * carm.source_to_detector)),
        ("`source_to_detector` + 5 %", replace(carm, source_to_detector=1.05 * carm.source_to_detector)),
        ("`source_to_detector` + 20 %", replace(carm, source_to_detector=1.2 * carm.source_to_detector)),
        ("`pixel_spacing` + 1 %", replace(carm, pixel_spacing=1.01 * carm.spacing[0])),
        ("`source_to_isocenter` + 20 mm", replace(carm, source_to_isocenter=carm.source_to_isocenter + 20)),
        ("`principal_point` off by 6 columns (10 mm)", replace(carm, principal_point=(row, col + 6))),
    ]
    rows = []
    for name, wrong in cases:
        a = ask(_xray(clean(), wrong), volume())
        numbers = (a.result.pose.numbers - POSE.numbers)[0].tolist()
        moved = ", ".join(f"{n} {v:+.1f}" for n, v in zip(("rx", "ry", "rz", "tx", "ty", "tz"), numbers, strict=True) if abs(v) >= 0.05)
        rows.append((name, f"{a.whole:.1f}", f"{a.across:.2f}", f"{a.along:.1f}", moved or "none", a.verdict))
    return ("what is wrong", "mTRE [mm]", "across the view", "along it", "changes of the pose [deg, mm]", "verdict"), rows


def far_starts() -> Table:
    """How far from the start a view may be."""
    rows = []
    for name, turned in FAR.items():
        truth = xr.Pose(**turned, tx=8, ty=-5, tz=12)
        near = xr.Pose(**{axis: angle - 10 for axis, angle in turned.items()})
        seen = acquired(pose=tuple(truth.numbers[0].tolist()))
        cells = []
        for start in (xr.Pose.zero(), near):
            a = ask(seen, volume(), truth=truth, initial=start)
            searches = f"{a.result.attempts} search" + ("es" if a.result.attempts > 1 else "")
            cells.append(f"{a.whole:.1f} mm, {a.verdict}, {searches}")
        rows.append((name, *cells))
    return ("the view", "started from AP", "started 10° from it in each angle"), rows


FREE = ("source_to_detector", "principal_point")
DRAWN_VIEWS = 6  # of the table below


def free_intrinsics() -> Table:
    """What it helps to estimate distance and principal point with the pose, over views drawn from the paper's ranges."""
    carm = PAPER_CARM
    (row, col), distance = carm.center, carm.source_to_detector
    long = replace(carm, source_to_detector=1.02 * distance)
    both = replace(long, principal_point=(row + 6, col + 6))
    right = (distance, row, col)
    rows = []
    for name, said, free, views in (
        ("nothing", carm, None, 1),
        ("nothing", carm, FREE, 1),
        ("distance + 2 %, centre off by 6 rows and columns", both, None, 1),
        ("the same", both, FREE, 1),
        ("the same, two views 60° apart", both, None, 2),
        ("the same, two views 60° apart", both, FREE, 2),
    ):
        answers = [_drawn_view(seed, said, free, views) for seed in range(DRAWN_VIEWS)]
        cells = [f"{np.median([getattr(a, kind) for a in answers]):.1f}" for kind in ("whole", "across", "along")]
        inside, off, open_ = [], [], []
        for a in answers:
            if (found := a.result.calibration) is not None:
                apart = np.abs(np.subtract(found.found, right))
                inside.append(apart <= 1.96 * np.array(found.standard_deviation))
                off.append((apart[0], apart[1:].max()))
                open_.append((not found.observable[0], not any(found.observable[1:])))
        of = f" of {len(answers)}"
        told = ["-"] * 4
        if inside:
            ends, said_open = np.median(off, axis=0), np.sum(open_, axis=0)
            told = [f"{ends[0]:.1f} mm, {sum(i[0] for i in inside)}{of}", f"{ends[1]:.1f} pixels, {sum(i[1:].all() for i in inside)}{of}"]
            told += [f"{said_open[0]}{of}", f"{said_open[1]}{of}"]
        trusted = sum(a.result.trusted for a in answers)
        rows.append((name, "yes" if free else "no", *cells, *told, f"{trusted}{of}"))
    head = ("what is wrong", "free", "mTRE [mm]", "across the view", "along it", "distance: off by, inside its 95 % interval")
    return (*head, "centre: off by, inside", "distance said to be open", "centre said to be open", "trusted"), rows


def _drawn_view(seed: int, said: xr.CArm, free: tuple[str, ...] | None, views: int) -> Answer:
    """An X-ray, or two, whose geometry is said to be this, registered with it; the second camera's place is known."""
    box = xr.SearchBox(candidates=DRAWN_VIEWS + 1, seed=1)
    truth = box.poses(xr.Pose.zero())[seed + 1]
    numbers = tuple(truth.numbers[0].tolist())
    first = replace(acquired(pose=numbers), carm=said)
    if views == 1:
        return ask(first, volume(), truth=truth, free=free)
    second = (numbers[0], numbers[1] + 60, *numbers[2:])
    pair = [
        xr.View(
            xray=replace(acquired(pose=pose), carm=said),
            camera_from_rig=xr.Pose(list(pose)).camera_from_world(PAPER_CARM, torch.zeros(3))[0],
        )
        for pose in (numbers, second)
    ]
    return ask(pair, volume(), truth=truth, free=free)


def beads(depth: float) -> tuple[Tensor, Tensor]:
    """A bead phantom of 190 x 190 x `depth` mm, LPS, and where a detector finds its 45 beads, to 0.2 pixels rms."""
    generator = torch.Generator().manual_seed(0)
    side, levels = torch.linspace(-95, 85, 3, dtype=torch.float64), torch.linspace(-0.5, 0.5, 5, dtype=torch.float64) * depth
    points = torch.cartesian_prod(side, levels, side)
    points = points + torch.rand(points.shape, generator=generator, dtype=torch.float64) * torch.tensor(
        [10.0, 0.0, 10.0], dtype=torch.float64
    )
    camera = rigid.apply(POSE.camera_from_world(PAPER_CARM, torch.zeros(3)), points[None])
    pixels = PAPER_CARM.project(camera)[0]
    return points, pixels + 0.2 * torch.randn(pixels.shape, generator=generator, dtype=torch.float64)


def left_over(carm: xr.CArm, points: Tensor, pixels: Tensor) -> float:
    """Rms distance [pixels] of the beads from where the best pose puts them."""

    def residual(numbers: np.ndarray) -> np.ndarray:
        camera = rigid.apply(xr.Pose(numbers.tolist()).camera_from_world(carm, torch.zeros(3)), points[None])
        return (carm.project(camera)[0] - pixels).flatten().numpy()

    best = least_squares(residual, np.zeros(6), x_scale=[1, 1, 1, 10, 10, 10])
    return float(np.sqrt(2 * best.cost / len(points)))


def known_object() -> Table:
    """Detect a wrong C-arm from a known object."""
    carm = PAPER_CARM
    row, col = carm.center
    cases = [
        ("nothing", carm),
        ("`source_to_detector` + 1 %", replace(carm, source_to_detector=1.01 * carm.source_to_detector)),
        ("`source_to_detector` + 5 %", replace(carm, source_to_detector=1.05 * carm.source_to_detector)),
        ("`pixel_spacing` + 5 %", replace(carm, pixel_spacing=1.05 * carm.spacing[0])),
        ("`pixel_spacing` + 1 % of columns only", replace(carm, pixel_spacing=(carm.spacing[0], 1.01 * carm.spacing[1]))),
        ("`principal_point` off by 6 columns", replace(carm, principal_point=(row, col + 6))),
        ("image mirrored", carm),
    ]
    rows = []
    for name, wrong in cases:
        cells = []
        for depth in (0.0, 200.0):
            points, pixels = beads(depth)
            seen = pixels if name != "image mirrored" else pixels * torch.tensor([1.0, -1.0]) + torch.tensor([0.0, carm.shape[1] - 1.0])
            cells.append(f"{left_over(wrong, points, seen):.2f}")
        rows.append((name, *cells))
    return ("what is wrong", "left over, flat object [pixels]", "left over, 200 mm deep [pixels]"), rows


def _xray(image: Tensor, carm: xr.CArm) -> xr.Xray:
    return xr.Xray(image=image, carm=carm)


def _turned(xray: xr.Xray, turn: Callable[[Tensor], Tensor]) -> xr.Xray:
    return replace(xray, image=turn(xray.image), mask=turn(xray.mask), pose=None)


def _moved(ct: xr.Volume, shift: Tensor) -> xr.Volume:
    return replace(ct, world_from_voxel=ct.world_from_voxel @ shift, isocenter=ct.isocenter)


# views to be found, by what they are turned by from AP [deg]
FAR = {
    "45° oblique, `ry = 45`": {"ry": 45},
    "lateral, `ry = 90`": {"ry": 90},
    "outlet and beyond, `rx = 60`": {"rx": 60},
    "lateral and rolled, `ry = 90, rz = 30`": {"ry": 90, "rz": 30},
    "past lateral, `ry = 120`": {"ry": 120},
    "from behind, `ry = 180`": {"ry": 180},
    "detector turned by a quarter, `rz = 90`": {"rz": 90},
}
TABLES: dict[str, Callable[[], Table]] = {
    "half_pixels": half_pixels,
    "flips": flips,
    "wrong_carm": wrong_carm,
    "free_intrinsics": free_intrinsics,
    "known_object": known_object,
    "far_starts": far_starts,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help=f"some of {','.join(TABLES)}; default all")
    parser.add_argument("--out", type=out_path, default=RESULTS / "geometry_mistakes.json")
    args = parser.parse_args()
    kept = read_json(args.out) if args.out.exists() else {}
    for name in args.only.split(",") if args.only else TABLES:
        head, rows = TABLES[name]()
        kept[name] = {"head": head, "rows": rows}
        print(*(" | ".join(row) for row in (head, *rows)), "", sep="\n", flush=True)
    with atomic_file(args.out) as temporary:
        temporary.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    torch.set_num_threads(1)  # so that sums come out the same
    main()
