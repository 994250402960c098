"""Table 1: Salehi et al. 2018, Grimm et al. 2021 and the paper's network, on plain DRRs of the first patient."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from companion.experiments import prediction, refinement, registration, run
from companion.studies.base import Study
from companion.workflow.paths import Places
from companion.workflow.plan import EVERY_NEW, Plan
from companion.workflow.trainings import model_of


class Comparison(Study):
    """The three networks saw as many images, each image once. Grimm's method and ours end with a refinement, Salehi's does not."""

    name: ClassVar[str] = "comparison"

    def options(self, plan: Plan) -> Any:
        return plan.comparison

    def trainings(self, plan: Plan, part: str) -> tuple[str, ...]:
        return ("comparison/salehi", "comparison/grimm", f"ablation/{EVERY_NEW}-{plan.ablation.seeds[0]}")

    def table(self, plan: Plan, places: Places, part: str, growing: Path) -> pd.DataFrame:
        salehi, grimm, ours = (model_of(places, name) for name in self.trainings(plan, part))
        passes = (
            ([prediction(salehi, "Salehi 2018"), prediction(grimm, "Grimm 2021, network"), prediction(ours, "PSSS, network")], "poses"),
            ([registration(ours, "PSSS")], "poses"),
            ([refinement("grimm", grimm, "Grimm 2021")], "refined"),
        )
        table = pd.DataFrame()
        for methods, count in passes:
            tests = plan.test_set("plain", "paper", getattr(plan.comparison, count))
            table = run(methods, [plan.subjects[0]], [tests], growing)
        return table
