"""The API reference: one entry for each public object, with the signature that Python sees, read without running the code."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from html import unescape
from pathlib import Path

import pytest

import xrcore
from xrcore.errors import XrcoreError

griffe = pytest.importorskip("griffe", reason="the notebooks extra is not installed")
pytest.importorskip("mistune", reason="the notebooks extra is not installed")

from jinja2 import Environment, PackageLoader  # noqa: E402

from xrcore.site.api import Reference, pages, prose, signature  # noqa: E402
from xrcore.site.api.entries import Entry  # noqa: E402
from xrcore.site.api.rooms import GROUPS, Part, Room  # noqa: E402
from xrcore.site.api.source import Source  # noqa: E402

TOY = {
    "__init__.py": '''
        """toy: a package.

        Call `shapes.area`, or `Box`.
        """
        _HOME = {"Box": "toy.shapes"}
        raise RuntimeError("this must not run")
        from toy.area import area
        __all__ = ["Box", "area", "shapes", "VERSION"]
        VERSION = "1"  # of what is written
    ''',
    "area/__init__.py": '"""Areas."""\nfrom toy.area.area import area\n__all__ = ["area"]',
    "area/area.py": '''
        from toy.shapes import Box
        def area(box: Box, /, scale: float = 1.0, *more: "Box | None", unit: str = 'mm', **rest) -> Float[Tensor, "B H W"]:
            """The area of a `Box` [mm2], a `Box.side` squared. See `VERSION`, `area`, `nothing`, `edge`, `Box.edge`.

            scale: of *everything*; unit: as written.
            """
    ''',
    "shapes.py": '''
        from dataclasses import KW_ONLY, dataclass, field
        from typing import ClassVar

        # Sides of
        # boxes.
        SIDES = (1, 2)

        @dataclass(frozen=True, kw_only=True)
        class Base:
            """What has a name.

            name: what it is called.
            """
            name: str = "x"
            def volume(self) -> float:
                """How much fits in."""

        @dataclass(frozen=True)
        class Box(Base):
            """A box, its side [mm]. side: of all edges."""
            side: float
            kind: ClassVar[int] = 3
            parts: list[Base] = field(default_factory=list)
            label: str = field(default="b", repr=False)  # on its lid
            hidden: int = field(init=False, default=0)
            _: KW_ONLY
            late: int = 1
            def volume(self) -> float: ...
            @property
            def edge(self) -> float: return 1.0
            @staticmethod
            def of(a: int, *, b: int = 2) -> "Box":
                """Made of two."""
            def _secret(self): ...

        def _private(): ...
    ''',
    "loose/again.py": 'from toy.shapes import Box\nfrom toy.loose.deep import Deep\n__all__ = ["Box", "Deep"]',
    "loose/deep.py": '\nclass Deep:\n    """Deep down."""\n    def __init__(self, a, b=None): ...\n',
}
ROOMS = (
    Room("area", (Part("area"),)),
    Room("shapes", (Part("shapes", more=("SIDES",)),)),
    Room("loose", (Part("loose.deep"), Part("loose.again")), about="Loose things."),
    Room("absent", (Part("absent"),), optional=True),
)
ENVIRONMENT = Environment(loader=PackageLoader("xrcore.site"), autoescape=True, trim_blocks=True, lstrip_blocks=True)


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / "toy" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(inspect.cleandoc(text) + "\n", encoding="utf-8")
    return folder / "toy"


def toy(tmp_path: Path, **changes: str) -> Reference:
    return Reference(write(tmp_path, TOY | changes), ROOMS, (("Shapes", ("Box",)),))


def text(html: str) -> str:
    return unescape(re.sub(r"<[^>]*>", "", html))


def shown(reference: Reference, path: str) -> str:
    """The signature of an entry as a reader sees it."""
    thing = next(entry.thing for entry in reference.everything() if entry.path == path)
    return text(signature.html(thing.name, thing, reference.source, lambda _: None)).strip()


def html_of(reference: Reference) -> dict[str, str]:
    return {page.file: "".join(block.html for block in page.blocks) for page in pages(reference, ENVIRONMENT)}


def test_each_object_has_one_entry_wherever_it_is_exported(tmp_path):
    reference = toy(tmp_path)
    assert reference.surface["area"].address == "api_area.html#area"  # the function, not its module of the same name
    assert reference.surface["Box"].address == "api_shapes.html#Box"  # through _HOME
    assert reference.surface["shapes"].address == "api_shapes.html"
    assert reference.surface["VERSION"].address == "api.html#VERSION"  # in no room
    addresses = [entry.address for entry in reference.everything()]
    assert len(addresses) == len(set(addresses))
    shown_in = [section.module for sections in reference.rooms.values() for section in sections for e in section.entries if e.name == "Box"]
    assert shown_in == ["toy.shapes"]
    assert list(reference.rooms) == ["area", "shapes", "loose"]
    assert "api_shapes.html#Box._secret" not in addresses


def test_signatures_are_as_the_source_writes_them(tmp_path):
    reference = toy(tmp_path)
    lines = shown(reference, "toy.area.area.area").splitlines()
    assert lines == [
        "area(",
        "    box: Box,",
        "    /,",
        "    scale: float = 1.0,",
        "    *more: Box | None,",
        '    unit: str = "mm",',
        "    **rest,",
        ') -> Float[Tensor, "B H W"]',
    ]
    box = shown(reference, "toy.shapes.Box")
    assert " ".join(box.split()) == 'class Box( side: float, parts: list[Base] = [], label: str = "b", *, name: str = "x", late: int = 1, )'
    assert shown(reference, "toy.shapes.Box.of") == "of(a: int, *, b: int = 2) -> Box"
    assert shown(reference, "toy.loose.deep.Deep") == "class Deep(a, b=None)"


def test_names_lead_to_entries(tmp_path):
    html = html_of(toy(tmp_path))
    area = html["api_area.html"]
    assert 'box: <span class="type"><a href="api_shapes.html#Box">Box</a></span>' in area
    for name, address in (("Box", "api_shapes.html#Box"), ("VERSION", "api.html#VERSION"), ("Box.edge", "api_shapes.html#Box.edge")):
        assert f'<a href="{address}"><code>{name}</code></a>' in area
    for name in ("nothing", "edge"):  # a plain word may be anybody's attribute
        assert f"<code>{name}</code>" in area
        assert f"<code>{name}</code></a>" not in area
    assert '"#area"' in area  # itself, by its heading
    assert "<code>area</code></a>" not in area  # but not by its own words
    assert "<em>everything</em>" in area


def test_what_docstrings_leave_open_is_filled_in_or_listed(tmp_path):
    reference = toy(tmp_path)
    html = html_of(reference)
    shapes = html["api_shapes.html"]
    assert '<p>As <a href="api_shapes.html#Base.volume"><code>Base.volume</code></a>.</p>' in shapes
    assert "<dt><code>label</code></dt><dd>on its lid</dd>" in shapes
    assert "Sides of boxes." in shapes
    assert "of what is written" in html["api.html"]
    assert "toy/shapes.py, line 6" in text(shapes)
    assert reference.undocumented() == ["toy.shapes.Box.edge"]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"area/__init__.py": '__all__ = ["gone"]'}, "toy.area.gone"),
        ({"__init__.py": '__all__ = ["Circle"]'}, "toy.Circle"),
        ({"shapes.py": "def ("}, "shapes.py"),
        ({"__init__.py": 'from toy.loose.gone import Deep\n__all__ = ["Deep"]'}, "toy.Deep"),
    ],
)
def test_what_cannot_be_found_is_named(tmp_path, changes, named):
    with pytest.raises(XrcoreError, match=re.escape(named)) as raised:
        toy(tmp_path, **changes)
    assert "\n" not in str(raised.value)
    with pytest.raises(XrcoreError, match=r"toy\.nowhere"):
        Reference(write(tmp_path / "other", TOY), [Room("nowhere", (Part("nowhere"),))])


def kinds(docstring: str, *known: str) -> list[tuple[str, str, str]]:
    return [(piece.kind, piece.names, piece.text) for piece in prose.pieces(docstring, known)]


def test_docstrings_become_sentences_and_lists():
    docstring = """Do it. step: [mm].

    path: a folder, or
        one file. names, ages: of whom (count: unknown here); size: how large.
    Without a name it is refused.
    Raises XrcoreError for `size: 3`, and
    more. Source: A, *B*, 1999.

    Either

        a: 1
            b: 2

        c: 3

    or nothing.
    """
    assert kinds(docstring, "step", "path", "names", "ages", "size", "count") == [
        ("text", "", "Do it."),
        ("item", "step", "[mm]."),
        ("item", "path", "a folder, or one file."),
        ("item", "names, ages", "of whom (count: unknown here)"),
        ("item", "size", "how large."),
        ("text", "", "Without a name it is refused."),
        ("raises", "", "Raises XrcoreError for `size: 3`, and more. Source: A, *B*, 1999."),
        ("text", "", "Either"),
        ("code", "", "a: 1\n    b: 2\n\nc: 3"),
        ("text", "", "or nothing."),
    ]


def test_words_before_a_colon_in_a_sentence_are_no_names():
    assert kinds("One thing is sure. here: it ends.") == [("text", "", "One thing is sure. here: it ends.")]
    assert kinds("It goes on and\non: like this.") == [("text", "", "It goes on and on: like this.")]
    assert prose.summary("Mean [mm], see `a.b`. More of it.\n\nAnd more.") == "Mean [mm], see `a.b`"
    assert prose.plain("see `a` and *b*, 2 * 3 * 4") == "see a and b, 2 * 3 * 4"


# The package's own reference


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference(Path(xrcore.__file__).parent)


def runtime(entry: Entry) -> object:
    """What Python has at an entry's path."""
    module, names = entry.thing.module.path, entry.path.removeprefix(f"{entry.thing.module.path}.").split(".")
    found: object = importlib.import_module(module)
    for name in names:
        found = getattr(found, name)
    return found


