"""The training loop: from a CT and a C-arm to a model that predicts the pose of an X-ray."""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from xrcore._util.atomic import check_writable
from xrcore._util.device_memory import Portions
from xrcore._util.devices import on
from xrcore._util.errors import XrcoreError, require
from xrcore._util.kept_memory import keep_freed_memory
from xrcore._util.logs import logger
from xrcore._util.machine import describe_machine
from xrcore._util.out_of_memory import memory_advice
from xrcore.ct.volume import Volume
from xrcore.geometry import CArm, require_pinhole
from xrcore.learning.methods import Method, method_named
from xrcore.learning.models.identity import CtIdentity
from xrcore.learning.models.regressor import PoseRegressor, to_half
from xrcore.learning.models.tensors import load_tensors
from xrcore.learning.settings import TrainingSettings
from xrcore.learning.training import checkpoint
from xrcore.learning.training.batch_statistics import BatchStatistics
from xrcore.learning.training.checkpoint import State
from xrcore.learning.training.cohort import stream_of
from xrcore.learning.training.distributed import Team, team
from xrcore.learning.training.evaluation import Errors, Evaluator
from xrcore.learning.training.folder_lock import locked
from xrcore.learning.training.log import CSV, Log
from xrcore.learning.training.optimisation import average, half_precision, optimiser_for
from xrcore.learning.training.patient_check import check_patient
from xrcore.learning.training.prefetch import Batches
from xrcore.learning.training.schedule import Schedule
from xrcore.learning.training.stream import VALIDATION, DrrStream
from xrcore.renderer import place

FILES = ("model.json", "checkpoint.json", CSV)  # beside the tensors that the first two name
_LOG_EVERY = 25  # steps


@dataclass(frozen=True)
class TrainingStep:
    """A completed step of a training.

    Parameters
    ----------
    number : int
        Steps done, this one included.
    images : int
        Seen so far.
    network : nn.Module
        As it is now, with the gradients of this step.
    loss : float
        Of its batch.
    parts : dict[str, float]
        Of the loss, by name.
    portions : int
        In how many a GPU's memory held the batch.
    validation : Errors, optional
        On the validation set, where this step was followed by a validation.
    training : Errors, optional
        On DRRs of the stage's set, likewise, where the network sees them more than once.
    """

    number: int
    images: int
    network: nn.Module
    loss: float
    parts: dict[str, float]
    portions: int = 1
    validation: Errors | None = None
    training: Errors | None = None


@memory_advice("train", "a smaller batch, fewer pixels or a larger spacing need less")
def train(
    volume: Volume,
    carm: CArm,
    config: TrainingSettings | None = None,
    *,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    start: PoseRegressor | None = None,
    device: str | torch.device = "auto",
    progress: bool = False,
) -> PoseRegressor:
    """Train a model for one patient and one C-arm on DRRs rendered on the fly.

    A batch that a GPU's memory cannot hold is cut in portions with batch statistics of their own, which is said. Under torchrun the
    processes share each batch; there memory must suffice. On a CPU the process keeps the memory that a training needed, see
    `keep_freed_memory`.

    Parameters
    ----------
    volume : Volume
        The patient's CT.
    carm : CArm
        The geometry, of any number of pixels.
    config : TrainingSettings, optional
        Default the laptop's profile.
    out : str or PathLike, optional
        Folder for model, checkpoints and log; without it nothing is written.
    resume : bool
        Go on from `out`'s checkpoint, if there is one, to the same result as without the interruption (on the same processor, with
        the same number of threads; a GPU does not repeat itself to the bit); where the training was already finished, its model is
        returned.
    start : PoseRegressor, optional
        A model of the same architecture, but for the normalisation, whose weights to begin with, of this patient or another:
        fine-tuning needs a fraction of the images.
    device : str or torch.device
        Where to render and learn: "cpu", "cuda", or "auto", a GPU where there is one.
    progress : bool
        Show a progress bar on stderr.

    Returns
    -------
    PoseRegressor
        The trained model, as it was written to `out`.

    Raises
    ------
    XrcoreError
        For a CT that is not suitable, a checkpoint of another training, a folder that another training is writing to, a loss that is no
        longer finite, a full disk.

    References
    ----------
    Zhang et al., *A Patient-Specific Self-supervised Model for Automatic X-Ray/CT Registration*, MICCAI 2023, sections 2.2 and 2.3.

    Examples
    --------
    >>> import xrcore as xr
    >>> volume = xr.phantom.pelvis(spacing=8.0)
    >>> carm = xr.CArm(source_to_detector=1259.65, source_to_isocenter=742.5, shape=(64, 64), pixel_spacing=6.75)
    >>> settings = xr.TrainingSettings(images=32, validation=4, spacing=8.0).changed(pixels=64)
    >>> xr.train(volume, carm, settings)  # which teaches it nothing yet
    PoseRegressor(psss, 64 x 64 pixels, 32 images seen)
    """
    settings = TrainingSettings() if config is None else config
    require("train", "volume", volume, isinstance(volume, Volume), "a Volume, such as read_ct gives")
    check_arguments("train", carm, settings, out, start)
    folder = None if out is None else Path(out)
    where = place(volume, device, "training", spacing=settings.spacing).device
    return finished(training_steps(volume, carm, settings, folder=folder, resume=resume, start=start, device=where, progress=progress))


