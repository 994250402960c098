"""Write the rows of a study."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from xrcore.utilities import atomic_file


def write_rows(path: Path, table: pd.DataFrame) -> None:
    """Write a table as CSV, whole or not at all, with five digits and without its index.

    Parameters
    ----------
    path : Path
        Of the file; its folder is made.
    table : DataFrame
        The rows.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.5g", lineterminator="\n")
