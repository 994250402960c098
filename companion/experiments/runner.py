"""Run every method on every case into one table; an interrupted run continues where it stopped."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

import pandas as pd

from companion.experiments.case_table import Table
from companion.experiments.measure import run_case, setup_of
from companion.experiments.methods import Method
from companion.experiments.patients import Loaded, Subject
from companion.experiments.testset import TestSet
from xrcore import XrcoreError


def run(
    methods: Iterable[Method],
    patients: Iterable[Subject],
    sets: Iterable[TestSet],
    out: str | os.PathLike[str] | None = None,
    *,
    progress: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """Run every method on every case of every patient and test set.

    Parameters
    ----------
    methods : iterable of Method
        Under test.
    patients : iterable of Subject
        Whose CTs.
    sets : iterable of TestSet
        Whose cases.
    out : str or path, optional
        A .csv that grows row by row. Cases already in it are not measured again, so a run that was stopped goes on, and may be given more
        methods, patients, sets or poses; a model of one patient is run on that patient, call after call into one table.
    progress : callable, optional
        Called with a line of text for each case.

    Returns
    -------
    DataFrame
        The whole table, with `case_table.COLUMNS`. `error_*` are signed, found - true [deg, mm], angles the short way round. ncc, ssim,
        css: X-ray against the DRR of the registered volume at the found pose (default beam), over the X-ray's mask, by `metrics.likeness`.
        start_mtre_mm: of the pose the answer started from, its `initial`, or else of the X-ray's, or else of the zero pose. seconds: of
        the whole call. confidence, trusted: missing where nobody judged. failure: what an XrcoreError said, the row's measures then
        missing. setup: tells settings apart. The same settings give the same rows, `seconds` apart, in whatever order they are measured.

    Raises
    ------
    XrcoreError
        If two of a kind share a name, or if `out` holds rows of other settings under the same names.

    Examples
    --------
    >>> from companion.experiments import Phantom, TestSet, run, search, summary
    >>> table = run([search()], [Phantom(seed=1)], [TestSet("acquired", poses=2, spacing=4.0, fine_spacing=3.0)])
    >>> print(summary(table))  # doctest: +SKIP
    """
    methods, patients, sets = list(methods), list(patients), list(sets)
    for word, names in (
        ("methods", [m.name for m in methods]),
        ("patients", [p.number for p in patients]),
        ("test sets", [s.name for s in sets]),
    ):
        if len(set(names)) < len(names):
            raise XrcoreError(f"run: two {word} share a name: {', '.join(names)}")
    table = Table(out)
    say = progress or (lambda _: None)
    # all rows are checked before the first is measured
    missing = {
        (number, test_set.name, case): [m for m in methods if not table.has(number, test_set.name, m.name, case, setup_of(m, test_set))]
        for number in (p.number for p in patients)
        for test_set in sets
        for case in range(test_set.poses)
    }
    for patient in patients:
        loaded = Loaded(patient)
        for test_set in sets:
            for case in range(test_set.poses):
                if wanted := missing[patient.number, test_set.name, case]:
                    say(f"patient {patient.number} {patient.name}, {test_set.name}: case {case + 1} of {test_set.poses}")
                    for row in run_case(wanted, loaded, test_set, case):
                        table.append(row)
    return table.finish()