def test_the_surface_is_whole(reference):
    assert list(reference.surface) == list(xrcore.__all__)
    grouped = [name for _, names in GROUPS for name in names]
    assert len(grouped) == len(set(grouped))
    assert set(grouped) | {"XrcoreError", "__version__"} == set(xrcore.__all__)
    html = html_of(reference)
    for name, export in reference.surface.items():
        file, _, anchor = export.address.partition("#")
        assert not anchor or f'id="{anchor}"' in html[file], name
        assert f"<code>xr.{name}</code>" in html["api.html"]


def test_every_room_shows_all_that_it_exports(reference):
    for room in ("geometry", "ct", "beam", "renderer", "xray", "simulate", "phantom", "metrics", "figures", "experiments", "widgets"):
        module = importlib.import_module(f"xrcore.{room}")
        for name in module.__all__:
            thing = reference.source.find(f"xrcore.{room}", name)
            assert isinstance(thing, griffe.Module) or thing.path in reference.entries, f"{room}.{name}"


def test_signatures_are_those_that_python_sees(reference):
    """Of every entry, not only of the surface: names, kinds and which have a default."""
    seen = 0
    for entry in reference.everything():
        if isinstance(entry.thing, griffe.Attribute) or entry.kind in ("protocol", "exception", "abstract class"):
            continue
        found = text(signature.html(entry.thing.name, entry.thing, reference.source, lambda _: None)).strip()
        if "(" not in found:
            continue
        arguments = ast.parse(f"def {found.removeprefix('class ')}: ...").body[0].args  # type: ignore[attr-defined]
        expected = list(inspect.signature(runtime(entry)).parameters.values())  # type: ignore[arg-type]
        if inspect.isfunction(runtime(entry)) and entry.kind == "method":
            expected = expected[1:]
        both = [*arguments.posonlyargs, *arguments.args]
        named = {
            "both": [(p.arg, i >= len(both) - len(arguments.defaults)) for i, p in enumerate(both)],
            "keyword": [(p.arg, d is not None) for p, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)],
            "rest": [p.arg for p in (arguments.vararg, arguments.kwarg) if p],
        }
        empty = inspect.Parameter.empty
        assert named == {
            "both": [(p.name, p.default is not empty) for p in expected if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)],
            "keyword": [(p.name, p.default is not empty) for p in expected if p.kind == p.KEYWORD_ONLY],
            "rest": [p.name for p in expected if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD)],
        }, entry.path
        seen += 1
    assert seen > 100


