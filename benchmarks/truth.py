"""How exact are the renderers: against closed forms, each other on real CTs, and RTK's projector?

    pip install -e ".[peers]"                        # for the columns of RTK
    python benchmarks/truth.py [--out results/truth]  # and results/truth_closed_forms

The CTs are found where XRCORE_DATA_MIRROR says; those absent are left out.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import replace
from typing import Any

import torch
from common.patients import PATIENTS
from common.report import RESULTS, out_path, publish
from common.scenes import one_material
from peers import rtk
from torch import Tensor

from companion.experiments import Patient
from xrcore import XrcoreError
from xrcore.beam import Beam
from xrcore.ct import Volume
from xrcore.geometry import CArm, Pose, camera_rays
from xrcore.geometry.presets import PAPER_CARM
from xrcore.renderer import reference, render, render_with_jacobian

BACKENDS = ("reference", "cpu")
CARM = PAPER_CARM.resized((64, 64))
COARSE = CARM.resized((24, 24))  # for central differences, twelve float64 renders a pose
POSES = Pose.cat([Pose(), Pose(rx=8, ry=-12, rz=5, tx=15, ty=-20, tz=25), Pose(rx=-10, ry=78, tx=5)])
MONO = Beam.monochromatic(20.0)
NOTE = (
    "3 poses, 64 x 64 pixels, default beam. cpu against the float64 reference: values (largest error of the largest value; norm), Jacobian "
    "at 24 x 24 pixels (norm, against central differences). rtk: line integrals against RTK's Joseph projector (norm)."
)


def water(density: Tensor, spacing: float) -> Volume:
    """A cube of water-like stuff about the world's origin."""
    size = torch.tensor(density.shape[::-1], dtype=torch.float64)
    world_from_voxel = torch.diag(torch.tensor([spacing, spacing, spacing, 1.0], dtype=torch.float64))
    world_from_voxel[:3, 3] = -(size - 1) / 2 * spacing
    return Volume(density=density[None].float(), materials=("water",), world_from_voxel=world_from_voxel)


def positions(voxels: int, spacing: float) -> Tensor:
    """(D, H, W, 3) voxel centres [mm]."""
    axis = (torch.arange(voxels, dtype=torch.float64) - (voxels - 1) / 2) * spacing
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    return torch.stack([x, y, z], -1)


def rays(pose: Pose, volume: Volume) -> tuple[Tensor, Tensor]:
    """Sources (B, 3) and unit directions (B, H, W, 3) in the world."""
    matrix = pose.world_from_camera(CARM, volume.isocenter)
    directions = torch.einsum("hwj,bij->bhwi", camera_rays(CARM), matrix[:, :3, :3])
    return matrix[:, :3, 3], directions / torch.linalg.norm(directions, dim=-1, keepdim=True)


def distances(pose: Pose, volume: Volume, point: Tensor) -> Tensor:
    """(B, H, W) of each ray from a point [mm]."""
    source, directions = rays(pose, volume)
    return torch.linalg.norm(torch.linalg.cross(directions, (point - source)[:, None, None].expand_as(directions), dim=-1), dim=-1)


def area_density(volume: Volume, pose: Pose, backend: str) -> Tensor:
    return render(volume, CARM, pose, MONO, backend=backend).double() / float(MONO.attenuation(volume.materials[:1]))


