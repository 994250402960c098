"""Method: the interface of a pose estimation method to the training loop and to trained models."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from xrcore._util.errors import XrcoreError
from xrcore.ct.volume import Volume
from xrcore.geometry import CArm
from xrcore.learning.methods.batch import Batch
from xrcore.learning.methods.normalisation import normalise
from xrcore.learning.settings import TrainingSettings

LARGEST_NETWORK = 400_000_000  # parameters
_Network = TypeVar("_Network", bound=nn.Module)


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a network predicts for a batch.

    Parameters
    ----------
    numbers : Float[Tensor, "B 6"]
        Poses [deg, mm].
    attention : Float[Tensor, "B heads N N"], optional
        Attention weights, query by key, where the network has them and they were asked for.
    """

    numbers: Float[Tensor, "B 6"]
    attention: Float[Tensor, "B heads N N"] | None = None


class Stream(Protocol):
    """Interface of simulated X-rays of one patient, indexed by set and number; `training.stream.DrrStream` is one."""

    volume: Volume
    carm: CArm

    def pose(self, number: int, index: int) -> Float[np.ndarray, "6"]:
        """The pose of a sample [deg, mm]."""

    def batch(self, samples: Sequence[tuple[int, int]]) -> Batch:
        """The images of samples (set, index)."""


class Method(ABC):
    """A pose estimation method; one file per method.

    All state that a trained model needs lives in the network, as parameters and buffers.

    Parameters
    ----------
    settings : TrainingSettings
        Of the training.
    """

    defaults: ClassVar[dict[str, object]] = {}  # changes to a profile's settings, as the method's authors trained
    any_size: ClassVar[bool] = False  # whether the network takes images smaller than the architecture's `pixels`
    of_patient: ClassVar[bool] = False  # whether what `prepare` puts into the network belongs to one patient
    measured: ClassVar[tuple[str, ...]] = ()  # buffers that `finish` fills; a model to begin with may lack them

    def __init__(self, settings: TrainingSettings) -> None:
        self.settings = settings

    @abstractmethod
    def network(self) -> nn.Module:
        """Build the network, its weights drawn from torch's generator.

        Returns
        -------
        nn.Module
            Untrained.
        """

    def check_size(self) -> None:
        """Check that the network is of a size that can be trained and kept, before any memory is taken for it.

        Raises
        ------
        XrcoreError
            For more than `LARGEST_NETWORK` parameters.
        """
        with torch.device("meta"):  # shapes alone
            count = sum(value.numel() for value in self.network().state_dict().values())
        if count > LARGEST_NETWORK:
            raise XrcoreError(
                f"TrainingSettings: a network of {count:.2g} parameters, and at most {LARGEST_NETWORK:.2g} make sense; "
                "reduce pixels, bottleneck, hidden, tokens or decoder"
            )

    @abstractmethod
    def loss(self, network: nn.Module, batch: Batch, done: float) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the loss of a batch.

        Parameters
        ----------
        network : nn.Module
            Training.
        batch : Batch
            On the network's device.
        done : float
            Share of the training behind us, 0 to 1.

        Returns
        -------
        tuple
            The loss, and its parts by name for the log.
        """

    @abstractmethod
    def predict(self, network: nn.Module, batch: Batch, *, attention: bool = False) -> Prediction:
        """Predict poses from images and masks; `batch.numbers` is not used.

        Parameters
        ----------
        network : nn.Module
            Evaluating.
        batch : Batch
            On the network's device.
        attention : bool
            Return the attention too, where there is one.

        Returns
        -------
        Prediction
            A pose an image.
        """

    def prepare(self, network: nn.Module, stream: Stream) -> None:
        """Prepare before the first step; nothing by default.

        Parameters
        ----------
        network : nn.Module
            With its first weights.
        stream : Stream
            The training's.
        """
        del network, stream

    def between(self, step: int, network: nn.Module, averaged: nn.Module, stream: Stream) -> None:
        """Hook before each step; nothing by default. Changed buffers go into checkpoints.

        Parameters
        ----------
        step : int
            The one to come.
        network, averaged : nn.Module
            The network, and the one of averaged weights.
        stream : Stream
            The training's.
        """
        del step, network, averaged, stream

    def finish(self, averaged: nn.Module, stream: Stream) -> None:
        """Complete after the last step; nothing by default.

        Parameters
        ----------
        averaged : nn.Module
            The network that will be kept.
        stream : Stream
            The validation set's.
        """
        del averaged, stream

    def inputs(self, batch: Batch) -> Float[Tensor, "B 1 H W"]:
        """Normalise the images for the network.

        Parameters
        ----------
        batch : Batch
            Images and masks.

        Returns
        -------
        Float[Tensor, "B 1 H W"]
            Zero outside the masks.
        """
        return normalise(batch.images, batch.masks, self.settings.architecture.normalisation)


def unwrapped(network: nn.Module, kind: type[_Network]) -> _Network:
    """Return the network of a method without the wrapper of distributed training.

    Parameters
    ----------
    network : nn.Module
        With or without it.
    kind : type
        The method's network.

    Returns
    -------
    nn.Module
        Of that kind.
    """
    inner = network.module if isinstance(network, DistributedDataParallel) else network
    assert isinstance(inner, kind)
    return inner