def check_arguments(caller: str, carm: object, settings: object, out: object, start: object) -> None:
    """Raise XrcoreError, naming the caller and the argument, unless all are of their kinds."""
    require(caller, "carm", carm, isinstance(carm, CArm), "a CArm")
    assert isinstance(carm, CArm)
    require_pinhole(caller, carm)
    require(caller, "config", settings, isinstance(settings, TrainingSettings), "TrainingSettings")
    require(caller, "out", out, out is None or isinstance(out, (str, os.PathLike)), "a path")
    require(caller, "start", start, start is None or isinstance(start, PoseRegressor), "a PoseRegressor")


def finished(steps: Generator[TrainingStep, None, PoseRegressor]) -> PoseRegressor:
    """Train to the end.

    Parameters
    ----------
    steps : Generator
        Of `training_steps`.

    Returns
    -------
    PoseRegressor
        What they return.
    """
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def training_steps(
    volume: Volume | Sequence[Volume],
    carm: CArm,
    settings: TrainingSettings,
    *,
    folder: Path | None = None,
    resume: bool = False,
    start: PoseRegressor | None = None,
    device: torch.device = torch.device("cpu"),  # noqa: B008
    progress: bool = False,
) -> Generator[TrainingStep, None, PoseRegressor]:
    """Train as `train` does, step by step: yields after each step and returns the model.

    A training that is left before its end can be gone on with from its last checkpoint; one that was finished has no steps left. While it
    runs, torch's random numbers are its own, and so is the folder.

    Parameters
    ----------
    volume : Volume or Sequence[Volume]
        The patient's CT; those of several for a start model, whose validation measures at the landmarks of the first.
    carm : CArm
        The geometry, of any number of pixels.
    settings : TrainingSettings
        Of the training.
    folder : Path, optional
        For model, checkpoints and log; without it nothing is written.
    resume : bool
        Go on from the folder's checkpoint, if there is one.
    start : PoseRegressor, optional
        A model whose weights to begin with.
    device : torch.device
        Where to render and learn.
    progress : bool
        Show a progress bar on stderr.

    Yields
    ------
    TrainingStep
        Each step, just done.

    Returns
    -------
    PoseRegressor
        The trained model.

    Raises
    ------
    XrcoreError
        As `train`.
    """
    volumes = [volume] if isinstance(volume, Volume) else list(volume)
    ct = CtIdentity.of_all(volumes)
    if folder is not None:
        check_writable(folder, *FILES)
    random_numbers = torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])
    with on(device), random_numbers, team(device) as crew, locked(folder if crew.is_main else None):
        if folder is not None and (done := _kept(folder, settings, carm, ct, resume)) is not None:
            return done
        if device.type == "cpu":
            keep_freed_memory()
        # the training images
        size = settings.batch
        if crew.is_main and settings.images % size:
            whole = f"{settings.steps} steps of {size} images"
            logger.info(f"the training budget of {settings.images} images is rounded to {settings.steps * size}: {whole}")
        require("train", "batch", size, size % crew.size == 0, f"a multiple of the {crew.size} processes")
        method = method_named(settings.method)(settings)
        method.check_size()
        coarse = settings.coarse_pixels
        require("train", "coarse_pixels", coarse, coarse is None or method.any_size, f"None for the method {settings.method}")
        for_all = len(volumes) == 1 or not method.of_patient
        require("train", "method", settings.method, for_all, "one whose network is not made for one patient's landmarks")
        schedule, there = Schedule(settings), [one.to(device) for one in volumes]
        for one in there:
            check_patient(one, DrrStream(one, carm, settings, purpose=VALIDATION))
        ahead = "queue" if device.type == "cuda" else "thread" if settings.prefetch else ""
        batches = Batches(there, carm, settings, schedule, crew, ahead=ahead)
        stream = batches.streams[settings.architecture.pixels]
        # while the images are small, so are those of the validation
        unseen = {side: stream_of(there, carm, settings, purpose=VALIDATION, pixels=side) for side in batches.streams}
        evaluator = Evaluator(method, volumes[0], carm, device)
        statistics = BatchStatistics(evaluator, batches.streams)
        drawn = [(0, i) for i in range(settings.validation)]
        validation = {side: evaluator.rendered(of, drawn) if crew.is_main else [] for side, of in unseen.items()}

        # what learns
        torch.manual_seed(settings.seed)
        network = method.network().to(device)
        averaged = copy.deepcopy(network).eval().requires_grad_(False) if settings.ema else network
        state = State(network, averaged, optimiser_for(network, settings))
        _begin(state, method, stream, resume=resume, start=start, folder=folder, carm=carm, ct=ct, crew=crew)
        shared = crew.share(network, device)
        portions = Portions("training", least=2)  # of one image there are no batch statistics

        began, before = time.perf_counter(), state.seconds
        log = Log(folder if crew.is_main else None, settings.steps * size, bar=progress and crew.is_main, done=state.step * size)
        shown: dict[str, float] = {}
        try:
            for step in range(state.step, settings.steps):
                method.between(step, network, averaged, stream)

                # forward and backward
                parts = _gradients(step, method, shared, state, batches, portions, crew, device)
                loss = parts.pop("loss")
                norm = float(torch.nn.utils.clip_grad_norm_(network.parameters(), settings.clip))
                if not (math.isfinite(loss) and math.isfinite(norm)):
                    what = f"the loss became {loss}" if not math.isfinite(loss) else "the gradient is no longer finite"
                    raise XrcoreError(_stopped(what, step, settings, folder))

                # the optimiser's step
                for group in state.optimiser.param_groups:
                    group["lr"] = schedule.learning_rate(step)
                state.optimiser.step()
                if settings.ema:
                    # early on the average is short, so that it does not remember the first weights
                    average(network, averaged, min(settings.ema, (1 + step) / (10 + step)))
                state.step, state.seconds = step + 1, before + time.perf_counter() - began
                for name, value in {"loss": loss, **parts}.items():
                    state.sums[name] = state.sums.get(name, 0.0) + value
                state.summed += 1

                # validation, at the end of a stage too
                last = state.step == settings.steps
                measured: Errors | None = None
                on_train: Errors | None = None
                side = schedule.pixels(step)
                validates = _due(state.step, settings.validate_every, size) or state.step == schedule.stage(step).last
                if validates:
                    statistics.measure(averaged, side)
                if validates and crew.is_main:
                    measured = evaluator.errors(averaged, validation[side])
                    if samples := schedule.seen(step, settings.validation):
                        on_train = evaluator.errors(averaged, evaluator.rendered(batches.streams[side], samples))
                    shown = {"mTRE": measured.mtre}

                # log and checkpoint
                if crew.is_main and (state.step % _LOG_EVERY == 0 or measured is not None):
                    # not always _LOG_EVERY steps: a validation has a row of its own
                    means = {name: value / state.summed for name, value in state.sums.items()}
                    share = batches.rendering.seconds / max(state.seconds - before, 1e-9)
                    with checkpoint.tell_what_is_kept(folder):
                        log.row(_row(state, size, schedule.learning_rate(step), share, means, measured, on_train))
                    state.sums, state.summed = {}, 0
                log.advance(size, loss=loss, **shown)
                if crew.is_main and folder is not None and _due(state.step, settings.checkpoint_every, size) and not last:
                    with checkpoint.tell_what_is_kept(folder):
                        checkpoint.write_checkpoint(folder, state, settings, carm, ct)
                yield TrainingStep(state.step, state.step * size, network, loss, parts, portions.pieces(batches.size), measured, on_train)
        finally:
            log.close()
            batches.close()

        # the model, as it will read back, so that what is validated and returned is what is kept
        method.finish(averaged, unseen[settings.architecture.pixels])
        kept = copy.deepcopy(averaged).eval()
        kept.load_state_dict({k: to_half(v).to(v.dtype) for k, v in kept.state_dict().items()})
        training: dict[str, Any] = {}
        if crew.is_main:
            final = evaluator.errors(kept, validation[settings.architecture.pixels])
            training = {
                "images": state.step * size,
                "seconds": round(state.seconds, 1),
                "start": state.origin,
                "processes": crew.size,
                "machine": describe_machine(),
                "validation": {"images": settings.validation}
                | {k: _rounded(v) for k, v in asdict(final).items() if k in ("mtre", "median", "success")},
                "spread": list(final.spread),
            }
        model = PoseRegressor(kept, settings, carm, ct, training)
        if folder is not None and crew.is_main:
            with checkpoint.tell_what_is_kept(folder):
                model.save(folder)
            checkpoint.remove(folder)
        crew.wait()
        return model


