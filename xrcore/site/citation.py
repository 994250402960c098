"""CITATION.cff as a reader wants to see it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from xrcore.errors import XrcoreError


@dataclass(frozen=True)
class Reference:
    """authors, title, where it appeared, year, and its doi, None if it has none."""

    authors: str
    title: str
    where: str
    year: str
    doi: str | None


@dataclass(frozen=True)
class Citation:
    licence: str
    paper: Reference | None


def read(path: Path) -> Citation | None:
    """None where there is no such file. Raises XrcoreError for one that is not in the Citation File Format."""
    if not path.is_file():
        return None
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        references = [content["preferred-citation"]] if "preferred-citation" in content else content.get("references", [])
        return Citation(str(content.get("license", "")), _reference(references[0]) if references else None)
    except (yaml.YAMLError, UnicodeDecodeError, AttributeError, KeyError, TypeError):
        raise XrcoreError(f"{path}: not a valid citation file; see https://citation-file-format.github.io") from None


def _reference(entry: dict[str, Any]) -> Reference:
    names = [f"{a.get('given-names', '')} {a.get('family-names', '')}".strip() or a["name"] for a in entry["authors"]]
    collection = entry.get("collection-title") or entry.get("journal") or ""
    volume = f", volume {entry['volume']}" if "volume" in entry else ""
    return Reference(", ".join(names), entry["title"], f"{collection}{volume}", str(entry.get("year", "")), entry.get("doi"))
