"""Base class of the studies: parts that can be interrupted and continued, and a result with its provenance."""

from __future__ import annotations

import shutil
import time
from abc import ABC, abstractmethod
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from companion.experiments.setup_digest import digest
from companion.studies.common.code_digest import code_digest
from companion.studies.common.paths import Paths
from companion.studies.common.plan import Plan
from companion.studies.common.provenance import is_of, origin, write
from xrcore import XrcoreError
from xrcore.utilities import atomic_file, check_writable, fingerprint, read_json

_DIGITS = 5  # of what is kept in results/
_KEPT = ("commit", "uncommitted", "minutes")  # of each training and part


class Study(ABC):
    """One study: its parts are measured separately and then gathered into one table.

    Attributes
    ----------
    name : str
        Of its files, and of its section of a plan.
    exclusive : bool
        Whether its parts measure time, and so share the machine with nothing.
    scripts : tuple of str
        Modules whose code decides what is measured, beside that of the class.
    """

    name: ClassVar[str]
    exclusive: ClassVar[bool] = False
    scripts: ClassVar[tuple[str, ...]] = tuple(
        f"companion.experiments.{name}" for name in ("measure", "methods", "patients", "runner", "seeds", "testset")
    )

    def parts(self, plan: Plan) -> tuple[str, ...]:
        """Name what may be measured side by side.

        Parameters
        ----------
        plan : Plan
            The profile.

        Returns
        -------
        tuple of str
            The parts.
        """
        return ("all",)

    def trainings(self, plan: Plan, part: str) -> tuple[str, ...]:
        """Name the trainings whose models a part needs.

        Parameters
        ----------
        plan : Plan
            The profile.
        part : str
            One of `parts`.

        Returns
        -------
        tuple of str
            Of `plan.trainings`.
        """
        return ()

    def entries(self, plan: Plan, part: str) -> tuple[str, ...]:
        """Name the entries of the data manifest that a part needs.

        Parameters
        ----------
        plan : Plan
            The profile.
        part : str
            One of `parts`.

        Returns
        -------
        tuple of str
            The entries.
        """
        return tuple(dict.fromkeys(entry for name in self.trainings(plan, part) for entry in plan.trainings[name].entries))

    def setup(self, plan: Plan, part: str) -> str:
        """Return a digest of what a part depends on.

        Parameters
        ----------
        plan : Plan
            The profile.
        part : str
            One of `parts`.

        Returns
        -------
        str
            Digits that change where the part must be measured again: with its sizes, its trainings' settings, or its code.
        """
        trained = [plan.trainings[name].setup for name in self.trainings(plan, part)]
        code = code_digest(type(self), *self.scripts)
        return digest(self.name, part, self.sizes(plan, part), plan.seed, plan.spacing, plan.fine_spacing, trained, code)

    def sizes(self, plan: Plan, part: str) -> Any:
        """Collect the sizes, and the names in tables, that decide a part; by default all of the plan's section.

        Parameters
        ----------
        plan : Plan
            The profile.
        part : str
            One of `parts`.

        Returns
        -------
        object
            With a `repr` that shows them.
        """
        return self.options(plan)

    def options(self, plan: Plan) -> Any:
        """Take the plan's section of this study.

        Parameters
        ----------
        plan : Plan
            The profile.

        Returns
        -------
        object
            Such as `plan.ablation`.
        """
        return getattr(plan, self.name)

    @abstractmethod
    def table(self, plan: Plan, paths: Paths, part: str, growing: Path) -> pd.DataFrame:
        """Measure a part.

        Parameters
        ----------
        plan : Plan
            The profile.
        paths : Paths
            Where files are.
        part : str
            One of `parts`.
        growing : Path
            A .csv for rows as they come, which a run after an interruption finds again.

        Returns
        -------
        DataFrame
            One row per case.
        """

    def finish(self, plan: Plan, paths: Paths, table: pd.DataFrame) -> pd.DataFrame:
        """Complete the gathered table, such as by further columns or images; by default unchanged.

        Parameters
        ----------
        plan : Plan
            The profile.
        paths : Paths
            Where files are.
        table : DataFrame
            Of all parts.

        Returns
        -------
        DataFrame
            What is kept.
        """
        return table

    def measure(self, plan: Plan, paths: Paths, part: str) -> None:
        """Measure a part, with its provenance.

        Parameters
        ----------
        plan : Plan
            The profile.
        paths : Paths
            Where files are.
        part : str
            One of `parts`.

        Raises
        ------
        XrcoreError
            If there is no such part, or its results cannot be written.
        """
        if part not in self.parts(plan):
            raise XrcoreError(f"study {self.name} has no part {part!r}; it has {', '.join(self.parts(plan))}")
        kept, grown = paths.part(self.name, part), paths.growing(self.name, part)
        check_writable(kept.parent, f"{part}.csv", f"{part}.json")
        grown.parent.mkdir(parents=True, exist_ok=True)
        # models of another training, or other settings, grow another table
        models = [fingerprint(paths.model(name) / "model.json")["sha256"] for name in self.trainings(plan, part)]
        growing = grown.with_name(f"{part}-{digest(self.setup(plan, part), models)[:12]}.csv")
        began, before = time.perf_counter(), _minutes_before(growing)
        try:
            table = self.table(plan, paths, part, growing)
        finally:
            spent = before + (time.perf_counter() - began) / 60
            write(growing.with_suffix(".minutes.json"), {"minutes": spent})
        _save(table, kept.with_suffix(".csv"))
        trained = {}
        for name in self.trainings(plan, part):
            described = read_json(paths.origin(name))
            gpu = described["machine"].get("gpu")
            trained[name] = {k: described[k] for k in (*_KEPT, "seed", "images")} | ({"gpu": gpu["name"]} if gpu else {})
            with atomic_file(paths.curve(name)) as temporary:
                shutil.copyfile(paths.model(name) / "log.csv", temporary)
        record = origin(paths.root, seed=plan.seed, minutes=spent, setup=self.setup(plan, part), trainings=trained)
        write(kept.with_suffix(".json"), record)

    def is_current(self, plan: Plan, paths: Paths, part: str) -> bool:
        """Return whether a part was measured, with the settings and the code of today.

        Parameters
        ----------
        plan : Plan
            The profile.
        paths : Paths
            Where files are.
        part : str
            One of `parts`.

        Returns
        -------
        bool
            False where it must be measured.
        """
        return is_of(paths.part(self.name, part).with_suffix(".json"), self.setup(plan, part))

    def gather(self, plan: Plan, paths: Paths, *, partial: bool = False) -> None:
        """Gather all parts into results/PROFILE/STUDY.csv, and their provenance into its .json.

        Parameters
        ----------
        plan : Plan
            The profile.
        paths : Paths
            Where files are.
        partial : bool
            Gather what was measured, where parts are lacking; the .json names those.

        Raises
        ------
        XrcoreError
            If a part was not measured yet, or with `partial` none was, or its results cannot be written.
        """
        check_writable(paths.results, *(f"{self.name}{suffix}" for suffix in (".csv", ".json", ".npz")))
        began = time.perf_counter()
        tables, records = [], {}
        lacking = [part for part in self.parts(plan) if not self.is_current(plan, paths, part)]
        there = [part for part in self.parts(plan) if part not in lacking]
        if lacking and not (partial and there):
            what = "not measured yet, or with other settings or code"
            raise XrcoreError(f"{paths.part(self.name, lacking[0])}.csv: {what}; `make reproduce PROFILE={plan.name}` does it")
        for part in there:
            kept = paths.part(self.name, part)
            tables.append(pd.read_csv(kept.with_suffix(".csv"), dtype={"patient": str}))
            records[part] = read_json(kept.with_suffix(".json"))
        table = self.finish(plan, paths, pd.concat(tables, ignore_index=True))
        _save(table.round(_DIGITS), paths.result(self.name))
        trained = {name: of for record in records.values() for name, of in record["trainings"].items()}
        spent = sum(record["minutes"] for record in records.values()) + (time.perf_counter() - began) / 60
        described = origin(
            paths.root,
            seed=plan.seed,
            minutes=spent,
            study=self.name,
            profile=plan.name,
            options=asdict(self.options(plan)),
            training_minutes=round(sum(record["minutes"] for record in trained.values()), 2),
            trainings=trained,
            lacking=lacking,
            parts={name: {k: record[k] for k in (*_KEPT, "setup", "machine")} for name, record in records.items()},
        )
        # of the measurements, not of who gathered them
        described["machine"] = next(iter(records.values()))["machine"]
        described["uncommitted"] = any(record["uncommitted"] for record in (described, *records.values(), *trained.values()))
        write(paths.result(self.name, ".json"), described)
        if not lacking:
            write(paths.gathered(self.name), described)


def _minutes_before(growing: Path) -> float:
    """Minutes that an interrupted run recorded before."""
    file = growing.with_suffix(".minutes.json")
    return float(read_json(file)["minutes"]) if file.exists() and growing.exists() else 0.0


def save_images(path: Path, images: dict[str, Any]) -> None:
    """Write arrays as .npz, atomically.

    Parameters
    ----------
    path : Path
        Of the file; its folder is made.
    images : dict of str to array
        By name.
    """
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **images)


def _save(table: pd.DataFrame, path: Path) -> None:
    with atomic_file(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")
