"""Libraries are silent while a file is read, and nothing else is afterwards."""

from __future__ import annotations

import os
import threading
import warnings

import pytest
import SimpleITK as sitk

from xrcore._util.suppress_stderr import suppress_library_output


def write_to_descriptor(text: str) -> None:
    """As a C library does."""
    os.write(2, text.encode())


def test_nothing_is_shown_inside_and_everything_after(capfd):
    shown = sitk.ProcessObject.GetGlobalWarningDisplay()
    with suppress_library_output():
        write_to_descriptor("inside")
        warnings.warn("inside", stacklevel=1)
        with suppress_library_output():
            pass
        write_to_descriptor("still inside")
        assert not sitk.ProcessObject.GetGlobalWarningDisplay()
    write_to_descriptor("after")
    assert capfd.readouterr().err == "after"
    assert sitk.ProcessObject.GetGlobalWarningDisplay() == shown


def test_an_error_ends_it(capfd):
    with pytest.raises(RuntimeError), suppress_library_output():
        raise RuntimeError
    write_to_descriptor("after")
    assert capfd.readouterr().err == "after"


def test_reads_of_two_threads_leave_standard_error_and_the_warnings_as_they_were(capfd):
    filters, before = list(warnings.filters), os.fstat(2).st_ino
    entered, leave = threading.Event(), threading.Event()

    def read() -> None:
        with suppress_library_output():
            entered.set()
            leave.wait(10)

    other = threading.Thread(target=read)
    with suppress_library_output():
        other.start()
        assert entered.wait(10)
    write_to_descriptor("the other still reads")
    leave.set()
    other.join()
    write_to_descriptor("after")
    assert capfd.readouterr().err == "after"
    assert os.fstat(2).st_ino == before
    assert warnings.filters == filters


def test_a_process_without_standard_error():
    kept = os.dup(2)
    os.close(2)
    try:
        with suppress_library_output():
            pass
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(2)
    finally:
        os.dup2(kept, 2)
        os.close(kept)
