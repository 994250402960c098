"""What the paper reports agrees with itself."""

from __future__ import annotations

import pytest

import xrcore as xr
from companion.studies.paper import TABLES, paper_table


def test_the_papers_tables_agree_with_each_other():
    table1, table3, table4 = (paper_table(name) for name in (TABLES[0], TABLES[2], TABLES[3]))
    patients = table3[table3.index.str.startswith("dataset")]
    assert patients["mtre_mean"].mean() == pytest.approx(table1.loc["PSSS", "mtre_mm"], abs=6e-3)
    cases = table4.filter(like="case")
    assert (cases.mean(axis=1) - table4["mean"]).abs().max() < 2e-3
    assert cases.loc["PD"].std(ddof=0) == pytest.approx(table4.loc["PD", "std"], abs=2e-3)
    with pytest.raises(xr.XrcoreError, match="no table"):
        paper_table("table5")
