"""Methods under test, each a name and a function of X-ray and volume."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from companion.experiments.seeds import generator
from companion.experiments.setup_digest import digest
from xrcore import Pose, Registration, Volume, Xray, XrcoreError, refine, register
from xrcore.registration import Method as RefinementMethod
from xrcore.registration import Predictor, refinements


@dataclass(frozen=True, kw_only=True)
class Perturbation:
    """A start at a known distance: the true pose after a uniform rigid motion.

    Methods with equal perturbations start a case from the same pose.

    Parameters
    ----------
    rotation, translation : (float, float, float)
        Half-widths of the motion [deg, mm].
    seed : int
        Of the motion.
    """

    rotation: tuple[float, float, float] = (5.0, 5.0, 5.0)
    translation: tuple[float, float, float] = (10.0, 10.0, 10.0)
    seed: int = 0

    def start(self, truth: Pose, *case: object) -> Pose:
        """Draw the start of a case.

        Parameters
        ----------
        truth : Pose
            Its true pose.
        *case : object
            Any values that name it.

        Returns
        -------
        Pose
            The start.
        """
        motion = Pose.random(rotation=self.rotation, translation=self.translation, generator=generator("start", self.seed, *case))
        return Pose.from_matrix(truth.matrix() @ motion.matrix())


@dataclass(frozen=True)
class Method:
    """A name, and a function of X-ray and volume.

    Parameters
    ----------
    name : str
        In tables.
    run : callable
        (xray, volume) -> a Pose, or a Registration or what has its `pose`. It may raise XrcoreError, which is a failure of the case.
    setup : str
        Tells methods of one name apart, so that a table does not mix their rows.
    perturbation : Perturbation or None
        The X-ray is handed over with such a start as its `pose`; without one it carries none.
    """

    name: str
    run: Callable[[Xray, Volume], Any]
    setup: str = ""
    perturbation: Perturbation | None = None

    def __post_init__(self) -> None:
        if not self.name:
            raise XrcoreError("Method: give it a name")


def search(name: str = "search", **options: Any) -> Method:
    """Return the method that registers from the zero pose.

    Parameters
    ----------
    name : str
        In tables.
    **options : object
        Of `register`.

    Returns
    -------
    Method
        Giving a Registration.
    """

    def run(xray: Xray, volume: Volume) -> Registration:
        return register(xray, volume, Pose.zero(), **options)

    return Method(name, run, digest("search", options))


def prediction(model: Predictor, name: str = "prediction") -> Method:
    """Return the method that predicts by a model, without refinement.

    Parameters
    ----------
    model : Predictor
        Such as a PoseRegressor.
    name : str
        In tables.

    Returns
    -------
    Method
        Giving a Pose.
    """
    return Method(name, _predictor(model), digest("prediction", _identity(model)))


def registration(model: Predictor, name: str = "registration", **options: Any) -> Method:
    """Return the method that registers from a model's prediction.

    Parameters
    ----------
    model : Predictor
        Such as a PoseRegressor.
    name : str
        In tables.
    **options : object
        Of `register`.

    Returns
    -------
    Method
        Giving a Registration.
    """

    def run(xray: Xray, volume: Volume) -> Registration:
        return register(xray, volume, model, **options)

    return Method(name, run, digest("registration", _identity(model), options))


def refinement(preset: RefinementMethod, initial: Predictor | Perturbation | Pose, name: str | None = None) -> Method:
    """Return the method that refines once, without verification or further starts.

    Parameters
    ----------
    preset : str or settings
        Such as "paper-as-intended"; see `xrcore.refine`.
    initial : Predictor or Perturbation or Pose
        A model, whose prediction is the start; a perturbation of the truth; or one pose for every case.
    name : str, optional
        In tables; default the preset's.

    Returns
    -------
    Method
        Giving a Registration.
    """
    settings = refinements(preset)
    name = name or (preset if isinstance(preset, str) else settings[-1].method)
    begin: Callable[[Xray, Volume], Pose]
    if isinstance(initial, Perturbation):
        begin, identity = _carried, repr(initial)
    elif isinstance(initial, Pose):
        begin, identity = (lambda xray, volume: initial), repr(initial)
    else:
        begin, identity = _predictor(initial), _identity(initial)

    def run(xray: Xray, volume: Volume) -> Registration:
        return refine(xray, volume, begin(xray, volume), settings)

    return Method(name, run, digest("refinement", settings, identity), initial if isinstance(initial, Perturbation) else None)


def _carried(xray: Xray, volume: Volume) -> Pose:
    """The start that a perturbation gave the X-ray."""
    if xray.pose is None:
        raise XrcoreError("refinement: the X-ray carries no start")
    return xray.pose


def _predictor(model: Predictor) -> Callable[[Xray, Volume], Pose]:
    """The model's prediction, refused where it was trained for another CT or geometry."""
    accepted: list[Volume] = []

    def predict(xray: Xray, volume: Volume) -> Pose:
        if not any(volume is v for v in accepted):  # once a volume, so that it does not count in every case's time
            model.check(xray.carm, volume)
            accepted[:] = [volume]
        return model.predict(xray)

    return predict


def _identity(model: Predictor) -> str:
    """Of what a model's answers depend on: its weights, settings and what it knows of its errors."""
    content = hashlib.sha256(digest(getattr(model, "settings", model), model.spread).encode())
    network = getattr(model, "network", None)
    if isinstance(network, torch.nn.Module):
        for name, value in network.state_dict().items():
            content.update(name.encode())
            content.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return content.hexdigest()
