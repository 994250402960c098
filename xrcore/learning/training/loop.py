"""train: from a CT and a C-arm to a model that predicts the pose of an X-ray it has never seen."""

from __future__ import annotations

import copy
import math
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from xrcore._util.atomic import check_writable
from xrcore._util.device_memory import Portions
from xrcore._util.devices import on
from xrcore._util.errors import XrcoreError
from xrcore._util.machine import describe_machine
from xrcore._util.stopwatch import Stopwatch
from xrcore._util.threads import single_torch_thread
from xrcore.ct.volume import Volume
from xrcore.geometry import CArm, Pose
from xrcore.learning.methods import Method, method_named
from xrcore.learning.models.identity import CtIdentity
from xrcore.learning.models.regressor import PoseRegressor, halved
from xrcore.learning.models.tensors import fill
from xrcore.learning.training import checkpoint
from xrcore.learning.training.checkpoint import State
from xrcore.learning.training.checks import check_patient
from xrcore.learning.training.distributed import Team, team
from xrcore.learning.training.log import Log
from xrcore.learning.training.optimisation import average, half_precision, optimiser_for
from xrcore.learning.training.schedule import Schedule
from xrcore.learning.training.settings import TrainingSettings
from xrcore.learning.training.stream import VALIDATION, Batch, Drawn, DrrStream
from xrcore.metrics import mtre, pose_error, success_rate
from xrcore.renderer import place

