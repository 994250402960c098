"""Check arrays against the annotations of xrcore: of all its modules that are imported after this one."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from typing import Annotated, Any, get_args

import numpy as np
from beartype import BeartypeConf, beartype
from beartype.vale import Is
from jaxtyping import AbstractArray, install_import_hook
from torch import Tensor

# numba and Triton compile what is written there
COMPILED = ("kernel", "kernels", "intrinsics", "_kernel", "triton_check", "integrator", "voxelise")
COMPILED += ("depthwise", "batch_norm", "mobile_block")

NoArray = Annotated[object, Is[lambda value: not isinstance(value, (Tensor, np.ndarray))]]


class _Unchecked(MetaPathFinder):
    """Finds the modules of compiled code before the hook does."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        compiled = name.startswith("xrcore.") and name.rpartition(".")[2].endswith(COMPILED)
        return PathFinder.find_spec(name, path, target) if compiled else None


def check_arrays(function: Callable[..., Any]) -> Callable[..., Any]:
    """Check arrays among the arguments, and what is returned, once a call has returned it: what a function refuses it says itself.

    Constructors turn what they are given into what their fields say, so these are left out. The hook gives one function for the arguments
    alone, whose return type is Any, and one for both.
    """
    hints = function.__annotations__
    kept = {name: hint if name == "return" else hint | NoArray for name, hint in hints.items() if _of_array(hint)}
    if function.__name__ == "__init__" or hints.get("return", Any) is Any or not kept:
        return function
    function.__annotations__ = kept
    return beartype(conf=BeartypeConf(is_pep484_tower=True))(function)


def _of_array(hint: Any) -> bool:
    return (isinstance(hint, type) and issubclass(hint, AbstractArray)) or any(map(_of_array, get_args(hint)))


install_import_hook("xrcore", "shape_checks.check_arrays")
sys.meta_path.insert(0, _Unchecked())
