"""Steel rods in the beam, for those images of a batch that have one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from xrcore._util.devices import on_device
from xrcore.beam import Beam
from xrcore.geometry import CArm, camera_rays, require_pinhole
from xrcore.simulation import rod
from xrcore.simulation.acquisition import Acquisition
from xrcore.simulation.batch import launches

_ENERGIES = 16  # summed at once: all of them would need as many images


def with_rods(
    intensity: Float[Tensor, "B H W"], carm: CArm, settings: Sequence[Acquisition], seeds: Sequence[Sequence[int]]
) -> Float[Tensor, "B H W"]:
    """Put steel rods into those images whose `settings.tool` is one; what the patient already hardened is not accounted for.

    Parameters
    ----------
    intensity : Float[Tensor, "B H W"]
        The share that passed.
    carm : CArm
        The imaging system of all images.
    settings : Sequence of Acquisition
        Of each image.
    seeds : Sequence of sequence of int
        Of each image; a rod lies where `simulation.rod.rod_area_density` puts it for `numpy.random.default_rng(seed)`.

    Returns
    -------
    Float[Tensor, "B H W"]
        The intensity behind the rods.
    """
    chosen = [i for i, s in enumerate(settings) if s.tool > 0]
    if not chosen:
        return intensity
    require_pinhole("with_rods", carm)
    places = [rod.place_rod(carm, np.random.default_rng(seeds[i])) for i in chosen]
    lengths = [(length, settings[i].tool / 2) for (_, _, length), i in zip(places, chosen, strict=True)]
    rods = np.stack([np.concatenate([tip, axis, more]) for (tip, axis, _), more in zip(places, lengths, strict=True)])
    spectra = _spectra([settings[i] for i in chosen])
    if launches.serves(intensity):
        return launches.shade(intensity, carm, chosen, rods, spectra)
    # float64: a tenth of a micrometre matters where a ray grazes the rod, and its tip is far from the source
    tips, axes, length, radius = on_device(rods, intensity.device).split([3, 3, 1, 1], 1)
    inside = chords(camera_rays(carm, device=intensity.device), tips, axes, length[..., None], radius[..., None])
    passed = _transmitted(inside.to(intensity.dtype), spectra)
    where = on_device(np.array(chosen), intensity.device)
    return intensity.index_copy(0, where, intensity.index_select(0, where) * passed)


def chords(
    rays: Float[Tensor, "H W 3"],
    tips: Float[Tensor, "n 3"],
    axes: Float[Tensor, "n 3"],
    length: Float[Tensor, "n 1 1"],
    radius: Float[Tensor, "n 1 1"],
) -> Float[Tensor, "n H W"]:
    """Length [mm] of each ray from the origin inside each rod; the batched version of `simulation.rod.chords`."""
    tips, axes = (v[:, None, None] for v in (tips, axes))
    u = (rays / torch.linalg.vector_norm(rays, dim=-1, keepdim=True))[None]
    cross = torch.linalg.cross(*torch.broadcast_tensors(u, axes))
    sine = torch.linalg.vector_norm(cross, dim=-1).clamp_min(1e-6)
    distance = (cross * tips).sum(-1).abs() / sine
    along = ((u * axes).sum(-1) * (u * tips).sum(-1) - (axes * tips).sum(-1)) / sine**2
    inside = (distance < radius) & (along >= 0) & (along <= length)
    return torch.where(inside, 2 * (radius**2 - distance**2).clamp_min(0).sqrt() / sine, 0.0)


def _transmitted(steel: Float[Tensor, "n H W"], spectra: Float[NDArray, "2 n E"]) -> Float[Tensor, "n H W"]:
    """Share of the intensity that passes a length [mm] of steel; every energy of each image's beam, as in `Beam.image`."""
    weights, attenuation = on_device(spectra, steel.device).to(steel.dtype).unbind(0)
    passed = torch.zeros_like(steel)
    for some, lines in zip(weights.split(_ENERGIES, 1), attenuation.split(_ENERGIES, 1), strict=True):
        passed += (torch.exp(-steel[..., None] * lines[:, None, None]) * some[:, None, None]).sum(-1)
    return torch.where(steel > 0, passed, 1.0)


def _spectra(settings: Sequence[Acquisition]) -> Float[NDArray, "2 n E"]:
    """Weights, and attenuation of steel by length [1/mm], at each energy; short spectra end in zeros."""
    tables = [_spectrum(s.beam) for s in settings]
    padded = np.zeros((2, len(tables), max(table.shape[1] for table in tables)))
    for i, table in enumerate(tables):
        padded[:, i, : table.shape[1]] = table
    return padded


@lru_cache
def _spectrum(beam: Beam) -> Float[NDArray, "2 E"]:
    return np.stack([beam.weights.numpy(), rod.STEEL / 10 * beam.attenuation(("iron",)).numpy()[0]])
