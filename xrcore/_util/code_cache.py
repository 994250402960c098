"""Compile with numba, and keep the machine code on disk: that of the present sources, and only where that is possible."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

from numba import config, njit
from numba.core.caching import FunctionCache
from numba.core.runtime import rtsys

from xrcore._util.logs import log_once

BOUNDS_CHECKED = bool(config.BOUNDSCHECK)  # type: ignore[attr-defined]  # NUMBA_BOUNDSCHECK=1: every read of an array is checked, for tests


def cached_njit(*inlined: ModuleType | int, **options: Any) -> Callable[[Callable[..., object]], Callable[..., Any]]:
    """`numba.njit` with a cache on disk, whose faults cost a compilation and no more.

    inlined: modules and numbers that the function inlines. A hash of them becomes part of its name, under which numba keeps its code:
    numba itself compiles anew only where the function's own file changed.
    """
    parts = [inspect.getsource(one) if isinstance(one, ModuleType) else str(one) for one in (*inlined, BOUNDS_CHECKED)]
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]

    def compiled(function: Callable[..., object]) -> Any:
        function.__qualname__ += f"_{digest}"
        dispatcher = njit(**options)(function)
        try:
            dispatcher._cache = _Cache(function)
        except (RuntimeError, OSError):
            log_once(
                "compiled code cannot be kept: no folder for it can be written to; set NUMBA_CACHE_DIR to one, or every run compiles anew"
            )
        return dispatcher

    return compiled


class _Cache(FunctionCache):
    """Numba's, where a file that is cut off, or a disk that is full, is no reason to fail."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            # numba's own also registers what compiling needs, 0.3 s; the compiler does that itself, where the code is not here
            rtsys.initialize(target_context)
            with self._guard_against_spurious_io_errors():
                return self._load_overload(sig, target_context)
        except Exception:  # whatever unpickling makes of a damaged file
            log_once(f"the compiled code in {self.cache_path} is damaged and made anew")
            self._try(self.flush)
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        self._try(lambda: super(_Cache, self).save_overload(sig, data))

    def _try(self, write: Callable[[], None]) -> None:
        try:
            write()
        except Exception as error:  # OSError, or an index that another process left damaged
            log_once(f"compiled code cannot be kept in {self.cache_path} ({error}); set NUMBA_CACHE_DIR to another folder")
