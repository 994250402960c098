"""Reports: a function that reports by callback, as an iterator."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from xrcore import XrcoreError
from xrcore._util.threads import rendering_threads, single_torch_thread

pytest.importorskip("greenlet", reason="the widgets need the extra 'notebooks'")

from xrcore.widgets.reports import Reports


def test_reports_come_out_one_by_one_and_then_the_result():
    order = []

    def work(report: Callable[[int], None]) -> str:
        for number in range(3):
            order.append(f"work {number}")
            report(number)
        return "done"

    reports = Reports(work)
    assert order == []  # nothing before it is asked for
    for number in reports:
        order.append(f"seen {number}")
    assert order == ["work 0", "seen 0", "work 1", "seen 1", "work 2", "seen 2"]
    assert reports.result == "done"
    with pytest.raises(StopIteration):
        next(reports)


def test_what_the_work_raises_comes_out():
    def work(report: Callable[[int], None]) -> None:
        report(1)
        raise XrcoreError("too dark")

    reports = Reports(work)
    assert next(reports) == 1
    with pytest.raises(XrcoreError, match="too dark"):
        next(reports)
    with pytest.raises(StopIteration):
        next(reports)


def test_a_stop_iteration_of_the_work_is_not_its_end():
    def work(report: Callable[[int], None]) -> None:
        next(iter(()))

    with pytest.raises((StopIteration, RuntimeError)):
        list(Reports(work))


def test_closing_ends_the_work_where_it_stands():
    order = []

    def work(report: Callable[[str], None]) -> None:
        try:
            with torch.no_grad(), single_torch_thread():
                try:
                    report("first")
                except Exception:
                    order.append("caught")
                order.append("went on")
        finally:
            order.append("put away")

    threads = torch.get_num_threads()
    with Reports(work) as reports:
        assert next(reports) == "first"
    assert order == ["put away"]
    assert torch.is_grad_enabled()
    assert torch.get_num_threads() == threads
    with pytest.raises(StopIteration):
        next(reports)
    assert not hasattr(reports, "result")
    reports.close()


def test_closed_before_it_began_it_never_begins():
    began = []
    reports = Reports(lambda report: began.append(1))
    reports.close()
    list(reports)
    assert began == []


def test_each_side_keeps_its_own_gradients():
    inside = []

    def work(report: Callable[[int], None]) -> None:
        with torch.no_grad():
            for number in range(3):
                report(number)
                inside.append(torch.is_grad_enabled())
        with torch.enable_grad():
            report(3)
            inside.append(torch.is_grad_enabled())

    for grad in (True, False):
        inside.clear()
        with torch.set_grad_enabled(grad):
            for _ in Reports(work):
                assert torch.is_grad_enabled() is grad
            assert torch.is_grad_enabled() is grad
        assert inside == [False] * 3 + [True]


def test_who_asks_keeps_the_gradients_that_they_have_now():
    def work(report: Callable[[int], None]) -> None:
        with torch.no_grad():
            report(1)
            report(2)

    reports = Reports(work)
    with torch.no_grad():
        next(reports)
        assert not torch.is_grad_enabled()


def test_reports_overlap():
    """Two registrations at a time, and a render in between, in whatever order they end."""
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)

        def work(report: Callable[[int], None]) -> int:
            with single_torch_thread(), torch.no_grad(), single_torch_thread():
                report(rendering_threads())
                report(torch.get_num_threads())
            return 1

        one, other = Reports(work), Reports(work)
        assert (next(one), next(other)) == (2, 2)
        assert (next(one), next(other)) == (1, 1)
        one.close()
        assert rendering_threads() == 2
        assert list(other) == []
        assert other.result == 1
        assert torch.get_num_threads() == 2
        assert torch.is_grad_enabled()
    finally:
        torch.set_num_threads(threads)


def test_reports_in_reports():
    def inner(report: Callable[[int], None]) -> int:
        report(1)
        return 2

    def outer(report: Callable[[int], None]) -> int:
        reports = Reports(inner)
        for number in reports:
            report(10 * number)
        return reports.result

    reports = Reports(outer)
    assert list(reports) == [10]
    assert reports.result == 2
