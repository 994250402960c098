"""TrainingSettings: a training as one frozen object."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from typing import Any

from xrcore._util.errors import XrcoreError, require
from xrcore.learning.methods import METHODS
from xrcore.learning.networks.architecture import Architecture

SCHEMES = ("none", "growing", "fresh")
PRECISIONS = ("auto", "float32", "bfloat16")


_require = partial(require, "TrainingSettings")


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """How a model is trained. Every choice the paper leaves open is a field; its default is the laptop's.

    method: "psss" (the paper's network), "salehi" (2018), "grimm" (2021).
    rotation, translation: half-widths of the uniform poses about the zero pose [deg, mm]; default the released demo's.
    acquired: domain randomisation, each image as a random C-arm would have acquired it (`Acquisition.random`); off is the paper's protocol.
    spacing: of the CT that is rendered [mm]; coarse enough to be fast, and about a pixel at the isocentre for 128 pixels.
    images: training budget, counting an image as often as it is seen. batch: over all processes.
    scheme: incremental learning, all at the same number of images seen, `images`, of which `set_size` differ. "none": one set;
        "growing": 25, 50, 75, 100 % of it, a quarter of the budget each, with warm restarts; "fresh": another quarter of it for each.
    set_size: different DRRs in all; None: each is seen once, where rendering is cheap the best of all, and "fresh" is then "none". For
        "growing", which repeats by its nature, None is a quarter of `images`.
    restarts: let the learning rate start again at each stage; None: where the scheme says so, "growing".
    learning_rate: its peak, after a linear warm-up over `warmup` of a stage; it falls as a cosine. optimiser: "adamw" or "sgd"
        (Nesterov, momentum 0.9). clip: largest gradient norm.
    edge_weight: of the structure-aware loss beside the pose loss.
    ema: decay a step of the averaged weights that are validated and saved, 0 for none.
    precision: of the network on the CPU or GPU; "auto" is bfloat16 where the processor has it.
    validation: DRRs of the validation set, drawn from a seed of their own; validate_every, checkpoint_every: [images].
    """

    method: str = "psss"
    architecture: Architecture = field(default_factory=Architecture)
    rotation: tuple[float, float, float] = (15.0, 15.0, 10.0)
    translation: tuple[float, float, float] = (30.0, 30.0, 30.0)
    acquired: bool = True
    spacing: float = 3.0
    images: int = 36_000
    batch: int = 16
    scheme: str = "none"
    set_size: int | None = None
    restarts: bool | None = None
    optimiser: str = "adamw"
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    warmup: float = 0.03
    clip: float = 1.0
    edge_weight: float = 1.0
    ema: float = 0.998
    precision: str = "auto"
    validation: int = 128
    validate_every: int = 4_000
    checkpoint_every: int = 4_000
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("rotation", "translation"):
            given = getattr(self, name)
            try:
                widths = tuple(float(v) for v in given)
            except (TypeError, ValueError):
                widths = ()
            good = len(widths) == 3 and all(0 <= v < math.inf for v in widths) and sum(widths) > 0
            _require(name, given, good, "three half-widths, not all 0")
            object.__setattr__(self, name, widths)
        _require("architecture", self.architecture, isinstance(self.architecture, Architecture), "an Architecture")
        _require("acquired", self.acquired, isinstance(self.acquired, bool), "True or False")
        _require("restarts", self.restarts, self.restarts is None or isinstance(self.restarts, bool), "True, False or None")
        _require("method", self.method, self.method in METHODS, f"one of {', '.join(METHODS)}")
        _require("scheme", self.scheme, self.scheme in SCHEMES, f"one of {', '.join(SCHEMES)}")
        _require("precision", self.precision, self.precision in PRECISIONS, f"one of {', '.join(PRECISIONS)}")
        _require("optimiser", self.optimiser, self.optimiser in ("adamw", "sgd"), "adamw or sgd")
        for name in ("images", "batch", "validation", "validate_every", "checkpoint_every"):
            _require(name, getattr(self, name), _whole(getattr(self, name), 1), "a whole number, at least 1")
        _require("batch", self.batch, self.batch <= self.images, f"at most images ({self.images})")
        _require("set_size", self.set_size, self.set_size is None or _whole(self.set_size, 4), "a whole number, at least 4, or None")
        _require("seed", self.seed, _whole(self.seed, 0) and self.seed < 2**32, "a whole number, at least 0 and below 2**32")
        for name in ("spacing", "learning_rate", "clip", "weight_decay", "edge_weight", "warmup", "ema"):
            value = getattr(self, name)
            number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
            _require(name, value, number, "a finite number")
        for name in ("spacing", "learning_rate", "clip"):
            _require(name, getattr(self, name), getattr(self, name) > 0, "positive")
        for name in ("weight_decay", "edge_weight"):
            _require(name, getattr(self, name), getattr(self, name) >= 0, "at least 0")
        for name in ("warmup", "ema"):
            _require(name, getattr(self, name), 0 <= getattr(self, name) < 1, "at least 0 and below 1")

    @property
    def limits(self) -> tuple[float, ...]:
        """Half-widths of the six numbers."""
        return (*self.rotation, *self.translation)

    @property
    def steps(self) -> int:
        """Optimiser steps in all."""
        return self.images // self.batch

    def to_dict(self) -> dict[str, Any]:
        """For files: plain values, nested as the fields are."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainingSettings:
        """Inverse of `to_dict`; raises XrcoreError for fields that do not exist."""
        known = {f.name for f in fields(cls)}
        inner = dict(values.get("architecture", {}))
        for name in (*(set(values) - known), *(set(inner) - {f.name for f in fields(Architecture)})):
            raise XrcoreError(f"TrainingSettings: no field {name!r}")
        return cls(**{**values, "architecture": Architecture(**inner)})

    def changed(self, **changes: Any) -> TrainingSettings:
        """A copy with some fields changed; fields of the architecture by their own names."""
        inner = {f.name for f in fields(Architecture)}
        outer = {f.name for f in fields(self)}
        for name in set(changes) - inner - outer:
            raise XrcoreError(f"TrainingSettings: no field {name!r}; available: {', '.join(sorted((outer | inner) - {'architecture'}))}")
        base = replace(self, architecture=replace(self.architecture, **{k: v for k, v in changes.items() if k in inner}))
        return replace(base, **{k: v for k, v in changes.items() if k in outer})


def _whole(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
