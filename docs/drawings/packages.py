"""The packages and which imports which, from the source itself."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import networkx as nx
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

import xrcore
from drawings.common import BLUE, DARK, MUTED, ORANGE

_EVERYWHERE = "xrcore._util"  # all packages use it, so its arrows say nothing
_COLOURS = {"xrcore": BLUE, "companion": ORANGE}


def import_graph(root: Path) -> nx.DiGraph:
    """An edge from each package to those it imports; imports for type checking only do not count."""
    graph = nx.DiGraph()
    for file in sorted(path for top in _COLOURS for path in (root / top).rglob("*.py")):
        parts = file.relative_to(root).parts
        if len(parts) < 3:
            continue
        here = ".".join(parts[:2])
        graph.add_node(here)
        for module in _imported(ast.parse(file.read_text(encoding="utf-8"))):
            there = ".".join(module.split(".")[:2])
            if there != here and (root / there.replace(".", "/")).is_dir() and "." in there:
                graph.add_edge(here, there)
    graph.remove_nodes_from([_EVERYWHERE])
    return graph


def packages(root: Path) -> Figure:
    """Boxes in layers; an arrow goes to what is imported, unless a chain of other arrows already leads there."""
    graph = import_graph(root)
    rows = _rows(graph)
    figure = Figure(figsize=(8.0, 0.95 * len(rows)), facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 1), ylim=(-0.5, len(rows) - 0.5))
    axes.set_axis_off()
    place = {name: ((i + 1) / (len(row) + 1), y) for y, row in enumerate(rows) for i, name in enumerate(row)}
    for name, (x, y) in place.items():
        top, _, label = name.partition(".")
        width, height = 0.021 * len(label) * 0.62 + 0.035, 0.42
        box = FancyBboxPatch(
            (x - width / 2, y - height / 2),
            width,
            height,
            boxstyle="round,pad=0,rounding_size=0.012",
            mutation_aspect=8,
            fc="white",
            ec=_COLOURS[top],
            lw=1.6,
            zorder=2,
        )
        axes.add_patch(box)
        axes.text(x, y, label, ha="center", va="center", fontsize=10, color=DARK, zorder=3)
    style = {"arrowstyle": "-|>", "color": MUTED, "lw": 0.9, "shrinkA": 0, "shrinkB": 0, "alpha": 0.8}
    for above, below in _shown(graph):
        (x0, y0), (x1, y1) = place[above], place[below]
        bend = 0.0 if abs(y0 - y1) <= 1 else 0.12 * (1 if x0 > 0.5 else -1)
        axes.annotate("", (x1, y1 + 0.21), (x0, y0 - 0.21), arrowprops={**style, "connectionstyle": f"arc3,rad={bend}"}, zorder=1)
    for i, (top, colour) in enumerate(_COLOURS.items()):
        axes.text(0.01, len(rows) - 0.72 - 0.3 * i, top, color=colour, fontsize=10, weight="bold", va="center")
    return figure


def _imported(node: ast.AST) -> Iterator[str]:
    """Modules that a tree imports, but for blocks under TYPE_CHECKING."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            continue
        if isinstance(child, ast.ImportFrom) and child.module:
            # `from xrcore import metrics` names a package only there
            yield from (f"{child.module}.{alias.name}" for alias in child.names)
        elif isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.Attribute) and isinstance(child.value, ast.Name) and child.value.id == "xr":
            thing = getattr(xrcore, child.attr)  # of `import xrcore as xr`
            yield thing.__name__ if inspect.ismodule(thing) else getattr(thing, "__module__", "xrcore")
        yield from _imported(child)


def _rows(graph: nx.DiGraph) -> list[list[str]]:
    """Layers from the bottom, each package one above the highest that it imports, ordered to keep arrows short."""
    whole = nx.condensation(graph)
    height = {}
    for component in reversed(list(nx.topological_sort(whole))):
        height[component] = max((height[below] + 1 for below in whole[component]), default=0)
    rows: list[list[str]] = [[] for _ in range(max(height.values()) + 1)]
    for component, level in height.items():
        rows[level] += sorted(whole.nodes[component]["members"])
    for below, row in pairwise(rows):
        at = {name: (i + 1) / (len(below) + 1) for i, name in enumerate(below)}
        row.sort(key=lambda name, at=at: (sum(at.get(n, 0.5) for n in graph[name]) / max(len(graph[name]), 1), name))
    return rows


def _shown(graph: nx.DiGraph) -> list[tuple[str, str]]:
    """The transitive reduction; of packages that import each other, every edge."""
    whole = nx.condensation(graph)
    kept, home = set(nx.transitive_reduction(whole).edges), whole.graph["mapping"]
    return sorted((a, b) for a, b in graph.edges if home[a] == home[b] or (home[a], home[b]) in kept)
