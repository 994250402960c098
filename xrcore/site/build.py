"""Sources -> a folder of pages; it appears whole, or the one from before stays."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

import xrcore
from xrcore.errors import XrcoreError
from xrcore.files import check_writable
from xrcore.site import api, citation, document, notebook
from xrcore.site.api import Reference
from xrcore.site.assets import Assets
from xrcore.site.document import ordered
from xrcore.site.page import Page
from xrcore.site.provenance import profiles, provenance

_MARK = ".xrcore-site"  # a folder with this file is ours to replace
_HERO = "demo.png"
PACKAGE = Path(xrcore.__file__).parent
# headings of the contents, and the kinds of pages under each
_GROUPS = (("Notebooks", ("notebook",)), ("Guides", ("guide",)), ("Reference", ("document", "api")))
_LARGEST = 2_000_000  # bytes of a table or figure to be offered; more is data, not a table


@dataclass(frozen=True)
class Sources:
    """Folders of executed notebooks, of results/PROFILE/*.csv and *.json, of figures/PROFILE/*, of Markdown, and a CITATION.cff.

    Only `notebooks` must exist. kept: the folder that the notebooks were in before they were run, from which their links count.
    package: the Python package whose reference is built, None for none.
    """

    notebooks: Path
    results: Path = Path("results")
    figures: Path = Path("figures")
    docs: Path = Path("docs")
    citation: Path = Path("CITATION.cff")
    kept: Path = Path("notebooks")
    package: Path | None = PACKAGE


@dataclass(frozen=True)
class Download:
    """A profile's tables and figures: (name, address)."""

    profile: str
    tables: tuple[tuple[str, str], ...]
    figures: tuple[tuple[str, str], ...]


def build(sources: Sources, out: str | os.PathLike[str]) -> Path:
    """Write the site into the folder `out`, which must be new, empty or an earlier site; returns its front page.

    Raises XrcoreError naming the source that is absent or broken; `out` is then as it was.
    """
    out = Path(out)
    found = sorted(sources.notebooks.glob("*.ipynb"))
    if not found:
        raise XrcoreError(f"{sources.notebooks}: no notebooks (*.ipynb) there; run them first, or name their folder with --notebooks")
    documents = ordered(sources.docs.glob("*.md"))
    reference = Reference(sources.package) if sources.package else None
    _check_names([*found, *documents], reference)
    check_writable(out.parent)
    if out.is_dir() and any(out.iterdir()) and not (out / _MARK).is_file():
        raise XrcoreError(f"{out}: holds other files than a site; choose another --out")
    if out.exists() and not out.is_dir():
        raise XrcoreError(f"{out}: this is a file, not a folder; choose another --out")
    out.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}-"))
    try:
        new = staging / "new"
        new.mkdir()
        _write(new, sources, found, documents, reference)
        if out.exists():
            out.rename(staging / "old")
        new.rename(out)
    except OSError as error:
        raise XrcoreError(f"{out}: cannot be written ({error.strerror or error})") from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return out / "index.html"


def _write(site: Path, sources: Sources, notebooks: list[Path], documents: list[Path], reference: Reference | None) -> None:
    assets = Assets(site)
    addresses = {path.resolve(): f"{path.stem}.html" for path in (*notebooks, *documents)}
    # documents link to the notebooks as they are kept
    addresses |= {(sources.kept / path.name).resolve(): f"{path.stem}.html" for path in notebooks}
    environment = Environment(
        loader=PackageLoader("xrcore.site"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    codes = reference.mentioned if reference else None
    pages = [notebook.page(path, assets, addresses, sources.kept, codes) for path in notebooks]
    pages += sorted((document.page(path, assets, addresses, codes) for path in documents), key=lambda page: page.kind != "guide")
    pages += api.pages(reference, environment) if reference else []
    groups = [(title, [page for page in pages if page.kind in kinds]) for title, kinds in _GROUPS]
    common = {"groups": groups, "version": xrcore.__version__, "search": reference is not None}
    before_after = dict(zip((p.name for p in pages), _neighbours(pages), strict=True))
    for page in pages:
        before, after = before_after[page.name]
        html = environment.get_template("page.html").render(common, page=page, before=before, after=after)
        (site / page.file).write_text(html, encoding="utf-8")
    hero = sources.figures / _HERO
    html = environment.get_template("index.html").render(
        common,
        page=None,
        pages=pages,
        hero=assets.copy(hero) if hero.is_file() else None,
        provenance=provenance(sources.results),
        downloads=_downloads(sources, assets),
        citation=citation.read(sources.citation),
    )
    (site / "index.html").write_text(html, encoding="utf-8")
    (site / "style.css").write_text(_template("style.css"), encoding="utf-8")
    if reference:
        index = json.dumps(reference.index(), ensure_ascii=False, separators=(",", ":")).replace("],[", "],\n[")
        (site / "search.js").write_text(f"const INDEX = {index};\n{_template('search.js')}", encoding="utf-8")
    (site / _MARK).write_text(f"xrcore {xrcore.__version__}\n", encoding="utf-8")


def _template(name: str) -> str:
    return (files("xrcore.site") / "templates" / name).read_text(encoding="utf-8")


def _downloads(sources: Sources, assets: Assets) -> list[Download]:
    names = [folder.name for folder in profiles(sources.results)]
    names += [folder.name for folder in profiles(sources.figures) if folder.name not in names]
    offered = []
    for name in names:
        made = sources.results / name
        tables = _copies((made / "tables").glob("*.csv"), assets, f"results/{name}/tables")
        tables += _copies(made.glob("*.csv"), assets, f"results/{name}")
        figures = _copies([f for s in ("*.png", "*.pdf") for f in (sources.figures / name).glob(s)], assets, f"figures/{name}")
        if tables or figures:
            offered.append(Download(name, tables, figures))
    return offered


def _copies(paths: Iterable[Path], assets: Assets, under: str) -> tuple[tuple[str, str], ...]:
    return tuple((path.name, assets.copy(path, under)) for path in sorted(paths) if path.stat().st_size <= _LARGEST)


def _neighbours(pages: list[Page]) -> list[tuple[Page | None, Page | None]]:
    row: list[Page | None] = [None, *pages, None]
    return [(before, after) for (before, _), (_, after) in pairwise(pairwise(row))]


def _check_names(paths: list[Path], reference: Reference | None) -> None:
    taken = {"index": "the front page"} | dict.fromkeys(reference.pages if reference else (), "the reference")
    for path in paths:
        if path.stem in taken:
            raise XrcoreError(f"{path}: its page would replace that of {taken[path.stem]}; rename one of them")
        taken[path.stem] = str(path)
