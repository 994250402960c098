"""Keep numba's disk cache apart for sources that it does not look at."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from types import ModuleType
from typing import TypeVar

Function = TypeVar("Function", bound=Callable[..., object])


def named_by(*inlined: ModuleType | int) -> Callable[[Function], Function]:
    """Put a hash of the modules and numbers that a function inlines into its name, under which numba keeps its machine code.

    numba itself compiles anew only where the function's own file changed.
    """
    parts = [inspect.getsource(one) if isinstance(one, ModuleType) else str(one) for one in inlined]
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]

    def named(function: Function) -> Function:
        function.__qualname__ += f"_{digest}"
        return function

    return named
