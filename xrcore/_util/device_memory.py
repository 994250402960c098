"""Work on a batch in smaller portions where a device's memory does not suffice."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

import torch

from xrcore._util.errors import XrcoreError
from xrcore._util.logs import log_once

T = TypeVar("T")

OUT_OF_MEMORY: type[BaseException] = torch.cuda.OutOfMemoryError


class NoRoomError(XrcoreError):
    """A device's memory does not suffice."""


class Portions:
    """Work on a batch in as few portions as a device's memory allows: in one until it runs out, from then on in portions that have fitted.

    work: what it is called in the line that says so. least: items of a portion.
    """

    def __init__(self, work: str, *, least: int = 1) -> None:
        self.work, self.least = work, least
        self.room = math.inf  # sizes of items that are tried at once

    def pieces(self, count: int, size: float = 1) -> int:
        """In how many portions to work on so many items of that size."""
        if count * size <= self.room:
            return 1
        return min(-(-count // max(int(self.room / size), 1)), self._most(count))

    def _most(self, count: int) -> int:
        return max(1, count // self.least)

    def run(self, count: int, function: Callable[[slice], T], begin: Callable[[], None] = lambda: None, size: float = 1) -> list[T]:
        """`function` of slices that together cover `count`; after running out of memory all over again, with `begin` before.

        size: of an item, such as its pixels: what did not fit says nothing of fewer or smaller items.
        Raises XrcoreError where the smallest portion is still too much.
        """
        pieces, most = self.pieces(count, size), self._most(count)
        while True:
            begin()
            try:
                return [function(slice(count * i // pieces, count * (i + 1) // pieces)) for i in range(pieces)]
            except OUT_OF_MEMORY:
                if pieces >= most:
                    at_once = -(-count // pieces)
                    least = "one image" if at_once == 1 else f"{at_once} images"
                    advice = "--device cpu, or a coarser spacing"
                    raise XrcoreError(f"{self.work}: the GPU's memory does not suffice even for {least} at a time; {advice}") from None
            # outside the handler, whose traceback still holds what was allocated
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            pieces = min(2 * pieces, most)
            at_once = -(-count // pieces)
            self.room = at_once * size
            log_once(f"{self.work}: out of GPU memory, going on in {pieces} portions of {at_once}")