def closed_forms() -> list[dict[str, Any]]:
    """Largest error of each closed form, relative to its largest value."""
    rows = []

    def compare(name: str, volume: Volume, pose: Pose, exact: Tensor, where: Tensor, remark: str) -> None:
        row: dict[str, Any] = {"form": name, "remark": remark}
        for backend in BACKENDS:
            error = (area_density(volume, pose, backend) - exact).abs()[where]
            row[backend] = float(error.max() / exact[where].max())
        rows.append(row)

    slab = torch.zeros(160, 160, 160)
    slab[:, 60:100] = 1.0
    volume, pose = water(slab, 2.0), Pose([[0, 0, 0, 0, 0, 0], [15, 20, 30, 0, 0, 0]])
    cosine = rays(pose, volume)[1][..., 1]
    inside = (torch.arange(64) - 31.5).abs() < 16
    where = (inside[:, None] & inside[None]).expand_as(cosine)
    compare("slab, 80 mm: thickness / cosine", volume, pose, 8.0 / cosine, where, "exact but for rounding")

    width, centre = 20.0, torch.tensor([7.0, -5.0, 9.0], dtype=torch.float64)
    volume = water(torch.exp(-((positions(128, 1.25) - centre) ** 2).sum(-1) / (2 * width**2)), 1.25)
    away = distances(POSES, volume, centre)
    exact = math.sqrt(2 * math.pi) * width / 10 * torch.exp(-(away**2) / (2 * width**2))
    compare("Gaussian ball, width 20 mm", volume, POSES, exact, away < 2.5 * width, "bilinear error (1.25 / 20)² / 4 = 9.8e-4")

    radius = 50.0
    where_from = positions(128, 1.0).float() - centre.float()
    parts = (torch.cartesian_prod(*[torch.arange(3)] * 3) - 1) / 3
    ball = sum((torch.linalg.norm(where_from + part, dim=-1) < radius).float() for part in parts) / 27
    assert isinstance(ball, Tensor)
    volume = water(ball, 1.0)
    away = distances(POSES, volume, centre)
    exact = (radius**2 - away**2).clamp_min(0).sqrt() * 2 / 10
    compare("ball, radius 50 mm: chord", volume, POSES, exact, away < 0.8 * radius, "edge known to a part of a 1 mm voxel")
    return rows


def central_differences(volume: Volume, carm: CArm, pose: Pose, step: float = 1e-5) -> Tensor:
    """(B, H, W, 6) of the reference. Bilinear samples have a kink at every voxel, so the step must be far smaller than one."""
    columns = []
    for direction in torch.eye(6, dtype=torch.float64) * step:
        after, before = (reference.render(volume, carm, Pose(pose.numbers + d), Beam()) for d in (direction, -direction))
        columns.append((after - before) / (2 * step))
    return torch.stack(columns, -1)


def relative(actual: Tensor, exact: Tensor) -> float:
    return float(torch.linalg.norm(actual.double() - exact) / torch.linalg.norm(exact))


def present(patient: Patient) -> bool:
    try:
        return patient.file.exists()
    except XrcoreError:
        return False


def real_ct(patient: Patient) -> dict[str, Any]:
    """The fast renderer against the reference in float64, and the reference against RTK."""
    volume = patient.volume(2.0)
    double = replace(volume, density=volume.density.double())
    image = render(volume, CARM, POSES, backend="cpu")
    _, jacobian = render_with_jacobian(volume, COARSE, POSES, backend="cpu")
    exact = reference.render(double, CARM, POSES, Beam())
    row = {
        "volume": str(volume),
        "largest_value": float(exact.max()),
        "value_max": float((image - exact).abs().max() / exact.max()),
        "value_norm": relative(image, exact),
        "jacobian_norm": relative(jacobian, central_differences(double, COARSE, POSES)),
    }
    if rtk.installed():
        single = one_material(volume)
        ours = {
            "rtk_reference": reference.area_density(single, CARM, POSES)[..., 0],
            "rtk_cpu": render(single, CARM, POSES, MONO, backend="cpu") / float(MONO.attenuation(["soft"])),
        }
        theirs = torch.stack([torch.from_numpy(rtk.projector(single, CARM, pose, pad=2)().copy()) for pose in split(POSES)]).double()
        row |= {name: relative(projection, theirs) for name, projection in ours.items()}
    return row


def split(poses: Pose) -> list[Pose]:
    return [poses[i] for i in range(len(poses))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=out_path, default=RESULTS / "truth")
    out = parser.parse_args().out
    publish(out.with_name(f"{out.name}_closed_forms"), closed_forms(), digits=9, note="largest error of the largest value")
    rows = [{"CT": f"{patient.number} {patient.name}"} | real_ct(patient) for patient in PATIENTS if present(patient)]
    publish(out, rows, digits=9, note=NOTE)


if __name__ == "__main__":
    main()
