"""The table of capture ranges."""

from __future__ import annotations

from collections.abc import Mapping

from jaxtyping import Bool, Float
from numpy import ndarray

from xrcore.figures.profiles import colour, unit
from xrcore.geometry.pose import NAMES
from xrcore.registration.convergence_basin import Returns
from xrcore.registration.similarity_profiles import Profiles

_QUIET = "#6b6b6b"
_CELL = "padding:2px 4px;font-variant-numeric:tabular-nums"
_TABLE = "border-collapse:collapse;text-align:right;line-height:1.25;font-size:12px"
_FALLS = "Lengths below | above: how far the similarity falls from its highest point, which is <b>at</b> so far from the centre"
_BACK = "; ↩: from how far descents on two coarse levels come back to within {near:g} mm"
_END = ". ≥: to the end of the line."


def table(profiles: Profiles, returns: Mapping[str, Returns], selected: str) -> str:
    """HTML: a row a similarity, a column a number."""
    heads = "".join(f'<th style="{_CELL}">{name} [{unit(name).strip()}]</th>' for name in NAMES)
    rows = "".join(_line(name, profiles, returns.get(name), bold=name == selected) for name in profiles.values)
    near = next((found.near for found in returns.values()), None)
    text = _FALLS + ("" if near is None else _BACK.format(near=near)) + _END
    legend = f'<div style="color:{_QUIET};max-width:540px;line-height:1.3;font-size:12px">{text}</div>'
    return f'<table style="{_TABLE}"><tr><th></th>{heads}</tr>{rows}</table>{legend}'


def _line(name: str, profiles: Profiles, found: Returns | None, *, bold: bool) -> str:
    fall, cut, optimum = profiles.capture(name), profiles.cut_off(name), profiles.optimum(name)
    back = None if found is None else found.capture()
    cells = []
    for axis in range(6):
        lines = [_pair(fall[axis], cut[axis])]
        if found is not None and back is not None:
            lines.append(f"↩ {_pair(back[axis], back[axis] >= found.offsets[axis, -1])}")
        lines.append(f'<span style="color:{_QUIET}">at {round(optimum[axis], 1) + 0.0:+.1f}</span>')
        cells.append(f'<td style="{_CELL}">{"<br>".join(lines)}</td>'.replace("at -", "at −"))
    head = f'<th style="text-align:left;font-weight:{"bold" if bold else "normal"}"><span style="color:{colour(name)}">■</span> {name}</th>'
    return f'<tr style="border-top:1px solid #ddd">{head}{"".join(cells)}</tr>'


def _pair(lengths: Float[ndarray, "2"], at_the_end: Bool[ndarray, "2"]) -> str:
    return " | ".join(f"{'≥' if end else ''}{length:.0f}" for length, end in zip(lengths, at_the_end, strict=True))
