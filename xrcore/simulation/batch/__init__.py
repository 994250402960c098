"""The steps of an acquisition for many images at once, in plain torch on whatever device they are: the twin of `simulation.detector`.

Nothing here waits for the device: what the host decides goes there as small tables, and nothing comes back. Without noise the images are
those of the numpy code up to rounding; noise has a generator of its own, and the same one on every device.
"""

from xrcore.simulation.batch.exposure import expose_batch
from xrcore.simulation.batch.rods import with_rods

__all__ = ["expose_batch", "with_rods"]
