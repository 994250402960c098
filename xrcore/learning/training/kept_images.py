"""DRRs that a training sees again and again, rendered once."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from xrcore.learning.methods import Batch
from xrcore.learning.training.schedule import Schedule
from xrcore.learning.training.stream import DrawnBatch, DrrStream

_ROOM = 2**30  # bytes


class KeptImages:
    """Render plain DRRs of sets that come again, each once; anything else as often as it is asked for.

    Kept are those of one patient on a CPU, up to a gigabyte.

    Parameters
    ----------
    stream : DrrStream
        Of the training.
    schedule : Schedule
        Which sets there are, and which come again.
    """

    def __init__(self, stream: DrrStream, schedule: Schedule) -> None:
        self.stream = stream
        # stages of one set have more and more of the same DRRs
        sizes = {stage.number: stage.size or 0 for stage in schedule.stages}
        fits = 4 * sum(sizes.values()) * stream.carm.shape[0] * stream.carm.shape[1] <= _ROOM
        again = all(stage.size is not None for stage in schedule.stages) and not stream.settings.acquired
        self.keeps = again and fits and stream.volume.device.type == "cpu" and type(stream) is DrrStream
        self._images: dict[bytes, Float[Tensor, "H W"]] = {}

    def render(self, drawn: DrawnBatch) -> Batch:
        """Render what was not rendered before.

        Parameters
        ----------
        drawn : DrawnBatch
            By the stream.

        Returns
        -------
        Batch
            As the stream renders it.
        """
        if not self.keeps:
            return self.stream.render(drawn)
        keys = [pose.tobytes() for pose in drawn.poses]
        if new := {key: i for i, key in enumerate(keys) if key not in self._images}:
            rendered = self.stream.render(DrawnBatch(drawn.poses[list(new.values())])).images
            self._images.update(zip(new, rendered, strict=True))
        images = torch.stack([self._images[key] for key in keys])
        return Batch(images, torch.ones_like(images, dtype=torch.bool), torch.from_numpy(drawn.poses.astype("float32")), images)
