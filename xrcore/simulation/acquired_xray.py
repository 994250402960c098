"""`simulate`: from a volume to an X-ray as a file would hold it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from xrcore._util.bounds import LARGEST_SIDE
from xrcore._util.errors import XrcoreError, is_whole, require
from xrcore._util.out_of_memory import memory_advice
from xrcore.beam import Beam
from xrcore.ct.volume import Volume
from xrcore.geometry import CArm, Pose
from xrcore.geometry.pose import require_one_pose
from xrcore.simulation.acquisition import Acquisition
from xrcore.simulation.detector import expose
from xrcore.simulation.integrator import area_density
from xrcore.simulation.rod import rod_area_density
from xrcore.xray.image import Xray

_CHUNK = 1024  # rays whose spectra are summed at once, to stay in the cache


@memory_advice("simulate", "fewer pixels, less oversampling or a coarser volume need less")
def simulate(volume: Volume, carm: CArm, pose: Pose, *, settings: Acquisition | None = None, seed: int = 0) -> Xray:
    """Simulate an X-ray of a volume as acquired, to judge a registration without the inverse crime.

    Parameters
    ----------
    volume : Volume
        The patient; on a finer grid than the volume that is registered.
    carm : CArm
        The imaging system.
    pose : Pose
        One pose. The X-ray does not carry it: it is the truth.
    settings : Acquisition, optional
        How the X-ray is taken; default `Acquisition()`.
    seed : int
        Of noise and tool; the same seed makes the same X-ray.

    Returns
    -------
    Xray
        Its image is an attenuation image with noise, scatter, blur and grey levels, bone bright (unless `settings.inverted`),
        its mask the field of view.

    Raises
    ------
    XrcoreError
        If there is not one pose, the seed is not a whole number, or there are too many pixels with oversampling.
    """
    settings = Acquisition() if settings is None else settings
    require("simulate", "volume", volume, isinstance(volume, Volume), "a Volume, such as read_ct gives")
    require("simulate", "carm", carm, isinstance(carm, CArm), "a CArm")
    require_one_pose("simulate", "pose", pose)
    require("simulate", "settings", settings, isinstance(settings, Acquisition), "an Acquisition")
    require("simulate", "seed", seed, is_whole(seed) and seed >= 0, "a whole number, 0 or more")
    # separate streams, so that adding a tool leaves the noise as it was
    for_noise, for_tool = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(2))
    rows, cols = carm.shape
    n = settings.oversample
    if max(rows, cols) * n > LARGEST_SIDE:
        raise XrcoreError(
            f"simulate: {rows} x {cols} pixels, oversampled {n} times, are beyond {LARGEST_SIDE} along a side; oversample less"
        )
    fine = carm.resized((rows * n, cols * n))
    area, materials = area_density(volume, fine, pose, step=settings.step), volume.materials
    if settings.tool > 0:
        steel = torch.from_numpy(rod_area_density(fine, settings.tool, for_tool)).to(area)
        area, materials = torch.cat([area, steel[..., None]], -1), (*materials, "iron")
    intensity = transmission(area, materials, settings.beam).double().numpy()
    primary = intensity.reshape(rows, n, cols, n).mean((1, 3))
    image, seen = expose(primary, carm, settings, for_noise)
    return Xray(
        image=torch.from_numpy(image.astype(np.float32)),
        carm=carm,
        mask=torch.from_numpy(seen),
        notes=(f"simulated at {settings.beam.kilovolts:g} kV, seed {seed}",),
    )


def transmission(area: Float[Tensor, "H W M"], materials: tuple[str, ...], beam: Beam) -> Float[Tensor, "H W"]:
    """Share of the intensity that passes, exp(-beam.image(area)), every energy summed, float32.

    In numpy and on threads of its own: torch would open a parallel region for each small step, which stalls on a busy machine.
    """
    rays = area.reshape(-1, area.shape[-1]).numpy()
    weights = beam.weights.numpy().astype(np.float32)
    attenuation = beam.attenuation(materials).numpy().astype(np.float32)
    passed = np.empty(len(rays), dtype=np.float32)

    def fill(first: int) -> None:
        part = slice(first, first + _CHUNK)
        exponent = rays[part] @ -attenuation
        passed[part] = np.exp(exponent, out=exponent) @ weights

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        list(pool.map(fill, range(0, len(rays), _CHUNK)))
    return torch.from_numpy(passed).reshape(area.shape[:-1])
