"""Run one method on one case and return its result row."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch

from companion.experiments.case_table import EVIDENCE, MEASURED
from companion.experiments.methods import Method
from companion.experiments.patients import Loaded
from companion.experiments.seeds import stream
from companion.experiments.setup_digest import digest
from companion.experiments.testset import TestSet
from xrcore import Pose, Xray, XrcoreError, render
from xrcore.geometry import POSE_NAMES
from xrcore.metrics import likeness, mpd, mtre


def setup_of(method: Method, test_set: TestSet) -> str:
    """Return the `setup` digest of the rows of a method on a test set.

    Parameters
    ----------
    method : Method
        Under test.
    test_set : TestSet
        Its cases.

    Returns
    -------
    str
        Twelve hexadecimal digits.
    """
    return digest(test_set.setup, method.setup, method.perturbation)


def run_case(methods: Sequence[Method], patient: Loaded, test_set: TestSet, case: int) -> Iterator[dict[str, Any]]:
    """Run methods on one case, whose X-ray is made once.

    Parameters
    ----------
    methods : sequence of Method
        Under test.
    patient : Loaded
        Whose CT.
    test_set : TestSet
        Whose case.
    case : int
        Its number.

    Yields
    ------
    dict of str to object
        A row of the table for each method.
    """
    xray = test_set.xray(patient, case)
    for method in methods:
        yield _row(method, patient, test_set, case, xray)


def _row(method: Method, patient: Loaded, test_set: TestSet, case: int, xray: Xray) -> dict[str, Any]:
    volume, truth = patient.volume(test_set.spacing), test_set.truth(patient, case)
    scale = (truth, patient.landmarks(test_set.spacing, test_set.landmarks), test_set.carm, volume.isocenter)
    if method.perturbation is not None:
        xray = replace(xray, pose=method.perturbation.start(truth, test_set.seed, patient.number, case))
    start = Pose.zero() if xray.pose is None else xray.pose
    values: dict[str, Any] = {name: math.nan if kind == "float64" else None for name, kind in MEASURED.items()}
    failure = ""
    began = time.perf_counter()
    seconds = math.nan
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stream("method", test_set.seed, patient.number, case))
            try:
                answer = method.run(xray, volume)
            finally:
                seconds = time.perf_counter() - began
        pose = _pose(answer)
        start = getattr(answer, "initial", start)
        error = (pose.numbers - truth.numbers)[0]
        error[:3] = torch.remainder(error[:3] + 180, 360) - 180
        seen = getattr(answer, "xray", xray)  # as registered, bone bright
        with torch.no_grad():
            drr = render(volume, test_set.carm, pose)[0]
        values = {
            **{f"error_{name}": float(e) for name, e in zip(POSE_NAMES, error, strict=True)},
            "mtre_mm": float(mtre(pose, *scale)),
            "mpd_mm": float(mpd(pose, *scale)),
            **{name: float(value) for name, value in likeness(seen.image, drr, seen.mask).items()},
            **_verdict(answer),
        }
    except XrcoreError as error_met:
        failure = " ".join(str(error_met).split()) or type(error_met).__name__
    return {
        "method": method.name,
        "patient": patient.number,
        "test_set": test_set.name,
        "protocol": test_set.protocol,
        "case": case,
        "setup": setup_of(method, test_set),
        **{f"truth_{name}": float(v) for name, v in zip(POSE_NAMES, truth.numbers[0], strict=True)},
        "start_mtre_mm": float(mtre(start, *scale)),
        "seconds": seconds,
        **values,
        "failure": failure,
    }


def _pose(answer: Any) -> Pose:
    pose = answer if isinstance(answer, Pose) else getattr(answer, "pose", None)
    if not isinstance(pose, Pose):
        raise XrcoreError(f"the method gave {type(answer).__name__}, not a pose")
    if len(pose) != 1:
        raise XrcoreError(f"the method gave {len(pose)} poses, not one")
    return Pose(pose.numbers.detach().double().cpu())


def _verdict(answer: Any) -> dict[str, Any]:
    """Confidence and `trusted` where the method verifies its result; a bare refinement is not verified and has none."""
    evidence = getattr(answer, "evidence", None)
    judged = hasattr(answer, "trusted") and (evidence is not None or not hasattr(answer, "evidence"))
    return {
        "confidence": float(getattr(answer, "confidence", math.nan)) if judged else math.nan,
        "trusted": bool(answer.trusted) if judged else None,
        "attempts": getattr(answer, "attempts", None),
        "evaluations": getattr(answer, "evaluations", None),
        **{f"evidence_{name}": float(getattr(evidence, name)) if evidence is not None else math.nan for name in EVIDENCE},
    }
