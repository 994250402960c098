"""The command `xrcore data list|fetch|verify`."""

from __future__ import annotations

import re
import sys
import textwrap
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xrcore import XrcoreError

if TYPE_CHECKING:
    from companion.datasets.manifest import Entry
    from companion.datasets.store import Store

_COLUMNS = 80  # of a terminal

data = typer.Typer(rich_markup_mode=None)

Names = Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="As `xrcore data list` shows them.", show_default=False)]
ManifestFile = Annotated[Path | None, typer.Option("--manifest", metavar="YAML", help="Another data_manifest.yaml.", show_default=False)]


@data.callback(invoke_without_command=True)
def _data(context: typer.Context) -> None:
    """List, fetch and check public CTs and X-rays.

    Data go to the folder that XRCORE_DATA names, else to the user's cache; what the folder XRCORE_DATA_MIRROR
    holds, by path or by hash, is used instead of a download.
    """
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit


@data.command("list")
def list_data(manifest: ManifestFile = None) -> None:
    """Show what there is, and what of it is here.

    A hash is "verified" where this project has seen the bytes; otherwise it is recorded at the first download,
    and later downloads must match it.
    """
    from companion.datasets.lock_file import read_records
    from companion.datasets.store import HERE, MIRRORED

    store = _store(manifest)
    records = read_records(store.folder)
    rows, shown = [("NAME", "PATIENT", "KIND", "SIZE", "STATE", "HASH")], [""]
    for entry in store.manifest.entries:
        state = store.state(entry.name)
        hashes = "verified" if entry.verified else "recorded" if entry.name in records and state in (HERE, MIRRORED) else "unverified"
        rows.append((entry.name, entry.patient or "", entry.kind, _size(entry), state, hashes))
        shown.append(f"{entry.shows} ({_short(entry.licence)})")
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row, what in zip(rows, shown, strict=True):
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
        if what:
            print(
                textwrap.fill(what, _COLUMNS, initial_indent="  ", subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
            )
    print(f"\ndata folder  {store.folder}")
    print(f"mirror       {store.mirror.folder if store.mirror else 'none (XRCORE_DATA_MIRROR is not set)'}")


@data.command()
def fetch(
    names: Names = None,
    all_patients: Annotated[bool, typer.Option("--all-patients", help="The CTs of the six patients.")] = False,
    manifest: ManifestFile = None,
) -> None:
    """Download data sets, but for those that the mirror has.

    Interrupted, the same command continues where it was. Nothing incomplete or wrong is left where it could be read.
    Large sets are only fetched by their names.

    \b
    Examples:
      xrcore data fetch abdomen wrist-biplane
      xrcore data fetch --all-patients
    """
    store = _store(manifest)
    wanted = [entry.name for entry in store.manifest.patients] if all_patients else []
    wanted = list(dict.fromkeys([*wanted, *_known(store, names)]))
    if not wanted:
        raise XrcoreError("nothing to fetch; give names as `xrcore data list` shows them, or --all-patients")
    for name in wanted:
        entry = store.manifest[name]
        unverified = "" if entry.verified else ", hash unverified: recorded now if this is the first time"
        print(f"{name}: {entry.kind}, {_size(entry)}, {entry.licence}{unverified}", flush=True)
        how = store.fetch(name, bar=_bar)
        print(f"{name}: {how}, {store.find(name)}", flush=True)


@data.command()
def verify(names: Names = None, manifest: ManifestFile = None) -> None:
    """Read all bytes again and compare their hashes.

    Default everything that is here or in the mirror.

    Exit code 2 for wrong or missing bytes, and for a NAME that is not here.
    """
    store = _store(manifest)
    wrong: list[str] = []
    absent: list[str] = []
    for name in _known(store, names) or store.manifest.names:
        checked = store.verify(name)
        bad = [file for file in checked if file.wrong is not None]
        if not checked:
            absent.append(name)
            verdict = "not fetched"
        elif bad:
            wrong.append(name)
            rest = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
            verdict = f"WRONG  {bad[0].path}: {bad[0].wrong}{rest}"
        else:
            unknown = sum(not file.known for file in checked)
            verdict = f"ok, {len(checked)} file{'s' if len(checked) > 1 else ''}" if not unknown else "no hash to compare with"
        print(f"{name}: {verdict}", flush=True)
    if wrong:
        raise XrcoreError(
            f"wrong bytes in {', '.join(wrong)}; run `xrcore data fetch {' '.join(wrong)}`, and mend the mirror if it is there"
        )
    if absent and names:
        raise XrcoreError(f"not fetched: {', '.join(absent)}; run `xrcore data fetch {' '.join(absent)}`")


def _store(manifest: Path | None) -> Store:
    from companion.datasets.manifest import load_manifest
    from companion.datasets.store import Store

    return Store(load_manifest(manifest))


def _known(store: Store, names: list[str] | None) -> list[str]:
    # all names are looked at before the first is worked on
    return [store.manifest[name].name for name in names or ()]


def _short(licence: str) -> str:
    return re.split(r" \(|[;,]", licence)[0]


def _size(entry: Entry) -> str:
    if entry.bytes is None:
        return "not stated"
    about = "" if entry.verified else "about "
    for unit, scale in (("GB", 1e9), ("MB", 1e6)):
        if entry.bytes >= scale:
            return f"{about}{entry.bytes / scale:.1f} {unit}"
    return f"{about}{entry.bytes / 1e3:.1f} kB"


def _bar(name: str, total: int | None) -> AbstractContextManager[Any]:
    from tqdm import tqdm

    # disable=None: no bar where stderr is a file
    return tqdm(desc=name, total=total, unit="B", unit_scale=True, disable=None, file=sys.stderr, leave=False)
