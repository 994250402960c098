"""A local HTTP server whose behaviour a test chooses, request by request."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Site:
    """files: {path: bytes}. The rest is misbehaviour: lists are used up one request at a time.

    statuses: answers of an error instead of the file (200: none). break_after: bytes of the body after which the connection is
    cut, None: not. stated: added to the true Content-Length. ranges: whether parts are sent. etag: of all files.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    statuses: list[int] = field(default_factory=list)
    break_after: list[int | None] = field(default_factory=list)
    stated: list[int] = field(default_factory=list)
    ranges: bool = True
    etag: str | None = '"1"'
    redirects: dict[str, str] = field(default_factory=dict)
    slow: float = 0.0  # [s] between pieces of 64 kB
    requests: list[tuple[str, str | None]] = field(default_factory=list)  # (path, Range)
    sent: list[int] = field(default_factory=list)  # bytes of each body
    address: str = ""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        site: Site = self.server.site  # type: ignore[attr-defined]
        wanted = self.headers.get("Range")
        site.requests.append((self.path, wanted))
        status = site.statuses.pop(0) if site.statuses else 200
        if status == 200 and self.path in site.redirects:
            self.send_response(302)
            self.send_header("Location", site.redirects[self.path])
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if status != 200 or self.path not in site.files:
            self.send_error(status if status != 200 else 404)
            return
        content = site.files[self.path]
        start = self._start(site, wanted)
        if start >= len(content) > 0:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if site.etag is not None:
            self.send_header("ETag", site.etag)
        lie = site.stated.pop(0) if site.stated else 0
        self.send_header("Content-Length", str(max(0, len(content) - start + lie)))
        self.end_headers()
        self._body(site, content[start:])
        self.close_connection = self.close_connection or lie != 0

    def _start(self, site: Site, wanted: str | None) -> int:
        found = re.fullmatch(r"bytes=(\d+)-", wanted or "")
        same = self.headers.get("If-Range") in (None, site.etag)
        return int(found[1]) if found and site.ranges and same else 0

    def _body(self, site: Site, body: bytes) -> None:
        cut = site.break_after.pop(0) if site.break_after else None
        body = body if cut is None else body[:cut]
        site.sent.append(len(body))
        try:
            for k in range(0, len(body), 1 << 16):
                self.wfile.write(body[k : k + (1 << 16)])
                time.sleep(site.slow)
        except OSError:  # the reader left
            pass
        if cut is not None:
            self.close_connection = True

    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[Site]:
    """A Site at `site.address` while the block runs."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    server.site = site = Site(address=f"http://127.0.0.1:{server.server_address[1]}")  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
