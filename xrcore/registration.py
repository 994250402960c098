"""register: where was this X-ray taken from?  Start -> search and refine -> verify -> search wider when in doubt."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from xrcore.beam import Beam
from xrcore.ct.volume import Volume
from xrcore.errors import XrcoreError
from xrcore.geometry import Pose
from xrcore.refinement.multistart import Found, SearchBox, search_down
from xrcore.refinement.refine import refine
from xrcore.refinement.result import Registration
from xrcore.refinement.search import LIMIT, SMALL
from xrcore.refinement.settings import PYRAMID, Settings, settings_for
from xrcore.refinement.similarities import similarity as named_similarity
from xrcore.refinement.verify import gather_evidence, objections
from xrcore.threads import for_rendering
from xrcore.xray.image import Xray

# How much wider, and with how many candidates, to search again while the answer is not trusted.
_RETRIES = ((1.0, 384), (1.6, 1024))
_COARSE = Settings(levels=PYRAMID[:2])


def register(
    xray: Xray,
    volume: Volume,
    initial: Pose | None = None,
    method: str | Settings = "gauss-newton",
    *,
    similarity: Any = None,
    beam: Beam | None = None,
    search: SearchBox | None = None,
    retries: int = len(_RETRIES),
    progress: Callable[[str], None] | None = None,
) -> Registration:
    """Find the pose of an X-ray in a CT's space, and say whether to trust it.

    initial: where to start; default the pose in the X-ray's file, or else the zero pose (AP).
    method: a preset ("gauss-newton", "paper-as-intended", "paper-as-released", "adam", "lbfgs", "cma-es", "powell") or Settings.
    similarity: replaces the method's own. beam: the one assumed; default 90 kV.
    search: the box of starts judged about `initial`; default the paper's ranges. retries: wider searches while in doubt.
    progress: called with a line of text as stages begin.

    "gauss-newton" searches the box and descends coarse to fine. The other methods refine from `initial` alone, as their
    authors do; if that answer is not trusted, a coarse search gives them another start.
    The answer is verified on a fixed level against what the X-ray's noise leaves attainable, and on halves of the image (see
    `refinement.verify`); `trusted` is the verdict and `reasons` what speaks against it.
    Raises XrcoreError for bad input: a CT outside the view, an unknown method, a similarity the method cannot use.
    """
    began = time.perf_counter()
    say = progress or (lambda _: None)
    beam = Beam() if beam is None else beam
    settings = settings_for(method)
    if similarity is not None:
        settings = replace(settings, similarity=similarity)
    start = _start(initial, xray)
    box = SearchBox() if search is None else search
    boxes = [box, *(box.widened(factor, max(candidates, box.candidates)) for factor, candidates in _RETRIES[:retries])]

    stages = {"search and refine": 0.0, "verify": 0.0}
    best: Registration | None = None
    evaluations = 0
    with torch.no_grad(), for_rendering():
        for attempt, where in enumerate(boxes):
            tick = time.perf_counter()
            say("searching" if attempt == 0 else f"not sure yet: searching {where.candidates} starts")
            result = _attempt(xray, volume, start, where, settings, beam, alone=attempt == 0)
            evaluations += result.evaluations
            tock = time.perf_counter()
            seen = xray.negative() if result.inverted else xray
            say("verifying")
            evidence = gather_evidence(seen, volume, result.pose, beam)
            stages["search and refine"] += tock - tick
            stages["verify"] += time.perf_counter() - tock
            reasons = objections(evidence)
            result = replace(result, trusted=not reasons, reasons=reasons, evidence=evidence)
            if best is None or best.evidence is None or result.trusted or evidence.local > best.evidence.local:
                best = result
            if best.trusted:
                break
    assert best is not None
    notes = xray.notes + (("the X-ray was inverted (bone dark) and was turned over",) if best.inverted else ())
    return replace(
        best, initial=start, seconds=time.perf_counter() - began, evaluations=evaluations, notes=notes, stages=stages, attempts=attempt + 1
    )


def _start(initial: Pose | None, xray: Xray) -> Pose:
    start = initial if initial is not None else xray.pose if xray.pose is not None else Pose.zero()
    if len(start) != 1:
        raise XrcoreError(f"register: expected one initial pose, got a batch of {len(start)}")
    return Pose(start.numbers.detach().double())


def _attempt(xray: Xray, volume: Volume, start: Pose, box: SearchBox, settings: Settings, beam: Beam, *, alone: bool) -> Registration:
    if settings.method == "gauss-newton":
        return _as_registration(search_down(xray, volume, start, box, settings, beam), settings, start)
    if alone:
        return refine(xray, volume, start, settings, beam)
    found = search_down(xray, volume, start, box, _COARSE, beam)
    seen = xray.negative() if found.inverted else xray
    result = refine(seen, volume, found.pose, settings, beam)
    return replace(result, evaluations=result.evaluations + found.evaluations, inverted=found.inverted)


def _as_registration(found: Found, settings: Settings, start: Pose) -> Registration:
    return Registration(
        pose=found.pose,
        similarity=found.similarity,
        covariance=found.covariance,
        stop_reason=SMALL if found.converged else LIMIT,
        seconds=0.0,
        initial=start,
        method=settings.method,
        similarity_name=named_similarity(settings.similarity_at(settings.levels[-1])).name,
        evaluations=found.evaluations,
        history=found.history,
        inverted=found.inverted,
    )
