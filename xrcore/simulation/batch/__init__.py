"""The steps of an acquisition for many images at once, in torch on any device: the batched version of `simulation.detector.expose`.

Nothing here synchronises with the device: the CPU's decisions are transferred as small tables, and nothing is read back. Without
noise the images are those of the numpy code up to rounding; noise has a generator of its own, and the same one on every device.
"""

from xrcore.simulation.batch.exposure import expose_batch
from xrcore.simulation.batch.rods import with_rods

__all__ = ["expose_batch", "with_rods"]
