"""The README's section on the paper's tables, from results/laptop."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

_REFERENCE, _SHOWN = "PSSS, refined by least squares", {"Grimm 2021 refinement": "Grimm", "PSSS, Adam as intended": "the paper's Adam"}
_ROWS = ("A", "A+B", "A+C", "A+B+C", "[A+B+C]*", "[A+B+C]*+D")


def mm(value: float) -> str:
    if pd.isna(value):
        return ""
    return f"{value:.2f} mm" if value >= 0.005 else "< 0.005 mm"


def lines(folder: Path) -> list[str]:
    """folder: results/PROFILE. Markdown, a line an entry."""

    def table(name: str) -> pd.DataFrame:
        return pd.read_csv(folder / "tables" / f"{name}.csv")

    out = ["| | | the paper | here |", "|---|---|---:|---:|"]
    for _, row in table("02_table1_comparison").dropna(subset=["mtre_paper"]).iterrows():
        out.append(
            f"| Table 1 | {row['method']}, mTRE; success | {mm(row['mtre_paper'])}; {row['sr_paper']:.1f} % | {mm(row['mtre'])}; {row['sr']:.1f} % |"
        )
    second = table("03_table2_refinement").set_index("method")
    for method, label in {**_SHOWN, _REFERENCE: "least squares"}.items():
        row = second.loc[method]
        paper = "; ".join(f"{row[f'{m}_paper']:.3f}" for m in ("ncc", "ssim", "css"))
        here = "; ".join(f"{row[m]:.3f}" for m in ("ncc", "ssim", "css"))
        out.append(f"| Table 2 | {label}: NCC; SSIM; CSS, X-rays *simulated* here | {paper} | {here} |")
    third = table("04_table3_ablation").set_index("method")
    for name in _ROWS:
        row = third.loc[name]
        interval = "" if pd.isna(row["mtre_low"]) or row["mtre"] < 0.005 else f" ({row['mtre_low']:.2f} to {row['mtre_high']:.2f})"
        out.append(f"| Table 3 | {name}, mTRE (95 % interval) | {mm(row['mtre_mean_paper'])} | {mm(row['mtre'])}{interval} |")
    for _, row in table("05_table3_patients-overview").iterrows():
        out.append(
            f"| Table 3 | six patients, {row['row']}: mTRE; success | {mm(row['mtre_paper'])}"
            f"{'' if pd.isna(row['sr_paper']) else f'; {row["sr_paper"]:g} %'} | {mm(row['mtre'])}; {row['sr']:.1f} % |"
        )
    fourth = table("06_table4_xray_cases").set_index(["measure", "source"])
    for measure in ("PD", "NCC", "SSIM", "CSS"):
        unit = " mm" if measure == "PD" else ""
        paper, here = (
            f"{fourth.loc[(measure, source), 'mean']:.3f} ± {fourth.loc[(measure, source), 'std']:.3f}{unit}" for source in ("paper", "here")
        )
        out.append(f"| Table 4 | {measure} over ten X-rays, *simulated* here | {paper} | {here} |")
    return out


def verdicts(folder: Path) -> str:
    """What the ablation decides, in words."""
    order = pd.read_csv(folder / "tables" / "04_table3_ablation-order.csv")
    said = [f"{row['part']} {row['verdict']}" for _, row in order.iterrows()]
    return "; ".join(said)


def origin(folder: Path) -> str:
    """Machine and minutes of all studies, in words."""
    records: list[dict[str, Any]] = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    trained = {name: t["minutes"] for record in records for name, t in record.get("trainings", {}).items()}
    measured = sum(record["minutes"] for record in records)
    machine = records[0]["machine"]
    return (
        f"{len(trained)} trainings, {sum(trained.values()):.0f} minutes of one core; evaluation {measured:.0f} minutes of one core; "
        f"{machine['cpu']}, {machine['cores']} shared cores"
    )
