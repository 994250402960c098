"""Real X-rays: radius and ulna of a wrist, each camera alone and both together."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from companion.datasets.store import Store
from companion.studies import wrist_views as wrist
from companion.studies.base import Study, save_images
from companion.studies.wrist_twin import write_twin
from companion.workflow.paths import Places
from companion.workflow.plan import Plan

ENTRY = "wrist-biplane"


class Wrist(Study):
    """A part a bone and frame; see `reproduction.wrist`. The .npz holds the images for the figures."""

    name: ClassVar[str] = "wrist"

    def options(self, plan: Plan) -> Any:
        return plan.wrist

    def parts(self, plan: Plan) -> tuple[str, ...]:
        return tuple(f"{bone}-{frame}" for bone, frame in list(wrist.STARTS)[: plan.wrist.cases])

    def entries(self, plan: Plan, part: str) -> tuple[str, ...]:
        return () if plan.wrist.twin else (ENTRY,)

    def table(self, plan: Plan, places: Places, part: str, growing: Path) -> pd.DataFrame:
        bone, _, frame = part.rpartition("-")
        images = places.part(self.name, part).with_suffix(".npz")
        folder = growing.with_suffix(".twin") if plan.wrist.twin else Store().find(ENTRY)
        if plan.wrist.twin:
            write_twin(folder)
        return wrist.run(growing, images, folder, seeds=range(plan.wrist.starts), cases=[(bone, int(frame))])

    def finish(self, plan: Plan, places: Places, table: pd.DataFrame) -> pd.DataFrame:
        images: dict[str, Any] = {}
        for part in self.parts(plan):
            with np.load(places.part(self.name, part).with_suffix(".npz"), allow_pickle=False) as kept:
                images |= {name: _kept(kept[name]) for name in kept.files if _SHOWN.search(name)}
        save_images(places.result(self.name, ".npz"), images)
        return table


# each camera at its own answer and at that of both, and the answers
_SHOWN = re.compile(r"_(camera1_view1|camera2_view2|biplane_view[12])_(xray|drr)$|_rig_from_ct$")


def _kept(array: np.ndarray) -> np.ndarray:
    """An image as bytes between its percentiles; a matrix as it is."""
    if array.shape == (4, 4):
        return array
    low, high = np.percentile(array, (0.5, 99.5))
    return (255 * np.clip((array - low) / max(high - low, 1e-9), 0, 1)).round().astype(np.uint8)