def _gradients(
    step: int, method: Method, shared: nn.Module, state: State, batches: Batches, portions: Portions, crew: Team, device: torch.device
) -> dict[str, float]:
    """Add up the gradients of a step's batch, in portions where memory does not hold it; returns loss and parts."""
    settings = method.settings
    half = half_precision(settings.precision, device)
    state.network.train()

    def begin() -> None:
        # dropout and the like depend on the step alone, so that a resumed training draws the same
        torch.manual_seed(settings.seed * 1_000_003 + step * crew.size + crew.rank)
        state.optimiser.zero_grad()

    def learn(part: slice) -> dict[str, float]:
        share = (part.stop - part.start) / batches.size
        batch = batches.get(step, part)
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            loss, parts = method.loss(shared, batch.to(device), step / settings.steps)
        batches.draw_next(step, part)
        (loss * share).backward()
        batches.render_next()
        return {name: share * float(v) for name, v in ({"loss": loss.detach()} | parts).items()}

    if crew.size == 1:
        pieces = portions.run(batches.size, learn, begin)
    else:  # the others wait for this one's gradients, so that it cannot begin again
        begin()
        pieces = [learn(slice(0, batches.size))]
    return {name: sum(part[name] for part in pieces) for name in pieces[0]}


def _begin(
    state: State,
    method: Method,
    stream: DrrStream,
    *,
    resume: bool,
    start: PoseRegressor | None,
    folder: Path | None,
    carm: CArm,
    ct: CtIdentity,
    crew: Team,
) -> None:
    """Start from a checkpoint, from another model's weights, or from the method's own preparation."""
    there = folder is not None and checkpoint.exists(folder)
    if there and not resume and crew.is_main:
        raise XrcoreError(f"{folder}: holds the checkpoint of a training; go on with --resume, or choose another folder")
    if there and resume:
        assert folder is not None
        checkpoint.read_checkpoint(folder, state, method.settings, carm, ct)
    else:
        if start is not None:
            state.origin = _copy_weights(start, state.network, method.settings, ct)
        # after the weights, because what a method prepares belongs to this patient
        method.prepare(state.network, stream)
        if state.averaged is not state.network:
            state.averaged.load_state_dict(state.network.state_dict())
    crew.wait()


