"""Table 3, upper half: what each part of the network is good for, on the first patient, under the paper's protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from companion.experiments import prediction, refinement, registration, run
from companion.studies.base import Study
from companion.workflow.paths import Places
from companion.workflow.plan import INCREMENTAL, VARIANTS, Plan
from companion.workflow.trainings import model_of

REFINED, REFINED_BY_ADAM = "[A+B+C]*+D", "[A+B+C]*+D, the paper's Adam"


class Ablation(Study):
    """A part a training seed; the rows' methods are named as the paper names its rows, and `seed` tells the trainings apart.

    D, the refinement, follows the incremental network's prediction: ours, which is judged and retried, and as the paper has it,
    one descent of 100 Adam steps.
    """

    name: ClassVar[str] = "ablation"

    def options(self, plan: Plan) -> Any:
        return plan.ablation

    def parts(self, plan: Plan) -> tuple[str, ...]:
        return tuple(f"seed-{seed}" for seed in plan.ablation.seeds)

    def trainings(self, plan: Plan, part: str) -> tuple[str, ...]:
        return tuple(f"ablation/{variant.key}-{part.removeprefix('seed-')}" for variant in VARIANTS)

    def table(self, plan: Plan, places: Places, part: str, growing: Path) -> pd.DataFrame:
        seed = int(part.removeprefix("seed-"))
        models = {variant.key: model_of(places, f"ablation/{variant.key}-{seed}") for variant in VARIANTS}
        best = models[INCREMENTAL]
        passes = (
            ([prediction(models[variant.key], variant.label) for variant in VARIANTS], plan.ablation.poses),
            ([registration(best, REFINED)], plan.ablation.refined),
            ([refinement("paper-as-intended", best, REFINED_BY_ADAM)], plan.ablation.adam if seed == plan.ablation.seeds[0] else 0),
        )
        table = pd.DataFrame()
        for methods, poses in passes:
            if poses:
                tests = plan.test_set("plain", "paper", poses)
                table = run(methods, [plan.subjects[0]], [tests], growing)
        return table.assign(seed=seed)
