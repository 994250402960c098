"""Register every fluoroscopy of the DeepFluoro file, and report as the field does.

No clinical start is part of the data. As in the paper, each registration begins at random within 15, 15, 10 degrees and 30 mm of the truth.
Errors are of the file's anatomical landmarks in 3D (mTRE), a gross failure is more than 10 mm of it, as in Grupp et al., and the rate
below 1 mm is that of Gopalakrishnan et al.

References
----------
Grupp et al., "Automatic annotation of hip anatomy in fluoroscopy for robust and efficient 2D/3D registration", IJCARS 15, 2020.
Gopalakrishnan, Dey, Golland, "Intraoperative 2D/3D image registration via differentiable X-ray rendering", CVPR 2024.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from companion.datasets.deepfluoro import Projection, Specimen, read_deepfluoro
from companion.studies.common.rows import write_rows
from xrcore import Pose, SearchBox, Volume, XrcoreError, metrics, register
from xrcore.utilities import check_writable, require

GROSS, FINE = 10.0, 1.0  # [mm] of mTRE
_KEYS = ["specimen", "projection"]


def run(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    specimens: Sequence[str] | None = None,
    every: int = 1,
    spacing: float = 2.0,
    seed: int = 0,
    progress: Callable[[str], None] = lambda line: None,
) -> pd.DataFrame:
    """Register the fluoroscopies; a table that holds some of them already is continued.

    Parameters
    ----------
    path : str or path
        ipcai_2020_full_res_data.h5.
    out : str or path
        A .csv that grows row by row.
    specimens : sequence of str, optional
        Such as "17-1882"; default all.
    every : int
        Fluoroscopies used: every one, every second, and so on.
    spacing : float
        Of the CT's voxels [mm].
    seed : int
        Of the starts. A table of another spacing or seed is not continued.
    progress : callable, optional
        Called with a line for each registration.

    Returns
    -------
    DataFrame
        One row each: `start_mtre_mm`, `mtre_mm`, `mpd_mm` (at the detector), `confidence`, `trusted`, `seconds`.

    Raises
    ------
    XrcoreError
        If the file is another one, a specimen is not in it, or the table cannot be written.
    """
    require("deepfluoro", "every", every, isinstance(every, int) and every >= 1, "a whole number, at least 1")
    out = Path(out)
    check_writable(out.parent, out.name)
    known = {specimen.name: specimen for specimen in read_deepfluoro(path)}
    if unknown := [name for name in specimens or () if name not in known]:
        raise XrcoreError(f"{path}: no specimen {unknown[0]!r}; it has {', '.join(known)}")
    settings = {"spacing_mm": spacing, "seed": seed}
    rows = _rows_so_far(out, settings) if out.exists() else []
    done = {(row["specimen"], row["projection"]) for row in rows}
    for number, specimen in enumerate(known.values()):
        wanted = [name for name in specimen.projections[::every] if (specimen.name, name) not in done]
        if not wanted or (specimens is not None and specimen.name not in specimens):
            continue
        volume = specimen.volume(spacing)
        for name in wanted:
            generator = np.random.default_rng([seed, number, specimen.projections.index(name)])
            rows.append(settings | _row(specimen, volume, name, generator))
            write_rows(out, pd.DataFrame(rows))
            progress(f"{specimen.name} {name}: mTRE {rows[-1]['mtre_mm']:.2f} mm, {rows[-1]['seconds']:.2f} s")
    asked = {(name, one) for name in specimens or known for one in known[name].projections[::every]}
    return pd.DataFrame([row for row in rows if (row["specimen"], row["projection"]) in asked])


def _rows_so_far(path: Path, settings: dict[str, Any]) -> list[dict[str, Any]]:
    try:
        table = pd.read_csv(path, dtype=dict.fromkeys(_KEYS, str))
    except (OSError, ValueError) as error:
        raise XrcoreError(f"{path}: cannot be read as the table of a run that goes on: {error}; choose another --out") from None
    if not {*_KEYS, *settings, "mtre_mm"} <= set(table.columns):
        raise XrcoreError(f"{path}: this is not the table of a run that goes on; choose another --out")
    if not all((table[name] == value).all() for name, value in settings.items()):
        raise XrcoreError(f"{path}: holds rows of another spacing or seed; choose another --out")
    return table.to_dict("records")  # type: ignore[return-value]


def _row(specimen: Specimen, volume: Volume, name: str, generator: np.random.Generator) -> dict[str, Any]:
    view = specimen.projection(name)
    start = _start(view, generator)
    points = torch.stack(list(specimen.landmarks().values()))
    result = register(view.xray, volume, start)

    def error(measure: Callable[..., torch.Tensor], pose: Pose) -> float:
        return float(measure(pose, view.truth, points, view.xray.carm, view.isocenter))

    return {
        "specimen": specimen.name,
        "projection": name,
        "start_mtre_mm": error(metrics.mtre, start),
        "mtre_mm": error(metrics.mtre, result.pose),
        "mpd_mm": error(metrics.mpd, result.pose),
        "confidence": result.confidence,
        "trusted": result.trusted,
        "seconds": result.seconds,
    }


def _start(view: Projection, generator: np.random.Generator) -> Pose:
    box = SearchBox()
    reach = np.array([*box.rotation, *box.translation])
    return Pose(view.truth.numbers + torch.from_numpy(generator.uniform(-reach, reach)))


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Tabulate by specimen, and all together.

    Parameters
    ----------
    table : DataFrame
        Of `run`.

    Returns
    -------
    DataFrame
        Index: the specimen, or "all". A wrong one is a gross failure.
    """
    parts = {**dict(tuple(table.groupby("specimen", sort=False))), "all": table}
    return pd.DataFrame.from_dict({name: _summary(part) for name, part in parts.items()}, orient="index")


def _summary(part: pd.DataFrame) -> dict[str, float]:
    error, gross = part["mtre_mm"], part["mtre_mm"] > GROSS
    return {
        "images": len(part),
        "start mTRE, median [mm]": part["start_mtre_mm"].median(),
        "mTRE, median [mm]": error.median(),
        "mTRE, 95th percentile [mm]": error.quantile(0.95),
        "mPD, median [mm]": part["mpd_mm"].median(),
        "below 1 mm [%]": 100 * (error < FINE).mean(),
        "gross failures [%]": 100 * gross.mean(),
        "right ones trusted [%]": 100 * part.loc[~gross, "trusted"].astype(bool).mean(),
        "wrong ones trusted": int(part.loc[gross, "trusted"].astype(bool).sum()),
        "seconds, median": part["seconds"].median(),
    }
