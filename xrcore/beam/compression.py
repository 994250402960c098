"""A spectrum as a few effective lines: a sum of exponentials with as few terms as the attenuation image needs."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

Array = NDArray[np.float64]

TOLERANCE = 6e-6  # of the image, absolute; that is, of the intensity, relative
DEEPEST = 12.5  # image value beyond which no photons arrive and nothing is fitted
FEWEST, MOST = 8, 14  # lines tried; fewer than FEWEST only while the tolerance holds


@threadpool_limits.wrap(limits=1, user_api="blas")  # threads wait for each other at tiny matrices: seconds, where other programs run
def compress(weights: Array, attenuation: Array, limits: Array) -> tuple[Array, Array]:
    """Lines `(v (n,), nu (n, M))`, v >= 0 and summing to 1, with sum_j v_j exp(-nu_j . A) ~ sum_E w_E exp(-mu_E . A).

    weights (E,), attenuation (M, E) [cm2/g]. limits (M,): largest area densities [g/cm2], all at once, wherever the
    image stays below `DEEPEST`. Non-negative least squares on relative intensities gives a sparse spectrum of existing
    energies (Tchakaloff's theorem says one exists); neighbours are then merged, and after each merge weights and
    attenuations are refined by Levenberg-Marquardt. The fewest lines within `TOLERANCE` win.
    """
    from scipy.optimize import nnls  # here, as it takes a while and common beams are tabled

    area = _samples(weights, attenuation, limits)
    intensity = np.exp(-area @ attenuation) @ weights
    sparse, _ = nnls(np.exp(-area @ attenuation) / intensity[:, None], np.ones(len(area)), maxiter=50 * len(weights))
    v, nu = sparse[sparse > 0], attenuation.T[sparse > 0]
    while len(v) > MOST:
        v, nu = _merge(v, nu, area, intensity)
    best, best_error = (v, nu), np.inf
    while True:
        v, nu = _refine(v, nu, area, intensity)
        v = v / v.sum()
        error = float(np.abs(np.exp(-area @ nu.T) @ v / intensity - 1).max())
        if max(error, TOLERANCE) <= max(best_error, TOLERANCE):
            best, best_error = (v, nu), error
        elif len(v) <= FEWEST:
            break
        if len(v) == 1:
            break
        v, nu = _merge(v, nu, area, intensity)
    return best


def _samples(weights: Array, attenuation: Array, limits: Array) -> Array:
    """Area densities (S, M) along directions in the box of `limits`, from zero to its side or to `DEEPEST`."""
    # with more materials fewer levels of each: directions grow exponentially, and their number bounds what the fit costs
    count, steps = {1: (1, 40), 2: (11, 24), 3: (7, 14), 4: (4, 14)}.get(len(limits), (2, 14))
    grid = np.linspace(0, 1, count) if count > 1 else np.ones(1)
    directions = np.array([d for d in itertools.product(grid, repeat=len(limits)) if max(d) == 1.0]) * limits
    low, high = np.zeros(len(directions)), np.ones(len(directions))

    def too_deep(scale: Array) -> NDArray[np.bool_]:
        return np.exp(-(directions * scale[:, None]) @ attenuation) @ weights < np.exp(-DEEPEST)

    low = np.where(too_deep(high), low, 1.0)
    for _ in range(30):
        middle = (low + high) / 2
        deep = too_deep(middle)
        low, high = np.where(deep, low, middle), np.where(deep, middle, high)
    # denser near zero, where the soft part of the beam goes
    scales = np.linspace(0, 1, steps)[1:] ** 2
    inner = (directions * low[:, None])[:, None] * scales[:, None]
    return np.concatenate([np.zeros((1, len(limits))), inner.reshape(-1, len(limits))])


def _merge(v: Array, nu: Array, area: Array, intensity: Array) -> tuple[Array, Array]:
    """Replace the two neighbours that are most alike and matter least by their mean."""
    share = (np.exp(-area @ nu.T) * v / intensity[:, None]).max(0)
    distance = (np.diff(np.log(nu), axis=0) ** 2).sum(1)
    i = int(np.argmin(share[1:] * share[:-1] / (share[1:] + share[:-1]) * distance))
    together = v[i] + v[i + 1]
    mean = (v[i] * nu[i] + v[i + 1] * nu[i + 1]) / together
    return np.concatenate([v[:i], [together], v[i + 2 :]]), np.concatenate([nu[:i], mean[None], nu[i + 2 :]])


def _refine(v: Array, nu: Array, area: Array, intensity: Array) -> tuple[Array, Array]:
    """Levenberg-Marquardt on log v and log nu. Sums of exponentials are ill-conditioned: QR, not normal equations."""
    n, m = nu.shape
    importance = 1 / intensity
    importance[0] *= 4  # the empty beam: the lines must sum to 1
    x = np.concatenate([np.log(v), np.log(nu).ravel()])

    def residual(x: Array) -> tuple[Array, Array]:
        nu = np.exp(x[n:]).reshape(n, m)
        terms = np.exp(x[:n] - area @ nu.T) * importance[:, None]
        slopes = -(terms[:, :, None] * area[:, None]) * nu
        return terms.sum(1) - importance * intensity, np.concatenate([terms, slopes.reshape(len(area), -1)], 1)

    r, jacobian = residual(x)
    damping = 1e-6
    for _ in range(30):
        scale = np.linalg.norm(jacobian, axis=0) + 1e-300
        q, upper = np.linalg.qr(jacobian / scale)
        target = np.concatenate([q.T @ r, np.zeros(len(x))])
        while True:
            q, damped = np.linalg.qr(np.concatenate([upper, np.sqrt(damping) * np.eye(len(x))]))
            step = np.clip(np.linalg.solve(damped, q.T @ target) / scale, -0.3, 0.3)
            new_r, new_jacobian = residual(x - step)
            if new_r @ new_r < r @ r or damping > 1e3:
                break
            damping *= 5
        if damping > 1e3:
            break
        stalled = new_r @ new_r > 0.95 * (r @ r)
        x, r, jacobian, damping = x - step, new_r, new_jacobian, max(damping / 10, 1e-15)
        if stalled or np.abs(r).max() < TOLERANCE / 2:
            break
    return np.exp(x[:n]), np.exp(x[n:]).reshape(n, m)
