"""Where a profile's files lie, below the repository's root."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Paths:
    """build/ holds what is large or in the making, results/ and figures/ what is kept."""

    profile: str
    root: Path = Path()

    @property
    def plan(self) -> Path:
        return self.root / "workflow" / f"{self.profile}.yaml"

    @property
    def build(self) -> Path:
        return self.root / "build" / self.profile

    @property
    def results(self) -> Path:
        return self.root / "results" / self.profile

    @property
    def figures(self) -> Path:
        return self.root / "figures" / self.profile

    def data(self, entry: str) -> Path:
        """Says that an entry of the data manifest is there."""
        return self.root / "build" / "data" / f"{entry}.json"

    def model(self, training: str) -> Path:
        """The folder of a training."""
        return self.build / "models" / training

    def origin(self, training: str) -> Path:
        """Where its model comes from; written last, so that it says that the training is done."""
        return self.model(training) / "origin.json"

    def part(self, study: str, part: str) -> Path:
        """The table that one part of a study grows, without suffix."""
        return self.build / "parts" / study / part

    @property
    def pages(self) -> Path:
        """Notebooks run for the site, on whatever results are there; not those of the workflow, which vouch for results of its own."""
        return self.root / "build" / "pages" / self.profile

    def gathered(self, study: str) -> Path:
        """Says that a study's results are this clone's own, not those that came with it."""
        return self.build / "gathered" / f"{study}.json"

    def result(self, study: str, suffix: str = ".csv") -> Path:
        """A study's cases (.csv), where they come from (.json) and, of some, images (.npz)."""
        return self.results / f"{study}{suffix}"
