"""Configuration of Sphinx. `make site` builds; a build needs no network.

Before Sphinx reads the pages, what they include is made: in docs/generated the help of the commands and the picture of the packages, in
docs/notebooks the executed notebooks, in docs/api a page a package.
"""

from __future__ import annotations

import ast
import inspect
import os
import re
import sys
from importlib import import_module
from pathlib import Path
from textwrap import shorten

import nbformat
import yaml
from docutils import nodes
from numpydoc.xref import DEFAULT_LINKS
from PIL import Image
from sphinx.application import Sphinx

DOCS = Path(__file__).parent
ROOT = DOCS.parent
sys.path[:0] = [str(ROOT), str(DOCS), str(ROOT / "tools")]
PROFILE = os.environ.get("PROFILE", "laptop")  # whose executed notebooks are shown

from check_docstrings import public_modules  # noqa: E402
from drawings.packages import packages  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

import xrcore  # noqa: E402
from xrcore.cli.app import app as commands  # noqa: E402

# --- what the pages include


def write(path: Path, text: str) -> None:
    """Write a file that changed; an old one lets Sphinx skip its page."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def write_commands(to: Path = DOCS) -> None:
    """The help of every command, as a terminal shows it."""
    runner, wide = CliRunner(), {"COLUMNS": "100", "TERM": "dumb", "NO_COLOR": "1"}
    names = [command.name or command.callback.__name__ for command in commands.registered_commands]  # type: ignore[union-attr]
    names += [str(group.name) for group in commands.registered_groups]
    parts = [(name, runner.invoke(commands, [name, "--help"], env=wide, prog_name="xrcore").output) for name in sorted(names)]
    write(to / "generated" / "commands.md", "\n\n".join(f"## xrcore {name}\n\n```text\n{text.strip()}\n```" for name, text in parts) + "\n")


def write_packages(to: Path = DOCS) -> None:
    """The picture of the packages, and the first line that each says of itself."""
    path = to / "generated" / "packages.svg"
    path.parent.mkdir(exist_ok=True)
    packages(ROOT).savefig(path, metadata={"Date": None})
    files = [file for top in ("xrcore", "companion") for file in sorted((ROOT / top).glob("*/__init__.py"))]
    rows = [(file.parent, ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "") for file in files]
    lines = [f"| `{folder.parent.name}/{folder.name}/` | {says.splitlines()[0].replace('|', '/')} |" for folder, says in rows if says]
    write(to / "generated" / "packages.md", "\n".join(["| package | |", "|---|---|", *lines, ""]))


def write_api(to: Path = DOCS) -> None:
    """A page a public package, which lists its names; those of `xrcore` itself are linked there, and described once."""
    at_top = {id(getattr(xrcore, name)) for name in xrcore.__all__}
    modules = [name for package in ("xrcore", "companion") for name in public_modules(package)]
    listed: set[str] = set()
    rows = []
    for name in modules:
        module = import_module(name)
        says = inspect.getdoc(module) or ""
        rows.append(f"   * - :doc:`{name} </api/{name}>`\n     - {says.splitlines()[0] if says else ''}")
        lines = [name, "=" * len(name), "", f".. py:module:: {name}", "", says, ""]
        groups: dict[tuple[str, str], list[str]] = {}
        for member in sorted(module.__all__):
            value = getattr(module, member)
            if not inspect.ismodule(value):
                kind = "Classes" if inspect.isclass(value) else "Functions" if callable(value) else "Constants"
                home = "xrcore" if id(value) in at_top and kind != "Constants" else name
                groups.setdefault((kind, home), []).append(member)
        for (kind, home), members in sorted(groups.items(), reverse=True):
            lines += [f".. currentmodule:: {home}", "", f".. rubric:: {kind}{'' if home == name else ', also in xrcore itself'}", ""]
            if kind == "Constants":
                lines += [f".. py:data:: {m}\n   :value: {shorten(repr(getattr(module, m)), 200)}\n" for m in members]
            else:
                lines += [".. autosummary::", "   :toctree: names", "   :nosignatures:", "", *(f"   {m}" for m in members), ""]
                listed |= {f"{home}.{member}" for member in members}
        write(to / "api" / f"{name}.rst", "\n".join(lines))
    for page in [*(to / "api").glob("*.rst"), *(to / "api" / "names").glob("*.rst")]:
        if page.stem not in {"index", *modules, *listed}:
            page.unlink()  # of a name that is no longer there
    contents = ["", ".. toctree::", "   :hidden:", "", *(f"   {name}" for name in modules), ""]
    write(to / "generated" / "api.rst", "\n".join([".. list-table::", "   :widths: auto", "", *rows, *contents]))


def launch(name: str) -> str:
    """Links that open a notebook: the file itself, and services where the repository's address is known (CITATION.cff)."""
    repository = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8")).get("repository-code", "")
    links = [f"{{download}}`Download <../../notebooks/{name}>`"]
    if repository.startswith("https://github.com/"):
        place = repository.removeprefix("https://github.com/").strip("/")
        links.append(f"[Binder](https://mybinder.org/v2/gh/{place}/HEAD?labpath=notebooks/{name})")
        links.append(f"[Colab](https://colab.research.google.com/github/{place}/blob/HEAD/notebooks/{name})")
    return f"{' · '.join(links)} · in a clone: `make lab`"


