"""Data sets on a local server, a manifest of them, and the store that fetches them."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import yaml
from support.server import Site

from companion.datasets.manifest import Manifest, load_manifest
from companion.datasets.mirror import Mirror
from companion.datasets.store import Store

CONTENT = random.Random(0).randbytes(700_000)
ABOUT = {"shows": "noise", "stands_for": "data", "licence": "none", "citation": "none"}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def single(site: Site, **changes: object) -> dict[str, object]:
    known = {"url": f"{site.address}/data.bin", "bytes": len(CONTENT), "hash": f"sha256:{sha256(CONTENT)}"}
    return {"kind": "file", "path": "ct/data.bin", **ABOUT, **known, **changes}


def unverified(site: Site, **changes: object) -> dict[str, object]:
    return {"kind": "file", "path": "ct/data.bin", **ABOUT, "url": f"{site.address}/data.bin", "verified": False, **changes}


def series(site: Site, names: tuple[str, ...] = ("a", "b", "c")) -> dict[str, object]:
    for name in names:
        site.files[f"/s/{name}"] = name.encode() * 1000
    lines = [f"{sha256(name.encode() * 1000)} {1000 * len(name)} {name}" for name in names]
    return {"kind": "series", "path": "ct/folder", **ABOUT, "base": f"{site.address}/s/", "files": "\n".join(lines)}


def write_manifest(path: Path, **entries: object) -> Path:
    path.write_text(yaml.safe_dump({"format": 1, "entries": {k.replace("_", "-"): v for k, v in entries.items()}}, sort_keys=False))
    return path


def manifest(tmp_path: Path, **entries: object) -> Manifest:
    return load_manifest(write_manifest(tmp_path / "manifest.yaml", **entries))


def store(tmp_path: Path, mirror: Path | None = None, **entries: object) -> Store:
    return Store(manifest(tmp_path, **entries), tmp_path / "data", Mirror(mirror) if mirror else None, attempts=3, pause=0)


def visible(folder: Path) -> list[str]:
    """Files a reader could take for data."""
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() and ".downloads" not in p.parts)


class Bar:
    """Counts what it is told."""

    def __init__(self) -> None:
        self.total: int | None = None
        self.count = 0

    def __call__(self, name: str, total: int | None) -> Bar:
        self.total = total
        return self

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def update(self, n: int) -> None:
        self.count += n
