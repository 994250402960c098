"""Report: what a notebook reads, and where its table and figure go."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from companion.workflow.paths import Places
from xrcore._util.errors import XrcoreError

_NUMBERS = {"patient": str}
_DIGITS = 5  # of a table that is kept


class Report:
    """name: of the notebook, and so of its files. profile: smoke, laptop or paper. root: the repository, default the nearest above.

    Raises XrcoreError, when asked for results that are not there, with the command that makes them.
    """

    def __init__(self, name: str, profile: str, root: Path | None = None) -> None:
        self.name, self.places = name, Places(profile, _root() if root is None else root)
        if not self.places.plan.exists():
            raise XrcoreError(f"{self.places.plan}: there is no such profile; choose smoke, laptop or paper")

    def cases(self, study: str) -> pd.DataFrame:
        """A study's results, one row a case."""
        return pd.read_csv(self._existing(study, ".csv"), dtype=_NUMBERS)

    def images(self, study: str) -> dict[str, Any]:
        """Arrays that a study kept for figures."""
        with np.load(self._existing(study, ".npz"), allow_pickle=False) as kept:
            return {name: kept[name] for name in kept.files}

    def origin(self, study: str) -> dict[str, Any]:
        """Commit, seed, machine, minutes; see `provenance.origin`."""
        record: dict[str, Any] = json.loads(self._existing(study, ".json").read_text(encoding="utf-8"))
        return record

    def origin_in_words(self, study: str) -> str:
        """The same in one sentence."""
        origin = self.origin(study)
        machine = origin["machine"]
        text = f"Profile {self.places.profile}, commit {str(origin['commit'])[:7]}, seed {origin['seed']}, "
        text += f"{machine['cpu']}, {machine['cores']} cores: "
        if origin.get("trainings"):
            count = len(origin["trainings"])
            text += f"{count} training{'s' * (count > 1)} in {origin['training_minutes']:.0f} min, "
        return text + f"evaluation in {origin['minutes']:.0f} min."

    @cached_property
    def smoke(self) -> bool:
        """Whether the numbers mean nothing."""
        return self.places.profile == "smoke"

    def keep_table(self, table: pd.DataFrame, suffix: str = "") -> pd.DataFrame:
        """Write a table to results/PROFILE/tables/NAME.csv, to five decimals, and give it back."""
        path = self.places.results / "tables" / f"{self.name}{suffix}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        table.round(_DIGITS).to_csv(path, lineterminator="\n")
        return table

    def keep_figure(self, figure: Figure, suffix: str = "") -> Figure:
        """Write a figure to figures/PROFILE/NAME.png and .pdf, and give it back."""
        path = self.places.figures / f"{self.name}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        # no dates, so that the same figure is the same file
        figure.savefig(path.with_suffix(".png"), dpi=160, metadata={"Software": None})
        figure.savefig(path.with_suffix(".pdf"), metadata={"CreationDate": None, "Producer": None, "Creator": None})
        return figure

    def _existing(self, study: str, suffix: str) -> Path:
        path = self.places.result(study, suffix)
        if not path.exists():
            raise XrcoreError(f"{path}: not there yet; `make reproduce PROFILE={self.places.profile}` makes it")
        return path


def _root() -> Path:
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "workflow" / "Snakefile").exists():
            return folder
    raise XrcoreError(f"{here}: not inside a clone of xrcore, so its results were not found; start the notebook there")