def write_notebooks(to: Path = DOCS) -> None:
    """Executed copies where there are some, without what needs a kernel; otherwise the notebooks as they are kept."""
    for source in sorted((ROOT / "notebooks").glob("*.ipynb")):
        executed = ROOT / "build" / "pages" / PROFILE / source.name
        notebook = nbformat.read(executed if executed.exists() else source, as_version=4)
        notebook.cells = [cell for cell in notebook.cells if "injected-parameters" not in cell.metadata.get("tags", ())]
        notebook.metadata = {"kernelspec": notebook.metadata["kernelspec"]}  # no state of widgets, which scripts from elsewhere would draw
        title, *rest = notebook.cells[0].source.split("\n", 1)
        notebook.cells[0].source = "\n".join([title, "", launch(source.name), *rest])
        for cell in notebook.cells:
            cell.metadata = {"tags": cell.metadata.get("tags", [])}
            # docs/notebooks/ is one folder deeper
            cell.source = cell.source.replace("](../figures/", "](../../figures/").replace("](../docs/", "](../")
            for output in cell.get("outputs", ()):
                output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)
        write(to / "notebooks" / source.name, nbformat.writes(notebook))


# --- Sphinx

project = "xrcore"
author = "xrcore contributors"
release = version = xrcore.__version__
extensions = ["sphinx.ext.autodoc", "sphinx.ext.autosummary", "numpydoc", "myst_nb", "sphinx_design"]
exclude_patterns = ["generated", "templates", "drawings", "pictures", "**/.ipynb_checkpoints"]
default_role = "py:obj"
nitpicky = False

autosummary_generate = True
autosummary_ignore_module_all = False
autosummary_imported_members = True
autodoc_typehints = "none"  # the docstrings say them
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 90
templates_path = ["templates"]
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
numpydoc_xref_param_type = True
numpydoc_xref_ignore = {"optional", "default", "of", "or", "a", "the", "one", "each", "shape", "same", "as", "with"}
numpydoc_xref_aliases = {name: name for name in DEFAULT_LINKS}  # what Python's own documentation would explain
for module in [*public_modules("xrcore")][::-1]:  # types in docstrings lead to their pages, those of xrcore itself to the page there
    numpydoc_xref_aliases |= {name: f"{module}.{name}" for name in import_module(module).__all__}

myst_enable_extensions = ["colon_fence", "deflist", "attrs_inline"]
myst_heading_anchors = 4
nb_execution_mode = "off"
nb_merge_streams = True
nb_render_text_lexer = "text"
suppress_warnings = ["mystnb.unknown_mime_type"]

html_theme = "pydata_sphinx_theme"
html_title = "xrcore"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_show_search_summary = False  # excerpts are fetched, which a page from file:// may not
html_theme_options = {
    "navbar_align": "left",
    "navbar_persistent": ["search-button"],
    "navbar_end": ["theme-switcher"],
    "show_nav_level": 1,
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "footer_start": ["copyright"],
    "footer_end": [],
    "back_to_top_button": True,
}
copyright = "xrcore contributors; MIT licence; not a medical device"
html_context = {"default_mode": "auto"}


def escape_marks(app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """The stars of `Float[Tensor, "*B 3"]` are no emphasis, and the bars of |x| no substitution."""
    for i, line in enumerate(lines):
        if not line.lstrip().startswith((">>>", "...")):
            line = re.sub(r'\[[\w |]+, "[^"]*"\]', lambda shape: shape[0].replace("*", r"\*"), line)
            lines[i] = re.sub(r"(``.*?``|`.*?`)|\|(?=\S)", lambda found: found[1] or r"\|", line)


def write_all(app: Sphinx, config: object) -> None:
    for make in (write_commands, write_packages, write_api, write_notebooks):
        make()


def point_to_built_notebooks(app: Sphinx, name: str, source: list[str]) -> None:
    """Links to notebooks/ of the repository, which work where the pages are read as files, lead to the executed copies."""
    if name in ("paper", "results") or name.startswith("guides/"):
        source[0] = source[0].replace("](../notebooks/", "](notebooks/").replace("](../../notebooks/", "](../notebooks/")


def mark_wide_pictures(app: Sphinx, page: nodes.document, name: str) -> None:
    """Panels in a row scroll in a box of their own on a narrow screen (site.css), where they would be too small to see."""
    for picture in list(page.findall(nodes.image)):
        file = Path(app.srcdir, picture["uri"])
        if file.suffix in (".png", ".jpg") and file.is_file():
            with Image.open(file) as image:
                wide = image.width > 2 * image.height
            if wide:
                picture.replace_self(nodes.inline("", "", picture.deepcopy(), classes=["wide"]))


def setup(app: Sphinx) -> None:
    app.connect("doctree-resolved", mark_wide_pictures)
    app.connect("source-read", point_to_built_notebooks)
    app.connect("config-inited", write_all)
    app.connect("autodoc-process-docstring", escape_marks, priority=100)  # before numpydoc
