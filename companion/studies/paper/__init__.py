"""What the paper reports (Zhang et al., MICCAI 2023), one CSV per table."""

from __future__ import annotations

from importlib.resources import files

import pandas as pd

from xrcore import XrcoreError

TABLES = (
    "table1_comparison_drr",
    "table2_refinement_xray",
    "table3_ablation_and_patients",
    "table4_xray_cases",
    "headlines",
)


def paper_table(name: str) -> pd.DataFrame:
    """Read what the paper reports.

    Parameters
    ----------
    name : str
        One of TABLES.

    Returns
    -------
    DataFrame
        The first column is the index.

    Raises
    ------
    XrcoreError
        If there is no such table.
    """
    if name not in TABLES:
        raise XrcoreError(f"the paper has no table {name!r} here; choose from {', '.join(TABLES)}")
    with (files(__package__) / f"{name}.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file, index_col=0)
