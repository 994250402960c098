"""What `benchmarks/gpu.py` measures: the GPU path's times on a GPU, and its precision anywhere."""

from xrcore.bench.gpu.clock import CudaClock, Pretended
from xrcore.bench.gpu.precision import precision
from xrcore.bench.gpu.rows import DRY, NO_GPU, as_table, missing
from xrcore.bench.gpu.run import measured
from xrcore.bench.gpu.sizes import FULL, TINY

__all__ = ["DRY", "FULL", "NO_GPU", "TINY", "CudaClock", "Pretended", "as_table", "measured", "missing", "precision"]