def _copy_weights(start: PoseRegressor, network: nn.Module, settings: TrainingSettings, ct: CtIdentity) -> dict[str, Any]:
    """Copy a model's weights; returns the record of it for the new model."""
    if difference := misfit(start, settings):
        raise XrcoreError(f"train: the model to start from has {difference}; they must be the same")
    measured = method_named(settings.method)(settings).measured
    theirs = {name: value for name, value in start.network.state_dict().items() if name not in measured}
    own = {name: value for name, value in network.state_dict().items() if name in measured}
    load_tensors(network, own | theirs, "the model to start from")
    images = start.training.get("images", 0) + start.training.get("start", {}).get("images", 0)
    return {"images": images, "patients": start.ct.patients, "same_patient": start.ct.differs(ct) is None}


def misfit(start: PoseRegressor, settings: TrainingSettings) -> str | None:
    """Describe why a training cannot begin with a model's weights.

    Parameters
    ----------
    start : PoseRegressor
        The model.
    settings : TrainingSettings
        Of the training.

    Returns
    -------
    str or None
        What of method and architecture differs; None where nothing does but the input's normalisation, which the same weights adapt to.
    """
    mine, theirs = ({"method": s.method, **asdict(s.architecture)} for s in (settings, start.settings))
    differing = [name for name in mine if mine[name] != theirs[name] and name != "normalisation"]
    them, here = (", ".join(f"{name}={values[name]!r}" for name in differing) for values in (theirs, mine))
    return f"{them}, this training {here}" if differing else None


