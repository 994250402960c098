"""What `benchmarks/gpu.py` measures: the GPU path's times on a GPU, and its precision anywhere."""

from harness.gpu.clock import CudaClock, Pretended
from harness.gpu.precision import precision
from harness.gpu.rows import DRY, NO_GPU, as_table, missing
from harness.gpu.run import measured
from harness.gpu.sizes import FULL, TINY

__all__ = ["DRY", "FULL", "NO_GPU", "TINY", "CudaClock", "Pretended", "as_table", "measured", "missing", "precision"]
