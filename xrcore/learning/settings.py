"""TrainingSettings: a training as one frozen object."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from typing import Any

from xrcore._util.bounds import half_widths, largest
from xrcore._util.errors import XrcoreError, is_number, is_whole, require
from xrcore.learning.networks.architecture import Architecture

# where each method's class lives, below xrcore.learning.methods
METHODS = {
    "psss": "psss:Psss",
    "salehi": "salehi:Salehi",
    "grimm": "grimm:Grimm",
    "transposenet-like": "transposenet:TransPoseNetLike",
}
SCHEMES = ("none", "extended", "growing", "fresh")
DECAYS = ("cosine", "step")
OPTIMISERS = ("adamw", "adam", "sgd")
PRECISIONS = ("auto", "float32", "bfloat16")

_CHOICES = {"method": METHODS, "scheme": SCHEMES, "decay": DECAYS, "optimiser": OPTIMISERS, "precision": PRECISIONS}

_require = partial(require, "TrainingSettings")


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """Settings of a training. Every choice the paper leaves open is a field; its default is the laptop's.

    Parameters
    ----------
    method : str
        "psss" (the paper's network), "salehi" (2018), "grimm" (2021) or "transposenet-like" (the paper's parts read otherwise).
    architecture : Architecture
        Of the network.
    rotation, translation : tuple of float
        Half-widths of the uniform poses about the zero pose [deg, mm]; default the released demo's.
    acquired : bool
        Domain randomisation: each image as a random C-arm would have acquired it (`Acquisition.random`); off is the paper's protocol.
    clinical : bool
        With `acquired`: draw also what clinical images show besides, such as instruments, collimators, text and processing
        (`ClinicalChanges.random`). Predictions then find out whether bone is bright or dark, by the network's features.
    spacing : float
        Of the CT that is rendered [mm]; coarse enough to be fast, and about a pixel at the isocentre for 128 pixels.
    images : int
        Training budget, counting an image as often as it is seen.
    batch : int
        Images of a step, over all processes.
    scheme : str
        Incremental learning, all at the same number of images seen, `images`. "none": one set of `set_size` DRRs; "extended": a
        first set of `set_size`, and as many new ones join at each of the three later stages; "growing": 25, 50, 75, 100 % of
        `set_size`, with warm restarts; "fresh": another quarter of `set_size` for each stage. Stages are quarters of the budget.
    set_size : int, optional
        Different DRRs, as `scheme` says. None: each is seen once, where rendering is cheap the best of all, and "fresh" is then
        "none". For the schemes that repeat by their nature None is a quarter ("growing") or an eighth ("extended") of `images`.
    restarts : bool, optional
        Let the learning rate start again at each stage; None: where the scheme says so, "growing".
    optimiser : str
        "adamw", "adam" (whose weight decay is part of the gradient) or "sgd" (Nesterov, momentum 0.9).
    learning_rate : float
        Its peak, after a linear warm-up.
    decay : str
        How it falls: "cosine" to a thousandth, or "step", to a tenth after each third.
    weight_decay : float
        Of matrices and convolutions; norms and biases are not decayed.
    warmup : float
        Share of a stage (without restarts: of the training) that the warm-up takes.
    clip : float
        Largest gradient norm.
    edge_weight : float
        Of the structure-aware loss beside the pose loss.
    ema : float
        Decay a step of the averaged weights that are validated and saved, 0 for none.
    precision : str
        Of the network: "float32", "bfloat16", or "auto", bfloat16 on a CPU that multiplies in it.
    coarse_pixels : int, optional
        Side of the images that the training begins with, and of its validation until then [pixels], a multiple of 32 below the
        architecture's; all weights are carried over.
        None: images of full size from the first step on.
    coarse_share : float
        Share of the budget spent on them.
    prefetch : bool
        On a CPU, render the next batch in a thread of its own while the network learns; a GPU's queue does so always.
    validation : int
        DRRs of the validation set, drawn from a seed of their own.
    validate_every, checkpoint_every : int
        Images from one to the next.
    seed : int
        Of weights, poses, acquisitions and noise.

    Raises
    ------
    XrcoreError
        If a field makes no sense; the message names it.
    """

    method: str = "psss"
    architecture: Architecture = field(default_factory=Architecture)
    rotation: tuple[float, float, float] = (15.0, 15.0, 10.0)
    translation: tuple[float, float, float] = (30.0, 30.0, 30.0)
    acquired: bool = True
    clinical: bool = False
    spacing: float = 3.0
    images: int = 36_000
    batch: int = 16
    scheme: str = "none"
    set_size: int | None = None
    restarts: bool | None = None
    optimiser: str = "adamw"
    learning_rate: float = 1e-3
    decay: str = "cosine"
    weight_decay: float = 1e-2
    warmup: float = 0.03
    clip: float = 1.0
    edge_weight: float = 1.0
    ema: float = 0.998
    precision: str = "auto"
    coarse_pixels: int | None = None
    coarse_share: float = 0.5
    prefetch: bool = False
    validation: int = 128
    validate_every: int = 4_000
    checkpoint_every: int = 4_000
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("rotation", "translation"):
            given = getattr(self, name)
            widths = half_widths(name, given)
            _require(name, given, widths is not None and sum(widths) > 0, f"three half-widths, not all 0, at most {largest(name):g}")
            object.__setattr__(self, name, widths)
        _require("architecture", self.architecture, isinstance(self.architecture, Architecture), "an Architecture")
        for name in ("acquired", "clinical", "prefetch"):
            _require(name, getattr(self, name), isinstance(getattr(self, name), bool), "True or False")
        _require("clinical", self.clinical, self.acquired or not self.clinical, "False where acquired is: plain DRRs show nothing of it")
        _require("restarts", self.restarts, self.restarts is None or isinstance(self.restarts, bool), "True, False or None")
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            _require(name, value, isinstance(value, str) and value in choices, f"one of {', '.join(choices)}")
        for name in ("images", "batch", "validation", "validate_every", "checkpoint_every"):
            value = getattr(self, name)
            _require(name, value, is_whole(value) and value >= 1, "a whole number, at least 1")
        _require("batch", self.batch, self.batch <= self.images, f"at most images ({self.images})")
        size = self.set_size
        _require("set_size", size, size is None or (is_whole(size) and size >= 4), "a whole number, at least 4, or None")
        _require("seed", self.seed, is_whole(self.seed) and 0 <= self.seed < 2**32, "a whole number, at least 0 and below 2**32")
        for name in ("spacing", "learning_rate", "clip"):
            value = getattr(self, name)
            _require(name, value, is_number(value) and value > 0, "a positive number")
        for name in ("weight_decay", "edge_weight"):
            value = getattr(self, name)
            _require(name, value, is_number(value) and value >= 0, "a number, at least 0")
        for name in ("warmup", "ema", "coarse_share"):
            value = getattr(self, name)
            _require(name, value, is_number(value) and 0 <= value < 1, "a number, at least 0 and below 1")
        coarse, full = self.coarse_pixels, self.architecture.pixels
        good = coarse is None or (is_whole(coarse) and 32 <= coarse < full and coarse % 32 == 0)
        _require("coarse_pixels", coarse, good, f"a multiple of 32 below the architecture's pixels ({full}), or None")

    @property
    def limits(self) -> tuple[float, ...]:
        """Half-widths of the six numbers [deg, mm]."""
        return (*self.rotation, *self.translation)

    @property
    def steps(self) -> int:
        """Optimiser steps in all."""
        return self.images // self.batch

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for files, nested as the fields are.

        Returns
        -------
        dict[str, Any]
            Every field by its name.
        """
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainingSettings:
        """Read what `to_dict` returned; fields that came later have their defaults.

        Parameters
        ----------
        values : dict[str, Any]
            Fields by name.

        Returns
        -------
        TrainingSettings
            As they were.

        Raises
        ------
        XrcoreError
            For fields that do not exist or make no sense.
        """
        known = {f.name for f in fields(cls)}
        inner = dict(values.get("architecture", {}))
        for name in (*(set(values) - known), *(set(inner) - {f.name for f in fields(Architecture)})):
            raise XrcoreError(f"TrainingSettings: no field {name!r}")
        return cls(**{**values, "architecture": Architecture(**inner)})

    def changed(self, **changes: Any) -> TrainingSettings:
        """Return a copy with some fields changed.

        Parameters
        ----------
        **changes : Any
            New values by the field's name; fields of the architecture by their own names.

        Returns
        -------
        TrainingSettings
            The copy.

        Raises
        ------
        XrcoreError
            For fields that do not exist or make no sense.

        Examples
        --------
        >>> settings = TrainingSettings().changed(pixels=64, batch=32)
        >>> settings.architecture.pixels, settings.batch
        (64, 32)
        """
        inner = {f.name for f in fields(Architecture)}
        outer = {f.name for f in fields(self)}
        for name in set(changes) - inner - outer:
            raise XrcoreError(f"TrainingSettings: no field {name!r}; available: {', '.join(sorted((outer | inner) - {'architecture'}))}")
        whole = changes.get("architecture", self.architecture)
        _require("architecture", whole, isinstance(whole, Architecture), "an Architecture; its fields go by their own names")
        architecture = replace(whole, **{k: v for k, v in changes.items() if k in inner})
        return replace(self, **{k: v for k, v in changes.items() if k in outer} | {"architecture": architecture})
