"""Where the results come from, as their records say: commit, seed, machine, minutes."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_COMMIT = 10  # characters of a hash that a reader needs
_NOT_PROFILES = ("scratch",)


@dataclass(frozen=True)
class Row:
    """Results of one profile from one commit and one machine."""

    profile: str
    results: tuple[str, ...]
    commit: str
    machine: str
    seeds: str
    minutes: float | None


def profiles(results: Path) -> list[Path]:
    """The folders of results, one a profile."""
    return sorted(p for p in results.glob("*") if p.is_dir() and p.name not in _NOT_PROFILES and not p.name.startswith("."))


def provenance(results: Path) -> list[Row]:
    """One row for all records of RESULTS/PROFILE/*.json that agree; files of another kind are passed over."""
    rows: list[Row] = []
    for folder in profiles(results):
        groups: dict[tuple[str, str], list[tuple[str, dict[str, Any]]]] = {}
        for path in sorted(folder.glob("*.json")):
            record = _record(path)
            if record is not None:
                groups.setdefault((_commit(record), _machine(record.get("machine"))), []).append((path.stem, record))
        for (commit, machine), members in groups.items():
            minutes = [r["minutes"] for _, r in members if isinstance(r.get("minutes"), (int, float))]
            names = tuple(name for name, _ in members)
            seeds = _seeds(r.get("seed") for _, r in members)
            rows.append(Row(folder.name, names, commit, machine, seeds, sum(minutes) if minutes else None))
    return rows


def _record(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) and {"commit", "machine"} & content.keys() else None


def _commit(record: dict[str, Any]) -> str:
    commit = record.get("commit")
    if not isinstance(commit, str) or not commit:
        return "unknown"
    return commit[:_COMMIT] + (", with changes not committed" if record.get("uncommitted") else "")


def _machine(machine: Any) -> str:
    if isinstance(machine, dict):
        cores = machine.get("cores")
        parts = [machine.get("gpu"), machine.get("cpu"), f"{cores} cores" if cores else None]
        return ", ".join(str(part) for part in parts if part) or "unknown"
    return machine if isinstance(machine, str) and machine else "unknown"


def _seeds(seeds: Iterable[Any]) -> str:
    return ", ".join(sorted({str(seed) for seed in seeds if seed is not None}, key=lambda text: (len(text), text)))
