"""The site: complete, self-contained, and honest about what is broken."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from PIL import Image

import xrcore
from xrcore.errors import XrcoreError

nbformat = pytest.importorskip("nbformat", reason="the notebooks extra is not installed")
pytest.importorskip("nbconvert", reason="the notebooks extra is not installed")

from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output  # noqa: E402

from xrcore.site import Sources, build  # noqa: E402
from xrcore.site.__main__ import main  # noqa: E402
from xrcore.site.tables import clean  # noqa: E402

ROOT = Path(__file__).parents[1]
LOADS = {("img", "src"), ("script", "src"), ("link", "href"), ("iframe", "src"), ("source", "src"), ("video", "src"), ("object", "data")}
FRAME = """<div><style scoped> .dataframe tbody tr th { color: red } </style><table border="1" class="dataframe">
<thead><tr style="text-align: right"><th></th><th>method</th><th>mTRE [mm]</th></tr></thead>
<tbody><tr><th>0</th><td>theirs</td><td>2.67</td></tr><tr><th>1</th><td onclick="alert(1)">ours</td><td>0.42 ± 0.1</td></tr></tbody>
</table><script src="https://example.org/x.js"></script><img src="https://example.org/x.png"></div>"""


class Reader(HTMLParser):
    """All elements of a page, its anchors and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.anchors = {attributes["id"] for _, attributes in self.elements if "id" in attributes}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag == "a":
            assert "a" not in self.open, f"a link within a link: {attrs}"
        if tag not in {"meta", "link", "img", "br", "hr", "input"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def picture(shade: int = 200) -> str:
    buffer = BytesIO()
    Image.new("L", (30, 20), shade).save(buffer, "png")
    return base64.b64encode(buffer.getvalue()).decode()


def cell(source: str, *outputs: Any, tags: tuple[str, ...] = ()) -> Any:
    return new_code_cell(source, outputs=list(outputs), execution_count=1, metadata={"tags": list(tags)})


def shown(**data: str) -> Any:
    return new_output("display_data", {name.replace("_", "/"): value for name, value in data.items()})


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    """Two small notebooks that refer to each other, a document, results and figures."""
    folders = {name: tmp_path / name for name in ("notebooks", "results", "figures", "docs")}
    for folder in folders.values():
        folder.mkdir()
    first = new_notebook(
        cells=[
            new_markdown_cell(
                "# Three ways & one more\n\nThe *first* paragraph.\n\nThe second, with [the other](02_other.ipynb#what-to-see)."
            ),
            cell('seed = 3  # "quoted" <b>', tags=("parameters",)),
            new_markdown_cell("## A table\n\n![drawn](drawn.png)\n\n![far](https://example.org/far.png)\n\n## A table\n<!-- quiet -->"),
            cell("frame", shown(text_html=FRAME, text_plain="plain frame"), tags=("table",)),
            cell("plot()", shown(image_png=picture(), text_plain="<Figure size 30x20>"), tags=("figure",)),
            cell("print()", new_output("stream", name="stdout", text="10%\r100% \x1b[31mdone <ok>\x1b[0m\n")),
            cell("warn()", new_output("stream", name="stderr", text="by the way\n")),
        ]
    )
    second = new_notebook(cells=[new_markdown_cell("# Other\n\n## What to see\n\nSee [words](../docs/words.md).")])
    nbformat.write(first, folders["notebooks"] / "01_first.ipynb")
    nbformat.write(second, folders["notebooks"] / "02_other.ipynb")
    (folders["notebooks"] / "drawn.png").write_bytes(base64.b64decode(picture(90)))
    document = "# Words\n\n| word | meaning |\n|---|---:|\n| DRR | 1 |\n\nBack to [a table](../notebooks/01_first.ipynb).\n"
    (folders["docs"] / "words.md").write_text(document)
    laptop = folders["results"] / "laptop"
    (laptop / "tables").mkdir(parents=True)
    (laptop / "cases.csv").write_text("a,b\n1,2\n")
    (laptop / "tables" / "01_first.csv").write_text("a,b\n3,4\n")
    for name, minutes in (("ablation", 30.25), ("cohort", 12.0)):
        record = {"commit": "0123456789abcdef", "seed": 7, "minutes": minutes, "machine": {"cpu": "A CPU", "cores": 4}}
        (laptop / f"{name}.json").write_text(json.dumps(record))
    (laptop / "odd.json").write_text("[not json")
    (folders["figures"] / "laptop").mkdir()
    (folders["figures"] / "laptop" / "01_first.pdf").write_bytes(b"%PDF-1.4")
    return Sources(**folders, citation=ROOT / "CITATION.cff", package=None)


def check(site: Path) -> dict[str, Reader]:
    """Every page is well nested; every address in it leads to a file (and anchor) of the site; nothing comes from elsewhere."""
    pages = {path.name: Reader(path.read_text(encoding="utf-8")) for path in site.glob("*.html")}
    for name, page in pages.items():
        assert not page.open, f"{name}: not closed: {page.open}"
        for tag, attributes in page.elements:
            if tag == "script":  # the reference's search, beside the pages
                assert attributes == {"src": "search.js", "defer": ""}
            assert not any(attribute.startswith("on") for attribute in attributes)
            for attribute in ("href", "src", "data", "srcset", "poster"):
                if attribute not in attributes:
                    continue
                parts = urlsplit(attributes[attribute])
                if parts.scheme == "data" or (parts.scheme in ("http", "https") and tag == "a"):
                    continue
                assert not parts.scheme, f"{name}: <{tag}> loads {attributes[attribute]}"
                assert not parts.netloc
                target = site / unquote(parts.path) if parts.path else site / name
                assert target.is_file(), f"{name}: {attributes[attribute]} leads to no file"
                assert target.resolve().is_relative_to(site.resolve())
                if parts.fragment:
                    assert parts.fragment in pages[target.name].anchors, f"{name}: no anchor {parts.fragment} in {target.name}"
    for script in site.glob("*.js"):
        code = script.read_text(encoding="utf-8").partition(";\n//")[2]  # after the names, which may say anything
        assert len(code) > 100
        for word in ("fetch", "XMLHttpRequest", "import(", "eval", "innerHTML", "http:", "https:"):
            assert word not in code, word
    style = (site / "style.css").read_text()
    assert "url(" not in style
    assert "@import" not in style
    return pages


def test_every_link_leads_somewhere_and_nothing_is_loaded_from_elsewhere(sources, tmp_path):
    index = build(sources, tmp_path / "site")
    assert index == tmp_path / "site" / "index.html"
    pages = check(tmp_path / "site")
    assert set(pages) == {"index.html", "01_first.html", "02_other.html", "words.html"}


def test_the_front_page_shows_each_notebook_at_a_glance(sources, tmp_path):
    build(sources, tmp_path / "site")
    front = check(tmp_path / "site")["index.html"]
    for words in ("Three ways & one more", "The first paragraph.", "Other", "theirs", "0.42 ± 0.1", "make reproduce PROFILE=laptop"):
        assert words in front.text
    assert "The second" not in front.text
    assert sum(tag == "img" for tag, _ in front.elements) == 1  # the figure of the one notebook that has one
    for words in (
        "0123456789",
        "A CPU, 4 cores",
        "ablation, cohort",
        "42.2",
        "10.1007/978-3-031-43996-4_49",
        "Zhang",
        "licence MIT",
        xrcore.__version__,
    ):
        assert words in front.text, words
    addresses = {attributes.get("href") for _, attributes in front.elements}
    assert {"files/results/laptop/tables/01_first.csv", "files/results/laptop/cases.csv", "files/figures/laptop/01_first.pdf"} <= addresses


def test_a_page_shows_prose_and_results_and_folds_code_away(sources, tmp_path):
    build(sources, tmp_path / "site")
    page = check(tmp_path / "site")["01_first.html"]
    assert page.text.count("Three ways & one more") >= 2  # title and heading
    folded = [attributes for tag, attributes in page.elements if tag == "details" and attributes.get("class") == "source"]
    assert len(folded) == 6  # five of code, one of messages
    assert not any("open" in attributes for attributes in folded)
    assert 'seed = 3  # "quoted" <b>' in page.text
    assert "100% done <ok>" in page.text
    assert "10%\r" not in page.text
    assert "quiet" not in page.text
    assert {"a-table", "a-table-2"} <= page.anchors
    assert ("a", {"href": "02_other.html#what-to-see"}) in page.elements
    assert ("a", {"href": "https://example.org/far.png"}) in page.elements  # a link where an image would have been loaded
    assert sum(tag == "img" for tag, _ in page.elements) == 2
    assert "have not been run" not in page.text


def test_links_of_a_notebook_count_from_where_it_is_kept(sources, tmp_path):
    kept = sources.notebooks
    executed = tmp_path / "build" / "deep"
    executed.mkdir(parents=True)
    for path in kept.glob("*.ipynb"):
        path.rename(executed / path.name)
    build(replace(sources, notebooks=executed, kept=kept), tmp_path / "site")
    pages = check(tmp_path / "site")
    assert ("a", {"href": "words.html"}) in pages["02_other.html"].elements
    assert ("a", {"href": "01_first.html"}) in pages["words.html"].elements


def test_a_notebook_that_was_not_run_says_so(sources, tmp_path):
    nbformat.write(new_notebook(cells=[new_markdown_cell("# Kept"), new_code_cell("1 + 1")]), sources.notebooks / "03_kept.ipynb")
    build(sources, tmp_path / "site")
    assert "have not been run" in check(tmp_path / "site")["03_kept.html"].text


def test_tables_keep_their_words_and_lose_everything_else():
    html = clean(FRAME)
    for gone in ("style", "script", "onclick", "example.org", "border", "<img"):
        assert gone not in html
    page = Reader(html)
    assert "".join(page.text.split()) == "methodmTRE[mm]theirs2.67ours0.42±0.1"  # and no row numbers
    right = [tag for tag, attributes in page.elements if attributes.get("class") == "number"]
    assert right == ["th", "td", "td"]


@pytest.mark.parametrize(
    "text",
    [
        "98.7 (97.1 to 99.0)",
        "12",
        "-0.5",
        "−0.5",
        "< 0.001",
        "2.67 ± 1.2",
        "97.5 %",
        "3.01 mm",
        "5.4 (2.7)",
        "12/50",
        "1e-3",
        "[1.2, 3.4]",
        "–",
    ],
)
def test_numbers_stand_right(text):
    assert 'class="number"' in clean(f"<table><tr><td>{text.replace('<', '&lt;')}</td></tr></table>")


@pytest.mark.parametrize("text", ["ours", "patient 1", "1 abdomen", "6#", "2D/3D registration"])
def test_words_stand_left(text):
    assert "class" not in clean(f"<table><tr><td>{text}</td></tr></table>").replace('class="scroll"', "")


def broken(kind: str, sources: Sources) -> None:
    path = sources.notebooks / "01_first.ipynb"
    if kind == "no JSON":
        path.write_text("once upon a time")
    elif kind == "no notebook":
        path.write_text('{"cells": [{"cell_type": "code"}], "nbformat": 4}')
    elif kind == "binary":
        path.write_bytes(b"\x89PNG\xff\xfe")
    elif kind == "an error":
        stopped = new_output("error", ename="ValueError", evalue="no\nresult", traceback=["Traceback"])
        nbformat.write(new_notebook(cells=[new_markdown_cell("# A"), cell("f()", stopped)]), path)
    elif kind == "a damaged picture":
        nbformat.write(new_notebook(cells=[cell("f()", shown(image_png="AAAA"))]), path)
    elif kind == "a lost link":
        nbformat.write(new_notebook(cells=[new_markdown_cell("[there](nowhere.md)")]), path)
    elif kind == "a lost image":
        nbformat.write(new_notebook(cells=[new_markdown_cell("![there](nowhere.png)")]), path)
    elif kind == "a script for a link":
        nbformat.write(new_notebook(cells=[new_markdown_cell("[there](javascript:alert(1))")]), path)


KINDS = ["no JSON", "no notebook", "binary", "an error", "a damaged picture", "a lost link", "a lost image", "a script for a link"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_broken_is_named_in_one_line_and_the_site_before_stays(kind, sources, tmp_path, capsys):
    site = tmp_path / "site"
    build(sources, site)
    before = {path: path.read_bytes() for path in site.rglob("*") if path.is_file()}
    broken(kind, sources)
    given = [f"--{name}={getattr(sources, name)}" for name in ("notebooks", "results", "figures", "docs", "citation")]
    assert main([*given, f"--out={site}"]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "01_first.ipynb" in message or "nowhere" in message
    assert {path: path.read_bytes() for path in site.rglob("*") if path.is_file()} == before
    assert {path.name for path in tmp_path.iterdir()} == {"notebooks", "results", "figures", "docs", "site"}


def test_pages_of_notebooks_that_are_gone_go_too(sources, tmp_path):
    build(sources, tmp_path / "site")
    (sources.docs / "words.md").unlink()
    (sources.notebooks / "02_other.ipynb").unlink()
    nbformat.write(new_notebook(cells=[new_markdown_cell("# Alone")]), sources.notebooks / "01_first.ipynb")
    build(sources, tmp_path / "site")
    assert set(check(tmp_path / "site")) == {"index.html", "01_first.html"}


def test_other_peoples_files_are_not_replaced(sources, tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("all of it")
    with pytest.raises(XrcoreError, match="holds other files than a site"):
        build(sources, tmp_path / "precious")
    assert [path.name for path in (tmp_path / "precious").iterdir()] == ["thesis.txt"]


def test_no_notebooks_and_two_of_a_name_are_refused(sources, tmp_path):
    with pytest.raises(XrcoreError, match="no notebooks"):
        build(Sources(tmp_path / "nowhere"), tmp_path / "site")
    (sources.docs / "01_first.md").write_text("# Again")
    with pytest.raises(XrcoreError, match="rename one of them"):
        build(sources, tmp_path / "site")
    assert not (tmp_path / "site").exists()


def test_notebooks_alone_make_a_site(sources, tmp_path):
    for name in ("results", "figures"):
        getattr(sources, name).rename(tmp_path / f"not-{name}")
    build(replace(sources, citation=tmp_path / "absent.cff"), tmp_path / "site")
    front = check(tmp_path / "site")["index.html"]
    assert "theirs" in front.text
    assert "Where the numbers come from" not in front.text
    assert "Files" not in front.text


def test_guides_come_in_their_order_and_lead_with_their_first_paragraph(sources, tmp_path):
    (sources.docs / "guide_zebra.md").write_text("<!-- order: 1 -->\n# Zebras first\n\nAll about *stripes*.\n\nAnd more.\n")
    (sources.docs / "guide_ant.md").write_text("# Ants last\n\nSmall.\n")
    (sources.docs / "guide_bee.md").write_text("<!-- order: 2 -->\n# Bees\n\nBusy.\n")
    build(sources, tmp_path / "site")
    front = check(tmp_path / "site")["index.html"]
    main, _, contents = front.text.partition("Not a medical device.")
    for text, titles in (
        (main, ("Three ways", "Zebras first", "Bees", "Ants last", "Words")),
        (contents, ("Three ways", "Zebras first", "Words")),
    ):
        places = [text.index(title) for title in titles]
        assert places == sorted(places)
    assert [contents.index(title) for title in ("Notebooks", "Guides", "Reference")] == sorted(
        contents.index(title) for title in ("Notebooks", "Guides", "Reference")
    )
    assert "All about stripes." in main
    assert "And more" not in front.text
    turned = [a["href"] for tag, a in check(tmp_path / "site")["guide_bee.html"].elements if a.get("rel") in ("prev", "next")]
    assert turned == ["guide_zebra.html", "guide_ant.html"]


def test_the_still_of_a_widget_is_shown(sources, tmp_path):
    view = {"application/vnd.jupyter.widget-view+json": {"model_id": "1", "version_major": 2, "version_minor": 0}}
    still = new_output("display_data", view | {"image/png": picture(), "text/plain": "Box(children=(Slider(),))"})
    bare = new_output("display_data", view | {"text/plain": "Box(children=(Slider(),))"})
    cells = [new_markdown_cell("# Play"), cell("box", still), cell("box", bare)]
    nbformat.write(new_notebook(cells=cells), sources.notebooks / "03_play.ipynb")
    build(sources, tmp_path / "site")
    page = check(tmp_path / "site")["03_play.html"]
    shown_as = [attributes["alt"] for tag, attributes in page.elements if tag == "img"]
    assert shown_as == ["figure"]
    assert "in the notebook itself it can be played with" in page.text
    assert page.text.count("It needs the notebook itself") == 1  # of the one without a still
    front = check(tmp_path / "site")["index.html"]
    assert sum(tag == "img" for tag, _ in front.elements) == 2


def test_columns_of_sentences_have_room():
    rows = "<tr><td>a</td><td>1.5</td><td>what one writes where much is to be said</td></tr><tr><td>b</td><td>2</td><td>short</td></tr>"
    page = Reader(clean(f"<table>{rows}</table>"))
    assert [a.get("class") for tag, a in page.elements if tag == "td"] == [None, "number", "words"] * 2


def test_the_repositorys_own_notebooks_documents_and_reference(tmp_path):
    build(Sources(*(ROOT / name for name in ("notebooks", "results", "figures", "docs", "CITATION.cff"))), tmp_path / "site")
    pages = check(tmp_path / "site")
    assert {"index.html", "01_quickstart.html", "conventions.html", "api.html", "api_geometry.html"} <= pages.keys()
    assert "Where was this X-ray taken from?" in pages["01_quickstart.html"].text
    assert "world_from_camera" in pages["conventions.html"].text
    assert "xr.read_ct" in pages["api.html"].text
    for page in pages.values():  # every page can search
        assert {"search", "found"} <= page.anchors
    index = (tmp_path / "site" / "search.js").read_text(encoding="utf-8")
    rows = json.loads(index[index.index("[") : index.index(";\n//")])
    for name, address, _ in rows:
        file, _, anchor = address.partition("#")
        assert anchor in pages[file].anchors, name
    assert {"Pose", "Volume.coarser", "read_ct"} <= {name for name, _, _ in rows}


def test_the_same_sources_make_the_same_site(tmp_path):
    sources = Sources(*(ROOT / name for name in ("notebooks", "results", "figures", "docs", "CITATION.cff")))
    for name in ("once", "again"):
        build(sources, tmp_path / name)
    once, again = ({p.relative_to(f): p.read_bytes() for p in f.rglob("*") if p.is_file()} for f in (tmp_path / "once", tmp_path / "again"))
    assert once == again
