"""The results that a notebook reads, and the files that its table and figure are written to."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from companion.studies.common.paths import Paths
from xrcore import XrcoreError
from xrcore.figures import save_figure
from xrcore.utilities import atomic_file, read_json

_NUMBERS = {"patient": str}
_DIGITS = 5  # of a table that is kept


class Report:
    """The results that a notebook reads, and the files that its table and figure go to.

    Parameters
    ----------
    name : str
        Of the notebook, and so of its files.
    profile : str
        smoke, laptop or paper.
    keep : bool
        Whether table and figure go to results/PROFILE/tables and figures/PROFILE, as the workflow wants it; else to build/PROFILE/tables
        and build/PROFILE/figures, so that no tracked file changes.
    root : Path, optional
        The repository; default the nearest above the working directory.

    Raises
    ------
    XrcoreError
        If there is no such profile; later, for results that are not there, with the command that makes them.
    """

    def __init__(self, name: str, profile: str, keep: bool = False, root: Path | None = None) -> None:
        self.name, self.paths, self.keep = name, Paths(profile, _root() if root is None else root), keep
        if not self.paths.plan.exists():
            raise XrcoreError(f"{self.paths.plan}: there is no such profile; choose smoke, laptop or paper")

    def cases(self, study: str) -> pd.DataFrame:
        """Read a study's results.

        Parameters
        ----------
        study : str
            One of `companion.studies.STUDIES`.

        Returns
        -------
        DataFrame
            One row per case.
        """
        return pd.read_csv(self._existing(study, ".csv"), dtype=_NUMBERS)

    def images(self, study: str) -> dict[str, Any]:
        """Read the arrays that a study kept for figures.

        Parameters
        ----------
        study : str
            One of `companion.studies.STUDIES`.

        Returns
        -------
        dict of str to array
            See the study.
        """
        with np.load(self._existing(study, ".npz"), allow_pickle=False) as kept:
            return {name: kept[name] for name in kept.files}

    def origin(self, study: str) -> dict[str, Any]:
        """Read where a study's results come from.

        Parameters
        ----------
        study : str
            One of `companion.studies.STUDIES`.

        Returns
        -------
        dict
            Commit, seed, machine, minutes; see `provenance.origin`.
        """
        record: dict[str, Any] = read_json(self._existing(study, ".json"))
        return record

    def lacking(self, study: str) -> str:
        """Say which parts of a study were not measured yet.

        Parameters
        ----------
        study : str
            One of `companion.studies.STUDIES`.

        Returns
        -------
        str
            One sentence; empty where all were.
        """
        parts = self.origin(study).get("lacking", [])
        return f"Not measured yet, and so empty or left out above: {', '.join(parts)}." if parts else ""

    def curves(self, study: str) -> pd.DataFrame:
        """Read the courses of a study's trainings.

        Parameters
        ----------
        study : str
            One of `companion.studies.STUDIES`.

        Returns
        -------
        DataFrame
            The rows of their logs; `training` names each.

        Raises
        ------
        XrcoreError
            If a log was not kept.
        """
        files = {name: self.paths.curve(name) for name in self.origin(study)["trainings"]}
        if lost := [str(file) for file in files.values() if not file.exists()]:
            raise XrcoreError(f"{lost[0]}: not there; `make reproduce PROFILE={self.paths.profile}` makes it")
        return pd.concat([pd.read_csv(file).assign(training=name) for name, file in files.items()], ignore_index=True)

    def origin_in_words(self, study: str) -> str:
        """Say where a study's results come from.

        Parameters
        ----------
        study : str
            One of `companion.studies.STUDIES`.

        Returns
        -------
        str
            One sentence.
        """
        origin = self.origin(study)
        machine = origin["machine"]
        text = f"Profile {self.paths.profile}, commit {str(origin['commit'])[:7]}, seed {origin['seed']}, "
        text += f"{machine['cpu']}, {machine['cores']} cores: "
        if origin.get("trainings"):
            count = len(origin["trainings"])
            images = " or ".join(f"{n:,}" for n in sorted({of["images"] for of in origin["trainings"].values()}))
            text += f"{count} training{'s' * (count > 1)} of {images} images in {origin['training_minutes']:.0f} min"
            gpus = [of["gpu"] for of in origin["trainings"].values() if "gpu" in of]
            text += (f" ({len(gpus)} of them on {' and '.join(sorted(set(gpus)))})" if gpus else "") + ", "
        return text + f"evaluation in {origin['minutes']:.0f} min."

    @cached_property
    def smoke(self) -> bool:
        """Whether the profile only checks that everything runs; its numbers mean nothing."""
        return self.paths.profile == "smoke"

    def keep_table(self, table: pd.DataFrame, suffix: str = "") -> pd.DataFrame:
        """Write a table to tables/NAME.csv, to five decimals.

        Parameters
        ----------
        table : DataFrame
            To be written.
        suffix : str
            Of the file's name, for a notebook with several tables.

        Returns
        -------
        DataFrame
            The table as given.
        """
        folder = self.paths.results / "tables" if self.keep else self.paths.build / "tables"
        path = folder / f"{self.name}{suffix}.csv"
        with atomic_file(path) as temporary:
            table.round(_DIGITS).to_csv(temporary, lineterminator="\n")
        return table

    def keep_figure(self, figure: Figure, suffix: str = "") -> Figure:
        """Write a figure to NAME.png and NAME.pdf.

        Parameters
        ----------
        figure : Figure
            To be written.
        suffix : str
            Of the files' names, for a notebook with several figures.

        Returns
        -------
        Figure
            The figure as given.
        """
        path = (self.paths.figures if self.keep else self.paths.build / "figures") / f"{self.name}{suffix}"
        save_figure(figure, path.with_suffix(".png"), dpi=160)
        save_figure(figure, path.with_suffix(".pdf"))
        return figure

    def _existing(self, study: str, suffix: str) -> Path:
        path = self.paths.result(study, suffix)
        if not path.exists():
            raise XrcoreError(f"{path}: not there yet; `make reproduce PROFILE={self.paths.profile}` makes it")
        return path


def _root() -> Path:
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "workflow" / "Snakefile").exists():
            return folder
    raise XrcoreError(f"{here}: not inside a clone of xrcore, so its results were not found; start the notebook there")
