"""Change some images of a batch; a GPU is not waited for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor

from xrcore._util.devices import on_device
from xrcore.simulation.clinical.changes import ClinicalChanges


class Subset:
    """The images of a batch that something happens to.

    Parameters
    ----------
    changes : Sequence of ClinicalChanges
        Of all images.
    holds : Callable
        Of one's changes: whether it is among them.
    like : Tensor
        On the device of the batch.
    """

    def __init__(self, changes: Sequence[ClinicalChanges], holds: Callable[[ClinicalChanges], bool], like: Tensor) -> None:
        numbers = [i for i, c in enumerate(changes) if holds(c)]
        self.changes, self.device = [changes[i] for i in numbers], like.device
        self._index = on_device(np.array(numbers, dtype=np.int64), like.device)

    def __bool__(self) -> bool:
        return bool(self.changes)

    def of(self, batch: Tensor) -> Tensor:
        """Return its part of a tensor with one entry an image."""
        return batch.index_select(0, self._index)

    def put(self, batch: Tensor, part: Tensor) -> Tensor:
        """Return the tensor with its part replaced."""
        return batch.index_copy(0, self._index, part)

    def stacked(self, value: Callable[[ClinicalChanges], object]) -> Tensor:
        """Return what `value` gives of each one's changes; numbers in single precision, shaped to go with images."""
        table = np.array([value(c) for c in self.changes])
        if table.ndim == 1:
            table = table.astype(np.float32)[:, None, None]
        return on_device(table, self.device)
