"""Files that lie beside the pages: figures out of notebooks, and local files that pages link to."""

from __future__ import annotations

import hashlib
import shutil
import struct
from pathlib import Path

from xrcore.errors import XrcoreError

_PNG = b"\x89PNG\r\n\x1a\n"


class Assets:
    """Writes into `site`/files; every method returns an address relative to the site."""

    def __init__(self, site: Path) -> None:
        self._site = site
        self._folder = site / "files"

    def image(self, data: bytes, suffix: str) -> str:
        """The same picture twice is one file."""
        self._folder.mkdir(exist_ok=True)
        path = self._folder / f"{hashlib.sha256(data).hexdigest()[:16]}.{suffix}"
        path.write_bytes(data)
        return self._address(path)

    def copy(self, source: Path, under: str = "") -> str:
        """`source` below files/`under`, by its own name. Raises XrcoreError where it is absent, or another file has that name."""
        if not source.is_file():
            raise XrcoreError(f"{source}: no such file, but a page needs it; make it or change the page")
        path = self._folder / under / source.name
        if path.exists() and path.read_bytes() != source.read_bytes():
            path = path.with_name(f"{hashlib.sha256(source.read_bytes()).hexdigest()[:8]}-{source.name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, path)
        return self._address(path)

    def _address(self, path: Path) -> str:
        return path.relative_to(self._site).as_posix()


def png_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) in pixels, None if it is no PNG."""
    if not data.startswith(_PNG) or len(data) < 24:
        return None
    return struct.unpack(">II", data[16:24])
