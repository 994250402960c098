"""Pooch downloader that resumes interrupted downloads."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import requests
import urllib3

from companion.datasets.manifest import unprotected
from xrcore import XrcoreError
from xrcore.utilities import atomic_file, read_json

_CHUNK = 1 << 16
_FINAL = {401: "wants a password", 403: "refuses to hand it out", 410: "no longer has it", 451: "may not hand it out"}
_LONGEST_PAUSE = 30.0  # [s]


class Progress(Protocol):
    """Receives the number of bytes that arrived; tqdm's progress bars have this interface."""

    def update(self, n: int, /) -> object:
        """Count bytes.

        Parameters
        ----------
        n : int
            How many more; negative where a transfer starts over.
        """


class _Broken(Exception):
    """A transfer ended early, and another attempt may help."""


@dataclass
class ResumingDownloader:
    """Download one file for `pooch.retrieve(..., downloader=)`, resuming an interrupted transfer.

    Bytes are collected in `part`, which survives an interrupt, a kill and a failed call; the next call asks the server only for
    the rest (HTTP Range), provided that the file there is still the same (If-Range with its ETag or date, kept in `part` + ".json").
    A server that cannot send a part, or whose file changed, sends the whole. Only a complete transfer reaches pooch, which
    compares its hash before it moves into place.

    Parameters
    ----------
    part : Path
        Where bytes are collected.
    size : int or None
        [bytes] of the file if known exactly; no more than that is read, whatever the server states.
    hashed : bool
        Whether a sha256 will tell the right bytes; without one, no redirect may lead to http.
    attempts : int
        How often in a row a transfer may fail without any new byte.
    pause : float
        [s] between attempts, twice as long each time.
    timeout : float
        [s] for an answer.
    progress : Progress or None
        Told how many bytes arrived.
    session : requests.Session
        Keeps connections.
    sleep : callable
        Waits some seconds.
    resumed : bool
        Whether the last call continued an earlier one.

    Raises
    ------
    XrcoreError
        When called: one line with the address, what went wrong, and what to do.
    """

    part: Path
    size: int | None = None
    hashed: bool = True
    attempts: int = 5
    pause: float = 1.0
    timeout: float = 30.0
    progress: Progress | None = None
    session: requests.Session = field(default_factory=requests.Session)
    sleep: Callable[[float], None] = time.sleep
    resumed: bool = False

    def __call__(self, url: str, output_file: str | os.PathLike[str], pooch: Any, check_only: bool = False) -> None:
        self.resumed, failures = False, 0
        best = self._have()
        self._tell(best)
        while True:
            try:
                self._attempt(url)
                break
            except (_Broken, requests.RequestException, urllib3.exceptions.HTTPError) as error:
                have = self._have()
                failures = 1 if have > best else failures + 1
                best = max(best, have)
                if failures >= self.attempts:
                    raise XrcoreError(_complaint(url, error, have)) from None
                self.sleep(min(self.pause * 2 ** (failures - 1), _LONGEST_PAUSE))
        os.replace(self.part, output_file)
        self._note.unlink(missing_ok=True)

    @property
    def _note(self) -> Path:
        return self.part.with_name(self.part.name + ".json")

    def _have(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _tell(self, count: int) -> None:
        if self.progress is not None and count:
            self.progress.update(count)

    def _drop(self) -> None:
        self._tell(-self._have())
        self.part.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def _attempt(self, url: str) -> None:
        """One request; returns when `part` is complete."""
        known = self._known(url)
        if (self._have() and known is None) or (self.size is not None and self._have() > self.size):
            self._drop()
        have = self._have()
        if self.size is not None and have == self.size:
            return
        headers = {"Accept-Encoding": "identity"}  # a compressed transfer has no byte positions to resume at
        if have and known:
            headers["Range"] = f"bytes={have}-"
            if known["is"]:
                headers["If-Range"] = known["is"]
        # a mobile network's proxies may hold a connection without a byte: both waits have a limit
        with self.session.get(url, headers=headers, stream=True, timeout=(min(10.0, self.timeout), self.timeout)) as response:
            if not self.hashed and any(unprotected(answer.url) for answer in (*response.history, response)):
                raise XrcoreError(f"{url}: leads to {response.url}, which is http, which anybody on the way can change; it has no sha256")
            total = self._accept(response, have, known)
            if total is _COMPLETE:
                return
            continues = response.status_code == 206
            self.resumed = self.resumed or continues
            if not continues:
                self._drop()
                with atomic_file(self._note) as temporary:
                    temporary.write_text(json.dumps({"url": url, "is": _validator(response), "total": total}), encoding="utf-8")
            self._receive(response, "ab" if continues else "wb")
        have = self._have()
        wanted = self.size if self.size is not None else total
        if wanted is not None and have < wanted:
            raise _Broken(f"the transfer ended after {have} of {wanted} bytes")

    def _known(self, url: str) -> dict[str, Any] | None:
        """What is recorded of the file that `part` is the beginning of; None where nothing is, or it is another file."""
        try:
            known = read_json(self._note)
            same = known["url"] == url and {"is", "total"} <= set(known)
        except (XrcoreError, KeyError, TypeError):
            return None
        return known if same else None

    def _accept(self, response: requests.Response, have: int, known: dict[str, Any] | None) -> int | None:
        """The size of the whole file if the server states it, after a look at its answer."""
        status = response.status_code
        if status in _FINAL:
            raise XrcoreError(f"{response.url}: the server {_FINAL[status]} (HTTP {status}); fetch the file by hand into a local mirror")
        if status == 206 and known is not None:
            span = re.fullmatch(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)", response.headers.get("Content-Range", ""))
            total = int(span[3]) if span and span[3] != "*" else None
            changed = total is not None and known["total"] not in (None, total)
            now = _validator(response)
            if span is None or int(span[1]) != have or changed or (known["is"] and now and now != known["is"]):
                self._drop()
                raise _Broken("the file changed on the server, or it sent another part than the one asked for")
            return total if total is not None else known["total"]
        if status == 416 and have:
            if have == (known or {}).get("total"):
                return _COMPLETE
            self._drop()
            raise _Broken("the server has no more bytes than were there, so it starts over")
        if status != 200:
            raise _Broken(f"the server answered HTTP {status}")
        length = response.headers.get("Content-Length", "")
        return int(length) if re.fullmatch(r"[0-9]{1,18}", length) and "Content-Encoding" not in response.headers else None

    def _receive(self, response: requests.Response, mode: str) -> None:
        have = self._have() if mode == "ab" else 0
        with open(self.part, mode, opener=_open_no_link) as file:
            # never more than the size: a server that promises too much would fail the last read, and its bytes would be lost
            while want := _CHUNK if self.size is None else min(_CHUNK, self.size - have):
                chunk = response.raw.read(want, decode_content=True)
                if not chunk:
                    break
                file.write(chunk)
                have += len(chunk)
                self._tell(len(chunk))
            file.flush()
            os.fsync(file.fileno())


def _open_no_link(path: str, flags: int) -> int:
    """A name that others can foresee may be a link that they put there, to a file of the user's."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


_COMPLETE = -1


def _validator(response: requests.Response) -> str | None:
    """What If-Range may carry: a strong ETag, else the date of the last change."""
    tag = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else response.headers.get("Last-Modified")


def _complaint(url: str, error: Exception, have: int) -> str:
    kept = f"; {have} bytes are kept, the same command continues there" if have else ""
    if isinstance(error, _Broken):
        return f"{url}: {error}{kept or '; try later, or put the file into a local mirror'}"
    if isinstance(error, requests.Timeout):
        what = "no answer in time"
    elif isinstance(error, requests.exceptions.SSLError):
        what = "its certificate is not accepted"
    elif isinstance(error, requests.ConnectionError):
        what = "cannot be reached"
    else:
        what = f"the transfer broke off ({type(error).__name__})"
    return f"{url}: {what}; check the network, or set XRCORE_DATA_MIRROR to a folder that holds the data{kept}"