def test_shapes_are_shown_as_the_source_has_them(reference):
    assert ') -> Float[Tensor, "B H W"]' in shown(reference, "xrcore.renderer.render.render")
    assert "Pose | Predictor | None" in shown(reference, "xrcore.registration.register")


# Members that say nothing of themselves yet: write a docstring and take the name out.


def test_every_public_object_has_a_docstring(reference):
    # `close` of a widget is ipywidgets', and says there what it does
    silent = {path for path in reference.undocumented() if not (path.startswith("xrcore.widgets.") and path.endswith(".close"))}
    assert not silent, f"no docstring: {', '.join(sorted(silent))}"


def test_prose_mentions_names_only_where_it_means_them(reference):
    assert reference.mentioned("xr.register(xray, volume)") == "api_registration.html#register"
    assert reference.mentioned("Volume.coarser") == "api_ct.html#Volume.coarser"
    assert reference.mentioned("read_ct") == "api_ct.html#read_ct"
    assert reference.mentioned("xrcore.metrics") == "api_metrics.html"
    near = reference.entries["xrcore.widgets.attention.AttentionViewer"]
    assert reference.address("state", near=near) is None  # its own, not that of some other class
    assert reference.address("Store.state", near=near) == "api_datasets.html#Store.state"
    for words in ("search", "make demo", "RX", "--detector", "K", "run", "rx", "xr.nothing"):
        assert reference.mentioned(words) is None


def test_nothing_of_the_package_is_run():
    """A package that fails when imported is read all the same; see `TOY`, which does."""
    assert "RuntimeError" in TOY["__init__.py"]
    assert Source(Path(xrcore.__file__).parent).exported("xrcore") == list(xrcore.__all__)
