"""PoseRegressor: a trained network with its geometry, saved and loaded, that rejects inputs it was not trained for."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from xrcore._util.atomic import check_writable
from xrcore._util.devices import named_device
from xrcore._util.errors import XrcoreError
from xrcore._util.machine import package_versions
from xrcore.ct.volume import Volume
from xrcore.geometry import CArm, Pose
from xrcore.learning.methods import Batch, method_named
from xrcore.learning.models.identity import CtIdentity
from xrcore.learning.models.resampling import check_geometry, resample_xray
from xrcore.learning.models.tensors import load_tensors, read_json, read_tensors, write_pair
from xrcore.learning.settings import TrainingSettings
from xrcore.xray.image import Xray

FORMAT = "xrcore-model/1"
_STEM = "model"
PACKAGES = ("efficientnet-pytorch", "numpy", "safetensors", "torch")
_KEYS = {"format", "settings", "carm", "ct", "training", "versions", "tensors"}


class PoseRegressor:
    """Predict the pose of an X-ray of one patient, taken by one C-arm.

    Made by `xrcore.train`, or read by `PoseRegressor.load`. A start model, trained on several patients, predicts for none: other trainings
    begin with its weights.

    Parameters
    ----------
    network : nn.Module
        Trained.
    settings : TrainingSettings
        How.
    carm : CArm
        The geometry it was trained for.
    ct : CtIdentity
        The CT it was trained on.
    training : Mapping[str, Any], optional
        What its training reached; see `model.json`.

    Examples
    --------
    >>> import xrcore as xr
    >>> volume = xr.phantom.pelvis(spacing=8.0)
    >>> carm = xr.CArm(source_to_detector=1259.65, source_to_isocenter=742.5, shape=(64, 64), pixel_spacing=6.75)
    >>> settings = xr.TrainingSettings(images=32, validation=4, spacing=8.0).changed(pixels=64)
    >>> model = xr.train(volume, carm, settings)  # which teaches it nothing yet
    >>> model.predict(xr.Xray(image=xr.render(volume, carm, xr.Pose(rx=5.0))[0], carm=carm)).numbers.shape
    torch.Size([1, 6])
    """

    def __init__(
        self, network: nn.Module, settings: TrainingSettings, carm: CArm, ct: CtIdentity, training: Mapping[str, Any] | None = None
    ) -> None:
        self.network = network.eval()
        self.settings = settings
        self.carm = carm
        self.ct = ct
        self.training = dict(training or {})
        self._method = method_named(settings.method)(settings)

    @property
    def view(self) -> CArm:
        """The detector as the network sees it."""
        pixels = self.settings.architecture.pixels
        return self.carm.resized((pixels, pixels))

    @property
    def device(self) -> torch.device:
        """Where the network's weights are."""
        return next(self.network.parameters()).device

    @property
    def spread(self) -> tuple[float, ...] | None:
        """95th percentile of each of the six numbers' errors on the validation set [deg, mm], or None if it was not validated."""
        value = self.training.get("spread")
        return None if value is None else tuple(float(v) for v in value)

    @property
    def ranges(self) -> tuple[float, ...]:
        """Half-widths of the poses it was trained on [deg, mm], about the zero pose."""
        return self.settings.limits

    def check(self, carm: CArm | None = None, volume: Volume | None = None) -> None:
        """Check that this is the geometry and the CT that the model was trained for.

        Parameters
        ----------
        carm : CArm, optional
            Of an X-ray; the number of pixels may differ.
        volume : Volume, optional
            The CT, at any voxel size.

        Raises
        ------
        XrcoreError
            Naming what differs; always for a start model.
        """
        self._check_patient()
        if carm is not None:
            check_geometry(carm, self.carm)
        if volume is not None and (difference := self.ct.differs(CtIdentity.of(volume))):
            raise XrcoreError(f"this is not the CT that the model was trained for: {difference}; train a model for this patient")

    def predict(self, xray: Xray, *, attention: bool = False) -> Any:
        """Predict the pose of an X-ray.

        Parameters
        ----------
        xray : Xray
            Taken by the geometry trained for; of any number of pixels.
        attention : bool
            Return the attention map too.

        Returns
        -------
        Pose or tuple
            The pose; with `attention` (pose, map), the map (h, w) summing to 1: how much each place is looked at.

        Raises
        ------
        XrcoreError
            If the X-ray's geometry is not the one trained for, naming what differs, if a network without attention is asked for it, or
            if this is a start model.
        """
        image, mask = resample_xray(xray, self.view)
        numbers, weights = self.predict_batch(image, mask, attention=attention)
        pose = Pose(numbers)
        if not attention:
            return pose
        if weights is None:
            raise XrcoreError("predict: this network has no attention; train one with attention=True")
        # averaged over heads and queries: what each key contributes
        share = weights[0].mean((0, 1)).cpu()
        side = round(len(share) ** 0.5)
        return pose, share.reshape(side, side)

    @torch.no_grad()
    def predict_batch(
        self, images: Float[Tensor, "B H W"], masks: Bool[Tensor, "B H W"], *, attention: bool = False
    ) -> tuple[Float[Tensor, "B 6"], Tensor | None]:
        """Predict poses for images already on the model's detector; see `models.resampling.resample_xray`.

        Parameters
        ----------
        images : Float[Tensor, "B H W"]
            Attenuation, bone bright.
        masks : Bool[Tensor, "B H W"]
            True inside the field of view.
        attention : bool
            Return the attention weights too.

        Returns
        -------
        tuple
            Numbers (B, 6) [deg, mm], and attention (B, heads, N, N), query by key, or None.

        Raises
        ------
        XrcoreError
            If the network gives NaN, or this is a start model.
        """
        self._check_patient()
        where = self.device
        blank = torch.zeros(len(images), 6)
        prediction = self._method.predict(self.network, Batch(images, masks, blank).to(where), attention=attention)
        numbers = prediction.numbers.double().cpu()
        if not torch.isfinite(numbers).all():
            raise XrcoreError("predict: the network gave NaN; the X-ray or the model is broken")
        return numbers, prediction.attention

    def save(self, folder: str | os.PathLike[str], *, half: bool = True) -> None:
        """Write model.json and its weights into `folder`, atomically.

        Parameters
        ----------
        folder : str or PathLike
            Made where there is none.
        half : bool
            Weights in half precision: half the size.

        Raises
        ------
        XrcoreError
            If it cannot be written.
        """
        folder = Path(folder)
        check_writable(folder, f"{_STEM}.json")
        kept = {k: to_half(v) if half else v for k, v in self.network.state_dict().items()}
        record = {
            "format": FORMAT,
            "settings": self.settings.to_dict(),
            "carm": self.carm.to_dict(),
            "ct": self.ct.to_dict(),
            "training": self.training,
            "versions": package_versions(*PACKAGES),
        }
        write_pair(folder, _STEM, kept, record)

    @staticmethod
    def exists(folder: str | os.PathLike[str]) -> bool:
        """Return whether `folder` has the files of a model.

        Parameters
        ----------
        folder : str or PathLike
            Any path.

        Returns
        -------
        bool
            Whether there is a model.json in it.
        """
        return os.path.exists(Path(folder) / f"{_STEM}.json")

    @classmethod
    def load(cls, folder: str | os.PathLike[str], device: str = "cpu") -> PoseRegressor:
        """Read a model. No code is run from the files.

        Parameters
        ----------
        folder : str or PathLike
            That `save` or `xrcore train` wrote.
        device : str
            Where to predict: "cpu", "cuda", or "auto", a GPU where there is one.

        Returns
        -------
        PoseRegressor
            Ready to predict.

        Raises
        ------
        XrcoreError
            Naming what is missing, damaged or exchanged.
        """
        folder = Path(folder)
        path = folder / f"{_STEM}.json"
        if not os.path.exists(path) and os.path.exists(folder / "checkpoint.json"):
            raise XrcoreError(f"{folder}: this training is not finished; go on with `xrcore train ... --resume`")
        record = read_json(path, FORMAT)
        for key in sorted(_KEYS ^ set(record)):
            raise XrcoreError(f"{path}: {'lacks' if key in _KEYS else 'holds an unknown'} {key!r}; the file is damaged")
        try:
            settings = TrainingSettings.from_dict(record["settings"])
            carm = CArm(**record["carm"])
            ct = CtIdentity.from_dict(record["ct"])
        except XrcoreError as error:
            raise XrcoreError(f"{path}: {error}") from None
        except (TypeError, ValueError, AttributeError) as error:
            raise XrcoreError(f"{path}: the description is damaged ({error})") from None
        if not _is_usable(record["training"]):
            raise XrcoreError(f"{path}: the description is damaged (training)")
        method = method_named(settings.method)(settings)
        try:
            method.check_size()
        except XrcoreError as error:
            raise XrcoreError(f"{path}: {error}") from None
        try:
            with torch.random.fork_rng(devices=[]):
                network = method.network()
        except (RuntimeError, MemoryError):
            raise XrcoreError(f"{path}: the description is damaged (no network can be built from its settings)") from None
        load_tensors(network, read_tensors(folder, record), str(folder))
        return cls(network.to(named_device(device)), settings, carm, ct, record["training"])

    def _check_patient(self) -> None:
        if self.ct.patients > 1:
            raise XrcoreError(
                f"this is a start model, trained on {self.ct.patients} CTs, and predicts for no patient; "
                "train a model for this one that begins with it (xrcore train CT --start MODEL)"
            )

    def __repr__(self) -> str:
        a = self.settings.architecture
        what = f", of {self.ct.patients} CTs" if self.ct.patients > 1 else ""
        return f"PoseRegressor({self.settings.method}, {a.pixels} x {a.pixels} pixels, {self.training.get('images', 0)} images seen{what})"


def to_half(values: Tensor) -> Tensor:
    """Round to half precision, unless a value is too large for it.

    Parameters
    ----------
    values : Tensor
        Of a network's state; what is not float32 is returned as it is.

    Returns
    -------
    Tensor
        Rounded.
    """
    half = values.half() if values.dtype == torch.float32 else values
    return half if torch.isfinite(half).all() else values


def _is_usable(training: Any) -> bool:
    """Whether a file's training record is valid: a spread of six lengths, if any."""
    if not isinstance(training, dict):
        return False
    spread = training.get("spread")
    if spread is None:
        return True
    return isinstance(spread, list) and len(spread) == 6 and all(isinstance(v, (int, float)) and 0 <= v < math.inf for v in spread)
