"""Columns that studies share, and rows that are measured and written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from xrcore.utilities import atomic_file, check_writable


def write_rows(path: Path, table: pd.DataFrame) -> None:
    """Write a table as CSV, whole or not at all, with five digits and without its index.

    Parameters
    ----------
    path : Path
        Of the file; its folder is made.
    table : DataFrame
        The rows.
    """
    with atomic_file(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.5g", lineterminator="\n")


def measure_into(out: Path, measure: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """Measure and write, after a check that OUT.csv can be written.

    Parameters
    ----------
    out : Path
        Of the table, but for the suffix.
    measure : callable
        Gives the rows.

    Returns
    -------
    DataFrame
        The rows.

    Raises
    ------
    XrcoreError
        If it cannot be written.
    """
    path = out.with_suffix(".csv")
    check_writable(path.parent, path.name)
    table = measure()
    write_rows(path, table)
    return table


def depth_deviation(covariance: Float[Tensor, "6 6"] | None, camera_from_world: Float[Tensor, "4 4"]) -> float:
    """Find the standard deviation of a body's place along a camera's axis.

    Parameters
    ----------
    covariance : Float[Tensor, "6 6"] or None
        Of the pose's six numbers [deg, mm].
    camera_from_world : Float[Tensor, "4 4"]
        The pose [mm].

    Returns
    -------
    float
        [mm]; NaN where the covariance is not known.
    """
    if covariance is None:
        return float("nan")
    axis = camera_from_world[2, :3] @ torch.tensor([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]], dtype=torch.float64)  # by tx, ty, tz
    return float((axis @ covariance[3:, 3:].double() @ axis).sqrt())
