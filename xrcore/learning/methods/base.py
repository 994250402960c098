"""Method: what a way of learning a pose has to say to the trainer and to the model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from xrcore.learning.networks.inputs import standardised

if TYPE_CHECKING:
    from xrcore.learning.training.settings import TrainingSettings
    from xrcore.learning.training.stream import Batch, DrrStream


@dataclass(frozen=True)
class Prediction:
    """numbers: (B, 6) poses [deg, mm]. attention: (B, heads, N, N), query by key, where the network has it and it was asked for."""

    numbers: Float[Tensor, "B 6"]
    attention: Float[Tensor, "B heads N N"] | None = None


class Method(ABC):
    """One file a method. All state that a trained model needs lives in the network, as parameters and buffers."""

    defaults: ClassVar[dict[str, object]] = {}  # changes to a profile's settings, as the method's authors trained

    def __init__(self, settings: TrainingSettings) -> None:
        self.settings = settings

    @abstractmethod
    def network(self) -> nn.Module:
        """The network, its weights drawn from torch's generator."""

    @abstractmethod
    def loss(self, network: nn.Module, batch: Batch, done: float) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of a batch, and its parts for the log. done: share of the training behind us, 0 to 1."""

    @abstractmethod
    def predict(self, network: nn.Module, batch: Batch, *, attention: bool = False) -> Prediction:
        """Poses from images and masks; `batch.numbers` is not looked at."""

    def prepare(self, network: nn.Module, stream: DrrStream) -> None:
        """Before the first step."""
        del network, stream

    def between(self, step: int, network: nn.Module, averaged: nn.Module, stream: DrrStream) -> None:
        """Before each step; what it changes in buffers goes into checkpoints."""
        del step, network, averaged, stream

    def finish(self, averaged: nn.Module, stream: DrrStream) -> None:
        """After the last step; stream: the validation set's."""
        del averaged, stream

    def inputs(self, batch: Batch) -> Float[Tensor, "B 1 H W"]:
        """The images as the network takes them."""
        return standardised(batch.images, batch.masks, self.settings.architecture.normalisation)
