"""Table 3, lower half: every patient, the network alone and refined, under the paper's protocol and as acquired."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from companion.experiments import prediction, registration, run
from companion.studies.base import Study
from companion.workflow.paths import Places
from companion.workflow.plan import PROTOCOLS, Plan, slug
from companion.workflow.trainings import model_of


class Cohort(Study):
    """A part a patient. Each protocol's network was trained for that protocol."""

    name: ClassVar[str] = "cohort"

    def options(self, plan: Plan) -> Any:
        return plan.cohort

    def parts(self, plan: Plan) -> tuple[str, ...]:
        return tuple(slug(subject) for subject in plan.subjects)

    def trainings(self, plan: Plan, part: str) -> tuple[str, ...]:
        return tuple(f"cohort/{part}-{protocol}" for protocol in PROTOCOLS)

    def table(self, plan: Plan, places: Places, part: str, growing: Path) -> pd.DataFrame:
        table = pd.DataFrame()
        for protocol, name in zip(PROTOCOLS, self.trainings(plan, part), strict=True):
            model = model_of(places, name)
            tests = plan.test_set(protocol, protocol, plan.cohort.poses)
            table = run([prediction(model, "network"), registration(model, "refined")], [plan.subject(part)], [tests], growing)
        return table
