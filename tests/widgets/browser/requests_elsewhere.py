"""Which hosts a page of the browser asks."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

_HERE = (None, "", "127.0.0.1", "localhost")  # data: and blob: have no host


def elsewhere(page: Any) -> list[str]:
    """The addresses on other hosts that a page asks for from now on, also in vain; grows."""
    asked: list[str] = []

    def note(address: str) -> None:
        if urlsplit(address.removeprefix("blob:")).hostname not in _HERE:
            asked.append(address)

    page.on("request", lambda request: note(request.url))
    page.on("websocket", lambda socket: note(socket.url))
    return asked