def _kept(folder: Path, settings: TrainingSettings, carm: CArm, ct: CtIdentity, resume: bool) -> PoseRegressor | None:
    """The model in `folder` if it is of this training; raises XrcoreError rather than overwrite another model."""
    if not PoseRegressor.exists(folder):
        return None
    if not resume:
        raise XrcoreError(f"{folder}: holds a trained model; choose another folder, or --resume to keep it")
    model = PoseRegressor.load(folder)
    found = checkpoint.difference(model.settings, settings) or checkpoint.carm_difference(model.carm, carm) or model.ct.differs(ct)
    if found:
        raise XrcoreError(f"{folder}: holds a model of another training: {found}; choose another folder")
    checkpoint.remove(folder)  # which a kill after the model was written left
    return model


def _due(step: int, every: int, batch: int) -> bool:
    """Whether a step passed a multiple of `every` images."""
    return step * batch // every != (step - 1) * batch // every


def _row(
    state: State, batch: int, rate: float, share: float, means: dict[str, float], measured: Errors | None, on_train: Errors | None
) -> dict[str, Any]:
    row = {
        "images": state.step * batch,
        "seconds": state.seconds,
        "rendering_share": share,
        "learning_rate": rate,
        "loss": means["loss"],
        "parts": {k: v for k, v in means.items() if k != "loss"},
    }
    for name, errors in (("validation", measured), ("training", on_train)):
        if errors is not None:
            row |= {f"{name}_mtre_mm": errors.mtre, f"{name}_success": errors.success}
    return row


def _stopped(what: str, step: int, settings: TrainingSettings, folder: Path | None) -> str:
    kept = "nothing was kept"
    if folder is not None and checkpoint.exists(folder):
        kept = f"the checkpoint in {folder} is from before"
    rate = settings.learning_rate
    return f"train: {what} at image {step * settings.batch}; {kept}. Begin in another folder with a learning_rate below {rate:g}"


def _rounded(value: float) -> float | None:
    return round(value, 3) if math.isfinite(value) else None
