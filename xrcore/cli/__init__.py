"""The command line.

Exit codes: 0 done (and trusted), 1 output lost, 2 bad input, 3 registered but not trusted, 130 interrupted, 143 terminated.
"""

from __future__ import annotations

import io
import logging
import os
import signal
import sys
from contextlib import suppress
from types import FrameType
from typing import NoReturn

import typer

from xrcore._util.errors import XrcoreError
from xrcore._util.logs import logger
from xrcore._util.out_of_memory import GPU_ERROR, ran_out_of_memory

# the base of all complaints about arguments; its own home moved between versions of typer
_UsageError: type[typer.BadParameter] = typer.BadParameter.__base__  # type: ignore[assignment]


def main() -> NoReturn:
    """Run a command; whatever a user can mend ends in one line and no traceback."""
    signal.signal(signal.SIGTERM, _terminated)
    _prepare_output()
    notes = logging.StreamHandler()
    notes.setFormatter(logging.Formatter("xrcore: note: %(message)s"))
    logger.addHandler(notes)
    logger.setLevel(logging.INFO)
    try:
        from xrcore.cli.app import app  # here, where notes are shown: a command of another package may not load

        code = app(prog_name="xrcore", standalone_mode=False) or 0
        sys.stdout.flush()
    except XrcoreError as error:
        code = _complain(str(error))
    except _UsageError as error:
        context = getattr(error, "ctx", None)
        help_of = context.command_path if context else "xrcore"
        code = _complain(f"{error.format_message().rstrip('.')} ({help_of} --help shows what it takes)")
    except BrokenPipeError:  # the reader of our output left, as `head` does
        code = 1
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    except Exception as error:
        code = _complain_of_system(error)
    finally:
        logger.removeHandler(notes)
        _give_up_output()
    sys.exit(code)


def _complain(message: str) -> int:
    with suppress(OSError):
        print("xrcore: error:", " ".join(message.split()), file=sys.stderr)
    return 2


def _complain_of_system(error: Exception) -> int:
    """Memory that ran out and files that the system refuses; what else there is, is raised again."""
    if type(error).__name__ == GPU_ERROR:
        return _complain("not enough GPU memory; a smaller batch, a larger --spacing, or --device cpu needs less")
    if ran_out_of_memory(error):
        return _complain("not enough memory; a larger --spacing, a detector of fewer pixels, or in training a smaller batch needs less")
    if not isinstance(error, OSError):
        raise error
    if error.filename:
        return _complain(f"{error.filename}: {error.strerror}")
    _complain(f"output cannot be written ({error.strerror or error})")
    return 1


def _prepare_output() -> None:
    """Where a standard stream was closed nothing is shown; what its encoding lacks is shown as an escape."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:  # else the next file that is opened would be taken for it
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))
        elif isinstance(stream, io.TextIOWrapper) and number:
            stream.reconfigure(errors="backslashreplace")


def _give_up_output() -> None:
    """Where a stream takes no more, what Python would still write to it at its end must not fail again."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _terminated(number: int, frame: FrameType | None) -> NoReturn:
    # as an exception, so that half-written files are removed on the way out
    raise SystemExit(128 + number)
