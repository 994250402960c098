"""Paths of a profile's files, below the repository's root."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

# whose parts are kept as rows in the repository, because each needs the training of a network, which is not kept
ROWS_KEPT = ("comparison", "ablation", "cohort")


@dataclass(frozen=True)
class Paths:
    """A profile's files: build/ holds large and intermediate files, results/ and figures/ what is kept.

    Parameters
    ----------
    profile : str
        smoke, laptop or paper.
    root : Path
        The repository.
    """

    profile: str
    root: Path = Path()

    @property
    def plan(self) -> Path:
        """The profile itself."""
        return self.root / "workflow" / f"{self.profile}.yaml"

    @property
    def build(self) -> Path:
        """Folder of large and intermediate files."""
        return self.root / "build" / self.profile

    @property
    def results(self) -> Path:
        """Folder of the tables that are kept."""
        return self.root / "results" / self.profile

    @property
    def figures(self) -> Path:
        """Folder of the figures that are kept."""
        return self.root / "figures" / self.profile

    @property
    def pages(self) -> Path:
        """Folder of notebooks run on any results present; the workflow's own notebooks are certified by its run."""
        return self.root / "build" / "pages" / self.profile

    def data(self, entry: str) -> Path:
        """Return the file that marks an entry of the data manifest as present.

        Parameters
        ----------
        entry : str
            Its name.

        Returns
        -------
        Path
            A .json.
        """
        return self.root / "build" / "data" / f"{entry}.json"

    def model(self, training: str) -> Path:
        """Name the folder of a training.

        Parameters
        ----------
        training : str
            Its name.

        Returns
        -------
        Path
            Of model and checkpoints.
        """
        return self.build / "models" / training

    def origin(self, training: str) -> Path:
        """Return the file with a model's provenance; it is written last and so marks the training as done.

        Parameters
        ----------
        training : str
            Its name.

        Returns
        -------
        Path
            A .json.
        """
        return self.model(training) / "origin.json"

    def setup(self, kind: str, name: str) -> Path:
        """Return the file by which Snakemake notices that a training or a part must be made again, see `freshness.take_results`.

        Parameters
        ----------
        kind : str
            "models" or "parts".
        name : str
            Of the training, or study/part.

        Returns
        -------
        Path
            A .txt.
        """
        return self.build / "setups" / kind / f"{name}.txt"

    def part(self, study: str, part: str) -> Path:
        """Name the table of one part of a study.

        Parameters
        ----------
        study, part : str
            Their names.

        Returns
        -------
        Path
            Without suffix; in results/ for the studies of `ROWS_KEPT`.
        """
        return (self.results if study in ROWS_KEPT else self.build) / "parts" / study / part

    def growing(self, study: str, part: str) -> Path:
        """Name the table of a part that is being measured.

        Parameters
        ----------
        study, part : str
            Their names.

        Returns
        -------
        Path
            Without suffix.
        """
        return self.build / "parts" / study / part

    def curve(self, training: str) -> Path:
        """Name the file that keeps the course of a training.

        Parameters
        ----------
        training : str
            Its name.

        Returns
        -------
        Path
            A .csv, as the training logged it.
        """
        return self.results / "trainings" / f"{training}.csv"

    def gathered(self, study: str) -> Path:
        """Return the file that marks a study's results as complete and of today's settings and code.

        Parameters
        ----------
        study : str
            Its name.

        Returns
        -------
        Path
            A .json.
        """
        return self.build / "gathered" / f"{study}.json"

    def result(self, study: str, suffix: str = ".csv") -> Path:
        """Name a file of a study's results.

        Parameters
        ----------
        study : str
            Its name.
        suffix : str
            ".csv" for its cases, ".json" for where they come from, ".npz" for images, of some.

        Returns
        -------
        Path
            Of the file.
        """
        return self.results / f"{study}{suffix}"
