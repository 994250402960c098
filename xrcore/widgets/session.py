"""Session: the state of one registration. Holds data only; usable without a notebook."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from traitlets import Float, Instance, Tuple, Unicode

from xrcore._util.atomic import check_writable
from xrcore._util.errors import XrcoreError
from xrcore.beam import Beam
from xrcore.ct import Volume
from xrcore.geometry import CArm, Pose
from xrcore.geometry.presets import PAPER_CARM
from xrcore.metrics import mpd, mtre
from xrcore.registration.events import Stage, Step
from xrcore.registration.pipeline import register_steps
from xrcore.registration.registration_files import FILES, write_registration
from xrcore.registration.result import Registration
from xrcore.widgets.registration_inputs import RegistrationInputs
from xrcore.widgets.state import require_xray
from xrcore.widgets.volume_sources import VolumeSource
from xrcore.xray import Xray

_FRAME = 0.1  # [s] between two looks at a registration that runs
_WORK = 2.0  # at least as long as the last look took, times this: onlookers must not make it wait
_PATIENCE = 4.0  # [s], of all pauses together


class Session(RegistrationInputs):
    """A CT and an X-ray, the pose that is shown, how to register, and the result: traitlets' traits, to `observe`.

    Parameters
    ----------
    volume : Volume or VolumeSource
        The CT, or where volumes of a patient come from.
    xray : Xray, optional
        The X-ray, where there is one already.
    carm : CArm
        Default the paper's; an X-ray brings its own.
    beam : Beam, optional
        The beam that a registration assumes; default 90 kV.
    pose : Pose, optional
        The pose to begin with, one; default the X-ray's own, or zero.

    Attributes
    ----------
    xray : Xray or None
        The X-ray; one that is assigned brings its C-arm and, where it has one, its pose.
    labels : LabelMap or None
        Structures to outline, in the patient's space.
    truth : Pose or None
        The pose of a simulated X-ray.
    method, similarity : str
        As for `xrcore.register`, "auto" being the method's own similarity.
    stage : str
        What a registration is doing, in words.
    history : tuple of Step
        The steps so far.
    result : Registration or None
        The result.
    pace : float
        How long each better pose stays for those who watch, up to some seconds in all [s]; it does not count as the registration's time.
    """

    method = Unicode("gauss-newton")
    similarity = Unicode("auto")
    stage = Unicode("")
    history: Any = Tuple(())
    result = Instance(Registration, allow_none=True)
    pace = Float(0.0, min=0.0)

    def __init__(
        self,
        volume: Volume | VolumeSource,
        xray: Xray | None = None,
        *,
        carm: CArm = PAPER_CARM,
        beam: Beam | None = None,
        pose: Pose | None = None,
    ) -> None:
        self._stopping = False
        super().__init__(volume, xray, carm=carm, beam=beam, pose=pose)

    async def run(self) -> Registration | None:
        """Register from the pose shown; `numbers` and `history` follow, and other coroutines run in between.

        This keeps a notebook's buttons alive. It is for callbacks; in a cell use `register`, because while a cell awaits, kernels leave
        messages of the page without their answer, and sliders then no longer respond.

        Returns
        -------
        Registration or None
            The result; None when `stop` ended it, and the pose then stays.

        Raises
        ------
        XrcoreError
            As `xrcore.register` does, or if there is no X-ray.
        """
        for pause in self._registering():
            # never 0: messages that just arrived take more than one turn of the loop
            await asyncio.sleep(max(0.001, pause))
        return self.result

    def register(self) -> Registration | None:
        """Register as `run` does, but while the caller waits.

        Returns
        -------
        Registration or None
            The result; None when `stop` ended it.
        """
        for _ in self._registering():
            pass
        return self.result

    def _registering(self) -> Iterator[float]:
        """Register in steps; yields for how long the page may handle events [s]."""
        xray, volume, beam = require_xray(self.xray), self.volume, self.beam
        self._refuse_while_running()
        self._forget()
        self.start, self._stopping, self.running = self.pose, False, True
        similarity = None if self.similarity == "auto" else self.similarity
        history: list[Step] = []
        shown = looked = paused = 0.0
        try:
            events = register_steps(xray, volume, self.start, self.method, similarity=similarity, beam=beam)
            with closing(events):
                while True:
                    try:
                        event = next(events)
                    except StopIteration as end:
                        result = end.value
                        break
                    better = False
                    if isinstance(event, Stage):
                        self.stage = event.description
                    else:
                        better = not history or event.similarity != history[-1].similarity
                        history.append(event)
                    pause = self.pace if better and paused < _PATIENCE else 0.0
                    if isinstance(event, Stage) or pause or time.perf_counter() - shown > max(_FRAME, _WORK * looked):
                        began = time.perf_counter()
                        self._show(history)
                        looked = time.perf_counter() - began
                        yield pause
                        paused += pause
                        shown = time.perf_counter()
                    if self._stopping:
                        self._show(history)
                        self.stage = "stopped"
                        return
            self.stage = ""
            with self.hold_trait_notifications():
                self.history, self.result, self.pose = tuple(history), result, result.pose
        except BaseException:
            self.stage = ""
            raise
        finally:
            self.running = False

    def stop(self) -> None:
        """End a running registration at its next step."""
        self._stopping = True

    def errors(self, pose: Pose) -> tuple[float, float] | None:
        """Measure the error of a pose.

        Parameters
        ----------
        pose : Pose
            The pose, one.

        Returns
        -------
        tuple of float, or None
            mTRE and mPD [mm]; None where the truth is not known.
        """
        if self.truth is None:
            return None
        points = self.volume.surface_points()
        return tuple(float(measure(pose, self.truth, points, self.carm, self.volume.isocenter)) for measure in (mtre, mpd))  # type: ignore[return-value]

    def save(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Write what `xrcore register` writes, atomically.

        Parameters
        ----------
        folder : path
            Where; it is made if needed.

        Returns
        -------
        list of pathlib.Path
            The files.

        Raises
        ------
        XrcoreError
            If there is no result, or the folder cannot be written.
        """
        if self.result is None or self.xray is None:
            raise XrcoreError("there is no result to save yet; register first")
        if not str(folder).strip():
            raise XrcoreError("name a folder to save into")
        check_writable(folder, *FILES)
        inputs, options = self._provenance()
        write_registration(folder, self.result, self.volume, self.beam, inputs=inputs, options=options)
        return [Path(folder) / name for name in FILES]

    def _show(self, history: list[Step]) -> None:
        if history:
            with self.hold_trait_notifications():
                self.history, self.pose = tuple(history), history[-1].pose

    def _forget(self) -> None:
        with self.hold_trait_notifications():
            self.result, self.history, self.stage = None, (), ""