_LOG_EVERY = 25  # steps
_CHUNK = 64  # images predicted at once


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

    config: default the laptop's profile. out: folder for model, checkpoints and log; without it nothing is written.
    resume: go on from `out`'s checkpoint, if there is one, to the same result as without the interruption (on the same processor, with
    the same number of threads; a GPU does not repeat itself to the bit); where the training was already finished, its model is returned.
    start: a model of the same architecture whose weights to begin with, of this patient or another: fine-tuning needs a fraction of
    the images. device: where to render and learn, "cpu", "cuda", or "auto", a GPU where there is one, which is then said on stderr. A
    batch that its memory cannot hold is cut in portions with batch statistics of their own, which is said too. Under torchrun the
    processes share each batch; there memory must suffice.
    Raises XrcoreError for a CT that cannot be learnt from, a checkpoint of another training, a loss that is no longer finite, a full disk.
    Source: Zhang et al., MICCAI 2023, sections 2.2 and 2.3.
    """
    settings = TrainingSettings() if config is None else config
    folder = None if out is None else Path(out)
    if folder is not None:
        check_writable(folder)
    where = place(volume, device, "training", spacing=settings.spacing).device
    if folder is not None and (finished := _finished(folder, settings, carm, volume, resume)) is not None:
        return finished
    with on(where), torch.random.fork_rng(devices=[where] if where.type == "cuda" else []), team(where) as crew:
        return _Trainer(volume, carm, settings, folder, where, crew, bar=progress and crew.leads).run(resume, start)


def _finished(folder: Path, settings: TrainingSettings, carm: CArm, volume: Volume, resume: bool) -> PoseRegressor | None:
    """The model in `folder` if this very training made it; raises XrcoreError rather than write over a model."""
    if checkpoint.exists(folder) or not PoseRegressor.exists(folder):
        return None
    if not resume:
        raise XrcoreError(f"{folder}: holds a trained model; choose another folder, or --resume to keep it")
    model = PoseRegressor.load(folder)
    if model.settings != settings or model.carm != carm or model.ct.differs(CtIdentity.of(volume)):
        raise XrcoreError(f"{folder}: holds a model trained with other settings, geometry or CT; choose another folder")
    return model


class _Trainer:
    def __init__(
        self, volume: Volume, carm: CArm, settings: TrainingSettings, folder: Path | None, device: torch.device, crew: Team, *, bar: bool
    ) -> None:
        if settings.batch % crew.size:
            raise XrcoreError(f"train: batch ({settings.batch}) must be a multiple of the {crew.size} processes")
        self.settings, self.carm, self.folder, self.device, self.crew, self.bar = settings, carm, folder, device, crew, bar
        self.ct = CtIdentity.of(volume)
        self.isocenter = volume.isocenter
        self.method: Method = method_named(settings.method)(settings)
        self.schedule = Schedule(settings)
        there = volume.to(device)
        self.stream = DrrStream(there, carm, settings)
        self.unseen = DrrStream(there, carm, settings, purpose=VALIDATION)
        check_patient(volume, self.unseen)
        self.landmarks = volume.surface_points()
        self.portions = Portions("training", least=2)  # of one image there are no batch statistics
        self.validation = self._validation_set() if crew.leads else []
        self.rendering = Stopwatch(device)
        self._ahead: tuple[int, Batch] | None = None
        self._drawer = ThreadPoolExecutor(1)  # starts no thread before it is asked for

    def run(self, resume: bool, start: PoseRegressor | None) -> PoseRegressor:
        state = self._start(resume, start)
        shared = self.crew.share(state.network, self.device)
        settings = self.settings
        log = Log(self.folder if self.crew.leads else None, settings.steps * settings.batch, bar=self.bar, done=state.step * settings.batch)
        began, before = time.perf_counter(), state.seconds
        sums: dict[str, float] = {}
        summed = 0
        measured: dict[str, Any] = {}
        try:
            for step in range(state.step, settings.steps):
                self.method.between(step, state.network, state.averaged, self.stream)
                loss, parts = self._step(shared, state, step)
                state.step, state.seconds = step + 1, before + time.perf_counter() - began
                for name, value in ({"loss": loss} | parts).items():
                    sums[name] = sums.get(name, 0.0) + value
                summed += 1
                images = state.step * settings.batch
                last = state.step == settings.steps
                due = {
                    every: images // every != (images - settings.batch) // every
                    for every in (settings.validate_every, settings.checkpoint_every)
                }
                validates = due[settings.validate_every] or last
                if self.crew.leads and validates:
                    measured = self._validate(state.averaged)
                if self.crew.leads and (state.step % _LOG_EVERY == 0 or validates):
                    # not always _LOG_EVERY steps: a validation has a row of its own, and a resumed training starts between two
                    log.row(self._row(state, before, {k: v / summed for k, v in sums.items()}, measured))
                    sums, summed = {}, 0
                log.advance(settings.batch, loss=loss, **{"mTRE": measured["mtre"]} if measured else {})
                if self.crew.leads and self.folder is not None and due[settings.checkpoint_every] and not last:
                    checkpoint.write_checkpoint(self.folder, state, settings, self.carm, self.ct)
        finally:
            log.close()
        return self._finish(state)

    def _start(self, resume: bool, start: PoseRegressor | None) -> State:
        settings = self.settings
        torch.manual_seed(settings.seed)
        network = self.method.network().to(self.device)
        averaged = copy.deepcopy(network).eval().requires_grad_(False) if settings.ema else network
        state = State(network, averaged, optimiser_for(network, settings))
        if resume and self.folder is not None and checkpoint.exists(self.folder):
            checkpoint.read_checkpoint(self.folder, state, settings, self.carm, self.ct)
        else:
            if self.folder is not None and self.crew.leads and checkpoint.exists(self.folder) and not resume:
                raise XrcoreError(f"{self.folder}: holds the checkpoint of a training; go on with --resume, or choose another folder")
            if start is not None:
                state.origin = self._begin_with(start, network)
            # after the weights, because what a method prepares belongs to this patient
            self.method.prepare(network, self.stream)
            _copy(network, averaged)
        self.crew.wait()
        return state

    def _begin_with(self, start: PoseRegressor, network: nn.Module) -> dict[str, Any]:
        """Copy a model's weights; returns what of it the new model shall remember."""
        mine, theirs = ({"method": s.method, **asdict(s.architecture)} for s in (self.settings, start.settings))
        differing = [name for name in mine if mine[name] != theirs[name]]
        if differing:
            them, here = (", ".join(f"{name}={values[name]!r}" for name in differing) for values in (theirs, mine))
            raise XrcoreError(f"train: the model to start from has {them}, this training {here}; they must be the same")
        fill(network, start.network.state_dict(), "the model to start from")
        return {
            "images": start.training.get("images", 0) + start.training.get("start", {}).get("images", 0),
            "same_patient": start.ct.differs(self.ct) is None,
        }

    def _step(self, shared: nn.Module, state: State, step: int) -> tuple[float, dict[str, float]]:
        settings, crew = self.settings, self.crew
        count = settings.batch // crew.size
        state.network.train()

        def begin() -> None:
            # dropout and the like depend on the step alone, so that a resumed training draws the same
            torch.manual_seed(settings.seed * 1_000_003 + step * crew.size + crew.rank)
            state.optimiser.zero_grad()

        def learn(part: slice) -> dict[str, float]:
            share = (part.stop - part.start) / count
            batch = self._batch(step, part)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self._half()):
                loss, parts = self.method.loss(shared, batch.to(self.device), step / settings.steps)
            goes_on = self.device.type == "cuda" and share == 1 and step + 1 < settings.steps
            # while backward is busy outside Python
            drawn = self._drawer.submit(self._draw, step + 1, part) if goes_on else None
            (loss * share).backward()
            if drawn is not None:
                # while the GPU is still learning, the processor queues what it renders next
                self._ahead = step + 1, self._made(drawn.result())
            value = float(loss.detach())
            if not math.isfinite(value):
                raise XrcoreError(self._stopped(f"the loss became {value}", step))
            return {name: share * float(v) for name, v in ({"loss": value} | parts).items()}

        if crew.size == 1:
            learnt = self.portions.run(count, learn, begin)
        else:  # the others wait for this one's gradients, so that it cannot begin again
            begin()
            learnt = [learn(slice(0, count))]
        sums = {name: sum(part[name] for part in learnt) for name in learnt[0]}
        norm = float(torch.nn.utils.clip_grad_norm_(state.network.parameters(), settings.clip))
        if not math.isfinite(norm):
            raise XrcoreError(self._stopped("the gradient is no longer finite", step))
        for group in state.optimiser.param_groups:
            group["lr"] = self.schedule.learning_rate(step)
        state.optimiser.step()
        if settings.ema:
            # early on the average is short, so that it does not remember the first weights
            average(state.network, state.averaged, min(settings.ema, (1 + step) / (10 + step)))
        return sums.pop("loss"), sums

    def _batch(self, step: int, part: slice) -> Batch:
        """Part of this process' share of a step's batch, unless it was prepared before."""
        if self._ahead is not None and self._ahead[0] == step and part.stop - part.start == len(self._ahead[1].images):
            batch, self._ahead = self._ahead[1], None
            return batch
        self._ahead = None
        return self._made(self._draw(step, part))

    def _draw(self, step: int, part: slice) -> Drawn:
        samples = self.schedule.samples(step)[self.crew.rank :: self.crew.size][part]
        return self.stream.draw(samples, [step] * len(samples))

    def _made(self, drawn: Drawn) -> Batch:
        with single_torch_thread(), self.rendering:
            return self.stream.made(drawn)

    def _stopped(self, what: str, step: int) -> str:
        kept = "nothing was kept"
        if self.folder is not None and checkpoint.exists(self.folder):
            kept = f"the checkpoint in {self.folder} is from before"
        rate = self.settings.learning_rate
        return f"train: {what} at image {step * self.settings.batch}; {kept}. Begin in another folder with a learning_rate below {rate:g}"

    def _half(self) -> bool:
        return half_precision(self.settings.precision, self.device)

    def _validation_set(self) -> list[Batch]:
        count = self.settings.validation

        def rendered(first: int) -> list[Batch]:
            def of(part: slice) -> Batch:
                return self.unseen.batch([(0, first + i) for i in range(part.start, part.stop)])

            return self.portions.run(min(_CHUNK, count - first), of)

        with single_torch_thread():
            return [batch for first in range(0, count, _CHUNK) for batch in rendered(first)]

    def _validate(self, network: nn.Module) -> dict[str, Any]:
        """mTRE, success rate and spread of the errors on the validation set."""
        network.eval()

        def predict(batch: Batch) -> list[Tensor]:
            def of(part: slice) -> Tensor:
                return self.method.predict(network, batch[part].to(self.device)).numbers.double().cpu()

            return self.portions.run(len(batch.images), of)

        with torch.no_grad(), torch.autocast(self.device.type, torch.bfloat16, enabled=self._half()):
            numbers = torch.cat([part for batch in self.validation for part in predict(batch)])
        if not torch.isfinite(numbers).all():
            return {"mtre": math.inf, "median": math.inf, "success": 0.0, "spread": list(self.settings.limits)}
        truth = Pose(torch.cat([batch.numbers for batch in self.validation]).double().cpu())
        errors = mtre(Pose(numbers), truth, self.landmarks, self.carm, self.isocenter)
        spread = torch.quantile(pose_error(Pose(numbers), truth), 0.95, dim=0)
        return {
            "mtre": float(errors.mean()),
            "median": float(errors.median()),
            "success": success_rate(errors),
            "spread": [round(v, 4) for v in spread.tolist()],
        }

    def _row(self, state: State, before: float, means: dict[str, float], measured: dict[str, Any]) -> dict[str, Any]:
        row = {
            "images": state.step * self.settings.batch,
            "seconds": state.seconds,
            "rendering_share": self.rendering.seconds / max(state.seconds - before, 1e-9),
            "learning_rate": self.schedule.learning_rate(state.step - 1),
            "loss": means["loss"],
            "parts": {k: v for k, v in means.items() if k != "loss"},
        }
        if measured:
            row |= {"validation_mtre_mm": measured["mtre"], "validation_success": measured["success"]}
        return row

    def _finish(self, state: State) -> PoseRegressor:
        self.method.finish(state.averaged, self.unseen)
        network = copy.deepcopy(state.averaged).eval()
        # as it will read back, so that what is validated and returned is what is kept
        network.load_state_dict({k: halved(v).to(v.dtype) for k, v in network.state_dict().items()})
        training: dict[str, Any] = {}
        if self.crew.leads:
            measured = self._validate(network)
            training = {
                "images": state.step * self.settings.batch,
                "seconds": round(state.seconds, 1),
                "start": state.origin,
                "processes": self.crew.size,
                "machine": describe_machine(),
                "validation": {"images": self.settings.validation} | {k: _rounded(measured[k]) for k in ("mtre", "median", "success")},
                "spread": measured["spread"],
            }
        model = PoseRegressor(network, self.settings, self.carm, self.ct, training)
        if self.folder is not None and self.crew.leads:
            model.save(self.folder)
            checkpoint.remove(self.folder)
        self.crew.wait()
        return model


def _copy(network: nn.Module, averaged: nn.Module) -> None:
    if averaged is not network:
        averaged.load_state_dict(network.state_dict())


def _rounded(value: float) -> float | None:
    return round(value, 3) if np.isfinite(value) else None
