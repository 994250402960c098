"""Torch runs on one thread while the CPU renderer works, in the thread that asks for it and no longer than asked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest
import torch

from xrcore._util.threads import rendering_threads, single_threaded_steps, single_torch_thread


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def in_new_thread(function: Callable[[], Any]) -> Any:
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(function()))
    thread.start()
    thread.join()
    return results[0]


def test_one_thread_inside_and_all_again_after():
    with single_torch_thread():
        assert (torch.get_num_threads(), rendering_threads()) == (1, 2)
        with single_torch_thread():
            assert (torch.get_num_threads(), rendering_threads()) == (1, 2)
        assert (torch.get_num_threads(), rendering_threads()) == (1, 2)
    assert (torch.get_num_threads(), rendering_threads()) == (2, 2)


def test_an_error_gives_them_back():
    with pytest.raises(RuntimeError), single_torch_thread():
        raise RuntimeError
    assert torch.get_num_threads() == 2


def test_a_thread_born_inside_a_block_has_all_threads():
    started, go_on = threading.Event(), threading.Event()
    seen: list[int] = []

    def born() -> None:
        seen.append(torch.get_num_threads())
        started.set()
        go_on.wait(10)
        seen.append(torch.get_num_threads())

    thread = threading.Thread(target=born)
    with single_torch_thread():
        thread.start()
        assert started.wait(10)
    go_on.set()
    thread.join()
    assert seen == [2, 2]
    assert in_new_thread(torch.get_num_threads) == 2


def test_blocks_of_two_threads_may_overlap():
    entered, leave = threading.Event(), threading.Event()
    seen: list[int] = []

    def other() -> None:
        with single_torch_thread():
            entered.set()
            leave.wait(10)
            seen.append(torch.get_num_threads())
        seen.append(torch.get_num_threads())

    thread = threading.Thread(target=other)
    with single_torch_thread():
        thread.start()
        assert entered.wait(10)
    assert torch.get_num_threads() == 2  # although the other is still inside
    leave.set()
    thread.join()
    assert seen == [1, 2]
    assert torch.get_num_threads() == 2


def test_a_number_set_before_in_the_same_thread_comes_back():
    def work() -> list[int]:
        torch.set_num_threads(3)
        with single_torch_thread():
            inside = torch.get_num_threads()
        return [inside, torch.get_num_threads()]

    assert in_new_thread(work) == [1, 3]


def test_steps_of_a_generator_are_limited_and_its_consumer_is_not():
    closed: list[int] = []

    def steps() -> Generator[int, None, str]:
        try:
            yield torch.get_num_threads()
            yield rendering_threads()
            return f"done on {torch.get_num_threads()}"
        finally:
            closed.append(torch.get_num_threads())

    generator = single_threaded_steps(steps())
    assert next(generator) == 1
    assert torch.get_num_threads() == 2
    assert next(generator) == 2
    with pytest.raises(StopIteration) as end:
        next(generator)
    assert end.value.value == "done on 1"
    assert torch.get_num_threads() == 2

    generator = single_threaded_steps(steps())
    next(generator)
    generator.close()
    assert closed == [1, 1]
    assert torch.get_num_threads() == 2
