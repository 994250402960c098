"""register: where was this X-ray taken from?  Start -> search and refine -> verify -> search wider when in doubt."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

import torch

from xrcore._util.errors import XrcoreError
from xrcore._util.threads import single_torch_thread
from xrcore.beam import Beam
from xrcore.ct.volume import Volume
from xrcore.geometry import CArm, Pose
from xrcore.registration.refinement import refine
from xrcore.registration.result import Registration, Watch
from xrcore.registration.search import Found, SearchBox, search_down
from xrcore.registration.settings import PYRAMID, Settings, settings_for
from xrcore.registration.similarities import similarity as named_similarity
from xrcore.registration.solvers.progress import LIMIT, SMALL
from xrcore.registration.verify import gather_evidence, objections
from xrcore.renderer import place
from xrcore.xray.image import Xray

# How much wider, and with how many candidates, to search again while the answer is not trusted.
_RETRIES = ((1.0, 384), (1.6, 1024))
_COARSE = Settings(levels=PYRAMID[:2])
# The first box about a prediction: this many times its 95th percentiles, at least these half-widths [deg, mm]; fewest and most candidates.
_DOUBT, _LEAST, _NEAR = 1.5, (1.0, 1.0, 1.0, 2.0, 2.0, 4.0), (32, 384)

_BEYOND = 1.25  # times the ranges a model was trained for: as far as its predictions are followed


class Predictor(Protocol):
    """What `register` asks of a model; `xrcore.PoseRegressor` is one.

    spread: 95th percentiles of the errors of its six numbers [deg, mm], or None if unknown. ranges: half-widths it was trained for.
    """

    @property
    def spread(self) -> tuple[float, ...] | None: ...

    @property
    def ranges(self) -> tuple[float, ...]: ...

    def check(self, carm: CArm | None = None, volume: Volume | None = None) -> None:
        """Raise XrcoreError if the model was made for another geometry or CT."""
        ...

    def predict(self, xray: Xray) -> Pose:
        """The pose of an X-ray, one."""
        ...


def register(
    xray: Xray,
    volume: Volume,
    initial: Pose | Predictor | None = None,
    method: str | Settings = "gauss-newton",
    *,
    similarity: Any = None,
    beam: Beam | None = None,
    search: SearchBox | None = None,
    retries: int = len(_RETRIES),
    progress: Callable[[str], None] | None = None,
    watch: Watch | None = None,
    device: str | torch.device | None = None,
) -> Registration:
    """Find the pose of an X-ray in a CT's space, and say whether to trust it.

    initial: where to start: a pose, or a model, whose prediction it is; default the pose in the X-ray's file, or else the zero pose (AP).
    method: a preset ("gauss-newton", "paper-as-intended", "paper-as-released", "grimm", "adam", "lbfgs", "cma-es", "powell") or
        Settings.
    similarity: replaces the method's own. beam: the one assumed; default 90 kV.
    search: the box of starts judged about `initial`; default the paper's ranges, or as far about a prediction as the model
        errs. retries: wider searches while in doubt.
    progress: called with a line of text as stages begin. watch: called with the best `Step` of its level so far, after each iteration; what
        it raises ends the registration. `seconds` do not count what it took.
    device: where to render and refine: "cpu", "cuda", or "auto", a GPU where there is one, which is then said on stderr; default where
        the volume is. The first registration on a GPU copies the volume there, and it stays with the volume.

    "gauss-newton" searches the box and descends coarse to fine. The other methods refine from `initial` alone, as their
    authors do; if that answer is not trusted, a coarse search gives them another start. A model's last retry covers all it was trained for.
    The answer is verified on a fixed level against what the X-ray's noise leaves attainable, and on halves of the image (see
    `refinement.verify`); `trusted` is the verdict and `reasons` what speaks against it.
    Raises XrcoreError for bad input: a CT outside the view, an unknown method, a similarity the method cannot use, a model of another CT
    or geometry.
    """
    clock = _Clock()
    began = clock()
    see = None if watch is None else clock.stopped_during(watch)
    say = (lambda _: None) if progress is None else clock.stopped_during(progress)
    beam = Beam() if beam is None else beam
    settings = settings_for(method)
    if device is not None:
        volume = place(volume, device, "registering", spacing=settings.levels[-1].spacing)
    if similarity is not None:
        settings = replace(settings, similarity=similarity)
    stages: dict[str, float] = {}
    if initial is None or isinstance(initial, Pose):
        start = _start(initial, xray)
        plans = _plans(start, SearchBox() if search is None else search)
    else:
        say("predicting")
        initial.check(xray.carm, volume)
        start = _start(_within(initial.predict(xray), initial.ranges), xray)
        plans = _plans_about_prediction(start, initial, search)
        stages["predict"] = clock() - began
    stages |= {"search and refine": 0.0, "verify": 0.0}
    best: Registration | None = None
    evaluations = 0
    with torch.no_grad(), single_torch_thread():
        for attempt, (center, where) in enumerate(plans[: retries + 1]):
            tick = clock()
            say("searching" if attempt == 0 else f"not sure yet: searching {where.candidates} starts")
            result = _attempt(xray, volume, center, where, settings, beam, see, alone=attempt == 0)
            evaluations += result.evaluations
            tock = clock()
            seen = xray.negative() if result.inverted else xray
            say("verifying")
            evidence = gather_evidence(seen, volume, result.pose, beam)
            stages["search and refine"] += tock - tick
            stages["verify"] += clock() - tock
            reasons = objections(evidence)
            result = replace(result, trusted=not reasons, reasons=reasons, evidence=evidence)
            if best is None or best.evidence is None or result.trusted or evidence.local > best.evidence.local:
                best = result
            if best.trusted:
                break
    assert best is not None
    notes = xray.notes + (("the X-ray was inverted (bone dark) and was turned over",) if best.inverted else ())
    return replace(
        best,
        initial=start,
        seconds=clock() - began,
        evaluations=evaluations,
        notes=notes,
        stages=stages,
        attempts=attempt + 1,
        device=str(volume.device),
    )


def _within(pose: Pose, ranges: tuple[float, ...]) -> Pose:
    """A prediction far outside what the model was trained for means nothing, and may not show the CT at all."""
    limits = _BEYOND * torch.tensor(ranges, dtype=torch.float64)
    return Pose(pose.numbers.double().clamp(-limits, limits))


def _plans(start: Pose, box: SearchBox) -> list[tuple[Pose, SearchBox]]:
    """Where to search, first to last."""
    return [(start, box), *((start, box.widened(factor, max(candidates, box.candidates))) for factor, candidates in _RETRIES)]


def _plans_about_prediction(start: Pose, model: Predictor, search: SearchBox | None) -> list[tuple[Pose, SearchBox]]:
    """Close by, as far as the model errs; then the default box; then everywhere the model was trained for."""
    (_, default), (_, denser), *_ = _plans(start, SearchBox())
    near = default if search is None else search
    if search is None and (spread := model.spread) is not None:
        reach = [max(_DOUBT * s, least) for s, least in zip(spread, _LEAST, strict=True)]
        share = math.prod(r / d for r, d in zip(reach, (*default.rotation, *default.translation), strict=True))
        candidates = min(max(round(default.candidates * share**0.5), _NEAR[0]), _NEAR[1])
        near = SearchBox(rotation=tuple(reach[:3]), translation=tuple(reach[3:]), candidates=candidates)  # type: ignore[arg-type]
    ranges = tuple(max(r, d) for r, d in zip(model.ranges, (*default.rotation, *default.translation), strict=True))
    everywhere = SearchBox(rotation=ranges[:3], translation=ranges[3:], candidates=_RETRIES[-1][1], seed=2)  # type: ignore[arg-type]
    return [(start, near), (start, denser), (Pose.zero(), everywhere)]


def _start(initial: Pose | None, xray: Xray) -> Pose:
    start = initial if initial is not None else xray.pose if xray.pose is not None else Pose.zero()
    if len(start) != 1:
        raise XrcoreError(f"register: expected one initial pose, got a batch of {len(start)}")
    return Pose(start.numbers.detach().double())


class _Clock:
    """Seconds of work, not of those who watch it."""

    def __init__(self) -> None:
        self._elsewhere = 0.0

    def __call__(self) -> float:
        return time.perf_counter() - self._elsewhere

    def stopped_during(self, listener: Callable[[Any], None]) -> Callable[[Any], None]:
        def told(news: Any) -> None:
            began = time.perf_counter()
            listener(news)
            self._elsewhere += time.perf_counter() - began

        return told


def _attempt(
    xray: Xray, volume: Volume, start: Pose, box: SearchBox, settings: Settings, beam: Beam, watch: Watch | None, *, alone: bool
) -> Registration:
    if settings.method == "gauss-newton":
        return _as_registration(search_down(xray, volume, start, box, settings, beam, watch), settings, start)
    if alone:
        return refine(xray, volume, start, settings, beam, watch=watch)
    found = search_down(xray, volume, start, box, _COARSE, beam, watch)
    seen = xray.negative() if found.inverted else xray
    result = refine(seen, volume, found.pose, settings, beam, watch=watch)
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
