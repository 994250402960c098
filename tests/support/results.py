"""Made-up results of the studies, as they keep them: one row per case."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from companion.studies.common.plan import VARIANTS
from companion.studies.speed import REGISTRATION
from companion.studies.table3_ablation import REFINED, REFINED_BY_ADAM
from companion.studies.table4_xray_cases import ADAM, ADAM_RELEASED, DESCENT, GRIMM, NETWORK, OURS
from xrcore.geometry import POSE_NAMES


def made_up(method: str, mtre: np.ndarray, *, seed: int = 0, patient: str = "1", protocol: str = "paper") -> pd.DataFrame:
    """Results of a method, one row per case, as studies keep them."""
    cases = pd.DataFrame({"method": method, "patient": patient, "test_set": "t", "protocol": protocol, "case": range(len(mtre))})
    cases[["mtre_mm", "mpd_mm", "pd_mm"]] = np.outer(mtre, [1.0, 0.5, 0.25])
    for place, name in enumerate(POSE_NAMES):
        cases[f"error_{name}"] = -mtre * (place + 1)
    likeness = {"ncc": 1 - mtre / 100, "ssim": 0.9 - mtre / 100, "css": 0.95 - mtre / 100}
    return cases.assign(**likeness, seconds=1.0, trusted=True, seed=seed)


def ablation(effect: dict[str, float], seeds: int = 3, poses: int = 200) -> pd.DataFrame:
    """Every row of the ablation: hard poses and lucky seeds that all rows share, and an effect [mm] of each row's own."""
    draw = np.random.default_rng(3)
    hard = draw.lognormal(1.5, 0.5, poses)
    rows = []
    for seed in range(seeds):
        for label in [*(v.label for v in VARIANTS), REFINED, REFINED_BY_ADAM]:
            noise = draw.normal(0, 0.1, poses)
            rows.append(made_up(label, np.abs(10 + hard + seed + effect.get(label, 0.0) + noise), seed=seed))
    return pd.concat(rows, ignore_index=True)


def cases_with_ball(count: int = 10) -> pd.DataFrame:
    methods = (NETWORK, GRIMM, ADAM, ADAM_RELEASED, DESCENT, OURS)
    return pd.concat([made_up(method, np.arange(1.0, count + 1) + place) for place, method in enumerate(methods)], ignore_index=True)


def six_patients() -> pd.DataFrame:
    return pd.concat(
        [
            made_up(method, np.full(4, 1.0 + place), patient=patient, protocol=protocol)
            for place, patient in enumerate(("1", "2", "3", "4", "5", "6#"))
            for method in ("network", "refined")
            for protocol in ("paper", "acquired")
        ],
        ignore_index=True,
    )


def timed() -> pd.DataFrame:
    names = ("image", "image and Jacobian", "image, one material, one energy", "nanodrr, one material", REGISTRATION)
    rows = [{"what": n, "median_ms": 10.0 * (i + 1), "min_ms": 9.0, "max_ms": 90.0, "repeats": 3} for i, n in enumerate(names)]
    return pd.DataFrame(rows)


def pictures(count: int = 3) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(0)
    mask = np.hypot(*(np.indices((48, 48)) - 23.5)) < 22
    return {
        "methods": np.array([NETWORK, GRIMM, ADAM, OURS]),
        "fixed": draw.integers(0, 255, (count, 48, 48)).astype(np.uint8),
        "mask": np.stack([mask] * count),
        "moving": draw.integers(0, 255, (count, 4, 48, 48)).astype(np.uint8),
        "attention": draw.random((count, 6, 6)).astype(np.float16),
    }


def drawn(figure: Figure) -> list[str]:
    figure.draw_without_rendering()
    ticks = [text.get_text() for axes in figure.axes for text in (*axes.get_xticklabels(), *axes.get_yticklabels())]
    return ticks + [axes.get_title(loc="left") for axes in figure.axes]
