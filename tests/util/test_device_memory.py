"""Work on a batch in portions that fit a device's memory."""

from __future__ import annotations

import logging

import pytest

from xrcore._util.device_memory import OUT_OF_MEMORY, Portions
from xrcore._util.errors import XrcoreError


@pytest.fixture(autouse=True)
def lines_seen(caplog):
    caplog.set_level(logging.INFO, logger="xrcore")


class Memory:
    """A device that holds `room` items at a time."""

    def __init__(self, room: int) -> None:
        self.room, self.asked, self.begun = room, list[int](), 0

    def begin(self) -> None:
        self.begun += 1

    def work(self, part: slice) -> list[int]:
        self.asked.append(part.stop - part.start)
        if part.stop - part.start > self.room:
            raise OUT_OF_MEMORY("no room")
        return list(range(part.start, part.stop))


def test_a_batch_stays_whole_where_it_fits(caplog):
    memory = Memory(10)
    assert Portions("work").run(10, memory.work, memory.begin) == [list(range(10))]
    assert memory.begun == 1
    assert caplog.messages == []


@pytest.mark.parametrize(("count", "room"), [(10, 5), (10, 3), (7, 1), (64, 10)])
def test_out_of_memory_cuts_it_until_it_fits_and_says_so(caplog, count, room):
    memory, portions = Memory(room), Portions("work")
    found = portions.run(count, memory.work, memory.begin)
    assert [item for part in found for item in part] == list(range(count))
    lines = list(caplog.messages)
    assert lines[0] == f"work: out of GPU memory, going on in 2 portions of {-(-count // 2)}"
    assert memory.begun == len(lines) + 1  # all over again each time, so that nothing counts twice
    # and it does not try in vain again
    memory.asked.clear()
    portions.run(count, memory.work)
    assert max(memory.asked) <= room
    assert caplog.messages == lines


def test_what_does_not_fit_at_all_ends_in_one_line():
    with pytest.raises(XrcoreError, match=r"^work: the GPU's memory does not suffice even for one image at a time; --device cpu"):
        Portions("work").run(4, Memory(0).work)


def test_portions_have_a_least_size():
    assert [len(part) for part in Portions("work", least=2).run(9, Memory(3).work)] == [2, 2, 2, 3]
    memory = Memory(1)
    with pytest.raises(XrcoreError, match="even for 2 images at a time"):
        Portions("work", least=2).run(8, memory.work)
    assert min(memory.asked) == 2


def test_what_did_not_fit_says_nothing_of_less():
    assert Portions("work", least=2).pieces(9, size=10**9) == 1  # while nothing failed
    portions, memory = Portions("work"), Memory(300)
    portions.run(1024, memory.work)
    assert portions.pieces(8) == 1
    assert portions.pieces(1024) == 4
    assert portions.pieces(8, size=64) == 2  # of larger images fewer fit
    assert portions.pieces(8, size=1000) == 8
    memory.asked.clear()
    portions.run(8, memory.work)
    assert memory.asked == [8]


def test_other_errors_pass():
    def broken(part: slice) -> None:
        raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else"):
        Portions("work").run(4, broken)
